"""Paired statistics: against scipy, and against what they must say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stability.paired import EXACT, Paired, bootstrap_mean, holm, paired, rank_biserial, wilcoxon

stats = pytest.importorskip("scipy.stats")

GAINS = st.lists(st.integers(-6, 6), min_size=2, max_size=9)


def told(gains: list[float], groups: list[str] | None = None, seed: int = 0) -> Paired:
    """The statistics of pairs with these gains in bits."""
    left = np.array(gains, dtype=np.float64) + 20
    return paired(left, np.full(len(gains), 20.0), generator=np.random.default_rng(seed), groups=groups)


@settings(max_examples=25, deadline=None)
@given(GAINS)
def test_the_exact_test_is_the_permutation_test(gains: list[int]) -> None:
    """With ties and gains of 0, the p-value is that of all 2^n signs, as scipy counts them."""
    kept = np.array([gain for gain in gains if gain], dtype=np.float64)
    if len(kept) < 2:
        return
    everything = stats.PermutationMethod(n_resamples=2**11)
    assert wilcoxon(np.array(gains, dtype=np.float64)) == pytest.approx(
        stats.wilcoxon(kept, method=everything).pvalue, abs=1e-12
    )


@pytest.mark.parametrize("pairs", [3, 10, EXACT])
def test_the_exact_test_is_exact_up_to_its_limit(pairs: int) -> None:
    """Without ties the p-value is scipy's exact one."""
    gains = np.random.default_rng(pairs).normal(0.3, 1.0, pairs)
    assert wilcoxon(gains) == pytest.approx(stats.wilcoxon(gains, method="exact").pvalue, rel=1e-9)


def test_many_pairs_are_tested_by_the_normal_approximation() -> None:
    """Beyond the limit the p-value is scipy's asymptotic one, ties corrected for."""
    gains = np.round(np.random.default_rng(1).normal(0.3, 2.0, 200))
    wanted = stats.wilcoxon(gains[gains != 0], method="asymptotic", correction=False).pvalue
    assert wilcoxon(gains) == pytest.approx(wanted, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(GAINS)
def test_turning_the_pairs_round_turns_the_answer_round(gains: list[int]) -> None:
    """Right against left has the inverse ratio and the opposite effect, and the same p-value."""
    one, other = told([float(gain) for gain in gains]), told([-float(gain) for gain in gains])
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert one.effect == pytest.approx(-other.effect)
    assert one.p_value == pytest.approx(other.p_value)
    assert (one.better, one.worse, one.same) == (other.worse, other.better, other.same)


def test_a_gain_of_bits_is_a_ratio_of_errors() -> None:
    """Two bits more are a quarter of the error; the interval holds the ratio."""
    found = told([1.0, 2.0, 3.0, 2.0, 2.0, 2.0])
    assert found.ratio == pytest.approx(0.25)
    assert found.low < 0.25 < found.high < 1
    assert (found.effect, found.p_value) == (1.0, 2 / 64)
    assert found.text.startswith("errors × 0.25 (95 % 0.")


def test_few_pairs_never_reach_the_usual_level() -> None:
    """Five pairs that all speak for left leave p = 1/16: no claim, whatever the effect."""
    assert told([9.0] * 5).p_value == 1 / 16


@pytest.mark.parametrize("seed", range(5))
def test_no_difference_is_not_found_where_there_is_none(seed: int) -> None:
    """Of 200 sets of pairs without a difference, at most 16 have p below 0.05 or a ratio unlike 1."""
    generator = np.random.default_rng(seed)
    found = [told(list(generator.normal(0, 1, 20)), seed=k) for k in range(200)]
    assert sum(each.p_value < 0.05 for each in found) <= 16
    assert sum(not each.low <= 1 <= each.high for each in found) <= 24


def test_pairs_of_one_program_are_not_independent() -> None:
    """Ten pairs each of three programs, one of which gains: the interval over programs holds 1."""
    gains = [4.0] * 10 + [0.01] * 10 + [-0.01] * 10
    programs = ["one"] * 10 + ["two"] * 10 + ["three"] * 10
    together, apart = told(gains, programs), told(gains)
    assert (together.groups, apart.groups) == (3, 1)
    assert apart.high < 1
    assert together.low < apart.low
    assert together.high > 0.99


def test_the_interval_of_one_value_is_not_known() -> None:
    """A single pair has a ratio and no interval."""
    found = told([1.0])
    assert found.ratio == 0.5
    assert math.isnan(found.low)
    assert found.text == "errors × 0.5, Wilcoxon p = 1, effect +1.00, 1 pair"
    assert all(
        math.isnan(each)
        for each in bootstrap_mean(np.ones(1), np.zeros(1, dtype=np.int64), np.random.default_rng(0))
    )


def test_no_pairs_say_nothing() -> None:
    """Where all outputs are identical there is nothing to test."""
    found = told([])
    assert (found.pairs, found.p_value, found.effect) == (0, 1.0, 0.0)
    assert found.text == "no pair with different outputs"
    assert rank_biserial(np.zeros(4)) == 0.0
    assert wilcoxon(np.zeros(4)) == 1.0


def test_a_family_of_tests_is_corrected() -> None:
    """Holm: the smallest p times the number of tests, and so on, never falling; 1 at most."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
