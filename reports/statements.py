"""Sentences of a report, and how they are put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.text import plain
from stability.drift import NO_CONDITIONAL

Kind = Literal[
    "overview", "compiled", "sooner", "program", "gating", "states", "growth", "failed", "overflow",
    "reference",
]  # fmt: skip

_FORMAT_WEIGHT = {"float64": 3.0, "float32": 2.0, "float16": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One thing that the frame shows.

    Attributes:
        kind: what it is about.
        text: a sentence, free of control characters but not escaped for any markup.
        weight: what to show first; larger is more important.
    """

    kind: Kind
    text: str
    weight: float = 0.0


def foremost(statements: Sequence[Statement], count: int = 8) -> list[Statement]:
    """The most important statements in order; no kind crowds out the others."""
    kept: list[Statement] = []
    for most in (3, len(statements)):
        for each in statements:
            if (
                len(kept) < count
                and each not in kept
                and sum(other.kind == each.kind for other in kept) < most
            ):
                kept.append(each)
    return sorted(kept, key=lambda each: -each.weight)


def under(conditional: str) -> str:
    """``, optimized`` for a conditional, nothing for a program without one."""
    return "" if conditional == NO_CONDITIONAL else f", {plain(conditional)}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """``a, b and c``."""
    shown = [plain(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def format_weight(name: str) -> float:
    """More for a more precise format: failures there are the more surprising."""
    return 4.0 if name.startswith("mpmath") else _FORMAT_WEIGHT.get(name, 1.0)
