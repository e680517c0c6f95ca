"""The gate is able to fail: ten planted regressions, each caught - and nothing planted, nothing caught.

``HYPOTHESIS_PROFILE=thorough`` plants them into the project's own gate as well, and runs
that gate against itself fifty times with different process counts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest

from compiler.compiling import UNCOMPILED, compile_lowered
from compiler.config import CompileConfig
from compiler.exact import ZERO, Matrix, Vector
from compiler.lowering import Lowered
from compiler.model import Layer, Model
from reports.gate_outputs import message
from stability import cells
from stability.cells import Setup
from stability.formats import FLOAT16, FLOAT64, Format
from stability.gate import (
    Comparison,
    GateConfig,
    Verdict,
    compare,
    fresh_cells,
    load_gate,
    read_baseline,
    sources,
    write_baseline,
)
from stability.orders import Order
from stability.policy import AnyPolicy, as_policy
from stability.running import Execution, execute

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
OWN = Path(__file__).parents[1] / "baselines" / "gate.toml"
SMALL = """
baseline = "gate.json"
[experiment]
programs = ["modulo", "continuous", "leaky.lsrl"]
targets = ["lstm", "gru"]
conditionals = "multiplicative_optimized"
configs = "stable"
formats = "float32"
policies = "float16-state32"
lengths = 60
[rules]
model_hash = "same"
bits = "identical"
"""

Plant = contextlib.AbstractContextManager[object]


# ---------------------------------------------------------------- into the compiler


def in_models(change: Callable[[Layer], Layer]) -> Plant:
    """Compile for architectures as ever, but spoil the first layer that can be; never the reference."""

    def compiled(lowered: Lowered, target: str, **options: Any) -> Model:
        model = compile_lowered(lowered, target, **options)
        if target == UNCOMPILED:
            return model
        layers = list(model.layers)
        for number, layer in enumerate(layers):
            layers[number] = change(layer)
            if layers[number] is not layer:
                break
        return replace(model, layers=tuple(layers))

    return mock.patch.object(cells, "compile_lowered", compiled)


def one_ulp(layer: Layer) -> Layer:
    """The first weight, one float32 ulp larger."""
    matrix = layer.weight_ih
    if not matrix.nonzeros:
        return layer
    row, column, value = next(matrix.entries())
    rows = [dict(each) for each in matrix.rows]
    rows[row][column] = value + abs(value) / 2**23
    return replace(layer, weight_ih=Matrix.from_rows(matrix.width, rows))


def swapped_gates(layer: Layer) -> Layer:
    """The first two gates, exchanged."""
    if layer.kind not in {"lstm", "gru"}:
        return layer
    size = layer.size

    def swap(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*rows[size : 2 * size], *rows[:size], *rows[2 * size :])

    def matrix(old: Matrix) -> Matrix:
        return Matrix(height=old.height, width=old.width, rows=swap(old.rows))

    return replace(
        layer,
        weight_ih=matrix(layer.weight_ih),
        weight_hh=matrix(layer.weight_hh),
        bias=swap(layer.bias),
    )


def lost_bias(layer: Layer) -> Layer:
    """No bias."""
    return replace(layer, bias=(ZERO,) * len(layer.bias)) if any(layer.bias) else layer


def lost_initial(layer: Layer) -> Layer:
    """No initial state."""

    def none(state: Vector) -> Vector:
        return (ZERO,) * len(state)

    if not any(layer.initial) and not any(layer.initial_cell):
        return layer
    return replace(layer, initial=none(layer.initial), initial_cell=none(layer.initial_cell))


def in_settings(**factors: Any) -> Plant:
    """Compile with other factors than asked for."""
    settled = Setup.settled.fget  # type: ignore[attr-defined]  # a property, which mypy takes for its value

    def changed(setup: Setup) -> CompileConfig:
        config: CompileConfig = replace(settled(setup), **factors)
        return config

    return mock.patch.object(Setup, "settled", property(changed))


# ---------------------------------------------------------------- into the engines


def in_runs(run: Callable[[Model, npt.NDArray[Any], AnyPolicy], Execution]) -> Plant:
    """Run cells in another way; never the reference, which runs in mpmath."""

    def executed(
        model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy, _order: Order, **_engine: Any
    ) -> Execution:
        return run(model, tokens, policy)

    return mock.patch.object(cells, "execute_in_order", executed)


def slow_twin(model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy) -> Execution:
    """On another engine, which promises the same bits: no fault at all."""
    return execute(model, tokens, policy, engine="scalar")


def narrow_accumulator(model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy) -> Execution:
    """Multiply and add up in float16, whatever was asked for."""
    return execute(model, tokens, replace(as_policy(policy), products=FLOAT16, accumulator=FLOAT16))


def dropped_state(model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy) -> Execution:
    """Keep states in the format of the activations, whatever was asked for."""
    asked = as_policy(policy)
    return execute(model, tokens, replace(asked, state=asked.activations))


def inside(other: Format, model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy) -> Execution:
    """Everything in another format, and only the outputs in the one that was asked for."""
    done = execute(model, tokens, other)
    return replace(done, outputs=done.outputs.astype(execute(model, tokens[:1], policy).outputs.dtype))


def stale_state(model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy) -> Execution:
    """A prompt that begins in the states that one token before it left behind."""
    window = None if model.window is None else model.window + 1
    done = execute(replace(model, window=window), np.concatenate([tokens[:1], tokens]), policy)
    return replace(done, outputs=done.outputs[1:], status=done.status[1:])


PLANTS: Mapping[str, Callable[[], Plant]] = {
    "one ulp in a weight": lambda: in_models(one_ulp),
    "a narrower accumulator": lambda: in_runs(narrow_accumulator),
    "another format inside": lambda: in_runs(partial(inside, FLOAT16)),
    "a dropped state format": lambda: in_runs(dropped_state),
    "swapped gates": lambda: in_models(swapped_gates),
    "a lost bias": lambda: in_models(lost_bias),
    "a changed μ": lambda: in_settings(mu=2**10),
    "a lost initial state": lambda: in_models(lost_initial),
    "a changed step form": lambda: in_settings(step="paper"),
    "a stale state between prompts": lambda: in_runs(stale_state),
    "float64 leaking in": lambda: in_runs(partial(inside, FLOAT64)),
}
COMPILER = {"one ulp in a weight", "swapped gates", "a lost bias", "a lost initial state"}
SETTINGS = {"a changed μ", "a changed step form"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> GateConfig:
    """A gate of two architectures with its baseline."""
    path = tmp_path_factory.mktemp("gate") / "gate.toml"
    path.write_text(SMALL, encoding="utf-8")
    (path.parent / "leaky.lsrl").write_bytes((OWN.parent / "leaky.lsrl").read_bytes())
    config = load_gate(path)
    write_baseline(config.baseline, fresh_cells(config.experiment, jobs=1))
    return config


def gated(config: GateConfig, jobs: int = 1) -> Comparison:
    """A run of a gate."""
    return compare(config, read_baseline(config.baseline), fresh_cells(config.experiment, jobs=jobs))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_gate_passes_against_itself(small: GateConfig, jobs: int) -> None:
    """The same code gives the same bits, in this process and in others."""
    found = gated(small, jobs)
    assert (found.outcome, found.changes, found.notes) == ("pass", (), ())


def test_what_plants_regressions_is_none_itself(small: GateConfig) -> None:
    """Running on the slow twin of the engine, with no fault planted, passes to the last bit."""
    with in_runs(slow_twin):
        assert gated(small).outcome == "pass"


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_regression_is_caught(small: GateConfig, name: str) -> None:
    """Each fault fails the gate, with messages that name program, target, policy, measure, rule and line."""
    with PLANTS[name]():
        found = gated(small)
    caught(small, found, name)


def caught(config: GateConfig, found: Comparison, name: str) -> None:
    """Check what a gate says of a fault."""
    regressions = found.by(Verdict.REGRESSION)
    assert found.outcome == "regression"
    measures = {change.measure for change in regressions}
    if name in COMPILER | SETTINGS:
        assert "model_hash" in measures
    else:
        assert "bits" in measures
        assert "model_hash" not in measures
    if name in SETTINGS:
        assert "settings" in measures
    where = sources(config.experiment)
    for change in regressions:
        said = message(change, where)
        source = where[str(change.keys["program"])]
        text = Path(str(source.path)).read_text(encoding="utf-8")
        made, _, returned = text.splitlines()[source.line - 1].strip().partition(" ")
        assert made == "return" or text.rstrip().endswith(f"return {made}"), returned
        for part in (
            f"{source.file}:{source.line}: ", str(change.keys["program"]), f" on {change.keys['target']} ",
            f" in {change.keys['format']} ", f"{change.measure} {change.old} → {change.new}",
            f"rule: {change.rule}",
        ):  # fmt: skip
            assert part in said
        assert change.old != change.new


@pytest.mark.skipif(not THOROUGH, reason="long: profile thorough")
def test_the_own_gate_passes_fifty_times_long() -> None:
    """The project's gate against itself, with one to five processes: fifty passes."""
    config = load_gate(OWN)
    baseline = read_baseline(config.baseline)
    outcomes = []
    for run in range(50):
        fresh = fresh_cells(config.experiment, jobs=run % 5 + 1)
        outcomes.append(compare(config, baseline, fresh).outcome)
        print(run % 5 + 1, outcomes[-1], flush=True)  # noqa: T201 -- the record of a long run
    assert outcomes == ["pass"] * 50


@pytest.mark.skipif(not THOROUGH, reason="long: profile thorough")
@pytest.mark.parametrize("name", PLANTS)
def test_the_own_gate_catches_a_planted_regression_long(name: str) -> None:
    """The project's gate, with its committed baseline, catches every fault."""
    config = load_gate(OWN)
    with PLANTS[name]():
        found = gated(config)
    caught(config, found, name)
    print(name, {each.measure for each in found.changes}, len(found.changes))  # noqa: T201 -- as above
