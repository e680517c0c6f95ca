"""The slow twin: NumPy scalars and the literal equations, to check faster engines against.

Nothing is folded, shared or reordered: all gates of every unit are computed, in the
order that :mod:`compiler.model` fixes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from compiler.exact import ZERO, Matrix, Vector
from compiler.model import Layer, Model
from stability.engines.base import Segment, Session, Status, StatusArray
from stability.formats import FLOATS, AnyFormat, Format
from stability.rounding import round_array, round_rational

Float = np.floating[Any]
Row = list[tuple[int, Float]]


class ScalarEngine:
    """Formats that NumPy has scalars of, one operation at a time."""

    def prepare(self, model: Model, fmt: AnyFormat, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`."""
        if not isinstance(fmt, Format) or fmt.dtype is None:
            raise ConfigError.single(
                f"engine 'scalar' cannot run {fmt.name}", hint="one of " + ", ".join(FLOATS)
            )
        return _ScalarSession(model, fmt, tuple(keep))


class _ScalarSession:
    def __init__(self, model: Model, fmt: Format, keep: tuple[int, ...]) -> None:
        self._model, self._format, self._keep = model, fmt, keep
        self._layers = [_Layer(layer, fmt) for layer in model.layers]
        self._readout = _rows(model.readout, fmt)
        self._readout_bias = _vector(model.readout_bias, fmt)
        self._sequences: list[_Sequence] = []

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        rounded = round_array(tokens, self._format)
        if not self._sequences:
            self._sequences = [_Sequence(self._layers) for _ in range(len(rounded))]
        batch, steps = rounded.shape[:2]
        outputs = np.zeros((batch, steps, self._model.output_dim), dtype=self._format.dtype)
        status: StatusArray = np.zeros((batch, steps), dtype=np.uint8)
        wires = {
            wire: np.zeros((batch, steps, self._model.wire_size(wire)), dtype=self._format.dtype)
            for wire in self._keep
        }
        with np.errstate(all="ignore"):
            for b, sequence in enumerate(self._sequences):
                for t in range(steps):
                    values = self._advance(sequence, list(rounded[b, t]))
                    outputs[b, t] = self._read(sequence, values)
                    status[b, t] = sequence.status
                    for wire, kept in wires.items():
                        kept[b, t] = values[wire]
        return Segment(outputs=outputs, status=status, wires=wires)

    def _advance(self, sequence: _Sequence, token: list[Float]) -> list[list[Float]]:
        sequence.see(token)
        wires = [token]
        for number, layer in enumerate(self._layers):
            inputs = [value for wire in layer.source.inputs for value in wires[wire]]
            wires.append(layer.step(inputs, sequence, number))
        return wires

    def _read(self, sequence: _Sequence, wires: list[list[Float]]) -> list[Float]:
        inputs = [value for wire in self._model.readout_wires for value in wires[wire]]
        return sequence.see(
            [
                _accumulate(bias, [(row, inputs)])
                for bias, row in zip(self._readout_bias, self._readout, strict=True)
            ]
        )


class _Sequence:
    """The memory of one sequence."""

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self.hidden = [list(layer.initial) for layer in layers]
        self.cells = [list(layer.initial_cell) for layer in layers]
        self.status = Status.OK

    def see(self, values: list[Float]) -> list[Float]:
        """Note what is not finite among ``values``; returns them."""
        for value in values:
            if np.isnan(value):
                self.status = Status.NAN
            elif np.isinf(value):
                self.status = max(self.status, Status.OVERFLOW)
        return values


class _Layer:
    """A layer's rounded constants and its literal step."""

    def __init__(self, layer: Layer, fmt: Format) -> None:
        self.source = layer
        self._ih, self._hh = _rows(layer.weight_ih, fmt), _rows(layer.weight_hh, fmt)
        self._bias = _vector(layer.bias, fmt)
        zeros = (ZERO,) * layer.size
        self.initial = _vector(layer.initial or zeros, fmt)
        self.initial_cell = _vector(layer.initial_cell or zeros, fmt)

    def step(self, inputs: list[Float], sequence: _Sequence, number: int) -> list[Float]:
        before = sequence.hidden[number]
        rows = sequence.see(
            [
                _accumulate(bias, [(hh, before), (ih, inputs)])
                for bias, hh, ih in zip(self._bias, self._hh, self._ih, strict=True)
            ]
        )
        size = self.source.size
        gates = [rows[start : start + size] for start in range(0, len(rows), size)]
        match self.source.kind:
            case "linear" | "state":
                hidden = rows
            case "relu" | "rnn":
                hidden = _relu(rows)
            case "gate":
                hidden = sequence.see([a * b for a, b in zip(*gates, strict=True)])
            case "lstm":
                entry, forget, candidate, out = (_relu(gate) for gate in gates)
                old = zip(forget, sequence.cells[number], entry, candidate, strict=True)
                cell = sequence.see([f * c + i * g for f, c, i, g in old])
                sequence.cells[number] = cell
                hidden = sequence.see([o * c for o, c in zip(out, _relu(cell), strict=True)])
            case _:
                assert_never(self.source.kind)
        sequence.hidden[number] = hidden
        return hidden


def _accumulate(bias: Float, parts: Iterable[tuple[Row, list[Float]]]) -> Float:
    total = bias
    for row, values in parts:
        for column, weight in row:
            total = total + weight * values[column]
    return total


def _relu(values: list[Float]) -> list[Float]:
    """max(0, x) with nan for nan and +0 for −0."""
    return [type(value)(0) if value <= 0 else value for value in values]


def _vector(values: Vector, fmt: Format) -> list[Float]:
    assert fmt.dtype is not None
    return [fmt.dtype.type(round_rational(value, fmt)) for value in values]


def _rows(matrix: Matrix, fmt: Format) -> list[Row]:
    assert fmt.dtype is not None
    return [[(j, fmt.dtype.type(round_rational(w, fmt))) for j, w in row] for row in matrix.rows]
