"""Rounding exact numbers to a format, once, to the nearest value, ties to even.

Zeros come out as +0.  What lies half a unit or more beyond the largest finite
value becomes an infinity; what lies below the smallest normal value is rounded
to a multiple of the smallest subnormal one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import f_divmod, mpq, mpz

from stability.formats import Format

FloatArray = npt.NDArray[np.floating[Any]]


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
    whole, rest = f_divmod(numerator, denominator)
    double = rest << 1
    up = double > denominator or (double == denominator and whole.is_odd())
    return whole + 1 if up else whole


def round_rational(value: mpq, fmt: Format) -> float:
    """One exact number in ``fmt``, held in a Python float (exact up to 53 bits)."""
    if value == 0:
        return 0.0
    magnitude = abs(value)
    unit = max(floor_log2(magnitude), fmt.min_exponent) - fmt.precision + 1
    numerator, denominator = magnitude.numerator, magnitude.denominator
    scaled = (
        round_ratio(numerator, denominator << unit)
        if unit >= 0
        else round_ratio(numerator << -unit, denominator)
    )
    if scaled.bit_length() + unit > fmt.max_exponent + 1:
        rounded = math.inf
    else:
        rounded = math.ldexp(float(scaled), unit)
    return rounded if value > 0 or rounded == 0 else -rounded


def round_rationals(values: Iterable[mpq], fmt: Format) -> npt.NDArray[np.float64]:
    """Exact numbers in ``fmt``, as float64 values (exact: ``fmt`` has at most 53 bits)."""
    return np.array([round_rational(value, fmt) for value in values], dtype=np.float64)


def round_array(values: npt.NDArray[Any], fmt: Format) -> FloatArray:
    """An array of int64, float64 or exact rationals (objects) in ``fmt``.

    Returns:
        The same shape, in ``fmt.dtype``.
    """
    assert fmt.dtype is not None
    if values.dtype == object:
        flat = round_rationals((mpq(value) for value in values.reshape(-1)), fmt)
        return flat.reshape(values.shape).astype(fmt.dtype)
    if values.dtype == np.int64 and fmt.max_exponent < 53:
        # exact below 2^53, and what lies beyond overflows the format either way
        values = values.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(values.astype(fmt.dtype) + fmt.dtype.type(0), dtype=fmt.dtype)
