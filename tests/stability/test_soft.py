"""Compiled integer arithmetic equals the arithmetic of arrays, in every format and mode."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from stability.arithmetic import add, multiply
from stability.engines.native import soft
from stability.formats import Format
from stability.random_bits import moment_key, random_bits
from stability.rounding import MODES, round_floats
from tests.stability.slow_arithmetic import draw_pairs, draw_values, same_values
from tests.stability.test_arithmetic import FORMATS, MIXED, THOROUGH

PAIRS = 1_000_000 if THOROUGH else 3000
MOMENT = moment_key(3, 4, 5)
CASES = [*((fmt, fmt, fmt) for fmt in FORMATS), *MIXED]
SUM, PRODUCT, CONVERSION = range(3)


def operated(
    operation: int, pair: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], fmt: Format, mode: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint64]]:
    """A compiled operation, and the random bits of each place."""
    count = len(pair[0])
    places = np.random.default_rng(9).integers(0, 2**64, size=count, dtype=np.uint64)
    found = np.empty(count)
    row, number = soft.format_row(fmt), soft.mode_number(MODES[mode])
    soft.operate(operation, *pair, row, number, places, np.uint64(MOMENT), found)
    bits = places if MODES[mode] != "stochastic" else drawn(places)
    return found, bits


def drawn(places: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The definition's bits."""
    return np.array([random_bits(place, MOMENT) for place in places.tolist()], dtype=np.uint64)


@pytest.mark.parametrize("mode", range(len(MODES)), ids=MODES)
@pytest.mark.parametrize("formats", CASES, ids=lambda case: "-".join(dict.fromkeys(f.name for f in case)))
def test_compiled_operations_equal_those_of_arrays(formats: tuple[Format, Format, Format], mode: int) -> None:
    """Sums, products and conversions of random operands, inf, nan and both zeros included."""
    rng = np.random.default_rng(11)
    left, right, fmt = formats
    pair = draw_pairs(rng, left, right, PAIRS)
    for operation, reference in ((SUM, add), (PRODUCT, multiply)):
        found, bits = operated(operation, pair, fmt, mode)
        assert same_values(found, reference(*pair, fmt, MODES[mode], bits)), operation
    found, bits = operated(CONVERSION, pair, fmt, mode)
    assert same_values(found, round_floats(pair[0], fmt, MODES[mode], bits))


def test_operands_may_lie_any_distance_apart() -> None:
    """From 0 to 140 binary places, where one operand is only a trace of itself, in every mode."""
    rng = np.random.default_rng(12)
    fmt = FORMATS[4]
    left = np.repeat(draw_values(rng, FORMATS[0], 40), 141)
    gaps = np.tile(np.arange(141), 40).astype(np.int32)
    with np.errstate(all="ignore"):
        right = np.ldexp(rng.choice([1.0, -1.0, 1.75, -(2 - 2.0**-52)], left.size), np.frexp(left)[1] - gaps)
    for mode in range(len(MODES)):
        for target in (fmt, FORMATS[0], FORMATS[3]):
            found, bits = operated(SUM, (left, right), target, mode)
            assert same_values(found, add(left, right, target, MODES[mode], bits))


def test_compiled_bits_are_those_of_the_definition() -> None:
    """The same hash as in Python."""
    for place, moment in ((0, 0), (2**64 - 1, 5), (123456789, MOMENT)):
        assert soft.draw(np.uint64(place), np.uint64(moment)) == random_bits(place, moment)
