"""Vectors of eight, constants and loops in LLVM's code: what :mod:`~idealflow.core.descriptors.simd` is written with."""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.base import BaseContext
from numba.np.arrayobj import make_array

from idealflow.core.descriptors.loops import LANES

__all__ = ["FAST", "IN_TURN", "Eight", "Memory", "Values", "constant", "loop", "multiply_add", "splat", "transposed"]

#: how the compiler may reorder sums and products
FAST = ("contract", "reassoc", "nsz", "arcp")
#: sums and products stay in the order in which they are written, but a product and a sum may become one instruction
IN_TURN = ("contract",)
_INT = ir.IntType(64)

#: e^x = 2^k e^r with k = x / ln 2, rounded, so that r is less than half of ln 2 (given in two parts); terms of the series of e^r
_LARGEST, _LN2_HIGH, _LN2_LOW, _TERMS = 708.0, 6.93147180369123816490e-01, 1.90821492927058770002e-10, 13

Values = list[ir.Value]


class Memory:
    """Data of one array argument, read and written eight numbers at a time; offsets count numbers from a first one.

    Parameters
    ----------
    context, builder
        Those of the function that is written.
    array_type, array
        The argument.
    offset
        The number where it begins.

    Examples
    --------
    The operations of :mod:`~idealflow.core.descriptors.simd` use it; numba gives what it takes:

    >>> import numba, numpy as np
    >>> from numba.extending import intrinsic
    >>> @intrinsic
    ... def double(_context, array):
    ...     def generate(context, builder, signature, args):
    ...         memory = Memory(context, builder, signature.args[0], args[0], constant(0))
    ...         eight = memory.load(constant(0))
    ...         memory.store(builder.fadd(eight, eight), constant(0))
    ...         return context.get_dummy_value()
    ...     return types.void(array), generate
    >>> @numba.njit
    ... def call(array):
    ...     double(array)
    >>> array = np.arange(8.0)
    >>> call(array)
    >>> array
    array([ 0.,  2.,  4.,  6.,  8., 10., 12., 14.])
    """

    def __init__(
        self, context: BaseContext, builder: ir.IRBuilder, array_type: types.Array, array: ir.Value, offset: ir.Value
    ) -> None:
        self._builder = builder
        self._element = context.get_data_type(array_type.dtype)
        self._vector = ir.VectorType(self._element, LANES)
        self._align = array_type.dtype.bitwidth // 8
        self._start = builder.gep(make_array(array_type)(context, builder, array).data, [offset])

    def _at(self, offset: ir.Value) -> ir.Value:
        return self._builder.gep(self._start, [offset])

    def load(self, offset: ir.Value) -> ir.Value:
        """Read eight numbers."""
        pointer = self._builder.bitcast(self._at(offset), self._vector.as_pointer())
        return self._builder.load(pointer, align=self._align)

    def store(self, value: ir.Value, offset: ir.Value) -> None:
        """Write eight numbers."""
        pointer = self._builder.bitcast(self._at(offset), self._vector.as_pointer())
        self._builder.store(value, pointer, align=self._align)

    def splat(self, offset: ir.Value) -> ir.Value:
        """Read one number, eight times."""
        return splat(self._builder, self._builder.load(self._at(offset)))

    def zero(self) -> ir.Value:
        """Eight zeros."""
        return ir.Constant(self._vector, [0.0] * LANES)


class Eight:
    """Eight numbers in double precision that formulas in Python can be written with: each operation writes its instruction.

    Operations keep their order, or code that is optimised twice, as numba's parallel kernels are, would have other last bits.

    Parameters
    ----------
    builder
        That of the function that is written.
    value
        A vector of eight.

    Examples
    --------
    >>> vector = ir.VectorType(ir.DoubleType(), LANES)
    >>> function = ir.Function(ir.Module(), ir.FunctionType(vector, [vector]), "f")
    >>> x = Eight(ir.IRBuilder(function.append_basic_block()), function.args[0])
    >>> (2.0 * x + x / 3.0).value.opname, x.exp().value.opname
    ('fadd', 'fmul')
    """

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self._builder = builder
        self.value = value

    @classmethod
    def splat(cls, builder: ir.IRBuilder, scalar: ir.Value) -> Eight:
        """A number, eight times."""
        return cls(builder, splat(builder, scalar))

    def same(self, value: Eight | float) -> Eight:
        """A number that is known when the code is written, eight times; vectors stay what they are."""
        if isinstance(value, Eight):
            return value
        return Eight(self._builder, ir.Constant(self.value.type, [float(value)] * LANES))

    def _by(self, operation: str, left: Eight | float, right: Eight | float) -> Eight:
        write = getattr(self._builder, operation)
        return Eight(self._builder, write(self.same(left).value, self.same(right).value, flags=IN_TURN))

    def __add__(self, other: Eight | float) -> Eight:
        return self._by("fadd", self, other)

    def __radd__(self, other: float) -> Eight:
        return self._by("fadd", other, self)

    def __sub__(self, other: Eight | float) -> Eight:
        return self._by("fsub", self, other)

    def __rsub__(self, other: float) -> Eight:
        return self._by("fsub", other, self)

    def __mul__(self, other: Eight | float) -> Eight:
        return self._by("fmul", self, other)

    def __rmul__(self, other: float) -> Eight:
        return self._by("fmul", other, self)

    def __truediv__(self, other: Eight | float) -> Eight:
        return self._by("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Eight:
        return self._by("fdiv", other, self)

    def sqrt(self) -> Eight:
        """Square roots, correctly rounded."""
        vector = self.value.type
        function = self._builder.module.declare_intrinsic("llvm.sqrt.v8f64", (), ir.FunctionType(vector, [vector]))
        return Eight(self._builder, self._builder.call(function, [self.value]))

    def exp(self) -> Eight:
        """E to these powers, to the last bit or two; powers beyond ±708 count as that."""
        builder, x = self._builder, self
        for comparison, bound in (("<", _LARGEST), (">", -_LARGEST)):
            within = builder.fcmp_ordered(comparison, x.value, self.same(bound).value)
            x = Eight(builder, builder.select(within, x.value, self.same(bound).value))
        half = builder.select(
            builder.fcmp_ordered("<", x.value, self.same(0.0).value), self.same(-0.5).value, self.same(0.5).value
        )
        scaled = x._by("fadd", x._by("fmul", x, 1.0 / math.log(2.0)), Eight(builder, half))
        power = builder.fptosi(scaled.value, ir.VectorType(ir.IntType(32), LANES))
        k = Eight(builder, builder.sitofp(power, self.value.type))
        rest = x._by("fsub", x, k._by("fmul", k, _LN2_HIGH))
        rest = x._by("fsub", rest, k._by("fmul", k, _LN2_LOW))
        series = rest.same(1.0 / math.factorial(_TERMS))
        for n in range(_TERMS - 1, -1, -1):
            series = series._by("fadd", series._by("fmul", series, rest), 1.0 / math.factorial(n))
        wide = ir.VectorType(_INT, LANES)
        exponent = builder.add(builder.sext(power, wide), ir.Constant(wide, [1023] * LANES))
        two_to_k = builder.bitcast(builder.shl(exponent, ir.Constant(wide, [52] * LANES)), self.value.type)
        return series._by("fmul", series, Eight(builder, two_to_k))


def splat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """A number, eight times.

    Examples
    --------
    >>> void, number = ir.VoidType(), ir.DoubleType()
    >>> function = ir.Function(ir.Module(), ir.FunctionType(void, [number]), "f")
    >>> builder = ir.IRBuilder(function.append_basic_block())
    >>> print(splat(builder, function.args[0]).type)
    <8 x double>
    """
    vector = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), first)


def constant(value: int) -> ir.Value:
    """A whole number that is known when the code is written.

    Examples
    --------
    >>> print(constant(8))
    i64 8
    """
    return ir.Constant(_INT, value)


def multiply_add(
    builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value, flags: tuple[str, ...] = FAST
) -> ir.Value:
    """``a b + c``, which the compiler may make one instruction; with ``("contract",)`` it keeps the order of sums.

    Examples
    --------
    >>> void, number = ir.VoidType(), ir.DoubleType()
    >>> function = ir.Function(ir.Module(), ir.FunctionType(void, [number]), "f")
    >>> builder = ir.IRBuilder(function.append_basic_block())
    >>> x = function.args[0]
    >>> print(multiply_add(builder, x, x, x).opname)
    fadd
    """
    return builder.fadd(builder.fmul(a, b, flags=flags), c, flags=flags)


def loop(builder: ir.IRBuilder, count: ir.Value, initial: Values, body: Callable[[ir.Value, Values], Values]) -> Values:
    """``for k in range(count)``, values carried from turn to turn in registers; returns what the last turn gave.

    Examples
    --------
    >>> void, number = ir.VoidType(), ir.DoubleType()
    >>> function = ir.Function(ir.Module(), ir.FunctionType(void, [number]), "f")
    >>> builder = ir.IRBuilder(function.append_basic_block())
    >>> x = function.args[0]
    >>> sums = loop(builder, constant(3), [x], lambda k, sums: [builder.fadd(sums[0], x)])
    >>> len(sums), builder.block.name
    (1, 'after')
    """
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(_INT)
    carried = [builder.phi(value.type) for value in initial]
    builder.cbranch(builder.icmp_signed("<", k, count), inside, after)
    builder.position_at_end(inside)
    results = body(k, carried)
    k.add_incoming(constant(0), before)
    k.add_incoming(builder.add(k, constant(1)), builder.block)
    for phi, first, later in zip(carried, initial, results, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return carried


def transposed(builder: ir.IRBuilder, rows: Values) -> Values:
    """Eight vectors of eight, rows and columns exchanged, in registers.

    Examples
    --------
    >>> vector = ir.VectorType(ir.DoubleType(), LANES)
    >>> function = ir.Function(ir.Module(), ir.FunctionType(vector, [vector] * LANES), "f")
    >>> builder = ir.IRBuilder(function.append_basic_block())
    >>> len(transposed(builder, list(function.args)))
    8
    """
    rows, mask = list(rows), ir.VectorType(ir.IntType(32), LANES)
    for half in (4, 2, 1):  # swap off-diagonal blocks of this size
        low = [c if not c & half else c - half + LANES for c in range(LANES)]
        high = [c + half if not c & half else c + LANES for c in range(LANES)]
        for r in range(LANES):
            if not r & half:
                a, b = rows[r], rows[r + half]
                rows[r] = builder.shuffle_vector(a, b, ir.Constant(mask, low))
                rows[r + half] = builder.shuffle_vector(a, b, ir.Constant(mask, high))
    return rows
