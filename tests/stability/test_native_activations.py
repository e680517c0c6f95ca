"""Compiled sigmoid and tanh equal their definition bit for bit, whatever the columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stability.activations import FUNCTIONS, Function, activated
from stability.engines.native import activations
from stability.engines.native.arithmetic import AS_IT_IS, HALF_BY_HARDWARE
from stability.engines.native.engine import half_in_hardware
from stability.engines.native.functions import activate
from stability.engines.native.narrow import narrow_words
from stability.formats import FLOAT16, FLOAT32, FLOAT64, Format
from tests.stability.models import same

Floats = npt.NDArray[np.floating[Any]]
HALVES = np.arange(2**16, dtype=np.uint16)
HALF_BY_BITS = narrow_words(FLOAT16, np.dtype(np.float32))
MARKS = [HALF_BY_BITS, HALF_BY_HARDWARE] if half_in_hardware() else [HALF_BY_BITS]


def columns(values: Floats, function: Function, mark: Any = AS_IT_IS) -> Floats:
    """The function of all columns at once."""
    return activate(values, function, mark, block=len(values))


def one_by_one(values: Floats, function: Function, mark: Any = AS_IT_IS) -> Floats:
    """The function of every value by itself."""
    return activate(values, function, mark, block=1)


def carefully(values: Floats, function: Function, mark: Any = AS_IT_IS) -> Floats:
    """The function without its quick step."""
    return activate(values, function, mark, doubt=1)


def defined(values: Floats, function: Function, fmt: Format) -> Floats:
    """The function by its definition, in the type of ``values``."""
    return np.array([activated(function, float(value), fmt) for value in values], dtype=values.dtype)


def arguments(rng: np.random.Generator, count: int, dtype: type[np.floating[Any]]) -> Floats:
    """Ordinary, saturated, tiny, subnormal and special values, and small integers times powers of two."""
    info = np.finfo(dtype)
    spread = [rng.uniform(-limit, limit, count) for limit in (0.05, 1, 10, 110, 746)]
    sizes = rng.choice([-1, 1], count) * np.ldexp(rng.uniform(1, 2, count), rng.integers(-75, 11, count))
    short = np.ldexp(rng.integers(-40, 41, count).astype(float), rng.integers(-70, 2, count))
    edges = rng.choice([-103.97, -17.33, -37.43, 9.01, 19.06, -745.13], count) * rng.uniform(
        0.999, 1.001, count
    )
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        info.max,
        info.smallest_subnormal,
        -info.tiny,
        3 * 2.0**-26,
    ]
    return np.concatenate([*spread, sizes, short, edges, special]).astype(dtype)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_float16_value_has_the_right_bits(function: Function) -> None:
    """All 65,536 of them, by every kind of conversion, in columns and carefully."""
    halves = HALVES.view(np.float16)
    expected = defined(halves, function, FLOAT16)
    for mark in MARKS:
        for way in (columns, one_by_one, carefully):
            found = way(halves.astype(np.float32), function, mark)
            assert same(found.astype(np.float16), expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_bfloat16_value_has_the_right_bits_in_float32(function: Function) -> None:
    """The arguments of a 16-bit format with the exponents of float32: all 65,536."""
    values = (HALVES.astype(np.uint32) << np.uint32(16)).view(np.float32)
    assert same(columns(values, function), defined(values, function, FLOAT32))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no longer format in NumPy here")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_million_float32_values_agree_with_longer_arithmetic(function: Function) -> None:
    """NumPy's long double decides all but a few, the definition these; all bit patterns take part."""
    rng = np.random.default_rng(1)
    words = rng.integers(0, 2**32, 500_000, dtype=np.uint64).astype(np.uint32)
    values = np.concatenate([words.view(np.float32), arguments(rng, 62_500, np.float32)])
    values = values[np.isfinite(values)]
    long = values.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        exact = np.tanh(long) if function == "tanh" else 1 / (1 + np.exp(-long))
        least, most = ((exact * (1 + sign * np.longdouble(2) ** -58)).astype(np.float32) for sign in (-1, 1))
    found, sure = columns(values, function), least == most
    assert sure.mean() > 0.999
    assert np.array_equal(found[sure], least[sure])
    assert same(found[~sure], defined(values[~sure], function, FLOAT32))


@pytest.mark.parametrize(("fmt", "dtype"), [(FLOAT32, np.float32), (FLOAT64, np.float64)])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_random_values_equal_the_definition(function: Function, fmt: Format, dtype: Any) -> None:
    """In columns, one by one and carefully: near ties, subnormal, saturated, infinite and nan."""
    values = arguments(np.random.default_rng(2), 1500, dtype)
    expected = defined(values, function, fmt)
    for way in (columns, one_by_one, carefully):
        assert same(way(values, function), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_stays_in_doubt_is_left_to_the_definition(
    function: Function, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bounds of the error so wide that nothing is certain, every value is the definition's."""
    asked: list[float] = []
    by_definition = activations._by_definition

    def seen(x: float, tanh: bool, odd: bool) -> float:
        asked.append(x)
        return by_definition(x, tanh, odd)

    monkeypatch.setattr(activations, "_by_definition", seen)
    values = np.random.default_rng(3).uniform(0.5, 8, 100).astype(dtype)
    fmt = FLOAT32 if dtype == np.float32 else FLOAT64
    assert same(activate(values, function, doubt=2.0**94), defined(values, function, fmt))
    assert asked == [float(value) for value in values]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_float16_in_doubt_is_left_to_the_definition(function: Function, mark: Any) -> None:
    """What it is asked for is cut to float64 with a sticky bit, and rounded from there once."""
    values = np.random.default_rng(3).uniform(-8, 8, 300).astype(np.float16).astype(np.float32)
    found = activate(values, function, mark, doubt=2.0**94)
    assert same(found, defined(values, function, FLOAT16))


@pytest.mark.parametrize(("fmt", "dtype"), [(FLOAT32, np.float32), (FLOAT64, np.float64)])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("count", [1, 2, 7, 64, 65, 200])
def test_blocks_of_few_values_are_short_cuts(function: Function, fmt: Format, dtype: Any, count: int) -> None:
    """One value, two, a third at the end, nan among them, and tiny ones: the same bits."""
    rng = np.random.default_rng(count)
    blocks = [
        np.full(count, 200.0), rng.choice([-128.0, 128.0], count), rng.choice([0.0, -0.0], count),
        np.append(rng.choice([1.5, -7.0], count), 0.25), np.append(rng.choice([0.5, 2.0], count), np.nan),
        rng.integers(-9, 10, count) * 2.0**-31, np.full(count, np.nan), rng.choice([np.inf, -np.inf], count),
        np.append(rng.integers(-9, 10, count) * 2.0**-31, np.nan),
    ]  # fmt: skip
    for block in blocks:
        values = block.astype(dtype)
        assert same(columns(values, function), defined(values, function, fmt))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_are_monotone_tanh_is_odd_and_sigmoids_add_up(dtype: Any) -> None:
    """Over 200,000 sorted values of all sizes; the sum of sigmoid(x) and sigmoid(−x) is 1 to a unit."""
    rng = np.random.default_rng(5)
    values = arguments(rng, 25_000, dtype)
    values = np.sort(values[np.isfinite(values)])
    for function in FUNCTIONS:
        assert (np.diff(columns(values, function)) >= 0).all()
    positive = values[values > 0]
    assert same(columns(-positive, "tanh"), -columns(positive, "tanh"))
    total = columns(values, "sigmoid") + columns(-values, "sigmoid")
    assert (np.abs(total - 1) <= np.finfo(dtype).eps).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_result_is_a_negative_zero(dtype: Any) -> None:
    """Neither tanh(−0) nor a sigmoid too small for the format."""
    values = np.array([-0.0, -0.0, -1e4, -np.inf, 0.0], dtype=dtype)
    for function in FUNCTIONS:
        for found in (columns(values, function), one_by_one(values, function), carefully(values, function)):
            assert not np.signbit(found[found == 0]).any()
