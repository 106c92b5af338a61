"""Eight pairs or eight atoms at a time in the compiler's own vector instructions: what the fused kernel is made of.

Arguments and results as those of :mod:`~idealflow.forcefields.local.loop_pairs`, the same in plain numba, where chunks and their
records are explained. Formulas are written once: harmonics and their slopes are those of
:mod:`~idealflow.forcefields.local.kernels`, given vectors of eight in place of numbers.
"""
# ruff: noqa: ARG001  # numba types an intrinsic by all its arguments, though offsets need no look
# mypy: ignore-errors
# llvmlite and numba's intrinsics are untyped

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from idealflow.core.descriptors.loops import LANES
from idealflow.core.descriptors.vector_code import IN_TURN, Eight, Memory, constant, loop, multiply_add, transposed
from idealflow.forcefields.local.kernels import N_LM, harmonics, harmonics_slope

__all__ = ["activate", "chunk_density", "chunk_functions", "chunk_pull", "chunk_slopes"]

_NUMBER = types.intp


def _row(k):
    """Offset of the k-th vector of a record."""
    return constant(k * LANES)


@intrinsic
def chunk_functions(_, record, start, width, cutoff):
    """Fill a chunk's record, at ``start`` of a flat array, from the vectors and their squares that it begins with.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(record):
    ...     chunk_functions(record, 0, 8, 4.0)
    >>> record = np.zeros((4 + 16 + 3 * 8) * 8)
    >>> record[16:24], record[24:32] = 2.0, 4.0  # along z, 2 Å
    >>> call(record)
    >>> record[32::8][:3].round(6).tolist(), float(record[20 * 8])  # harmonics; (1 − u²)³ with u = 0.5
    ([1.0, 0.0, 1.732051], 0.421875)
    """
    signature = types.void(record, _NUMBER, _NUMBER, record.dtype)

    def generate(context, builder, signature, args):
        memory = Memory(context, builder, signature.args[0], args[0], args[1])
        vector, r = (
            [Eight(builder, memory.load(_row(k))) for k in range(3)],
            Eight(builder, memory.load(_row(3))).sqrt(),
        )
        over = 1.0 / r
        x, y, z = (component * over for component in vector)
        for k, value in enumerate((x, y, z, r)):
            memory.store(value.value, _row(k))
        found = [x] * N_LM
        harmonics.py_func(x, y, z, found)
        for m, value in enumerate(found):
            memory.store(x.same(value).value, _row(4 + m))
        scale = 1.0 / Eight.splat(builder, args[3])
        u = r * scale
        v = 1.0 - u * u
        envelope, falling = v * v * v, -6.0 * u * v * v * scale
        t = 2.0 * (1.0 - u) * (1.0 - u) - 1.0
        by_t = -4.0 * (1.0 - u) * scale
        functions, slopes = _row(4 + N_LM), builder.mul(args[2], constant(LANES))

        def block(n, carried):
            t0, d0, t1, d1 = (Eight(builder, value) for value in carried)
            place = builder.add(functions, builder.mul(n, constant(LANES * LANES)))
            rows = []
            for k in range(LANES):
                rows.append(t0 * envelope)
                here = builder.add(place, _row(k))
                memory.store(rows[-1].value, here)
                memory.store((d0 * by_t * envelope + t0 * falling).value, builder.add(here, slopes))
                t0, d0, t1, d1 = t1, d1, 2.0 * t * t1 - t0, 2.0 * t1 + 2.0 * t * d1 - d0
            turned = builder.add(place, builder.mul(slopes, constant(2)))
            for k, row in enumerate(transposed(builder, [row.value for row in rows])):
                memory.store(row, builder.add(turned, _row(k)))
            return [t0.value, d0.value, t1.value, d1.value]

        first = [t.same(1.0).value, t.same(0.0).value, t.value, t.same(1.0).value]
        loop(builder, builder.sdiv(args[2], constant(LANES)), first, block)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def chunk_density(_, out, record, start, stride, count, half, n, width):
    """Sum harmonic · radial function over ``count`` chunks into ``out`` (64,).

    Of the harmonics eight from 8 ``half`` on are taken, of the functions eight from 8 ``n`` on.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, record):
    ...     chunk_functions(record, 0, 8, 4.0)
    ...     chunk_density(out, record, 0, len(record), 1, 0, 0, 8)
    >>> record, out = np.zeros((4 + 16 + 3 * 8) * 8), np.empty(64)
    >>> record[16:24], record[24:32] = 4.0, 16.0
    >>> record[16], record[24] = 2.0, 4.0  # seven of eight pairs are at the cutoff
    >>> call(out, record)
    >>> out[:2].tolist()
    [0.421875, -0.2109375]
    """
    signature = types.void(out, record, *[_NUMBER] * 6)

    def generate(context, builder, signature, args):
        target = Memory(context, builder, signature.args[0], args[0], constant(0))
        of_harmonic = builder.add(_row(4), builder.mul(args[5], _row(LANES)))
        turned = builder.add(_row(4 + N_LM), builder.mul(args[7], constant(2 * LANES)))
        of_radial = builder.add(turned, builder.mul(args[6], _row(LANES)))
        factors, rows = (
            Memory(context, builder, signature.args[1], args[1], builder.add(args[2], offset))
            for offset in (of_harmonic, of_radial)
        )

        def chunk(k, sums):
            place = builder.mul(k, args[3])
            for q in range(LANES):
                row = rows.load(builder.add(place, _row(q)))
                sums = [
                    multiply_add(
                        builder, factors.splat(builder.add(place, constant(LANES * r + q))), row, sums[r], IN_TURN
                    )
                    for r in range(LANES)
                ]
            return sums

        for r, value in enumerate(loop(builder, args[4], [target.zero()] * LANES, chunk)):
            target.store(value, _row(r))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def chunk_pull(_, out, weight, place, stride, record, start, width):
    """Derivatives of Σ weight · density by the pairs of a chunk, into ``out`` (18, 8).

    Row 1 has those along the distance, rows 2 to 17 those in the harmonics; row 0 is not touched.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, weight, record):
    ...     chunk_functions(record, 0, 8, 4.0)
    ...     chunk_pull(out, weight, 0, 8, record, 0, 8)
    >>> record, out, weight = np.zeros((4 + 16 + 3 * 8) * 8), np.zeros(18 * 8), np.zeros(16 * 8)
    >>> record[16:24], record[24:32], weight[0] = 2.0, 4.0, 1.0
    >>> call(out, weight, record)
    >>> float(out[8]), float(out[16])  # −6 u (1 − u²)² / cutoff, and (1 − u²)³
    (-0.421875, 0.421875)
    """
    signature = types.void(out, weight, _NUMBER, _NUMBER, record, _NUMBER, _NUMBER)

    def generate(context, builder, signature, args):
        target = Memory(context, builder, signature.args[0], args[0], constant(0))
        factors = Memory(context, builder, signature.args[1], args[1], args[2])
        memory = Memory(context, builder, signature.args[4], args[4], args[5])
        slopes = builder.mul(args[6], constant(LANES))
        for k in range(1, 2 + N_LM):
            target.store(target.zero(), _row(k))

        def block(n, _):
            place = builder.add(_row(4 + N_LM), builder.mul(n, _row(LANES)))
            value = [memory.load(builder.add(place, _row(k))) for k in range(LANES)]
            slope = [memory.load(builder.add(builder.add(place, slopes), _row(k))) for k in range(LANES)]
            along = target.load(_row(1))
            for m in range(N_LM):
                first = builder.add(builder.mul(args[3], constant(m)), builder.mul(n, constant(LANES)))
                g, d = target.load(_row(2 + m)), target.zero()
                for k in range(LANES):
                    factor = factors.splat(builder.add(first, constant(k)))
                    g, d = (
                        multiply_add(builder, factor, value[k], g, IN_TURN),
                        multiply_add(builder, factor, slope[k], d, IN_TURN),
                    )
                target.store(g, _row(2 + m))
                along = multiply_add(builder, memory.load(_row(4 + m)), d, along, IN_TURN)
            target.store(along, _row(1))
            return []

        loop(builder, builder.sdiv(args[6], constant(LANES)), [], block)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def chunk_slopes(_, out, record, start, pulled):
    """Slopes along the vectors of eight pairs into the first three rows of ``out`` (9, 8); their virials are added to the others.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, record, pulled):
    ...     chunk_slopes(out, record, 0, pulled)
    >>> record, pulled, out = np.zeros((4 + 16 + 3 * 8) * 8), np.zeros(18 * 8), np.zeros(9 * 8)
    >>> record[16:24], record[24:32], pulled[0] = 1.0, 2.0, 0.5  # one pair, along z, is pulled
    >>> call(out, record, pulled)
    >>> out[::8].tolist()
    [0.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """
    signature = types.void(out, record, _NUMBER, pulled)

    def generate(context, builder, signature, args):
        target = Memory(context, builder, signature.args[0], args[0], constant(0))
        memory = Memory(context, builder, signature.args[1], args[1], args[2])
        source = Memory(context, builder, signature.args[3], args[3], constant(0))
        x, y, z, r = (Eight(builder, memory.load(_row(k))) for k in range(4))
        along = Eight(builder, source.load(_row(0))) + Eight(builder, source.load(_row(1)))
        g = [Eight(builder, source.load(_row(2 + m))) for m in range(N_LM)]
        gx, gy, gz = harmonics_slope.py_func(x, y, z, g)
        over = 1.0 / r
        radially = along - (gx * x + gy * y + gz * z) * over
        sx, sy, sz = gx * over + radially * x, gy * over + radially * y, gz * over + radially * z
        for k, value in enumerate((sx, sy, sz)):
            target.store(value.value, _row(k))
        rx, ry, rz = r * x, r * y, r * z
        # an atom's energy does not change as its surroundings turn, so its virial is symmetric
        for k, value in enumerate((rx * sx, ry * sy, rz * sz, rx * sy, rx * sz, ry * sz), 3):
            target.store((Eight(builder, target.load(_row(k))) + value).value, _row(k))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def activate(_, layer, slope, row, z, place, bias):
    """Put x · sigmoid(x) into ``layer``, and its slope into ``slope``, from ``row`` on; x = ``z[place : place + 8] + bias``.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(layer, slope, z):
    ...     activate(layer, slope, 0, z, 0, 1.0)
    >>> layer, slope = np.empty(8), np.empty(8)
    >>> call(layer, slope, np.zeros(8))
    >>> round(float(layer[0]), 6), round(float(slope[0]), 6)
    (0.731059, 0.927671)
    """
    signature = types.void(layer, slope, _NUMBER, z, _NUMBER, z.dtype)

    def generate(context, builder, signature, args):
        target, beside = (Memory(context, builder, signature.args[k], args[k], args[2]) for k in range(2))
        source = Memory(context, builder, signature.args[3], args[3], args[4])
        argument = Eight(builder, source.load(constant(0))) + Eight.splat(builder, args[5])
        sigmoid = 1.0 / (1.0 + (0.0 - argument).exp())
        target.store((argument * sigmoid).value, constant(0))
        beside.store((sigmoid * (1.0 + argument * (1.0 - sigmoid))).value, constant(0))
        return context.get_dummy_value()

    return signature, generate
