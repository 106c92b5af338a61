"""Products of many rows with a small matrix, computed without BLAS.

BLAS may start threads of its own for every product, however small, and these compete with the threads that screen blocks of
atoms. The order of its sums, and so the last bit of a result, depends on their number; here it is always the same.
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
    """Copy of a matrix, extended by zeros to multiples of eight rows and columns, as :func:`row_products` needs it.

    Examples
    --------
    >>> padded(np.ones((3, 10))).shape
    (8, 16)
    """
    out = np.zeros([-(-n // LANES) * LANES for n in matrix.shape])
    out[: matrix.shape[0], : matrix.shape[1]] = matrix
    return out


def row_products(rows: Float, matrix: Float, n_columns: int) -> Float:
    """``rows @ matrix``, for a matrix that :func:`padded` has extended.

    Parameters
    ----------
    rows : (n, k)
        k is at most p; missing columns count as zeros.
    matrix : (p, m)
        p and m are multiples of eight.
    n_columns
        Columns of the product that are wanted, at most m.

    Returns
    -------
    (n, n_columns)

    Examples
    --------
    >>> rows, matrix = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2)
    >>> bool((row_products(rows, padded(matrix), n_columns=2) == rows @ matrix).all())
    True
    """
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
