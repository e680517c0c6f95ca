"""Error measures mean what their definitions say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

from stability.formats import FLOAT16, FLOAT32, FLOAT64, MpmathFormat
from stability.measures import (
    deviation,
    exact_value,
    first_true,
    log2_ratio,
    sample_steps,
    to_float,
    ulp,
    worst,
)

FINITE16 = st.floats(width=16, allow_nan=False, allow_infinity=False)


@given(FINITE16)
def test_the_ulp_is_that_of_numpy(value: float) -> None:
    """The ulp of a float16 value is the spacing that NumPy gives (towards larger magnitudes)."""
    number = np.float16(value)
    spacing = float(np.spacing(abs(number))) if abs(value) < 65504 else 32.0
    if number == 0:
        spacing = 2.0**-24
    assert float(ulp(mpq(*float(number).as_integer_ratio()), FLOAT16)) == spacing


@given(FINITE16, FINITE16)
def test_deviations_are_exact(value: float, reference: float) -> None:
    """The absolute error is the exact difference, and 0 has every bit left."""
    exact_reference = mpq(*reference.as_integer_ratio())
    measured = deviation(np.float16(value), exact_reference, abs(exact_reference), FLOAT16)
    assert measured.abs_error == abs(value - reference)
    assert (measured.significant_bits == 11) == (
        measured.abs_error <= 2.0**-11 * max(abs(reference), 2.0**-1000) or measured.abs_error == 0
    )
    assert 0 <= measured.significant_bits <= 11


def test_one_half_ulp_reads_as_one_half_ulp() -> None:
    """An error is counted in ulps of the format under test, not of a wider one."""
    measured = deviation(np.float16(1), mpq(1) + mpq(1, 2048), mpq(2), FLOAT16)
    assert measured.ulp_error == 0.5
    assert deviation(np.float32(1), mpq(1) + mpq(1, 2048), mpq(2), FLOAT32).ulp_error == 4096


def test_significant_bits_use_the_largest_magnitude_so_far() -> None:
    """A value near a zero crossing is measured against the variable's size, not its own."""
    small = deviation(np.float32(0), mpq(1, 1 << 20), mpq(1), FLOAT32)
    assert small.significant_bits == 20
    assert small.rel_error == 1


def test_what_is_not_finite_has_no_bits_left() -> None:
    """inf and nan are infinitely wrong."""
    for value in (np.float32("inf"), np.float32("nan")):
        measured = deviation(value, mpq(1), mpq(1), FLOAT32)
        assert (measured.significant_bits, measured.ulp_error) == (0, math.inf)


def test_zero_scale_means_no_bits_for_any_error() -> None:
    """Where everything should be 0 so far, an error of any size has no significant bits."""
    assert deviation(np.float32(1e-30), mpq(0), mpq(0), FLOAT32).significant_bits == 0


def test_the_worst_component_counts() -> None:
    """Of several components the one with the fewest bits left is reported."""
    good, bad = (deviation(np.float32(v), mpq(1), mpq(1), FLOAT32) for v in (1.0, 1.5))
    assert worst([good, bad]) == bad


def test_mpmath_numbers_are_read_exactly() -> None:
    """An mpf is its exact dyadic value; an infinite one is no number."""
    assert exact_value(mp.mpf(3) / 8) == mpq(3, 8)
    assert exact_value(-(mp.mpf(2) ** 100)) == -(mpq(2) ** 100)
    assert exact_value(mp.inf) is None
    measured = deviation(mp.mpf(2) ** 3000, mpq(2) ** 3000 * 2, mpq(2) ** 3001, MpmathFormat(dps=50))
    assert measured.significant_bits == pytest.approx(1)
    assert measured.reference == math.inf


@given(st.integers(1, 10**30), st.integers(1, 10**30))
def test_logarithms_of_large_ratios(numerator: int, denominator: int) -> None:
    """log2 of a ratio agrees with the difference of logarithms."""
    wanted = math.log2(numerator) - math.log2(denominator)
    assert log2_ratio(mpq(numerator), mpq(denominator)) == pytest.approx(wanted, abs=1e-9)


def test_too_large_a_rational_is_infinite_in_float64() -> None:
    """Rationals beyond float64 read as ±inf in tables."""
    assert to_float(mpq(10) ** 400) == math.inf
    assert to_float(-(mpq(10) ** 400)) == -math.inf


@given(st.integers(1, 10**6))
def test_samples_cover_the_prompt(length: int) -> None:
    """Sampled steps ascend, start at 0, end at the last step, and grow like a logarithm."""
    steps = sample_steps(length)
    assert steps[0] == 0
    assert steps[-1] == length - 1
    assert (np.diff(steps) > 0).all()
    assert len(steps) <= 12 * (math.log2(length) + 2)


def test_the_first_true() -> None:
    """The horizon is an index, or nothing."""
    assert first_true(np.array([False, True, True])) == 1
    assert first_true(np.array([False, False])) is None


def test_float64_has_its_own_smallest_exponent() -> None:
    """At zero the ulp is the smallest subnormal."""
    assert ulp(mpq(0), FLOAT64) == mpq(2) ** -1074
    assert ulp(mpq(0), MpmathFormat(dps=15)) < mpq(1, 1 << 50)
