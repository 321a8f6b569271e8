"""Vectors of the processor inside compiled kernels, for loops that LLVM would not lay out well by itself.

LLVM holds its own vectors to half the width of AVX-512, divides where an estimate and a step of Newton's are three times as
fast, and keeps sums in memory where it can not rule out that arrays overlap. A value of ``lanes`` stays in a register.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, overload, register_jitable, register_model


def _can_estimate() -> bool:
    """Whether Numba compiles for a processor with AVX-512: this one's features, unless the user asked for others."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES.split(",")
    own = config.CPU_NAME is None and config.ENABLE_AVX
    return bool(own and binding.get_host_cpu_features().get("avx512f"))


_ESTIMATES = _can_estimate()
WIDTH = 16 if _ESTIMATES else 8  # numbers a vector holds; processors with shorter registers take two or more for one

_NUMBER, _PLACE = ir.FloatType(), ir.IntType(32)
_VECTOR = ir.VectorType(_NUMBER, WIDTH)


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [float(np.float32(value))] * WIDTH)


class Lanes(types.Type):
    """WIDTH float32 numbers."""

    def __init__(self) -> None:
        super().__init__("Lanes")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _check(array: Any) -> None:
    """Lanes are read and written as they lie: of anything but a contiguous float32 vector they would be other numbers."""
    if not (
        isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and array.dtype == types.float32
    ):
        raise TypingError(f"lanes need a contiguous vector of float32, not {array}")


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer())


@intrinsic
def load(_context: Any, array: Any, place: Any) -> Any:
    """``array[place : place + WIDTH]`` of a contiguous vector; whether it is as long is not checked."""
    _check(array)

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *given), align=4)

    return lanes(array, types.intp), codegen


@intrinsic
def fetch(_context: Any, array: Any, place: Any) -> Any:
    """Brings the memory at ``array[place]`` near before it is read; ``place`` may lie behind the end of the array."""
    _check(array)

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        pointer = builder.bitcast(builder.gep(data, [given[1]]), ir.IntType(8).as_pointer())
        read, near, of_data = (ir.Constant(_PLACE, number) for number in (0, 3, 1))
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, read, near, of_data)
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def store(_context: Any, value: Any, array: Any, place: Any) -> Any:
    """``array[place : place + WIDTH] = value``."""
    _check(array)

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(given[0], _pointer(context, builder, signature.args[1], *given[1:]), align=4)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), codegen


def _inside(builder: Any, count: Any) -> Any:
    """Which lanes are among the first ``count``."""
    places = ir.VectorType(_PLACE, WIDTH)
    lane = ir.Constant(places, list(range(WIDTH)))
    most = ir.Constant(count.type, WIDTH)
    number = builder.trunc(builder.select(builder.icmp_signed("<", count, most), count, most), _PLACE)
    one = builder.insert_element(ir.Constant(places, ir.Undefined), number, ir.Constant(_PLACE, 0))
    every = builder.shuffle_vector(one, ir.Constant(places, ir.Undefined), ir.Constant(places, [0] * WIDTH))
    return builder.icmp_signed("<", lane, every)


@intrinsic
def load_some(_context: Any, array: Any, place: Any, count: Any) -> Any:
    """The first ``count`` numbers from ``place`` on, WIDTH at most; zeros behind them, which are not read."""
    _check(array)

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *given[:2])
        name = f"llvm.masked.load.v{WIDTH}f32.p0"
        return _call(builder, name, _VECTOR, pointer, ir.Constant(_PLACE, 4), _inside(builder, given[2]), _constant(0))

    return lanes(array, types.intp, types.intp), codegen


@intrinsic
def store_some(_context: Any, value: Any, array: Any, place: Any, count: Any) -> Any:
    """The first ``count`` numbers of ``value``, WIDTH at most, to ``array`` from ``place`` on; nothing behind them changes."""
    _check(array)

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[1], *given[1:3])
        name = f"llvm.masked.store.v{WIDTH}f32.p0"
        inside = _inside(builder, given[3])
        _call(builder, name, ir.VoidType(), given[0], pointer, ir.Constant(_PLACE, 4), inside)
        return context.get_dummy_value()

    return types.void(value, array, types.intp, types.intp), codegen


@intrinsic
def put(_context: Any, value: Any, out: Any) -> Any:
    """out = value, vectors, as far as both go: one call where a loop would be laid out anew at every place."""
    _check(value)
    _check(out)

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        here, there = (
            context.make_array(kind)(context, builder, one) for kind, one in zip(signature.args, given, strict=True)
        )
        (left,), (right,) = (cgutils.unpack_tuple(builder, one.shape) for one in (here, there))
        count = builder.select(builder.icmp_signed("<", left, right), left, right)
        cgutils.raw_memmove(builder, there.data, here.data, count, 4)
        return context.get_dummy_value()

    return types.void(value, out), codegen


@intrinsic
def clear(_context: Any, out: Any) -> Any:
    """A vector of zeros."""
    _check(out)

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        (count,) = cgutils.unpack_tuple(builder, array.shape)
        cgutils.memset(builder, array.data, builder.mul(count, ir.Constant(count.type, 4)), 0)
        return context.get_dummy_value()

    return types.void(out), codegen


def _spread(builder: Any, number: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(_PLACE, 0))
    zeros = ir.Constant(ir.VectorType(_PLACE, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)


@intrinsic
def spread(_context: Any, number: Any) -> Any:
    """One number in every lane."""

    def codegen(_ctx: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return _spread(builder, given[0])

    return lanes(types.float32), codegen


def _call(builder: Any, name: str, result: Any, *given: Any) -> Any:
    kind = ir.FunctionType(result, [one.type for one in given])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, given)


def _fma(builder: Any, left: Any, right: Any, more: Any) -> Any:
    return _call(builder, f"llvm.fmuladd.v{WIDTH}f32", _VECTOR, left, right, more)


@intrinsic
def fma(_context: Any, left: Any, right: Any, more: Any) -> Any:
    """left × right + more, rounded once where the processor can."""

    def codegen(_ctx: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return _fma(builder, *given)

    return lanes(lanes, lanes, lanes), codegen


@intrinsic
def reciprocal(_context: Any, value: Any) -> Any:
    """1 / value to one unit in the last place, for values within float32's normal range whose reciprocals are too.

    An estimate of 14 bits and one step of Newton's, where the processor has it.
    """

    def codegen(_ctx: Any, builder: Any, _signature: Any, given: Any) -> Any:
        one = _constant(1)
        if not _ESTIMATES:
            return builder.fdiv(one, given[0])
        every, mask = ir.Constant(ir.IntType(WIDTH), -1), _constant(0)
        guess = _call(builder, "llvm.x86.avx512.rcp14.ps.512", _VECTOR, given[0], mask, every)
        missing = _fma(builder, builder.fneg(given[0]), guess, one)
        return _fma(builder, guess, missing, guess)

    return lanes(lanes), codegen


@intrinsic
def exponential(_context: Any, value: Any) -> Any:
    """e^x to one unit in the last place; x is held within ±87, where float32 is still normal. As ``numba_math.exp32``."""

    def codegen(_ctx: Any, builder: Any, _signature: Any, given: Any) -> Any:
        x = given[0]
        for sign, limit in ((">", _constant(87)), ("<", _constant(-87))):
            x = builder.select(builder.fcmp_ordered(sign, x, limit), limit, x)
        whole = _fma(builder, x, _constant(1.44269504088896341), _constant(0.5))
        whole = _call(builder, f"llvm.floor.v{WIDTH}f32", _VECTOR, whole)
        rest = _fma(builder, whole, _constant(-0.693359375), x)
        rest = _fma(builder, whole, _constant(2.12194440e-4), rest)
        poly = _constant(1.9875691500e-4)
        for term in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
            poly = _fma(builder, poly, rest, _constant(term))
        poly = builder.fadd(_fma(builder, poly, builder.fmul(rest, rest), rest), _constant(1))
        places = ir.VectorType(_PLACE, WIDTH)
        power = builder.add(builder.fptosi(whole, places), ir.Constant(places, [127] * WIDTH))
        power = builder.shl(power, ir.Constant(places, [23] * WIDTH))
        return builder.fmul(poly, builder.bitcast(power, _VECTOR))

    return lanes(lanes), codegen


@intrinsic
def where_less(_context: Any, value: Any, limit: Any, yes: Any, no: Any) -> Any:
    """Lane by lane: ``yes`` where value < limit, else ``no``."""

    def codegen(_ctx: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", given[0], given[1]), given[2], given[3])

    return lanes(lanes, lanes, lanes, lanes), codegen


@intrinsic
def total(_context: Any, value: Any) -> Any:
    """The sum of all lanes."""

    def codegen(_ctx: Any, builder: Any, _signature: Any, given: Any) -> Any:
        name = f"llvm.vector.reduce.fadd.v{WIDTH}f32"
        kind = ir.FunctionType(_NUMBER, [_NUMBER, _VECTOR])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, [ir.Constant(_NUMBER, 0.0), given[0]], fastmath=("reassoc",))

    return types.float32(lanes), codegen


def _operation(name: str) -> Any:
    @intrinsic
    def apply(_context: Any, left: Any, right: Any) -> Any:
        def codegen(_ctx: Any, builder: Any, _signature: Any, given: Any) -> Any:
            return getattr(builder, name)(*given)

        return lanes(lanes, lanes), codegen

    return apply


_add, _subtract, _multiply = _operation("fadd"), _operation("fsub"), _operation("fmul")


@overload(operator.add, strict=False)
def _plus(left: Any, right: Any) -> Any:
    if isinstance(left, Lanes) and isinstance(right, Lanes):
        return lambda left, right: _add(left, right)
    return None


@overload(operator.sub, strict=False)
def _minus(left: Any, right: Any) -> Any:
    if isinstance(left, Lanes) and isinstance(right, Lanes):
        return lambda left, right: _subtract(left, right)
    return None


@overload(operator.mul, strict=False)
def _times(left: Any, right: Any) -> Any:
    if isinstance(left, Lanes) and isinstance(right, Lanes):
        return lambda left, right: _multiply(left, right)
    return None


@register_jitable
def padded(count: int) -> int:
    """``count`` rounded up to whole vectors."""
    return (count + WIDTH - 1) // WIDTH * WIDTH


@register_jitable
def across(count: int) -> int:
    """The length of a row that products are added to: ``count`` rounded up to pairs of vectors."""
    return (count + 2 * WIDTH - 1) // (2 * WIDTH) * 2 * WIDTH


def panels(right: np.ndarray) -> np.ndarray:
    """A right-hand factor [K, J] as products read it, two vectors wide: [J / (2 WIDTH), K, 2 WIDTH], filled up with zeros."""
    K, J = right.shape
    wide = np.zeros((K, across(J)), np.float32)
    wide[:, :J] = right
    return np.ascontiguousarray(wide.reshape(K, -1, 2 * WIDTH).transpose(1, 0, 2))
