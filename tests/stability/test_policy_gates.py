"""Sigmoid and tanh of policies: the definition's bits in every format and mode, to the ends of float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from stability.activations import FUNCTIONS, Function, activated, odd_pair
from stability.engines.native import soft, soft_activations
from stability.engines.native.functions import activate
from stability.engines.native.narrow import narrow_words
from stability.formats import Format
from stability.random_bits import moment_key, random_bits
from stability.rounding import MODES, Mode
from tests.stability.slow_arithmetic import same_values
from tests.stability.test_arithmetic import named

SHORT = ["bfloat16", "float8_e4m3fn", "float8_e5m2-sat", "tf32", "e5m7", "float16"]
SOFT = ["float8_e4m3fn", "float16", "float32", "float64", "e11m3", "e8m29-sat"]
MOMENT = moment_key(1, 2, 3)


def arguments(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Ordinary, saturated, tiny, huge and special ones, and those at which formats change their mind."""
    sizes = [
        rng.uniform(0, 4, count),
        rng.uniform(0, 60, count),
        rng.uniform(600, 760, count // 4),
        2.0 ** rng.uniform(-1074, 10, count),
        2.0 ** rng.uniform(-40, 1, count),
        rng.integers(0, 64, count) / 16,
    ]
    special = [0.0, np.inf, np.nan, 5e-324, 1e308, 745.2, 4000.5, 20.0, 40.0, 2.0**-60, 2.0**-500]
    found = np.concatenate([*sizes, special])
    return np.concatenate([found, -found])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", SHORT)
def test_short_activations_of_float32_are_rounded_once(name: str, function: Function) -> None:
    """The argument has the accumulator's bits, the result the format's, with no float32 between them."""
    fmt = named(name)
    with np.errstate(over="ignore"):
        values = arguments(np.random.default_rng(2), 120).astype(np.float32)
    words = narrow_words(fmt, np.dtype(np.float32))
    expected = [activated(function, float(value), fmt) for value in values]
    for block in (1, len(values)):
        assert same_values(activate(values, function, words, block=block), expected)
    assert same_values(activate(values, function, words, doubt=2.0**94), expected)


def softly(function: Function, values: npt.NDArray[np.float64], fmt: Format, mode: Mode) -> list[float]:
    """The compiled function in any format and mode; the place is the number of the value."""
    row, number, moment = soft.format_row(fmt), soft.mode_number(mode), np.uint64(MOMENT)
    tanh = function == "tanh"
    return [
        float(soft_activations.activated(value, tanh, row, number, np.uint64(place), moment))
        for place, value in enumerate(values.tolist())
    ]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", SOFT)
def test_soft_activations_equal_the_definition(name: str, function: Function) -> None:
    """Every mode, with random bits of their own; nan stays nan."""
    fmt = named(name)
    values = arguments(np.random.default_rng(3), 40)
    for mode in MODES:
        expected = [
            activated(function, value, fmt, mode, random_bits(place, MOMENT))
            for place, value in enumerate(values.tolist())
        ]
        assert same_values(softly(function, values, fmt, mode), expected), mode


@pytest.mark.parametrize("function", FUNCTIONS)
def test_pairs_round_as_the_function_does(function: Function) -> None:
    """The sum of a pair differs from the function by less than its last bit, and rounds alike."""
    row, moment = soft.format_row(named("float64")), np.uint64(MOMENT)
    for value in arguments(np.random.default_rng(4), 20).tolist():
        if value == 0 or not np.isfinite(value) or (function == "tanh" and abs(value) > 40):
            continue
        high, low, scale = odd_pair(function, value)
        for mode in ("nearest", "zero", "up", "down"):
            number = soft.mode_number(mode)
            found = soft.add_scaled(high, low, np.int64(scale), row, number, np.uint64(0), moment)
            assert found == activated(function, value, named("float64"), mode)
