"""A bound on the forward error of an engine, derived while a model runs over a prompt.

The rules are those of :mod:`stability.bounded`; a recurrence takes the bounds of its
state over from the token before, so they hold for any number of tokens, however wide
they grow.  A bound says what rounding can do at worst, in any order of summation; it is
no estimate of what it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.convolution import lag_matrices
from compiler.errors import ConfigError
from compiler.exact import ZERO, Matrix, Vector
from compiler.model import Layer, Model
from stability.bounded import Arithmetic, Bounded, Sums, joined, with_one
from stability.formats import Format

LONGEST_SUM = 8000
KERNEL_BITS = 1100
"""Bits of a kernel's entry that has grown long: as good as exact beside any format's rounding."""
KINDS = frozenset({"linear", "relu", "gate", "glu", "state", "rnn", "lstm", "gru", "conv"})


def forward_error(model: Model, tokens: npt.NDArray[Any], fmt: Format) -> Bounded:
    """Run a model with bounds beside its values.

    Args:
        model: a compiled model.
        tokens: (B, T, input_dim), exact: int64, float64 or objects (rationals).
        fmt: the format in which an engine runs it.

    Returns:
        The outputs, (B, T, output_dim): float64 values and their own bound, and the
        bound on what the engine's outputs differ from the exact ones.

    Raises:
        ConfigError: a kind of layer that no bound is derived for.
    """
    for layer in model.layers:
        if layer.kind not in KINDS:
            raise ConfigError.single(f"no error bound is known for layers of kind {layer.kind!r}")
        if layer.activation == "native":
            raise ConfigError.single(
                "no forward error bound is known for sigmoid and tanh",
                hint="real gates come with a bound of their own",
            )
    arithmetic = Arithmetic(fmt)
    batch, length = tokens.shape[:2]
    stack = _Stack(model, arithmetic, batch)
    exact = [mpq(v) if isinstance(v, float | mpq) else mpq(int(v)) for v in tokens.reshape(-1).tolist()]
    flat, shape = arithmetic.constants(exact), tokens.shape
    given = Bounded(
        value=flat.value.reshape(shape), own=flat.own.reshape(shape), error=flat.error.reshape(shape)
    )
    outputs = np.zeros((3, batch, length, model.output_dim))
    with np.errstate(all="ignore"):
        for step in range(length):
            found = stack.step(given[:, step])
            outputs[:, :, step] = found.value, found.own, found.error
    return Bounded(value=outputs[0], own=outputs[1], error=outputs[2])


class _Stack:
    """The layers of a model with their states."""

    def __init__(self, model: Model, arithmetic: Arithmetic, batch: int) -> None:
        self._model = model
        self._layers = [
            (_Convolution if layer.kind == "conv" else _Layer)(layer, model.window, arithmetic, batch)
            for layer in model.layers
        ]
        self._arithmetic = arithmetic
        self._readout = arithmetic.sums([model.readout], model.readout_bias)

    def step(self, token: Bounded) -> Bounded:
        """The outputs (B, output_dim) for the next token (B, input_dim)."""
        wires = [token]
        for layer in self._layers:
            wires.append(layer.step(_gathered(wires, layer.source.inputs)))
        return self._arithmetic.weighted(self._readout, _gathered(wires, self._model.readout_wires))


def _gathered(wires: Sequence[Bounded], chosen: Sequence[int]) -> Bounded:
    return wires[chosen[0]] if len(chosen) == 1 else joined([wires[wire] for wire in chosen])


class _Layer:
    """One layer, by the equations of :mod:`compiler.model`."""

    def __init__(self, layer: Layer, _window: int | None, arithmetic: Arithmetic, batch: int) -> None:
        self.source, self._arithmetic = layer, arithmetic
        self._rows = _layer_sums(layer, arithmetic)
        zeros = (ZERO,) * layer.size
        self._hidden = _start(layer.initial or zeros, arithmetic, batch)
        self._cell = _start(layer.initial_cell or zeros, arithmetic, batch)
        one = np.ones((batch, layer.size))
        self._one = Bounded(value=one, own=0 * one, error=0 * one)

    def step(self, inputs: Bounded) -> Bounded:
        """The layer's outputs (B, H) for the next inputs (B, D)."""
        compute, kind = self._arithmetic, self.source.kind
        if kind == "gru":
            self._hidden = self._gru(inputs)
            return self._hidden
        rows = compute.weighted(self._rows[0], joined([self._hidden, inputs]))
        if kind in {"relu", "rnn"}:
            rows = compute.relu(rows)
        elif kind == "gate":
            rows = compute.product(*self._gates(rows, 2))
        elif kind == "glu":
            left, right = self._gates(rows, 2)
            rows = compute.product(left, compute.relu(right))
        elif kind == "lstm":
            entry, forget, candidate, out = self._gates(compute.relu(rows), 4)
            kept = compute.product(forget, self._cell)
            self._cell = compute.plus(kept, compute.product(entry, candidate))
            rows = compute.product(out, compute.relu(self._cell))
        self._hidden = rows
        return rows

    def _gru(self, inputs: Bounded) -> Bounded:
        compute = self._arithmetic
        gates, fed, own = self._rows
        reset, update = self._gates(compute.relu(compute.weighted(gates, joined([self._hidden, inputs]))), 2)
        driven = compute.product(reset, compute.weighted(own, self._hidden))
        candidate = compute.relu(compute.plus(compute.weighted(fed, inputs), driven))
        minus = Bounded(value=-update.value, own=update.own, error=update.error)
        entered = compute.product(compute.plus(self._one, minus), candidate)
        return compute.plus(entered, compute.product(update, self._hidden))

    def _gates(self, rows: Bounded, number: int) -> list[Bounded]:
        size = self.source.size
        return [rows[:, gate * size : (gate + 1) * size] for gate in range(number)]


class _Convolution:
    """A ``conv``: one sum over all lags; its state is the inputs so far, the last one first."""

    def __init__(self, layer: Layer, window: int | None, arithmetic: Arithmetic, batch: int) -> None:
        self.source, self._arithmetic = layer, arithmetic
        kernels = lag_matrices(layer, window, KERNEL_BITS)
        if sum(kernel.width for kernel in kernels) > LONGEST_SUM:
            raise ConfigError.single(
                f"no error bound is known for sums of more than {LONGEST_SUM} terms",
                hint="compile with a smaller window",
            )
        self._rows = arithmetic.sums(kernels, layer.initial or (ZERO,) * layer.size)
        nothing = np.zeros((batch, layer.weight_ih.width + 1))
        self._seen = [Bounded(value=nothing, own=nothing, error=nothing)] * len(kernels)

    def step(self, inputs: Bounded) -> Bounded:
        """The layer's outputs (B, H) for the next inputs (B, D)."""
        if self._seen:
            self._seen = [with_one(inputs), *self._seen[:-1]]
        none = inputs[:, :0]
        return self._arithmetic.weighted(self._rows, joined(self._seen or [none]))


def _layer_sums(layer: Layer, arithmetic: Arithmetic) -> tuple[Sums, ...]:
    """One set of rows; for ``gru`` r and z, then W_n x + b_n, then U_n h'."""
    hh, ih, bias = layer.weight_hh, layer.weight_ih, layer.bias
    if layer.kind != "gru":
        return (arithmetic.sums([hh, ih], bias),)
    cut = 2 * layer.size
    return (
        arithmetic.sums([_rows(hh, 0, cut), _rows(ih, 0, cut)], bias[:cut]),
        arithmetic.sums([_rows(ih, cut, ih.height)], bias[cut:]),
        arithmetic.sums([_rows(hh, cut, hh.height)], (ZERO,) * layer.size),
    )


def _rows(matrix: Matrix, start: int, end: int) -> Matrix:
    return Matrix(height=end - start, width=matrix.width, rows=matrix.rows[start:end])


def _start(values: Vector, arithmetic: Arithmetic, batch: int) -> Bounded:
    numbers = arithmetic.constants(values)
    shape = (batch, len(values))
    return Bounded(
        value=np.broadcast_to(numbers.value, shape),
        own=np.broadcast_to(numbers.own, shape),
        error=np.broadcast_to(numbers.error, shape),
    )
