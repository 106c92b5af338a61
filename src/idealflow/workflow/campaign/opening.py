"""How a campaign begins, and what is refused before any compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms

from idealflow.core import SOAP
from idealflow.core.cropping.rules import neutral_table
from idealflow.core.structure import totals_of
from idealflow.errors import InputError
from idealflow.forcefields import get_force_field
from idealflow.schemas import CampaignState, StageContext, StoredFrame, WalkerState
from idealflow.settings import Settings
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.queues import categories_of
from idealflow.workflow.campaign.record import save_settings, settings_of
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.folder.earlier import earlier_species
from idealflow.workflow.frames.encode import load_frame, save_frame
from idealflow.workflow.jobs.keys import child_seed, is_key_of, settings_key
from idealflow.workflow.labellers import ExternalLabeller
from idealflow.workflow.learner.uncertainties import check_choice

#: settings that say where, by whom, under what name and after which checks work is done; they do not change results
_OF_THE_SITE = ("artifacts", "work", "continuation", "max_rounds", "queues", "launchpad", "name", "dataset_check")

#: most atoms of a frame that is labelled whole: its document takes some 100 bytes per atom, and MongoDB allows 16 MB
_LARGEST_WHOLE = 20_000

__all__ = [
    "artifacts_of",
    "check_campaign",
    "context_of",
    "first_frame",
    "initial_state",
    "kept",
    "labeller_changed",
    "model_of",
    "root_of",
    "science_key",
    "settings_changed",
]


def check_campaign(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse settings that cannot give a sound campaign.

    Raises
    ------
    InputError
        If the screen would see less than the model, a species is outside the descriptor, the bootstrap has nothing to
        start from or to learn from, the first velocities cannot be drawn, crops are to be made neutral by oxidation states
        that leave a species out, or frames are to be labelled whole that are too large for it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, BootstrapMaker, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(label=label, bootstrap=BootstrapMaker(soap={"r_cut": 3.0, "n_max": 4, "l_max": 4, "sigma": 0.3}))
    >>> check_campaign(maker, bulk("Cu", cubic=True) * 3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: the screen must see what the model sees: SOAP's true cutoff ... must be at least ...
    """
    bootstrap = maker.bootstrap
    if maker.continuation == "launchpad" and isinstance(maker.label.labeller, ExternalLabeller):
        raise InputError(
            "label.labeller.external is for campaigns that pause and go on here, with `idealflow run`; a queue has nobody who "
            "brings labels back: leave continuation: launchpad out, or give a labeller that the workers can run"
        )
    whole = "embedding = frame" if maker.embedding == "frame" else f"evaluation.n_frames = {maker.evaluation.n_frames}"
    if (maker.embedding == "frame" or maker.evaluation.n_frames) and len(atoms) > _LARGEST_WHOLE:
        raise InputError(
            f"{whole} labels whole frames, which may have at most {_LARGEST_WHOLE} atoms (a label is one document), got "
            f"{len(atoms)}; set evaluation.n_frames to 0 and another embedding"
        )
    maker.segment.initial_state(atoms, child_seed(maker.seed, 0))
    _check_totals(maker, atoms)
    _check_charges(maker, atoms)
    species = sorted(set(atoms.get_chemical_symbols()))
    if bootstrap.source == "campaign":
        known = earlier_species(Path(str(bootstrap.campaign)))
        unknown = sorted(set(species) - set(known))
        if unknown:
            raise InputError(
                f"the campaign in {bootstrap.campaign} knows {', '.join(known)}, but the structure has {unknown[0]}; "
                "bootstrap from a dataset or from structures that hold every species"
            )
        return
    try:
        soap = SOAP(species=species, **bootstrap.soap)
    except InputError as error:
        raise InputError(f"bootstrap.soap: {error}") from error
    except TypeError as error:
        raise InputError(
            f"bootstrap.soap has r_cut, n_max, l_max and sigma, and got {', '.join(bootstrap.soap)}"
        ) from error
    if "species" in bootstrap.force_field_settings:
        raise InputError(
            "bootstrap.force_field_settings: species is the campaign's to give, from all structures; leave it out"
        )
    try:
        force_field = get_force_field(bootstrap.force_field, species=species, **bootstrap.force_field_settings)
    except InputError as error:
        raise InputError(f"bootstrap.force_field_settings: {error}") from error
    check_choice(bootstrap.uncertainty, bootstrap.all_uncertainty_settings, force_field)
    if soap.cutoff < (cutoff := force_field.cutoff):
        raise InputError(
            f"the screen must see what the model sees: SOAP's true cutoff r_cut + 3.717 σ = {soap.cutoff:.2f} Å must be at "
            f"least the force field's cutoff, {cutoff:.2f} Å; raise bootstrap.soap r_cut or sigma, or lower the force "
            "field's cutoff"
        )
    if bootstrap.source == "dataset":
        initial = bootstrap.read()
        _check_species(species, initial, f"the dataset {bootstrap.dataset}")
    else:
        initial = bootstrap.initial_structures(atoms, maker.seed)
        _check_species(species, initial, f"the {len(initial)} structures of the bootstrap (bootstrap.seeds)")
    if (n_held := bootstrap.n_held(len(initial))) >= len(initial):
        raise InputError(
            f"bootstrap.held_out = {bootstrap.held_out:g} of {len(initial)} structures keeps {n_held} out of training "
            "and leaves none to learn from; lower it (0.1 is usual), or give more structures"
        )


def _check_species(species: Sequence[str], frames: Sequence[Atoms], where: str) -> None:
    """Refuse a bootstrap that could not teach a model every species of the structure, before its first label."""
    if len(frames) < 2:
        raise InputError(f"{where} has {len(frames)} labelled structure; the bootstrap needs at least 2")
    known = {symbol for atoms in frames for symbol in atoms.get_chemical_symbols()}
    if missing := sorted(set(species) - known):
        raise InputError(
            f"the structure has {', '.join(missing)}, but {where} only {', '.join(sorted(known))}: the model would never see it; "
            "add a seed (with n_structures at least the number of seeds) or labelled structures that hold every species"
        )


def _check_totals(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse to cut cells out of a frame with a charge or spin: nobody knows the share of a part."""
    totals = totals_of(atoms)
    if totals and maker.learn and not _whole(maker, atoms):
        said = " and ".join(f"{name} = {value:g}" for name, value in totals.items())
        raise InputError(
            f"the structure has {said}, of which a part cut out of it has no known share; label frames whole (embedding: frame, "
            f"or crop.max_atoms of at least {len(atoms)}), or remove it from the structure"
        )


def _check_charges(maker: CampaignSettings, atoms: Atoms) -> None:
    """Refuse oxidation states that leave a species out: every crop would fail, each after its search."""
    states = maker.crop.oxidation_states
    if states is None or not maker.learn or maker.embedding == "vacuum" or _whole(maker, atoms):
        return
    try:
        neutral_table(states, atoms)
    except InputError as error:
        raise InputError(f"crop.{error}") from error


def _whole(maker: CampaignSettings, atoms: Atoms) -> bool:
    """Whether frames are labelled whole."""
    return maker.embedding == "frame" or (
        maker.embedding != "vacuum" and maker.crop.whole_if_small and len(atoms) <= maker.crop.max_atoms
    )


def context_of(maker: CampaignSettings, state: CampaignState) -> StageContext:
    """What the stages of the next round need to know: names, seed, folders, and the queues of their jobs.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> context = context_of(maker, state)
    >>> context.campaign, context.round, context.artifacts
    ('copper', 0, 'memory://copper')
    """
    return StageContext(
        campaign=state.campaign,
        round=state.round,
        seed=state.seed,
        artifacts=state.artifacts,
        work=_work(maker, state.artifacts),
        categories=categories_of(maker.queues),
    )


def kept(maker: CampaignSettings, atoms: Atoms) -> StoredFrame:
    """Store a frame as a file in the campaign's artifact store.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> kept(maker, bulk("Cu")).root
    'memory://copper'
    """
    root = artifacts_of(maker)
    return StoredFrame(root=root, file=save_frame(ArtifactStore(root), atoms))


def initial_state(maker: CampaignSettings, atoms: Atoms, notes: Sequence[str] = ()) -> CampaignState:
    """The state of a new campaign: every walker at step 0 with velocities of its own, and no model yet.

    Parameters
    ----------
    maker
        The campaign.
    atoms
        The frame at step 0.
    notes
        Messages about the input (:func:`~idealflow.workflow.jobs.progress.noted`), kept with the campaign.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> state.round, state.n_atoms, state.learner, [walker.step for walker in state.walkers]
    (0, 108, None, [0])
    """
    artifacts = artifacts_of(maker)
    store = ArtifactStore(artifacts)
    walkers = []
    with TemporaryDirectory() as directory:
        for number in range(maker.n_walkers):
            start = maker.segment.initial_state(atoms, child_seed(maker.seed, 0, number))
            state = store.put_file(start.save(Path(directory) / f"{number}.npz"), suffix=".npz")
            walkers.append(WalkerState(walker=number, step=0, md_state=state, reason="start", unresolved=True))
    return CampaignState(
        campaign=maker.campaign,
        round=0,
        status="running",
        reason="starting",
        settings_key=science_key(maker),
        settings=save_settings(store, settings_of(maker)),
        threads=Settings().threads,
        artifacts=artifacts,
        seed=maker.seed,
        n_atoms=len(atoms),
        schedule_steps=maker.segment.plan().n_steps,
        walkers=walkers,
        learner=None,
        first_learner=None,
        threshold=None,
        label_method=maker.label.method,
        labeller_key=maker.label.key,
        model_key=settings_key(model_of(maker)),
        max_failed_labels=maker.max_failed_labels,
        max_failed_fraction=maker.max_failed_fraction,
        evaluation_frames=maker.evaluation.n_frames,
        notes=list(notes),
    )


def first_frame(state: CampaignState) -> Atoms:
    """The frame of walker 0 at its stored step.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> len(first_frame(state))
    108
    """
    return load_frame(ArtifactStore(state.artifacts), state.walkers[0].md_state)


def artifacts_of(maker: CampaignSettings) -> str:
    """Root URL of the artifact store: the Maker's, else the site's.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> artifacts_of(maker)
    'memory://copper'
    """
    given = maker.artifacts or Settings().artifacts or "idealflow_artifacts"
    return given if "://" in given else str(Path(given).absolute())


def root_of(maker: CampaignSettings, state: CampaignState) -> str:
    """Root URL of a stored campaign's artifacts. It is the Maker's, since the folder may have been moved, if they are there.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from idealflow.workflow.campaign.opening import initial_state
    >>> state = initial_state(maker, bulk("Cu", cubic=True) * 3)
    >>> root_of(maker, state)
    'memory://copper'
    """
    given = artifacts_of(maker)
    if maker.artifacts is None or given == state.artifacts:
        return state.artifacts
    needed = state.walkers[0].md_state
    left = ArtifactStore(state.artifacts).exists(needed) and not ArtifactStore(given).exists(needed)
    return state.artifacts if left else given


def _work(maker: CampaignSettings, artifacts: str) -> str:
    given = maker.work or Settings().work
    if given is not None:
        return str(Path(given).absolute())
    return str(Path("idealflow_work").absolute()) if "://" in artifacts else f"{artifacts}/work"


def science_key(maker: CampaignSettings) -> str:
    """Hash of the settings that decide the results: not of where files are, who runs the rounds, or how many a call may run.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> from dataclasses import replace
    >>> science_key(replace(maker, max_rounds=5)) == science_key(maker), science_key(replace(maker, seed=1)) == science_key(maker)
    (True, False)
    """
    return settings_key(_science_of(maker))


def settings_changed(maker: CampaignSettings, stored: str) -> bool:
    """Whether the settings differ from those that gave the stored :func:`science_key`, in this version or in 0.1.0.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> settings_changed(maker, science_key(maker))
    False
    """
    return not is_key_of(stored, _science_of(maker))


def labeller_changed(maker: CampaignSettings, stored: str) -> bool:
    """Whether the labeller differs from the one that gave the stored key, in this version or in 0.1.0.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> labeller_changed(maker, maker.label.key)
    False
    """
    return not is_key_of(stored, maker.label.settings)


def _science_of(maker: CampaignSettings) -> dict[str, Any]:
    found = {key: _science(value) for key, value in _science(maker.as_dict()).items()}
    found["label"]["labeller"] = maker.label.settings
    return found


def _science(settings: Any) -> Any:
    """Settings of a Maker without those of the site; anything else as it is."""
    if not isinstance(settings, dict):
        return settings
    return {key: value for key, value in settings.items() if key not in _OF_THE_SITE}


def model_of(maker: CampaignSettings) -> list[Any]:
    """Settings that decide how a label is learned. When they change, centres in quarantine may trigger again.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(campaign="copper", label=label, artifacts="memory://copper")
    >>> model_of(maker)[0]
    'local'
    """
    bootstrap = maker.bootstrap
    return [bootstrap.force_field, bootstrap.force_field_settings, _science(maker.update.as_dict())]
