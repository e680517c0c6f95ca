"""How long noisy models stay right: horizons over several seeds, with intervals.

A run of T tokens without a wrong one tells that its horizon is beyond T, and no more
(censored on the right).  All runs of a cell have the same T, so the Kaplan–Meier median is
an order statistic of the horizons, with those beyond T last, and so are the ends of its
interval: no distribution is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

LEVEL = 0.95
FOUND = ("runs", "failed", "median", "low", "high", "coverage", "chance_low", "chance_high", "wrong_share")
CELL = (
    "program", "parameters", "target", "activation", "format", "config", "conditional", "kind", "include",
    "states", "sigma", "length",
)  # fmt: skip
"""What the runs of a cell have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """The median of horizons; ``None`` stands for beyond T.

    Attributes:
        runs: how many there are.
        failed: how many have a wrong token.
        value: the Kaplan–Meier median: the first step by which half of the runs have failed.
        low: lower end of its interval.
        high: upper end.
        coverage: the probability that such an interval holds the true median: the least that is
            :data:`LEVEL` or more, or that of the widest interval where there are too few runs.
    """

    runs: int
    failed: int
    value: int | None
    low: int | None
    high: int | None
    coverage: float


def median_horizon(horizons: Sequence[int | None]) -> Median:
    """The median horizon of runs of equal length, and its exact interval.

    Args:
        horizons: the first wrong step of each run, ``None`` where there is none.

    Raises:
        ValueError: no runs.
    """
    if not horizons:
        raise ValueError("the median of no runs")
    runs = len(horizons)
    known = sorted(horizon for horizon in horizons if horizon is not None)
    ordered: list[int | None] = [*known, *[None] * (runs - len(known))]
    first, coverage = 1, _coverage(runs, 1)
    while 2 * (first + 1) <= runs + 1 and (narrower := _coverage(runs, first + 1)) >= LEVEL:
        first, coverage = first + 1, narrower
    return Median(
        runs=runs,
        failed=len(known),
        value=ordered[(runs - 1) // 2],
        low=ordered[first - 1],
        high=ordered[runs - first],
        coverage=coverage,
    )


def _coverage(runs: int, first: int) -> float:
    """P that the median of a continuous law lies between order statistics ``first`` and runs + 1 − first."""
    return max(0.0, 1 - 2 * _binomial(runs, 0.5, range(first)))


def failure_chance(failed: int, runs: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval (Clopper and Pearson) of the chance that a run fails within T.

    Args:
        failed: runs that failed.
        runs: all runs, at least 1.
        level: its confidence.
    """
    tail = (1 - level) / 2

    low, high = 0.0, 1.0
    if failed > 0:
        low = _crossing(lambda chance: _binomial(runs, chance, range(failed, runs + 1)) < tail)
    if failed < runs:
        high = _crossing(lambda chance: _binomial(runs, chance, range(failed + 1)) > tail)
    return low, high


def _binomial(runs: int, chance: float, counts: range) -> float:
    """P that one of ``counts`` of ``runs`` fail, each with a chance strictly between 0 and 1."""
    yes, no = math.log(chance), math.log1p(-chance)
    whole = math.lgamma(runs + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(runs - k + 1) + k * yes + (runs - k) * no)
        for k in counts
    )


def _crossing(before: Callable[[float], bool]) -> float:
    """Where ``before`` turns from true to false in [0, 1]."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return low


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of a noise frame.

    Args:
        frame: from :func:`stability.noise.noise`.

    Returns:
        The columns of :data:`CELL`; ``runs`` and ``failed``; ``median``, ``low`` and ``high``
        (Int64, missing beyond the cell's length) with their ``coverage``; ``chance_low`` and
        ``chance_high`` of failing within the length; ``wrong_share``, the median over runs.
        Runs that have an error are left out.
    """
    rows = []
    ran = frame[frame["error"] == ""]
    for key, cell in ran.groupby(list(CELL), sort=False):
        found = median_horizon([None if pd.isna(each) else int(each) for each in cell["horizon"]])
        low, high = failure_chance(found.failed, found.runs)
        rows.append(
            dict(zip(CELL, key, strict=True))
            | {
                "runs": found.runs,
                "failed": found.failed,
                "median": found.value,
                "low": found.low,
                "high": found.high,
                "coverage": found.coverage,
                "chance_low": low,
                "chance_high": high,
                "wrong_share": float(cell["wrong_share"].median()),
            }
        )
    table = pd.DataFrame(rows, columns=[*CELL, *FOUND])
    return table.astype(dict.fromkeys(("median", "low", "high"), "Int64"))
