"""The definition of sigmoid and tanh, against mpmath at many digits and against its own laws."""

from __future__ import annotations

import math

import gmpy2
import mpmath
import numpy as np
import pytest
from gmpy2 import mpq, mpz
from hypothesis import example, given
from hypothesis import strategies as st

from compiler.errors import ConfigError
from stability.activations import FUNCTIONS, Function, activated, activated_scaled
from stability.engines.sums import scaled
from stability.formats import BFLOAT16, FLOAT8_E5M2, FLOAT16, FLOAT32, FLOAT64, Format
from stability.rounding import round_rational

FORMATS = [FLOAT8_E5M2, BFLOAT16, FLOAT16, FLOAT32, FLOAT64]
HARD = [
    2.0**-52, -(2.0**-53), 3 * 2.0**-26, 9 * 2.0**-25, -33 * 2.0**-24, 2.0**-23, -(2.0**-24), 5e-324, 37.4,
    -708.4, -745.13, -745.14, -103.97, -103.98, 19.06, 9.01, 17.3, -17.3, 1e-300, 200.0, -200.0,
]  # fmt: skip


def judged(function: Function, value: mpq, digits: int = 400) -> mpq:
    """The function by mpmath, as a rational."""
    context = mpmath.MPContext()
    context.dps = digits
    x = context.mpf(int(value.numerator)) / int(value.denominator)
    number = context.tanh(x) if function == "tanh" else 1 / (1 + context.exp(-x))
    sign, man, exp, _ = number._mpf_
    return (-1 if sign else 1) * mpq(man) * mpq(2) ** exp


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_a_value_is_the_real_one_rounded_once(fmt: Format, function: Function) -> None:
    """mpmath at 400 digits, rounded as a rational, gives the same bits: near ties and below normal too."""

    @given(st.one_of(st.floats(-800, 800), st.floats(-1, 1), st.sampled_from(HARD)))
    def check(value: float) -> None:
        value = round_rational(mpq(value), fmt)
        got = activated(function, value, fmt)
        assert got == round_rational(judged(function, mpq(value)), fmt)
        assert got != 0 or math.copysign(1, got) == 1

    check()


@pytest.mark.parametrize("function", FUNCTIONS)
@given(value=st.one_of(st.floats(-800, 800), st.sampled_from(HARD)).filter(bool))
@example(value=300.0)
@example(value=-30000.0)
def test_directed_roundings_enclose_the_value(function: Function, value: float) -> None:
    """Down and up are neighbours, also within a hair of 0 and 1; zero and nearest are one of them."""
    below, above = (activated(function, value, FLOAT16, way) for way in ("down", "up"))
    assert np.nextafter(np.float16(below), np.float16(2)) == np.float16(above)
    assert activated(function, value, FLOAT16, "zero") == (below if above > 0 else above)
    assert activated(function, value, FLOAT16) in {below, above}


def test_stochastic_rounding_follows_the_bits() -> None:
    """All bits 0 rounds up, all bits 1 down, unless the remainder is within 2^-32 of one."""
    for function in FUNCTIONS:
        up, down = (activated(function, 0.7, FLOAT16, "stochastic", bits) for bits in (0, 2**32 - 1))
        assert (down, up) == tuple(activated(function, 0.7, FLOAT16, way) for way in ("down", "up"))
        assert activated(function, 60.0, FLOAT16, "stochastic", 2**32 - 1) == 1


def test_limits_zeros_and_nan() -> None:
    """They are exact; nan stays nan; no result is −0."""
    for fmt in FORMATS:
        assert [activated("sigmoid", x, fmt) for x in (math.inf, -math.inf, 0.0, -0.0)] == [1, 0, 0.5, 0.5]
        assert [activated("tanh", x, fmt) for x in (math.inf, -math.inf, 0.0)] == [1, -1, 0]
        assert math.copysign(1, activated("tanh", -0.0, fmt)) == 1
        assert math.copysign(1, activated("sigmoid", -math.inf, fmt)) == 1
        assert all(math.isnan(activated(function, math.nan, fmt)) for function in FUNCTIONS)


def test_a_saturated_gate_is_exact_where_the_format_ends() -> None:
    """Sigmoid(200) is 1 in every format; sigmoid(−200) is 0 but for the range of float64."""
    for fmt in FORMATS:
        assert activated("sigmoid", 200.0, fmt) == 1
        assert (activated("sigmoid", -200.0, fmt) == 0) == (fmt != FLOAT64)
    assert activated("sigmoid", -200.0, FLOAT64) == pytest.approx(math.exp(-200), rel=1e-15)


def test_float16_is_monotone_and_tanh_odd() -> None:
    """Over all values of the format; the sigmoids of x and −x add up to 1 within a unit."""
    words = np.arange(2**15, dtype=np.uint16)
    values = words.view(np.float16)[words <= 0x7C00].astype(float)[::7]
    for function in FUNCTIONS:
        results = [activated(function, value, FLOAT16) for value in values]
        assert results == sorted(results)
        mirrored = [activated(function, -value, FLOAT16) for value in values]
        if function == "tanh":
            assert mirrored == [-result for result in results]
        else:
            assert all(abs(a + b - 1) <= 2.0**-11 for a, b in zip(results, mirrored, strict=True))


@pytest.mark.parametrize("function", FUNCTIONS)
@given(
    man=st.integers(-(2**60), 2**60).filter(bool), exp=st.integers(-200, -50), precision=st.integers(1, 300)
)
@example(man=1, exp=-199, precision=3)
@example(man=2**52 + 1, exp=-320, precision=52)
def test_any_precision_is_rounded_once(function: Function, man: int, exp: int, precision: int) -> None:
    """At any number of bits, the nearest number to what mpmath has at 400 digits."""
    exact = judged(function, mpq(man) * mpq(2) ** exp)
    assert activated_scaled(function, (mpz(man), exp), precision) == scaled(exact, precision)


def test_exponents_have_no_bounds() -> None:
    """Sigmoid of −2^40 and far beyond, of ±2^-400, and tanh of numbers that are long or tiny."""
    context = mpmath.MPContext()
    context.dps = 100
    for exp in (20, 33, 40):
        man, own = activated_scaled("sigmoid", (mpz(-3), exp), 170)
        logarithm = context.log(int(man)) + own * context.ln2
        assert abs(logarithm + 3 * context.mpf(2) ** exp) < context.mpf(2) ** -168
    assert activated_scaled("sigmoid", (mpz(5), 200), 170) == (1, 0)
    assert activated_scaled("sigmoid", (mpz(-5), -400), 170) == (1, -1)
    assert activated_scaled("tanh", (mpz(-5), 200), 170) == (-1, 0)
    assert activated_scaled("tanh", (mpz(5), -(2**40)), 170) == (5, -(2**40))
    assert activated_scaled("tanh", (mpz(0), 0), 170) == (0, 0)
    assert activated_scaled("sigmoid", (mpz(0), 0), 170) == (1, -1)
    tie = (mpz(2**10 + 1), -(2**40))  # a hair nearer to 0 than halfway between 10-bit numbers
    assert activated_scaled("tanh", tie, 10) == (1, 10 - 2**40)
    with pytest.raises(ConfigError, match="exponent is too long"):
        activated_scaled("sigmoid", (mpz(-1), 2**17), 170)


def test_the_callers_own_precision_is_neither_used_nor_changed() -> None:
    """A context of 5 bits that the caller has set makes no difference."""
    expected = [activated("tanh", 0.3, FLOAT64), activated("sigmoid", 0.3, FLOAT64)]
    wide = activated_scaled("sigmoid", (mpz(-3), 40), 100)
    with gmpy2.context(precision=5):
        assert [activated("tanh", 0.3, FLOAT64), activated("sigmoid", 0.3, FLOAT64)] == expected
        assert activated_scaled("sigmoid", (mpz(-3), 40), 100) == wide
        assert gmpy2.get_context().precision == 5
