"""Growth laws: planted ones are recovered, and what cannot be told is not told."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stability.growth import Growth, Law, growth_law, growth_of
from stability.measures import sample_steps

Floats = npt.NDArray[np.float64]

LENGTH = 2000
TOKENS = np.arange(1.0, LENGTH + 1)
PLANTED: dict[Law, Floats] = {
    "bounded": TOKENS**0,
    "sqrt": TOKENS**0.5,
    "linear": TOKENS,
    "power": TOKENS**2,
    "exponential": np.exp(TOKENS / 100),
}
FLOOR = 0.003
SERIES = 10


def law_of(errors: Floats, *, dense: bool = True, seed: int = 0, ceiling: float | None = None) -> Growth:
    """The law of a series or of several, at every step or at the steps that are usually sampled."""
    length = errors.shape[-1]
    steps = np.arange(length) if dense else sample_steps(length)
    return growth_law(steps, errors[..., steps], generator=np.random.default_rng(seed), ceiling=ceiling)


def noisy(errors: Floats, noise: str, seed: int) -> Floats:
    """Factors of about 30 %, or a noise floor of 0.3 % of the last error."""
    drawn = np.random.default_rng(seed).standard_normal(len(errors))
    if noise == "factors":
        return np.asarray(errors * np.exp(0.3 * drawn))
    return np.asarray(np.abs(errors + FLOOR * errors[-1] * drawn))


@pytest.mark.parametrize("noise", ["factors", "floor"])
@pytest.mark.parametrize("law", PLANTED)
def test_planted_laws_are_recovered_from_every_step(law: Law, noise: str) -> None:
    """At least 8 of 10 noisy series of 2,000 steps are told their law, and none another one."""
    told = Counter(law_of(noisy(PLANTED[law], noise, seed), seed=seed).law for seed in range(SERIES))
    assert told[law] >= 8
    assert set(told) <= {law, "inconclusive"}


@pytest.mark.parametrize("noise", ["factors", "floor"])
@pytest.mark.parametrize("law", PLANTED)
def test_planted_laws_are_recovered_from_a_sample(law: Law, noise: str) -> None:
    """Of 12 steps an octave, at least 6 of 10 noisy series are told their law, and none another one."""
    told = Counter(
        law_of(noisy(PLANTED[law], noise, seed), seed=seed, dense=False).law for seed in range(SERIES)
    )
    assert told[law] >= 6
    assert set(told) <= {law, "inconclusive"}


@pytest.mark.parametrize(
    ("exponent", "law"), [(0.5, "sqrt"), (1.0, "linear"), (2.0, "power"), (3.0, "power")]
)
def test_the_exponent_is_found(exponent: float, law: Law) -> None:
    """The exponent of a power with noise is found to 0.05, and its interval is as narrow and holds it so."""
    for seed in range(10):
        found = law_of(noisy(TOKENS**exponent, "factors", seed), seed=seed)
        assert found.law == law
        assert found.estimate == pytest.approx(exponent, abs=0.05)
        assert found.low - 0.03 <= exponent <= found.high + 0.03
        assert found.high - found.low < 0.15


def test_the_rate_is_per_token() -> None:
    """E^(n/100) has a rate of 0.01 per token, wherever the series ends."""
    for length in (500, 2000):
        found = law_of(np.exp(np.arange(length) / 100))
        assert found.law == "exponential"
        assert found.estimate == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("dense", [True, False])
def test_noise_at_a_constant_level_is_bounded(dense: bool) -> None:
    """|N(0, 1)| is bounded, or at worst (in few of a sample) inconclusive."""
    told = Counter(
        law_of(np.abs(np.random.default_rng(seed).standard_normal(LENGTH)), dense=dense, seed=seed).law
        for seed in range(20)
    )
    assert told["bounded"] >= 16
    assert set(told) <= {"bounded", "inconclusive"}


@pytest.mark.parametrize("dense", [True, False])
def test_a_random_walk_is_honest(dense: bool) -> None:
    """A single walk wanders: of 40, at most 4 are told a law other than √n, and the rest not to know."""
    told: Counter[Law] = Counter()
    for seed in range(40):
        walk = np.abs(np.cumsum(np.random.default_rng(seed).standard_normal(LENGTH)))
        told[law_of(walk, dense=dense, seed=seed).law] += 1
    assert told["sqrt"] + told["inconclusive"] >= 36


def test_random_walks_of_several_seeds_grow_like_the_root() -> None:
    """Eight walks together are √n in at least 8 of 10 trials, and nothing else in the others."""
    told: Counter[Law] = Counter()
    for seed in range(SERIES):
        walks = np.cumsum(np.random.default_rng(seed).standard_normal((8, LENGTH)), axis=1)
        told[law_of(walks, dense=False, seed=seed).law] += 1
    assert told["sqrt"] >= 8
    assert set(told) <= {"sqrt", "inconclusive"}


def test_no_error_is_exact() -> None:
    """An error of 0 at every step is a law of its own."""
    found = law_of(np.zeros(LENGTH))
    assert found == Growth(law="exact")
    assert found.text == "no error"


@pytest.mark.parametrize("steps", [1, 2, 8, 15])
def test_few_steps_are_inconclusive(steps: int) -> None:
    """A law over fewer than 16 tokens is not told, however clean the series."""
    found = law_of(np.arange(1.0, steps + 1))
    assert found.law == "inconclusive"
    assert "too few" in found.text


def test_errors_that_are_rare_have_no_law() -> None:
    """Where most pieces of time are without any error, the size of the others says little."""
    found = law_of(np.where(TOKENS % 400 == 1, 1.0, 0.0))
    assert (found.law, found.reason) == ("inconclusive", "the error is zero most of the time")


def test_errors_that_come_late_are_counted_from_where_they_come() -> None:
    """A counter that stops at 2,048 is off by n − 2,048: linear, with its onset."""
    found = law_of(np.maximum(0.0, np.arange(1.0, 4001) - 2048))
    assert found.law == "linear"
    assert found.onset == 2048


@pytest.mark.parametrize("dense", [True, False])
def test_an_error_that_settles_is_bounded(dense: bool) -> None:
    """1 − e^(−n/50) grows and settles: bounded, and the plateau begins where it does."""
    found = law_of(1 - np.exp(-TOKENS / 50), dense=dense)
    assert found.law == "bounded"
    assert found.plateau is not None
    assert 50 <= found.plateau <= 250
    assert "constant since step" in found.text


@pytest.mark.parametrize("dense", [True, False])
def test_an_error_at_the_size_of_the_values_is_judged_by_what_came_before(dense: bool) -> None:
    """An exponential error that ends at the range of its values is exponential up to there."""
    errors = np.minimum(1.0, 1e-8 * np.exp(TOKENS / 50))
    found = law_of(errors, dense=dense, ceiling=1.0)
    assert found.law == "exponential"
    assert found.estimate == pytest.approx(0.02, rel=0.1)
    assert found.saturated is not None
    assert found.saturated <= 920
    assert "size of the values" in found.text


def test_a_jump_to_the_size_of_the_values_has_no_law() -> None:
    """An error that is 0 and then as large as the values is neither exact nor a growth."""
    found = law_of(np.where(TOKENS < 1000, 0.0, 3.0), ceiling=3.0)
    assert (found.law, found.saturated, found.onset) == ("inconclusive", 999, 999)


@pytest.mark.parametrize("end", [np.inf, np.nan])
def test_inf_and_nan_end_a_series(end: float) -> None:
    """What is not finite is as wrong as can be; the law is that of the steps before."""
    found = law_of(np.where(TOKENS > 1500, end, TOKENS))
    assert (found.law, found.saturated) == ("linear", 1500)


def test_a_law_that_changes_is_not_told() -> None:
    """A series that is linear and then flattens without settling is inconclusive, and says why."""
    found = law_of(1 - np.exp(-np.arange(1.0, 4001) / 1500))
    assert found.law == "inconclusive"
    assert "the law changes" in found.reason


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(list(PLANTED)),
    st.integers(-60, 60),
    st.integers(0, 2**32 - 1),
)
def test_the_unit_of_the_errors_does_not_matter(law: Law, exponent: int, seed: int) -> None:
    """Errors times any power of ten have the same law and the same interval."""
    errors = noisy(PLANTED[law], "factors", seed)
    one, other = (law_of(errors * factor, dense=False) for factor in (1.0, 10.0**exponent))
    assert one.law == other.law
    assert (one.estimate, one.low, one.high) == pytest.approx(
        (other.estimate, other.low, other.high), rel=1e-6, abs=1e-9
    )


def test_the_same_generator_gives_the_same_answer() -> None:
    """Nothing is drawn but from the generator that is passed in."""
    errors = noisy(PLANTED["sqrt"], "factors", 3)
    assert law_of(errors, seed=5) == law_of(errors, seed=5)


def rows(errors: dict[int, Floats], steps: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Rows of a drift frame: one series per seed."""
    return pd.concat(
        pd.DataFrame({"seed": seed, "step": steps, "abs_error": values[steps], "reference_value": 1e9})
        for seed, values in errors.items()
    ).astype({"step": "Int64"})


def test_the_law_of_a_cell_is_that_of_its_rows() -> None:
    """Rows of a frame, of several seeds as well, are read as the series that they are."""
    steps = sample_steps(LENGTH)
    found = growth_of(rows({0: TOKENS, 1: 2 * TOKENS}, steps), generator=np.random.default_rng(0))
    assert found.law == "linear"
    assert found.saturated is None


def test_steps_that_not_every_seed_has_are_left_out() -> None:
    """A step that only one seed sampled - its horizon - does not count as an error of the others."""
    steps = sample_steps(LENGTH)
    series = rows({0: TOKENS, 1: TOKENS}, steps)
    extra = pd.DataFrame({"seed": [1], "step": [1999 - 7], "abs_error": [1e6], "reference_value": [1e9]})
    one, other = (
        growth_of(each, generator=np.random.default_rng(0))
        for each in (series, pd.concat([series, extra.astype({"step": "Int64"})]))
    )
    assert one == other


def test_a_cell_that_was_not_run_has_no_law() -> None:
    """A refused cell, a row without a step, is inconclusive."""
    refused = pd.DataFrame({"seed": [0], "step": pd.array([pd.NA], dtype="Int64"), "abs_error": [np.nan]})
    found = growth_of(refused.assign(reference_value=np.nan), generator=np.random.default_rng(0))
    assert (found.law, found.reason) == ("inconclusive", "nothing was run")
