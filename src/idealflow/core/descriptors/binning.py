"""Sorting by bin in linear time, as numpy's stable sort would."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["sorted_by_bin"]


def sorted_by_bin(
    home: NDArray[np.int32], n_bins: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Sort atoms by their bins; atoms of one bin keep their order.

    Parameters
    ----------
    home : (n,) int32
        Bin of each atom, from 0.
    n_bins
        Number of bins.

    Returns
    -------
    tuple
        The atom in each place of the sorted order (n,), the place of each atom (n,), and the first place of each bin
        (n_bins + 1,).

    Examples
    --------
    >>> order, slot, starts = sorted_by_bin(np.array([2, 0, 2], dtype=np.int32), 3)
    >>> order.tolist(), slot.tolist(), starts.tolist()
    ([1, 0, 2], [1, 0, 2], [0, 1, 1, 3])
    """
    order, slot = np.empty(len(home), dtype=np.int32), np.empty(len(home), dtype=np.int32)
    starts = np.zeros(n_bins + 1, dtype=np.int64)
    _sort(home, order, slot, starts)
    return order, slot, starts


@numba.njit(cache=True, nogil=True)
def _sort(home, order, slot, starts):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """Count, then put every atom into the next place of its bin."""
    for bin_ in home:
        starts[bin_ + 1] += 1
    for bin_ in range(len(starts) - 1):
        starts[bin_ + 1] += starts[bin_]
    place = starts.copy()
    for atom in range(len(home)):
        slot[atom] = place[home[atom]]
        order[slot[atom]] = atom
        place[home[atom]] += 1
