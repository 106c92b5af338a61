"""ASE calculator of the local force field: a pure function of the frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idealflow.core.descriptors.threads import in_order
from idealflow.forcefields.local import fused
from idealflow.forcefields.local.candidates import CandidateList, Candidates
from idealflow.forcefields.local.kernels import threads_for
from idealflow.forcefields.local.lanes import blocks_of, weights_of
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.repulsion import repulsion_ranges

__all__ = ["LocalCalculator"]

#: atoms of one piece of work; slopes of their pairs take some 1 MB, and are still in the cache when they are added to the forces
CENTRES_AT_ONCE = 512

#: what results depend on
_COUNTS = ("positions", "numbers", "cell", "pbc")
Piece = tuple[
    int, int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]
]


class LocalCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) in double precision.

    Made by :meth:`LocalForceField.calculator <idealflow.forcefields.local.LocalForceField.calculator>`. Results depend on
    the frame alone, to the bit: the list of neighbours that is kept from one frame to the next only saves time
    (:mod:`~idealflow.forcefields.local.candidates`). Atoms are computed in pieces of 512, in as many threads as torch may use
    (one for every 500 atoms at most); the calling thread adds each piece to the forces, in order, while others are computed.

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
        self._blocks: tuple[Candidates, list[NDArray[np.int64]]] | None = None

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:  # noqa: ARG002  # ASE's signature; nothing is rounded
        """What has changed since the last calculation, of what counts here, to the bit; called by ASE several times a step."""
        before = self.atoms
        if before is None:
            return list(_COUNTS)
        return [name for name in _COUNTS if not np.array_equal(_part(before, name), _part(atoms, name))]

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # noqa: S101  # set by the line above
        kind, cell, pbc = self._kinds(self.atoms), self.atoms.cell.array, self.atoms.pbc
        n, positions = len(kind), np.ascontiguousarray(self.atoms.positions)
        energies = self._reference[kind]
        forces, virials = np.zeros((n, 3)), np.zeros((-(-n // fused.SUMMED_AT_ONCE), 3, 3))
        candidates = self.candidates.of(positions, cell, pbc, kind)
        frame = candidates.offsets, candidates.j, candidates.shift, positions, np.where(pbc[:, None], cell, 0.0), kind
        starts, blocks = range(0, n, CENTRES_AT_ONCE), self._blocks_of(candidates, kind)

        def piece(start: int) -> Piece:
            end = min(start + CENTRES_AT_ONCE, n)
            kept, n_centres = int(candidates.offsets[end] - candidates.offsets[start]), end - start
            counts, near, slopes = np.empty(n_centres, np.int64), np.empty(kept, np.int32), np.empty((kept, 3))
            atomic, own = np.empty(n_centres), np.empty((n_centres, 3, 3))
            fused.energies_and_slopes(
                blocks[start // CENTRES_AT_ONCE], start, *frame, self._cutoff, self._weights,
                self._charges, self._ranges, atomic, counts, near, slopes, own,
            )  # fmt: skip
            energies[start:end] += atomic
            return start, end, candidates.offsets, counts, near, slopes, own

        with threads_for(n):
            for done in in_order(piece, starts):
                fused.gather(*done, forces, virials)
        energy = float(energies.sum())
        self.results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
        if self.atoms.cell.rank == 3:
            virial = np.zeros((3, 3))
            for part in virials:
                virial += part
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.cell.volume)

    def _blocks_of(self, candidates: Candidates, kind: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Each piece's atoms in blocks of a species; they are the same while the list of neighbours is."""
        if self._blocks is None or self._blocks[0] is not candidates:
            starts = range(0, len(kind), CENTRES_AT_ONCE)
            self._blocks = candidates, [blocks_of(kind, i, min(i + CENTRES_AT_ONCE, len(kind))) for i in starts]
        return self._blocks[1]


def _part(atoms: Atoms, name: str) -> NDArray[Any]:
    found: NDArray[Any] = atoms.cell.array if name == "cell" else atoms.pbc if name == "pbc" else atoms.arrays[name]
    return found
