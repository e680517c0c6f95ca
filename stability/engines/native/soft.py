"""Sums and products in integers, rounded once to any format in any mode; compiled.

The rule of rounding is that of :mod:`stability.rounding`.  A magnitude is (high·2^64 + low)
·2^exponent with the first bit of ``high`` set, in two 64-bit words.  A product of two
float64 fits; of a sum, what lies below 128 bits is kept as a set last bit, which rounds as
the exact rest would: a float64 has 53 bits, so no mode looks that far.
"""
# numba's intrinsics are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg,var-annotated"
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from stability.engines.native.locking import kept
from stability.formats import Format
from stability.rounding import MODES, Mode

compiled: Callable[..., Any] = kept(error_model="numpy")

PRECISION, LOWEST, LARGEST, OVERFLOW = range(4)  # columns of a format's row
NEAREST, ZERO, UP, DOWN, STOCHASTIC = (np.int64(n) for n in range(5))
assert MODES == ("nearest", "zero", "up", "down", "stochastic")

SMALLEST, HIGHEST = np.int64(-1074), np.int64(1023)
POWERS = np.array([2.0**n for n in range(-1074, 1024)])
FIRST, FIELD, FRACTION = np.uint64(1 << 63), np.uint64(0x7FF), np.uint64((1 << 52) - 1)
HIDDEN, NONE, BIT = np.uint64(1 << 52), np.uint64(0), np.uint64(1)
WORD, HALF = np.int64(64), np.uint64(32)
GOLDEN, MIX, MIXER = (
    np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def format_row(fmt: Format) -> npt.NDArray[np.float64]:
    """What compiled code needs to know of a format."""
    return np.array([fmt.precision, fmt.min_exponent, float(fmt.largest), fmt.overflow], dtype=np.float64)


def mode_number(mode: Mode) -> np.int64:
    """A mode in compiled code."""
    return np.int64(MODES.index(mode))


@intrinsic
def _bits(typingctx, value):
    """The bits of a float64."""

    def build(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.uint64(types.float64), build


@intrinsic
def _zeros(typingctx, word):
    """How many zeros begin a word other than 0."""

    def build(context, builder, signature, args):
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), build


@intrinsic
def _upper(typingctx, left, right):
    """The upper word of a product of two words."""

    def build(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), build


@compiled
def mix(word):
    """See :func:`stability.random_bits.mix`."""
    word = word + GOLDEN
    word = (word ^ (word >> np.uint64(30))) * MIX
    word = (word ^ (word >> np.uint64(27))) * MIXER
    return word ^ (word >> np.uint64(31))


@compiled
def draw(place, moment):
    """See :func:`stability.random_bits.random_bits`."""
    return mix(place ^ moment) >> HALF


@compiled
def _magnitude(value):
    """A finite float64 other than 0: its significand from the first bit of a word on, and its exponent."""
    bits = _bits(value)
    field, fraction = (bits >> np.uint64(52)) & FIELD, bits & FRACTION
    exponent = np.int64(field) + SMALLEST - 1
    if field == NONE:
        exponent += 1
    else:
        fraction |= HIDDEN
    shift = _zeros(fraction)
    return fraction << np.uint64(shift), exponent - shift


@compiled
def _special(value, row):
    """A zero, an infinity or nan in a format."""
    return np.copysign(row[OVERFLOW], value) if abs(value) == np.inf else value


@compiled
def _outside(negative, row, mode):
    """What lies beyond the range."""
    inwards = mode == ZERO or (mode == UP and negative) or (mode == DOWN and not negative)
    size = row[LARGEST] if inwards else row[OVERFLOW]
    return -size if negative else size


@compiled
def _goes_up(whole, rest, more, negative, mode, place, moment):
    """Whether one unit is added: the remainder is rest·2^-64, and a little ``more``."""
    if mode == NEAREST:
        return rest > FIRST or (rest == FIRST and (more or (whole & BIT) == BIT))
    if mode == ZERO:
        return False
    if mode == STOCHASTIC:
        threshold = draw(place, moment) << HALF
        return rest > threshold or (rest == threshold and more)
    return (rest != NONE or more) and negative == (mode == DOWN)


@compiled
def _finished(negative, high, low, exponent, row, mode, place, moment):
    """(high·2^64 + low)·2^exponent in a format, held in float64; the first bit of ``high`` is set."""
    top = exponent + np.int64(127)
    unit = max(top, np.int64(row[LOWEST])) - np.int64(row[PRECISION]) + 1
    if top > HIGHEST:
        return _outside(negative, row, mode)
    drop = unit - exponent - WORD  # at least 11
    if drop < WORD:
        down, back = np.uint64(drop), np.uint64(WORD - drop)
        whole, rest = high >> down, (high << back) | (low >> down)
        more = low << back != NONE
    elif drop == WORD:
        whole, rest, more = NONE, high, low != NONE
    elif drop < 2 * WORD:
        whole, rest = NONE, high >> np.uint64(drop - WORD)
        more = low != NONE or high << np.uint64(2 * WORD - drop) != NONE
    else:
        whole, rest, more = NONE, NONE, True
    if _goes_up(whole, rest, more, negative, mode, place, moment):
        whole += BIT
    if whole == NONE:
        return -0.0 if negative else 0.0
    size = np.float64(whole) * POWERS[unit - SMALLEST]
    if size > row[LARGEST]:
        return _outside(negative, row, mode)
    return -size if negative else size


@compiled
def convert(value, row, mode, place, moment):
    """A number in a format.

    Args:
        value: float64.
        row: of :func:`format_row`.
        mode: of :func:`mode_number`.
        place: for stochastic rounding, the key of where it is rounded,
        moment: and of when.
    """
    if value - value != 0 or value == 0:
        return _special(value, row)
    high, exponent = _magnitude(value)
    return _finished(value < 0, high, NONE, exponent - WORD, row, mode, place, moment)


@compiled
def multiply(left, right, row, mode, place, moment):
    """A product in a format; see :func:`convert`."""
    if left == 0 or right == 0 or left - left != 0 or right - right != 0:
        return _special(left * right, row)
    first, exponent = _magnitude(left)
    second, other_exponent = _magnitude(right)
    high, low = _upper(first, second), first * second
    exponent += other_exponent
    if high < FIRST:
        high, low = (high << BIT) | (low >> np.uint64(63)), low << BIT
        exponent -= 1
    return _finished((left < 0) != (right < 0), high, low, exponent, row, mode, place, moment)


@compiled
def add(left, right, row, mode, place, moment):
    """A sum in a format; see :func:`convert`.  A sum that is zero is +0, but −0 for two of them."""
    plain = left + right
    if left - left != 0 or right - right != 0:
        return _special(plain, row)
    other = plain - left
    if (left - (plain - other)) + (right - other) == 0:  # the usual case: float64 holds the sum (Knuth)
        return convert(plain, row, mode, place, moment)
    return add_scaled(left, right, np.int64(0), row, mode, place, moment)


@compiled
def add_scaled(left, right, scale, row, mode, place, moment):
    """(left + right)·2^scale in a format, for finite numbers other than 0."""
    if abs(left) < abs(right):
        left, right = right, left
    high, exponent = _magnitude(left)
    other, smaller = _magnitude(right)
    high, other = high >> BIT, other >> BIT  # the eleven last bits are zeros
    gap = exponent - smaller
    exponent += scale + 1 - WORD
    end = NONE
    if gap >= 2 * WORD:
        other, end = NONE, BIT
    elif gap > WORD:
        lost = other << np.uint64(2 * WORD - gap)
        other, end = NONE, (other >> np.uint64(gap - WORD)) | (BIT if lost != NONE else NONE)
    elif gap == WORD:
        other, end = NONE, other
    elif gap > 0:
        other, end = other >> np.uint64(gap), other << np.uint64(WORD - gap)
    if (left < 0) == (right < 0):
        high, low = high + other, end
    else:
        high, low = high - other - (BIT if end != NONE else NONE), NONE - end
    if high == NONE:
        if low == NONE:
            return 0.0
        high, low = low, NONE
        exponent -= WORD
    shift = _zeros(high)
    if shift > 0:
        high, low = (high << np.uint64(shift)) | (low >> np.uint64(WORD - shift)), low << np.uint64(shift)
    return _finished(left < 0, high, low, exponent - shift, row, mode, place, moment)


@compiled
def operate(operation, left, right, row, mode, places, moment, out):
    """An operation on arrays: 0 a sum, 1 a product, 2 a conversion of ``left``."""
    for n in range(len(out)):
        if operation == 0:
            out[n] = add(left[n], right[n], row, mode, places[n], moment)
        elif operation == 1:
            out[n] = multiply(left[n], right[n], row, mode, places[n], moment)
        else:
            out[n] = convert(left[n], row, mode, places[n], moment)
