"""Formats: their constants, and how users name them."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import MPContext

from compiler.errors import ConfigError
from stability.formats import FLOAT16, FLOAT32, FLOAT64, FLOATS, Format, MpmathFormat, parse_format


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32, FLOAT64], ids=lambda fmt: fmt.name)
def test_constants_are_those_of_numpy(fmt: Format) -> None:
    """Range, subnormals and roundoff agree with numpy.finfo."""
    assert fmt.dtype is not None
    info = np.finfo(fmt.dtype)
    assert float(fmt.largest) == float(info.max)
    assert float(fmt.smallest_normal) == float(info.smallest_normal)
    assert float(fmt.smallest_subnormal) == float(info.smallest_subnormal)
    assert float(2 * fmt.roundoff) == float(info.eps)


@pytest.mark.parametrize("name", list(FLOATS))
def test_floats_are_found_by_name(name: str) -> None:
    """A name gives the format of that name, and a format gives itself."""
    fmt = parse_format(name)
    assert fmt.name == name
    assert parse_format(fmt) is fmt


@pytest.mark.parametrize("name", ["mpmath50", "mpmath(dps=50)", " mpmath( dps = 50 ) "])
def test_mpmath_formats_have_mpmath_s_precision(name: str) -> None:
    """Digits become bits as mpmath itself does it."""
    assert parse_format(name) == MpmathFormat(dps=50)


@pytest.mark.parametrize("dps", [1, 2, 15, 16, 50, 80, 333, 1000])
def test_bits_of_digits(dps: int) -> None:
    """The precision equals that of an mpmath context with the same dps."""
    context = MPContext()
    context.dps = dps
    assert MpmathFormat(dps=dps).precision == context.prec


@pytest.mark.parametrize(
    "name", ["float8", "", "mpmath", "mpmath0", "mpmath(dps=-3)", "float16 ; x", "mpmath9999999"]
)
def test_unknown_names_are_refused_with_the_choices(name: str) -> None:
    """The error says what there is."""
    with pytest.raises(ConfigError, match=r"float16, float32, float64, mpmath50|dps from 1 to"):
        parse_format(name)
