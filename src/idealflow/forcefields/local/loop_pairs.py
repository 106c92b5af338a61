"""Eight pairs or eight atoms at a time in plain numba: what the fused kernel is made of, for every processor numba runs on.

On Linux with an x86-64 processor :mod:`~idealflow.forcefields.local.simd_pairs` does the same in vector instructions.

Pairs of an atom with neighbours of one species are *chunks* of eight, the last one filled up with pairs at the cutoff, which
count nothing. A chunk is a record of vectors of eight numbers, one number for each pair: direction x, y, z and distance r (at
first the vector from the atom and its square), sixteen harmonics, ``width`` radial functions and their slopes, and the radial
functions once more, those of a pair one after the other.
"""
# mypy: ignore-errors
# numba compiles these functions for the types it meets

from __future__ import annotations

import math

import numba
import numpy as np

from idealflow.core.descriptors.loops import LANES, add_eight, flat, read_eight, write_eight
from idealflow.forcefields.local.kernels import N_LM, harmonics, harmonics_slope, radial_functions

__all__ = ["activate", "chunk_density", "chunk_functions", "chunk_pull", "chunk_slopes"]

_inlined = numba.njit(nogil=True, inline="always", error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})


@_inlined
def chunk_functions(record, start, width, cutoff):
    """Fill a chunk's record, at ``start`` of a flat array, from the vectors and their squares that it begins with.

    Examples
    --------
    >>> record = np.zeros((4 + 16 + 3 * 8) * 8)
    >>> record[16:24], record[24:32] = 2.0, 4.0  # along z, 2 Å
    >>> chunk_functions(record, 0, 8, 4.0)
    >>> record[32::8][:3].round(6).tolist(), float(record[20 * 8])  # harmonics; (1 − u²)³ with u = 0.5
    ([1.0, 0.0, 1.732051], 0.421875)
    """
    y, value, slope = np.empty(N_LM), np.empty(width), np.empty(width)
    radial = start + (4 + N_LM) * LANES
    for lane in range(LANES):
        place = start + lane
        r = math.sqrt(record[place + 3 * LANES])
        over = 1.0 / r
        for axis in range(3):
            record[place + axis * LANES] *= over
        record[place + 3 * LANES] = r
        harmonics(record[place], record[place + LANES], record[place + 2 * LANES], y)
        for m in range(N_LM):
            record[place + (4 + m) * LANES] = y[m]
        radial_functions(r, cutoff, width, value, slope)
        for n in range(width):
            record[radial + n * LANES + lane] = value[n]
            record[radial + (width + n) * LANES + lane] = slope[n]
            record[radial + 2 * width * LANES + (n // LANES * LANES + lane) * LANES + n % LANES] = value[n]


@_inlined
def chunk_density(out, record, start, stride, count, half, n, width):
    """Sum harmonic · radial function over ``count`` chunks into ``out`` (64,).

    Of the harmonics eight from 8 ``half`` on are taken, of the functions eight from 8 ``n`` on.

    Examples
    --------
    >>> record, out = np.zeros((4 + 16 + 3 * 8) * 8), np.empty(64)
    >>> record[16:24], record[24:32] = 4.0, 16.0
    >>> record[16], record[24] = 2.0, 4.0  # seven of eight pairs are at the cutoff
    >>> chunk_functions(record, 0, 8, 4.0)
    >>> chunk_density(out, record, 0, len(record), 1, 0, 0, 8)
    >>> out[:2].tolist()
    [0.421875, -0.2109375]
    """
    of_harmonic = start + (4 + LANES * half) * LANES
    of_radial = start + (4 + N_LM + 2 * width) * LANES + n * LANES * LANES
    for r in range(LANES):
        sums = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        for chunk in range(count):
            for q in range(LANES):
                factor = record[np.uint64(of_harmonic + chunk * stride + LANES * r + q)]
                sums = add_eight(sums, factor, record, of_radial + chunk * stride + LANES * q)
        write_eight(out, LANES * r, sums)


@_inlined
def chunk_pull(out, weight, place, stride, record, start, width):
    """Derivatives of Σ weight · density by the pairs of a chunk, into ``out`` (18, 8).

    Row 1 has those along the distance, rows 2 to 17 those in the harmonics; row 0 is not touched.

    Parameters
    ----------
    weight, place, stride
        Weight of harmonic m and radial function n of the chunk's species: ``weight[place + m * stride + n]``.

    Examples
    --------
    >>> record, out, weight = np.zeros((4 + 16 + 3 * 8) * 8), np.zeros(18 * 8), np.zeros(16 * 8)
    >>> record[16:24], record[24:32], weight[0] = 2.0, 4.0, 1.0
    >>> chunk_functions(record, 0, 8, 4.0)
    >>> chunk_pull(out, weight, 0, 8, record, 0, 8)
    >>> float(out[8]), float(out[16])  # −6 u (1 − u²)² / cutoff, and (1 − u²)³
    (-0.421875, 0.421875)
    """
    weight, radial = flat(weight), start + (4 + N_LM) * LANES
    zeros = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    write_eight(out, LANES, zeros)
    for m in range(N_LM):
        by_harmonic, by_distance = zeros, zeros
        for n in range(width):
            factor = weight[np.uint64(place + m * stride + n)]
            by_harmonic = add_eight(by_harmonic, factor, record, radial + n * LANES)
            by_distance = add_eight(by_distance, factor, record, radial + (width + n) * LANES)
        write_eight(out, (2 + m) * LANES, by_harmonic)
        own = read_eight(record, start + (4 + m) * LANES)
        for lane in range(LANES):
            out[np.uint64(LANES + lane)] += own[lane] * by_distance[lane]


@_inlined
def chunk_slopes(out, record, start, pulled):
    """Slopes along the vectors of eight pairs into the first three rows of ``out`` (9, 8); their virials are added to the others.

    Parameters
    ----------
    pulled : (18 * 8,)
        What :func:`chunk_pull` found; in row 0, what is added to the derivative along the distance.

    Examples
    --------
    >>> record, pulled, out = np.zeros((4 + 16 + 3 * 8) * 8), np.zeros(18 * 8), np.zeros(9 * 8)
    >>> record[16:24], record[24:32], pulled[0] = 1.0, 2.0, 0.5  # one pair, along z, is pulled
    >>> chunk_slopes(out, record, 0, pulled)
    >>> out[::8].tolist()
    [0.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """
    g = np.empty(N_LM)
    for lane in range(LANES):
        place = start + lane
        x, y, z = record[place], record[place + LANES], record[place + 2 * LANES]
        r, along = record[place + 3 * LANES], pulled[lane] + pulled[LANES + lane]
        for m in range(N_LM):
            g[m] = pulled[(2 + m) * LANES + lane]
        gx, gy, gz = harmonics_slope(x, y, z, g)
        over = 1.0 / r
        radially = along - (gx * x + gy * y + gz * z) * over
        sx, sy, sz = gx * over + radially * x, gy * over + radially * y, gz * over + radially * z
        out[lane], out[LANES + lane], out[2 * LANES + lane] = sx, sy, sz
        # an atom's energy does not change as its surroundings turn, so its virial is symmetric
        out[3 * LANES + lane] += r * x * sx
        out[4 * LANES + lane] += r * y * sy
        out[5 * LANES + lane] += r * z * sz
        out[6 * LANES + lane] += r * x * sy
        out[7 * LANES + lane] += r * x * sz
        out[8 * LANES + lane] += r * y * sz


@_inlined
def activate(layer, slope, row, z, place, bias):
    """Put x · sigmoid(x) into ``layer``, and its slope into ``slope``, from ``row`` on; x = ``z[place : place + 8] + bias``.

    Examples
    --------
    >>> layer, slope = np.empty(8), np.empty(8)
    >>> activate(layer, slope, 0, np.zeros(8), 0, 1.0)
    >>> round(float(layer[0]), 6), round(float(slope[0]), 6)
    (0.731059, 0.927671)
    """
    layer, slope, z = flat(layer), flat(slope), flat(z)
    for lane in range(LANES):
        argument = z[place + lane] + bias
        sigmoid = 1.0 / (1.0 + math.exp(-argument))
        layer[row + lane] = argument * sigmoid
        slope[row + lane] = sigmoid * (1.0 + argument * (1.0 - sigmoid))
