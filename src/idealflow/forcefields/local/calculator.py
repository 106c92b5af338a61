"""ASE calculator of the local force field: a pure function of the frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idealflow.forcefields.local import fused, kernels
from idealflow.forcefields.local.candidates import CandidateList
from idealflow.forcefields.local.lanes import blocks_of, weights_of
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.repulsion import repulsion_ranges

__all__ = ["LocalCalculator"]

CENTRES_AT_ONCE = (
    1024  # slopes of their pairs take some 2 MB, and are still in the cache when they are added to the forces
)
_SUMMED_AT_ONCE = 4096  # atoms whose virials are summed first; another number would change the last bits of a stress


class LocalCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) in double precision.

    Made by :meth:`LocalForceField.calculator <idealflow.forcefields.local.LocalForceField.calculator>`. Results depend on
    the frame alone, to the bit: the list of neighbours that is kept from one frame to the next only saves time
    (:mod:`~idealflow.forcefields.local.candidates`). Atoms are computed in chunks of some 1024, or
    of more where there are more than two threads, which bounds the memory.

    Parameters
    ----------
    model
        Trained model; the calculator keeps its own copy, so later learning does not change it.
    numbers
        Atomic numbers of the model's species.
    cutoff
        Distance up to which atoms are neighbours, Å.
    kinds
        Function that returns the species index of each atom of a frame; it refuses unknown species and positions that are not
        finite.

    Attributes
    ----------
    candidates
        The list of neighbours.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> from idealflow.forcefields import get_force_field
    >>> atoms = bulk("Cu", cubic=True)
    >>> learner = get_force_field("local", species=["Cu"], cutoff=3.0, hidden=[4])
    >>> _ = learner.fit([set_label(atoms.copy(), energy=-14.0, forces=np.zeros((4, 3)))], steps=3)
    >>> atoms.calc = learner.calculator()
    >>> atoms.get_forces().shape, atoms.get_stress().shape
    ((4, 3), (6,))
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "energies", "free_energy", "forces", "stress"]
    #: results depend on the structure alone, so one calculator may serve for several
    pure: ClassVar[bool] = True

    def __init__(
        self, model: LocalModel, numbers: Sequence[int], cutoff: float, kinds: Callable[[Atoms], NDArray[np.int64]]
    ) -> None:
        super().__init__()
        self._weights = weights_of(model)
        self._reference = model.reference.numpy().copy()
        self.candidates = CandidateList(cutoff)
        self._charges, self._ranges = np.array(numbers, dtype=float), repulsion_ranges(numbers)
        self._cutoff, self._kinds = float(cutoff), kinds

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # noqa: S101  # set by the line above
        kind, cell, pbc = self._kinds(self.atoms), self.atoms.cell.array, self.atoms.pbc
        n, positions = len(kind), np.ascontiguousarray(self.atoms.positions)
        energies = self._reference[kind]
        forces, virials = np.zeros((n, 3)), np.empty((n, 3, 3))
        candidates = self.candidates.of(positions, cell, pbc, kind)
        frame = candidates.offsets, candidates.j, candidates.shift, positions, np.where(pbc[:, None], cell, 0.0), kind
        edges = np.linspace(0, n, max(1, n // kernels.centres_at_once(CENTRES_AT_ONCE)) + 1).astype(int)
        for start, end in pairwise(edges.tolist()):
            kept, n_centres = int(candidates.offsets[end] - candidates.offsets[start]), end - start
            counts, near, slopes = np.empty(n_centres, np.int64), np.empty(kept, np.int32), np.empty((kept, 3))
            atomic = np.empty(n_centres)
            with kernels.threads_for(n_centres):
                fused.energies_and_slopes(
                    blocks_of(kind, start, end), start, *frame, self._cutoff, self._weights,
                    self._charges, self._ranges, atomic, counts, near, slopes, virials[start:end],
                )  # fmt: skip
            fused.gather_forces(start, end, candidates.offsets, counts, near, slopes, forces)
            energies[start:end] += atomic
        energy = float(energies.sum())
        self.results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
        if self.atoms.cell.rank == 3:
            virial = np.zeros((3, 3))
            for first in range(0, n, _SUMMED_AT_ONCE):
                virial += virials[first : first + _SUMMED_AT_ONCE].sum(axis=0)
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.cell.volume)
