"""Sums and products of every format in every mode, against integers and against other libraries.

A thousand and some pairs per operation and format by default; a million with
``HYPOTHESIS_PROFILE=thorough``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from stability.arithmetic import add, multiply
from stability.formats import (
    BFLOAT16,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    Format,
    parse_format,
)
from stability.rounding import MODES, Mode, round_floats
from tests.stability.slow_arithmetic import (
    all_values,
    draw_pairs,
    exact,
    exact_product,
    exact_sum,
    same_values,
    slow,
)

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
PAIRS = 1_000_000 if THOROUGH else 1500
JUDGED = 2_000_000 if THOROUGH else 200_000


def named(name: str) -> Format:
    """A binary format."""
    fmt = parse_format(name)
    assert isinstance(fmt, Format)
    return fmt


FORMATS = [
    FLOAT16, BFLOAT16, TF32, FLOAT32, FLOAT64, FLOAT8_E4M3FN, FLOAT8_E5M2,
    *(named(name) for name in (
        "float8_e4m3fn-sat", "float8_e5m2-sat", "float16-sat", "e2m1", "e3m2", "e4m3", "e5m7", "e6m9",
        "e8m25", "e10m40", "e11m3", "e11m30",
    )),
]  # fmt: skip
MIXED = [
    (FLOAT16, FLOAT32, FLOAT16), (FLOAT32, BFLOAT16, FLOAT8_E5M2), (FLOAT64, FLOAT64, FLOAT16),
    (FLOAT64, FLOAT8_E4M3FN, FLOAT32), (FLOAT8_E5M2, FLOAT16, FLOAT64),
    (FLOAT64, FLOAT64, named("e5m10-sat")),
]  # fmt: skip
OPERATIONS = {"add": (add, exact_sum), "multiply": (multiply, exact_product)}
JUDGES: dict[str, Any] = {
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "e4m3": ml_dtypes.float8_e4m3,
}


def random_words(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint64]:
    """32 random bits each, the extremes among them."""
    words = rng.integers(0, 2**32, size=count, dtype=np.uint64)
    return np.where(rng.random(count) < 0.2, rng.choice([0, 1, 2**31, 2**32 - 1], size=count), words).astype(
        np.uint64
    )


def hold_to_integers(
    operation: str, left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], fmt: Format
) -> None:
    """All modes of one operation on arrays of operands, against the slow definition."""
    fast, by_hand = OPERATIONS[operation]
    bits = random_words(np.random.default_rng(2), len(left))
    exacts = [by_hand(x, y) for x, y in zip(left.tolist(), right.tolist(), strict=True)]
    expected = slow(exacts, fmt, MODES, bits.tolist())
    for mode in MODES:
        assert same_values(fast(left, right, fmt, mode, bits), expected[mode]), (fmt.name, mode)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_operations_equal_their_definition_in_integers(fmt: Format, operation: str) -> None:
    """Random operands of one format: subnormals, ties, overflow, inf, nan and both zeros, in every mode."""
    left, right = draw_pairs(np.random.default_rng(1), fmt, fmt, PAIRS)
    hold_to_integers(operation, left, right, fmt)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("formats", MIXED, ids=lambda formats: "-".join(fmt.name for fmt in formats))
def test_operands_may_have_other_formats(formats: tuple[Format, Format, Format], operation: str) -> None:
    """The result is rounded once, however many more bits its operands have."""
    left, right = draw_pairs(np.random.default_rng(1), *formats[:2], PAIRS)
    hold_to_integers(operation, left, right, formats[2])


@pytest.mark.parametrize("fmt", [FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT8_E4M3FN.saturated()], ids=lambda f: f.name)
def test_all_pairs_of_fp8(fmt: Format) -> None:
    """Every pair of values of a format of eight bits, nearest and stochastic; ml_dtypes agrees."""
    values = all_values(fmt)
    left, right = (each.reshape(-1) for each in np.meshgrid(values, values))
    bits = random_words(np.random.default_rng(0), len(left))
    for fast, by_hand in OPERATIONS.values():
        exacts = [by_hand(x, y) for x, y in zip(left.tolist(), right.tolist(), strict=True)]
        modes: tuple[Mode, ...] = MODES if THOROUGH else ("nearest", "stochastic")
        expected = slow(exacts, fmt, modes, bits.tolist())
        for mode in modes:
            assert same_values(fast(left, right, fmt, mode, bits), expected[mode])
    if fmt.name in JUDGES:
        assert len(np.unique(values.astype(JUDGES[fmt.name]).view(np.uint8))) >= 250
        for operation in OPERATIONS:
            judge_operation(operation, left, right, fmt)


def judge_operation(
    operation: str, left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], fmt: Format
) -> None:
    """One operation to nearest, against the type of another library."""
    ufunc: Callable[[Any, Any], Any] = getattr(np, operation)
    dtype = JUDGES[fmt.name]
    with np.errstate(all="ignore"):
        expected = ufunc(left.astype(dtype), right.astype(dtype)).astype(np.float64)
    assert same_values(OPERATIONS[operation][0](left, right, fmt), expected)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", JUDGES)
def test_numpy_and_ml_dtypes_agree(name: str, operation: str) -> None:
    """Rounded to nearest, sums and products are those of the library that has the type."""
    fmt = named(name)
    judge_operation(operation, *draw_pairs(np.random.default_rng(4), fmt, fmt, JUDGED), fmt)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "e4m3"])
def test_scalars_of_other_libraries_agree(name: str) -> None:
    """A dot product step of scalars, one operation at a time: no array code, no fused operation."""
    fmt, dtype = named(name), JUDGES[name]
    left, right = draw_pairs(np.random.default_rng(5), fmt, fmt, 2000)
    totals, _ = draw_pairs(np.random.default_rng(6), fmt, fmt, 2000)
    ours = add(totals, multiply(left, right, fmt), fmt)
    with np.errstate(all="ignore"):
        theirs = [float(dtype(t) + dtype(x) * dtype(y)) for t, x, y in zip(totals, left, right, strict=True)]
    assert same_values(ours, np.array(theirs))


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_floats_are_rounded_by_the_definition(fmt: Format) -> None:
    """float32 and float64 arrays, in every mode: one rounding of the value."""
    rng = np.random.default_rng(7)
    values, _ = draw_pairs(rng, FLOAT64, FLOAT64, PAIRS)
    near = rng.random(PAIRS) < 0.7
    small, _ = draw_pairs(rng, fmt, fmt, PAIRS)
    with np.errstate(all="ignore"):
        values = np.where(
            near, small * rng.choice([0.5, 0.75, 1.5, 1 + 2.0**-20, 1 + 2.0**-50], PAIRS), values
        )
        singles = values.astype(np.float32)
    bits = random_words(rng, PAIRS)
    for array in (values, singles):
        exacts = [exact(v) if np.isfinite(v) and v != 0 else v for v in array.astype(np.float64).tolist()]
        for mode, expected in slow(exacts, fmt, MODES, bits.tolist()).items():
            assert same_values(round_floats(array, fmt, mode, bits), expected), mode


def test_stochastic_rounding_is_unbiased() -> None:
    """Over all random bits the mean is the value, and a value of the format stays as it is."""
    bits = (np.arange(2**14, dtype=np.uint64) << np.uint64(18)) + np.uint64(1)
    for share in (0.0, 0.25, 0.7, 2.0**-12):
        value = np.full(bits.shape, 1 + share * 2.0**-10)
        assert round_floats(value, FLOAT16, "stochastic", bits).mean() == pytest.approx(
            value[0], abs=2.0**-23
        )
