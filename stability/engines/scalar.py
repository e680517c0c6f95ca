"""The slow twin: NumPy scalars and the literal equations, to check faster engines against.

Nothing is folded, shared or reordered: all gates of every unit are computed, in the
order that :mod:`compiler.model` fixes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.exact import ONE, ZERO, Matrix, Vector
from compiler.model import MAX_WINDOW, Layer, Model
from stability.activations import Function, activated
from stability.engines.base import Segment, Session, Status, StatusArray
from stability.engines.convolution import lag_kernels
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
        self._layers = [_Layer(layer, fmt, model.window or MAX_WINDOW) for layer in model.layers]
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
        self.seen: list[list[list[Float]]] = [[] for _ in layers]  # by convolutions, the last first
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

    def __init__(self, layer: Layer, fmt: Format, window: int) -> None:
        self.source = layer
        self._ih, self._hh = _rows(layer.weight_ih, fmt), _rows(layer.weight_hh, fmt)
        self._bias = _vector(layer.bias, fmt)
        (self._one,) = _vector((ONE,), fmt)
        zeros = (ZERO,) * layer.size
        self.initial = _vector(layer.initial or zeros, fmt)
        self.initial_cell = _vector(layer.initial_cell or zeros, fmt)
        self._bias_own = _vector(layer.bias_hn or zeros, fmt)
        self._sigmoid = self._tanh = _relu
        if layer.activation == "native":
            self._sigmoid = lambda values: _activated("sigmoid", values, fmt)
            self._tanh = lambda values: _activated("tanh", values, fmt)
        self._lags: list[list[Row]] = []
        if layer.kind == "conv":
            for kernel in lag_kernels(layer, window, fmt):
                rows = [_row(row, fmt) for row in kernel.lags]
                count, period = len(rows), kernel.period
                rows += [rows[count - period + i % period] for i in range(window - count)] if period else []
                self._lags.append(rows)

    def step(self, inputs: list[Float], sequence: _Sequence, number: int) -> list[Float]:
        if self.source.kind == "conv":
            sequence.hidden[number] = self._convolution(inputs, sequence, number)
            return sequence.hidden[number]
        if self.source.kind == "gru":
            sequence.hidden[number] = self._gru(inputs, sequence.hidden[number], sequence)
            return sequence.hidden[number]
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
            case "glu":
                hidden = sequence.see([e * f for e, f in zip(gates[0], _relu(gates[1]), strict=True)])
            case "lstm":
                entry, forget, out = (self._sigmoid(gates[gate]) for gate in (0, 1, 3))
                old = zip(forget, sequence.cells[number], entry, self._tanh(gates[2]), strict=True)
                cell = sequence.see([f * c + i * g for f, c, i, g in old])
                sequence.cells[number] = cell
                hidden = sequence.see([o * c for o, c in zip(out, self._tanh(cell), strict=True)])
            case _:
                assert_never(self.source.kind)
        sequence.hidden[number] = hidden
        return hidden

    def _convolution(self, inputs: list[Float], sequence: _Sequence, number: int) -> list[Float]:
        seen = sequence.seen[number]
        seen.insert(0, [*inputs, self._one])
        hidden = []
        for start, lags in zip(self.initial, self._lags, strict=True):
            hidden.append(_accumulate(start, zip(lags, seen, strict=False)))
        return sequence.see(hidden)

    def _gru(self, inputs: list[Float], before: list[Float], sequence: _Sequence) -> list[Float]:
        size, see = self.source.size, sequence.see
        gates, new = slice(0, 2 * size), slice(2 * size, 3 * size)
        rows = zip(self._bias[gates], self._hh[gates], self._ih[gates], strict=True)
        switches = self._sigmoid(
            see([_accumulate(bias, [(hh, before), (ih, inputs)]) for bias, hh, ih in rows])
        )
        reset, update = switches[:size], switches[size:]
        entry = see(
            [
                _accumulate(bias, [(ih, inputs)])
                for bias, ih in zip(self._bias[new], self._ih[new], strict=True)
            ]
        )
        own = see(
            [
                _accumulate(bias, [(hh, before)])
                for bias, hh in zip(self._bias_own, self._hh[new], strict=True)
            ]
        )
        fed = see([r * u for r, u in zip(reset, own, strict=True)])
        candidate = self._tanh(see([e + f for e, f in zip(entry, fed, strict=True)]))
        taken = see([(self._one - z) * n for z, n in zip(update, candidate, strict=True)])
        kept = see([z * h for z, h in zip(update, before, strict=True)])
        return see([t + k for t, k in zip(taken, kept, strict=True)])


def _accumulate(bias: Float, parts: Iterable[tuple[Row, list[Float]]]) -> Float:
    total = bias
    for row, values in parts:
        for column, weight in row:
            total = total + weight * values[column]
    return total


def _relu(values: list[Float]) -> list[Float]:
    """max(0, x) with nan for nan and +0 for −0."""
    return [type(value)(0) if value <= 0 else value for value in values]


def _activated(function: Function, values: list[Float], fmt: Format) -> list[Float]:
    return [type(value)(activated(function, float(value), fmt)) for value in values]


def _vector(values: Vector, fmt: Format) -> list[Float]:
    assert fmt.dtype is not None
    return [fmt.dtype.type(round_rational(value, fmt)) for value in values]


def _rows(matrix: Matrix, fmt: Format) -> list[Row]:
    return [_row(row, fmt) for row in matrix.rows]


def _row(row: Iterable[tuple[int, mpq]], fmt: Format) -> Row:
    assert fmt.dtype is not None
    return [(j, fmt.dtype.type(round_rational(w, fmt))) for j, w in row]
