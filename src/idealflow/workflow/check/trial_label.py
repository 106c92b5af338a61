"""One tiny label through the real engine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow.core.structure import of_the_label, set_label
from idealflow.errors import InputError, LabelElsewhereError, LabelError
from idealflow.labelling import Label
from idealflow.provenance import Campaign
from idealflow.workflow.campaign.settings import CampaignSettings
from idealflow.workflow.frames.agreement import compared
from idealflow.workflow.frames.build import build_structure, perturbed
from idealflow.workflow.frames.encode import to_atoms, to_stored
from idealflow.workflow.jobs.keys import generator

__all__ = ["TrialLabel", "label_one", "tiniest"]

_TINY = 20  # atoms; a larger structure is replaced by its primitive cell
_LEAST = 8  # atoms, to which smaller ones are repeated, so that the time tells something


class TrialLabel:
    """A structure and its label.

    Attributes
    ----------
    atoms
        What was labelled.
    label
        Its energy (eV), forces (eV/Å), stress (eV/Å³) and cost.
    where
        Where the structure comes from, in words.
    seconds
        Wall time of the label, s.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> trial = TrialLabel(bulk("Cu"), Label(-3.5, np.zeros((1, 3)), None, "EMT"), "seed 0", seconds=0.02)
    >>> trial.described()
    'Cu, 1 atoms (seed 0): -3.5000 eV/atom, largest force 0.000 eV/Å, no stress, 0.02 s'
    """

    def __init__(self, atoms: Atoms, label: Label, where: str, seconds: float) -> None:
        self.atoms, self.label, self.where, self.seconds = atoms, label, where, seconds

    def described(self) -> str:
        """Return the label in words."""
        label, n = self.label, len(self.atoms)
        largest = float(np.linalg.norm(np.asarray(label.forces), axis=1).max())
        stress = "no stress" if label.stress is None else "stress"
        return (
            f"{self.atoms.get_chemical_formula()}, {n} atoms ({self.where}): {label.energy / n:.4f} eV/atom, "
            f"largest force {largest:.3f} eV/Å, {stress}, {self.seconds:.3g} s"
        )


def label_one(maker: CampaignSettings, atoms: Atoms) -> TrialLabel:
    """Label the tiniest structure at hand with the campaign's labeller; nothing is stored.

    Raises
    ------
    InputError
        If the label fails, or is not the one that the dataset has.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller, BootstrapMaker, IdealMaker, LabelMaker
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> maker = IdealMaker(label=label, bootstrap=BootstrapMaker(seeds=[{"element": "Cu", "a": 3.6}]))
    >>> trial = label_one(maker, bulk("Cu", cubic=True) * 5)
    >>> trial.atoms.get_chemical_formula(), trial.where
    ('Cu8', 'seed 0')
    """
    tiny, where = tiniest(maker, atoms)
    started = time.perf_counter()
    with TemporaryDirectory() as directory:
        try:
            label, _ = maker.label.labeller.label(to_atoms(to_stored(tiny)), Path(directory))
        except LabelElsewhereError as error:
            raise InputError(f"no label can be tried: {error}; leave --label out") from error
        except LabelError as error:
            formula = tiny.get_chemical_formula()
            raise InputError(f"the tiny label of {formula} ({where}) failed: {error}; mend the labeller") from error
    seconds = time.perf_counter() - started if label.seconds is None else label.seconds
    if maker.bootstrap.source == "dataset" and tiny.calc is not None:
        computed = set_label(of_the_label(tiny), label.energy, label.forces, label.stress)
        if found := compared([tiny], [computed]).disagreed:
            raise InputError(
                f"the dataset does not agree with the labeller, {label.method}, on {where}: {'; '.join(found)}"
            )
    return TrialLabel(tiny, label, where, seconds)


def tiniest(maker: CampaignSettings, atoms: Atoms) -> tuple[Atoms, str]:
    """Find the structure with most of the frame's species, and of those the one with fewest atoms; say where it is from.

    They are those that the campaign begins with: seeds, the dataset, an earlier campaign's labels, or the frame. A structure
    without a label of more than 20 atoms is replaced by its primitive cell, one of less than 8 repeated, and both are strained
    and rattled as the bootstrap does.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import IdealMaker
    >>> tiny, where = tiniest(IdealMaker(), bulk("Cu", cubic=True) * 3)
    >>> tiny.get_chemical_formula(), where
    ('Cu8', 'primitive cell of the frame')
    """
    species = set(atoms.get_chemical_symbols())
    found = [(frame, where) for frame, where in _beginnings(maker, atoms) if len(frame)]
    tiny, where = min(found, key=lambda pair: (-len(species & set(pair[0].get_chemical_symbols())), len(pair[0])))
    if tiny.calc is not None or maker.bootstrap.source == "campaign":
        return tiny, where
    if len(tiny) > _TINY and tiny.pbc.all():
        primitive = AseAtomsAdaptor.get_structure(of_the_label(tiny)).get_primitive_structure()
        if len(primitive) < len(tiny):
            tiny, where = AseAtomsAdaptor.get_atoms(primitive, msonable=False), f"primitive cell of {where}"
    bootstrap = maker.bootstrap
    rng = generator(maker.seed, 7)
    return perturbed(tiny, rng, min_atoms=_LEAST, rattle=bootstrap.rattle, strain=bootstrap.strain), where


def _beginnings(maker: CampaignSettings, atoms: Atoms) -> Iterable[tuple[Atoms, str]]:
    bootstrap = maker.bootstrap
    if bootstrap.source == "dataset":
        return [(frame, f"structure {i} of the dataset") for i, frame in enumerate(bootstrap.read())]
    if bootstrap.source == "campaign":
        earlier = Campaign.open(Path(str(bootstrap.campaign))).dataset()
        return [(of_the_label(frame), f"structure {i} of the earlier campaign") for i, frame in enumerate(earlier)]
    if bootstrap.seeds:
        return [(build_structure(entry), f"seed {i}") for i, entry in enumerate(bootstrap.seeds)]
    return [(atoms, "the frame")]
