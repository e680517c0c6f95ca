"""When a cell of an experiment counts as drifted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from stability.experiment.places import Key
from stability.experiment.reading import Findings, known_keys, number_of, table_of, whole_of

MAX_HORIZON = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """A cell is beyond them if one of its measures is; ``None`` leaves a measure out.

    They decide nothing about what is measured: reports and summaries read them.

    Attributes:
        wrong_share: largest share of wrong steps, in [0, 1].
        horizon: least index of the first wrong step; a cell without one passes.
        significant_bits: fewest bits at any sampled step.
    """

    wrong_share: float | None = None
    horizon: int | None = None
    significant_bits: float | None = None

    def beyond(self, rows: pd.DataFrame) -> pd.Series[bool]:
        """Which rows break one; rows of cells that could not be run do not.

        Args:
            rows: drift rows.
        """
        broken = pd.Series(data=False, index=rows.index)
        if self.wrong_share is not None:
            broken |= rows["wrong_share"] > self.wrong_share
        if self.horizon is not None:
            broken |= (rows["horizon"] < self.horizon).fillna(value=False).astype(bool)
        if self.significant_bits is not None:
            broken |= rows["significant_bits"] < self.significant_bits
        return broken & (rows["error"] == "")


def thresholds_of(findings: Findings, value: Any) -> Thresholds:
    """The table ``[thresholds]``."""
    key: Key = ("thresholds",)
    table = table_of(findings, key, value)
    known_keys(findings, key, table, [field.name for field in fields(Thresholds)])
    horizon = table.get("horizon")
    if horizon is not None:
        horizon = whole_of(findings, (*key, "horizon"), horizon, 0, MAX_HORIZON)
    return Thresholds(
        wrong_share=_share(findings, (*key, "wrong_share"), table.get("wrong_share"), 1.0),
        horizon=horizon,
        significant_bits=_share(findings, (*key, "significant_bits"), table.get("significant_bits"), 1e6),
    )


def _share(findings: Findings, key: Key, value: Any, most: float) -> float | None:
    """A number in [0, most], if there is one."""
    text = None if value is None else number_of(findings, key, value)
    if text is None:
        return None
    numerator, _, denominator = text.partition("/")
    number = float(numerator) / float(denominator or 1)
    if not 0 <= number <= most:
        findings.wrong(key, value, "out of bounds", f"from 0 to {most:g}")
        return None
    return number
