"""Matrix products of many rows with a small matrix, free of the BLAS: no threads of its own, the same bits everywhere.

A BLAS starts threads behind every product however small, which fight with the threads that screen blocks of atoms; and the
order of its sums, so the last bit, depends on their number.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from idealflow.core.descriptors.vectors import CACHED, LANES, block_product

__all__ = ["padded", "row_products"]

_ROWS = 16

Float = NDArray[np.float64]


def padded(matrix: Float) -> Float:
    """Copy with zeros up to multiples of eight rows and columns."""
    out = np.zeros([-(-n // LANES) * LANES for n in matrix.shape])
    out[: matrix.shape[0], : matrix.shape[1]] = matrix
    return out


def row_products(rows: Float, matrix: Float, n_columns: int) -> Float:
    """``rows @ matrix`` for a :func:`padded` matrix (p, m): rows (n, at most p) → (n, n_columns)."""
    wide = np.zeros((len(rows), len(matrix)))
    wide[:, : rows.shape[1]] = rows
    out = np.zeros((len(rows), matrix.shape[1]))
    _multiply(wide.reshape(-1), matrix.reshape(-1), len(rows), *matrix.shape, out.reshape(-1))
    return out[:, :n_columns]


@numba.njit(cache=CACHED, nogil=True)
def _multiply(rows, matrix, n, p, m, out):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    for start in range(0, n, _ROWS):  # few enough rows to stay in the first cache while the matrix passes by
        count = min(_ROWS, n - start)
        for a in range(0, p, 8):
            for b in range(0, m, 8):
                block_product(out, start * m + b, m, rows, start * p + a, p, matrix, a * m + b, m, count)
