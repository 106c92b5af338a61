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

from idealflow.core.descriptors.vectors import CACHED, LANES, SIMD, block_product, gram
from idealflow.forcefields.local.kernels import N_LM
from idealflow.forcefields.local.repulsion import repulsion_of

if SIMD:
    from idealflow.forcefields.local.simd_pairs import (
        activate,
        chunk_density,
        chunk_functions,
        chunk_pull,
        chunk_slopes,
    )
else:
    from idealflow.forcefields.local.loop_pairs import (
        activate,
        chunk_density,
        chunk_functions,
        chunk_pull,
        chunk_slopes,
    )

__all__ = ["SUMMED_AT_ONCE", "energies_and_slopes", "gather"]

#: atoms whose virials are summed first; another number would change the last bits of a stress
SUMMED_AT_ONCE = 4096

_FAST = {"contract", "reassoc", "nsz", "arcp"}
#: parts are compiled into the kernel, never called by it: code that is linked from several pieces had other last bits in the
#: process that compiled it than in those that found it on disk
_part = numba.njit(cache=CACHED, nogil=True, fastmath=_FAST, error_model="numpy", inline="always")


@_part
def _neighbours(
    i, first, offsets, candidates, shift, positions, cell, kind, cutoff, stride, vectors, records, group, amount, near
):
    """Vectors to the neighbours of atom i and their squares, in chunks from ``first`` on, sorted by species; returns how many.

    ``group[s]`` is the first chunk of species s, of which there are ``amount[s]`` neighbours; ``near`` is filled with indices.
    """
    used, square = 0, cutoff * cutoff
    amount[:] = 0
    for p in range(offsets[i], offsets[i + 1]):  # no branch in the loop: a misprediction costs more than a store
        k = candidates[p]
        n0, n1, n2 = shift[p, 0] * 1.0, shift[p, 1] * 1.0, shift[p, 2] * 1.0
        v0 = positions[k, 0] - positions[i, 0] + (n0 * cell[0, 0] + n1 * cell[1, 0] + n2 * cell[2, 0])
        v1 = positions[k, 1] - positions[i, 1] + (n0 * cell[0, 1] + n1 * cell[1, 1] + n2 * cell[2, 1])
        v2 = positions[k, 2] - positions[i, 2] + (n0 * cell[0, 2] + n1 * cell[1, 2] + n2 * cell[2, 2])
        r2 = v0 * v0 + v1 * v1 + v2 * v2
        near[used] = k
        vectors[0, used], vectors[1, used], vectors[2, used], vectors[3, used] = v0, v1, v2, r2
        inside = np.int64(r2 < square)
        amount[kind[k]] += inside
        used += inside
    q, chunk = 0, first
    for s in range(len(amount)):
        group[s] = chunk
        for start in range(0, amount[s], LANES):
            place, count = chunk * stride, min(LANES, amount[s] - start)
            for row in range(4):
                for lane in range(count):
                    records[place + row * LANES + lane] = vectors[row, q + lane]
            for lane in range(count, LANES):  # pairs that count nothing
                records[place + lane], records[place + LANES + lane] = 0.0, 0.0
                records[place + 2 * LANES + lane], records[place + 3 * LANES + lane] = cutoff, square
            q += count
            chunk += 1
    group[len(amount)] = chunk
    return used


@_part
def _channels(group, records, stride, width, contraction, density, block, lane, a):
    """Densities of one atom, (16, n_species * radial width), and its channels a[lane], (16, channels width)."""
    columns, channels = density.shape[1], a.shape[2]
    for s in range(len(group) - 1):
        for n in range(width // LANES):
            for half in range(2):
                start, count = group[s] * stride, group[s + 1] - group[s]
                chunk_density(block, records, start, stride, count, half, n, width)
                for r in range(LANES):
                    for c in range(LANES):
                        density[LANES * half + r, s * width + LANES * n + c] = block[LANES * r + c]
    for n in range(columns // LANES):
        for k in range(channels // LANES):
            out, factors = lane * N_LM * channels + LANES * k, LANES * n * channels + LANES * k
            block_product(a, out, channels, density, LANES * n, columns, contraction, factors, channels, N_LM)


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
        for u in range(columns):
            activate(layer, first_slope, LANES * (row + u), z, LANES * u, w.biases[species, row + u])
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
def _weigh(by_a, contraction_back, weight):
    """Gradient of the energy in the densities of one atom, (16, n_species * radial width), from that in its channels."""
    columns, channels = weight.shape[1], by_a.shape[1]
    weight[:] = 0.0
    for k in range(channels // LANES):
        for n in range(columns // LANES):
            factors = LANES * k * columns + LANES * n
            block_product(
                weight, LANES * n, columns, by_a, LANES * k, channels, contraction_back, factors, columns, N_LM
            )


@_part
def _pair_slopes(
    species, group, amount, records, stride, width, weight, pulled, found, charges, ranges, slopes, virial
):
    """Slopes along the neighbours of one atom and its virial, repulsion included; returns the energy of the repulsion."""
    energy, p = 0.0, 0
    found[:] = 0.0
    for t in range(len(amount)):
        for chunk in range(group[t], group[t + 1]):
            place, count = chunk * stride, min(LANES, amount[t] - LANES * (chunk - group[t]))
            nearest = records[place + 3 * LANES]
            for lane in range(LANES):
                pulled[lane] = 0.0
                nearest = min(nearest, records[place + 3 * LANES + lane])
            if nearest < ranges[species, t]:
                for lane in range(count):
                    r = records[place + 3 * LANES + lane]
                    if r < ranges[species, t]:
                        repelled, pulled[lane] = repulsion_of(r, charges[species], charges[t], ranges[species, t])
                        energy += repelled
            chunk_pull(pulled, weight, t * width, weight.shape[1], records, place, width)
            chunk_slopes(found, records, place, pulled)
            for lane in range(count):
                slopes[p, 0], slopes[p, 1], slopes[p, 2] = found[lane], found[LANES + lane], found[2 * LANES + lane]
                p += 1
    for row in range(3, 9):
        for lane in range(1, LANES):
            found[row * LANES] += found[row * LANES + lane]
    xx, yy, zz, xy, xz, yz = found[24], found[32], found[40], found[48], found[56], found[64]
    virial[0, 0], virial[0, 1], virial[0, 2] = xx, xy, xz
    virial[1, 0], virial[1, 1], virial[1, 2] = xy, yy, yz
    virial[2, 0], virial[2, 1], virial[2, 2] = xz, yz, zz
    return energy


@numba.njit(cache=CACHED, nogil=True, fastmath=_FAST, error_model="numpy")
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
    channels, n_features, stride = w.contraction.shape[1], w.widths[0], (4 + N_LM + 3 * width) * LANES
    base, widest = offsets[start], w.widths.max()
    most, room = 0, 0
    for b in range(len(blocks)):
        chunks = 0
        for lane in range(LANES):
            if blocks[b, lane] >= 0:
                amount_here = offsets[blocks[b, lane] + 1] - offsets[blocks[b, lane]]
                most, chunks = max(most, amount_here), chunks + amount_here // LANES + n_species
        room = max(room, chunks)
    vectors, records = np.empty((4, most)), np.empty(room * stride)
    group, amount = np.empty((LANES, n_species + 1), dtype=np.int64), np.empty((LANES, n_species), dtype=np.int64)
    block, full = np.empty(LANES * LANES), np.zeros((channels, channels))
    density, a = np.empty((N_LM, n_species * width)), np.zeros((LANES, N_LM, channels))
    x, energy, by_x = np.zeros((n_features, LANES)), np.empty(LANES), np.empty((widest, LANES))
    by_a, pulled, found = np.empty((N_LM, channels)), np.empty((2 + N_LM) * LANES), np.empty(9 * LANES)
    for b in range(len(blocks)):
        species = kind[blocks[b, 0]]
        a[:] = 0.0
        x[:] = 0.0
        free = 0
        for lane in range(LANES):
            i = blocks[b, lane]
            if i >= 0:
                counts[i - start] = _neighbours(
                    i, free, offsets, candidates, shift, positions, cell, kind, cutoff,
                    stride, vectors, records, group[lane], amount[lane], near[offsets[i] - base :],
                )  # fmt: skip
                for chunk in range(free, group[lane, n_species]):
                    chunk_functions(records, chunk * stride, width, cutoff)
                free = group[lane, n_species]
                _channels(group[lane], records, stride, width, w.contraction, density, block, lane, a)
                _invariants(a, lane, w.n_channels, full, block, x)
        _network(w, species, x, block, energy, by_x)
        for lane in range(LANES):
            i = blocks[b, lane]
            if i >= 0:
                _pull(a, by_x, lane, w.n_channels, full, block, by_a)
                _weigh(by_a, w.contraction_back, density)
                kept = offsets[i] - base
                repelled = _pair_slopes(
                    species, group[lane], amount[lane], records, stride, width, density, pulled, found,
                    charges, ranges, slopes[kept:], virials[i - start],
                )  # fmt: skip
                energies[i - start] = energy[lane] + repelled


@numba.njit(cache=CACHED, nogil=True)
def gather(start, end, offsets, counts, near, slopes, virials, forces, sums):
    """Add the slopes of atoms ``start`` to ``end`` to the forces on both atoms of each pair, eV/Å, and their virials to sums, eV.

    Parameters
    ----------
    start, end
        Atoms whose pairs count.
    offsets, counts, near, slopes, virials
        As :func:`energies_and_slopes` has them.
    forces : (n, 3)
        Changed in place.
    sums : (n / SUMMED_AT_ONCE, 3, 3), rounded up
        Changed in place: each is of so many atoms, one after the other.

    Examples
    --------
    >>> forces, sums = np.zeros((2, 3)), np.zeros((1, 3, 3))
    >>> one = np.array([0, 1, 1]), np.array([1, 0]), np.array([1]), np.array([[0.0, 0.0, -0.5]]), np.ones((2, 3, 3))
    >>> gather(0, 2, *one, forces, sums)
    >>> forces[:, 2].tolist(), sums[0, 0].tolist()
    ([-0.5, 0.5], [2.0, 2.0, 2.0])
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
        for row in range(3):
            for column in range(3):
                sums[i // SUMMED_AT_ONCE, row, column] += virials[i - start, row, column]
