"""Teacher-forced runs: before every step the states are replaced by those of another model.

A noisy or rounded model that is run freely passes its errors on from step to step.  With
the states of the clean model put in place before each step (arXiv 2406.01424, section 5),
an output shows the errors of one step only, whatever the length of the prompt.

With all states given, a step depends on no other one, so all steps of a prompt are
computed side by side, a NumPy operation for each operation of :mod:`compiler.model`, in
its order: the same bits as a loop over the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from compiler.exact import ZERO, Matrix, Vector
from compiler.model import GATES, TOKENS, Layer, Model
from stability.activations import FUNCTIONS, Function, activated
from stability.formats import FLOAT64, Format
from stability.policy import AnyPolicy
from stability.rounding import round_array, round_rationals
from stability.running import stream

FORCED = ("float16", "float32", "float64")
PIECE = 2048  # steps that are computed side by side

Columns = npt.NDArray[np.floating[Any]]  # (values, steps): one row per unit or gate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class States:
    """What the layers of a model hold before each of T steps of B prompts.

    Attributes:
        hidden: (H, B·T) per layer that reads its own previous output, prompt after prompt.
        cells: (H, B·T) per ``lstm`` layer whose forget gate is not shut.
    """

    hidden: Mapping[int, Columns] = field(default_factory=dict)
    cells: Mapping[int, Columns] = field(default_factory=dict)


def clean_states(model: Model, tokens: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], States]]:
    """The states of a model that runs freely in float64.

    Args:
        model: a compiled model that keeps states.
        tokens: (B, T, input_dim), exact.

    Yields:
        The tokens in pieces along time, each with the states before its steps.

    Raises:
        ConfigError: a model with ``conv`` layers, which keep no state.
        TokenError: tokens of another width.
    """
    check_forcing(model, FLOAT64)
    recurrent = [number for number, layer in enumerate(model.layers) if _keeps_output(layer)]
    celled = [number for number, layer in enumerate(model.layers) if _keeps_cell(layer)]
    wanted = {number + 1 for number in recurrent}
    wanted |= {wire for number in celled for wire in model.layers[number].inputs}
    steps = _Steps(model, FLOAT64)
    batch, length = tokens.shape[:2]
    last = {number: np.tile(steps.layers[number].initial, (batch, 1)) for number in recurrent}
    cell = {number: np.tile(steps.layers[number].initial_cell, (batch, 1)) for number in celled}
    size = max(1, PIECE // max(1, batch))
    pieces = [tokens[:, start : start + size] for start in range(0, length, size)]
    for piece, run in zip(pieces, stream(model, pieces, FLOAT64, keep=sorted(wanted)), strict=True):
        hidden, cells = {}, {}
        for number in recurrent:
            values = run.wires[number + 1]
            hidden[number] = _columns(np.concatenate([last[number][:, np.newaxis], values[:, :-1]], axis=1))
            last[number] = values[:, -1]
        for number in celled:
            inputs = np.concatenate([_columns(run.wires[wire]) for wire in model.layers[number].inputs])
            cells[number], cell[number] = steps.layers[number].cells(inputs, hidden.get(number), cell[number])
        yield piece, States(hidden=hidden, cells=cells)


def forced_outputs(
    model: Model, tokens: npt.NDArray[Any], states: States, fmt: Format
) -> npt.NDArray[np.floating[Any]]:
    """The outputs of a model whose states are given before every step.

    Args:
        model: a compiled model, with the layers that ``states`` belong to.
        tokens: (B, T, input_dim), exact.
        states: rounded once to ``fmt``.
        fmt: float16, float32 or float64: of weights, values and every operation.

    Returns:
        (B, T, output_dim) in ``fmt``.

    Raises:
        ConfigError: another format, or a model with ``conv`` layers.
    """
    check_forcing(model, fmt)
    outputs = _Steps(model, fmt).outputs(_columns(round_array(tokens, fmt)), states)
    return outputs.T.reshape(*tokens.shape[:2], model.output_dim)


def forced_wires(
    model: Model, tokens: npt.NDArray[Any], states: States, fmt: Format, keep: Sequence[int]
) -> dict[int, npt.NDArray[np.floating[Any]]]:
    """As :func:`forced_outputs`, the values (B, T, size) of chosen wires (0: tokens, k + 1: layer k)."""
    check_forcing(model, fmt)
    wires = _Steps(model, fmt).wires(_columns(round_array(tokens, fmt)), states)
    return {wire: wires[wire].T.reshape(*tokens.shape[:2], -1) for wire in keep}


def check_forcing(model: Model, fmt: AnyPolicy) -> Format:
    """``fmt``, if a model can be run teacher-forced in it.

    Raises:
        ConfigError: it cannot.
    """
    if any(layer.kind == "conv" for layer in model.layers):
        raise ConfigError.single(
            f"{model.target} keeps no state from step to step, so none can be replaced by a clean one",
            hint="run it freely, or choose a target with states",
        )
    if not isinstance(fmt, Format) or fmt.name not in FORCED:
        raise ConfigError.single(f"no teacher-forced run in {fmt.name}", hint="one of " + ", ".join(FORCED))
    return fmt


def _keeps_output(layer: Layer) -> bool:
    return layer.kind == "gru" or layer.weight_hh.nonzeros > 0


def _keeps_cell(layer: Layer) -> bool:
    if layer.kind != "lstm":
        return False
    forget = slice(layer.size, 2 * layer.size)
    rows = (*layer.weight_ih.rows[forget], *layer.weight_hh.rows[forget])
    # a native gate without entries is S(0) = 1/2, one of the paper's kind is shut
    return layer.activation == "native" or any(rows) or any(layer.bias[forget])


def _columns(values: npt.NDArray[Any]) -> Columns:
    """(B, T, size) as (size, B·T)."""
    return np.ascontiguousarray(values.reshape(-1, values.shape[-1]).T)


class _Steps:
    """A model's constants in one format, and all of its steps at once."""

    def __init__(self, model: Model, fmt: Format) -> None:
        self._model = model
        self.layers = [_LayerSteps(layer, fmt) for layer in model.layers]
        self._readout = _Rows(model.readout, fmt)
        self._readout_bias = _vector(model.readout_bias, fmt)

    def outputs(self, tokens: Columns, states: States) -> Columns:
        """(output_dim, B·T) from rounded tokens (input_dim, B·T)."""
        inputs = _gather(self.wires(tokens, states), self._model.readout_wires)
        with np.errstate(all="ignore"):
            return self._readout.added(_filled(self._readout_bias, inputs), inputs)

    def wires(self, tokens: Columns, states: States) -> list[Columns]:
        """Every wire, (size, B·T), from rounded tokens (input_dim, B·T)."""
        wires = [tokens]
        with np.errstate(all="ignore"):
            for number, layer in enumerate(self.layers):
                hidden, cell = (
                    None if values is None else values.astype(tokens.dtype)
                    for values in (states.hidden.get(number), states.cells.get(number))
                )
                wires.append(layer.outputs(_gather(wires, layer.source.inputs), hidden, cell))
        return wires


class _LayerSteps:
    """A layer's constants in one format, and all of its steps at once."""

    def __init__(self, layer: Layer, fmt: Format) -> None:
        self.source = layer
        self._ih, self._hh = _Rows(layer.weight_ih, fmt), _Rows(layer.weight_hh, fmt)
        self._bias = _vector(layer.bias, fmt)
        zeros = (ZERO,) * layer.size
        self._bias_hn = _vector(layer.bias_hn or zeros, fmt)
        self.initial = _vector(layer.initial or zeros, fmt)
        self.initial_cell = _vector(layer.initial_cell or zeros, fmt)
        self._switch: Callable[[Columns], Columns] = _relu
        self._value: Callable[[Columns], Columns] = _relu
        if layer.activation == "native":
            self._switch, self._value = (partial(_function, name, fmt) for name in FUNCTIONS)

    def outputs(self, inputs: Columns, hidden: Columns | None, cell: Columns | None) -> Columns:
        """(H, T) from the layer's inputs (D, T) and its states before each step."""
        if self.source.kind == "gru":
            assert hidden is not None
            return self._gru(inputs, hidden)
        gates = self._gates(inputs, hidden)
        match self.source.kind:
            case "linear" | "state":
                return gates[0]
            case "relu" | "rnn":
                return _relu(gates[0])
            case "gate":
                return gates[0] * gates[1]
            case "glu":
                return gates[0] * _relu(gates[1])
            case "lstm":
                entry, forget, out = (self._switch(gates[k]) for k in (0, 1, 3))
                kept = np.zeros_like(out) if cell is None else cell
                return out * self._value(forget * kept + entry * self._value(gates[2]))
            case "conv":
                raise AssertionError("refused by check_forcing")
            case _:
                assert_never(self.source.kind)

    def cells(self, inputs: Columns, hidden: Columns | None, first: Columns) -> tuple[Columns, Columns]:
        """An ``lstm`` layer's cells, run freely: before each step (H, B·T), and after the last (B, H).

        ``first`` holds those before the first step, (B, H).
        """
        with np.errstate(all="ignore"):
            gates = self._gates(inputs, hidden)
            by_step = (self.source.size, len(first), -1)
            kept = self._switch(gates[1]).reshape(by_step)
            added = (self._switch(gates[0]) * self._value(gates[2])).reshape(by_step)
            held, now = np.empty_like(added), first.T
            for step in range(added.shape[2]):
                held[..., step] = now
                now = kept[..., step] * now + added[..., step]
        return held.reshape(self.source.size, -1), now.T

    def _gates(self, inputs: Columns, hidden: Columns | None) -> list[Columns]:
        total = _filled(self._bias, inputs)
        if hidden is not None:
            total = self._hh.added(total, hidden)
        total = self._ih.added(total, inputs)
        return list(total.reshape(GATES[self.source.kind], self.source.size, -1))

    def _gru(self, inputs: Columns, before: Columns) -> Columns:
        size = self.source.size
        switches, new = slice(0, 2 * size), slice(2 * size, 3 * size)
        start = _filled(self._bias, inputs)
        total = self._ih.added(self._hh.added(start[switches], before, switches), inputs, switches)
        reset, update = self._switch(total[:size]), self._switch(total[size:])
        entry = self._ih.added(start[new], inputs, new)
        own = self._hh.added(_filled(self._bias_hn, inputs), before, new)
        candidate = self._value(entry + reset * own)
        return (before.dtype.type(1) - update) * candidate + update * before


class _Rows:
    """A matrix in one format, row by row."""

    def __init__(self, matrix: Matrix, fmt: Format) -> None:
        assert fmt.dtype is not None
        values = iter(round_rationals((v for _, _, v in matrix.entries()), fmt).astype(fmt.dtype))
        self._rows = [[(column, next(values)) for column, _ in row] for row in matrix.rows]

    def added(self, start: Columns, values: Columns, rows: slice = slice(None)) -> Columns:
        """Accumulators plus the products with ``values``, column by column in ascending order."""
        total = start.copy()
        for accumulator, row in zip(total, self._rows[rows], strict=True):
            for column, weight in row:
                np.add(accumulator, weight * values[column], out=accumulator)
        return total


def _vector(values: Vector, fmt: Format) -> Columns:
    return round_rationals(values, fmt).astype(fmt.dtype)


def _filled(bias: Columns, inputs: Columns) -> Columns:
    return np.repeat(bias[:, np.newaxis], inputs.shape[1], axis=1)


def _gather(wires: list[Columns], chosen: tuple[int, ...]) -> Columns:
    assert all(wire >= TOKENS for wire in chosen)
    return wires[chosen[0]] if len(chosen) == 1 else np.concatenate([wires[wire] for wire in chosen])


def _relu(values: Columns) -> Columns:
    """max(0, x) with nan for nan and +0 for −0."""
    return np.where(values <= 0, values.dtype.type(0), values)


def _function(name: Function, fmt: Format, values: Columns) -> Columns:
    """Sigmoid or tanh, rounded once; gates of a clean run take few distinct values."""
    distinct, places = np.unique(values, return_inverse=True)
    found = np.array([activated(name, float(value), fmt) for value in distinct], dtype=values.dtype)
    return found[places].reshape(values.shape)
