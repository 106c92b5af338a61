"""The operations of :mod:`~idealflow.core.descriptors.vectors`, written in the compiler's own vector instructions.

LLVM vectorises a plain loop of unknown length only together with checks for aliasing and a loop for the remainder, which for
rows of eight numbers cost more than the work. These operations leave no such question open: they take arrays and offsets, check
nothing, and become one or a few vector instructions (two or four where the machine's vectors are shorter). As numba intrinsics
they can be called from compiled functions only.

Against :mod:`~idealflow.core.descriptors.loops`, the same in plain numba, values of SOAP are 1.4 to 1.6 times as fast and values
with gradients 1.7 to 2.0 times (``workflows/benchmarks/simd.py``, one and four species, n_max 8 and 6, AMD EPYC). Below 1.3 this
file would not be worth its keep.
"""
# ruff: noqa: ARG001  # numba types an intrinsic by all its arguments, though offsets need no look

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.base import BaseContext
from numba.core.types import Array, Type
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from idealflow.core.descriptors.loops import LANES
from idealflow.core.descriptors.vector_code import FAST, Memory, Values, constant, loop, multiply_add, splat, transposed

__all__ = [
    "add_product",
    "block_product",
    "gram",
    "gram_at",
    "gram_half",
    "set_product",
    "set_scaled",
    "transpose",
]

Args = Sequence[ir.Value]
#: what numba asks of an intrinsic: its signature, and what writes its code
Typed = tuple[Signature, Callable[..., ir.Value]]


def _product(accumulate: bool) -> Callable[..., Typed]:
    def typed(_: BaseContext, out: Array, io: Type, factor: Type, a: Array, ia: Type, b: Array, ib: Type) -> Typed:
        signature = types.void(out, types.intp, out.dtype, a, types.intp, b, types.intp)

        def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
            target, first, second = (
                Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 3, 5)
            )
            zero = constant(0)
            scaled = builder.fmul(splat(builder, args[2]), first.load(zero), flags=FAST)
            other = second.load(zero)
            if accumulate:
                value = multiply_add(builder, scaled, other, target.load(zero))
            else:
                value = builder.fmul(scaled, other, flags=FAST)
            target.store(value, zero)
            return context.get_dummy_value()

        return signature, generate

    return typed


@intrinsic
def set_product(_: BaseContext, out: Array, io: Type, factor: Type, a: Array, ia: Type, b: Array, ib: Type) -> Typed:
    """``out[io:io+8] = factor · a[ia:ia+8] · b[ib:ib+8]``.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, a):
    ...     set_product(out, 0, 0.5, a, 0, a, 0)
    >>> out = np.ones(8)
    >>> call(out, np.arange(8.0))
    >>> out
    array([ 0. ,  0.5,  2. ,  4.5,  8. , 12.5, 18. , 24.5])
    """
    return _product(False)(_, out, io, factor, a, ia, b, ib)


@intrinsic
def add_product(_: BaseContext, out: Array, io: Type, factor: Type, a: Array, ia: Type, b: Array, ib: Type) -> Typed:
    """``out[io:io+8] += factor · a[ia:ia+8] · b[ib:ib+8]``.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, a):
    ...     add_product(out, 0, 0.5, a, 0, a, 0)
    >>> out = np.ones(8)
    >>> call(out, np.arange(8.0))
    >>> out
    array([ 1. ,  1.5,  3. ,  5.5,  9. , 13.5, 19. , 25.5])
    """
    return _product(True)(_, out, io, factor, a, ia, b, ib)


@intrinsic
def block_product(
    _: BaseContext,
    out: Array,
    io: Type,
    so: Type,
    f: Array,
    jf: Type,
    sf: Type,
    g: Array,
    ig: Type,
    sg: Type,
    rows: Type,
) -> Typed:
    """``out[r, :] += Σ_{q<8} f[r, q] g[q, :]`` for r < rows; rows of eight at ``io + r·so``, ``jf + r·sf``, ``ig + q·sg``.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, f, g):
    ...     block_product(out, 0, 8, f, 0, 8, g, 0, 8, 3)
    >>> out, f, g = np.zeros((3, 8)), np.arange(24.0).reshape(3, 8), np.eye(8)
    >>> call(out.ravel(), f.ravel(), g.ravel())
    >>> bool((out == f @ g).all())
    True
    """
    number = types.intp
    signature = types.void(out, number, number, f, number, number, g, number, number, number)

    def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
        target, factors, block = (Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 3, 6))
        kept = [block.load(builder.mul(args[8], constant(q))) for q in range(LANES)]

        def row(r: ir.Value, _: Values) -> Values:
            place = builder.mul(r, args[2])
            start = builder.mul(r, args[5])
            sums = [target.load(place), target.zero()]
            for q in range(LANES):  # two chains of sums: half the latency
                factor = factors.splat(builder.add(start, constant(q)))
                sums[q % 2] = multiply_add(builder, factor, kept[q], sums[q % 2])
            target.store(builder.fadd(*sums, flags=FAST), place)
            return []

        loop(builder, args[9], [], row)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def set_scaled(
    _: BaseContext, out: Array, io: Type, so: Type, e: Type, factor: Type, a: Array, ia: Type, rows: Type
) -> Typed:
    """Rows of a rectangle, or of an upper triangle, into a packed array, times a factor.

    ``out[io + r·so − e·r(r−1)/2 : +8] = factor · a[ia + (8 + e)·r : +8]`` for r < rows; e is 1 for a triangle, whose rows begin
    one column later and are one number shorter each, else 0. ``out`` and the factor are of double precision, ``a`` may be single.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, a):
    ...     set_scaled(out, 0, 3, 0, 0.5, a, 0, 2)
    >>> out = np.ones(11)
    >>> call(out, np.arange(16.0, dtype=np.float32))
    >>> out
    array([0. , 0.5, 1. , 4. , 4.5, 5. , 5.5, 6. , 6.5, 7. , 7.5])
    """
    number = types.intp
    signature = types.void(out, number, number, number, out.dtype, a, number, number)

    def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
        target, source = (Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 5))
        factor, widened = splat(builder, args[4]), target.zero().type
        width = builder.add(args[3], constant(LANES))

        def row(r: ir.Value, _: Values) -> Values:
            value = source.load(builder.mul(r, width))
            if value.type != widened:
                value = builder.fpext(value, widened)
            shorter = builder.ashr(builder.mul(r, builder.sub(r, constant(1))), constant(1))
            place = builder.sub(builder.mul(r, args[2]), builder.mul(args[3], shorter))
            target.store(builder.fmul(factor, value), place)
            return []

        loop(builder, args[7], [], row)
        return context.get_dummy_value()

    return signature, generate


def _gram(n_rows: int) -> Callable[..., Typed]:
    def typed(
        _: BaseContext, out: Array, io: Type, f: Array, jf: Type, sf: Type, g: Array, ig: Type, sg: Type, count: Type
    ) -> Typed:
        number = types.intp
        signature = types.void(out, number, f, number, number, g, number, number, number)

        def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
            target, factors, block = (
                Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 2, 5)
            )

            def term(q: ir.Value, sums: Values) -> Values:
                start = builder.mul(q, args[4])
                row = block.load(builder.mul(q, args[7]))
                return [
                    multiply_add(builder, factors.splat(builder.add(start, constant(r))), row, sums[r])
                    for r in range(n_rows)
                ]

            for r, value in enumerate(loop(builder, args[8], [target.zero()] * n_rows, term)):
                target.store(value, constant(LANES * r))
            return context.get_dummy_value()

        return signature, generate

    return typed


@intrinsic
def gram(_: BaseContext, out: Array, f: Array, jf: Type, sf: Type, g: Array, ig: Type, sg: Type, count: Type) -> Typed:
    """:func:`gram_at` the beginning of ``out``.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, f):
    ...     gram(out, f, 0, 8, f, 0, 8, 2)
    >>> out, f = np.zeros((8, 8)), np.arange(16.0).reshape(2, 8)
    >>> call(out.ravel(), f.ravel())
    >>> bool((out == f.T @ f).all())
    True
    """
    whole, generate = _gram(LANES)(_, out, types.intp, f, jf, sf, g, ig, sg, count)
    number = types.intp
    short = types.void(out, f, number, number, g, number, number, number)

    def call(context: BaseContext, builder: ir.IRBuilder, _: Signature, args: Args) -> ir.Value:
        return generate(context, builder, whole, (args[0], constant(0), *args[1:]))

    return short, call


@intrinsic
def gram_at(
    _: BaseContext, out: Array, io: Type, f: Array, jf: Type, sf: Type, g: Array, ig: Type, sg: Type, count: Type
) -> Typed:
    """``out[io+8·r:+8] = Σ_{q<count} f[jf + q·sf + r] · g[ig + q·sg : +8]`` for r < 8.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, f):
    ...     gram_at(out, 0, f, 0, 8, f, 0, 8, 2)
    >>> out, f = np.zeros((8, 8)), np.arange(16.0).reshape(2, 8)
    >>> call(out.ravel(), f.ravel())
    >>> bool((out == f.T @ f).all())
    True
    """
    return _gram(LANES)(_, out, io, f, jf, sf, g, ig, sg, count)


@intrinsic
def gram_half(
    _: BaseContext, out: Array, io: Type, f: Array, jf: Type, sf: Type, g: Array, ig: Type, sg: Type, count: Type
) -> Typed:
    """:func:`gram_at` of the first four rows alone: r < 4.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, f):
    ...     gram_half(out, 0, f, 0, 8, f, 0, 8, 2)
    >>> out, f = np.zeros((8, 8)), np.arange(16.0).reshape(2, 8)
    >>> call(out.ravel(), f.ravel())
    >>> bool((out[:4] == (f.T @ f)[:4]).all()), bool(out[4:].any())
    (True, False)
    """
    return _gram(LANES // 2)(_, out, io, f, jf, sf, g, ig, sg, count)


@intrinsic
def transpose(_: BaseContext, out: Array, io: Type, a: Array, ia: Type, sa: Type) -> Typed:
    """``out[io + 8·c + r] = a[ia + r·sa + c]`` for r, c < 8.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def call(out, a):
    ...     transpose(out, 0, a, 0, 8)
    >>> out, a = np.zeros((8, 8)), np.arange(64.0).reshape(8, 8)
    >>> call(out.ravel(), a.ravel())
    >>> bool((out == a.T).all())
    True
    """
    signature = types.void(out, types.intp, a, types.intp, types.intp)

    def generate(context: BaseContext, builder: ir.IRBuilder, signature: Signature, args: Args) -> ir.Value:
        target = Memory(context, builder, signature.args[0], args[0], args[1])
        source = Memory(context, builder, signature.args[2], args[2], args[3])
        rows = [source.load(builder.mul(args[4], constant(r))) for r in range(LANES)]
        for c, row in enumerate(transposed(builder, rows)):
            target.store(row, constant(LANES * c))
        return context.get_dummy_value()

    return signature, generate
