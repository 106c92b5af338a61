"""All pairs within a cutoff, in linear time, for any cell: a pure function of its input.

Atoms are sorted into bins along the cell vectors; bins along the third vector lie side by side in memory. For a centre the
rows of bins that its sphere can reach are searched. Periodic directions wrap around, and the number of the image is counted,
so in cells smaller than the cutoff an atom has its own images as neighbours.

Nothing is kept from step to step. So the order of pairs, and with it the last bit of every sum over them, depends on the
frame alone, which dynamics needs to resume to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from ase.geometry import complete_cell
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors.binning import sorted_by_bin
from idealflow.errors import InputError

__all__ = ["NeighbourGrid", "Pairs", "SortedAtoms", "neighbour_pairs"]

#: bins half a cutoff wide give 3.7 candidates per neighbour instead of 6.4; along the third axis finer bins cost nothing
_BINS_PER_CUTOFF = np.array([2, 2, 4])


class Pairs(NamedTuple):
    """Neighbours of some centres: those of centre c are rows ``offsets[c]`` to ``offsets[c + 1]`` of the other arrays.

    Attributes
    ----------
    offsets : (n_centres + 1,) int64
    j : (n_pairs,) int32
        Index of the neighbour.
    shift : (n_pairs, 3) int32
        Image of the neighbour, in cell vectors.
    vec : (n_pairs, 3) float64, Å
        From the centre to the neighbour: ``positions[j] + shift @ cell - positions[centre]``.

    Examples
    --------
    >>> pairs = neighbour_pairs([[0, 0, 0], [0, 0, 1], [0, 0, 5]], np.zeros((3, 3)), [False] * 3, cutoff=2.0)
    >>> pairs.offsets.tolist(), pairs.j.tolist()
    ([0, 1, 2, 2], [1, 0])
    """

    offsets: NDArray[np.int64]
    j: NDArray[np.int32]
    shift: NDArray[np.int32]
    vec: NDArray[np.float64]


class SortedAtoms(NamedTuple):
    """Atoms wrapped into the cell and sorted into bins; bins along the third axis lie side by side.

    Attributes
    ----------
    cell : (3, 3), Å
        Zero in directions that are not periodic.
    periodic : (3,) bool
    bins, reach : (3,)
        Number of bins along each axis; how many bins to each side can contain neighbours.
    starts : (n_bins + 1,)
        First slot of each bin in the sorted order.
    slot : (n_atoms,)
        Place of each atom in the sorted order.
    home : (n_atoms,)
        Bin of each atom.
    x : (3, n_atoms), Å
        Wrapped positions in sorted order.
    order : (n_atoms,)
        Atom in each slot.
    wraps : (n_atoms, 3)
        The periodic image of the cell in which each atom lies.

    Examples
    --------
    >>> atoms = NeighbourGrid([[0.5, 0, 0], [12.0, 0, 0]], np.eye(3) * 10.0, [True] * 3, cutoff=3.0).sorted_atoms
    >>> atoms.wraps.tolist()
    [[0, 0, 0], [1, 0, 0]]
    """

    cell: NDArray[np.float64]
    periodic: NDArray[np.bool_]
    bins: NDArray[np.int64]
    reach: NDArray[np.int64]
    starts: NDArray[np.int64]
    slot: NDArray[np.int32]
    home: NDArray[np.int32]
    x: NDArray[np.float64]
    order: NDArray[np.int32]
    wraps: NDArray[np.int32]


def neighbour_pairs(
    positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float, centres: ArrayLike | None = None
) -> Pairs:
    """Find every neighbour closer than the cutoff; an atom is not its own neighbour, its periodic images are.

    Parameters
    ----------
    positions : (n_atoms, 3), Å
        Anywhere; positions outside the cell are handled.
    cell : (3, 3), Å
        Cell vectors as rows; left-handed and skewed cells are fine, vectors of non-periodic directions may be zero.
    pbc : (3,) bool
    cutoff
        Å.
    centres : (n_centres,) int, optional
        Atoms whose neighbours are wanted, in this order; default: all.

    Raises
    ------
    InputError
        If positions or cell are not finite, a periodic cell is flat, or the cutoff is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Cu")  # one atom, whose images are its neighbours
    >>> pairs = neighbour_pairs(crystal.positions, crystal.cell.array, crystal.pbc, cutoff=2.6)
    >>> len(pairs.j), round(float(np.linalg.norm(pairs.vec, axis=1).max()), 3)
    (12, 2.553)
    """
    return NeighbourGrid(positions, cell, pbc, cutoff).pairs(centres)


class NeighbourGrid:
    """Atoms of one frame sorted into bins, for neighbours of some centres at a time.

    Making one costs O(n_atoms); neighbours of a centre then cost the same in any frame. Parameters and errors are those
    of :func:`neighbour_pairs`.

    Attributes
    ----------
    cutoff
        Å.
    sorted_atoms
        The atoms in their bins.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> grid = NeighbourGrid(crystal.positions, crystal.cell.array, crystal.pbc, cutoff=2.6)
    >>> grid.pairs([7]).offsets.tolist()
    [0, 12]
    """

    def __init__(self, positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float) -> None:
        r = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
        periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), (3,)).copy()
        h = np.ascontiguousarray(np.asarray(cell, dtype=np.float64).reshape(3, 3))
        _check(r, h, periodic, cutoff)
        self._n_atoms = len(r)
        self.cutoff = float(cutoff)
        self.sorted_atoms = _sorted_into_bins(r, h, periodic, cutoff)

    def pairs(self, centres: ArrayLike | None = None, within: float | None = None) -> Pairs:
        """Neighbours of the atoms at ``centres``, or of all; ``within`` a distance below the cutoff, Å."""
        cutoff2 = min(self.cutoff, np.inf if within is None else within) ** 2
        wanted = np.arange(self._n_atoms) if centres is None else np.asarray(centres, dtype=np.int64).reshape(-1)
        atoms = self.sorted_atoms
        room = _room(wanted, atoms.periodic, atoms.bins, atoms.reach, atoms.starts, atoms.home)
        offsets = np.zeros(len(wanted) + 1, np.int64)
        j, shift, vec = np.empty(room, np.int32), np.empty((room, 3), np.int32), np.empty((room, 3))
        n = _fill(wanted, cutoff2, *atoms, offsets, j, shift, vec)
        j.resize(n, refcheck=False)  # gives back what was too much, and copies nothing
        shift.resize((n, 3), refcheck=False)
        vec.resize((n, 3), refcheck=False)
        return Pairs(offsets, j, shift, vec)


def _check(r: NDArray[Any], h: NDArray[Any], periodic: NDArray[Any], cutoff: float) -> None:
    if not cutoff > 0.0 or not np.isfinite(cutoff):
        raise InputError(f"a cutoff must be positive and finite, got {cutoff}")
    if not np.isfinite(r).all():
        bad = int(np.flatnonzero(~np.isfinite(r).all(axis=1))[0])
        raise InputError(f"positions must be finite, atom {bad} is at {r[bad].tolist()}")
    if not _spans(h, periodic):
        raise InputError(
            f"a periodic cell must be finite and span a volume, got {h.tolist()} with pbc {periodic.tolist()}"
        )


@numba.njit(cache=True, nogil=True)
def _spans(h, periodic):  # type: ignore[no-untyped-def]
    """Whether the cell is finite, and the periodic vectors span a length, an area or a volume.

    Each is orthogonalised against those before it; what is left of it has to be more than a millionth of what they span.
    """
    left, share = np.zeros((3, 3)), 1.0
    for k in range(3):
        for c in range(3):
            if not np.isfinite(h[k, c]):
                return False
        if not periodic[k]:
            continue
        length = np.sqrt(h[k, 0] ** 2 + h[k, 1] ** 2 + h[k, 2] ** 2)
        if length == 0.0:
            return False
        left[k] = h[k] / length
        for i in range(k):
            along = left[k, 0] * left[i, 0] + left[k, 1] * left[i, 1] + left[k, 2] * left[i, 2]
            left[k] -= along * left[i]
        size = np.sqrt(left[k, 0] ** 2 + left[k, 1] ** 2 + left[k, 2] ** 2)
        share *= size
        if share <= 1e-6:
            return False
        left[k] /= size
    return True


def _full(h: NDArray[np.float64], periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cell whose vectors of open directions are replaced by unit vectors normal to the others, as axes for the bins."""
    kept = np.where(periodic[:, None], h, 0.0)
    full: NDArray[np.float64] = np.asarray(complete_cell(kept), dtype=np.float64)
    return full


def _sorted_into_bins(
    r: NDArray[np.float64], h: NDArray[np.float64], periodic: NDArray[np.bool_], cutoff: float
) -> SortedAtoms:
    """Wrap atoms into the cell and sort them by bin."""
    closed = bool(periodic.all())
    inverse = np.linalg.inv(h if closed else _full(h, periodic))
    wraps, home = np.empty((len(r), 3)), np.empty(len(r), dtype=np.int32)
    bins, reach = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    _into_bins(r @ inverse, inverse, periodic, cutoff, wraps, home, bins, reach)
    order, slot, starts = sorted_by_bin(home, int(bins[0] * bins[1] * bins[2]))
    kept = h.copy() if closed else np.where(periodic[:, None], h, 0.0)
    x = np.ascontiguousarray((r - wraps @ kept)[order].T)
    return SortedAtoms(kept, periodic, bins, reach, starts, slot, home, x, order, wraps.astype(np.int32))


@numba.njit(cache=True, nogil=True)
def _into_bins(fractional, inverse, periodic, cutoff, wraps, home, bins, reach):  # type: ignore[no-untyped-def]
    """Whole cells in which atoms lie, the bin of each, the number of bins and how many to each side are searched.

    Arrays are written in place, ``fractional`` becomes what is left within the cell.
    """
    n = len(fractional)
    extent, low, span, many = np.empty(3), np.zeros(3), np.ones(3), np.empty(3)
    most = 4.0 * n + 8.0  # where space is mostly empty, coarser bins cost nothing
    for k in range(3):
        lowest, highest = np.inf, -np.inf
        for i in range(n):
            wraps[i, k] = np.floor(fractional[i, k]) if periodic[k] else 0.0
            fractional[i, k] -= wraps[i, k]
            lowest, highest = min(lowest, fractional[i, k]), max(highest, fractional[i, k])
        if n > 0 and not periodic[k]:
            low[k], span[k] = lowest, highest - lowest
        height = 1.0 / np.sqrt(inverse[0, k] ** 2 + inverse[1, k] ** 2 + inverse[2, k] ** 2)
        extent[k] = span[k] * height
        many[k] = min(max(np.floor(extent[k] / cutoff * _BINS_PER_CUTOFF[k]), 1.0), most)
    while many[0] * many[1] * many[2] > most:
        largest = np.argmax(many)
        many[largest] = np.ceil(many[largest] / 2.0)
    for k in range(3):
        far = np.ceil(cutoff * many[k] / max(extent[k], 1e-300) * (1.0 + 1e-12))
        reach[k] = np.int64(far if periodic[k] else min(far, many[k] - 1.0))
        bins[k] = np.int64(many[k])
        if span[k] <= 0.0:
            span[k] = 1.0
    for i in range(n):
        place = 0
        for k in range(3):
            index = (fractional[i, k] - low[k]) / span[k] * many[k]
            place = place * bins[k] + np.int64(min(max(index, 0.0), many[k] - 1.0))
        home[i] = place


@numba.njit(cache=True, nogil=True, inline="always")
def _slots(row, low, high, n2, image, starts):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """Slots [first, end) of the bins ``low`` to ``high`` that lie in one image along the third axis."""
    first = max(low - image * n2, 0)
    last = min(high - image * n2, n2 - 1)
    return starts[row + first], starts[row + last + 1]


@numba.njit(cache=True, nogil=True)
def _room(wanted, periodic, bins, reach, starts, home):  # type: ignore[no-untyped-def]
    """How many atoms, images included, the bins hold that are searched for neighbours of the centres."""
    room = 0
    for c in range(len(wanted)):
        b2 = home[wanted[c]] % bins[2]
        b1 = home[wanted[c]] // bins[2] % bins[1]
        b0 = home[wanted[c]] // (bins[2] * bins[1])
        low, high = b2 - reach[2], b2 + reach[2]
        for o0 in range(b0 - reach[0], b0 + reach[0] + 1):
            t0 = o0 // bins[0]
            if t0 != 0 and not periodic[0]:
                continue
            for o1 in range(b1 - reach[1], b1 + reach[1] + 1):
                t1 = o1 // bins[1]
                if t1 != 0 and not periodic[1]:
                    continue
                row = ((o0 - t0 * bins[0]) * bins[1] + o1 - t1 * bins[1]) * bins[2]
                for t2 in range(low // bins[2], high // bins[2] + 1):
                    if t2 == 0 or periodic[2]:
                        first, end = _slots(row, low, high, bins[2], t2, starts)
                        room += end - first
    return room


@numba.njit(cache=True, nogil=True)
def _fill(  # type: ignore[no-untyped-def]
    wanted, cutoff2, h, periodic, bins, reach, starts, slot, home, x, order, wraps, offsets, j, shift, vec
):
    """Neighbours of every centre, in the order of their bins, and where those of each end; returns how many there are in all."""
    near = np.empty(max(1, len(order)), dtype=np.int64)
    p = 0
    for c in range(len(wanted)):
        i = wanted[c]
        own = slot[i]
        b2 = home[i] % bins[2]
        b1 = home[i] // bins[2] % bins[1]
        b0 = home[i] // (bins[2] * bins[1])
        low, high = b2 - reach[2], b2 + reach[2]
        for o0 in range(b0 - reach[0], b0 + reach[0] + 1):
            t0 = o0 // bins[0]
            if t0 != 0 and not periodic[0]:
                continue
            for o1 in range(b1 - reach[1], b1 + reach[1] + 1):
                t1 = o1 // bins[1]
                if t1 != 0 and not periodic[1]:
                    continue
                row = ((o0 - t0 * bins[0]) * bins[1] + o1 - t1 * bins[1]) * bins[2]
                for t2 in range(low // bins[2], high // bins[2] + 1):
                    if t2 != 0 and not periodic[2]:
                        continue
                    first, end = _slots(row, low, high, bins[2], t2, starts)
                    sx = t0 * h[0, 0] + t1 * h[1, 0] + t2 * h[2, 0] - x[0, own]
                    sy = t0 * h[0, 1] + t1 * h[1, 1] + t2 * h[2, 1] - x[1, own]
                    sz = t0 * h[0, 2] + t1 * h[1, 2] + t2 * h[2, 2] - x[2, own]
                    here = own if t0 == 0 and t1 == 0 and t2 == 0 else -1
                    n = 0
                    for s in range(first, end):  # no branch in the loop: a misprediction costs more than a store
                        dx, dy, dz = x[0, s] + sx, x[1, s] + sy, x[2, s] + sz
                        near[n] = s
                        n += (dx * dx + dy * dy + dz * dz < cutoff2) & (s != here)
                    for q in range(n):
                        s = near[q]
                        k = order[s]
                        j[p] = k
                        shift[p, 0] = t0 - wraps[k, 0] + wraps[i, 0]
                        shift[p, 1] = t1 - wraps[k, 1] + wraps[i, 1]
                        shift[p, 2] = t2 - wraps[k, 2] + wraps[i, 2]
                        vec[p, 0], vec[p, 1], vec[p, 2] = x[0, s] + sx, x[1, s] + sy, x[2, s] + sz
                        p += 1
        offsets[c + 1] = p
    return p
