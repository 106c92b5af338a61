"""The fused SOAP kernel: density coefficients, power spectrum, and the reverse pass of a scalar through both.

For one centre, c[Z, lm, n] = Σ_j G_nl(r_j) S_lm(r_j) over neighbours j of species Z (the centre itself included), with
S_lm real solid harmonics; p[Z n, Z' n', l] = π sqrt(8 / (2l + 1)) Σ_m c[Z, lm, n] c[Z', lm, n']. The reverse pass takes dU/dp to
dU/dc once per centre and to each neighbour's position by one product with the gradient of G S: nothing of the size
(centres, atoms, 3, features) ever exists.

Neighbours are taken eight at a time. Sums over neighbours and over n are products of small matrices with one side of eight,
kept in registers; arrays are flat, n fastest and padded to a multiple of eight. Layouts, with n_pad the padded n_max and
width = (l_max + 1) n_pad: coefficients (n_centres, n_species, (l_max + 1)², n_pad); a block's radial functions (8, width).
"""

from __future__ import annotations

import numba
import numpy as np

from idealflow.core.descriptors.harmonics import harmonics, harmonics_reverse
from idealflow.core.descriptors.vectors import (
    CACHED,
    SPLINE_DEGREE,
    add_product,
    block_product,
    gram,
    spline,
    spline_and_slope,
    transpose,
)

__all__ = ["density", "density_reverse", "power_spectrum", "power_spectrum_reverse", "scatter"]

SPLINE_ORDERS = SPLINE_DEGREE["float64"] + 1
SPLINE_ORDERS_SINGLE = SPLINE_DEGREE["float32"] + 1


@numba.njit(cache=CACHED, nogil=True)
def _gather(kinds, kind, first, end, members):  # type: ignore[no-untyped-def]  # numba compiles it for what it meets
    """Next eight pairs of one species, from ``first`` on, into ``members``; how many, and where to go on."""
    n = 0
    p = first
    while p < end and n < 8:
        members[n] = p
        n += kinds[p] == kind
        p += 1
    return n, p


@numba.njit(cache=CACHED, nogil=True)
def _load(vec, members, n, xyz, distances):  # type: ignore[no-untyped-def]
    """Coordinates of ``n`` pairs into ``xyz`` (x, y, z, r² of eight) and ``distances``; zeros for the rest."""
    for p in range(8):
        x, y, z = 0.0, 0.0, 0.0
        if p < n:
            m = members[p]
            x, y, z = vec[m, 0], vec[m, 1], vec[m, 2]
        r2 = x * x + y * y + z * z
        xyz[p], xyz[8 + p], xyz[16 + p], xyz[24 + p] = x, y, z, r2
        distances[p] = np.sqrt(r2)


@numba.njit(cache=CACHED, nogil=True)
def density(  # type: ignore[no-untyped-def]
    offsets, vec, kinds, own, at_centre, table, origin, inverse_step, constants, l_max, n_pad, out
):
    """Expansion coefficients of every centre into ``out``, flat.

    ``kinds`` (n_pairs,) and ``own`` (n_centres,) are species indices of neighbours and centres; ``at_centre`` (n_pad,) is what
    the centre adds to itself.
    """
    n_lm, width = (l_max + 1) ** 2, (l_max + 1) * n_pad
    stride = (SPLINE_ORDERS_SINGLE if table.itemsize == 4 else SPLINE_ORDERS) * width
    last = len(table) // stride - 1
    n_species = len(out) // max(1, len(own) * n_lm * n_pad)
    members = np.empty(8, dtype=np.int64)
    distances = np.empty(8)
    xyz = np.empty(32, dtype=table.dtype)
    q = np.empty(n_lm * 8, dtype=table.dtype)
    powers = np.empty(2 * (l_max + 1) * 8, dtype=table.dtype)
    sh = np.empty(n_lm * 8, dtype=table.dtype)
    g = np.empty(8 * width, dtype=table.dtype)
    out[:] = 0.0
    for i in range(len(own)):
        for kind in range(n_species):
            start = (i * n_species + kind) * n_lm * n_pad
            if kind == own[i]:
                for n in range(n_pad):
                    out[start + n] = at_centre[n]
            position = offsets[i]
            while position < offsets[i + 1]:
                n, position = _gather(kinds, kind, position, offsets[i + 1], members)
                if n == 0:
                    break
                _load(vec, members, n, xyz, distances)
                harmonics(xyz, constants, l_max, q, powers, sh)
                for p in range(n):
                    u = (distances[p] - origin) * inverse_step
                    k = min(int(u), last)
                    spline(g, p * width, table, k * stride, width, table.dtype.type(u - k))
                g[n * width :] = 0.0
                for l in range(l_max + 1):
                    for b in range(0, n_pad, 8):
                        block_product(
                            out, start + l * l * n_pad + b, n_pad, sh, l * l * 8, 8, g, l * n_pad + b, width, 2 * l + 1
                        )  # fmt: skip


@numba.njit(cache=CACHED, nogil=True)
def density_reverse(  # type: ignore[no-untyped-def]
    offsets, vec, kinds, table, origin, inverse_step, constants, l_max, n_pad, d_coefficients, out
):
    """dU/d(vector to the neighbour) of every pair into ``out`` (n_pairs, 3), from dU/dc, flat."""
    n_lm, width = (l_max + 1) ** 2, (l_max + 1) * n_pad
    stride = SPLINE_ORDERS * width
    last = len(table) // stride - 1
    n_centres = len(offsets) - 1
    n_species = len(d_coefficients) // max(1, n_centres * n_lm * n_pad)
    members = np.empty(8, dtype=np.int64)
    distances = np.empty(8)
    xyz, work, force, radial = np.empty(32), np.empty(32), np.empty(24), np.empty(8)
    q, sh = np.empty(n_lm * 8), np.empty(n_lm * 8)
    powers = np.empty(2 * (l_max + 1) * 8)
    g, slopes = np.empty(8 * width), np.empty(8 * width)
    g_across, slopes_across = np.empty(8 * width), np.empty(8 * width)
    weights, along = np.empty(n_lm * 8), np.empty(n_lm * 8)
    for i in range(n_centres):
        for kind in range(n_species):
            start = (i * n_species + kind) * n_lm * n_pad
            position = offsets[i]
            while position < offsets[i + 1]:
                n, position = _gather(kinds, kind, position, offsets[i + 1], members)
                if n == 0:
                    break
                _load(vec, members, n, xyz, distances)
                harmonics(xyz, constants, l_max, q, powers, sh)
                for p in range(n):
                    u = (distances[p] - origin) * inverse_step
                    k = min(int(u), last)
                    spline_and_slope(g, p * width, slopes, p * width, table, k * stride, width, u - k)
                g[n * width :] = 0.0
                slopes[n * width :] = 0.0
                for a in range(0, width, 8):
                    transpose(g_across, a * 8, g, a, width)
                    transpose(slopes_across, a * 8, slopes, a, width)
                weights[:] = 0.0
                along[:] = 0.0
                for l in range(l_max + 1):
                    rows, here = 2 * l + 1, l * l * 8
                    for b in range(0, n_pad, 8):
                        d, a = start + l * l * n_pad + b, (l * n_pad + b) * 8
                        block_product(weights, here, 8, d_coefficients, d, n_pad, g_across, a, 8, rows)
                        block_product(along, here, 8, d_coefficients, d, n_pad, slopes_across, a, 8, rows)
                harmonics_reverse(xyz, constants, l_max, q, powers, weights, work, force)
                radial[:] = 0.0
                for lm in range(0, n_lm * 8, 8):
                    add_product(radial, 0, inverse_step, sh, lm, along, lm)
                for p in range(n):
                    m, outward = members[p], radial[p] / max(distances[p], 1e-300)
                    for a in range(3):
                        out[m, a] = force[8 * a + p] + outward * xyz[8 * a + p]


@numba.njit(cache=CACHED, nogil=True)
def power_spectrum(coefficients, n_centres, n_species, n_max, n_pad, l_max, out):  # type: ignore[no-untyped-def]
    """Rotation invariants of every centre into ``out`` (n_centres, n_features), in DScribe's order.

    Order: species Z, Z' ≥ Z; l; n; n' (n' ≥ n where Z' = Z).
    """
    size = (l_max + 1) ** 2 * n_pad
    block = np.empty(64, dtype=coefficients.dtype)
    for i in range(n_centres):
        f = 0
        for z in range(n_species):
            for w in range(z, n_species):
                for l in range(l_max + 1):
                    scale = np.pi * np.sqrt(8.0 / (2 * l + 1))
                    one = (i * n_species + z) * size + l * l * n_pad
                    other = (i * n_species + w) * size + l * l * n_pad
                    for first in range(0, n_max, 8):
                        for second in range(first if z == w else 0, n_max, 8):
                            gram(
                                block, coefficients, one + first, n_pad, coefficients, other + second, n_pad, 2 * l + 1
                            )
                            for n in range(first, min(first + 8, n_max)):
                                begin, row = _row(n, n_max, z == w)
                                for k in range(max(second, begin), min(second + 8, n_max)):
                                    out[i, f + row + k] = scale * block[(n - first) * 8 + k - second]
                    f += n_max * (n_max + 1) // 2 if z == w else n_max * n_max


@numba.njit(cache=CACHED, nogil=True, inline="always")
def _row(n, n_max, same):  # type: ignore[no-untyped-def]
    """First n' of row n of one (Z, Z', l) block of features, and where n' = 0 would lie in the block."""
    if same:
        return n, n * n_max - n * (n + 1) // 2
    return 0, n * n_max


@numba.njit(cache=CACHED, nogil=True)
def power_spectrum_reverse(  # type: ignore[no-untyped-def]  # noqa: C901  # its loops are the formula's sums
    coefficients, d_features, n_centres, n_species, n_max, n_pad, l_max, out
):
    """dU/dc from dU/dp of every centre; ``out`` has the shape of ``coefficients``."""
    size = (l_max + 1) ** 2 * n_pad
    forth, back = np.zeros((n_pad, n_pad)), np.zeros((n_pad, n_pad))
    out[:] = 0.0
    for i in range(n_centres):
        f = 0
        for z in range(n_species):
            for w in range(z, n_species):
                for l in range(l_max + 1):
                    scale = np.pi * np.sqrt(8.0 / (2 * l + 1))
                    for n in range(n_max):
                        begin, row = _row(n, n_max, z == w)
                        for k in range(begin, n_max):
                            forth[n, k] = scale * d_features[i, f + row + k]
                            back[k, n] = forth[n, k]
                    if z == w:  # p_nk = p_kn is one feature: both factors are the same coefficients
                        for n in range(n_max):
                            for k in range(n):
                                forth[n, k] = forth[k, n]
                                back[k, n] = forth[k, n]
                            forth[n, n] *= 2.0
                    one = (i * n_species + z) * size + l * l * n_pad
                    other = (i * n_species + w) * size + l * l * n_pad
                    flat, turned = forth.reshape(-1), back.reshape(-1)
                    for first in range(0, n_max, 8):
                        for second in range(0, n_max, 8):
                            at = second * n_pad + first
                            block_product(
                                out, other + first, n_pad, coefficients, one + second, n_pad, flat, at, n_pad, 2 * l + 1
                            )  # fmt: skip
                            if z != w:
                                block_product(
                                    out, one + first, n_pad, coefficients, other + second, n_pad, turned, at, n_pad, 2 * l + 1
                                )  # fmt: skip
                    f += n_max * (n_max + 1) // 2 if z == w else n_max * n_max


@numba.njit(cache=CACHED, nogil=True)
def scatter(offsets, j, shift, centres, pair_gradient, positions_gradient, cell_gradient):  # type: ignore[no-untyped-def]
    """Sum pair gradients onto their atoms, and S ⊗ g onto the cell (at fixed Cartesian positions), in pair order."""
    for i in range(len(offsets) - 1):
        centre = centres[i]
        for p in range(offsets[i], offsets[i + 1]):
            for a in range(3):
                g = pair_gradient[p, a]
                positions_gradient[j[p], a] += g
                positions_gradient[centre, a] -= g
                for b in range(3):
                    cell_gradient[b, a] += shift[p, b] * g
