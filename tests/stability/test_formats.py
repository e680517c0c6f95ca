"""Formats: their constants, and how users name them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gmpy2 import mpq
from mpmath import MPContext

from compiler.errors import ConfigError
from stability.formats import (
    BFLOAT16,
    BINARY,
    EXACT,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    AnyFormat,
    Format,
    MpmathFormat,
    parse_format,
)


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32, FLOAT64], ids=lambda fmt: fmt.name)
def test_constants_are_those_of_numpy(fmt: Format) -> None:
    """Range, subnormals and roundoff agree with numpy.finfo."""
    assert fmt.dtype is not None
    info = np.finfo(fmt.dtype)
    assert float(fmt.largest) == float(info.max)
    assert float(fmt.smallest_normal) == float(info.smallest_normal)
    assert float(fmt.smallest_subnormal) == float(info.smallest_subnormal)
    assert float(2 * fmt.roundoff) == float(info.eps)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_constants_are_those_of_ml_dtypes(name: str) -> None:
    """Range and subnormals agree with ml_dtypes.finfo; e4m3fn spends its infinities on numbers."""
    fmt, info = BINARY[name], ml_dtypes.finfo(getattr(ml_dtypes, name))  # type: ignore[no-untyped-call]
    assert float(fmt.largest) == float(info.max)
    assert float(fmt.smallest_normal) == float(info.smallest_normal)
    assert float(fmt.smallest_subnormal) == float(info.smallest_subnormal)


@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("e5m10", FLOAT16), ("e8m7", BFLOAT16), ("e8m10", TF32), ("e8m23", FLOAT32), ("e11m52", FLOAT64),
        ("e5m2", FLOAT8_E5M2), ("e4m3fn", FLOAT8_E4M3FN), ("exact", EXACT),
        ("e4m3", Format(name="e4m3", precision=4, exponent_bits=4)),
        ("e6m20", Format(name="e6m20", precision=21, exponent_bits=6)),
    ],
)  # fmt: skip
def test_formats_are_named_by_their_bits(name: str, fmt: AnyFormat) -> None:
    """Mantissa bits are the stored ones, and a format with a name of its own is that one."""
    assert parse_format(name) == fmt


@pytest.mark.parametrize("name", ["float8_e4m3fn-sat", "e5m2-sat", "float16-sat", "e3m4-sat"])
def test_saturating_formats_have_no_infinities(name: str) -> None:
    """The same values, and the largest one in place of what overflows."""
    fmt = parse_format(name)
    plain = parse_format(name.removesuffix("-sat"))
    assert isinstance(fmt, Format)
    assert isinstance(plain, Format)
    assert (fmt.name, fmt.largest, fmt.overflow) == (f"{plain.name}-sat", plain.largest, float(plain.largest))
    assert plain.holds(fmt)
    assert fmt.holds(plain) == (not plain.infinities)
    assert fmt.holds(fmt)
    assert fmt.dtype is None


def test_one_format_holds_another_if_it_has_all_its_values() -> None:
    """Precision, range, subnormals and infinities all count."""
    order = [FLOAT8_E5M2, FLOAT16, TF32, FLOAT32, FLOAT64]
    for number, wide in enumerate(order):
        assert [wide.holds(fmt) for fmt in order] == [True] * (number + 1) + [False] * (4 - number)
    assert TF32.holds(BFLOAT16)
    assert not FLOAT16.holds(BFLOAT16)
    assert not BFLOAT16.holds(FLOAT16)
    assert FLOAT16.holds(FLOAT8_E4M3FN)
    assert not FLOAT8_E4M3FN.holds(Format(name="e2m1", precision=2, exponent_bits=2))


@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [(FLOAT16, np.float16), (BFLOAT16, np.float32), (TF32, np.float32), (FLOAT8_E4M3FN, np.float32),
     (Format(name="e9m3", precision=4, exponent_bits=9), np.float64)],
)  # fmt: skip
def test_storage_is_a_numpy_type_that_holds_the_values(fmt: Format, dtype: type) -> None:
    """A format's own type, else float32, else float64; its largest and smallest values survive."""
    assert fmt.storage == np.dtype(dtype)
    for value in (fmt.largest, fmt.smallest_subnormal):
        assert mpq(float(fmt.storage.type(float(value)))) == value


@pytest.mark.parametrize("name", list(BINARY))
def test_formats_are_found_by_name(name: str) -> None:
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
    "name",
    [
        "float8", "", "mpmath", "mpmath0", "mpmath(dps=-3)", "float16 ; x", "mpmath9999999", "e1m3", "e12m1",
        "e5m0", "e5m53", "e5m3fn", "exact-sat", "mpmath50-sat", "float16-sat-sat", "e99999m1",
    ],
)  # fmt: skip
def test_unknown_names_are_refused_with_the_choices(name: str) -> None:
    """The error says what there is."""
    with pytest.raises(ConfigError, match=r"float16, bfloat16, tf32, float32|dps from 1 to|2 to 11 exponent"):
        parse_format(name)
