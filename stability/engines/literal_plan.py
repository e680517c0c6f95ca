"""The literal equations of a model as register operations: nothing is folded.

For policies whose roundings do not let :mod:`stability.engines.plan` fold, and for stochastic
rounding, where each rounding has bits of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from gmpy2 import mpq

from compiler.exact import ONE, ZERO
from compiler.model import MAX_WINDOW, Layer, Model
from stability.engines.convolution import lag_kernels
from stability.engines.operations import (
    UNIT,
    Activation,
    Affine,
    Convolution,
    Operation,
    Place,
    Product,
    Site,
    Sum,
    Term,
    reads,
)
from stability.engines.plan import Plan
from stability.engines.schedule import Group, schedule
from stability.policy import Policy
from stability.random_bits import GATE, Rounding


def literal_plan(model: Model, policy: Policy, keep: Sequence[int] = ()) -> Plan:
    """The operations of a model, one for each that :mod:`stability.engines.literal` does."""
    builder = _Builder(policy=policy, window=model.window or MAX_WINDOW)
    tokens = tuple(builder.register() for _ in range(model.input_dim))
    builder.wires.append(tokens)
    for layer in model.layers:
        builder.add(layer)
    builder.operations.append([])
    sources = builder.gather(model.readout_wires)
    outputs = []
    for row, entries in enumerate(model.readout.rows):
        terms = tuple(Term(register=sources[j], weight=w) for j, w in entries)
        site = Site(layer=len(model.layers), unit=row, placed=Rounding.VALUE)
        outputs.append(builder.affine(model.readout_bias[row], terms, "none", "readout", site))
    groups: list[Group[Operation]] = []
    for operations in builder.operations:
        groups += schedule(operations, reads)
    return Plan(
        registers=builder.registers,
        tokens=tokens,
        groups=tuple(groups),
        outputs=tuple(outputs),
        wires={wire: builder.wires[wire] for wire in keep},
        initial=builder.initial,
    )


@dataclass(kw_only=True)
class _Builder:
    """Registers and operations under construction."""

    policy: Policy
    window: int
    registers: int = 0
    layers: int = 0
    wires: list[tuple[int, ...]] = field(default_factory=list)
    operations: list[list[Operation]] = field(default_factory=list)
    initial: dict[int, mpq] = field(default_factory=dict)

    def register(self) -> int:
        self.registers += 1
        return self.registers - 1

    def gather(self, wires: Iterable[int]) -> tuple[int, ...]:
        return tuple(register for wire in wires for register in self.wires[wire])

    def affine(
        self,
        bias: mpq,
        terms: tuple[Term, ...],
        activation: Activation,
        place: Place,
        site: Site,
        out: int | None = None,
    ) -> int:
        register = self.register() if out is None else out
        row = Affine(out=register, bias=bias, terms=terms, activation=activation, place=place, site=site)
        self.operations[-1].append(row)
        return register

    def product(
        self,
        left: int,
        right: int,
        site: Site,
        *,
        delayed: bool = False,
        place: Place = "none",
        out: int | None = None,
    ) -> int:
        register = self.register() if out is None else out
        row = Product(out=register, left=left, right=right, delayed=delayed, place=place, site=site)
        self.operations[-1].append(row)
        return register

    def sum(
        self,
        left: int,
        right: int | None,
        activation: Activation,
        place: Place,
        site: Site,
        out: int | None = None,
    ) -> int:
        register = self.register() if out is None else out
        row = Sum(out=register, left=left, right=right, activation=activation, place=place, site=site)
        self.operations[-1].append(row)
        return register

    def add(self, layer: Layer) -> None:
        self.operations.append([])
        sources = self.gather(layer.inputs)
        number, self.layers = self.layers, self.layers + 1
        if layer.kind == "conv":
            self.wires.append(self._convolutions(layer, number, sources))
            return
        hidden = [self.register() for _ in range(layer.size)]
        if layer.weight_hh.nonzeros or layer.kind == "gru":
            self.initial |= dict(zip(hidden, layer.initial or (ZERO,) * layer.size, strict=True))
        wire = []
        for unit in range(layer.size):
            built = _Unit(self, layer, number, unit, hidden, sources)
            wire.append(built.build())
        self.wires.append(tuple(wire))

    def _convolutions(self, layer: Layer, number: int, sources: Sequence[int]) -> tuple[int, ...]:
        registers = (*sources, UNIT)
        found = []
        for unit, kernel in enumerate(lag_kernels(layer, self.window, self.policy.weights)):
            lags = tuple(
                tuple(Term(register=registers[column], weight=weight) for column, weight in row)
                for row in kernel.lags
            )
            register = self.register()
            start = layer.initial[unit] if layer.initial else ZERO
            site = Site(layer=number, unit=unit, placed=Rounding.OUTPUT)
            self.operations[-1].append(
                Convolution(
                    out=register, bias=start, lags=lags, period=kernel.period, place="activations", site=site
                )
            )
            found.append(register)
        return tuple(found)


class _Unit:
    """One unit of a layer; ``hidden`` are the registers in which the layer keeps h."""

    def __init__(
        self,
        builder: _Builder,
        layer: Layer,
        number: int,
        unit: int,
        hidden: Sequence[int],
        sources: Sequence[int],
    ) -> None:
        self._builder, self._layer, self._number, self._unit = builder, layer, number, unit
        self._hidden, self._sources = hidden, sources
        native = layer.activation == "native"
        self._gate: Activation = "sigmoid" if native else "relu"
        self._squash: Activation = "tanh" if native else "relu"

    def build(self) -> int:
        """The register that other layers read."""
        kind, own = self._layer.kind, self._hidden[self._unit]
        match kind:
            case "linear":
                return self._row(0, "none", "activations", out=own)
            case "relu":
                return self._row(0, "relu", "activations", out=own)
            case "state" | "rnn":
                self._row(0, "relu" if kind == "rnn" else "none", "state", Rounding.STORED, own)
            case "gate" | "glu":
                left = self._row(0, "none", "activations")
                right = self._row(1, "relu" if kind == "glu" else "none", "activations")
                site = self._site(Rounding.PRODUCT, Rounding.OUTPUT)
                return self._builder.product(left, right, site, place="activations", out=own)
            case "lstm":
                self._lstm()
            case "gru":
                self._gru()
            case "conv":
                raise AssertionError("a convolution is no unit of this form")
            case _:
                assert_never(kind)
        return self._builder.sum(own, None, "none", "activations", self._site(0, Rounding.OUTPUT))

    def _site(self, first: int, placed: int = 0) -> Site:
        return Site(layer=self._number, unit=self._unit, first=first, placed=placed)

    def _fed_back(self, gate: int) -> tuple[Term, ...]:
        row = self._layer.weight_hh.rows[gate * self._layer.size + self._unit]
        return tuple(Term(register=self._hidden[j], weight=w, delayed=True) for j, w in row)

    def _entering(self, gate: int) -> tuple[Term, ...]:
        row = self._layer.weight_ih.rows[gate * self._layer.size + self._unit]
        return tuple(Term(register=self._sources[j], weight=w) for j, w in row)

    def _row(
        self,
        gate: int,
        activation: Activation,
        place: Place,
        placed: int | None = None,
        out: int | None = None,
    ) -> int:
        """A pre-activation after its activation."""
        bias = self._layer.bias[gate * self._layer.size + self._unit]
        terms = self._fed_back(gate) + self._entering(gate)
        site = self._site(gate * GATE, Rounding.VALUE + gate if placed is None else placed)
        return self._builder.affine(bias, terms, activation, place, site, out)

    def _lstm(self) -> None:
        builder, site = self._builder, self._site
        functions = (self._gate, self._gate, self._squash, self._gate)
        entry, forget, candidate, out = (
            self._row(gate, function, "activations") for gate, function in enumerate(functions)
        )
        memory = builder.register()
        builder.initial[memory] = self._layer.initial_cell[self._unit] if self._layer.initial_cell else ZERO
        kept = builder.product(forget, memory, site(Rounding.KEPT), delayed=True)
        entered = builder.product(entry, candidate, site(Rounding.ENTERED))
        builder.sum(kept, entered, "none", "state", site(Rounding.MEMORY, Rounding.STORED_CELL), memory)
        exposed = builder.sum(memory, None, self._squash, "activations", site(0, Rounding.EXPOSED))
        stored = site(Rounding.PRODUCT, Rounding.STORED)
        builder.product(out, exposed, stored, place="state", out=self._hidden[self._unit])

    def _gru(self) -> None:
        builder, site, layer, unit = self._builder, self._site, self._layer, self._unit
        reset, update = (self._row(gate, self._gate, "activations") for gate in range(2))
        own_bias = layer.bias_hn[unit] if layer.bias_hn else ZERO
        own = builder.affine(own_bias, self._fed_back(2), "none", "none", site(3 * GATE))
        entering = self._entering(2)
        fed = builder.product(reset, own, site(2 * GATE + 2 * len(entering)))
        terms = (*entering, Term(register=fed, weight=ONE))
        placed = site(2 * GATE, Rounding.VALUE + 2)
        bias = layer.bias[2 * layer.size + unit]
        candidate = builder.affine(bias, terms, self._squash, "activations", placed)
        negative = (Term(register=update, weight=-ONE),)
        share = builder.affine(ONE, negative, "none", "none", site(Rounding.COMPLEMENT))
        entered = builder.product(share, candidate, site(Rounding.ENTERED))
        hidden = self._hidden[unit]
        kept = builder.product(update, hidden, site(Rounding.KEPT), delayed=True)
        builder.sum(entered, kept, "none", "state", site(Rounding.MEMORY, Rounding.STORED), hidden)
