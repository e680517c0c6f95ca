"""Sigmoid and tanh in compiled code, each as a sum of two numbers and a bound of its error.

- *quick*: e^t by a table of 2^(j/64) and a short polynomial, in float64 with its error carried
  along.  There are no branches and no calls, so that a loop over columns becomes vector code.
- *careful*: everything in pairs of float64, about 100 bits.

All of it is +, −, ×, ÷ and integer operations on float64; nothing is fused or reassociated,
and no library's exponential is called: the bits are those of every machine.
"""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated"

from __future__ import annotations

import math

import gmpy2
import numpy as np
from gmpy2 import mpq

from stability.engines.native.pairs import (
    compiled,
    exact_product,
    exact_sum,
    from_word,
    inlined,
    over,
    pair,
    plus,
    power,
    times,
    to_word,
)  # fmt: skip

_LONG = gmpy2.context(precision=400)
_LN2 = mpq(_LONG.const_log2())


def _cut(value: mpq, bits: int) -> mpq:
    """A multiple of 2^-bits."""
    return mpq(gmpy2.f_div(gmpy2.mpz((value * 2**bits).numerator), (value * 2**bits).denominator), 2**bits)


# e^t = 2^m · 2^(j/64) · e^r, and e^t = 2^k · e^r in the careful step
STEPS = 64
PER_STEP = float(STEPS / _LN2)
PER_OCTAVE = float(1 / _LN2)
STEP = _cut(_LN2 / STEPS, 42)  # 36 bits: k·STEP is exact for |k| < 2^17
STEP_HIGH, STEP_LOW = float(STEP), float(_LN2 / STEPS - STEP)
OCTAVE = _cut(_LN2, 42)  # 42 bits, and k has 11
OCTAVE_HIGH = float(OCTAVE)
OCTAVE_LOW, OCTAVE_LAST = pair(_LN2 - OCTAVE)
TO_INTEGER = 1.5 * 2.0**52  # adding it rounds to an integer, which is then in the low bits
TO_COARSE = 1.5 * 2.0**18  # adding it rounds to a multiple of 2^-34
_POWERS = [mpq(_LONG.exp2(mpq(j, STEPS))) for j in range(STEPS)]
_TOPS = [_cut(power, 25) for power in _POWERS]
POWER_HIGH = np.array([float(top) for top in _TOPS])  # 26 bits
POWER_LOW = np.array([float(power - top) for power, top in zip(_POWERS, _TOPS, strict=True)])
TERMS = 12  # of the careful step's series that need more than float64
_FACTORIALS = [pair(mpq(1, math.factorial(n))) for n in range(TERMS + 12)]
INVERSE_HIGH = np.array([high for high, _ in _FACTORIALS])
INVERSE_LOW = np.array([low for _, low in _FACTORIALS])
# tanh x = x + x³(ODD[0] + ODD[1] x² + …)
_ODD = [
    mpq(-1, 3), mpq(2, 15), mpq(-17, 315), mpq(62, 2835), mpq(-1382, 155925), mpq(21844, 6081075),
]  # fmt: skip
ODD_HIGH = np.array([pair(value)[0] for value in _ODD])
ODD_LOW = np.array([pair(value)[1] for value in _ODD])

LOWEST = -660.0  # below it the quick step's low parts could be lost among the subnormal numbers
NOTHING = -745.2  # below it sigmoid is less than half the smallest subnormal float64
SMALL = 2.0**-5  # below it tanh is its series in the quick step
SMALLER = 2.0**-10  # and in the careful one
FLAT = 2.0**-26  # below it sigmoid is 1/2 + x/4 less a hair
QUICK = 2.0**-63  # bounds of the errors, relative for sigmoid and absolute for tanh
CAREFUL = 2.0**-95
SERIES = 2.0**-50  # relative to the series
CAREFUL_SERIES = 2.0**-80


@inlined
def _quick_exponential(t):
    """e^t for LOWEST ≤ t ≤ 0 as (high + low)·2^m, to within 2^-64 of itself.

    r is below 2^-7.5 and known to 2^-79; its square needs no more than float64, as it is below
    2^-15.  Only 2^(j/64)·(1 + r) is longer: r is cut so that its main part is exact.
    """
    shifted = t * PER_STEP + TO_INTEGER
    word = to_word(shifted)
    k = shifted - TO_INTEGER
    rest, carry = t - k * STEP_HIGH, -(k * STEP_LOW)
    r = rest + carry
    r_low = (rest - r) + carry
    r_top = (r + TO_COARSE) - TO_COARSE
    series = 1.0 / 24 + r * (1.0 / 120 + r * (1.0 / 720 + r * (1.0 / 5040)))
    curved = r_low + (r * r) * (0.5 + r * (1.0 / 6 + r * series))  # e^r - 1 - r
    top, end = POWER_HIGH[word & np.int64(STEPS - 1)], POWER_LOW[word & np.int64(STEPS - 1)]
    first = top * r_top  # exact: 26 bits each
    sum_high = top + first
    sum_low = (top - sum_high) + first
    sum_low += end + (top * ((r - r_top) + curved) + end * (r + curved))
    high = sum_high + sum_low
    return high, (sum_high - high) + sum_low, word >> np.int64(6)


@inlined
def quick(x, tanh):
    """A function of x: (high, low, bound of the error), of no use for nan.

    ``high`` alone is right to within 2^-50 of itself.
    """
    size = abs(x)
    t = -2.0 * size if tanh else -size
    t = max(LOWEST, t)
    high, low, octave = _quick_exponential(t)
    scale = from_word((octave + np.int64(1023)) << np.int64(52))
    part, part_low = high * scale, low * scale
    below = 1.0 + part
    below_low = ((1.0 - below) + part) + part_low
    rest = 1.0 - part
    rest_low = ((1.0 - rest) - part) - part_low
    above = rest + rest_low
    above_low = (rest - above) + rest_low
    if not tanh:
        above, above_low = (1.0, 0.0) if x >= 0 else (high, low)
    value = above / below
    again, again_low = exact_product(value, below)
    value_low = ((above - again) - again_low + (above_low - value * below_low)) / below
    if tanh:
        square = size * size
        series = -17.0 / 315 + square * (62.0 / 2835 + square * (-1382.0 / 155925))
        series = (size * square) * (-1.0 / 3 + square * (2.0 / 15 + square * series))
        total = size + series
        small = size < SMALL
        margin = -series * SERIES if small else QUICK
        value_low = (size - total) + series if small else value_low
        value = total if small else value
        negative = x < 0
        value, value_low = (-value, -value_low) if negative else (value, value_low)
        return value, value_low, margin
    scale = 1.0 if x >= 0 else scale
    value, value_low = (value * scale, value_low * scale) if x > NOTHING else (0.0, 0.0)
    margin = value * (QUICK if x > LOWEST else 1.0)
    return value, value_low, margin


@compiled
def _careful_exponential(t):
    """(high + low, k) with e^t = 2^k·(1 + high + low), for -746 ≤ t ≤ 0."""
    k = np.rint(t * PER_OCTAVE)
    high, low = exact_product(k, OCTAVE_LOW)
    r, r_low = plus(t - k * OCTAVE_HIGH, 0.0, -high, -low - k * OCTAVE_LAST)
    tail = 0.0
    for n in range(len(INVERSE_HIGH) - 1, TERMS, -1):
        tail = INVERSE_HIGH[n] + r * tail
    high, low = tail, 0.0
    for n in range(TERMS, 0, -1):
        high, low = times(high, low, r, r_low)
        high, low = plus(INVERSE_HIGH[n], INVERSE_LOW[n], high, low)
    high, low = times(high, low, r, r_low)
    return high, low, np.int64(k)


@compiled
def careful_tanh(size):
    """The tanh of a number > 0 and < 20: (high, low, bound of the error)."""
    if size < SMALLER:
        square, square_low = exact_product(size, size)
        high, low = ODD_HIGH[-1], ODD_LOW[-1]
        for n in range(len(ODD_HIGH) - 2, -1, -1):
            high, low = times(high, low, square, square_low)
            high, low = plus(ODD_HIGH[n], ODD_LOW[n], high, low)
        cube, cube_low = times(square, square_low, size, 0.0)
        high, low = times(high, low, cube, cube_low)
        margin = -high * CAREFUL_SERIES
        high, rest = exact_sum(size, high)
        low = rest + low
        return high, low, margin + abs(low) * 2.0**-52
    part, part_low, k = _careful_exponential(-2.0 * size)
    scale = power(k)
    part, part_low = part * scale, part_low * scale
    below, below_low = exact_sum(1.0, scale)
    below, below_low = plus(below, below_low, part, part_low)
    above, above_low = exact_sum(1.0, -scale)
    above, above_low = plus(above, above_low, -part, -part_low)
    high, low = over(above, above_low, below, below_low)
    return high, low, high * CAREFUL


@compiled
def careful_sigmoid(x):
    """The sigmoid of NOTHING ≤ x ≤ 40, less its power of two: (high, low, k, bound of the error)."""
    if abs(x) < FLAT:  # 1/2 + x/4 - x³/48: the hair is less than the last bit of x/4
        high, low = exact_sum(0.5, 0.25 * x)
        hair = np.int64(1) if (low > 0) == (x < 0) else np.int64(-1)
        low = from_word(to_word(low) + hair) if low != 0 else math.copysign(2.0**-200, -x)
        return high, low, np.int64(0), 0.0
    part, part_low, k = _careful_exponential(-abs(x))
    scale = power(k)
    below, below_low = exact_sum(1.0, scale)
    below, below_low = plus(below, below_low, part * scale, part_low * scale)
    above, above_low = (1.0, 0.0) if x > 0 else plus(1.0, 0.0, part, part_low)
    high, low = over(above, above_low, below, below_low)
    return high, low, k if x < 0 else np.int64(0), high * CAREFUL
