"""The error budget: lone sources, what they add up to, and what they leave."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq

from compiler.compiling import compile_program
from compiler.errors import ConfigError
from compiler.exact import eye
from compiler.library import LIBRARY
from compiler.loading import load_program
from compiler.model import Model
from stability.budget import (
    ALL,
    LONE,
    TOGETHER,
    UNEXPLAINED,
    error_budget,
    lone_policies,
    measured_budget,
    rounded_weights,
)
from stability.formats import FLOAT16, FLOAT32, FLOAT64, MpmathFormat
from stability.policy import PLACES, AnyPolicy, as_policy, parse_policy
from stability.reference import reference
from stability.rounding import round_rational
from stability.running import execute

STEPS = np.arange(60)


def model_of(name: str, target: str = "lstm") -> tuple[Model, npt.NDArray[np.int64]]:
    """A compiled library program and a prompt."""
    return compile_program(load_program(name), target), LIBRARY[name].prompt(
        np.random.default_rng(0), len(STEPS), {}
    )


def test_lone_policies_differ_from_the_rest_in_one_source() -> None:
    """Each source takes its places from the policy under test, and all sources together take all."""
    policy = as_policy(parse_policy("float16-acc32"))
    found = lone_policies(policy)
    assert sorted(place for places in LONE.values() for place in places) == sorted(PLACES)
    for source, places in LONE.items():
        formats = found[source].formats
        assert {place: formats[place] for place in places} == {
            place: policy.formats[place] for place in places
        }
        assert {fmt for place, fmt in formats.items() if place not in places} == {FLOAT64}


def test_what_counts_as_exact_is_much_more_precise() -> None:
    """The rest is float64 for narrow formats, mpmath for float32 and float64, or what is asked for."""
    assert lone_policies(FLOAT16)["weights"].state == FLOAT64
    for fmt in (FLOAT32, FLOAT64):
        rest = lone_policies(fmt)["weights"].state
        assert rest.precision >= 2 * fmt.precision
    assert lone_policies(FLOAT16, FLOAT32)["state"].weights == FLOAT32


def test_the_rounding_is_kept() -> None:
    """A policy that rounds another way does so alone as well."""
    policy = as_policy(parse_policy("float16,rounding=stochastic,seed=7"))
    assert {(each.rounding, each.seed) for each in lone_policies(policy).values()} == {("stochastic", 7)}


def test_a_budget_adds_up() -> None:
    """Signed errors of the sources are added per output; the rest of the run's error is unexplained."""
    truth = [(mpq(1), mpq(10)), (mpq(2), mpq(20))]
    runs = {
        ALL: np.array([[1.5, 10.0], [2.0, 26.0]]),
        "weights": np.array([[1.25, 10.0], [2.0, 24.0]]),
        "state": np.array([[1.5, 10.0], [2.0, 19.0]]),
    }
    found = error_budget(runs, truth, np.array([0, 1])).set_index(["source", "step"])
    assert found["abs_error"].to_dict() == {
        (ALL, 0): 0.5, (ALL, 1): 6.0, ("weights", 0): 0.25, ("weights", 1): 4.0, ("state", 0): 0.5,
        ("state", 1): 1.0, (TOGETHER, 0): 0.75, (TOGETHER, 1): 3.0, (UNEXPLAINED, 0): 0.25,
        (UNEXPLAINED, 1): 3.0,
    }  # fmt: skip
    assert found.loc[("weights", 1), "share"] == 4 / 6


def test_every_source_is_run_by_itself() -> None:
    """A policy is run as it is, and once for each place that rounds more than the rest."""
    model, tokens = model_of("majority")
    asked: list[str] = []

    def run(_model: Model, prompt: npt.NDArray[np.int64], policy: AnyPolicy) -> npt.NDArray[np.float64]:
        asked.append(policy.name)
        return np.full((len(prompt), 1), 1 + 2.0 ** -len(asked))

    policy = parse_policy("float64,weights=float16,state=float32")
    found = measured_budget(model, tokens, policy, [(mpq(1),)] * len(tokens), STEPS[:1], run=run)
    assert len(asked) == 1 + len(LONE)
    assert asked[0] == policy.name
    asked.clear()
    measured_budget(model, tokens, FLOAT16, [(mpq(1),)] * len(tokens), STEPS[:1], run=run)
    assert asked[1:] == [each.name for each in lone_policies(FLOAT16).values()]
    assert found.set_index("source")["abs_error"][TOGETHER] == sum(2.0**-k for k in range(2, 8))


def test_a_run_without_error_has_no_shares() -> None:
    """Nothing is shared out where there is nothing, and what is not finite is infinitely wrong."""
    found = error_budget({ALL: np.array([[1.0], [np.nan]])}, [(mpq(1),), (mpq(1),)], np.array([0, 1]))
    whole = found[found["source"] == ALL]
    assert np.isnan(whole["share"].iloc[0])
    assert whole["abs_error"].iloc[1] == np.inf


@pytest.mark.parametrize("target", ["lstm", "gru", "relu_rnn"])
def test_rounded_weights_are_those_of_the_format(target: str) -> None:
    """Rounding twice changes nothing, a float16 run of both is bit-equal, and an exact run is not."""
    model, tokens = model_of("modulo", target)
    rounded = rounded_weights(model, FLOAT16)
    weights = [value for layer in rounded.layers for _, _, value in layer.weight_ih.entries()]
    assert all(mpq(round_rational(value, FLOAT16)) == value for value in weights)
    same = [execute(each, tokens, FLOAT16).outputs for each in (model, rounded)]
    assert (same[0] == same[1]).all()
    states = [execute(each, tokens, FLOAT64, keep=[1]).wires[1] for each in (model, rounded)]
    assert (states[0] != states[1]).any()


def test_weights_alone_are_a_part_of_the_error() -> None:
    """Of a rotation in float16, the rounding of the weights makes some of the error, and not all."""
    model, tokens = model_of("modulo")
    size = model.layers[0].size
    probe = replace(
        model, output_dim=size, readout_wires=(1,), readout=eye(size), readout_bias=(mpq(0),) * size
    )
    runs = {
        ALL: execute(probe, tokens, FLOAT16).outputs,
        "weights": execute(rounded_weights(probe, FLOAT16), tokens, MpmathFormat(dps=60)).outputs,
    }
    found = error_budget(runs, reference(probe, tokens, vanishing=True).outputs, STEPS)
    last = found[found["step"] == STEPS[-1]].set_index("source")["abs_error"]
    assert 0 < last["weights"] < 0.1
    assert last[UNEXPLAINED] > 0


def test_weights_that_overflow_are_refused() -> None:
    """λ = 1e10 is no float16: the budget says so instead of running infinities."""
    model = compile_program(load_program("majority"), "lstm", "paper")
    kept = replace(model.layers[0], bias=(mpq(10) ** 10,) * len(model.layers[0].bias))
    with pytest.raises(ConfigError, match=r"1e\+10 overflows float16"):
        rounded_weights(replace(model, layers=(kept, *model.layers[1:])), FLOAT16)


def test_kernels_are_refused() -> None:
    """A model of convolutions has no matrices that are its weights."""
    model = compile_program(load_program("modulo"), "hawk", window=8)
    with pytest.raises(ConfigError, match="kernels"):
        rounded_weights(model, FLOAT16)
