"""The rules of a gate: what each measure of a cell may do between a baseline and a fresh run.

=================== ===================== ==============================================
measure             better is             rules
=================== ===================== ==============================================
significant_bits    more                  ``drop <= X``, ``ratio >= X``, ``never worse``
horizon             later                 the same
wrong_share         less                  ``rise <= X``, ``ratio <= X``, ``never worse``
abs_error           less                  the same
status              ok, overflow, nan;    ``never worse``
                    the first bad step
                    later
reference           right or unjudged,    ``never worse``
                    uncertified, wrong
settings            (none)                ``same``
model_hash          (none)                ``same``
bits                (none)                ``identical``
=================== ===================== ==============================================

Every measure can be ``off``.  Numbers are compared as the decimals that they are written as,
so that 10.2 − 9.2 is 1.  What is better or equal holds under every rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, assert_never

from compiler.errors import ConfigError

MORE, LESS, EXACT = "more", "less", "exact"
MEASURES: Mapping[str, str] = {
    "settings": EXACT, "model_hash": EXACT, "reference": LESS, "status": LESS, "significant_bits": MORE,
    "horizon": MORE, "wrong_share": LESS, "abs_error": LESS, "bits": EXACT,
}  # fmt: skip
"""Which way is better, in the order of causes: what comes first explains what follows."""
RANKED = ("reference", "status")
"""Measures whose values are ranks, not numbers: no differences, no ratios, no medians."""
NUMBERS = tuple(name for name, better in MEASURES.items() if better != EXACT and name not in RANKED)
LIMIT = re.compile(r"(drop|rise|ratio) *(<=|>=) *([0-9]{1,15}(?:\.[0-9]{1,15})?(?:e-?[0-9]{1,2})?)", re.ASCII)
DEFAULTS: Mapping[str, str] = {
    "settings": "same", "model_hash": "off", "reference": "never worse", "status": "never worse",
    "significant_bits": "drop <= 1.0", "horizon": "ratio >= 0.9", "wrong_share": "rise <= 0",
    "abs_error": "ratio <= 2", "bits": "off",
}  # fmt: skip
"""The rules of measures that a configuration does not name."""

Number = Fraction | float
"""A decimal, or an infinity."""
Kind = Literal["drop", "rise", "at least", "at most", "never worse", "same", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one measure may do.

    Attributes:
        text: as it is written.
        kind: ``drop``, ``rise``, ``at least`` and ``at most`` (ratios new/old), ``never worse``,
            ``same`` or ``off``.
        limit: of the first four.
    """

    text: str
    kind: Kind
    limit: Fraction = Fraction(0)


def choices(measure: str) -> tuple[str, ...]:
    """The rules that a measure takes, as they are written."""
    if measure in RANKED:
        return ("never worse", "off")
    if MEASURES[measure] == EXACT:
        return ("same", "identical", "off")
    if MEASURES[measure] == MORE:
        return ("drop <= 1.0", "ratio >= 0.9", "never worse", "off")
    return ("rise <= 0", "ratio <= 2", "never worse", "off")


def parse_rule(measure: str, text: str) -> Rule:
    """The rule of a measure.

    Raises:
        ConfigError: none that this measure takes, or a limit that asks for an improvement.
    """
    plain = " ".join(text.split())
    if plain in {"off", "never worse", "same", "identical"} and plain in choices(measure):
        kinds: dict[str, Kind] = {"off": "off", "never worse": "never worse"}
        return Rule(text=plain, kind=kinds.get(plain, "same"))
    found = LIMIT.fullmatch(plain)
    if found is not None and measure in NUMBERS:
        limit, more = Fraction(found[3]), MEASURES[measure] == MORE
        known: dict[tuple[str, str, bool], tuple[Kind, bool]] = {
            ("drop", "<=", True): ("drop", True),
            ("rise", "<=", False): ("rise", True),
            ("ratio", ">=", True): ("at least", 0 < limit <= 1),
            ("ratio", "<=", False): ("at most", limit >= 1),
        }
        kind, sound = known.get((found[1], found[2], more), ("off", False))
        if sound:
            return Rule(text=plain, kind=kind, limit=limit)
    raise ConfigError.single(
        f"no rule for {measure}", hint="one of " + ", ".join(f'"{each}"' for each in choices(measure))
    )


def holds(rule: Rule, old: Number, new: Number, *, better: str) -> bool:
    """Whether a number may go from ``old`` to ``new``.

    Args:
        rule: of a measure that has numbers or ranks.
        old: of the baseline.
        new: of the fresh run.
        better: ``more`` or ``less``.
    """
    if new == old or (new > old) == (better == MORE):
        return True
    match rule.kind:
        case "off":
            return True
        case "drop" | "rise":
            return old - rule.limit <= new <= old + rule.limit
        case "at least":
            return new >= rule.limit * old
        case "at most":
            return not math.isinf(new) and new <= rule.limit * old
        case "never worse" | "same":
            return False
    assert_never(rule.kind)


def number(value: float) -> Number:
    """A number as the decimal that it is written as."""
    return value if math.isinf(value) else Fraction(repr(value))
