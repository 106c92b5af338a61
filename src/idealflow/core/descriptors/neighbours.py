"""All pairs within a cutoff, in linear time, for any cell: a pure function of its input.

Atoms are sorted into bins along the fractional axes; a centre looks through the bins its sphere can reach, periodic
directions wrapped with their image counted, so cells smaller than the cutoff give an atom's own images as neighbours.
There is no list kept from step to step: the order of pairs, and with it the last bit of every sum over them, depends
on the frame alone, on which bitwise resumable dynamics rests.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from ase.geometry import complete_cell
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["NeighbourGrid", "Pairs", "neighbour_pairs"]

_BINS_PER_CUTOFF = 2  # half-cutoff bins: 3.7 candidates per neighbour instead of 6.4


class Pairs(NamedTuple):
    """Neighbours of each centre, compressed by rows: those of centre c are ``offsets[c]:offsets[c + 1]``.

    Attributes
    ----------
    offsets : (n_centres + 1,) int64
    j : (n_pairs,) int32
        Index of the neighbour.
    shift : (n_pairs, 3) int32
        Image of the neighbour, in cell vectors.
    vec : (n_pairs, 3) float64, Å
        ``positions[j] + shift @ cell - positions[centre]``.
    """

    offsets: NDArray[np.int64]
    j: NDArray[np.int32]
    shift: NDArray[np.int32]
    vec: NDArray[np.float64]


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
    """
    return NeighbourGrid(positions, cell, pbc, cutoff).pairs(centres)


class NeighbourGrid:
    """Atoms of one frame sorted into bins, for neighbours of some centres at a time.

    Parameters and errors are those of :func:`neighbour_pairs`.
    """

    def __init__(self, positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float) -> None:
        self._r = np.ascontiguousarray(positions, dtype=np.float64).reshape(-1, 3)
        periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), (3,)).copy()
        self._h = np.ascontiguousarray(np.asarray(cell, dtype=np.float64).reshape(3, 3))
        self._cutoff = float(cutoff)
        _check(self._r, self._h, periodic, self._cutoff)
        self._bins = _grid(self._r, self._h, periodic, self._cutoff)

    def pairs(self, centres: ArrayLike | None = None) -> Pairs:
        """Neighbours of the atoms at ``centres``, or of all."""
        wanted = np.arange(len(self._r)) if centres is None else np.asarray(centres, dtype=np.int64).reshape(-1)
        counts = np.zeros(len(wanted), dtype=np.int64)
        offsets = np.zeros(len(wanted) + 1, dtype=np.int64)
        none = (np.zeros(0, np.int32), np.zeros((0, 3), np.int32), np.zeros((0, 3)))
        _search(self._r, self._h, self._cutoff**2, wanted, *self._bins, counts, offsets, *none, False)
        np.cumsum(counts, out=offsets[1:])
        n = int(offsets[-1])
        pairs = Pairs(offsets, np.empty(n, np.int32), np.empty((n, 3), np.int32), np.empty((n, 3)))
        _search(self._r, self._h, self._cutoff**2, wanted, *self._bins, counts, *pairs, True)
        return pairs


def _check(r: NDArray[Any], h: NDArray[Any], periodic: NDArray[Any], cutoff: float) -> None:
    if not cutoff > 0.0 or not np.isfinite(cutoff):
        raise InputError(f"a cutoff must be positive and finite, got {cutoff}")
    bad = np.flatnonzero(~np.isfinite(r).all(axis=1))
    if bad.size:
        raise InputError(f"positions must be finite, atom {bad[0]} is at {r[bad[0]].tolist()}")
    if not np.isfinite(h).all() or (periodic.any() and abs(np.linalg.det(_full(h, periodic))) < 1e-10):
        raise InputError(
            f"a periodic cell must be finite and span a volume, got {h.tolist()} with pbc {periodic.tolist()}"
        )


def _full(h: NDArray[np.float64], periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cell with the vectors of non-periodic directions replaced by unit normals: they only serve as axes to bin along."""
    kept = np.where(periodic[:, None], h, 0.0)
    full: NDArray[np.float64] = np.asarray(complete_cell(kept), dtype=np.float64)
    return full


def _grid(
    r: NDArray[np.float64], h: NDArray[np.float64], periodic: NDArray[np.bool_], cutoff: float
) -> tuple[Any, ...]:
    """Bins: counts and reach per direction, atoms sorted by bin, and the cell each atom lies in."""
    full = _full(h, periodic)
    inverse = np.linalg.inv(full)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    fractional = r @ inverse
    wraps = np.where(periodic, np.floor(fractional), 0.0)
    fractional -= wraps
    low = np.where(periodic, 0.0, fractional.min(axis=0, initial=0.0) if len(r) else 0.0)
    span = np.where(periodic, 1.0, np.ptp(fractional, axis=0) if len(r) else 0.0)
    extent = span * heights
    bins = np.maximum(1, np.floor(extent / (cutoff / _BINS_PER_CUTOFF))).astype(np.int64)
    while bins.prod() > 4 * len(r) + 8:  # mostly empty space: coarser bins cost nothing
        bins[np.argmax(bins)] = (bins.max() + 1) // 2
    reach = np.where(
        periodic | (bins > 1), np.ceil(cutoff * bins / np.maximum(extent, 1e-300) * (1.0 + 1e-12)), 0
    ).astype(np.int64)
    reach = np.where(periodic, reach, np.minimum(reach, bins - 1))
    index = ((fractional - low) / np.where(span > 0, span, 1.0) * bins).astype(np.int64)
    np.clip(index, 0, bins - 1, out=index)
    flat = (index[:, 0] * bins[1] + index[:, 1]) * bins[2] + index[:, 2]
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(bins.prod() + 1))
    return periodic, bins, reach, index, starts, order, wraps.astype(np.int32), np.ascontiguousarray(r[order])


@numba.njit(cache=True, nogil=True, parallel=True)
def _search(  # type: ignore[no-untyped-def]  # noqa: C901  # numba compiles it for the types it meets; six nested loops
    r,
    h,
    cutoff2,
    wanted,
    periodic,
    bins,
    reach,
    index,
    starts,
    order,
    wraps,
    sorted_r,
    counts,
    offsets,
    j,
    shift,
    vec,
    fill,
):
    for c in numba.prange(len(wanted)):
        i = wanted[c]
        n = 0
        base = offsets[c]
        for o0 in range(-reach[0], reach[0] + 1):
            b0 = index[i, 0] + o0
            t0 = 0
            if periodic[0]:
                t0 = b0 // bins[0]
                b0 -= t0 * bins[0]
            elif b0 < 0 or b0 >= bins[0]:
                continue
            for o1 in range(-reach[1], reach[1] + 1):
                b1 = index[i, 1] + o1
                t1 = 0
                if periodic[1]:
                    t1 = b1 // bins[1]
                    b1 -= t1 * bins[1]
                elif b1 < 0 or b1 >= bins[1]:
                    continue
                for o2 in range(-reach[2], reach[2] + 1):
                    b2 = index[i, 2] + o2
                    t2 = 0
                    if periodic[2]:
                        t2 = b2 // bins[2]
                        b2 -= t2 * bins[2]
                    elif b2 < 0 or b2 >= bins[2]:
                        continue
                    flat = (b0 * bins[1] + b1) * bins[2] + b2
                    for s in range(starts[flat], starts[flat + 1]):
                        k = order[s]
                        s0 = t0 - wraps[k, 0] + wraps[i, 0]
                        s1 = t1 - wraps[k, 1] + wraps[i, 1]
                        s2 = t2 - wraps[k, 2] + wraps[i, 2]
                        if k == i and s0 == 0 and s1 == 0 and s2 == 0:
                            continue
                        x = sorted_r[s, 0] + (s0 * h[0, 0] + s1 * h[1, 0] + s2 * h[2, 0]) - r[i, 0]
                        y = sorted_r[s, 1] + (s0 * h[0, 1] + s1 * h[1, 1] + s2 * h[2, 1]) - r[i, 1]
                        z = sorted_r[s, 2] + (s0 * h[0, 2] + s1 * h[1, 2] + s2 * h[2, 2]) - r[i, 2]
                        if x * x + y * y + z * z < cutoff2:
                            if fill:
                                p = base + n
                                j[p] = k
                                shift[p, 0], shift[p, 1], shift[p, 2] = s0, s1, s2
                                vec[p, 0], vec[p, 1], vec[p, 2] = x, y, z
                            n += 1
        counts[c] = n
