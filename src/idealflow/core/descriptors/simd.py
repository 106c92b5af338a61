"""The operations of :mod:`~idealflow.core.descriptors.vectors`, written in the compiler's own vector instructions.

LLVM vectorises a plain loop of unknown length only together with checks for aliasing and a loop for the remainder, which for
rows of eight numbers cost more than the work. These operations leave no such question open: they take arrays and offsets, check
nothing, and become one or a few vector instructions (two or four where the machine's vectors are shorter). As numba intrinsics
they can be called from compiled functions only.

Against :mod:`~idealflow.core.descriptors.loops`, the same in plain numba, values of SOAP are 1.5 to 1.6 times as fast and values
with gradients 1.8 to 2.0 times (``workflows/benchmarks/simd.py``, one and four species, n_max 8 and 6, AMD EPYC). Below 1.3 this
file would not be worth its keep.
"""
# ruff: noqa: ARG001  # numba types an intrinsic by all its arguments, though offsets need no look

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from idealflow.core.descriptors.loops import LANES, SPLINE_DEGREE

__all__ = [
    "add_product",
    "block_product",
    "gram",
    "set_product",
    "spline",
    "spline_and_slope",
    "transpose",
]

_FAST = ("contract", "reassoc", "nsz", "arcp")
_INT = ir.IntType(64)


class _Memory:
    """Data of one array argument, read and written eight numbers at a time."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> None:
        self._builder = builder
        self._element = context.get_data_type(array_type.dtype)
        self._vector = ir.VectorType(self._element, LANES)
        self._align = array_type.dtype.bitwidth // 8
        self._start = builder.gep(make_array(array_type)(context, builder, array).data, [offset])

    def _at(self, offset: Any) -> Any:
        return self._builder.gep(self._start, [offset])

    def load(self, offset: Any) -> Any:
        pointer = self._builder.bitcast(self._at(offset), self._vector.as_pointer())
        return self._builder.load(pointer, align=self._align)

    def store(self, value: Any, offset: Any) -> None:
        pointer = self._builder.bitcast(self._at(offset), self._vector.as_pointer())
        self._builder.store(value, pointer, align=self._align)

    def splat(self, offset: Any) -> Any:
        return _splat(self._builder, self._builder.load(self._at(offset)))

    def zero(self) -> Any:
        return ir.Constant(self._vector, [0.0] * LANES)


def _splat(builder: Any, scalar: Any) -> Any:
    vector = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), first)


def _constant(value: int) -> Any:
    return ir.Constant(_INT, value)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_FAST), c, flags=_FAST)


def _loop(builder: Any, count: Any, initial: list[Any], body: Any) -> list[Any]:
    """``for k in range(count)``, values carried from turn to turn in registers."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(_INT)
    carried = [builder.phi(value.type) for value in initial]
    builder.cbranch(builder.icmp_signed("<", k, count), inside, after)
    builder.position_at_end(inside)
    results = body(k, carried)
    k.add_incoming(_constant(0), before)
    k.add_incoming(builder.add(k, _constant(1)), builder.block)
    for phi, first, later in zip(carried, initial, results, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return carried


def _product(accumulate: bool) -> Any:
    def typed(_context: Any, out: Any, io: Any, factor: Any, a: Any, ia: Any, b: Any, ib: Any) -> Any:
        signature = types.void(out, types.intp, out.dtype, a, types.intp, b, types.intp)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            target, first, second = (
                _Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 3, 5)
            )
            zero = _constant(0)
            scaled = builder.fmul(_splat(builder, args[2]), first.load(zero), flags=_FAST)
            other = second.load(zero)
            if accumulate:
                value = _multiply_add(builder, scaled, other, target.load(zero))
            else:
                value = builder.fmul(scaled, other, flags=_FAST)
            target.store(value, zero)
            return context.get_dummy_value()

        return signature, generate

    return typed


@intrinsic
def set_product(_context: Any, out: Any, io: Any, factor: Any, a: Any, ia: Any, b: Any, ib: Any) -> Any:
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
    return _product(False)(_context, out, io, factor, a, ia, b, ib)


@intrinsic
def add_product(_context: Any, out: Any, io: Any, factor: Any, a: Any, ia: Any, b: Any, ib: Any) -> Any:
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
    return _product(True)(_context, out, io, factor, a, ia, b, ib)


@intrinsic
def block_product(
    _context: Any, out: Any, io: Any, so: Any, f: Any, jf: Any, sf: Any, g: Any, ig: Any, sg: Any, rows: Any
) -> Any:
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

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, factors, block = (_Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 3, 6))
        kept = [block.load(builder.mul(args[8], _constant(q))) for q in range(LANES)]

        def row(r: Any, _: Any) -> list[Any]:
            place = builder.mul(r, args[2])
            start = builder.mul(r, args[5])
            sums = [target.load(place), target.zero()]
            for q in range(LANES):  # two chains of sums: half the latency
                factor = factors.splat(builder.add(start, _constant(q)))
                sums[q % 2] = _multiply_add(builder, factor, kept[q], sums[q % 2])
            target.store(builder.fadd(*sums, flags=_FAST), place)
            return []

        _loop(builder, args[9], [], row)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def gram(_context: Any, out: Any, f: Any, jf: Any, sf: Any, g: Any, ig: Any, sg: Any, count: Any) -> Any:
    """``out[8·r:8·r+8] = Σ_{q<count} f[jf + q·sf + r] · g[ig + q·sg : +8]`` for r < 8.

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
    number = types.intp
    signature = types.void(out, f, number, number, g, number, number, number)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _Memory(context, builder, signature.args[0], args[0], _constant(0))
        factors, block = (_Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (1, 4))

        def term(q: Any, sums: list[Any]) -> list[Any]:
            start = builder.mul(q, args[3])
            row = block.load(builder.mul(q, args[6]))
            return [
                _multiply_add(builder, factors.splat(builder.add(start, _constant(r))), row, sums[r])
                for r in range(LANES)
            ]

        for r, value in enumerate(_loop(builder, args[7], [target.zero()] * LANES, term)):
            target.store(value, _constant(LANES * r))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def transpose(_context: Any, out: Any, io: Any, a: Any, ia: Any, sa: Any) -> Any:
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

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _Memory(context, builder, signature.args[0], args[0], args[1])
        source = _Memory(context, builder, signature.args[2], args[2], args[3])
        rows = [source.load(builder.mul(args[4], _constant(r))) for r in range(LANES)]
        for half in (4, 2, 1):  # swap off-diagonal blocks of this size
            low = [c if not c & half else c - half + LANES for c in range(LANES)]
            high = [c + half if not c & half else c + LANES for c in range(LANES)]
            mask = ir.VectorType(ir.IntType(32), LANES)
            for r in range(LANES):
                if not r & half:
                    a, b = rows[r], rows[r + half]
                    rows[r] = builder.shuffle_vector(a, b, ir.Constant(mask, low))
                    rows[r + half] = builder.shuffle_vector(a, b, ir.Constant(mask, high))
        for c, row in enumerate(rows):
            target.store(row, _constant(LANES * c))
        return context.get_dummy_value()

    return signature, generate


def _spline(with_slopes: bool) -> Any:
    def typed(_context: Any, out: Any, io: Any, slopes: Any, js: Any, table: Any, it: Any, width: Any, t: Any) -> Any:
        signature = types.void(out, types.intp, slopes, types.intp, table, types.intp, types.intp, table.dtype)
        degree = SPLINE_DEGREE[table.dtype.name]

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            target, slope_target, row = (
                _Memory(context, builder, signature.args[n], args[n], args[n + 1]) for n in (0, 2, 4)
            )
            x = _splat(builder, args[7])

            def eight(k: Any, _: Any) -> list[Any]:
                place = builder.mul(k, _constant(LANES))

                def coefficient(order: int) -> Any:
                    return row.load(builder.add(builder.mul(args[6], _constant(order)), place))

                value = coefficient(degree)
                slope = value
                for order in range(degree - 1, -1, -1):
                    if with_slopes and order < degree - 1:
                        slope = _multiply_add(builder, slope, x, value)
                    value = _multiply_add(builder, value, x, coefficient(order))
                target.store(value, place)
                if with_slopes:
                    slope_target.store(slope, place)
                return []

            _loop(builder, builder.sdiv(args[6], _constant(LANES)), [], eight)
            return context.get_dummy_value()

        return signature, generate

    return typed


@intrinsic
def spline(_context: Any, out: Any, io: Any, table: Any, it: Any, width: Any, t: Any) -> Any:
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
    signature, generate = _spline(False)(_context, out, io, out, io, table, it, width, t)
    short = signature.return_type(out, types.intp, table, types.intp, types.intp, table.dtype)

    def call(context: Any, builder: Any, _: Any, args: Any) -> Any:
        return generate(context, builder, signature, (args[0], args[1], args[0], args[1], *args[2:]))

    return short, call


@intrinsic
def spline_and_slope(
    _context: Any, out: Any, io: Any, slopes: Any, js: Any, table: Any, it: Any, width: Any, t: Any
) -> Any:
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
    return _spline(True)(_context, out, io, slopes, js, table, it, width, t)
