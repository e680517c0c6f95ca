"""Rounding of exact numbers, against NumPy and against a definition that searches neighbours."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import example, given
from hypothesis import strategies as st

from stability.formats import (
    BFLOAT16,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    Format,
)
from stability.rounding import MODES, floor_log2, overflows, round_array, round_rational, round_signed
from tests.stability.slow_arithmetic import last_pattern, number, rounded, same_values

FORMATS = [FLOAT16, FLOAT32, FLOAT64]
SHORT = [FLOAT16, BFLOAT16, FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT8_E4M3FN.saturated(), FLOAT8_E5M2.saturated()]


def nearest_by_search(value: Fraction, fmt: Format) -> float:
    """Of the representable neighbours, the nearest; of two equally near ones, the even one."""
    magnitude = abs(value)
    if magnitude == 0:
        return 0.0
    exponent = fmt.min_exponent
    while Fraction(2) ** (exponent + 1) <= magnitude:
        exponent += 1
    step = Fraction(2) ** (exponent - fmt.precision + 1)
    below = int(magnitude / step)
    candidates = [(abs(magnitude - k * step), k % 2, k * step) for k in (below, below + 1)]
    chosen = min(candidates)[2]
    nearest = float(chosen) if chosen < Fraction(2) ** (fmt.max_exponent + 1) else math.inf
    return -nearest if value < 0 and nearest else nearest


def around(fmt: Format) -> st.SearchStrategy[Fraction]:
    """Rationals at, halfway between and a hair beside the values of a format, of all sizes."""
    exponents = st.integers(fmt.min_exponent - fmt.precision - 2, fmt.max_exponent + 2)
    halves = st.integers(-(2 ** (fmt.precision + 2)), 2 ** (fmt.precision + 2))
    hairs = st.sampled_from([Fraction(0), Fraction(1, 10**400), Fraction(-1, 10**400)])
    powers = exponents.map(lambda e: Fraction(2) ** e)
    close = st.builds(lambda h, p, hair: h * p / 4 + hair, halves, powers, hairs)
    return st.one_of(close, st.fractions(max_denominator=10**6))


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_rounding_finds_the_nearest_neighbour(fmt: Format) -> None:
    """One rounding to nearest-even, ties, subnormals and overflow included."""

    @given(around(fmt))
    @example(Fraction(0))
    @example(Fraction(65520))
    @example(Fraction(65519))
    @example(Fraction(3, 2**26))
    def check(value: Fraction) -> None:
        got = round_rational(mpq(value), fmt)
        assert got == nearest_by_search(value, fmt)
        assert got != 0 or math.copysign(1, got) == 1

    check()


@pytest.mark.parametrize("fmt", [*SHORT, TF32, FLOAT32, FLOAT64], ids=lambda fmt: fmt.name)
def test_rationals_are_rounded_in_every_direction(fmt: Format) -> None:
    """As the dyadic number that has their first bits, and one more far behind where they go on."""

    @given(around(fmt), st.integers(0, 2**32 - 1))
    @example(Fraction(449), 2**31)
    @example(Fraction(-10) ** 50, 0)
    @example(Fraction(1, 3), 2**32 - 1)
    def check(value: Fraction, bits: int) -> None:
        if not value:
            return
        long = 2000
        whole, rest = divmod(abs(value.numerator) << long, value.denominator)
        cut = 2 * whole + (rest > 0)
        for mode in MODES:
            expected = rounded((-cut if value < 0 else cut, -long - 1), fmt, mode, bits)
            assert same_values(round_signed(mpq(value), fmt, mode, bits), expected)

    check()


def test_constants_beyond_a_format_are_found() -> None:
    """Infinite, nan or cut off at the largest value: each is an overflow, and the largest value is not."""
    for fmt in (*SHORT, TF32, FLOAT32, FLOAT64):
        spacing = fmt.largest - mpq(number(last_pattern(fmt) - 1, fmt))
        assert not overflows(fmt.largest, fmt)
        assert overflows(fmt.largest + spacing, fmt)
        assert overflows(-fmt.largest - spacing, fmt)


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_doubles_round_as_numpy_casts_them(value: float) -> None:
    """float64 → float16 and float32 are single roundings in NumPy, and ours agree."""
    exact = mpq(Fraction(value))
    for fmt in (FLOAT16, FLOAT32):
        assert fmt.dtype is not None
        with np.errstate(all="ignore"):
            assert round_rational(exact, fmt) == float(np.float64(value).astype(fmt.dtype))
    assert round_rational(exact, FLOAT64) == value


@pytest.mark.parametrize("fmt", [*FORMATS, *SHORT, TF32], ids=lambda fmt: fmt.name)
def test_arrays_of_every_storage_are_rounded_once(fmt: Format) -> None:
    """int64 beyond 2^53, float64 and rationals give what the exact numbers give."""
    integers = np.array(
        [0, 1, -7, 2049, 2051, 65519, 65520, 2**24 + 1, 2**53 + 1, 2**62 + 2**38 + 1, -(2**63)],
        dtype=np.int64,
    )
    doubles = np.array([0.1, -0.0, 1e-8, 3e-8, 65520.0, 1e300, -1e-320], dtype=np.float64)
    for array in (integers, doubles):
        exact = np.array([mpq(Fraction(value)) for value in array.tolist()] + [None], dtype=object)[:-1]
        expected = [round_rational(value, fmt) for value in exact]
        for storage in (array, exact):
            found = round_array(storage.reshape(1, -1, 1), fmt)
            assert found.dtype == fmt.storage
            assert np.array_equal(found.reshape(-1).astype(np.float64), expected, equal_nan=True)
            assert not np.signbit(found[found == 0]).any()


@given(st.fractions(min_value=Fraction(1, 10**30), max_value=10**30))
def test_floor_log2_brackets_its_argument(value: Fraction) -> None:
    """2^e ≤ value < 2^(e+1)."""
    exponent = floor_log2(mpq(value))
    assert Fraction(2) ** exponent <= value < Fraction(2) ** (exponent + 1)
