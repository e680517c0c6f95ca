"""Sigmoid and tanh in compiled code: the bits of :mod:`stability.activations`, fast.

A value is found in up to three steps, and each but the last says when it is not sure: the
quick and the careful one of :mod:`.series`, and the definition itself, called from compiled
code; one argument in 2^40 gets there.  A step is sure of its result if subtracting and adding
a bound of its error round to the same number (Ziv's test), so the result is that of one
rounding: to the carrier of the registers, and on to the format that the kernels' ``mark``
names, which then must have at most 22 bits.
"""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated"
# ruff: noqa: ARG001, ARG005

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import objmode, types
from numba.extending import intrinsic, overload

from stability.activations import Function, activated
from stability.engines.native.arithmetic import is_words, rounded
from stability.engines.native.pairs import compiled, odd, power
from stability.engines.native.series import NOTHING, TO_INTEGER, careful_sigmoid, careful_tanh, quick
from stability.formats import FLOAT64

ONE, CHUNK = np.uint64(1), np.uint64(64)


@intrinsic
def _neighbour(typingctx, value, up):
    """A float32 with its last bit set, after a step of one unit towards zero if ``up``."""

    def build(context, builder, signature, args):
        word = ir.IntType(32)
        bits = builder.bitcast(args[0], word)
        bits = builder.sub(bits, builder.zext(args[1], word))
        return builder.bitcast(builder.or_(bits, ir.Constant(word, 1)), ir.FloatType())

    return types.float32(types.float32, types.boolean), build


def _held(like, value):
    """A float64 in the type of the registers; compiled code only."""
    raise NotImplementedError


@overload(_held, inline="always")
def _typed_held(like, value):
    if like == types.float64:
        return lambda like, value: value
    return lambda like, value: np.float32(value)


def _ends(like, value, low, margin, mark):
    """The least and the largest rounding that a value's error allows; compiled code only."""
    raise NotImplementedError


@overload(_ends, inline="always")
def _rounded_ends(like, value, low, margin, mark):
    if like == types.float64:
        return lambda like, value, low, margin, mark: (value + (low - margin), value + (low + margin))
    if mark == types.int8:
        return lambda like, value, low, margin, mark: (
            np.float32(value - abs(value) * 2.0**-48), np.float32(value + abs(value) * 2.0**-48),
        )  # fmt: skip

    def through_float32(like, value, low, margin, mark):
        slack = abs(value) * 2.0**-22 + 2.0**-148
        least, most = np.float32(value - slack), np.float32(value + slack)
        return rounded(least, mark) + np.float32(0), rounded(most, mark) + np.float32(0)  # never −0

    return through_float32


@compiled
def _quick_columns(regs, source, out, start, stop, tanh, mark):
    """A function over columns, nan where it is not certain; whether it is certain everywhere."""
    doubt = False
    unknown = _held(regs[0], math.nan)
    for c in range(start, stop):
        x = regs[source + c]
        value, low, margin = quick(np.float64(x), tanh)
        least, most = _ends(x, value, low, margin, mark)
        certain = (least == most) & (x == x)  # noqa: PLR0124 -- nan
        doubt |= not certain
        regs[out + c] = most if certain else unknown
    return not doubt


def _narrowed(value, mark):
    """A float64 ≥ 0 from :func:`_odd`, rounded to float32 and on by ``mark``; compiled code only."""
    raise NotImplementedError


@overload(_narrowed)
def _rounded_narrowed(value, mark):
    if mark == types.int8:
        return lambda value, mark: np.float32(value)

    def through_float32(value, mark):
        near = np.float32(value)
        odd = near if np.float64(near) == value else _neighbour(near, np.float64(near) > value)
        return rounded(odd, mark)

    return through_float32


@compiled
def _settled_double(high, low, k, margin):
    """(high + low)·2^k > 0 rounded to float64, and whether that is certain."""
    if k > np.int64(-1022):
        least, most = high + (low - margin), high + (low + margin)
        return most * power(k), least == most
    unit = power(np.int64(-1074) - k)  # the smallest subnormal number
    near = (high + unit * TO_INTEGER) - unit * TO_INTEGER
    rest = high - near
    above, below = (rest - 0.5 * unit) + low, (rest + 0.5 * unit) + low
    near += unit if above > 0 else (-unit if below < 0 else 0.0)
    return (near * power(k + np.int64(600))) * 2.0**-600, abs(above) > margin and abs(below) > margin


def _settled(like, high, low, k, margin, mark):
    """(high + low)·2^k > 0 rounded to the registers, and whether that is certain; compiled code only."""
    raise NotImplementedError


@overload(_settled)
def _rounded_settled(like, high, low, k, margin, mark):
    if like == types.float64:
        return lambda like, high, low, k, margin, mark: _settled_double(high, low, k, margin)

    def narrowed(like, high, low, k, margin, mark):
        scale = power(k)
        most = _narrowed(odd(high, low + margin) * scale, mark)
        return most, _narrowed(odd(high, low - margin) * scale, mark) == most

    return narrowed


def _by_definition(x: float, tanh: bool, odd: bool) -> float:
    function: Function = "tanh" if tanh else "sigmoid"
    if not odd:
        return activated(function, x, FLOAT64)
    cut = np.float64(activated(function, x, FLOAT64, "zero"))
    return float((cut.view(np.int64) | 1).view(np.float64))


@compiled
def _defined(x, tanh, odd):
    """The definition; ``odd``: cut to float64, with the last bit set."""
    with objmode(value="float64"):
        value = _by_definition(x, tanh, odd)
    return value  # noqa: RET504 -- the block above must name its result


def _settled_by_definition(like, x, tanh, mark):
    """The definition's value in the registers, for x > 0 if it is that of tanh; compiled code only."""
    raise NotImplementedError


@overload(_settled_by_definition)
def _rounded_by_definition(like, x, tanh, mark):
    if like == types.float64:
        return lambda like, x, tanh, mark: _defined(x, tanh, False)
    return lambda like, x, tanh, mark: _narrowed(_defined(x, tanh, True), mark)


@compiled
def carefully(like, tanh, mark, doubt):
    """One value, without the quick step.

    Args:
        like: the argument, of the type of the registers.
        tanh: or sigmoid.
        mark: which rounding.
        doubt: 1; more widens the bound of the error, so that more is left to the definition.
    """
    x = np.float64(like)
    if x != x:  # noqa: PLR0124 -- nan
        return like
    if tanh:
        if x == 0:
            return _held(like, 0.0)
        size = abs(x)
        if size >= 20.0:
            return _held(like, math.copysign(1.0, x))
        high, low, margin = careful_tanh(size)
        value, certain = _settled(like, high, low, np.int64(0), margin * doubt, mark)
        if not certain:
            value = _settled_by_definition(like, size, tanh, mark)
        return _held(like, 0.0) - value if x < 0 else value  # never −0
    if x == 0 or x >= 40.0 or x < NOTHING:
        return _held(like, 0.5 if x == 0 else (1.0 if x > 0 else 0.0))
    high, low, k, margin = careful_sigmoid(x)
    value, certain = _settled(like, high, low, k, margin * doubt, mark)
    return value if certain else _settled_by_definition(like, x, tanh, mark)


def _flat(like, mark):
    """Up to where tanh(x) rounds to x; compiled code only."""
    raise NotImplementedError


@overload(_flat, inline="always")
def _known_flat(like, mark):
    if like == types.float64:
        return lambda like, mark: 2.0**-27
    if mark == types.int32:
        return lambda like, mark: 2.0**-6
    if is_words(mark):  # x may have more bits than the format
        return lambda like, mark: 0.0
    return lambda like, mark: 2.0**-12


def _reach(like):
    """From where 1 - tanh(x/2) and 1 - sigmoid(x) vanish, and where sigmoid(-x) does; compiled code only."""
    raise NotImplementedError


@overload(_reach, inline="always")
def _known_reach(like):
    if like == types.float64:
        return lambda like: (40.0, -NOTHING)
    return lambda like: (20.0, 105.0)


@compiled
def activated_value(like, tanh, mark):
    """Sigmoid or tanh of one value of the registers, rounded as ``mark`` says."""
    x = np.float64(like)
    steep, gone = _reach(like)
    if tanh:
        if abs(x) <= _flat(like, mark):
            return like + _held(like, 0.0)
        if 2.0 * abs(x) >= steep:
            return _held(like, math.copysign(1.0, x))
    elif x >= steep:
        return _held(like, 1.0)
    elif -x > gone:
        return _held(like, 0.0)
    value, low, margin = quick(x, tanh)
    least, most = _ends(like, value, low, margin, mark)
    if least == most and x == x:  # noqa: PLR0124 -- nan
        return most
    return carefully(like, tanh, mark, 1.0)


@compiled
def _only_two(regs, source, start, stop):
    """Whether there are at most two values in some columns, and where each occurs first."""
    first = regs[source + start]
    other = start
    while other < stop and regs[source + other] == first:
        other += ONE
    if other == stop:
        return True, start
    second = regs[source + other]
    begin = other
    while begin < stop:  # chunk by chunk: most blocks that have more than two values soon show it
        end = min(begin + CHUNK, stop)
        more = False
        for c in range(begin, end):
            more |= (regs[source + c] != first) & (regs[source + c] != second)
        if more:
            return False, other
        begin = end
    return True, other


@compiled
def activate_columns(regs, source, out, start, stop, tanh, mark):
    """Sigmoid or tanh of columns of one register, into another one.

    Saturated gates take one value or two over a whole block: these are computed once.

    Args:
        regs: the registers, flat.
        source: the place of column 0 of the argument; nan stays nan, anything else is finite
            or infinite.
        out: that of the result; not the same register.
        start: the first column.
        stop: the last column + 1.
        tanh: or sigmoid.
        mark: which rounding.
    """
    few, other = _only_two(regs, source, start, stop)
    if few:
        first, second = regs[source + start], regs[source + other]
        one, two = activated_value(first, tanh, mark), activated_value(second, tanh, mark)
        for c in range(start, stop):
            regs[out + c] = one if regs[source + c] == first else two
        return
    if tanh:
        steep = False
        flat = _held(regs[0], _flat(regs[0], mark))
        for c in range(start, stop):
            steep |= not abs(regs[source + c]) <= flat
        if not steep:
            for c in range(start, stop):
                regs[out + c] = regs[source + c] + _held(regs[0], 0.0)
            return
    if not _quick_columns(regs, source, out, start, stop, tanh, mark):
        for c in range(start, stop):
            if regs[out + c] != regs[out + c]:
                regs[out + c] = carefully(regs[source + c], tanh, mark, 1.0)
