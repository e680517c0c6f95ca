"""Medians of censored horizons and their intervals are the exact ones."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest
from scipy.stats import binomtest

from stability.noise_horizons import CELL, FOUND, failure_chance, median_horizon, summarise


def kaplan_meier(horizons: list[int | None]) -> int | None:
    """The first time at which at most half survive, by the product of survivals."""
    alive = 1.0
    for time in sorted({each for each in horizons if each is not None}):
        at_risk = sum(each is None or each >= time for each in horizons)
        alive *= 1 - horizons.count(time) / at_risk
        if alive <= 0.5 + 1e-12:
            return time
    return None


@pytest.mark.parametrize("runs", range(1, 6))
def test_the_median_is_that_of_kaplan_and_meier(runs: int) -> None:
    """For every pattern of few horizons, ties and censored ones among them."""
    for pattern in itertools.product([3, 7, 9, None], repeat=runs):
        found = median_horizon(pattern)
        assert found.value == kaplan_meier(list(pattern))
        assert (found.runs, found.failed) == (runs, runs - pattern.count(None))


@pytest.mark.parametrize(
    ("runs", "low", "high", "coverage"),
    [(1, 1, 1, 0.0), (5, 1, 5, 0.9375), (6, 1, 6, 0.96875), (10, 2, 9, 0.978516), (20, 6, 15, 0.958611)],
)
def test_intervals_are_those_of_the_tables(runs: int, low: int, high: int, coverage: float) -> None:
    """Ends and coverage are the known ones of the sign test, the widest interval for few runs."""
    found = median_horizon(range(1, runs + 1))
    assert (found.low, found.high) == (low, high)
    assert found.coverage == pytest.approx(coverage, abs=1e-6)


def test_what_is_beyond_the_prompt_is_told_as_such() -> None:
    """With most runs unhurt, the median and the upper end are beyond T; with all, the lower end too."""
    some = median_horizon([None, 12, None, None, 5])
    assert (some.value, some.low, some.high) == (None, 5, None)
    unhurt = median_horizon([None] * 5)
    assert (unhurt.value, unhurt.low, unhurt.high, unhurt.failed) == (None, None, None, 0)
    with pytest.raises(ValueError, match="no runs"):
        median_horizon([])


@pytest.mark.parametrize("runs", [1, 5, 40, 2000])
def test_the_chance_of_failure_is_bounded_as_by_clopper_and_pearson(runs: int) -> None:
    """The interval is SciPy's, for no failures, for some and for failures only."""
    for failed in {0, runs // 3, runs}:
        wanted = binomtest(failed, runs).proportion_ci(confidence_level=0.95, method="exact")
        assert failure_chance(failed, runs) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_a_frame_is_summed_up_by_cell() -> None:
    """One row per cell, medians over its runs, and runs with an error are not runs."""
    key: dict[str, object] = {**dict.fromkeys(CELL, "x"), "sigma": 0.1, "length": 50}
    results = [(9, 0.5, ""), (20, 0.1, ""), (None, 0.0, ""), (None, math.nan, "refused")]
    rows = [
        key | {"target": target, "horizon": horizon, "wrong_share": share, "error": error}
        for target in ("lstm", "gru")
        for horizon, share, error in results
        if target == "lstm" or not error
    ]
    frame = pd.DataFrame(rows).astype({"horizon": "Int64"})
    table = summarise(frame)
    assert list(table.columns) == [*CELL, *FOUND]
    assert list(table["target"]) == ["lstm", "gru"]
    assert list(table["runs"]) == [3, 3]
    assert list(table["failed"]) == [2, 2]
    assert list(table["median"]) == [20, 20]
    assert table["high"].isna().all()
    assert list(table["wrong_share"]) == [0.1, 0.1]
    assert summarise(frame[:0]).empty
