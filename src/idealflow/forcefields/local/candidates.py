"""Neighbours of every atom out to somewhat more than the cutoff, in an order that the frame alone determines.

Dynamics moves atoms by a hundredth of an ångström a step. A list of all pairs closer than cutoff + skin holds every pair closer
than the cutoff until an atom has moved by half the skin (Verlet, Phys. Rev. 159, 98 (1967)). Here it changes no bit of the
result: an atom's neighbours are sorted by species, index and image, pairs beyond the cutoff are skipped, and vectors are computed
from the positions of the frame. So it does not matter when the list was made, nor how long the skin is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from idealflow.core.descriptors.neighbours import NeighbourGrid
from idealflow.core.descriptors.threads import in_order
from idealflow.forcefields.local.kernels import threads_for

__all__ = ["CandidateList", "Candidates", "sort_pairs"]

SKIN = 0.8  # Å; at 1000 K a list lasts some twenty steps
_CENTRES_AT_ONCE = 512


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be closer than the cutoff; those of atom i are rows ``offsets[i]`` to ``offsets[i + 1]``.

    Attributes
    ----------
    offsets : (n + 1,) int64
    j : (n_candidates,) int32
        Index of the other atom.
    shift : (n_candidates, 3) int16, or int32 where an image is more than 32 767 cells away
        Image of the other atom, in cell vectors.

    Examples
    --------
    >>> pair = CandidateList(2.5).of(np.array([[0, 0, 0], [0, 0, 2.0]]), np.zeros((3, 3)), np.zeros(3, bool), np.zeros(2, int))
    >>> pair.offsets.tolist(), pair.j.tolist(), pair.shift.tolist()
    ([0, 1, 2], [1, 0], [[0, 0, 0], [0, 0, 0]])
    """

    offsets: NDArray[np.int64]
    j: NDArray[np.int32]
    shift: NDArray[np.int16] | NDArray[np.int32]


class CandidateList:
    """The candidates of a frame, made again when they do not hold all neighbours of the next one.

    The first frame gets a list without skin. Only when a frame follows that has the same cell and species, and whose atoms moved
    by less than half a skin, is a skin worth its price.

    Parameters
    ----------
    cutoff
        Distance up to which atoms are neighbours, Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal, candidates = bulk("Cu", cubic=True), CandidateList(2.6)
    >>> frame = crystal.positions, crystal.cell.array, crystal.pbc, np.zeros(4, dtype=np.int64)
    >>> candidates.of(*frame).offsets[-1]  # without a skin: 12 neighbours each
    np.int64(48)
    >>> candidates.of(frame[0] + 0.01, *frame[1:]) is candidates.of(frame[0] + 0.02, *frame[1:])
    True
    """

    def __init__(self, cutoff: float) -> None:
        self.cutoff = float(cutoff)
        self._made: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]] | None = None
        self._skin = 0.0
        self._candidates: Candidates | None = None

    def of(
        self,
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
        pbc: NDArray[np.bool_],
        kind: NDArray[np.int64],
    ) -> Candidates:
        """Candidates of a frame.

        Parameters
        ----------
        positions : (n, 3), Å
        cell : (3, 3), Å
        pbc : (3,) bool
        kind : (n,) int64
            Species index of each atom.

        Raises
        ------
        InputError
            If positions or cell are not finite, or a periodic cell is flat.
        """
        moved = self._moved(positions, cell, pbc, kind)
        if self._candidates is None or not 2.0 * moved <= self._skin:
            self._skin = SKIN if 2.0 * moved < SKIN else 0.0
            self._made = positions.copy(), cell.copy(), pbc.copy(), kind.copy()
            self._candidates = _sorted_candidates(positions, cell, pbc, kind, self.cutoff + self._skin)
        return self._candidates

    def _moved(
        self,
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
        pbc: NDArray[np.bool_],
        kind: NDArray[np.int64],
    ) -> float:
        """Largest distance of an atom from where it was when the list was made, Å; infinite for another cell or composition."""
        if self._made is None:
            return np.inf
        before, *others = self._made
        if len(before) != len(positions) or not all(
            np.array_equal(old, new) for old, new in zip(others, (cell, pbc, kind), strict=True)
        ):
            return np.inf
        return float(np.sqrt(_farthest(positions, before)))


def _sorted_candidates(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    kind: NDArray[np.int64],
    reach: float,
) -> Candidates:
    grid, n = NeighbourGrid(positions, cell, pbc, reach), len(positions)

    def piece(start: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int16] | NDArray[np.int32]]:
        pairs = grid.pairs(np.arange(start, min(start + _CENTRES_AT_ONCE, n)))
        j, shift = np.empty_like(pairs.j), np.empty_like(pairs.shift)
        sort_pairs(pairs.offsets, pairs.j, pairs.shift, kind, j, shift)
        return np.diff(pairs.offsets), j, _short(shift)

    with threads_for(n):
        pieces = list(in_order(piece, range(0, n, _CENTRES_AT_ONCE)))
    if not pieces:
        return Candidates(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty((0, 3), np.int16))
    counts, parts_j, parts_shift = zip(*pieces, strict=True)
    shift: NDArray[Any] = np.concatenate(parts_shift)  # one that does not fit makes all of them wide
    offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]))
    return Candidates(offsets, np.concatenate(parts_j), shift)


def _short(shift: NDArray[np.int32]) -> NDArray[np.int16] | NDArray[np.int32]:
    """Images in half the memory, which every step reads, unless one is too far away for it."""
    limit = np.iinfo(np.int16).max
    return shift.astype(np.int16) if -limit <= shift.min(initial=0) and shift.max(initial=0) <= limit else shift


@numba.njit(cache=True, nogil=True)
def _farthest(positions, before):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """Square of the largest distance that an atom has moved; no number where a position is none."""
    farthest = 0.0
    for i in range(len(positions)):
        x, y, z = positions[i, 0] - before[i, 0], positions[i, 1] - before[i, 1], positions[i, 2] - before[i, 2]
        square = x * x + y * y + z * z
        if math.isnan(square):
            return square
        farthest = max(farthest, square)
    return farthest


@numba.njit(cache=True, nogil=True, inline="always")
def _image_comes_first(shift, p, q):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """Whether the image of pair p stands before that of pair q."""
    if shift[p, 0] != shift[q, 0]:
        return shift[p, 0] < shift[q, 0]
    if shift[p, 1] != shift[q, 1]:
        return shift[p, 1] < shift[q, 1]
    return shift[p, 2] < shift[q, 2]


@numba.njit(cache=True, nogil=True, inline="always")
def _sort_keys(keys, other, n):  # type: ignore[no-untyped-def]
    """Sort n whole numbers: by insertion into runs, then by merging runs of twice the length; returns where they are."""
    for start in range(0, n, 8):
        for k in range(start, min(start + 8, n)):
            key, place = keys[k], k
            while place > start and key < keys[place - 1]:
                keys[place] = keys[place - 1]
                place -= 1
            keys[place] = key
    run = 8
    while run < n:
        for start in range(0, n, 2 * run):
            a, b = start, min(start + run, n)
            middle, end = b, min(start + 2 * run, n)
            k = start
            while a < middle and b < end:  # no branch in the loop: a misprediction costs more than a move
                first, second = keys[a], keys[b]
                later = second < first
                other[k] = second if later else first
                b += later
                a += not later
                k += 1
            while a < middle:
                other[k] = keys[a]
                a, k = a + 1, k + 1
            while b < end:
                other[k] = keys[b]
                b, k = b + 1, k + 1
        keys, other = other, keys
        run *= 2
    return keys


@numba.njit(cache=True, nogil=True)
def sort_pairs(offsets, j, shift, kind, sorted_j, sorted_shift):  # type: ignore[no-untyped-def]
    """Sort the pairs of every centre by species, index and image of the neighbour.

    Parameters
    ----------
    offsets, j, shift
        Pairs as :class:`Candidates` has them, in any order.
    kind : (n,) int64
        Species index of each atom.
    sorted_j, sorted_shift
        Filled.

    Examples
    --------
    >>> j, images = np.array([1, 0], dtype=np.int32), np.zeros((2, 3), dtype=np.int32)
    >>> found = np.empty_like(j), np.empty_like(images)
    >>> sort_pairs(np.array([0, 2]), j, images, np.zeros(2, dtype=np.int64), *found)
    >>> found[0].tolist()
    [0, 1]
    """
    most = 0
    for c in range(len(offsets) - 1):
        most = max(most, offsets[c + 1] - offsets[c])
    keys, other = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    for c in range(len(offsets) - 1):
        first, n = offsets[c], offsets[c + 1] - offsets[c]
        for k in range(n):  # species, index and place in one number: 7, 32 and 24 bits
            keys[k] = (kind[j[first + k]] << 56) | (np.int64(j[first + k]) << 24) | k
        found = _sort_keys(keys, other, n)
        for k in range(n):
            found[k] = first + (found[k] & 0xFFFFFF)
        for k in range(1, n):  # images of one atom stand together
            place, p = k, found[k]
            while place > 0 and j[p] == j[found[place - 1]] and _image_comes_first(shift, p, found[place - 1]):
                found[place] = found[place - 1]
                place -= 1
            found[place] = p
        for k in range(n):
            p = found[k]
            sorted_j[first + k] = j[p]
            for axis in range(3):
                sorted_shift[first + k, axis] = shift[p, axis]
