"""Structures as descriptors take them: checked and sorted once; and what a block of centres keeps for its reverse pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors.alignment import aligned
from idealflow.core.descriptors.neighbours import NeighbourGrid, Pairs
from idealflow.errors import InputError

__all__ = ["KeptBlock", "PreparedFrame", "chosen_atoms"]

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """A structure that was checked and sorted once, so that each of its environments then costs the same in any frame.

    :meth:`SOAP.prepare` makes one; it is accepted wherever ``Atoms`` are.

    Attributes
    ----------
    kinds : (n_atoms,)
        Index of each atom's species in ``SOAP.species``.
    grid
        The atoms, sorted for the search of neighbours within the cutoff.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP
    >>> soap = SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> frame = soap.prepare(bulk("Cu", cubic=True) * 3)
    >>> len(frame), soap(frame, [5, 7]).shape
    (108, (2, 24))
    """

    kinds: NDArray[np.int64]
    grid: NeighbourGrid

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass(frozen=True, eq=False)
class KeptBlock:
    """What a block of centres needs for its reverse pass, kept from the forward one: :meth:`SOAP.keep_blocks` makes them.

    Attributes
    ----------
    part : slice
        Where the centres lie among those asked for.
    centres : (n,)
        Atoms.
    pairs
        Their neighbours.
    kinds : (n_pairs,)
        Into which density each neighbour is summed.
    coefficients
        Expansion coefficients of the densities, flat.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP
    >>> soap = SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> block, total = soap.keep_blocks(bulk("Cu", cubic=True), None, lambda part, vectors: vectors.sum())[0]
    >>> block.only(np.array([1, 3])).centres.tolist()
    [1, 3]
    """

    part: slice
    centres: NDArray[np.int64]
    pairs: Pairs
    kinds: NDArray[np.int64]
    coefficients: Float

    def only(self, rows: NDArray[np.int64]) -> KeptBlock:
        """The block of the centres at these rows (m,) alone, ascending."""
        if len(rows) == len(self.centres):
            return self
        counts = np.diff(self.pairs.offsets)
        wanted = np.zeros(len(counts), dtype=bool)
        wanted[rows] = True
        own = np.repeat(wanted, counts)
        offsets = np.concatenate([[0], np.cumsum(counts[rows])])
        pairs = Pairs(offsets, self.pairs.j[own], self.pairs.shift[own], self.pairs.vec[own])
        per_centre = self.coefficients.reshape(len(counts), -1)
        coefficients = aligned(len(rows) * per_centre.shape[1], per_centre.dtype)
        coefficients.reshape(len(rows), -1)[:] = per_centre[rows]
        return KeptBlock(self.part, self.centres[rows], pairs, self.kinds[own], coefficients)


def chosen_atoms(atoms: Atoms | PreparedFrame, indices: ArrayLike | None) -> NDArray[np.int64]:
    """Indices as an array, (n,) int; None means all atoms.

    Raises
    ------
    InputError
        If an index lies outside the structure.

    Examples
    --------
    >>> chosen_atoms(Atoms("Cu3"), None).tolist(), chosen_atoms(Atoms("Cu3"), 2).tolist()
    ([0, 1, 2], [2])
    """
    chosen = np.arange(len(atoms)) if indices is None else np.asarray(indices, dtype=np.int64).reshape(-1)
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(atoms)):
        raise InputError(f"indices must lie between 0 and {len(atoms) - 1}, got {chosen.min()} to {chosen.max()}")
    return chosen
