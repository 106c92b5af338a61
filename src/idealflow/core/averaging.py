"""Averages over the atoms around each atom, whose noise is smaller than one environment's: phases then stand apart.

Thermal motion moves each environment in a direction of its own, another phase moves all of them in the same one. The average
over a neighbourhood (Lechner and Dellago, J. Chem. Phys. 129, 114707, 2008) keeps what they have in common.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from idealflow.core.descriptors import PreparedFrame
from idealflow.core.descriptors.kernel import scatter

__all__ = ["Neighbourhoods"]

#: centres whose pairs are searched at a time
_BLOCK = 2048

Float = NDArray[np.float64]


class Neighbourhoods:
    """Weights by which rows of atoms are averaged around some centres, and the reverse pass.

    The weight of a neighbour is 1 up to half the radius and falls smoothly to 0 at the radius; a centre's own is 1.

    Parameters
    ----------
    frame
        The frame.
    centres : (n,) int
        Atoms around which rows are averaged, each once.
    radius
        Å; at most the cutoff of the frame's grid.

    Attributes
    ----------
    members : (m,) int
        Atoms that take part, ascending: centres and neighbours. Rows to be averaged are theirs.
    places : (n,) int
        Where the centres lie among the members.

    Examples
    --------
    The mean of two atoms 1 Å apart, and of one alone:

    >>> from ase import Atoms
    >>> from idealflow.core import SOAP
    >>> soap = SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> frame = soap.prepare(Atoms("Cu3", positions=[[0, 0, 0], [0, 0, 1], [0, 0, 9]]))
    >>> around = Neighbourhoods(frame, np.array([0, 2]), radius=3.0)
    >>> around.members.tolist(), around.averages(np.array([[1.0], [3.0], [7.0]])).tolist()
    ([0, 1, 2], [[2.0], [7.0]])
    """

    def __init__(self, frame: PreparedFrame, centres: NDArray[np.int64], radius: float) -> None:
        counts, others, shifts, vectors = [np.zeros(1, dtype=np.int64)], [], [], []
        for start in range(0, len(centres), _BLOCK):
            pairs = frame.grid.pairs(centres[start : start + _BLOCK], within=radius)
            counts.append(np.diff(pairs.offsets))
            others.append(pairs.j)
            shifts.append(pairs.shift)
            vectors.append(pairs.vec)
        self._offsets = np.cumsum(np.concatenate(counts))
        self._others = np.concatenate(others) if others else np.zeros(0, dtype=np.int32)
        self._shifts, self._vectors = (np.concatenate(each) if each else np.zeros((0, 3)) for each in (shifts, vectors))
        place = np.full(len(frame), -1, dtype=np.int64)
        place[centres], place[self._others] = 0, 0
        self.members = np.flatnonzero(place == 0)
        place[self.members] = np.arange(len(self.members))
        self.places, self._columns = place[centres], place[self._others]
        self._centres, self._n_atoms, self._radius = centres, len(frame), radius
        self._weights, self._sums = np.empty(len(self._others)), np.empty(len(centres))
        _weigh(self._offsets, self._vectors, radius, self._weights, self._sums)

    def averages(self, rows: Float) -> Float:
        """Weighted means around the centres, (n, d), of the members' ``rows`` (m, d)."""
        found = np.empty((len(self._centres), rows.shape[1]))
        _average(self._offsets, self.places, self._columns, self._weights, self._sums, rows, found)
        return found

    def reverse(self, rows: Float, averages: Float, slopes: Float) -> tuple[Float, Float, Float]:
        """Derivatives of a scalar, from its derivatives by the averages.

        Parameters
        ----------
        rows : (m, d)
            What was averaged.
        averages, slopes : (n, d)
            The averages, and the derivatives by them.

        Returns
        -------
        in_rows : (m, d)
        in_positions : (n_atoms, 3), per Å
            Through the weights alone, at fixed rows.
        in_cell : (3, 3), per Å
            Likewise, at fixed Cartesian positions.
        """
        in_rows, by_vector = np.zeros_like(rows), np.empty_like(self._vectors)
        _back(
            self._offsets, self.places, self._columns, self._weights, self._sums, self._vectors, self._radius, rows,
            averages, slopes, in_rows, by_vector,
        )  # fmt: skip
        in_positions, in_cell = np.zeros((self._n_atoms, 3)), np.zeros((3, 3))
        scatter(self._offsets, self._others, self._shifts, self._centres, by_vector, in_positions, in_cell)
        return in_rows, in_positions, in_cell


@numba.njit(cache=True, nogil=True)
def _weigh(offsets, vectors, radius, weights, sums):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """Weights of all pairs, and their sums with the centres' own."""
    for c in range(len(sums)):
        total = 1.0
        for p in range(offsets[c], offsets[c + 1]):
            length = np.sqrt(vectors[p, 0] ** 2 + vectors[p, 1] ** 2 + vectors[p, 2] ** 2)
            share = min(max(2.0 * length / radius - 1.0, 0.0), 1.0)
            weights[p] = 1.0 - share * share * (3.0 - 2.0 * share)
            total += weights[p]
        sums[c] = total


@numba.njit(cache=True, nogil=True)
def _average(offsets, places, columns, weights, sums, rows, found):  # type: ignore[no-untyped-def]
    """Weighted means, pair by pair in their order."""
    for c in range(len(places)):
        here, own = found[c], rows[places[c]]
        for a in range(len(own)):
            here[a] = own[a]
        for p in range(offsets[c], offsets[c + 1]):
            weight, other = weights[p], rows[columns[p]]
            for a in range(len(own)):
                here[a] += weight * other[a]
        for a in range(len(own)):
            here[a] /= sums[c]


@numba.njit(cache=True, nogil=True)
def _dot(one, other, parts):  # type: ignore[no-untyped-def]
    """Scalar product, in eight sums, so that its order is that of vectors of eight."""
    parts[:] = 0.0
    whole = len(one) // 8 * 8
    for a in range(0, whole, 8):
        for k in range(8):
            parts[k] += one[a + k] * other[a + k]
    for a in range(whole, len(one)):
        parts[a - whole] += one[a] * other[a]
    return parts.sum()


@numba.njit(cache=True, nogil=True)
def _back(  # type: ignore[no-untyped-def]
    offsets, places, columns, weights, sums, vectors, radius, rows, averages, slopes, in_rows, by_vector
):
    """Derivatives by the rows, which are added, and through the weights by the pairs' vectors."""
    parts = np.empty(8)
    for c in range(len(places)):
        slope, mine = slopes[c], in_rows[places[c]]
        for a in range(len(slope)):
            mine[a] += slope[a] / sums[c]
        own = _dot(slope, averages[c], parts)
        for p in range(offsets[c], offsets[c + 1]):
            theirs, share = in_rows[columns[p]], weights[p] / sums[c]
            for a in range(len(slope)):
                theirs[a] += share * slope[a]
            by_weight = (_dot(slope, rows[columns[p]], parts) - own) / sums[c]
            length = np.sqrt(vectors[p, 0] ** 2 + vectors[p, 1] ** 2 + vectors[p, 2] ** 2)
            part = min(max(2.0 * length / radius - 1.0, 0.0), 1.0)
            steep = -6.0 * part * (1.0 - part) * 2.0 / radius / max(length, 1e-300)
            for k in range(3):
                by_vector[p, k] = by_weight * steep * vectors[p, k]
