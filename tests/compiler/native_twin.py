"""A literal cell with sigmoid and tanh, every operation rounded by MPFR to a binary format.

Independent of the engines: gmpy2's contexts do the rounding, subnormal numbers included.
"""

from __future__ import annotations

from collections.abc import Sequence

import gmpy2
from gmpy2 import mpfr, mpq

from compiler.exact import Vector
from compiler.formats import Format
from compiler.model import Layer, Model

WIDE = 4096


def context(fmt: Format) -> gmpy2.context:
    """MPFR's context of a binary format: 2^(emax−1) ≤ largest < 2^emax, emin the smallest number's."""
    return gmpy2.context(
        precision=fmt.precision,
        emax=fmt.max_exponent + 1,
        emin=fmt.min_exponent - fmt.precision + 2,
        subnormalize=True,
    )


class Twin:
    """One sequence through a model with real gates."""

    def __init__(self, model: Model, fmt: Format) -> None:
        self.model, self.context = model, context(fmt)
        self.wide = gmpy2.context(precision=WIDE, emax=gmpy2.get_emax_max(), emin=gmpy2.get_emin_min())
        self.hidden = [[self.round(v) for v in layer.initial] for layer in model.layers]
        self.cells = [[self.round(v) for v in layer.initial_cell] for layer in model.layers]

    def round(self, value: mpq | mpfr) -> mpfr:
        """Once, to nearest even (a rational by way of 4096 bits)."""
        return self.context.plus(mpfr(value, WIDE))

    def sigmoid(self, value: mpfr) -> mpfr:
        """Of a wide intermediate, rounded once: 4096 bits leave no doubt."""
        wide = self.wide
        return self.round(wide.div(1, wide.add(1, wide.exp(wide.minus(value)))))

    def row(self, row: Sequence[tuple[int, mpq]], values: Sequence[mpfr], start: mpfr) -> mpfr:
        """An accumulator goes on through a row's columns."""
        total = start
        for column, weight in row:
            total = self.context.add(total, self.context.mul(self.round(weight), values[column]))
        return total

    def step(self, token: Sequence[mpq]) -> Vector:
        """The outputs after one more token."""
        values = [self.round(v) for v in token]
        for number, layer in enumerate(self.model.layers):
            cell = self._lstm if layer.kind == "lstm" else self._gru
            values = [cell(layer, number, k, values) for k in range(layer.size)]
            self.hidden[number] = values
        readout = zip(self.model.readout.rows, self.model.readout_bias, strict=True)
        return tuple(mpq(self.row(row, values, self.round(bias))) for row, bias in readout)

    def _gate(self, layer: Layer, number: int, row: int, values: list[mpfr]) -> mpfr:
        start = self.row(layer.weight_hh.rows[row], self.hidden[number], self.round(layer.bias[row]))
        return self.row(layer.weight_ih.rows[row], values, start)

    def _lstm(self, layer: Layer, number: int, k: int, values: list[mpfr]) -> mpfr:
        c = self.context
        i, f, g, o = (self._gate(layer, number, k + gate * layer.size, values) for gate in range(4))
        kept = c.mul(self.sigmoid(f), self.cells[number][k])
        cell = c.add(kept, c.mul(self.sigmoid(i), c.tanh(g)))
        self.cells[number][k] = cell
        return c.mul(self.sigmoid(o), c.tanh(cell))

    def _gru(self, layer: Layer, number: int, k: int, values: list[mpfr]) -> mpfr:
        c, before = self.context, self.hidden[number]
        r, z = (self.sigmoid(self._gate(layer, number, k + gate * layer.size, values)) for gate in range(2))
        row = k + 2 * layer.size
        entry = self.row(layer.weight_ih.rows[row], values, self.round(layer.bias[row]))
        own = self.row(layer.weight_hh.rows[row], before, self.round(layer.bias_hn[k]))
        new = c.tanh(c.add(entry, c.mul(r, own)))
        return c.add(c.mul(c.sub(1, z), new), c.mul(z, before[k]))


def run(model: Model, fmt: Format, tokens: Sequence[Vector]) -> list[Vector]:
    """The outputs at every step, as exact numbers."""
    twin = Twin(model, fmt)
    return [twin.step(token) for token in tokens]
