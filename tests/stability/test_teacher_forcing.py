"""Teacher-forced steps: the bits of a literal loop over the steps, and the states of a free run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq

from compiler import compile_program, load_program
from compiler.errors import ConfigError
from compiler.exact import Matrix
from compiler.model import GATES, Kind, Layer, Model
from stability import teacher_forcing
from stability.activations import activated
from stability.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from stability.noise_weights import perturb
from stability.rounding import round_rational
from stability.running import execute
from stability.subject import subject
from stability.teacher_forcing import States, clean_states, forced_outputs
from tests.stability.models import KINDS, random_model

STATEFUL = tuple(kind for kind in KINDS if kind != "conv")


class Literal:
    """A model in one format, one scalar operation at a time, with states that are set from outside."""

    def __init__(self, model: Model, fmt: Format) -> None:
        assert fmt.dtype is not None
        self.model, self.fmt, self.number = model, fmt, fmt.dtype.type
        zeros = [self.number(0)]
        self.hidden = [[self.value(v) for v in each.initial] or zeros * each.size for each in model.layers]
        self.cell = [[self.value(v) for v in each.initial_cell] or zeros * each.size for each in model.layers]

    def value(self, exact: mpq) -> Any:
        """A constant, rounded."""
        return self.number(round_rational(exact, self.fmt))

    def row(self, start: Any, matrix: Matrix, row: int, values: Sequence[Any]) -> Any:
        """An accumulator that goes on with one row of a matrix."""
        for column, weight in matrix.rows[row]:
            start = start + self.value(weight) * values[column]
        return start

    def squash(self, layer: Layer, name: Any, value: Any) -> Any:
        """ReLU, or the real function."""
        if layer.activation == "native":
            return self.number(activated(name, float(value), self.fmt))
        return self.number(0) if value <= 0 else value

    def step(self, token: Sequence[Any]) -> list[Any]:
        """The outputs of one step; its states take the place of those before."""
        wires = [[self.value(mpq(int(entry))) for entry in token]]
        for number, layer in enumerate(self.model.layers):
            inputs = [value for wire in layer.inputs for value in wires[wire]]
            wires.append([self.unit(layer, number, unit, inputs) for unit in range(layer.size)])
        for number in range(len(self.model.layers)):
            self.hidden[number] = wires[number + 1]
        inputs = [value for wire in self.model.readout_wires for value in wires[wire]]
        bias = self.model.readout_bias
        return [self.row(self.value(b), self.model.readout, k, inputs) for k, b in enumerate(bias)]

    def unit(self, layer: Layer, number: int, unit: int, inputs: Sequence[Any]) -> Any:
        """The output of one unit of layer ``number``."""
        before = self.hidden[number]

        def gate(index: int) -> Any:
            row = index * layer.size + unit
            total = self.row(self.value(layer.bias[row]), layer.weight_hh, row, before)
            return self.row(total, layer.weight_ih, row, inputs)

        gates = [gate(index) for index in range(GATES[layer.kind])]
        match layer.kind:
            case "linear" | "state":
                return gates[0]
            case "relu" | "rnn":
                return self.squash(layer, "tanh", gates[0])
            case "gate":
                return gates[0] * gates[1]
            case "glu":
                return gates[0] * self.squash(layer, "tanh", gates[1])
            case "lstm":
                i, f, o = (self.squash(layer, "sigmoid", gates[k]) for k in (0, 1, 3))
                cell = f * self.cell[number][unit] + i * self.squash(layer, "tanh", gates[2])
                self.cell[number] = [*self.cell[number][:unit], cell, *self.cell[number][unit + 1 :]]
                return o * self.squash(layer, "tanh", cell)
            case _:
                return self.gru(layer, unit, inputs, before, gates)

    def gru(
        self, layer: Layer, unit: int, inputs: Sequence[Any], before: Sequence[Any], gates: list[Any]
    ) -> Any:
        """A unit whose new value is gated by hand."""
        reset, update = (self.squash(layer, "sigmoid", gates[k]) for k in (0, 1))
        row = 2 * layer.size + unit
        start = self.value(layer.bias_hn[unit]) if layer.bias_hn else self.number(0)
        own = self.row(start, layer.weight_hh, row, before)
        entry = self.row(self.value(layer.bias[row]), layer.weight_ih, row, inputs)
        new = self.squash(layer, "tanh", entry + reset * own)
        return (self.number(1) - update) * new + update * before[unit]


def literal_states(model: Model, tokens: npt.NDArray[Any]) -> list[tuple[list[list[Any]], list[list[Any]]]]:
    """Outputs and cells of all layers before every step of a free run in float64."""
    runner, found = Literal(model, FLOAT64), []
    for token in tokens:
        found.append(([list(each) for each in runner.hidden], [list(each) for each in runner.cell]))
        runner.step(token)
    return found


def forced_literally(model: Model, clean: Model, tokens: npt.NDArray[Any], fmt: Format) -> npt.NDArray[Any]:
    """A loop over the steps, each from the clean states."""
    runner, outputs = Literal(model, fmt), []
    for token, (hidden, cell) in zip(tokens, literal_states(clean, tokens), strict=True):
        runner.hidden = [[runner.number(value) for value in each] for each in hidden]
        runner.cell = [[runner.number(value) for value in each] for each in cell]
        outputs.append(runner.step(token))
    return np.array(outputs, dtype=fmt.dtype)


def forced(model: Model, clean: Model, tokens: npt.NDArray[Any], fmt: Format) -> npt.NDArray[Any]:
    """The same, by the code under test; tokens (B, T, dim)."""
    pieces = [forced_outputs(model, part, states, fmt) for part, states in clean_states(clean, tokens)]
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32, FLOAT64], ids=lambda fmt: str(fmt.name))
@pytest.mark.parametrize("seed", range(12))
def test_a_forced_run_is_a_loop_over_the_steps(
    seed: int, fmt: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, for random stacks and graphs of every kind of layer with states, in any pieces."""
    rng = np.random.default_rng(seed)
    clean = random_model(rng, layers=4, size=3, graph=seed % 2 == 1, kinds=STATEFUL, wild=0.02 * (seed % 3))
    noisy = perturb(clean, 0.1, seed=seed)
    tokens = rng.integers(-4, 5, size=(2, 7, clean.input_dim))
    monkeypatch.setattr(teacher_forcing, "PIECE", int(rng.integers(2, 20)))
    with np.errstate(all="ignore"):
        wanted = np.stack([forced_literally(noisy, clean, prompt, fmt) for prompt in tokens])
    np.testing.assert_array_equal(forced(noisy, clean, tokens, fmt), wanted)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_real_gates_step_as_their_equations_say(kind: Kind) -> None:
    """Native layers, from given states, have the bits of the literal equations."""
    rng = np.random.default_rng(11)
    model = random_model(rng, layers=2, size=3, kinds=(kind,))
    layers = tuple(
        replace(each, activation="native", bias_hn=(mpq(1, 3),) * each.size if kind == "gru" else ())
        for each in model.layers
    )
    model = replace(model, layers=layers)
    tokens = rng.integers(-2, 3, size=(1, 9, model.input_dim))
    drawn = [rng.normal(size=(layer.size, 9)) for layer in layers for _ in range(2)]
    states = States(
        hidden=dict(enumerate(drawn[::2])), cells=dict(enumerate(drawn[1::2])) if kind == "lstm" else {}
    )
    runner, outputs = Literal(model, FLOAT32), []
    for step, token in enumerate(tokens[0]):
        runner.hidden = [list(each[:, step].astype(np.float32)) for each in drawn[::2]]
        runner.cell = [list(each[:, step].astype(np.float32)) for each in drawn[1::2]]
        outputs.append(runner.step(token))
    found = forced_outputs(model, tokens, states, FLOAT32)[0]
    np.testing.assert_array_equal(found, np.array(outputs, dtype=np.float32))


@pytest.mark.parametrize("target", ["linear_rnn", "relu_rnn", "gated_rnn", "lstm", "gru", "uncompiled"])
def test_with_its_own_states_a_model_runs_freely(target: str) -> None:
    """In float64 the forced run of a model from its own states is its free run, bit for bit."""
    model = compile_program(load_program("dictionary"), target)
    tokens = np.stack([subject("dictionary").prompt(seed, 300) for seed in range(2)])
    found = forced(model, model, tokens, FLOAT64)
    np.testing.assert_array_equal(found, execute(model, tokens, FLOAT64).outputs)


def test_states_that_are_no_states_are_refused() -> None:
    """A model without states, and a format without NumPy numbers, are one message each."""
    model = compile_program(load_program("majority"), "hawk", window=20)
    tokens = np.zeros((1, 3, 1), dtype=np.int64)
    with pytest.raises(ConfigError, match="hawk keeps no state"):
        next(clean_states(model, tokens))
    kept = compile_program(load_program("majority"), "lstm")
    with pytest.raises(ConfigError, match="no teacher-forced run in bfloat16"):
        forced_outputs(kept, tokens, States(), BFLOAT16)
