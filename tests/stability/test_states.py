"""The states of a program inside compiled models: found, read, and held to the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gmpy2 import mpq

from compiler.compiling import TARGETS, UNCOMPILED, compile_lowered, settle
from compiler.config import CompileConfig
from compiler.errors import CompileRefusal
from compiler.lowering import Lowered, lower
from compiler.model import Model
from compiler.real_gates import NativeGates
from stability.attribution import FIRST, drift_table, drifts, state_table
from stability.drift import drift
from stability.formats import FLOAT32, parse_format
from stability.running import execute
from stability.state_truth import StateTruth, state_truth
from stability.states import StateErrors, holdings, state_errors
from stability.subject import Subject, subject

COUNTER = """ForEach:
    token = Input(dim=1, lo=0, hi=1, integer=true)
    seen = LinState(token, A=eye(1), B=zeros(1, 1), b=ones(1, 1), init_state=zeros(1, 1))
    total = LinState(token, A=eye(1), B=eye(1), init_state=zeros(1, 1))
    return total - 2 * seen
"""
TWINS = """ForEach:
    token = Input(dim=1, lo=-1, hi=1)
    leaks = Concat([LinState(token, A=[[g / 10]], B=[[1]], init_state=[[g]]) for g in 1..4])
    kept = LinState(token, A=[[0, -1], [1, 0]], B=[[1], [2]], init_state=[[-1], [2]])
    return Linear(leaks, A=[[1, 2, 3]]) + kept[0] - kept[1]
"""


def program(tmp_path: Path, text: str) -> Subject:
    """A program of one's own."""
    path = tmp_path / "mine.lsrl"
    path.write_text(text)
    return subject(str(path))


def built(what: Subject, target: str, length: int, config: str = "stable") -> tuple[Lowered, Model]:
    """A program with its model for a target."""
    lowered = lower(what.source, settle(CompileConfig.named(config), target))
    window = length if target in TARGETS and TARGETS[target].windowed else None
    return lowered, compile_lowered(lowered, target, window=window)


def measured(what: Subject, target: str, fmt: str, length: int, **changes: str) -> StateErrors:
    """The states of one run."""
    lowered, model = built(what, target, length, **changes)
    truth = state_truth(lowered, what.prompt(0, length))
    return state_errors(lowered, model, parse_format(fmt), truth)


@pytest.mark.parametrize("target", [*TARGETS, UNCOMPILED])
def test_every_state_is_found_in_every_target(target: str, tmp_path: Path) -> None:
    """Run in mpmath, the states read from the units of any target are those of the program."""
    for what in (subject("dictionary"), subject("continuous"), program(tmp_path, TWINS)):
        try:
            lowered, model = built(what, target, 14)
        except CompileRefusal:
            continue
        truth = state_truth(lowered, what.prompt(1, 14))
        found = state_errors(lowered, model, parse_format("mpmath60"), truth)
        assert [each.symbol for each in found.states] == list(truth.symbols)
        assert truth.certified
        assert found.error.max() < 1e-50
        assert np.abs(found.value).max() >= 1


def test_states_of_one_line_are_told_apart(tmp_path: Path) -> None:
    """A comprehension makes states of one name and line; each is read from its own unit."""
    lowered, model = built(program(tmp_path, TWINS), "lstm", 10)
    twins = [each for each in holdings(lowered, model) if each.variable == "leaks"]
    assert len(twins) == 3
    assert len({(each.wire, each.parts) for each in twins}) == 3


def test_labels_that_do_not_fit_the_program_are_left_out(tmp_path: Path) -> None:
    """Units whose labels are gone hold no state that could be named; nothing is guessed."""
    lowered, model = built(program(tmp_path, COUNTER), "relu_rnn", 10)
    bare = replace(model, layers=tuple(replace(layer, labels=()) for layer in model.layers))
    assert holdings(lowered, model)
    assert holdings(lowered, bare) == ()


@pytest.mark.parametrize("target", ["relu_rnn", "lstm", "gru", "gated_linear_rnn"])
def test_the_counter_that_stops_is_named(target: str, tmp_path: Path) -> None:
    """In float16 a count of steps stops at 2,048: it drifts first, by its own doing, linearly, on line 3."""
    found = measured(program(tmp_path, COUNTER), target, "float16", 2600)
    first, *_ = drifts(found, generator=np.random.default_rng(0))
    assert first.variable == "seen"
    assert first.place.endswith("mine.lsrl:3")
    assert (first.first, first.before, first.error) == (2048, 2047, 1.0)
    assert first.local == 1.0
    assert first.growth.law == "linear"
    assert first.growth.onset == 2048
    assert "at step 2,048, 100% of the error made in that step" in first.text


def test_errors_are_local_at_first_and_then_inherited(tmp_path: Path) -> None:
    """A stopped counter errs by one in each step; what came before, it inherits."""
    found = measured(program(tmp_path, COUNTER), "lstm", "float16", 2300)
    column = [each.variable for each in found.states].index("seen")
    steps = found.steps >= 2048
    assert (found.local[~steps, column] == 0).all()
    assert found.local[2048, column] == 1
    assert found.inherited[2048, column] == 0
    assert (found.inherited[2050:, column] > found.local[2050:, column]).all()
    with np.errstate(invalid="ignore"):
        assert (found.error <= found.local + found.inherited).all()


@pytest.mark.parametrize("target", ["relu_rnn", "lstm", "gru"])
def test_a_forced_step_is_a_first_step_from_the_true_states(target: str, tmp_path: Path) -> None:
    """The local error of step t is the error of a model that starts in the true states before t."""
    what = program(tmp_path, TWINS)
    lowered, model = built(what, target, 40)
    truth = state_truth(lowered, what.prompt(2, 40))
    fmt = parse_format("float16")
    found = state_errors(lowered, model, fmt, truth)
    for step in (1, 17, 39):
        started = started_in(lowered, model, truth, step - 1)
        once = execute(started, truth.tokens[step : step + 1], fmt, keep=range(len(model.layers) + 1))
        for n, each in enumerate(found.states):
            column = truth.symbols.index(each.symbol)
            value = sum(mpq(float(once.wires[each.wire][0, unit])) * factor for unit, factor in each.parts)
            assert found.local[step, n] == pytest.approx(
                float(abs(value - truth.exact[step][column])), abs=1e-12
            )


def started_in(lowered: Lowered, model: Model, truth: StateTruth, step: int) -> Model:
    """A model that starts in the true states of a step."""
    layers = list(model.layers)
    for each in holdings(lowered, model):
        value = truth.exact[step][truth.symbols.index(each.symbol)]
        number = each.wire - 1
        initial = list(layers[number].initial)
        for unit, factor in each.parts:
            initial[unit] = max(value / factor, mpq(0)) if len(each.parts) > 1 else value / factor
        layers[number] = replace(layers[number], initial=tuple(initial))
    return replace(model, layers=tuple(layers))


def test_models_with_a_window_inherit_nothing() -> None:
    """Hawk computes its states anew at every step: all of an error is local."""
    found = measured(subject("modulo"), "hawk", "float16", 60)
    assert found.error.max() > 0
    assert (found.local == found.error).all()
    assert not found.inherited.any()


@pytest.mark.parametrize("target", ["lstm", "gru"])
def test_real_gates_hold_the_states_too(target: str) -> None:
    """Scaled by a power of two or saturated, the states of real gates are read as the program's own."""
    what = subject("majority")
    lowered = lower(what.source, settle(CompileConfig(), target))
    model = compile_lowered(lowered, target, native=NativeGates(format=FLOAT32, length=60))
    truth = state_truth(lowered, what.prompt(0, 60))
    found = state_errors(lowered, model, FLOAT32, truth)
    assert len(found.states) == len(truth.symbols) == 1
    assert np.abs(found.value).max() >= 1
    assert found.error.max() == 0
    assert found.local.max() < 1e-5


def test_what_cannot_be_forced_has_no_local_part() -> None:
    """In mpmath no run is forced: the split is not known, and nothing is claimed."""
    found = measured(subject("modulo"), "lstm", "mpmath8", 30)
    assert np.isnan(found.local).all()
    assert 0 < found.error.max() < 1e-6
    assert all(
        "made in that step" not in each.text for each in drifts(found, generator=np.random.default_rng(0))
    )


def test_states_that_overflow_are_infinitely_wrong() -> None:
    """With λ = 1e10 float16 has no finite states: they are wrong from the first step, all by themselves."""
    found = measured(subject("dictionary"), "lstm", "float16", 30, config="paper")
    first, *_ = drifts(found, generator=np.random.default_rng(0))
    assert first.first == 0
    assert (first.error, first.local, first.bits) == (np.inf, 1.0, 0.0)
    assert first.growth.law == "inconclusive"


def test_on_a_sample_the_first_step_is_bracketed(tmp_path: Path) -> None:
    """Where not every step is known, a drift began after one known step and not after another."""
    what = program(tmp_path, COUNTER)
    lowered, model = built(what, "lstm", 2600)
    steps = np.array([0, 999, 1000, 1999, 2000, 2097, 2098, 2500])
    truth = state_truth(lowered, what.prompt(0, 2600), steps=steps)
    found = state_errors(lowered, model, parse_format("float16"), truth)
    first, *_ = drifts(found, generator=np.random.default_rng(0))
    assert (first.first, first.before) == (2097, 2000)
    assert "right at 2,000" in first.text
    column = [each.variable for each in found.states].index("seen")
    assert np.isnan(found.local[[1, 3, 5, 7], column]).all()
    assert (found.local[[0, 2, 4], column] == 0).all()
    assert found.local[6, column] == 1


def test_long_prompts_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of values not every step is kept, but each sampled step with the one before it."""
    what = program(tmp_path, COUNTER)
    lowered, model = built(what, "lstm", 2600)
    monkeypatch.setattr("stability.state_truth.DENSE", 1000)
    truth = state_truth(lowered, what.prompt(0, 2600))
    assert len(truth.steps) < 1000
    assert truth.steps[-1] == 2599
    found = state_errors(lowered, model, parse_format("float16"), truth)
    late = np.isfinite(found.local[:, 0])
    assert 2 * late.sum() >= len(late)
    first, *_ = drifts(found, generator=np.random.default_rng(0))
    assert first.first is not None
    assert 2048 <= first.first <= 2100


def test_real_states_drift_by_their_bits() -> None:
    """A state without a lattice has drifted below half of its bits, or below those that are asked for."""
    found = measured(subject("modulo"), "lstm", "float16", 300)
    strict = drifts(found, generator=np.random.default_rng(0), bits=10.5)
    usual = drifts(found, generator=np.random.default_rng(0))
    assert strict[0].first is not None
    assert {each.first for each in usual} == {None}
    assert "has not drifted" in usual[0].text


def test_tables_are_tidy() -> None:
    """One row per variable, and one per state component and wanted step."""
    found = measured(subject("modulo"), "lstm", "float16", 100)
    variables = drifts(found, generator=np.random.default_rng(0))
    table, rows = drift_table(variables), state_table(found, np.array([0, 99]))
    assert len(table) == len(variables)
    assert set(table["growth"]) == {each.growth.text for each in variables}
    assert len(rows) == 2 * len(found.states)
    assert len(state_table(found)) == 100 * len(found.states)
    last = rows[(rows["step"] == 99) & (rows["variable"] == found.states[-1].variable)].iloc[-1]
    assert last["abs_error"] == found.error[-1, -1]


def test_a_program_without_states_has_none_to_drift(tmp_path: Path) -> None:
    """A program that keeps nothing between tokens gives empty tables."""
    what = program(tmp_path, "ForEach:\n    x = Input(dim=1, lo=0, hi=1)\n    return ReLU(x - 1/2)\n")
    found = measured(what, "lstm", "float16", 20)
    assert found.error.shape == (20, 0)
    assert drifts(found, generator=np.random.default_rng(0)) == ()
    assert drift_table(()).empty
    assert state_table(found).empty


def test_errors_in_mpmath_are_not_measured_in_float64() -> None:
    """Errors far below the spacing of float64 are told: 50 digits leave 1e-49, not 0 and not 1e-16."""
    assert 0 < measured(subject("modulo"), "lstm", "mpmath50", 200).error.max() < 1e-48


def test_a_measurement_names_the_first_state_of_every_cell(tmp_path: Path) -> None:
    """``drift(states=True)`` adds five columns, changes no other, and leaves refused cells blank."""
    path = tmp_path / "mine.lsrl"
    path.write_text(COUNTER.replace("return total - 2 * seen", "return Multi(Concat(total, seen))"))
    plain, told = (
        drift([str(path)], targets=["lstm", "relu_rnn"], formats=["float16"], configs=["stable"], length=2100,
              states=states, jobs=1)
        for states in (False, True)
    )  # fmt: skip
    pd.testing.assert_frame_equal(plain, told[plain.columns])
    cells = {cell["target"]: cell for cell in told.drop_duplicates("target").to_dict("records")}
    assert [cells["lstm"][name] for name in FIRST] == ["seen", "mine.lsrl:3", 2048, 1.0, "linear"]
    assert cells["relu_rnn"]["error"]
    assert cells["relu_rnn"]["first_state"] == ""
    assert pd.isna(cells["relu_rnn"]["first_state_step"])
