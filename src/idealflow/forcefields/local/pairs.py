"""Pairs of atoms as a gradient step reads them, and the compiled loops over them and over the invariants.

A step needs the densities of its structures, the map from a gradient in them to forces, and that map's transpose. Radial
functions and spherical harmonics of a pair never change in training, so they are computed once, in single precision; what is left
of a step are products of small blocks, written in vector instructions (:mod:`idealflow.core.descriptors.vectors`). Numbers of
radial functions and of channels are padded with zeros to multiples of eight, and densities are stored with lm before the radial
index, so that a contraction over radial functions is one matrix product.

The loops of :mod:`~idealflow.forcefields.local.kernels` compute the same in any precision, from the vectors of the pairs alone.
"""
# mypy: ignore-errors
# numba compiles these functions for the types it meets

from __future__ import annotations

import math

import numba
import numpy as np

from idealflow.core.descriptors.vectors import CACHED, LANES, block_product, gram, transpose
from idealflow.forcefields.local.kernels import N_LM, harmonics, harmonics_along, harmonics_slope, radial_functions

__all__ = ["along_motion", "density_of_pairs", "functions_of_pairs", "invariants", "pull_invariants", "slopes_of_pairs"]

_FAST = {"contract", "reassoc", "nsz", "arcp"}
_kernel = numba.njit(cache=CACHED, nogil=True, fastmath=_FAST, error_model="numpy", parallel=True)


@numba.njit(cache=CACHED, nogil=True, error_model="numpy")
def functions_of_pairs(vec, cutoff, n_radial, radial, slope, harmonic):
    """Fill in radial functions, their slopes (1/Å) and spherical harmonics of every pair.

    Parameters
    ----------
    vec : (n_pairs, 3), Å
    cutoff
        Å.
    n_radial
        Number of radial functions.
    radial, slope : (n_pairs, width)
        Filled up to ``n_radial``, with zeros beyond; any precision.
    harmonic : (n_pairs, 16)
        Filled.

    Examples
    --------
    >>> radial, slope, harmonic = np.ones((1, 8)), np.ones((1, 8)), np.empty((1, 16))
    >>> functions_of_pairs(np.array([[0.0, 0.0, 2.0]]), 4.0, 1, radial, slope, harmonic)
    >>> radial[0, 0], radial[0, 1], slope[0, 0], harmonic[0, 0]
    (np.float64(0.421875), np.float64(0.0), np.float64(-0.421875), np.float64(1.0))
    """
    value, gradient, y = np.empty(n_radial), np.empty(n_radial), np.empty(N_LM)
    radial[:] = 0.0
    slope[:] = 0.0
    for p in range(len(vec)):
        r = math.sqrt(vec[p, 0] ** 2 + vec[p, 1] ** 2 + vec[p, 2] ** 2)
        harmonics(vec[p, 0] / r, vec[p, 1] / r, vec[p, 2] / r, y)
        radial_functions(r, cutoff, n_radial, value, gradient)
        for n in range(n_radial):
            radial[p, n] = value[n]
            slope[p, n] = gradient[n]
        for m in range(N_LM):
            harmonic[p, m] = y[m]


@_kernel
def density_of_pairs(groups, n_species, radial, harmonic, out):
    """Fill in the densities of all centres.

    Parameters
    ----------
    groups : (n * n_species + 1,) int64
        Pairs of centre i with neighbours of species s are ``groups[i * n_species + s]`` up to the next entry.
    n_species
        Number of species.
    radial, harmonic : (n_pairs, width), (n_pairs, 16)
        As :func:`functions_of_pairs` fills them in.
    out : (n, 16, n_species * width)
        Filled.

    Examples
    --------
    >>> pair = np.full((1, 8), 0.5, np.float32), np.ones((1, 16), np.float32)
    >>> out = np.empty((1, 16, 8), np.float32)
    >>> density_of_pairs(np.array([0, 1]), 1, *pair, out)
    >>> bool((out == 0.5).all())
    True
    """
    width = radial.shape[1]
    for i in numba.prange(len(out)):
        block = np.empty(LANES * LANES, dtype=out.dtype)
        for s in range(n_species):
            start, end = groups[i * n_species + s], groups[i * n_species + s + 1]
            for b in range(width // LANES):
                for half in range(2):
                    first = start * N_LM + LANES * half
                    gram(block, harmonic, first, N_LM, radial, start * width + LANES * b, width, end - start)
                    for r in range(LANES):
                        for c in range(LANES):
                            out[i, LANES * half + r, s * width + LANES * b + c] = block[LANES * r + c]


@_kernel
def slopes_of_pairs(vec, groups, n_species, radial, slope, harmonic, weight, out):
    """Gradient of Σ weight · density in each pair's vector.

    Parameters
    ----------
    vec : (n_pairs, 3), Å
    groups, n_species, radial, slope, harmonic
        As for :func:`density_of_pairs`.
    weight : (n, 16, n_species * width)
    out : (n_pairs, 3)
        Filled, in the unit of ``weight`` per Å.

    Examples
    --------
    As in :func:`~idealflow.forcefields.local.kernels.pair_slopes`:

    >>> vec, radial, slope, harmonic = (np.zeros((1, size), np.float32) for size in (3, 8, 8, 16))
    >>> vec[0, 2] = 2.0
    >>> functions_of_pairs(vec.astype(float), 4.0, 1, radial, slope, harmonic)
    >>> weight, out = np.zeros((1, 16, 8), np.float32), np.empty((1, 3), np.float32)
    >>> weight[0, 0, 0] = 1.0
    >>> slopes_of_pairs(vec, np.array([0, 1]), 1, radial, slope, harmonic, weight, out)
    >>> out.tolist()
    [[0.0, 0.0, -0.421875]]
    """
    width = radial.shape[1]
    stride = n_species * width
    for i in numba.prange(len(weight)):
        turned = np.empty(LANES * LANES, dtype=out.dtype)
        for s in range(n_species):
            start, end = groups[i * n_species + s], groups[i * n_species + s + 1]
            if end == start:
                continue
            g, h = np.zeros((end - start, N_LM), dtype=out.dtype), np.zeros((end - start, N_LM), dtype=out.dtype)
            for b in range(width // LANES):
                for half in range(2):
                    first = (i * N_LM + LANES * half) * stride + s * width + LANES * b
                    transpose(turned, 0, weight, first, stride)
                    place = start * width + LANES * b
                    block_product(g, LANES * half, N_LM, radial, place, width, turned, 0, LANES, end - start)
                    block_product(h, LANES * half, N_LM, slope, place, width, turned, 0, LANES, end - start)
            for p in range(start, end):
                q = p - start
                r = math.sqrt(vec[p, 0] ** 2 + vec[p, 1] ** 2 + vec[p, 2] ** 2)
                x0, x1, x2 = vec[p, 0] / r, vec[p, 1] / r, vec[p, 2] / r
                along = harmonic[p, 0] * h[q, 0]
                for m in range(1, N_LM):
                    along += harmonic[p, m] * h[q, m]
                g0, g1, g2 = harmonics_slope(x0, x1, x2, g[q])
                radially = along - (g0 * x0 + g1 * x1 + g2 * x2) / r
                out[p, 0] = g0 / r + radially * x0
                out[p, 1] = g1 / r + radially * x1
                out[p, 2] = g2 / r + radially * x2


@_kernel
def along_motion(vec, groups, j, n_species, radial, slope, harmonic, graph, by_atom, by_strain, out):
    """Derivative of the densities along a motion of atoms and cell: the transpose of the map from a weight to forces and virials.

    Parameters
    ----------
    vec, groups, n_species, radial, slope, harmonic
        As for :func:`slopes_of_pairs`.
    j : (n_pairs,)
        Neighbour of each pair.
    graph : (n,)
        Structure of each centre.
    by_atom, by_strain : (n, 3), (n_graphs, 3, 3)
        A pair moves by ``by_atom[i] - by_atom[j] + vec @ by_strain[graph]``.
    out : (n, 16, n_species * width)
        Filled.

    Examples
    --------
    The neighbour moves outward by 1 Å, and the density falls with its slope:

    >>> vec, radial, slope, harmonic = (np.zeros((1, size), np.float32) for size in (3, 8, 8, 16))
    >>> vec[0, 2] = 2.0
    >>> functions_of_pairs(vec.astype(float), 4.0, 1, radial, slope, harmonic)
    >>> moved, strain = np.array([[0, 0, 0], [0, 0, -1]], np.float32), np.zeros((1, 3, 3), np.float32)
    >>> out, graph = np.empty((1, 16, 8), np.float32), np.zeros(1, np.int64)
    >>> along_motion(vec, np.array([0, 1]), np.array([1]), 1, radial, slope, harmonic, graph, moved, strain, out)
    >>> float(out[0, 0, 0])
    -0.421875
    """
    width = radial.shape[1]
    for i in numba.prange(len(out)):
        block, e = np.empty(LANES * LANES, dtype=out.dtype), by_strain[graph[i]]
        for s in range(n_species):
            start, end = groups[i * n_species + s], groups[i * n_species + s + 1]
            n_pairs = end - start
            angular, radially = np.empty((2 * n_pairs, N_LM), out.dtype), np.empty((2 * n_pairs, width), out.dtype)
            for p in range(start, end):
                q = p - start
                v0, v1, v2 = vec[p, 0], vec[p, 1], vec[p, 2]
                r = math.sqrt(v0 * v0 + v1 * v1 + v2 * v2)
                x0, x1, x2 = v0 / r, v1 / r, v2 / r
                k = j[p]
                m0 = by_atom[i, 0] - by_atom[k, 0] + v0 * e[0, 0] + v1 * e[1, 0] + v2 * e[2, 0]
                m1 = by_atom[i, 1] - by_atom[k, 1] + v0 * e[0, 1] + v1 * e[1, 1] + v2 * e[2, 1]
                m2 = by_atom[i, 2] - by_atom[k, 2] + v0 * e[0, 2] + v1 * e[1, 2] + v2 * e[2, 2]
                longer = m0 * x0 + m1 * x1 + m2 * x2
                harmonics_along(
                    x0, x1, x2, (m0 - longer * x0) / r, (m1 - longer * x1) / r, (m2 - longer * x2) / r, angular[q]
                )  # fmt: skip
                for m in range(N_LM):
                    angular[n_pairs + q, m] = harmonic[p, m]
                for n in range(width):
                    radially[q, n] = radial[p, n]
                    radially[n_pairs + q, n] = longer * slope[p, n]
            for b in range(width // LANES):
                for half in range(2):
                    gram(block, angular, LANES * half, N_LM, radially, LANES * b, width, 2 * n_pairs)
                    for r in range(LANES):
                        for c in range(LANES):
                            out[i, LANES * half + r, s * width + LANES * b + c] = block[LANES * r + c]


@_kernel
def invariants(a, b, n_channels, factor, out):
    """Invariants of channels, or their derivative along a change of the channels.

    With a = b and a factor of 0.5 they are a[0, k] and Σ_m a[lm, k] a[lm, k'] / √(2l + 1), k ≤ k'; with a factor of 1 the
    derivative of those of ``a`` along ``b``.

    Parameters
    ----------
    a, b : (n, 16, width)
        Channels, padded with zeros.
    n_channels
        Number of channels.
    factor
        0.5 or 1.
    out : (n, n_features)
        Filled.

    Examples
    --------
    >>> channels, out = np.zeros((1, 16, 8), np.float32), np.empty((1, 5), np.float32)
    >>> channels[0, :, 0] = 2.0
    >>> invariants(channels, channels, 1, 0.5, out)
    >>> (out[0] * np.sqrt([1, 1, 3, 5, 7])).round(5).tolist()  # Σ_m of 1, 3, 5 and 7 numbers
    [2.0, 4.0, 12.0, 20.0, 28.0]
    """
    width = a.shape[2]
    for i in numba.prange(len(a)):
        block, full = np.empty(LANES * LANES, dtype=a.dtype), np.empty((width, width), dtype=a.dtype)
        for k in range(n_channels):
            out[i, k] = b[i, 0, k]
        t = n_channels
        for l in range(4):
            scale = factor / math.sqrt(2 * l + 1.0)
            start = (i * N_LM + l * l) * width
            for rows in range(width // LANES):
                for columns in range(width // LANES):
                    gram(block, a, start + LANES * rows, width, b, start + LANES * columns, width, 2 * l + 1)
                    for r in range(LANES):
                        for c in range(LANES):
                            full[LANES * rows + r, LANES * columns + c] = block[LANES * r + c]
            for k in range(n_channels):
                for q in range(k, n_channels):
                    out[i, t] = scale * (full[k, q] + full[q, k])
                    t += 1


@_kernel
def pull_invariants(a, by_invariant, n_channels, linear, out):
    """Add the gradient in the channels, from one in the invariants.

    Parameters
    ----------
    a : (n, 16, width)
        Channels at which to differentiate.
    by_invariant : (n, n_features)
        Gradient in the invariants.
    n_channels
        Number of channels.
    linear
        Whether the invariants a[0, k] count, too.
    out : (n, 16, width)
        Added to.

    Examples
    --------
    >>> channels, out = np.zeros((1, 16, 8), np.float32), np.zeros((1, 16, 8), np.float32)
    >>> channels[0, 0, 0] = 3.0
    >>> pull_invariants(channels, np.array([[1, 1, 0, 0, 0]], np.float32), 1, True, out)
    >>> float(out[0, 0, 0])  # of a + a²
    7.0
    """
    width = a.shape[2]
    for i in numba.prange(len(a)):
        full, block = np.zeros((width, width), dtype=a.dtype), np.empty(LANES * LANES, dtype=a.dtype)
        if linear:
            for k in range(n_channels):
                out[i, 0, k] += by_invariant[i, k]
        t = n_channels
        for l in range(4):
            scale = 1.0 / math.sqrt(2 * l + 1.0)
            for k in range(n_channels):
                full[k, k] = 0.0
                for q in range(k, n_channels):
                    value = scale * by_invariant[i, t]
                    if q == k:
                        value += value
                    full[k, q] = value
                    full[q, k] = value
                    t += 1
            start = (i * N_LM + l * l) * width
            for rows in range(width // LANES):
                for columns in range(width // LANES):
                    for r in range(LANES):
                        for c in range(LANES):
                            block[LANES * r + c] = full[LANES * rows + r, LANES * columns + c]
                    place = start + LANES * columns
                    block_product(out, place, width, a, start + LANES * rows, width, block, 0, LANES, 2 * l + 1)
