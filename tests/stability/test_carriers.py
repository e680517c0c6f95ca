"""Operations of float32 or float64, rounded after the fact, equal the one rounding of a policy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numba import njit

from stability.arithmetic import add, multiply
from stability.engines.native.carriers import carrier_of
from stability.engines.native.narrow import narrow, narrow_words
from stability.formats import BFLOAT16, FLOAT32, FLOAT64, Format
from stability.policy import as_policy, parse_policy
from stability.rounding import round_floats
from tests.stability.slow_arithmetic import all_values, draw_pairs, draw_values, same_values
from tests.stability.test_arithmetic import FORMATS, THOROUGH, named

PAIRS = 2_000_000 if THOROUGH else 60_000
CARRIED = [
    "float16", "bfloat16", "tf32", "float8_e4m3fn", "float8_e5m2-sat", "e2m1", "e6m9", "e8m11",
    "float16-acc32",
    "bfloat16-acc32", "float8_e4m3fn,products=bfloat16,accumulator=bfloat16", "float16,state=float32",
    "float16,weights=float8_e5m2,state=float8_e4m3fn", "float32-acc64", "bfloat16,input=float8_e5m2",
]  # fmt: skip


def carried(
    operation: Any, pair: tuple[npt.NDArray[Any], npt.NDArray[Any]], fmt: Format, wide: Format
) -> npt.NDArray[np.float64]:
    """An operation of the carrier, rounded to a format."""
    left, right = (each.astype(wide.storage) for each in pair)
    with np.errstate(all="ignore"):
        return round_floats(operation(left, right), fmt)


@pytest.mark.parametrize("name", CARRIED)
def test_what_a_carrier_does_and_rounds_is_right(name: str) -> None:
    """Sums of two accumulators' values, and products of every pair of formats that a policy multiplies."""
    policy = as_policy(parse_policy(name))
    wide, total = carrier_of(policy), policy.accumulator
    assert wide is not None
    assert isinstance(total, Format)
    rng = np.random.default_rng(3)
    pair = draw_pairs(rng, total, total, PAIRS)
    assert same_values(carried(np.add, pair, total, wide), add(*pair, total))
    read, shares = {policy.input, policy.activations, policy.state}, {policy.activations, total}
    factors = {*itertools.product([policy.weights], read), *itertools.product(shares, read - {policy.input})}
    factors.add((policy.activations, total))
    for left, right in factors:
        assert isinstance(left, Format)
        assert isinstance(right, Format)
        pair = draw_pairs(rng, left, right, PAIRS)
        assert same_values(carried(np.multiply, pair, total, wide), multiply(*pair, total))


@pytest.mark.parametrize("fmt", [named("float8_e4m3fn"), named("float8_e5m2")], ids=lambda fmt: fmt.name)
def test_all_pairs_of_fp8_are_carried(fmt: Format) -> None:
    """Every sum and product of two values of eight bits, by float32."""
    values = all_values(fmt)
    left, right = np.repeat(values, len(values)), np.tile(values, len(values))
    assert same_values(carried(np.add, (left, right), fmt, FLOAT32), add(left, right, fmt))
    assert same_values(carried(np.multiply, (left, right), fmt, FLOAT32), multiply(left, right, fmt))


def test_all_subnormal_products_of_bfloat16_are_carried() -> None:
    """All pairs of significands, at the exponents around the smallest numbers of both formats."""
    significands = np.arange(128.0, 256.0)
    left, right = (each.reshape(-1) for each in np.meshgrid(significands, significands))
    for exponent in range(-152, -132):
        pair = np.ldexp(left, -75), np.ldexp(right, exponent + 60)
        assert same_values(carried(np.multiply, pair, BFLOAT16, FLOAT32), multiply(*pair, BFLOAT16))


def test_what_would_be_rounded_twice_is_not_carried() -> None:
    """A sum in float32 of what float16 then rounds; tf32's products below the normal numbers; directions."""
    tf32 = named("tf32")
    close = np.array([987 * 2.0**-76]), np.array([83 * 2.0**-75])  # just above 2.5 times the smallest number
    assert multiply(*close, tf32)[0] == 3 * 2.0**-136
    assert carried(np.multiply, close, tf32, FLOAT32)[0] == 2 * 2.0**-136
    wide = {
        "tf32": FLOAT64, "float64,state=bfloat16": FLOAT64, "float32,accumulator=float16": None,
        "float16,rounding=up": None, "e8m27": None,
    }  # fmt: skip
    assert {name: carrier_of(as_policy(parse_policy(name))) for name in wide} == wide


@njit
def narrowed(values: Any, found: Any, words: Any) -> None:
    """All values, one by one."""
    for n in range(len(values)):
        found[n] = narrow(values[n], words)  # type: ignore[call-arg]


@pytest.mark.parametrize("wide", [FLOAT32, FLOAT64], ids=lambda fmt: fmt.name)
def test_bits_are_narrowed_as_arrays_are_rounded(wide: Format) -> None:
    """float32 and float64 to every format that they hold: ties, subnormals, overflow, inf and nan."""
    rng = np.random.default_rng(5)
    for fmt in FORMATS:
        if not wide.holds(fmt):
            continue
        values = draw_values(rng, wide, PAIRS)
        with np.errstate(over="ignore"):
            near = draw_values(rng, fmt, PAIRS) * rng.choice([1, 1.5, 1.25, 0.75, 1 + 2.0**-20], PAIRS)
            values = np.where(rng.random(PAIRS) < 0.5, near, values).astype(wide.storage)
        found = np.empty_like(values)
        narrowed(values, found, narrow_words(fmt, wide.storage))
        assert same_values(found, round_floats(values, fmt)), fmt.name
