"""Rational arithmetic: nothing is rounded, and numbers may grow as long as a budget allows.

The equations are those of :mod:`compiler.evaluate`.  A ``conv`` layer is run as the
recurrence that its kernels stand for, s_t = A s_{t−1} + B x_t + b, which is the same
without rounding and does not read all tokens again at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import BudgetError, ConfigError
from compiler.evaluate import Memory, initial_memory, layer_step
from compiler.exact import Vector
from compiler.model import Layer, Model
from stability.engines.base import Segment, Session
from stability.formats import ExactFormat
from stability.policy import AnyPolicy

BUDGET = 1 << 22  # bits


class ExactEngine:
    """Executes models in rationals; the outputs are ``mpq`` objects.

    Args:
        budget: bits of all numbers that a sequence keeps for its next step.
    """

    def __init__(self, *, budget: int = BUDGET) -> None:
        self._budget = budget

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`.

        Raises:
            ConfigError: another format, or a model with sigmoid and tanh.
        """
        if not isinstance(fmt, ExactFormat):
            raise ConfigError.single(f"engine 'exact' cannot run {fmt.name}", hint="it runs exact")
        if model.activation == "native":
            raise ConfigError.single(
                "sigmoid and tanh have no exact values", hint="run a model with real gates in mpmath50"
            )
        return _ExactSession(model, tuple(keep), self._budget)


class _ExactSession:
    def __init__(self, model: Model, keep: tuple[int, ...], budget: int) -> None:
        self._model, self._keep, self._budget = model, keep, budget
        self._layers = [_recurrent(layer) for layer in model.layers]
        self._memories: list[list[Memory]] = []
        self._seen = 0

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        batch, steps = tokens.shape[:2]
        if not self._memories:
            self._memories = [[initial_memory(layer) for layer in self._layers] for _ in range(batch)]
        wanted = {-1: self._model.output_dim} | {wire: self._model.wire_size(wire) for wire in self._keep}
        taken = {wire: np.empty((batch, steps, size), dtype=object) for wire, size in wanted.items()}
        for b in range(batch):
            for t in range(steps):
                token = tuple(mpq(value) for value in tokens[b, t].tolist())
                wires = self._advance(self._memories[b], token, self._seen + t)
                for wire, values in taken.items():
                    values[b, t] = self._read(wires) if wire < 0 else wires[wire]
        self._seen += steps
        status = np.zeros((batch, steps), dtype=np.uint8)
        return Segment(outputs=taken.pop(-1), status=status, wires=taken)

    def _advance(self, memories: list[Memory], token: Vector, step: int) -> list[Vector]:
        wires: list[Vector] = [token]
        spent = 0
        for number, layer in enumerate(self._layers):
            inputs = tuple(value for wire in layer.inputs for value in wires[wire])
            memories[number] = layer_step(layer, inputs, memories[number])
            wires.append(memories[number].output)
            spent += sum(map(_bits, (*memories[number].output, *memories[number].cell)))
            if spent > self._budget:
                raise BudgetError.single(
                    f"step {step}: the exact values of the first {number + 1} layers take {spent:,} bits, "
                    f"and the budget is {self._budget:,}",
                    hint="a shorter prompt, or mpmath50",
                )
        return wires

    def _read(self, wires: list[Vector]) -> Vector:
        inputs = tuple(value for wire in self._model.readout_wires for value in wires[wire])
        rows = self._model.readout.times(inputs)
        return tuple(row + bias for row, bias in zip(rows, self._model.readout_bias, strict=True))


def _recurrent(layer: Layer) -> Layer:
    return replace(layer, kind="state") if layer.kind == "conv" else layer


def _bits(value: mpq) -> int:
    return int(value.numerator.bit_length() + value.denominator.bit_length())
