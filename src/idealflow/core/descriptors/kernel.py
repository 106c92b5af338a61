"""The fused SOAP kernel: density coefficients, and the reverse pass of a scalar through them.

For one centre, c[Z, lm, n] = Σ_j G_nl(r_j) S_lm(r_j) over neighbours j of species Z (the centre itself included), with
S_lm real solid harmonics; descriptors are made of them by :mod:`~idealflow.core.descriptors.spectrum`. The reverse pass takes
dU/dp to dU/dc once per centre and to each neighbour's position by one product with the gradient of G S: nothing of the size
(centres, atoms, 3, features) ever exists.

Neighbours are taken eight at a time. Sums over neighbours and over n are products of small matrices with one side of eight,
kept in registers; arrays are flat and n is fastest. Layouts, with n_pad and width n_max and (l_max + 1) n_max up to the next
multiple of eight: coefficients (n_centres, n_species, (l_max + 1)², n_pad); a block's radial functions (8, width). What lies
beyond n_max in the coefficients is of no meaning (it comes from the next degree's functions), and its gradient is zero.
"""

from __future__ import annotations

import numba
import numpy as np

from idealflow.core.descriptors.alignment import aligned_zeros
from idealflow.core.descriptors.harmonics import harmonics, harmonics_reverse
from idealflow.core.descriptors.vectors import (
    CACHED,
    SPLINE_DEGREE,
    add_product,
    block_product,
    spline,
    spline_and_slope,
    transpose,
)

__all__ = ["density", "density_reverse", "scatter"]

SPLINE_ORDERS = SPLINE_DEGREE["float64"] + 1
SPLINE_ORDERS_SINGLE = SPLINE_DEGREE["float32"] + 1


@numba.njit(cache=CACHED, nogil=True, inline="always")
def _up(n):  # type: ignore[no-untyped-def]  # numba compiles it for what it meets
    """The next multiple of eight."""
    return (n + 7) // 8 * 8


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
    offsets, vec, kinds, own, at_centre, table, origin, inverse_step, constants, l_max, n_max, out
):
    """Expansion coefficients of every centre into ``out``, flat.

    ``kinds`` (n_pairs,) and ``own`` (n_centres,) are species indices of neighbours and centres; ``at_centre`` (n_pad,) is what
    the centre adds to itself. ``table``, ``origin`` and ``inverse_step`` are those of a ``RadialTable``; distances in Å.

    Examples
    --------
    Two copper atoms on the z axis; their coefficients of z are opposite, those of x and y vanish:

    >>> from idealflow.core import SOAP
    >>> from idealflow.core.descriptors.harmonics import harmonic_constants
    >>> from idealflow.core.descriptors.neighbours import neighbour_pairs
    >>> soap = SOAP(["Cu"], r_cut=4.0, n_max=2, l_max=1, sigma=0.5)
    >>> table = soap.tables["float64"]
    >>> spline = (table.coefficients, table.origin, table.inverse_step)
    >>> pairs = neighbour_pairs([[0, 0, 0], [0, 0, 2.5]], np.zeros((3, 3)), [False] * 3, soap.cutoff)
    >>> kinds, out = np.zeros(2, dtype=np.int64), np.empty(2 * 4 * 8)
    >>> neighbours = pairs.offsets, pairs.vec, kinds[pairs.j]
    >>> density(*neighbours, kinds, soap.at_centre, *spline, harmonic_constants(1), 1, 2, out)
    >>> c = out.reshape(2, 4, 8)[:, :, :2]  # centre, lm (1; y, z, x), n
    >>> bool((c[0, 2] == -c[1, 2]).all()), bool(np.allclose(c[:, [1, 3]], 0.0))
    (True, True)
    """
    n_lm, n_pad, width = (l_max + 1) ** 2, _up(n_max), _up((l_max + 1) * n_max)
    stride = (SPLINE_ORDERS_SINGLE if table.itemsize == 4 else SPLINE_ORDERS) * width
    last = len(table) // stride - 1
    n_species = len(out) // max(1, len(own) * n_lm * n_pad)
    members = np.empty(8, dtype=np.int64)
    distances = np.empty(8)
    xyz, powers = aligned_zeros(32, table), aligned_zeros(2 * (l_max + 1) * 8, table)
    q, sh = aligned_zeros(n_lm * 8, table), aligned_zeros(n_lm * 8, table)
    g = aligned_zeros(8 * width + n_pad, table)
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
                            out, start + l * l * n_pad + b, n_pad, sh, l * l * 8, 8, g, l * n_max + b, width, 2 * l + 1
                        )  # fmt: skip


@numba.njit(cache=CACHED, nogil=True)
def density_reverse(  # type: ignore[no-untyped-def]
    offsets, vec, kinds, table, origin, inverse_step, constants, l_max, n_max, d_coefficients, out
):
    """Gradient of a scalar U in the vector to each neighbour, into ``out`` (n_pairs, 3), from ``d_coefficients`` = dU/dc, flat.

    The other arguments are as for :func:`density`.

    Examples
    --------
    With U = c[0, 00, 0] of the first of two atoms, the slope along the bond is Y_00 G'(r):

    >>> from idealflow.core.descriptors.basis import gto_basis, radial_functions, radial_table
    >>> from idealflow.core.descriptors.harmonics import harmonic_constants
    >>> from idealflow.core.descriptors.neighbours import neighbour_pairs
    >>> table = radial_table(4.0, n_max=2, l_max=1, sigma=0.5, cutoff=5.9, taper=0.0, dtype="float64")
    >>> pairs = neighbour_pairs([[0, 0, 0], [0, 0, 2.5]], np.zeros((3, 3)), [False] * 3, 5.9)
    >>> d_coefficients, out = np.zeros(2 * 4 * 8), np.empty((2, 3))
    >>> d_coefficients[0] = 1.0
    >>> spline, constants = (table.coefficients, table.origin, table.inverse_step), harmonic_constants(1)
    >>> density_reverse(pairs.offsets, pairs.vec, np.zeros(2, dtype=np.int64), *spline, constants, 1, 2, d_coefficients, out)
    >>> slope = radial_functions(np.array([2.5]), *gto_basis(4.0, 2, 1, 0.5), 5.9, 0.0)[1][0, 0, 0]
    >>> bool(np.allclose(out, [[0.0, 0.0, constants[0, 0, 0] * slope], [0.0, 0.0, 0.0]], atol=1e-8))
    True
    """
    n_lm, n_pad, width = (l_max + 1) ** 2, _up(n_max), _up((l_max + 1) * n_max)
    stride = SPLINE_ORDERS * width
    last = len(table) // stride - 1
    n_centres = len(offsets) - 1
    n_species = len(d_coefficients) // max(1, n_centres * n_lm * n_pad)
    members = np.empty(8, dtype=np.int64)
    distances = np.empty(8)
    xyz, force, radial = aligned_zeros(32, table), aligned_zeros(24, table), aligned_zeros(8, table)
    powers = aligned_zeros(2 * (l_max + 1) * 8, table)
    q, sh = aligned_zeros(n_lm * 8, table), aligned_zeros(n_lm * 8, table)
    weights, along = aligned_zeros(n_lm * 8, table), aligned_zeros(n_lm * 8, table)
    g, slopes = aligned_zeros(8 * width, table), aligned_zeros(8 * width, table)
    g_across, slopes_across = aligned_zeros(8 * (width + n_pad), table), aligned_zeros(8 * (width + n_pad), table)
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
                        d, a = start + l * l * n_pad + b, (l * n_max + b) * 8
                        block_product(weights, here, 8, d_coefficients, d, n_pad, g_across, a, 8, rows)
                        block_product(along, here, 8, d_coefficients, d, n_pad, slopes_across, a, 8, rows)
                harmonics_reverse(xyz, constants, l_max, q, powers, weights, force)
                radial[:] = 0.0
                for lm in range(0, n_lm * 8, 8):
                    add_product(radial, 0, inverse_step, sh, lm, along, lm)
                for p in range(n):
                    m, outward = members[p], radial[p] / max(distances[p], 1e-300)
                    for a in range(3):
                        out[m, a] = force[8 * a + p] + outward * xyz[8 * a + p]


@numba.njit(cache=CACHED, nogil=True)
def scatter(offsets, j, shift, centres, pair_gradient, positions_gradient, cell_gradient):  # type: ignore[no-untyped-def]
    """Add each pair's gradient g to its two atoms, and shift ⊗ g to the cell (at fixed Cartesian positions), in order of pairs.

    ``offsets``, ``j`` and ``shift`` are those of ``Pairs``; ``positions_gradient`` (n_atoms, 3) and ``cell_gradient`` (3, 3) are
    changed in place.

    Examples
    --------
    One pair, from atom 0 to the image of atom 1 in the next cell along the third cell vector:

    >>> offsets, j, shift = np.array([0, 1]), np.array([1], dtype=np.int32), np.array([[0, 0, 1]], dtype=np.int32)
    >>> in_positions, in_cell = np.zeros((2, 3)), np.zeros((3, 3))
    >>> scatter(offsets, j, shift, np.array([0]), np.array([[0.0, 0.0, 0.5]]), in_positions, in_cell)
    >>> in_positions.tolist(), in_cell[2].tolist()
    ([[0.0, 0.0, -0.5], [0.0, 0.0, 0.5]], [0.0, 0.0, 0.5])
    """
    for i in range(len(offsets) - 1):
        centre = centres[i]
        for p in range(offsets[i], offsets[i + 1]):
            for a in range(3):
                g = pair_gradient[p, a]
                positions_gradient[j[p], a] += g
                positions_gradient[centre, a] -= g
                for b in range(3):
                    cell_gradient[b, a] += shift[p, b] * g
