"""Products of many rows with a small matrix, computed without BLAS.

BLAS may start threads of its own for every product, however small, and these compete with the threads that screen blocks of
atoms. The order of its sums, and so the last bit of a result, depends on their number; here it is always the same.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from idealflow.core.descriptors.vectors import CACHED, LANES, block_product

__all__ = ["ROWS", "add_products", "padded", "row_products"]

#: rows taken at a time: few enough to stay in the first cache while a panel of the matrix passes by
ROWS = 16

#: numbers of the matrix in a panel, which stays in a core's own cache while all rows pass by
_PANEL = 65_536

Float = NDArray[np.float64]


def padded(matrix: Float, *, least: int = 0) -> Float:
    """Copy of a matrix, extended by zeros to multiples of eight rows and columns, as :func:`row_products` needs it.

    Parameters
    ----------
    matrix : (n, m)
    least
        Fewest rows and columns, a multiple of eight.

    Examples
    --------
    >>> padded(np.ones((3, 10))).shape
    (8, 16)
    """
    out = np.zeros([max(least, -(-n // LANES) * LANES) for n in matrix.shape])
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
    add_products(
        out.reshape(-1), matrix.shape[1], wide.reshape(-1), len(matrix), matrix.reshape(-1), len(rows), 0, len(matrix), 0,
        matrix.shape[1],
    )  # fmt: skip
    return out[:, :n_columns]


@numba.njit(cache=CACHED, nogil=True)
def add_products(out, so, rows, sr, matrix, n, first, p, left, m):  # type: ignore[no-untyped-def]  # numba compiles it for the types it meets
    """Add to ``out`` the product of rows with a part of a matrix: ``out[r, j] += Σ_i rows[r, i] matrix[i, j]``.

    Parameters
    ----------
    out, rows, matrix
        Flat.
    so, sr
        Length of a row of ``out``, which is that of a row of the matrix too, and of ``rows``.
    n
        Number of rows.
    first, p
        i runs from ``first`` to below ``p``, both multiples of eight.
    left, m
        j runs from ``left`` to below ``m``, likewise.

    Examples
    --------
    >>> rows, matrix, out = np.ones(8), np.arange(64.0), np.zeros(8)
    >>> add_products(out, 8, rows, 8, matrix, 1, 0, 8, 0, 8)
    >>> bool((out == matrix.reshape(8, 8).sum(axis=0)).all())
    True
    """
    panel = max(8, _PANEL // max(8, m - left) // 8 * 8)
    for top in range(first, p, panel):
        for start in range(0, n, ROWS):
            count = min(ROWS, n - start)
            for a in range(top, min(top + panel, p), 8):
                for b in range(left, m, 8):
                    block_product(out, start * so + b, so, rows, start * sr + a, sr, matrix, a * so + b, so, count)
