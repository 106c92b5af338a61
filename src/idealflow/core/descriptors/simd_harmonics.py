"""Solid harmonics and their gradients in the compiler's vector instructions; see :mod:`~idealflow.core.descriptors.simd`.

Their recursions stay in registers from turn to turn, instead of being written and read again: less than half the time.
"""
# ruff: noqa: ARG001  # numba types an intrinsic by all its arguments, though offsets need no look

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.base import BaseContext
from numba.core.types import Array, Type
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from idealflow.core.descriptors.loops import LANES
from idealflow.core.descriptors.simd import Args, Typed
from idealflow.core.descriptors.vector_code import FAST, Memory, Values, constant, loop, multiply_add, splat

__all__ = ["solid_harmonics", "solid_harmonics_reverse"]


def _in_turn(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """``a b + c``, one instruction if the processor has it; sums of them are taken in the order in which they are written."""
    return multiply_add(builder, a, b, c, ("contract",))


@intrinsic
def solid_harmonics(
    _: BaseContext, xyz: Array, constants: Array, n: Type, q: Array, powers: Array, out: Array
) -> Typed:
    """Solid harmonics of degrees below n of eight vectors: what :func:`~idealflow.core.descriptors.harmonics.harmonics` does.

    The recursions run in registers. Memory laid out as there.

    Examples
    --------
    >>> import numba, numpy as np
    >>> from idealflow.core.descriptors.harmonics import harmonic_constants
    >>> @numba.njit
    ... def call(xyz, constants, q, powers, out):
    ...     solid_harmonics(xyz, constants, 2, q, powers, out)
    >>> xyz, out = np.repeat([0.0, 0.0, 2.0, 4.0], 8), np.zeros(4 * 8)  # eight times the vector (0, 0, 2)
    >>> call(xyz, harmonic_constants(1), np.zeros(4 * 8), np.zeros(2 * 2 * 8), out)
    >>> out[::8].round(6).tolist()
    [0.282095, 0.0, 0.977205, 0.0]
    """
    signature = types.void(xyz, constants, types.intp, q, powers, out)

    def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
        vectors, factors, legendre, turned, target = (
            Memory(context, builder, signature.args[a], args[a], constant(0)) for a in (0, 1, 3, 4, 5)
        )
        n, one, eight = args[2], constant(1), constant(LANES)
        x, y, z, r2 = (vectors.load(constant(LANES * a)) for a in range(4))
        minus_y = builder.fneg(y)

        def factor(which: int, l: ir.Value, m: ir.Value) -> ir.Value:
            return factors.splat(builder.add(builder.mul(builder.add(builder.mul(constant(which), n), l), n), m))

        def order(m: ir.Value, turn: Values) -> Values:
            cosine, sine = turn
            turned.store(cosine, builder.mul(m, eight))
            turned.store(sine, builder.mul(builder.add(n, m), eight))

            def put(l: ir.Value, value: ir.Value) -> None:
                legendre.store(value, builder.mul(builder.add(builder.mul(l, n), m), eight))
                middle = builder.add(builder.mul(l, l), l)
                # the sine first: of order 0 it is nothing, and its place is the cosine's
                target.store(builder.fmul(value, sine, flags=FAST), builder.mul(builder.sub(middle, m), eight))
                target.store(builder.fmul(value, cosine, flags=FAST), builder.mul(builder.add(middle, m), eight))

            first = factor(0, m, m)
            put(m, first)

            def degree(k: ir.Value, last: Values) -> Values:
                l = builder.add(builder.add(m, one), k)
                # without flags: the sum below is fused with its own product alone, whatever the compiler prefers
                value = builder.fmul(builder.fmul(factor(1, l, m), z), last[0])
                value = _in_turn(builder, builder.fmul(factor(2, l, m), r2), last[1], value)
                put(l, value)
                return [value, last[0]]

            loop(builder, builder.sub(builder.sub(n, m), one), [first, vectors.zero()], degree)
            return [
                _in_turn(builder, minus_y, sine, builder.fmul(x, cosine)),
                _in_turn(builder, y, cosine, builder.fmul(x, sine)),
            ]

        unit = ir.Constant(x.type, [1.0] * LANES)
        loop(builder, n, [unit, vectors.zero()], order)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def solid_harmonics_reverse(
    _: BaseContext, xyz: Array, constants: Array, n: Type, q: Array, powers: Array, weights: Array, out: Array
) -> Typed:
    """Gradient of a weighted sum of them: what :func:`~idealflow.core.descriptors.harmonics.harmonics_reverse` does.

    Examples
    --------
    >>> import numba, numpy as np
    >>> from idealflow.core.descriptors.harmonics import harmonic_constants
    >>> @numba.njit
    ... def call(xyz, constants, q, powers, weights, out):
    ...     solid_harmonics(xyz, constants, 2, q, powers, np.zeros(4 * 8))
    ...     solid_harmonics_reverse(xyz, constants, 2, q, powers, weights, out)
    >>> xyz, weights, out = np.repeat([0.0, 0.0, 2.0, 4.0], 8), np.repeat([0.0, 0.0, 1.0, 0.0], 8), np.zeros(24)
    >>> call(xyz, harmonic_constants(1), np.zeros(4 * 8), np.zeros(2 * 2 * 8), weights, out)
    >>> (out[::8].round(6) + 0.0).tolist()
    [0.0, 0.0, 0.488603]
    """
    signature = types.void(xyz, constants, types.intp, q, powers, weights, out)

    def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
        vectors, factors, legendre, turned, weight, target = (
            Memory(context, builder, signature.args[a], args[a], constant(0)) for a in (0, 1, 3, 4, 5, 6)
        )
        n, one, eight = args[2], constant(1), constant(LANES)
        zero = vectors.zero()

        def factor(which: int, l: ir.Value, m: ir.Value) -> ir.Value:
            return factors.splat(builder.add(builder.mul(builder.add(builder.mul(constant(which), n), l), n), m))

        def kept(l: ir.Value, m: ir.Value) -> ir.Value:
            return legendre.load(builder.mul(builder.add(builder.mul(l, n), m), eight))

        def order(m: ir.Value, sums: Values) -> Values:
            outward, by_x, by_y, by_z = sums
            cosine = turned.load(builder.mul(m, eight))
            sine = turned.load(builder.mul(builder.add(n, m), eight))
            above = builder.select(builder.icmp_signed("==", m, constant(0)), one, m)  # degree 0 has no slope

            def degree(k: ir.Value, sums: Values) -> Values:
                outward, by_z, plus_sum, minus_sum = sums
                l = builder.add(above, k)
                middle, below = builder.add(builder.mul(l, l), l), builder.sub(l, one)
                plus = weight.load(builder.mul(builder.add(middle, m), eight))
                minus = weight.load(builder.mul(builder.sub(middle, m), eight))
                angular = _in_turn(builder, minus, sine, builder.fmul(plus, cosine))
                here = kept(l, m)
                next_order = builder.add(m, one)
                return [
                    _in_turn(builder, builder.fmul(angular, kept(below, next_order)), factor(3, l, m), outward),
                    _in_turn(builder, builder.fmul(angular, kept(below, m)), factor(4, l, m), by_z),
                    _in_turn(builder, plus, here, plus_sum),
                    _in_turn(builder, minus, here, minus_sum),
                ]

            start = [outward, by_z, zero, zero]
            outward, by_z, plus_sum, minus_sum = loop(builder, builder.sub(n, above), start, degree)
            before = builder.select(builder.icmp_signed("==", m, constant(0)), constant(0), builder.sub(m, one))
            scale = splat(builder, builder.sitofp(m, zero.type.element))
            cosine = turned.load(builder.mul(before, eight))
            sine = turned.load(builder.mul(builder.add(n, before), eight))
            p, q = builder.fmul(scale, plus_sum), builder.fmul(scale, minus_sum)
            by_x = _in_turn(builder, q, sine, _in_turn(builder, p, cosine, by_x))
            by_y = _in_turn(builder, builder.fneg(p), sine, _in_turn(builder, q, cosine, by_y))
            return [outward, by_x, by_y, by_z]

        outward, by_x, by_y, by_z = loop(builder, n, [zero] * 4, order)
        x, y = (vectors.load(constant(LANES * a)) for a in range(2))
        target.store(_in_turn(builder, outward, x, by_x), constant(0))
        target.store(_in_turn(builder, outward, y, by_y), constant(LANES))
        target.store(by_z, constant(2 * LANES))
        return context.get_dummy_value()

    return signature, generate
