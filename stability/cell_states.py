"""The cells c of ``lstm`` layers, which no later layer reads and no engine gives out.

They follow from what the layers give out: the gates from the input x and the layer's own
earlier output h', then c = f c' + i g.  Everything is done in mpmath at the digits of the
values that come in, each sum rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq
from mpmath import MPContext

from compiler.exact import ZERO
from compiler.model import Layer, Model

Values = npt.NDArray[Any]


def cell_wires(model: Model) -> tuple[int, ...]:
    """The wires that the cells of a model follow from: inputs and outputs of its ``lstm`` layers."""
    wires = {
        wire
        for number, layer in enumerate(model.layers)
        if layer.kind == "lstm"
        for wire in (*layer.inputs, number + 1)
    }
    return tuple(sorted(wires))


class Cells:
    """Follows the cells of a model along one prompt.

    Args:
        model: any model.
        dps: decimal digits of the values and of the arithmetic.
    """

    def __init__(self, model: Model, dps: int) -> None:
        context = MPContext()
        context.dps = dps
        self._layers = {
            number: _Layer(layer, number + 1, context)
            for number, layer in enumerate(model.layers)
            if layer.kind == "lstm"
        }

    def advance(self, wires: Mapping[int, Values], wanted: Sequence[int]) -> dict[int, Values]:
        """The cells of the next steps.

        Args:
            wires: those of :func:`cell_wires`, each (steps, size), of ``mpf`` objects.
            wanted: which of these steps' cells are wanted, ascending.

        Returns:
            Per number of a layer: (len(wanted), H), of ``mpf`` objects.
        """
        return {number: layer.advance(wires, wanted) for number, layer in self._layers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A gate of a unit: bias, then (column, weight) of h' and of x; its value, if it has no terms."""

    bias: Any
    own: tuple[tuple[int, Any], ...]
    fed: tuple[tuple[int, Any], ...]
    constant: Any | None


class _Layer:
    """One ``lstm`` layer: the rows of its gates, and where it stands."""

    def __init__(self, layer: Layer, wire: int, context: Any) -> None:
        self._context, self._wire, self._inputs, self._size = context, wire, layer.inputs, layer.size
        self._native = layer.activation == "native"
        zeros = (ZERO,) * layer.size
        self._hidden: Sequence[Any] = [self._number(value) for value in layer.initial or zeros]
        self._cell = [self._number(value) for value in layer.initial_cell or zeros]
        rows = [self._row(layer, number) for number in range(3 * layer.size)]
        self._entry, self._forget, self._candidate = (
            rows[gate * layer.size : (gate + 1) * layer.size] for gate in range(3)
        )
        # The compiler's own layers forget at once: then a cell needs none before it.
        self._remembers = any(row.constant is None or row.constant for row in self._forget)

    def _row(self, layer: Layer, number: int) -> _Row:
        own, fed = layer.weight_hh.rows[number], layer.weight_ih.rows[number]
        bias = self._number(layer.bias[number])
        activation = self._squash if number >= 2 * layer.size else self._gate
        return _Row(
            bias=bias,
            own=tuple((j, self._number(weight)) for j, weight in own),
            fed=tuple((j, self._number(weight)) for j, weight in fed),
            constant=None if own or fed else activation(bias),
        )

    def _number(self, value: mpq) -> Any:
        return self._context.mpf(int(value.numerator)) / int(value.denominator)

    def advance(self, wires: Mapping[int, Values], wanted: Sequence[int]) -> Values:
        hidden = [self._hidden, *wires[self._wire]]
        fed = [wires[wire] for wire in self._inputs]
        steps = range(len(hidden) - 1) if self._remembers else wanted
        cells: dict[int, list[Any]] = {}
        for step in steps:
            x = [value for values in fed for value in values[step]]
            cells[step] = self._cell = self._next(hidden[step], x)
        self._hidden = hidden[-1]
        found = np.empty((len(wanted), self._size), dtype=object)
        for place, step in enumerate(wanted):
            found[place] = cells[step]
        return found

    def _next(self, own: Sequence[Any], x: Sequence[Any]) -> list[Any]:
        cell = []
        for unit in range(self._size):
            entered = self._value(self._entry[unit], own, x, self._gate)
            value = entered * self._value(self._candidate[unit], own, x, self._squash) if entered else entered
            if self._remembers:
                value += self._value(self._forget[unit], own, x, self._gate) * self._cell[unit]
            cell.append(value)
        return cell

    def _value(
        self, row: _Row, own: Sequence[Any], x: Sequence[Any], activation: Callable[[Any], Any]
    ) -> Any:
        if row.constant is not None:
            return row.constant
        terms = [(weight, own[j]) for j, weight in row.own] + [(weight, x[j]) for j, weight in row.fed]
        return activation(self._context.fdot([(row.bias, 1), *terms]))

    def _gate(self, value: Any) -> Any:
        return 1 / (1 + self._context.exp(-value)) if self._native else self._relu(value)

    def _squash(self, value: Any) -> Any:
        return self._context.tanh(value) if self._native else self._relu(value)

    def _relu(self, value: Any) -> Any:
        return value if value > 0 else self._context.zero
