"""Sigmoid and tanh, defined: the real function of a number, rounded once to a format.

``sigmoid(x) = 1/(1 + e^-x)`` and ``tanh(x)`` of the value as it stands are rounded to
nearest, ties to even, at the precision of the format, its subnormals and underflow included.
There are no ties to break but at the exact values sigmoid(0) = 1/2 and tanh(0) = 0:
everywhere else both functions are transcendental at rational arguments.

- nan gives nan; sigmoid(±inf) is 1 and +0, tanh(±inf) is ±1.
- Neither function gives −0, as with ReLU here: tanh(−0) = +0, and a sigmoid too small for
  the format is +0.  Apart from that, tanh is odd bit for bit.
- Both are monotone, as correctly rounded monotone functions are.

Each value is enclosed by directed roundings (MPFR, by way of gmpy2) at a precision that
doubles until both ends round to the same number.  This is the slow route, which
:mod:`stability.engines.native.activations` is held to, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar

import gmpy2
from gmpy2 import mpq, mpz

from compiler.errors import ConfigError
from stability.engines.sums import ONE, ZERO, Scaled, constant, short
from stability.formats import AnyFormat, Format, MpmathFormat
from stability.rounding import Mode, round_rational

Function = Literal["sigmoid", "tanh"]
FUNCTIONS: tuple[Function, ...] = ("sigmoid", "tanh")

HAIR = 40  # bits below the unit in the last place: further than any rounding, stochastic too, looks
HUGE = 1 << 28  # beyond this, e^-x leaves the exponents that MPFR is given
LONGEST = 1 << 16  # bits of an argument whose exponential is still written down
HUGE_SIGMOID = 4000  # the sigmoid of less is below 2^-4000
PAIR_BITS = 105
WRITTEN = 1 << 10  # the largest constant whose sigmoid is written down as a rational
LOG2_E = mpq(144, 100)  # a little less than log2(e): e^-x < 2^(-LOG2_E·x) for x > 0

_T = TypeVar("_T")


def activated(function: Function, value: float, fmt: Format, mode: Mode = "nearest", bits: int = 0) -> float:
    """A function of a float, in a format of at most 53 bits.

    Args:
        function: which one.
        value: any float, exactly as it stands.
        fmt: what the result is rounded to.
        mode: in which direction.
        bits: for ``stochastic``, 32 random bits.

    Returns:
        The rounded value, held in a Python float.
    """

    def rounding(end: Scaled) -> float:
        return round_rational(_rational(end), fmt, mode, bits)

    if math.isnan(value):
        return math.nan
    if value == 0:
        return rounding((ONE, -1)) if function == "sigmoid" else 0.0
    if math.isinf(value):
        limit = -1.0 if function == "tanh" else 0.0
        return 1.0 if value > 0 else limit
    exact = mpq(value)
    reach = abs(exact) * LOG2_E * (2 if function == "tanh" else 1)
    hair = fmt.precision + HAIR
    if reach >= hair + 2 and (function == "tanh" or exact > 0):  # 1 − σ(x) < e^-x, 1 − tanh x < 2e^-2x
        near = (ONE << hair) - 1
        return rounding((near if exact > 0 else -near, -hair))
    if reach >= hair + 2 - fmt.min_exponent:  # σ(x) < e^x
        return rounding((ONE, fmt.min_exponent - hair))
    argument = (exact.numerator, 1 - exact.denominator.bit_length())
    return _certain(function, argument, fmt.precision, rounding)


def activated_scaled(function: Function, value: Scaled, precision: int) -> Scaled:
    """A function of man·2^exp as man·2^exp, to ``precision`` bits; exponents have no bounds.

    Raises:
        ConfigError: the sigmoid of a negative number of more than 2^16 bits before its point:
            the exponent of the result could not be written down.
    """
    man, exp = value
    if not man:
        return (ONE, -1) if function == "sigmoid" else (ZERO, 0)
    top = man.bit_length() + exp  # |value| < 2^top
    if man > 0 and LOG2_E * _at_most(man, exp, precision) >= precision + 2:
        return ONE, 0
    if function == "tanh":
        if LOG2_E * _at_most(-man, exp, precision) >= precision + 2:
            return -ONE, 0
        if top < -precision - man.bit_length() - HAIR:  # x − x³/3 + …: a hair nearer to 0 than x
            beyond = precision + HAIR
            return _odd(short((man << beyond) - (1 if man > 0 else -1), exp - beyond, precision))
    elif top < -precision - HAIR:
        return ONE, -1
    elif top > LONGEST:
        raise ConfigError.single(
            f"the sigmoid of a number beyond -2^{LONGEST} in arbitrary precision: its exponent is too long",
            hint="a model whose values grow without bound needs a float format, where they overflow",
        )
    return _certain(function, value, precision, lambda end: _odd(short(*end, precision)))


def activated_constant(function: Function, value: mpq, fmt: AnyFormat) -> mpq | None:
    """A function of a constant of a model, in a format that rounds it first; ``None`` if it has none.

    In arbitrary precision a dyadic constant is exact, and one beyond ±2^10 is left alone: its
    sigmoid would be a very long rational.
    """
    if isinstance(fmt, Format):
        return mpq(activated(function, round_rational(value, fmt), fmt))
    if not isinstance(fmt, MpmathFormat) or abs(value) > WRITTEN:
        return None
    return _rational(activated_scaled(function, constant(value, fmt.precision), fmt.precision))


def odd_pair(function: Function, value: float) -> tuple[float, float, int]:
    """A function of a finite float other than 0 as (high + low)·2^exponent, cut to 105 bits.

    The last of them is set and stands for all that follow, so that the pair, rounded to any
    float format in any direction, rounds as the function's value.
    """
    if function == "sigmoid" and value < -HUGE_SIGMOID:
        return 2.0**60, 1.0, -HUGE_SIGMOID  # far below every number of a float format

    def cut(end: Scaled) -> tuple[bool, mpz, int]:
        man, exp = abs(end[0]), end[1]
        drop = man.bit_length() - PAIR_BITS
        return end[0] < 0, (man >> drop if drop > 0 else man << -drop) | 1, exp + drop

    exact = mpq(value)
    argument = (exact.numerator, 1 - exact.denominator.bit_length())
    negative, man, exp = _certain(function, argument, PAIR_BITS, cut)
    sign = -1.0 if negative else 1.0
    return sign * float(man >> 53 << 53), sign * float(man & ((1 << 53) - 1)), exp


def _at_most(man: mpz, exp: int, precision: int) -> mpz:
    """The integer part of man·2^exp, cut where it decides nothing any more."""
    if man <= 0:
        return ZERO
    if man.bit_length() + exp > precision.bit_length() + 2:
        return mpz(2 * precision + 4)
    return man << exp if exp >= 0 else man >> -exp


def _certain(function: Function, value: Scaled, precision: int, rounding: Callable[[Scaled], _T]) -> _T:
    """The rounded value, once an open interval around it rounds to one number."""
    enclose = _sigmoid_between if function == "sigmoid" else _tanh_between
    bits = precision + HAIR
    while True:
        (low, low_exp), (high, high_exp) = enclose(value, bits)
        # the number is neither end, and no tie lies between one end and a quarter unit further in
        below, above = rounding((4 * low + 1, low_exp - 2)), rounding((4 * high - 1, high_exp - 2))
        if below == above:
            return below
        bits *= 2


def _tanh_between(value: Scaled, bits: int) -> tuple[Scaled, Scaled]:
    down, up = _contexts(bits)
    number = _number(value)
    return _parts(down.tanh(number)), _parts(up.tanh(number))


def _sigmoid_between(value: Scaled, bits: int) -> tuple[Scaled, Scaled]:
    """1/(1 + e^-x), or e^x/(1 + e^x) for negative x, with each operation rounded outwards."""
    negative = value[0] < 0
    if negative and value[0].bit_length() + value[1] >= HUGE.bit_length():
        return _exponential_between(value, bits)
    down, up = _contexts(bits)
    number = _number((-abs(value[0]), value[1]))
    low, high = down.exp(number), up.exp(number)
    first, last = (low, high) if negative else (1, 1)
    return _parts(down.div(first, up.add(1, high))), _parts(up.div(last, down.add(1, low)))


def _exponential_between(value: Scaled, bits: int) -> tuple[Scaled, Scaled]:
    """The sigmoid of a huge negative number: e^x(1 − e^x + …), e^x = 2^-k · e^(x + k·ln 2)."""
    size = value[0].bit_length() + value[1]
    down, up = _contexts(bits + size)
    number = _number(value)
    whole = mpz(down.floor(down.div(down.minus(number), down.const_log2())))
    low = down.exp(down.add(number, down.mul(whole, down.const_log2())))
    high = up.exp(up.add(number, up.mul(whole, up.const_log2())))
    (man, exp), (top, top_exp) = _parts(low), _parts(high)
    # the factor 1 − e^x is above 1 − 2^-bits: far below that already where HUGE begins
    return ((man << bits) - man, exp - bits - int(whole)), (top, top_exp - int(whole))


@lru_cache(maxsize=64)
def _contexts(bits: int) -> tuple[Any, Any]:
    """Arithmetic rounded down and up, apart from any context that the caller may have set."""
    make = partial(gmpy2.context, precision=bits, emin=-(1 << 30) + 2, emax=(1 << 30) - 2)
    return make(round=gmpy2.RoundDown), make(round=gmpy2.RoundUp)


def _number(value: Scaled) -> Any:
    man, exp = value
    exact = gmpy2.context(precision=max(2, man.bit_length()))
    return exact.mul_2exp(exact.plus(man), exp) if exp >= 0 else exact.div_2exp(exact.plus(man), -exp)


def _parts(number: Any) -> Scaled:
    """A result as man·2^exp with all the bits of its precision."""
    man, exp = number.as_mantissa_exp()
    spare = number.precision - man.bit_length()
    return man << spare, int(exp) - spare


def _rational(value: Scaled) -> mpq:
    man, exp = value
    return mpq(man << exp) if exp >= 0 else mpq(man, ONE << -exp)


def _odd(value: Scaled) -> Scaled:
    man, exp = value
    zeros = man.bit_scan1() or 0
    return man >> zeros, exp + zeros
