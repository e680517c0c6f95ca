"""From a model to a list of register operations that give the same bits.

Three things are saved against the literal equations, each without changing a bit,
non-finite values and the status included:

- a gate without entries is a constant, and so is its activation: an ``lstm`` unit with
  f ≡ 0, i ≡ 1, g ≡ 1 is σ(o); with f ≡ 0, o ≡ 1 it is σ(i)·σ(g); with f ≡ 1 and i·g ≡ 0 its cell
  is a constant; a ``gru`` unit with z ≡ 0 is σ(n), and r ≡ 1 leaves the pre-activation of n
  alone; a product with the constant 1 is its other factor.  A sigmoid is 0 or 1 if it is after
  rounding to the format.  Where the literal cell would stay nan (0·∞, 0·nan), the operation is
  ``sticky``;
- a unit that copies one register unchanged is that register.  An accumulator that starts
  at +0 never ends at −0, so the copy of an accumulator is exact, and so is the ReLU of a
  register that is never negative.  A sticky copy is its source only if that is sticky too;
- operations of a layer that do not depend on themselves through time run over many steps
  at once, the others in a loop over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gmpy2 import mpq

from compiler.exact import ONE, ZERO
from compiler.model import GATES, MAX_WINDOW, TOKENS, Layer, Model
from stability.engines.constants import Constants, keeps
from stability.engines.convolution import LagKernel, lag_kernels
from stability.engines.operations import (
    UNIT,
    Activation,
    Affine,
    Cell,
    Convolution,
    Operation,
    Place,
    Product,
    Sum,
    Term,
    reads,
)
from stability.engines.schedule import Group, schedule
from stability.formats import AnyFormat, Format
from stability.policy import AnyPolicy, as_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A model as register operations.

    Attributes:
        registers: how many there are.
        tokens: the registers of the token's entries.
        groups: operations in order; a sequential group is looped over time as a whole.
        outputs: the registers of the outputs.
        wires: the registers of the wires that are kept.
        initial: registers that live from step to step, with their value before the first.
        never_negative: registers whose values, ``initial`` apart, are ≥ +0 or nan.
        signed_zero: registers that can hold −0.
        copies: registers that repeat the one they read, if bias and weight say so: nothing is rounded.
    """

    registers: int
    tokens: tuple[int, ...]
    groups: tuple[Group[Operation], ...]
    outputs: tuple[int, ...]
    wires: Mapping[int, tuple[int, ...]]
    initial: Mapping[int, mpq]
    never_negative: frozenset[int] = frozenset()
    signed_zero: frozenset[int] = frozenset()
    copies: frozenset[int] = frozenset()


def build_plan(model: Model, policy: AnyPolicy, keep: Sequence[int] = ()) -> Plan:
    """The operations of a model.

    Args:
        model: a compiled model.
        policy: decides which constants stay finite, and what is rounded on its way to a register;
            one of :attr:`stability.engines.constants.Constants.foldable`.
        keep: the wires whose registers are wanted.
    """
    builder = _Builder(constants=Constants(as_policy(policy)), window=model.window or MAX_WINDOW)
    tokens = tuple(builder.register("input") for _ in range(model.input_dim))
    builder.wires.append(tokens)
    for layer in model.layers:
        builder.add(layer)
    sources = builder.gather(model.readout_wires)
    for row, bias in zip(model.readout.rows, model.readout_bias, strict=True):
        terms = tuple(Term(register=sources[j], weight=w) for j, w in row)
        builder.operations.append([])
        builder.output(terms, bias)
    groups: list[Group[Operation]] = []
    for operations in builder.operations:
        groups += schedule(operations, reads)
    return Plan(
        registers=len(builder.never_negative),
        tokens=tokens,
        groups=tuple(groups),
        outputs=tuple(builder.outputs),
        wires={wire: builder.wires[wire] for wire in keep},
        initial=builder.initial,
        never_negative=_those(builder.never_negative),
        signed_zero=_those(builder.signed_zero),
        copies=frozenset(builder.copies),
    )


def _those(flags: Sequence[bool]) -> frozenset[int]:
    return frozenset(register for register, flag in enumerate(flags) if flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One pre-activation of a layer: bias, then terms."""

    bias: mpq
    terms: tuple[Term, ...]

    def constant(self, value: mpq) -> bool:
        return not self.terms and self.bias == value


@dataclass(kw_only=True)
class _Builder:
    """Registers and operations under construction."""

    constants: Constants
    window: int
    wires: list[tuple[int, ...]] = field(default_factory=list)
    operations: list[list[Operation]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    initial: dict[int, mpq] = field(default_factory=dict)
    never_negative: list[bool] = field(default_factory=list)  # values are ≥ +0 or nan
    signed_zero: list[bool] = field(default_factory=list)  # −0 can occur
    formats: list[AnyFormat] = field(default_factory=list)  # of their values
    copies: set[int] = field(default_factory=set)
    sticky: set[int] = field(default_factory=set)
    switches: dict[_Row, int] = field(default_factory=dict)  # gates of the layer at hand
    gate: Activation = "relu"  # and its activations: of gates
    squash: Activation = "relu"  # of candidates and cells

    def register(self, place: str) -> int:
        self.never_negative.append(False)
        self.signed_zero.append(False)
        self.formats.append(self.constants.policy.formats[place])
        return len(self.never_negative) - 1

    def _passes(self, register: int, place: Place) -> bool:
        """Whether a register's values stay as they are when they are rounded to a place."""
        return place == "none" or keeps(self.constants.policy.formats[place], self.formats[register])

    def _out(self, out: int | None, place: Place) -> int:
        """``out``, or else a new register, for values of a place."""
        known = "accumulator" if place == "none" else place
        if out is None:
            return self.register(known)
        self.formats[out] = self.constants.policy.formats[known]
        return out

    def gather(self, wires: Iterable[int]) -> tuple[int, ...]:
        assert all(TOKENS <= wire < len(self.wires) for wire in wires)
        return tuple(register for wire in wires for register in self.wires[wire])

    def output(self, terms: tuple[Term, ...], bias: mpq) -> None:
        row = _Row(bias=bias, terms=terms)
        self.outputs.append(self._factor(row, "none", place="readout"))

    def add(self, layer: Layer) -> None:
        self.operations.append([])
        self.switches.clear()
        native = layer.activation == "native"
        self.gate, self.squash = ("sigmoid", "tanh") if native else ("relu", "relu")
        sources = self.gather(layer.inputs)
        if layer.kind == "conv":
            kernels = lag_kernels(layer, self.window, self.constants.policy.weights)
            starts = layer.initial or (ZERO,) * layer.size
            pairs = zip(kernels, starts, strict=True)
            self.wires.append(tuple(self._convolution(kernel, start, sources) for kernel, start in pairs))
            return
        read_back = {column for row in layer.weight_hh.rows for column, _ in row}
        units = [self.register("state") if unit in read_back else None for unit in range(layer.size)]
        for unit, register in enumerate(units):
            if register is not None:
                self.initial[register] = layer.initial[unit] if layer.initial else ZERO
        rows = [
            _Row(
                bias=layer.bias[number],
                terms=tuple(
                    Term(register=_known(units[j]), weight=w, delayed=True)
                    for j, w in layer.weight_hh.rows[number]
                )
                + tuple(Term(register=sources[j], weight=w) for j, w in layer.weight_ih.rows[number]),
            )
            for number in range(GATES[layer.kind] * layer.size)
        ]
        wire = []
        for unit in range(layer.size):
            gates = rows[unit :: layer.size]
            wire.append(self._handed(self._unit(layer, unit, gates, units[unit])))
        self.wires.append(tuple(wire))

    def _handed(self, register: int) -> int:
        """What other layers read of what a layer keeps."""
        if self._passes(register, "activations"):
            return register
        out = self.register("activations")
        self.never_negative[out] = self.never_negative[register]
        self.signed_zero[out] = not self.never_negative[out]
        self._emit(Sum(out=out, left=register, place="activations"))
        return out

    def _unit(self, layer: Layer, unit: int, gates: Sequence[_Row], out: int | None) -> int:
        before = layer.initial[unit] if layer.initial else ZERO
        match layer.kind:
            case "linear" | "state" | "relu" | "rnn":
                place: Place = "state" if layer.kind in {"state", "rnn"} else "activations"
                activation: Activation = "relu" if layer.kind in {"relu", "rnn"} else "none"
                return self._factor(gates[0], activation, out=out, place=place)
            case "gate" | "glu":
                return self._gate(gates, out, relu=layer.kind == "glu")
            case "lstm":
                cell = layer.initial_cell[unit] if layer.initial_cell else ZERO
                return self._lstm(gates, cell, before, out)
            case "gru":
                return self._gru(gates, layer.bias_hn[unit] if layer.bias_hn else ZERO, before, out)
            case _:
                raise AssertionError(f"{layer.kind} layers have no units of this form")

    def _gate(self, gates: Sequence[_Row], out: int | None, *, relu: bool) -> int:
        """The product of two factors, the second one after a ReLU if ``relu``."""
        first, second = gates
        activation: Activation = "relu" if relu else "none"
        if second.constant(ONE):
            return self._factor(first, "none", out=out)
        if first.constant(ONE):
            return self._factor(second, activation, out=out)
        left, right = self._factor(first, "none"), self._factor(second, activation)
        return self._product(left, right, out=out, place="activations")

    def _convolution(self, kernel: LagKernel, start: mpq, sources: Sequence[int]) -> int:
        registers = (*sources, UNIT)
        lags = tuple(
            tuple(Term(register=registers[column], weight=weight) for column, weight in row)
            for row in kernel.lags
        )
        if not lags:
            return self._factor(_Row(bias=start, terms=()), "none")
        if len(lags) == 1 and not kernel.period and all(term.register != UNIT for term in lags[0]):
            return self._factor(_Row(bias=start, terms=lags[0]), "none")
        register = self.register("activations")
        self.signed_zero[register] = not self._passes_sums("activations")
        self._emit(
            Convolution(out=register, bias=start, lags=lags, period=kernel.period, place="activations")
        )
        return register

    def _passes_sums(self, place: Place) -> bool:
        """Whether every sum stays as it is when it is rounded to a place."""
        policy = self.constants.policy
        return place == "none" or keeps(policy.formats[place], policy.accumulator)

    def _factor(
        self,
        row: _Row,
        activation: Activation,
        *,
        out: int | None = None,
        sticky: bool = False,
        place: Place = "activations",
    ) -> int:
        """A register that holds one pre-activation after its activation."""
        if activation in {"sigmoid", "tanh"}:
            value = self._value(row, activation)
            if value is not None:
                row, activation = _Row(bias=value, terms=()), "none"
        repeats = len(row.terms) == 1 and self._passes(row.terms[0].register, place)
        if activation in {"none", "relu"} and out is None and row.bias == 0 and repeats:
            term = row.terms[0]
            copied = self.never_negative[term.register] if activation == "relu" else True
            copied = copied and (term.register in self.sticky or not sticky)
            if term.weight == 1 and not term.delayed and copied and not self.signed_zero[term.register]:
                return term.register
        register = self._out(out, place)
        self.never_negative[register] = activation in {"relu", "sigmoid"} or (
            row.bias >= 0
            and all(t.weight > 0 and not t.delayed and self.never_negative[t.register] for t in row.terms)
        )
        self.signed_zero[register] = not (self.never_negative[register] or self._passes_sums(place))
        if repeats:
            self.copies.add(register)
        self._emit(
            Affine(
                out=register, bias=row.bias, terms=row.terms, activation=activation, sticky=sticky,
                place=place,
            )
        )  # fmt: skip
        return register

    def _product(
        self,
        left: int,
        right: int,
        *,
        delayed: bool = False,
        out: int | None = None,
        activation: Activation = "none",
        sticky: bool = False,
        place: Place,
    ) -> int:
        register = self._out(out, place)
        unsigned = self.never_negative[left] and self.never_negative[right] and not delayed
        self.never_negative[register] = activation in {"relu", "sigmoid"} or unsigned
        self.signed_zero[register] = activation == "none" and not unsigned
        self._emit(
            Product(
                out=register, left=left, right=right, delayed=delayed, activation=activation, sticky=sticky,
                place=place,
            )
        )  # fmt: skip
        return register

    def _emit(self, operation: Operation) -> None:
        self.operations[-1].append(operation)
        if isinstance(operation, Affine | Product) and operation.sticky:
            self.sticky.add(operation.out)
            self.initial.setdefault(operation.out, ZERO)

    def _lstm(self, gates: Sequence[_Row], cell: mpq, before: mpq, out: int | None) -> int:
        entry, forget, candidate, output = gates
        kept, added = self._value(forget, self.gate), self._value(entry, self.gate)
        start = self.constants.stored(cell)
        if start is not None and self.constants.stored(before) is not None:
            if kept == ZERO:
                return self._memoryless(entry, candidate, output, out)
            new = self._value(candidate, self.squash)
            nothing = ZERO in (added, new) and added is not None and new is not None
            if kept == ONE and nothing and self.constants.steady(start):
                return self._exposed(output, _Row(bias=start, terms=()), out)
        memory = self.register("state")
        self.initial[memory] = cell
        self.signed_zero[memory] = True
        registers = [self._factor(row, self.gate) for row in (entry, forget)]
        registers.append(self._factor(candidate, self.squash))
        self._emit(
            Cell(out=memory, forget=registers[1], entry=registers[0], candidate=registers[2], place="state")
        )
        return self._exposed(output, _copy(memory), out)

    def _exposed(self, output: _Row, memory: _Row, out: int | None) -> int:
        """The output h = σ(o)·τ(c) of an ``lstm`` unit."""
        if self._value(output, self.gate) == ONE:
            return self._factor(memory, self.squash, out=out)
        if self._value(memory, self.squash) == ONE:
            return self._factor(output, self.gate, out=out)
        switch = self._factor(output, self.gate)
        return self._product(switch, self._factor(memory, self.squash), out=out, place="state")

    def _memoryless(self, entry: _Row, candidate: _Row, output: _Row, out: int | None) -> int:
        """An ``lstm`` unit whose forget gate is zero: c = σ(i)·τ(g), h = σ(o)·τ(c)."""
        plain = self._value(output, self.gate) == ONE
        exposed = self._fresh(entry, candidate, out if plain else None)
        if exposed is None:
            return self._factor(output, self.gate, out=out)
        if plain:
            return exposed
        return self._product(self._factor(output, self.gate), exposed, out=out, place="state")

    def _fresh(self, entry: _Row, candidate: _Row, out: int | None) -> int | None:
        """τ(σ(i)·τ(g)); ``None`` if that is 1."""
        gates = [(entry, self.gate), (candidate, self.squash)]
        factors = [(row, function) for row, function in gates if self._value(row, function) != ONE]
        again = self.squash != "relu"  # the ReLU of what is never negative is itself
        if not factors:
            one = _Row(bias=ONE, terms=())
            known = self._value(one, self.squash)
            return None if known == ONE else self._factor(one, self.squash, out=out)
        if len(factors) == 1:
            (row, function) = factors[0]
            memory = self._factor(row, function, out=None if again else out, sticky=True)
            return self._factor(_copy(memory), self.squash, out=out) if again else memory
        left, right = (self._factor(row, function) for row, function in factors)
        if again and self._passes_sums("state"):
            return self._product(
                left, right, out=out, activation=self.squash, sticky=True, place="activations"
            )
        same = not again and keeps(self.constants.policy.activations, self.constants.policy.state)
        memory = self._product(left, right, out=out if same else None, sticky=True, place="state")
        return memory if same else self._factor(_copy(memory), self.squash, out=out)

    def _gru(self, gates: Sequence[_Row], own_bias: mpq, before: mpq, out: int | None) -> int:
        reset, update, new = gates
        own = _Row(bias=own_bias, terms=tuple(term for term in new.terms if term.delayed))
        entry = _Row(bias=new.bias, terms=tuple(term for term in new.terms if not term.delayed))
        if self._value(update, self.gate) == ZERO and self.constants.stored(before) is not None:
            return self._candidate(reset, own, entry, out=out, sticky=True)
        same = reset == update and own.constant(ZERO)  # r·0 is nan where r, which is z, is not finite
        kept = self._switch(update)
        share = _Row(bias=ONE, terms=(Term(register=kept, weight=-ONE),))
        taken = self._factor(share, "none", place="none")
        candidate = self._candidate(_Row(bias=ONE, terms=()) if same else reset, own, entry)
        register = self._out(out, "state")
        self.initial[register], self.signed_zero[register] = before, True
        strict = same and self.gate == "relu"  # a sigmoid is finite or nan, and nan spreads by itself
        self._emit(
            Cell(out=register, forget=kept, entry=taken, candidate=candidate, strict=strict, place="state")
        )
        return register

    def _switch(self, gate: _Row) -> int:
        """A gate after its activation; gates that are the same are computed once."""
        if gate not in self.switches:
            self.switches[gate] = self._factor(gate, self.gate)
        return self.switches[gate]

    def _candidate(
        self, reset: _Row, own: _Row, entry: _Row, *, out: int | None = None, sticky: bool = False
    ) -> int:
        """τ((bias + W x) + σ(r)·(bias_hn + U h')) of a ``gru`` unit."""
        share = self._value(reset, self.gate)
        vacant = entry.constant(ZERO)
        if own.constant(ZERO) and share is not None:
            return self._factor(entry, self.squash, out=out, sticky=sticky)
        if share == ONE:
            row = own if vacant else self._joined(own, entry)
            return self._factor(row, self.squash, out=out, sticky=sticky)
        switch = self._switch(reset)
        plain = own.bias == 0 and len(own.terms) == 1 and own.terms[0].weight == 1
        right = own.terms[0].register if plain else self._factor(own, "none", place="none")
        if vacant:
            return self._product(
                switch, right, delayed=plain, out=out, activation=self.squash, sticky=sticky,
                place="activations",
            )  # fmt: skip
        term = Term(register=self._product(switch, right, delayed=plain, place="none"), weight=ONE)
        return self._factor(replace(entry, terms=(*entry.terms, term)), self.squash, out=out, sticky=sticky)

    def _joined(self, own: _Row, entry: _Row) -> _Row:
        """The sum of both, as one accumulator where that rounds alike: addition commutes.

        What comes before the feedback is then out of the loop over time.
        """
        if isinstance(self.constants.policy.accumulator, Format):
            before = Term(register=self._factor(entry, "none", place="none"), weight=ONE)
            return replace(own, terms=(*own.terms, before))
        fed = Term(register=self._factor(own, "none", place="none"), weight=ONE)
        return replace(entry, terms=(*entry.terms, fed))

    def _value(self, row: _Row, activation: Activation) -> mpq | None:
        """What a row without terms is after its activation; ``None`` for others, or if not finite."""
        return None if row.terms else self.constants.value(row.bias, activation)


def _copy(register: int) -> _Row:
    return _Row(bias=ZERO, terms=(Term(register=register, weight=ONE),))


def _known(register: int | None) -> int:
    assert register is not None
    return register
