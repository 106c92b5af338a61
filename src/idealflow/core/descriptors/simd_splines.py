"""Splines of eight radial functions at a time, in the compiler's own vector instructions.

As :mod:`~idealflow.core.descriptors.simd`, which says why; in plain numba they are in :mod:`~idealflow.core.descriptors.loops`.
"""
# ruff: noqa: ARG001  # numba types an intrinsic by all its arguments, though offsets need no look

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.base import BaseContext
from numba.core.types import Array, Type
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from idealflow.core.descriptors.loops import LANES, SPLINE_DEGREE
from idealflow.core.descriptors.simd import Args, Typed
from idealflow.core.descriptors.vector_code import Memory, Values, constant, loop, multiply_add, splat

__all__ = ["spline", "spline_and_slope"]


def _spline(with_slopes: bool) -> Callable[..., Typed]:
    def typed(
        _: BaseContext, out: Array, io: Type, slopes: Array, js: Type, table: Array, it: Type, width: Type, t: Type
    ) -> Typed:
        signature = types.void(out, types.intp, slopes, types.intp, table, types.intp, types.intp, table.dtype)
        degree = SPLINE_DEGREE[table.dtype.name]

        def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
            target, slope_target, row = (
                Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 2, 4)
            )
            x = splat(builder, args[7])

            def eight(k: ir.Value, _: Values) -> Values:
                place = builder.mul(k, constant(LANES))

                def coefficient(order: int) -> ir.Value:
                    return row.load(builder.add(builder.mul(args[6], constant(order)), place))

                value = coefficient(degree)
                slope = value
                for order in range(degree - 1, -1, -1):
                    if with_slopes and order < degree - 1:
                        slope = multiply_add(builder, slope, x, value)
                    value = multiply_add(builder, value, x, coefficient(order))
                target.store(value, place)
                if with_slopes:
                    slope_target.store(slope, place)
                return []

            loop(builder, builder.sdiv(args[6], constant(LANES)), [], eight)
            return context.get_dummy_value()

        return signature, generate

    return typed


@intrinsic
def spline(_: BaseContext, out: Array, io: Type, table: Array, it: Type, width: Type, t: Type) -> Typed:
    """``out[io + a] = Σ_d table[it + d·width + a] t^d`` for a < width, a multiple of eight.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, table):
    ...     spline(out, 0, table, 0, 8, 0.5)
    >>> out = np.zeros(8)
    >>> call(out, np.ones(6 * 8))
    >>> float(out[0])  # 1 + t + ... + t⁵
    1.96875
    """
    signature, generate = _spline(False)(_, out, io, out, io, table, it, width, t)
    short = signature.return_type(out, types.intp, table, types.intp, types.intp, table.dtype)

    def call(context: BaseContext, builder: ir.IRBuilder, _: Signature, args: Args) -> ir.Value:
        return generate(context, builder, signature, (args[0], args[1], args[0], args[1], *args[2:]))

    return short, call


@intrinsic
def spline_and_slope(
    _: BaseContext, out: Array, io: Type, slopes: Array, js: Type, table: Array, it: Type, width: Type, t: Type
) -> Typed:
    """:func:`spline`, and its derivative in t into ``slopes[js + a]``.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, slopes, table):
    ...     spline_and_slope(out, 0, slopes, 0, table, 0, 8, 0.5)
    >>> out, slopes = np.zeros(8), np.zeros(8)
    >>> call(out, slopes, np.ones(6 * 8))
    >>> float(slopes[0])  # 1 + 2 t + ... + 5 t⁴
    3.5625
    """
    return _spline(True)(_, out, io, slopes, js, table, it, width, t)
