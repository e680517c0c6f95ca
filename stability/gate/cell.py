"""What a gate knows of a cell: its keys, which tell it apart, and its measures, which are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stability.experiment.work import BROKEN, DIED
from stability.gate.rules import Number, number
from stability.reference import UNCERTIFIED

GROUP_KEYS = (
    "program", "parameters", "config", "conditional", "target", "activation", "format", "order", "engine",
    "length",
)  # fmt: skip
"""What seeds have in common: the unit of comparison."""
CELL_KEYS = (*GROUP_KEYS, "seed")
SETTINGS = ("step_form", "complement", "mu", "lam")
STATUSES = ("ok", "overflow", "nan")
REFERENCES = ("right", "unjudged", "uncertified", "wrong")
REFERENCE_RANKS = dict(zip(REFERENCES, (0, 0, 1, 2), strict=True))
VALUES = (
    "error", "settings", "model_hash", "reference", "status", "first_bad", "significant_bits", "horizon",
    "wrong_share", "abs_error", "bits",
)  # fmt: skip
DIGITS = 9
"""Significant digits of errors, decimals of bits: further ones depend on a machine's logarithm."""

LONGEST_ERROR = 1_000
"""Characters of an error that are kept."""

CellKey = tuple[str | int, ...]
"""The values of :data:`CELL_KEYS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCell:
    """One cell, of a baseline or of a fresh run.

    Attributes:
        keys: by name, those of :data:`CELL_KEYS`.
        error: why it could not be compiled or run; empty where it was.
        unexpected: whether that was a failure, not a refusal.
        settings: the factors as lowering settled them, ``step_form=clip …``.
        model_hash: of the compiled model.
        bits: hash of all outputs and statuses.
        reference: ``right`` or ``wrong`` against the oracle, ``unjudged`` without one, or
            ``uncertified``.
        status: the worst of the run, ``ok``, ``overflow`` or ``nan``.
        first_bad: the first step that is not ok.
        significant_bits: the fewest at any sampled step.
        horizon: the first wrong step; ``None`` for none within the prompt.
        wrong_share: of all steps.
        abs_error: the largest at any sampled step.
    """

    keys: Mapping[str, Any]
    error: str = ""
    unexpected: bool = False
    settings: str = ""
    model_hash: str = ""
    bits: str = ""
    reference: str = "right"
    status: str = "ok"
    first_bad: int | None = None
    significant_bits: float = 0.0
    horizon: int | None = None
    wrong_share: float = 0.0
    abs_error: float = 0.0

    @property
    def key(self) -> CellKey:
        """What tells it apart from all others."""
        return tuple(self.keys[name] for name in CELL_KEYS)

    @property
    def group(self) -> CellKey:
        """What it shares with its other seeds."""
        return tuple(self.keys[name] for name in GROUP_KEYS)

    @property
    def finite(self) -> bool:
        """Whether nothing overflowed or became nan."""
        return self.status == STATUSES[0] and not math.isinf(self.abs_error)

    def value(self, measure: str) -> Number:
        """A measure that has an order, as a number to compare.

        A horizon beyond the prompt is its length.  Of two bad statuses the earlier is the worse.
        """
        length: int = self.keys["length"]
        match measure:
            case "horizon":
                return number(length if self.horizon is None else self.horizon)
            case "reference":
                return number(REFERENCE_RANKS[self.reference])
            case "status":
                onset = 0 if self.first_bad is None else length - self.first_bad
                return number(STATUSES.index(self.status) * (length + 1) + onset)
            case _:
                return number(getattr(self, measure))

    def shown(self, measure: str) -> str:
        """A measure as messages show it."""
        match measure:
            case "horizon":
                return "none" if self.horizon is None else f"step {self.horizon:,}"
            case "status" | "finite" if self.first_bad is not None:
                return f"{self.status} at step {self.first_bad:,}"
            case "finite":
                return self.status if self.status != STATUSES[0] else f"abs_error {self.abs_error:.6g}"
            case "model_hash" | "bits":
                return str(getattr(self, measure))[:12]
            case "error":
                return self.error or "it runs"
            case _:
                value = getattr(self, measure)
                return f"{value:.6g}" if isinstance(value, float) else str(value)


def cell_of(rows: pd.DataFrame) -> GateCell:
    """A cell from its rows.

    Args:
        rows: of one cell, as :func:`stability.experiment.read_store` gives them.
    """
    first = rows.iloc[0]
    keys = {name: int(first[name]) if name in {"seed", "length"} else str(first[name]) for name in CELL_KEYS}
    settings = " ".join(f"{name}={first[name]}" for name in SETTINGS)
    if first["error"]:
        unexpected = first["failure"] in {BROKEN, DIED}
        told = str(first["error"])[:LONGEST_ERROR]
        return GateCell(keys=keys, settings=settings, error=told, unexpected=unexpected)
    return GateCell(
        keys=keys,
        settings=settings,
        model_hash=str(first["model_hash"]),
        bits=str(first["output_hash"]),
        reference=_reference(first),
        status=STATUSES[max(STATUSES.index(each) for each in rows["status"])],
        first_bad=_whole(first["first_bad"]),
        significant_bits=round(float(rows["significant_bits"].min()), DIGITS),
        horizon=_whole(first["horizon"]),
        wrong_share=float(f"{first['wrong_share']:.{DIGITS}g}"),
        abs_error=float(f"{rows['abs_error'].max():.{DIGITS}g}"),
    )


def _reference(row: pd.Series[Any]) -> str:
    if row["reference"] == UNCERTIFIED:
        return "uncertified"
    right = row["reference_right"]
    return "unjudged" if pd.isna(right) else ("right" if right else "wrong")


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)
