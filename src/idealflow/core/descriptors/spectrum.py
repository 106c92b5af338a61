"""The power spectrum of the densities around every centre, and the reverse pass of a scalar through it.

p[Z n, Z' n', l] = π sqrt(8 / (2l + 1)) Σ_m c[Z, lm, n] c[Z', lm, n'], from the coefficients c of
:mod:`~idealflow.core.descriptors.kernel`, whose layout they have here. Products and what is written are taken eight numbers
at a time.
"""

from __future__ import annotations

import numba
import numpy as np

from idealflow.core.descriptors.alignment import aligned_zeros
from idealflow.core.descriptors.vectors import CACHED, block_product, gram_at, gram_half, set_scaled, transpose

__all__ = ["power_spectrum", "power_spectrum_reverse"]


@numba.njit(cache=CACHED, nogil=True)
def power_spectrum(coefficients, n_centres, pairs, n_max, n_pad, l_max, out):  # type: ignore[no-untyped-def]
    """Rotation invariants of every centre into ``out`` (n_centres, n_features), in DScribe's order.

    Order: pairs of densities Z, Z' (n_pairs, 2), of which one past the last is the sum of all
    (:func:`~idealflow.core.descriptors.compression.density_pairs`); l; n; n' (n' ≥ n where Z' = Z).

    Examples
    --------
    With one centre, one species and l = 0 the features are π √8 times the products of the coefficients, here 2 and 3:

    >>> coefficients, out = np.array([2.0, 3.0] + [0.0] * 6), np.empty((1, 3))
    >>> power_spectrum(coefficients, 1, np.array([[0, 0]]), 2, 8, 0, out)
    >>> (out[0] / (np.pi * np.sqrt(8.0))).round(9).tolist()
    [4.0, 6.0, 9.0]
    """
    size = (l_max + 1) ** 2 * n_pad
    n_densities = len(coefficients) // max(1, n_centres * size)
    block, total = aligned_zeros(8 * n_pad + 8, coefficients), aligned_zeros(size, coefficients)
    flat, n_features = out.reshape(-1), out.shape[1]
    for i in range(n_centres):
        f = 0
        if (pairs == n_densities).any():
            _add_up(coefficients, i * n_densities * size, n_densities, total)
        for pair in range(len(pairs)):
            z, w = pairs[pair, 0], pairs[pair, 1]
            summed = w == n_densities
            second_of = total if summed else coefficients
            for l in range(l_max + 1):
                scale = np.pi * np.sqrt(8.0 / (2 * l + 1))
                one = (i * n_densities + z) * size + l * l * n_pad
                other = (0 if summed else (i * n_densities + w) * size) + l * l * n_pad
                here = i * n_features + f
                for first in range(0, n_max, 8):
                    rows = min(8, n_max - first)
                    for second in range(first if z == w else 0, n_max, 8):
                        there, start, other_start = 8 * second, one + first, other + second
                        if rows > 4:
                            gram_at(block, there, coefficients, start, n_pad, second_of, other_start, n_pad, 2 * l + 1)
                        else:
                            gram_half(
                                block, there, coefficients, start, n_pad, second_of, other_start, n_pad, 2 * l + 1
                            )  # fmt: skip
                    if here + (first + rows) * n_max + 8 > len(flat):
                        _copy(block, scale, first, rows, n_max, z == w, flat, here)
                    else:
                        _copy_vectors(block, scale, first, rows, n_max, z == w, flat, here)
                f += n_max * (n_max + 1) // 2 if z == w else n_max * n_max


@numba.njit(cache=CACHED, nogil=True)
def _copy(block, scale, first, rows, n_max, same, flat, here):  # type: ignore[no-untyped-def]
    """Rows of a block of products into ``flat``, one number at a time: at its end, where vectors would lie outside."""
    for n in range(first, first + rows):
        begin, row = _row(n, n_max, same)
        for k in range(begin, n_max):
            flat[here + row + k] = scale * block[8 * (k // 8 * 8 + n - first) + k % 8]


@numba.njit(cache=CACHED, nogil=True)
def _copy_vectors(block, scale, first, rows, n_max, same, flat, here):  # type: ignore[no-untyped-def]
    """The same eight numbers at a time. What a vector has beyond the end of its row is written over by what comes later."""
    last = (n_max - 1) // 8 * 8
    if not same:
        for second in range(last, -1, -8):
            set_scaled(flat, here + first * n_max + second, n_max, 0, scale, block, 8 * second, rows)
    elif first == last:
        row = _row(first, n_max, True)[1] + first
        set_scaled(flat, here + row, n_max - first, 1, scale, block, 8 * last, rows)
    else:
        for n in range(first, first + rows):
            row = _row(n, n_max, True)[1]
            for second in range(first, n_max, 8):
                k = max(second, n)
                there = 8 * (second + n - first) + k - second
                set_scaled(flat, here + row + k, 0, 0, scale, block, there, 1)


@numba.njit(cache=CACHED, nogil=True)
def _add_up(coefficients, start, n_densities, total):  # type: ignore[no-untyped-def]
    """Sum of one centre's densities, which begin at ``start``, into ``total``."""
    total[:] = 0.0
    for z in range(n_densities):
        for a in range(len(total)):
            total[a] += coefficients[start + z * len(total) + a]


@numba.njit(cache=CACHED, nogil=True, inline="always")
def _row(n, n_max, same):  # type: ignore[no-untyped-def]
    """First n' of row n of one (Z, Z', l) block of features, and where n' = 0 would lie in the block."""
    if same:
        return n, n * n_max - n * (n + 1) // 2
    return 0, n * n_max


@numba.njit(cache=CACHED, nogil=True)
def power_spectrum_reverse(  # type: ignore[no-untyped-def]
    coefficients, d_features, n_centres, pairs, n_max, n_pad, l_max, out
):
    """Gradient of a scalar U in the coefficients, from ``d_features`` = dU/dp; ``out`` has the shape of ``coefficients``.

    Examples
    --------
    With U the product of both coefficients, the second feature of the example of :func:`power_spectrum`:

    >>> coefficients, out = np.array([2.0, 3.0] + [0.0] * 6), np.empty(8)
    >>> power_spectrum_reverse(coefficients, np.array([[0.0, 1.0, 0.0]]), 1, np.array([[0, 0]]), 2, 8, 0, out)
    >>> (out[:2] / (np.pi * np.sqrt(8.0))).round(9).tolist()
    [3.0, 2.0]
    """
    size = (l_max + 1) ** 2 * n_pad
    n_densities = len(coefficients) // max(1, n_centres * size)
    flat, turned = aligned_zeros(n_pad * n_pad, coefficients), aligned_zeros(n_pad * n_pad, coefficients)
    forth, back = flat.reshape((n_pad, n_pad)), turned.reshape((n_pad, n_pad))
    slopes, n_features = d_features.reshape(-1), d_features.shape[1]
    total, by_total = aligned_zeros(size, coefficients), aligned_zeros(size, coefficients)
    out[:] = 0.0
    sums = (pairs == n_densities).any()
    for i in range(n_centres):
        f = 0
        if sums:
            _add_up(coefficients, i * n_densities * size, n_densities, total)
            by_total[:] = 0.0
        for pair in range(len(pairs)):
            z, w = pairs[pair, 0], pairs[pair, 1]
            summed = w == n_densities
            second_of, by_second = (total, by_total) if summed else (coefficients, out)
            for l in range(l_max + 1):
                scale = np.pi * np.sqrt(8.0 / (2 * l + 1))
                if n_max == 8 and z != w:
                    set_scaled(flat, 0, 8, 0, scale, slopes, i * n_features + f, 8)
                    transpose(turned, 0, flat, 0, 8)
                else:
                    _square(d_features, i, f, scale, n_max, z == w, forth, back)
                one = (i * n_densities + z) * size + l * l * n_pad
                other = (0 if summed else (i * n_densities + w) * size) + l * l * n_pad
                for first in range(0, n_max, 8):
                    for second in range(0, n_max, 8):
                        at, rows = second * n_pad + first, 2 * l + 1
                        block_product(
                            by_second, other + first, n_pad, coefficients, one + second, n_pad, flat, at, n_pad, rows
                        )  # fmt: skip
                        if z != w:
                            block_product(
                                out, one + first, n_pad, second_of, other + second, n_pad, turned, at, n_pad, rows
                            )  # fmt: skip
                f += n_max * (n_max + 1) // 2 if z == w else n_max * n_max
        if sums:
            for z in range(n_densities):
                for a in range(size):
                    out[(i * n_densities + z) * size + a] += by_total[a]


@numba.njit(cache=CACHED, nogil=True)
def _square(d_features, i, f, scale, n_max, same, forth, back):  # type: ignore[no-untyped-def]
    """One block of dU/dp, which begins at feature ``f`` of centre ``i``, into a square matrix, and that transposed."""
    for n in range(n_max):
        begin, row = _row(n, n_max, same)
        for k in range(begin, n_max):
            forth[n, k] = scale * d_features[i, f + row + k]
            back[k, n] = forth[n, k]
    if same:  # p_nk = p_kn is one feature: both factors are the same coefficients
        for n in range(n_max):
            for k in range(n):
                forth[n, k] = forth[k, n]
                back[k, n] = forth[k, n]
            forth[n, n] *= 2.0
