"""Energies and forces of the local model in one pass over blocks of eight atoms, in double precision.

What :class:`~idealflow.forcefields.local.model.LocalModel` does as operations on arrays of all atoms, each written to memory
and read again, is done here for eight atoms of a species at a time while their pairs are in the cache: neighbours, densities,
channels, invariants, network, and all of it backwards. The result is that of the model to rounding, which the tests hold it to.
An atom's energy and slopes do not depend on which atoms are in its block, nor on the number of threads.
"""
# mypy: ignore-errors
# numba compiles these functions for the types it meets

from __future__ import annotations

import math

import numba
import numpy as np

from idealflow.core.descriptors.vectors import CACHED, LANES, block_product, gram, transpose
from idealflow.forcefields.local.kernels import N_LM, harmonics, harmonics_slope, radial_functions
from idealflow.forcefields.local.repulsion import repulsion_of

__all__ = ["energies_and_slopes", "gather_forces"]

_FAST = {"contract", "reassoc", "nsz", "arcp"}
#: parts are compiled into the kernel, never called by it: code that is linked from several pieces had other last bits in the
#: process that compiled it than in those that found it on disk
_part = numba.njit(cache=CACHED, nogil=True, fastmath=_FAST, error_model="numpy", inline="always")


@_part
def _neighbours(i, first, offsets, candidates, shift, positions, cell, kind, cutoff, unit, length, group, near):
    """Directions and distances of the neighbours of atom i from row ``first`` on, sorted by species; returns the next row.

    ``group[s]`` is the row of the first neighbour of species s, ``near`` is filled from its beginning on.
    """
    used, s = first, 0
    group[0] = first
    for p in range(offsets[i], offsets[i + 1]):
        k = candidates[p]
        n0, n1, n2 = shift[p, 0] * 1.0, shift[p, 1] * 1.0, shift[p, 2] * 1.0
        v0 = positions[k, 0] - positions[i, 0] + (n0 * cell[0, 0] + n1 * cell[1, 0] + n2 * cell[2, 0])
        v1 = positions[k, 1] - positions[i, 1] + (n0 * cell[0, 1] + n1 * cell[1, 1] + n2 * cell[2, 1])
        v2 = positions[k, 2] - positions[i, 2] + (n0 * cell[0, 2] + n1 * cell[1, 2] + n2 * cell[2, 2])
        r2 = v0 * v0 + v1 * v1 + v2 * v2
        if r2 >= cutoff * cutoff:
            continue
        while s < kind[k]:
            s += 1
            group[s] = used
        r = math.sqrt(r2)
        length[used] = r
        unit[used, 0], unit[used, 1], unit[used, 2] = v0 / r, v1 / r, v2 / r
        near[used - first] = k
        used += 1
    while s < len(group) - 1:
        s += 1
        group[s] = used
    return used


@_part
def _functions(first, end, cutoff, n_radial, unit, length, radial, slope, harmonic):
    """Radial functions, their slopes and harmonics of some pairs."""
    value, gradient = np.empty(n_radial), np.empty(n_radial)
    for q in range(first, end):
        harmonics(unit[q, 0], unit[q, 1], unit[q, 2], harmonic[q])
        radial_functions(length[q], cutoff, n_radial, value, gradient)
        for n in range(n_radial):
            radial[q, n] = value[n]
            slope[q, n] = gradient[n]


@_part
def _channels(group, radial, harmonic, contraction, density, block, lane, a):
    """Densities of one atom, (16, n_species * radial width), and its channels a[lane], (16, channels width)."""
    width, stride, channels = radial.shape[1], density.shape[1], a.shape[2]
    for s in range(len(group) - 1):
        begin, count = group[s], group[s + 1] - group[s]
        for n in range(width // LANES):
            for half in range(2):
                of_harmonic, of_radial = begin * N_LM + LANES * half, begin * width + LANES * n
                gram(block, harmonic, of_harmonic, N_LM, radial, of_radial, width, count)
                for r in range(LANES):
                    for c in range(LANES):
                        density[LANES * half + r, s * width + LANES * n + c] = block[LANES * r + c]
    for n in range(stride // LANES):
        for k in range(channels // LANES):
            out, factors = lane * N_LM * channels + LANES * k, LANES * n * channels + LANES * k
            block_product(a, out, channels, density, LANES * n, stride, contraction, factors, channels, N_LM)


@_part
def _invariants(a, lane, n_channels, full, block, x):
    """Invariants of the channels a[lane] into column ``lane`` of ``x``."""
    width = a.shape[2]
    for k in range(n_channels):
        x[k, lane] = a[lane, 0, k]
    t = n_channels
    for l in range(4):
        scale, start = 1.0 / math.sqrt(2 * l + 1.0), (lane * N_LM + l * l) * width
        for rows in range(width // LANES):
            for columns in range(rows, width // LANES):
                gram(block, a, start + LANES * rows, width, a, start + LANES * columns, width, 2 * l + 1)
                for r in range(LANES):
                    for c in range(LANES):
                        full[LANES * rows + r, LANES * columns + c] = block[LANES * r + c]
        for k in range(n_channels):
            for q in range(k, n_channels):
                x[t, lane] = scale * full[k, q]
                t += 1


@_part
def _pull(a, by, lane, n_channels, full, block, out):
    """Gradient in the channels a[lane] from that in their invariants, column ``lane`` of ``by``."""
    width = a.shape[2]
    out[:] = 0.0
    for k in range(n_channels):
        out[0, k] = by[k, lane]
    t = n_channels
    for l in range(4):
        scale, start = 1.0 / math.sqrt(2 * l + 1.0), (lane * N_LM + l * l) * width
        for k in range(n_channels):
            for q in range(k, n_channels):
                value = scale * by[t, lane]
                full[k, q] = value
                full[q, k] = value
                t += 1
            full[k, k] *= 2.0
        for rows in range(width // LANES):
            for columns in range(width // LANES):
                for r in range(LANES):
                    for c in range(LANES):
                        block[LANES * r + c] = full[LANES * rows + r, LANES * columns + c]
                place = l * l * width + LANES * columns
                block_product(out, place, width, a, start + LANES * rows, width, block, 0, LANES, 2 * l + 1)


@_part
def _transposed_product(out, matrix, start, rows, columns, vectors, block):
    """A matrix (rows, columns), at ``start`` of a flat array, transposed, times ``vectors`` (rows, 8), in ``out``."""
    for u in range(columns // LANES):
        gram(block, matrix, start + LANES * u, columns, vectors, 0, LANES, rows)
        for r in range(LANES):
            for c in range(LANES):
                out[LANES * u + r, c] = block[LANES * r + c]


@_part
def _standardise(x, mean, inverse_spread):
    """Invariants (n_features, 8), less their means and over their spreads, in place."""
    for t in range(len(x)):
        for lane in range(LANES):
            x[t, lane] = (x[t, lane] - mean[t]) * inverse_spread[t]


@_part
def _activate(z, biases, row, columns, layer, first_slope):
    """A layer, z · sigmoid(z), and its slope, into ``columns`` rows from ``row`` on; its biases are added to z first."""
    for u in range(columns):
        for lane in range(LANES):
            argument = z[u, lane] + biases[row + u]
            sigmoid = 1.0 / (1.0 + math.exp(-argument))
            layer[row + u, lane] = argument * sigmoid
            first_slope[row + u, lane] = sigmoid * (1.0 + argument * (1.0 - sigmoid))


@_part
def _network(w, species, x, block, energy, by_x):
    """Energies of eight atoms and their gradients in the invariants ``x`` (n_features, 8), which are standardised in place."""
    n_layers, widest, hidden = len(w.widths) - 1, by_x.shape[0], w.biases.shape[1]
    layer, first_slope = np.empty((hidden, LANES)), np.empty((hidden, LANES))
    z, inputs = np.empty((widest, LANES)), x
    _standardise(x, w.mean[species], w.inverse_spread[species])
    place, row = 0, 0
    for k in range(n_layers):
        rows, columns = w.widths[k], w.widths[k + 1]
        _transposed_product(z, w.weights[species], place, rows, columns, inputs, block)
        _activate(z, w.biases[species], row, columns, layer, first_slope)
        inputs = layer[row : row + columns]
        place += rows * columns
        row += columns
    energy[:] = 0.0
    for u in range(w.widths[n_layers]):
        for lane in range(LANES):
            energy[lane] += w.readout[species, u] * inputs[u, lane]
            by_x[u, lane] = w.readout[species, u]
    for k in range(n_layers - 1, -1, -1):
        rows, columns = w.widths[k], w.widths[k + 1]
        place -= rows * columns
        row -= columns
        for u in range(columns):
            for lane in range(LANES):
                z[u, lane] = by_x[u, lane] * first_slope[row + u, lane]
        _transposed_product(by_x, w.weights_back[species], place, columns, rows, z, block)
    for t in range(w.widths[0]):
        for lane in range(LANES):
            energy[lane] += w.linear[species, t] * x[t, lane]
            by_x[t, lane] = (by_x[t, lane] + w.linear[species, t]) * w.inverse_spread[species, t] * w.scale
    for lane in range(LANES):
        energy[lane] *= w.scale


@_part
def _along_pairs(group, radial, slope, by_a, contraction_back, weight, block, g, h):
    """Gradient of the energy in the harmonics of each pair, ``g``, and along its distance before them, ``h``.

    ``weight`` (16, n_species * radial width) is filled with the gradient in the densities.
    """
    width, stride, channels, first, end = radial.shape[1], weight.shape[1], by_a.shape[1], group[0], group[-1]
    weight[:] = 0.0
    for k in range(channels // LANES):
        for n in range(stride // LANES):
            factors = LANES * k * stride + LANES * n
            block_product(weight, LANES * n, stride, by_a, LANES * k, channels, contraction_back, factors, stride, N_LM)
    g[first:end] = 0.0
    h[first:end] = 0.0
    for s in range(len(group) - 1):
        begin, count = group[s], group[s + 1] - group[s]
        for n in range(width // LANES):
            for half in range(2):
                transpose(block, 0, weight, LANES * half * stride + s * width + LANES * n, stride)
                into, read = begin * N_LM + LANES * half, begin * width + LANES * n
                block_product(g, into, N_LM, radial, read, width, block, 0, LANES, count)
                block_product(h, into, N_LM, slope, read, width, block, 0, LANES, count)


@_part
def _pair_slopes(species, group, unit, length, harmonic, g, h, kind, charges, ranges, near, slopes, virial):
    """Slopes along the neighbours of one atom and its virial, repulsion included; returns the energy of the repulsion."""
    first, end, energy = group[0], group[-1], 0.0
    virial[:] = 0.0
    for q in range(first, end):
        x0, x1, x2, r = unit[q, 0], unit[q, 1], unit[q, 2], length[q]
        along = 0.0
        for m in range(N_LM):
            along += harmonic[q, m] * h[q, m]
        g0, g1, g2 = harmonics_slope(x0, x1, x2, g[q])
        t = kind[near[q - first]]
        if r < ranges[species, t]:
            repelled, by_r = repulsion_of(r, charges[species], charges[t], ranges[species, t])
            energy += repelled
            along += by_r
        radially = along - (g0 * x0 + g1 * x1 + g2 * x2) / r
        s0, s1, s2 = g0 / r + radially * x0, g1 / r + radially * x1, g2 / r + radially * x2
        slopes[q - first, 0], slopes[q - first, 1], slopes[q - first, 2] = s0, s1, s2
        # an atom's energy does not change as its surroundings turn, so its virial is symmetric
        virial[0, 0] += r * x0 * s0
        virial[1, 1] += r * x1 * s1
        virial[2, 2] += r * x2 * s2
        virial[0, 1] += r * x0 * s1
        virial[0, 2] += r * x0 * s2
        virial[1, 2] += r * x1 * s2
    virial[1, 0], virial[2, 0], virial[2, 1] = virial[0, 1], virial[0, 2], virial[1, 2]
    return energy


@numba.njit(cache=CACHED, nogil=True, fastmath=_FAST, error_model="numpy", parallel=True)
def energies_and_slopes(
    blocks, start, offsets, candidates, shift, positions, cell, kind, cutoff, w, charges, ranges,
    energies, counts, near, slopes, virials,
):  # fmt: skip
    """Energy of each atom of some blocks, its gradient in the vector to each neighbour, and its part of the virial.

    Parameters
    ----------
    blocks : (n_blocks, 8)
        From :func:`~idealflow.forcefields.local.lanes.blocks_of`.
    start
        The first atom of the blocks: it has row 0 of what is filled.
    offsets, candidates, shift
        :class:`~idealflow.forcefields.local.candidates.Candidates`.
    positions, cell, kind : (n, 3), (3, 3), (n,)
        The frame, Å, and the species index of each atom.
    cutoff
        Å.
    w
        :class:`~idealflow.forcefields.local.lanes.Weights`.
    charges, ranges
        As for :func:`~idealflow.forcefields.local.repulsion.repulsion`.
    energies : (n_chosen,), eV
        Filled, without reference energies.
    counts : (n_chosen,) int64
        Filled with numbers of neighbours.
    near, slopes : (n_kept,), (n_kept, 3)
        Filled with index of, and slope (eV/Å) along, each neighbour, those of atom i from row ``offsets[i] - offsets[start]`` on.
    virials : (n_chosen, 3, 3), eV
        Filled.

    Examples
    --------
    Twelve atoms of copper, by an untrained model:

    >>> from ase.build import bulk
    >>> from idealflow.forcefields.local.candidates import CandidateList
    >>> from idealflow.forcefields.local.lanes import blocks_of, weights_of
    >>> from idealflow.forcefields.local.model import LocalModel
    >>> from idealflow.forcefields.local.repulsion import repulsion_ranges
    >>> crystal, kind = bulk("Cu", cubic=True).repeat((3, 1, 1)), np.zeros(12, dtype=np.int64)
    >>> frame = crystal.positions, crystal.cell.array, crystal.pbc, kind
    >>> pairs, w = CandidateList(3.0).of(*frame), weights_of(LocalModel(1, 4, 3, [8]))
    >>> energies, counts, near = np.empty(12), np.empty(12, dtype=np.int64), np.empty(len(pairs.j), dtype=np.int32)
    >>> slopes, virials = np.empty((len(pairs.j), 3)), np.empty((12, 3, 3))
    >>> energies_and_slopes(
    ...     blocks_of(kind, 0, 12), 0, pairs.offsets, pairs.j, pairs.shift, frame[0], frame[1], kind, 3.0, w,
    ...     np.array([29.0]), repulsion_ranges([29]), energies, counts, near, slopes, virials)
    >>> counts.tolist() == [12] * 12, bool(np.allclose(energies, energies[0]))
    (True, True)
    """
    n_species, width = w.linear.shape[0], w.contraction.shape[0] // w.linear.shape[0]
    stride, channels, n_features = n_species * width, w.contraction.shape[1], w.widths[0]
    base, widest = offsets[start], w.widths.max()
    for b in numba.prange(len(blocks)):
        species, room = kind[blocks[b, 0]], 0
        for lane in range(LANES):
            if blocks[b, lane] >= 0:
                room += offsets[blocks[b, lane] + 1] - offsets[blocks[b, lane]]
        unit, length, group = np.empty((room, 3)), np.empty(room), np.empty((LANES, n_species + 1), dtype=np.int64)
        radial, slope, harmonic = np.zeros((room, width)), np.zeros((room, width)), np.empty((room, N_LM))
        block, full = np.empty(LANES * LANES), np.zeros((channels, channels))
        density, a = np.empty((N_LM, stride)), np.zeros((LANES, N_LM, channels))
        x, energy, by_x = np.zeros((n_features, LANES)), np.empty(LANES), np.empty((widest, LANES))
        used = 0
        for lane in range(LANES):
            i = blocks[b, lane]
            if i >= 0:
                first = used
                used = _neighbours(
                    i, first, offsets, candidates, shift, positions, cell, kind, cutoff,
                    unit, length, group[lane], near[offsets[i] - base :],
                )  # fmt: skip
                counts[i - start] = used - first
                _functions(first, used, cutoff, w.n_radial, unit, length, radial, slope, harmonic)
                _channels(group[lane], radial, harmonic, w.contraction, density, block, lane, a)
                _invariants(a, lane, w.n_channels, full, block, x)
        _network(w, species, x, block, energy, by_x)
        by_a, g, h = np.empty((N_LM, channels)), np.empty((used, N_LM)), np.empty((used, N_LM))
        for lane in range(LANES):
            i = blocks[b, lane]
            if i >= 0:
                _pull(a, by_x, lane, w.n_channels, full, block, by_a)
                _along_pairs(group[lane], radial, slope, by_a, w.contraction_back, density, block, g, h)
                kept = offsets[i] - base
                repelled = _pair_slopes(
                    species, group[lane], unit, length, harmonic, g, h, kind, charges, ranges,
                    near[kept:], slopes[kept:], virials[i - start],
                )  # fmt: skip
                energies[i - start] = energy[lane] + repelled


@numba.njit(cache=CACHED, nogil=True)
def gather_forces(start, end, offsets, counts, near, slopes, forces):
    """Add the slopes of atoms ``start`` to ``end`` to the forces on both atoms of each pair, eV/Å.

    Parameters
    ----------
    start, end
        Atoms whose pairs count.
    offsets, counts, near, slopes
        As :func:`energies_and_slopes` has them.
    forces : (n, 3)
        Changed in place.

    Examples
    --------
    >>> forces = np.zeros((2, 3))
    >>> one = np.array([0, 1, 1]), np.array([1, 0]), np.array([1]), np.array([[0.0, 0.0, -0.5]])
    >>> gather_forces(0, 2, *one, forces)
    >>> forces[:, 2].tolist()
    [-0.5, 0.5]
    """
    base = offsets[start]
    for i in range(start, end):
        f0, f1, f2 = 0.0, 0.0, 0.0
        for p in range(offsets[i] - base, offsets[i] - base + counts[i - start]):
            k = near[p]
            f0 += slopes[p, 0]
            f1 += slopes[p, 1]
            f2 += slopes[p, 2]
            for axis in range(3):
                forces[k, axis] -= slopes[p, axis]
        forces[i, 0] += f0
        forces[i, 1] += f1
        forces[i, 2] += f2
