"""Numbers as unevaluated sums of two float64, about 106 bits; compiled.

Knuth's and Dekker's exact sums and products, of +, −, × alone: nothing is fused or
reassociated.  Exponents must be moderate: products of parts must not leave the range.
"""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated"
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gmpy2 import mpq
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from stability.formats import FLOAT64
from stability.rounding import round_rational

compiled: Callable[..., Any] = njit(error_model="numpy")
inlined: Callable[..., Any] = njit(error_model="numpy", forceinline=True)


def pair(value: Any) -> tuple[float, float]:
    """A real number as an unevaluated sum of two float64."""
    exact = mpq(value)
    high = round_rational(exact, FLOAT64)
    return high, round_rational(exact - mpq(high), FLOAT64)


@intrinsic
def to_word(typingctx, value):
    """The bits of a float64."""

    def build(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), build


@intrinsic
def from_word(typingctx, word):
    """The float64 with these bits."""

    def build(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), build


@inlined
def exact_product(a, b):
    """The product a·b as the sum of two float64 without an error (Dekker)."""
    high = a * b
    scaled, other = 134217729.0 * a, 134217729.0 * b  # 2^27 + 1
    a_top, b_top = scaled - (scaled - a), other - (other - b)
    a_end, b_end = a - a_top, b - b_top
    return high, ((a_top * b_top - high) + a_top * b_end + a_end * b_top) + a_end * b_end


@inlined
def exact_sum(a, b):
    """The sum a + b as that of two float64 without an error (Knuth)."""
    high = a + b
    of_b = high - a
    return high, (a - (high - of_b)) + (b - of_b)


@inlined
def power(exponent):
    """2^exponent; 0 below the normal numbers."""
    return from_word((exponent + np.int64(1023)) << np.int64(52)) if exponent >= np.int64(-1022) else 0.0


@compiled
def plus(a, a_low, b, b_low):
    """The sum of two pairs."""
    high, low = exact_sum(a, b)
    last, lost = exact_sum(a_low, b_low)
    high, low = exact_sum(high, low + last)
    return exact_sum(high, low + lost)


@compiled
def times(a, a_low, b, b_low):
    """The product of two pairs."""
    high, low = exact_product(a, b)
    return exact_sum(high, low + (a * b_low + a_low * b))


@compiled
def over(a, a_low, b, b_low):
    """The quotient of two pairs."""
    first = a / b
    high, low = times(b, b_low, first, 0.0)
    rest, rest_low = plus(a, a_low, -high, -low)
    second = rest / b
    high, low = times(b, b_low, second, 0.0)
    rest, rest_low = plus(rest, rest_low, -high, -low)
    high, low = exact_sum(first, second)
    return exact_sum(high, low + rest / b)


@compiled
def odd(high, low):
    """The sum of a pair cut to float64, with its last bit set: it rounds on as the pair would."""
    high, low = exact_sum(high, low)
    if low == 0:
        return high
    word = to_word(high)
    return from_word((word - np.int64(1) if (low > 0) != (high > 0) else word) | np.int64(1))
