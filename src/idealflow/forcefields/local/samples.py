"""Labelled structures as the training of the local model reads them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from idealflow.forcefields.dataset import Targets
from idealflow.forcefields.local.descriptor import Frame, frame_of
from idealflow.forcefields.local.gradient import Basis, basis_of
from idealflow.forcefields.local.kernels import scatter_forces
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.repulsion import repulsion, repulsion_ranges
from idealflow.forcefields.species import KnownSpecies
from idealflow.forcefields.toolkit.training import task_key

__all__ = ["VOIGT", "Sample", "pieces", "sample_of", "samples_of"]

PAIRS_KEPT = 5_000_000  # some 0.8 GB; what more structures need is computed again in every step
ATOMS_AT_ONCE = 4096  # bounds the memory of a pass over a set

#: rows and columns of the six components of a stress, in ASE's order
VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


@dataclass(frozen=True)
class Sample:
    """A labelled structure with its neighbours, as training reads it; the repulsion is already subtracted from its label.

    Attributes
    ----------
    frame
        Species and neighbours.
    energy
        eV.
    forces : (n, 3), eV/Å
    stress : (6,), eV/Å³
        In Voigt order; zeros where there is none.
    has_stress
        Whether the label has a stress and the structure a volume.
    force_weight : (n,)
        Weight of each atom's force in the loss.
    keeps, kept
        Whether to keep what a gradient step computes of it (some 144 bytes a pair), and that.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> (sample,) = get_force_field("local", species=["Cu"], cutoff=3.0).samples([labelled])
    >>> sample.energy, sample.has_stress, len(sample.frame.j)
    (-14.0, False, 48)
    """

    frame: Frame
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    has_stress: bool
    force_weight: NDArray[np.float64]
    keeps: bool = True
    kept: list[Basis] = field(default_factory=list, compare=False, repr=False)

    def basis(self, cutoff: float, model: LocalModel) -> Basis:
        """What a gradient step of ``model`` reads of it; kept for the next step if it ``keeps``."""
        if self.kept:
            return self.kept[0]
        basis = basis_of(self.frame, cutoff, model.n_species, model.n_radial)
        if self.keeps:
            self.kept.append(basis)
        return basis


def sample_of(atoms: Atoms, targets: Targets, kind: NDArray[np.int64], cutoff: float, numbers: Sequence[int]) -> Sample:
    """Prepare one structure for training: find its neighbours, and subtract the short-range repulsion from its label.

    Parameters
    ----------
    atoms, targets
        Structure and its label.
    kind : (n,) int64
        Species index of each atom.
    cutoff
        Distance up to which atoms are neighbours, Å.
    numbers
        Atomic numbers of the species.

    Examples
    --------
    The repulsion between two atoms at 1.5 Å is no longer in the energy to be learned:

    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields.dataset import targets_of
    >>> dimer = set_label(Atoms("Cu2", [[0, 0, 0], [0, 0, 1.5]]), energy=0.0, forces=np.zeros((2, 3)))
    >>> sample_of(dimer, targets_of(dimer), np.zeros(2, dtype=np.int64), cutoff=4.0, numbers=[29]).energy < 0.0
    True
    """
    frame = frame_of(atoms, kind, cutoff)
    n = len(kind)
    energies, slopes = np.zeros(n), np.zeros_like(frame.vec)
    centres, graph = np.arange(n), np.zeros(n, dtype=np.int64)
    charges, ranges = np.array(numbers, dtype=float), repulsion_ranges(numbers)
    repulsion(frame.vec, frame.offsets, frame.j, kind, centres, charges, ranges, energies, slopes)
    forces, virial = np.zeros((n, 3)), np.zeros((1, 3, 3))
    scatter_forces(frame.vec, frame.offsets, frame.j, centres, graph, slopes, forces, virial)
    has_stress = targets.stress is not None and frame.volume > 0
    stress = np.zeros(6)
    if targets.stress is not None and has_stress:
        stress = targets.stress - virial[0][VOIGT] / frame.volume
    energy = targets.energy - float(energies.sum())
    return Sample(frame, energy, targets.forces - forces, stress, has_stress, targets.force_weight)


def samples_of(
    dataset: Sequence[Atoms], targets: Sequence[Targets], known: KnownSpecies, settings: Mapping[str, Any]
) -> list[Sample]:
    """Prepare structures for training. Those that this process prepared lately are taken as they are.

    A campaign meets the same structures again and again: as replay, in a validation set, in every consolidation.

    Parameters
    ----------
    dataset, targets
        Structures and their labels.
    known
        The species of the force field.
    settings
        Of the force field: ``species``, ``cutoff``, ``n_radial``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0)
    >>> learner.samples([labelled])[0] is learner.copy().samples([labelled])[0]
    True
    """
    numbers = [atomic_numbers[symbol] for symbol in settings["species"]]
    made: list[Sample] = []
    n_pairs = 0
    for atoms, target in zip(dataset, targets, strict=True):
        stress = np.zeros(0) if target.stress is None else target.stress
        key = task_key(
            [settings[name] for name in ("species", "cutoff", "n_radial")], atoms.numbers, atoms.positions, atoms.cell.array,
            atoms.pbc, target.energy, target.forces, stress, target.force_weight,
        )  # fmt: skip
        sample = _prepared.pop(key, None)
        if sample is None:
            sample = sample_of(atoms, target, known.of(atoms), float(settings["cutoff"]), numbers)
        n_pairs += len(sample.frame.j)
        if n_pairs <= PAIRS_KEPT:
            _prepared[key] = sample
        elif sample.keeps:
            sample = replace(sample, keeps=False, kept=[])
        made.append(sample)
    kept = sum(len(sample.frame.j) for sample in _prepared.values())
    while kept > PAIRS_KEPT:
        kept -= len(_prepared.popitem(last=False)[1].frame.j)
    return made


#: samples of this process, the latest last; a sample never changes
_prepared: OrderedDict[str, Sample] = OrderedDict()


def pieces(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Split the samples, in order, into pieces of at most ``ATOMS_AT_ONCE`` atoms, or of one larger sample.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> labelled = [set_label(bulk("Cu", cubic=True), energy=-14.0, forces=np.zeros((4, 3)))] * 5
    >>> samples = get_force_field("local", species=["Cu"], cutoff=3.0).samples(labelled)
    >>> [len(piece) for piece in pieces(samples)]  # 20 atoms in all
    [5]
    """
    piece: list[Sample] = []
    n_atoms = 0
    for sample in samples:
        if piece and n_atoms + len(sample.frame.kind) > ATOMS_AT_ONCE:
            yield piece
            piece, n_atoms = [], 0
        piece.append(sample)
        n_atoms += len(sample.frame.kind)
    yield piece
