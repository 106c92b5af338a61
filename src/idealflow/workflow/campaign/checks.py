"""What is refused of a campaign's settings and structure before anything is computed: every rule in one place.

`idealflow run`, `idealflow submit` and `IdealMaker.make` stop at the first fault, `idealflow check` names all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from idealflow.core import SOAP
from idealflow.core.cropping.rules import neutral_table
from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.core.structure import totals_of
from idealflow.errors import Faults, InputError, MissingExtraError
from idealflow.forcefields import ForceField
from idealflow.forcefields.pretrained import check_species, is_gone
from idealflow.structures.charges import ionic_charges
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.folder.earlier import earlier_cutoff, earlier_species
from idealflow.workflow.jobs.keys import child_seed
from idealflow.workflow.labellers import ExternalLabeller
from idealflow.workflow.learner.uncertainties import check_choice
from idealflow.workflow.stages.bootstrap import BootstrapMaker

__all__ = ["check_campaign", "guessed_charges", "labels_whole", "true_cutoff"]

#: most atoms of a frame that is labelled whole: its document takes some 100 bytes per atom, and MongoDB allows 16 MB
_LARGEST_WHOLE = 20_000
#: atoms of a frame whose cores are counted against the budget
_CORES_COUNTED = 20


def check_campaign(
    maker: CampaignSettings, atoms: Atoms, faults: Faults | None = None, weights: Path | None = None
) -> None:
    """Refuse settings that cannot give a sound campaign.

    Parameters
    ----------
    maker
        The campaign.
    atoms
        The frame at step 0.
    faults
        Where faults are collected; None: the first is raised.
    weights
        A copy of pretrained weights from the campaign's artifacts, which is taken where the file that the config names is gone.

    Raises
    ------
    InputError
        If the screen would see less than the model, a species is outside the descriptor, the bootstrap has nothing to
        start from or to learn from, the first velocities cannot be drawn, crops are to be made neutral by oxidation states
        that leave a species out, no crop within the budget holds what the descriptor sees, or frames are to be labelled whole
        that are too large for it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, BootstrapMaker, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(label=label, bootstrap=BootstrapMaker(soap={"r_cut": 3.0, "n_max": 4, "l_max": 4, "sigma": 0.3}))
    >>> check_campaign(maker, bulk("Cu", cubic=True) * 3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: the screen must see what the model sees: SOAP's true cutoff ... must be at least ...

    All that is wrong:

    >>> faults = Faults()
    >>> check_campaign(maker, bulk("Cu", cubic=True) * 50, faults)
    >>> [str(fault).partition(":")[0] for fault in faults.found]
    ['the screen must see what the model sees', 'the frame has 500000 atoms, too many to label whole']
    """
    faults = Faults(first_only=True) if faults is None else faults
    for rule in (_check_outside, _check_whole_frames, _check_velocities, _check_totals, _check_charges):
        with faults.collected():
            rule(maker, atoms)
    species = sorted(set(atoms.get_chemical_symbols()))
    bootstrap = maker.bootstrap
    if bootstrap.source == "campaign":
        with faults.collected():
            _check_earlier(bootstrap, species)
    else:
        _check_first_model(bootstrap, species, faults, weights)
        with faults.collected():
            _check_first_data(maker, atoms, species)
    if not faults.found:
        with faults.collected():
            _check_budget(maker, atoms)


def _check_outside(maker: CampaignSettings, _: Atoms) -> None:
    """Refuse a queue for labels that are computed elsewhere: it has nobody who brings them back."""
    if maker.continuation == "launchpad" and isinstance(maker.label.labeller, ExternalLabeller):
        raise InputError(
            "label.labeller.external is for campaigns that pause and go on here, with `idealflow run`; a queue has nobody who "
            "brings labels back: leave continuation: launchpad out, or give a labeller that the workers can run"
        )


def labels_whole(maker: CampaignSettings, atoms: Atoms) -> bool:
    """Whether frames are labelled whole: by the embedding, or because they are within the budget of a crop.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import IdealMaker
    >>> maker = IdealMaker(campaign="copper")
    >>> labels_whole(maker, bulk("Cu", cubic=True) * 3), labels_whole(maker, bulk("Cu", cubic=True) * 5)
    (True, False)
    """
    return maker.embedding == "frame" or (
        maker.embedding != "vacuum" and maker.crop.whole_if_small and len(atoms) <= maker.crop.max_atoms
    )


def true_cutoff(bootstrap: BootstrapMaker, species: Sequence[str]) -> float:
    """Radius of what the uncertainty sees around an atom, Å: the radius of a core.

    Raises
    ------
    InputError
        For impossible settings of the descriptor, or an earlier campaign that there is not.

    Examples
    --------
    >>> from idealflow import BootstrapMaker
    >>> round(true_cutoff(BootstrapMaker(), ["Cu"]), 2)
    5.49
    """
    if bootstrap.source == "campaign":
        return earlier_cutoff(Path(str(bootstrap.campaign)))
    return float(_descriptor(bootstrap, species).cutoff)


def _check_whole_frames(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse frames that are labelled whole and too large for one document."""
    whole = "embedding = frame" if maker.embedding == "frame" else f"evaluation.n_frames = {maker.evaluation.n_frames}"
    if (maker.embedding == "frame" or maker.evaluation.n_frames) and len(atoms) > _LARGEST_WHOLE:
        raise InputError(
            f"{whole} labels whole frames, which may have at most {_LARGEST_WHOLE} atoms (a label is one document), got "
            f"{len(atoms)}; set evaluation.n_frames to 0 and another embedding"
        )


def _check_velocities(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse a first state from which the sampler cannot start, and fixed atoms that there are not."""
    maker.segment.initial_state(atoms, child_seed(maker.seed, 0))


def _check_totals(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse to cut cells out of a frame with a charge or spin: nobody knows the share of a part."""
    totals = totals_of(atoms)
    if totals and maker.learn and not labels_whole(maker, atoms):
        said = " and ".join(f"{name} = {value:g}" for name, value in totals.items())
        raise InputError(
            f"the structure has {said}, of which a part cut out of it has no known share; label frames whole (embedding: frame, "
            f"or crop.max_atoms of at least {len(atoms)}), or remove it from the structure"
        )


def guessed_charges(maker: CampaignSettings, atoms: Atoms) -> dict[str, float] | None:
    """Guess oxidation states, if the campaign gives none and is going to crop an ionic crystal; None elsewhere.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, CropSearchMaker, IdealMaker, LabelMaker
    >>> maker = IdealMaker(label=LabelMaker(AseLabeller("ase.calculators.emt.EMT")))
    >>> salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 4
    >>> guessed_charges(maker, salt)
    {'Cl': -1.0, 'Na': 1.0}
    >>> maker.crop.oxidation_states = {}
    >>> guessed_charges(maker, salt) is None
    True
    """
    crops = maker.learn and maker.embedding in ("ides", "crop") and not labels_whole(maker, atoms)
    return ionic_charges(atoms) if crops and maker.crop.oxidation_states is None else None


def _check_charges(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse oxidation states that leave a species out: every crop would fail, each after its search."""
    states = maker.crop.oxidation_states
    if not states or not maker.learn or maker.embedding == "vacuum" or labels_whole(maker, atoms):
        return
    try:
        neutral_table(states, atoms)
    except InputError as error:
        raise InputError(f"crop.{error}") from error


def _check_earlier(bootstrap: BootstrapMaker, species: Sequence[str]) -> None:
    """Refuse an earlier campaign that does not know every species."""
    known = earlier_species(Path(str(bootstrap.campaign)))
    if unknown := sorted(set(species) - set(known)):
        raise InputError(
            f"the campaign in {bootstrap.campaign} knows {', '.join(known)}, but the structure has {unknown[0]}; "
            "bootstrap from a dataset or from structures that hold every species"
        )


def _check_first_model(bootstrap: BootstrapMaker, species: Sequence[str], faults: Faults, weights: Path | None) -> None:
    """Refuse settings of descriptor, force field and uncertainty that are impossible, alone or together."""
    soap: SOAP | None = None
    force_field: ForceField | None = None
    with faults.collected():
        soap = _descriptor(bootstrap, species)
    with faults.collected():
        force_field = _force_field(bootstrap, species, weights)
    if force_field is None:
        return
    with faults.collected():
        check_choice(bootstrap.uncertainty, bootstrap.all_uncertainty_settings, force_field)
    with faults.collected():
        if soap is not None and soap.cutoff < (cutoff := force_field.cutoff):
            raise InputError(
                f"the screen must see what the model sees: SOAP's true cutoff r_cut + 3.717 σ = {soap.cutoff:.2f} Å must be at "
                f"least the force field's cutoff, {cutoff:.2f} Å; raise bootstrap.soap r_cut or sigma, or lower the force "
                "field's cutoff"
            )


def _descriptor(bootstrap: BootstrapMaker, species: Sequence[str]) -> SOAP:
    try:
        return SOAP(species=list(species), **bootstrap.soap)
    except InputError as error:
        raise InputError(f"bootstrap.soap: {error}") from error
    except TypeError as error:
        raise InputError(
            f"bootstrap.soap has r_cut, n_max, l_max, sigma and compression, and got {', '.join(bootstrap.soap)}"
        ) from error


def _force_field(bootstrap: BootstrapMaker, species: Sequence[str], weights: Path | None) -> ForceField:
    if "species" in bootstrap.force_field_settings:
        raise InputError(
            "bootstrap.force_field_settings: species is the campaign's to give, from all structures; leave it out"
        )
    if (device := bootstrap.force_field_settings.get("device")) is not None:
        raise InputError(
            f"bootstrap.force_field_settings: device is each machine's to give; leave it out, and set "
            f"IDEALFLOW_FORCE_FIELD_DEVICE={device} where jobs run"
        )
    try:
        gone = weights is not None and bootstrap.pretrained is not None and is_gone(bootstrap.pretrained)
        force_field = bootstrap.untrained(species, weights if gone else None)
        if weights is not None and isinstance(bootstrap.anchor, str) and not Path(bootstrap.anchor).is_file():
            return force_field  # the anchors are in the campaign's force field
        if bootstrap.pretrained is not None and not isinstance(anchors := bootstrap.anchors(), int):
            held = sorted({symbol for atoms in anchors for symbol in atoms.get_chemical_symbols()})
            check_species(force_field, held, str(bootstrap.pretrained))
        return force_field
    except MissingExtraError as error:
        raise InputError(str(error)) from error
    except InputError as error:
        raise InputError(f"bootstrap.force_field_settings: {error}") from error


def _check_first_data(maker: CampaignSettings, atoms: Atoms, species: Sequence[str]) -> None:
    """Refuse a bootstrap that could not teach a model every species of the structure, before its first label."""
    bootstrap = maker.bootstrap
    if bootstrap.source == "dataset":
        frames, where = bootstrap.read(), f"the dataset {bootstrap.dataset}"
    else:
        frames = bootstrap.initial_structures(atoms, maker.seed)
        where = f"the {len(frames)} structures of the bootstrap (bootstrap.seeds)"
    if len(frames) < 2:
        raise InputError(f"{where} has {len(frames)} labelled structure; the bootstrap needs at least 2")
    known = {symbol for frame in frames for symbol in frame.get_chemical_symbols()}
    if missing := sorted(set(species) - known):
        raise InputError(
            f"the structure has {', '.join(missing)}, but {where} only {', '.join(sorted(known))}: the model would never see it; "
            "add a seed (with n_structures at least the number of seeds) or labelled structures that hold every species"
        )
    if (n_held := bootstrap.n_held(len(frames))) >= len(frames):
        raise InputError(
            f"bootstrap.held_out = {bootstrap.held_out:g} of {len(frames)} structures keeps {n_held} out of training "
            "and leaves none to learn from; lower it (0.1 is usual), or give more structures"
        )


def _check_budget(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse a budget that no crop could keep, since the core alone, which every crop holds, has more atoms."""
    if not maker.learn or maker.embedding == "vacuum" or labels_whole(maker, atoms):
        return
    cutoff = true_cutoff(maker.bootstrap, sorted(set(atoms.get_chemical_symbols())))
    some = np.unique(np.linspace(0, len(atoms) - 1, _CORES_COUNTED).astype(int))
    offsets, *_ = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, cutoff, some)
    least = 1 + int(np.diff(offsets).min())
    if least > maker.crop.max_atoms:
        raise InputError(
            f"crop.max_atoms = {maker.crop.max_atoms} holds no crop: the atoms within {cutoff:.2f} Å of one, which every crop "
            f"keeps, are at least {least}; raise it, or lower bootstrap.soap r_cut or sigma"
        )
