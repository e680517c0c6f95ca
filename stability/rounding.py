"""Rounding exact numbers to a format, once, in a chosen direction.

The rule is one for all numbers: a magnitude is cut to a multiple of the unit in its last
place (below the smallest normal value, of the smallest subnormal one), and the cut
remainder, a share of that unit, decides by the mode whether one unit is added:

- ``nearest``: above one half; at one half if the cut number is odd;
- ``zero``: never; ``up``, ``down``: where there is a remainder, towards +∞, −∞;
- ``stochastic``: where the remainder times 2^32 exceeds the 32 random bits given, so with
  a probability of the remainder to within 2^-32, and never where there is none.

What then exceeds the largest finite value becomes the format's overflow (inf, nan or the
largest value itself), but in a direction towards zero the largest value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, assert_never

import numpy as np
import numpy.typing as npt
from gmpy2 import f_divmod, mpq, mpz

from stability.formats import Format
from stability.random_bits import BITS

FloatArray = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]
Pairs = tuple[Doubles, Doubles, npt.NDArray[np.int64]]

Mode = Literal["nearest", "zero", "up", "down", "stochastic"]
MODES: tuple[Mode, ...] = ("nearest", "zero", "up", "down", "stochastic")

NO_BITS: Words = np.zeros((), dtype=np.uint64)
FAR = 200
"""Binary places below which a number only counts as not zero."""


def floor_log2(value: mpq) -> int:
    """The e with 2^e ≤ ``value`` < 2^(e+1), for a positive ``value``."""
    numerator, denominator = value.numerator, value.denominator
    exponent = int(numerator.bit_length() - denominator.bit_length())
    scaled_up = (
        numerator >= denominator << exponent if exponent >= 0 else numerator << -exponent >= denominator
    )
    return exponent if scaled_up else exponent - 1


def round_ratio(numerator: mpz, denominator: mpz) -> mpz:
    """The integer nearest to a ratio of non-negative integers, ties to the even one."""
    return _cut(numerator, denominator, "nearest", negative=False, bits=0)


def _cut(numerator: mpz, denominator: mpz, mode: Mode, *, negative: bool, bits: int) -> mpz:
    """A ratio of non-negative integers as an integer, by the rule of the module."""
    whole, rest = f_divmod(numerator, denominator)
    match mode:
        case "nearest":
            double = rest << 1
            up = double > denominator or (double == denominator and whole.is_odd())
        case "zero":
            up = False
        case "up" | "down":
            up = rest != 0 and negative == (mode == "down")
        case "stochastic":
            up = rest << BITS > denominator * bits
        case _:
            assert_never(mode)
    return whole + 1 if up else whole


def beyond(fmt: Format, mode: Mode, *, negative: bool) -> float:
    """What a finite number beyond the range of a format becomes."""
    inwards = mode == "zero" or (mode == "up" and negative) or (mode == "down" and not negative)
    size = float(fmt.largest) if inwards else fmt.overflow
    return -size if negative else size


def round_rational(value: mpq, fmt: Format, mode: Mode = "nearest", bits: int = 0) -> float:
    """One exact number in ``fmt``, held in a Python float (exact up to 53 bits).

    Zeros come out as +0.
    """
    rounded = round_signed(value, fmt, mode, bits)
    return rounded if rounded != 0 else 0.0


def round_signed(value: mpq, fmt: Format, mode: Mode = "nearest", bits: int = 0) -> float:
    """As :func:`round_rational`; a negative number that is cut to zero comes out as −0."""
    if value == 0:
        return 0.0
    negative = value < 0
    magnitude = abs(value)
    unit = max(floor_log2(magnitude), fmt.min_exponent) - fmt.precision + 1
    numerator, denominator = magnitude.numerator, magnitude.denominator
    if unit >= 0:
        denominator <<= unit
    else:
        numerator <<= -unit
    scaled = _cut(numerator, denominator, mode, negative=negative, bits=bits)
    if scaled.bit_length() + unit > fmt.max_exponent and scaled * mpq(2) ** unit > fmt.largest:
        return beyond(fmt, mode, negative=negative)
    rounded = math.ldexp(float(scaled), unit)
    return -rounded if negative else rounded


def overflows(value: mpq, fmt: Format) -> bool:
    """Whether a constant, rounded to nearest, leaves the range of a format."""
    rounded = round_rational(value, fmt)
    return not math.isfinite(rounded) or (fmt.saturating and abs(value) > fmt.largest)


def round_rationals(values: Iterable[mpq], fmt: Format) -> Doubles:
    """Exact numbers in ``fmt``, as float64 values (exact: ``fmt`` has at most 53 bits)."""
    return np.array([round_rational(value, fmt) for value in values], dtype=np.float64)


def round_array(values: npt.NDArray[Any], fmt: Format) -> FloatArray:
    """An array of int64, float64 or exact rationals (objects) in ``fmt``, to nearest.

    Returns:
        The same shape, in ``fmt.storage``; zeros are +0.
    """
    if values.dtype == np.int64 and not fmt.dtype and (np.abs(values.astype(np.float64)) >= 2.0**53).any():
        values = values.astype(object)
    if values.dtype == object:
        flat = round_rationals((mpq(value) for value in values.reshape(-1)), fmt)
        return flat.reshape(values.shape).astype(fmt.storage)
    if fmt.dtype is None:
        return np.asarray(round_floats(values.astype(np.float64), fmt).astype(fmt.storage) + 0)
    if values.dtype == np.int64 and fmt.max_exponent < 53:
        # exact below 2^53, and what lies beyond overflows the format either way
        values = values.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(values.astype(fmt.dtype) + fmt.dtype.type(0), dtype=fmt.dtype)


def round_floats(values: FloatArray, fmt: Format, mode: Mode = "nearest", bits: Words = NO_BITS) -> Doubles:
    """Float32 or float64 values in ``fmt``, held in float64.

    Args:
        values: any shape; inf, nan and −0 included.
        fmt: of at most 53 bits.
        mode: the direction.
        bits: for ``stochastic``, 32 random bits per value.
    """
    wide = np.asarray(values, dtype=np.float64)
    fraction, exponent = np.frexp(wide)
    return round_pairs(wide, (fraction, np.zeros_like(fraction), exponent.astype(np.int64)), fmt, mode, bits)


def round_pairs(
    plain: Doubles,
    exact: tuple[Doubles, Doubles, npt.NDArray[np.int64]],
    fmt: Format,
    mode: Mode,
    bits: Words,
) -> Doubles:
    """Numbers (high + low)·2^exponent in ``fmt``, held in float64.

    The sign of every comparison below is that of the exact one: ``low`` is less than half a
    unit in the last place of ``high``, and a difference of floats has the right sign.

    Args:
        plain: what float64 has for them: decides zeros, infinities and nan.
        exact: ``high`` of a moderate size, ``low`` and the exponent.
        fmt: of at most 53 bits.
        mode: the direction.
        bits: for ``stochastic``, 32 random bits per number.
    """
    high, low, exponent = exact
    negative = np.signbit(high)
    size, rest = np.abs(high), np.where(negative, -low, low)
    fraction, own = np.frexp(size)
    top = own - 1 + exponent - ((fraction == 0.5) & (rest < 0))
    unit = np.maximum(top, fmt.min_exponent) - fmt.precision + 1
    shift = np.clip(exponent - unit, -2 * FAR, 2 * FAR).astype(np.int32)
    far = top - unit < -FAR
    with np.errstate(under="ignore", invalid="ignore"):
        size = np.where(far, 2.0**-FAR, np.ldexp(size, shift))
        rest = np.where(far, 0.0, np.ldexp(rest, shift))
        whole = np.floor(size)
        cut = size - whole
        borrowed = (cut == 0) & (rest < 0)
        whole, cut = whole - borrowed, cut + borrowed
        whole = whole + _goes_up(whole, cut, rest, mode, negative, bits)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ldexp(whole, np.clip(unit, -1100, 1100).astype(np.int32))
    limits = [beyond(fmt, mode, negative=sign) for sign in (False, True)]
    rounded = np.where(negative, -rounded, rounded)
    rounded = np.where(
        np.abs(rounded) > float(fmt.largest), np.where(negative, limits[1], limits[0]), rounded
    )
    ends = np.where(np.signbit(plain), -fmt.overflow, fmt.overflow)
    special = np.where(np.isinf(plain), ends, plain)
    return np.where((high == 0) | ~np.isfinite(plain + high), special, rounded)


def _goes_up(
    whole: Doubles, cut: Doubles, rest: Doubles, mode: Mode, negative: npt.NDArray[np.bool_], bits: Words
) -> npt.NDArray[np.bool_]:
    """Whether one unit is added: the exact remainder is ``cut`` + ``rest``, in [0, 1)."""
    inexact = (cut != 0) | (rest != 0)
    match mode:
        case "nearest":
            side = (cut - 0.5) + rest
            return np.asarray((side > 0) | ((side == 0) & (np.fmod(whole, 2) == 1)))
        case "zero":
            return np.zeros(whole.shape, dtype=np.bool_)
        case "up" | "down":
            return np.asarray(inexact & (negative == (mode == "down")))
        case "stochastic":
            return np.asarray((cut - bits.astype(np.float64) * 2.0**-BITS) + rest > 0)
        case _:
            assert_never(mode)
