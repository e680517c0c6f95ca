"""The rules of a gate: what they are called, and what they let pass."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import ConfigError
from stability.gate.rules import (
    DEFAULTS,
    EXACT,
    MEASURES,
    NUMBERS,
    RANKED,
    choices,
    holds,
    number,
    parse_rule,
)

DECIMALS = st.decimals(0, 1000, places=3).map(float)


def passes(measure: str, text: str, old: float, new: float) -> bool:
    """Whether a rule of a measure lets it go from one value to another."""
    return holds(parse_rule(measure, text), number(old), number(new), better=MEASURES[measure])


@pytest.mark.parametrize(
    ("measure", "text", "old", "new", "expected"),
    [
        ("significant_bits", "drop <= 1.0", 10.2, 9.2, True),
        ("significant_bits", "drop <= 1.0", 10.2, 9.199, False),
        ("significant_bits", "never worse", 10.2, 10.199, False),
        ("significant_bits", "off", 10.2, 0.0, True),
        ("horizon", "ratio >= 0.9", 100, 90, True),
        ("horizon", "ratio >= 0.9", 100, 89, False),
        ("horizon", "ratio >= 0.9", 0, 0, True),
        ("wrong_share", "rise <= 0", 0.25, 0.25, True),
        ("wrong_share", "rise <= 0", 0.25, 0.251, False),
        ("wrong_share", "rise<=0.01", 0.25, 0.26, True),
        ("abs_error", "ratio <= 2", 0.1, 0.2, True),
        ("abs_error", "ratio <= 2", 0.1, 0.201, False),
        ("abs_error", "ratio <= 2", 0.0, 1e-9, False),
        ("abs_error", "rise <= 1e-3", 0.0, 0.001, True),
        ("abs_error", "ratio <= 2", float("inf"), float("inf"), True),
        ("abs_error", "ratio <= 2", 0.1, float("inf"), False),
        ("abs_error", "rise <= 5", 0.1, float("inf"), False),
    ],
)
def test_a_rule_holds_up_to_its_limit(
    measure: str, text: str, old: float, new: float, *, expected: bool
) -> None:
    """A limit is met exactly, in decimals, and broken by the next digit."""
    assert passes(measure, text, old, new) is expected


@given(st.sampled_from(NUMBERS), st.data(), DECIMALS, DECIMALS)
def test_no_rule_forbids_to_become_better(measure: str, data: st.DataObject, old: float, new: float) -> None:
    """Equal or better values hold under every rule of a measure."""
    text = data.draw(st.sampled_from(choices(measure)))
    worse, fine = sorted((old, new)) if MEASURES[measure] == "more" else sorted((old, new), reverse=True)
    assert passes(measure, text, worse, fine)


@given(st.sampled_from(NUMBERS), st.data(), DECIMALS, DECIMALS, DECIMALS)
def test_what_is_worse_than_broken_is_broken(
    measure: str, data: st.DataObject, old: float, one: float, other: float
) -> None:
    """A rule that a value breaks is broken by every worse one."""
    text = data.draw(st.sampled_from(choices(measure)))
    worse, fine = sorted((one, other)) if MEASURES[measure] == "more" else sorted((one, other), reverse=True)
    assert passes(measure, text, old, fine) or not passes(measure, text, old, worse)


def test_the_measures_are_of_three_kinds() -> None:
    """Every measure has a default that it takes, and is a number, a rank or exact."""
    assert DEFAULTS.keys() == MEASURES.keys()
    for measure, better in MEASURES.items():
        assert (measure in NUMBERS) + (measure in RANKED) + (better == EXACT) == 1
        for text in (DEFAULTS[measure], *choices(measure)):
            assert parse_rule(measure, text).text == text


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        ("significant_bits", "rise <= 1"),
        ("significant_bits", "drop >= 1"),
        ("significant_bits", "drop <= -1"),
        ("significant_bits", "drop <= nan"),
        ("horizon", "ratio >= 1.5"),
        ("horizon", "ratio >= 0"),
        ("abs_error", "ratio <= 0.5"),
        ("abs_error", "ratio >= 2"),
        ("status", "drop <= 1"),
        ("status", "same"),
        ("bits", "never worse"),
        ("model_hash", "rise <= 0"),
        ("wrong_share", ""),
        ("wrong_share", "rise <= " + "9" * 400),
    ],
)
def test_a_rule_that_a_measure_does_not_take_is_refused(measure: str, text: str) -> None:
    """Rules of the other direction, and those that ask for an improvement, are refused with the choices."""
    with pytest.raises(ConfigError, match="no rule for") as caught:
        parse_rule(measure, text)
    assert all(each in str(caught.value) for each in choices(measure))


def test_numbers_are_decimals() -> None:
    """0.1 is a tenth, and an infinity stays one."""
    assert number(0.1) == Fraction(1, 10)
    assert number(float("inf")) == float("inf")
