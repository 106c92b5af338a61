"""Vectors of eight, constants and loops in LLVM's code: what :mod:`~idealflow.core.descriptors.simd` is written with."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.base import BaseContext
from numba.np.arrayobj import make_array

from idealflow.core.descriptors.loops import LANES

__all__ = ["FAST", "Memory", "Values", "constant", "loop", "multiply_add", "splat"]

#: how the compiler may reorder sums and products
FAST = ("contract", "reassoc", "nsz", "arcp")
_INT = ir.IntType(64)

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
