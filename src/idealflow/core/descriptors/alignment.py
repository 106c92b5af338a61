"""Arrays that begin where a vector of eight doubles does: one that lies across two lines of the cache takes two reads."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["aligned", "aligned_zeros"]

#: bytes of a line of the cache, and of eight doubles
_LINE = 64


def aligned(size: int, dtype: DTypeLike) -> NDArray[Any]:
    """An array of ``size`` numbers of any value that begins with a line of the cache.

    Examples
    --------
    >>> array = aligned(5, np.float64)
    >>> array.shape, array.ctypes.data % 64
    ((5,), 0)
    """
    n_bytes = size * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + n_bytes].view(dtype)


@numba.njit(cache=True, nogil=True)
def aligned_zeros(size, like):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """An array of zeros that begins with a line of the cache, of the type of the array ``like``; for compiled functions.

    Examples
    --------
    >>> array = aligned_zeros(5, np.ones(1, dtype=np.float32))
    >>> array.dtype, array.tolist(), array.ctypes.data % 64
    (dtype('float32'), [0.0, 0.0, 0.0, 0.0, 0.0], 0)
    """
    memory = np.zeros(size + _LINE // like.itemsize, dtype=like.dtype)
    start = -memory.ctypes.data % _LINE // like.itemsize
    return memory[start : start + size]
