"""The literal equations of a model under a policy, one number at a time.

Nothing is folded, shared or reordered: all gates of every unit are computed, in the
order that :mod:`compiler.model` fixes, and rounded where :mod:`stability.policy` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.exact import ONE, ZERO, Matrix, Vector
from compiler.model import MAX_WINDOW, Layer, Model
from stability.activations import Function
from stability.engines.base import Segment, Status, StatusArray
from stability.engines.convolution import lag_kernels
from stability.engines.numbers import Number, Numbers, Site
from stability.policy import Policy, wire_type
from stability.random_bits import GATE, Rounding

Row = list[tuple[int, Number]]


class LiteralSession:
    """A model under way; see :class:`stability.engines.base.Session`."""

    def __init__(self, model: Model, policy: Policy, numbers: Numbers, keep: tuple[int, ...]) -> None:
        self._model, self._policy, self._numbers, self._keep = model, policy, numbers, keep
        window = model.window or MAX_WINDOW
        self._layers = [_Layer(n, layer, policy, numbers, window) for n, layer in enumerate(model.layers)]
        self._readout = _Rows(len(model.layers), model.readout_bias, (model.readout,), numbers)
        self._sequences: list[_Sequence] = []
        self._seen = 0

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        """See :class:`stability.engines.base.Session`."""
        batch, steps = tokens.shape[:2]
        if not self._sequences:
            self._sequences = [_Sequence(self._layers) for _ in range(batch)]
        policy, shape = self._policy, (batch, steps)
        outputs = np.zeros((*shape, self._model.output_dim), dtype=wire_type(policy, -1))
        status: StatusArray = np.zeros(shape, dtype=np.uint8)
        wires = {
            wire: np.zeros((*shape, self._model.wire_size(wire)), dtype=wire_type(policy, wire))
            for wire in self._keep
        }
        with np.errstate(all="ignore"):
            for b, sequence in enumerate(self._sequences):
                for t in range(steps):
                    self._numbers.at(b, self._seen + t)
                    values = self._advance(sequence, tokens[b, t])
                    outputs[b, t] = self._read(sequence, values)
                    status[b, t] = sequence.status
                    for wire, kept in wires.items():
                        kept[b, t] = values[wire]
        self._seen += steps
        return Segment(outputs=outputs, status=status, wires=wires)

    def _advance(self, sequence: _Sequence, token: npt.NDArray[Any]) -> list[list[Number]]:
        entries = [value if isinstance(value, float | mpq) else int(value) for value in token.tolist()]
        wires = [sequence.see([self._numbers.constant(mpq(value), "input") for value in entries])]
        for layer in self._layers:
            inputs = [value for wire in layer.source.inputs for value in wires[wire]]
            wires.append(layer.step(inputs, sequence))
        return wires

    def _read(self, sequence: _Sequence, wires: list[list[Number]]) -> list[Number]:
        inputs = [value for wire in self._model.readout_wires for value in wires[wire]]
        found, rows = [], self._readout
        for row in range(self._model.output_dim):
            total = rows.total(row, row, 0, [inputs])
            site = (rows.layer, row, Rounding.VALUE)
            found.append(self._numbers.rounded(sequence.see_one(total), "readout", site))
        return sequence.see(found)


class _Sequence:
    """The memory of one sequence."""

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self.hidden = [list(layer.initial) for layer in layers]
        self.cells = [list(layer.initial_cell) for layer in layers]
        self.seen: list[list[list[Number]]] = [[] for _ in layers]  # by convolutions, the last first
        self.status = Status.OK

    def see(self, values: list[Number]) -> list[Number]:
        """Note what is not finite among ``values``; returns them."""
        for value in values:
            self.see_one(value)
        return values

    def see_one(self, value: Number) -> Number:
        """As :meth:`see`, of one value."""
        off = value - value
        if off != off:  # noqa: PLR0124 -- nan
            overflowed = value == value  # noqa: PLR0124 -- not nan
            self.status = max(self.status, Status.OVERFLOW if overflowed else Status.NAN)
        return value


class _Rows:
    """Rounded weights, and the accumulators that begin at a bias."""

    def __init__(self, layer: int, bias: Vector, parts: Sequence[Matrix], numbers: Numbers) -> None:
        self.layer, self._numbers = layer, numbers
        self._bias = [numbers.constant(value, "weights", "accumulator") for value in bias]
        self._parts = [[_row(row, numbers) for row in part.rows] for part in parts]

    def total(self, row: int, unit: int, gate: int, sources: Sequence[list[Number]]) -> Number:
        """One pre-activation: bias, then term after term of each matrix."""
        parts = [(part[row], values) for part, values in zip(self._parts, sources, strict=True)]
        return accumulate(self._numbers, self._bias[row], parts, (self.layer, unit, gate * GATE))

    def terms(self, row: int) -> int:
        """How many products an accumulator takes."""
        return sum(len(part[row]) for part in self._parts)


def accumulate(
    numbers: Numbers, bias: Number, parts: Iterable[tuple[Row, list[Number]]], first: tuple[int, int, int]
) -> Number:
    """A bias and products, added one by one."""
    total, (layer, unit, operation) = bias, first
    for row, values in parts:
        for column, weight in row:
            product = numbers.times(weight, values[column], (layer, unit, operation))
            total = numbers.plus(total, product, (layer, unit, operation + 1))
            operation += 2
    return total


class _Layer:
    """A layer's rounded constants and its literal step."""

    def __init__(self, number: int, layer: Layer, policy: Policy, numbers: Numbers, window: int) -> None:
        self.source, self.number, self.numbers = layer, number, numbers
        self.one, self.minus_one = (numbers.constant(value, "weights") for value in (ONE, -ONE))
        zeros = (ZERO,) * layer.size
        self.initial = [numbers.constant(value, "state") for value in layer.initial or zeros]
        self.initial_cell = [numbers.constant(value, "state") for value in layer.initial_cell or zeros]
        if layer.kind == "conv":
            self.starts = [
                numbers.constant(value, "weights", "accumulator") for value in layer.initial or zeros
            ]
            self.lags = _lags(layer, policy, numbers, window)
            return
        self.rows = _Rows(number, layer.bias, (layer.weight_hh, layer.weight_ih), numbers)
        if layer.kind == "gru":
            cut = 2 * layer.size
            own = _below(layer.weight_hh, cut)
            self.entry = _Rows(number, layer.bias[cut:], (_below(layer.weight_ih, cut),), numbers)
            self.own = _Rows(number, layer.bias_hn or zeros, (own,), numbers)

    def step(self, inputs: list[Number], sequence: _Sequence) -> list[Number]:
        """The layer's output; its new memory is in ``sequence``."""
        n = self.number
        if self.source.kind == "conv":
            sequence.seen[n].insert(0, [*inputs, self.one])
        units = [_Unit(self, unit, inputs, sequence) for unit in range(self.source.size)]
        kept = [unit.value() for unit in units]
        sequence.hidden[n], sequence.cells[n] = kept, [unit.cell for unit in units]
        return [
            unit.rounded(value, "activations", Rounding.OUTPUT)
            for unit, value in zip(units, kept, strict=True)
        ]


class _Unit:
    """One unit's equations at one step."""

    def __init__(self, layer: _Layer, unit: int, inputs: list[Number], sequence: _Sequence) -> None:
        self._layer, self._unit, self._inputs, self._sequence = layer, unit, inputs, sequence
        self._numbers = layer.numbers
        self._before = sequence.hidden[layer.number]
        self.cell = sequence.cells[layer.number][unit]

    def value(self) -> Number:
        """What the layer keeps of this unit, and hands on."""
        kind = self._layer.source.kind
        match kind:
            case "linear" | "relu":
                found = self._handed(0, relu=kind == "relu")
            case "state" | "rnn":
                found = self._stored(_relu(self._gate(0)) if kind == "rnn" else self._gate(0))
            case "gate" | "glu":
                left, right = self._handed(0), self._handed(1, relu=kind == "glu")
                found = self._times(left, right, Rounding.PRODUCT)
            case "lstm":
                found = self._lstm()
            case "gru":
                found = self._gru()
            case "conv":
                found = self._convolution()
            case _:
                assert_never(kind)
        return found

    def rounded(self, value: Number, place: str, operation: int) -> Number:
        """A number in the format of a place."""
        return self._sequence.see_one(self._numbers.rounded(value, place, self._site(operation)))

    def _site(self, operation: int) -> Site:
        return self._layer.number, self._unit, operation

    def _gate(self, gate: int) -> Number:
        """A pre-activation, as its accumulator holds it."""
        row = gate * self._layer.source.size + self._unit
        total = self._layer.rows.total(row, self._unit, gate, (self._before, self._inputs))
        return self._sequence.see_one(total)

    def _handed(self, gate: int, *, relu: bool = False) -> Number:
        """A pre-activation after its ReLU, if it has one."""
        value = self._gate(gate)
        return self.rounded(_relu(value) if relu else value, "activations", Rounding.VALUE + gate)

    def _active(self, value: Number, function: Function, operation: int) -> Number:
        """A value after its activation function, rounded once."""
        if self._layer.source.activation == "relu":
            return self.rounded(_relu(value), "activations", operation)
        return self._sequence.see_one(self._numbers.activated(function, value, self._site(operation)))

    def _stored(self, value: Number) -> Number:
        return self.rounded(value, "state", Rounding.STORED)

    def _times(self, left: Number, right: Number, operation: int) -> Number:
        return self._sequence.see_one(self._numbers.times(left, right, self._site(operation)))

    def _plus(self, left: Number, right: Number, operation: int) -> Number:
        return self._sequence.see_one(self._numbers.plus(left, right, self._site(operation)))

    def _mixed(self, share: Number, old: Number, other: Number, new: Number, *, last: bool) -> Number:
        """Returns share · old + other · new, added in this order if the new one comes ``last``."""
        kept = self._times(share, old, Rounding.KEPT)
        entered = self._times(other, new, Rounding.ENTERED)
        terms = (kept, entered) if last else (entered, kept)
        return self._plus(*terms, Rounding.MEMORY)

    def _lstm(self) -> Number:
        functions: tuple[Function, ...] = ("sigmoid", "sigmoid", "tanh", "sigmoid")
        entry, forget, candidate, out = (
            self._active(self._gate(gate), function, Rounding.VALUE + gate)
            for gate, function in enumerate(functions)
        )
        memory = self._mixed(forget, self.cell, entry, candidate, last=True)
        self.cell = self.rounded(memory, "state", Rounding.STORED_CELL)
        exposed = self._active(self.cell, "tanh", Rounding.EXPOSED)
        return self._stored(self._times(out, exposed, Rounding.PRODUCT))

    def _gru(self) -> Number:
        layer, unit, see = self._layer, self._unit, self._sequence.see_one
        reset, update = (
            self._active(self._gate(gate), "sigmoid", Rounding.VALUE + gate) for gate in range(2)
        )
        entry = see(layer.entry.total(unit, unit, 2, (self._inputs,)))
        own = see(layer.own.total(unit, unit, 3, (self._before,)))
        last = 2 * GATE + 2 * layer.entry.terms(unit)  # r · own is one more term of that accumulator
        driven = self._plus(entry, self._times(reset, own, last), last + 1)
        candidate = self._active(driven, "tanh", Rounding.VALUE + 2)
        negative = self._times(layer.minus_one, update, Rounding.COMPLEMENT)
        share = self._plus(layer.one, negative, Rounding.COMPLEMENT + 1)
        return self._stored(self._mixed(update, self._before[unit], share, candidate, last=False))

    def _convolution(self) -> Number:
        layer, unit = self._layer, self._unit
        parts = zip(layer.lags[unit], self._sequence.seen[layer.number], strict=False)
        return self._sequence.see_one(accumulate(self._numbers, layer.starts[unit], parts, self._site(0)))


def _lags(layer: Layer, policy: Policy, numbers: Numbers, window: int) -> list[list[Row]]:
    """Per unit, its weights at every lag of the window."""
    found = []
    for kernel in lag_kernels(layer, window, policy.weights):
        rows = [_row(row, numbers) for row in kernel.lags]
        count, period = len(rows), kernel.period
        rows += [rows[count - period + i % period] for i in range(window - count)] if period else []
        found.append(rows)
    return found


def _below(matrix: Matrix, start: int) -> Matrix:
    """The rows from ``start`` on."""
    return Matrix(height=matrix.height - start, width=matrix.width, rows=matrix.rows[start:])


def _row(row: Iterable[tuple[int, mpq]], numbers: Numbers) -> Row:
    return [(j, numbers.constant(w, "weights")) for j, w in row]


def _relu(value: Number) -> Number:
    """max(0, x) with nan for nan and +0 for −0."""
    return type(value)(0) if value <= 0 else value
