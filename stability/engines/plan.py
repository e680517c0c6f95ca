"""From a model to a list of register operations that give the same bits.

Three things are saved against the literal equations, each without changing a bit,
non-finite values and the status included:

- a gate without entries is a constant: an ``lstm`` unit with f ≡ 0, i ≡ 1, g ≡ 1 is σ(o);
  with f ≡ 0, o ≡ 1 it is σ(i)·σ(g); a ``gru`` unit with z ≡ 0 is σ(n), and r ≡ 1 leaves
  the pre-activation of n alone; a product with the constant 1 is its other factor.
  Where the literal cell would stay nan after an overflow (0·∞), the operation is ``sticky``;
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
from stability.engines.convolution import LagKernel, lag_kernels
from stability.engines.operations import UNIT, Affine, Cell, Convolution, Operation, Product, Term, reads
from stability.engines.schedule import Group, schedule
from stability.formats import AnyFormat, Format
from stability.rounding import round_rational


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
    """

    registers: int
    tokens: tuple[int, ...]
    groups: tuple[Group[Operation], ...]
    outputs: tuple[int, ...]
    wires: Mapping[int, tuple[int, ...]]
    initial: Mapping[int, mpq]


def build_plan(model: Model, fmt: AnyFormat, keep: Sequence[int] = ()) -> Plan:
    """The operations of a model; ``fmt`` only decides which constants stay finite."""
    builder = _Builder(fmt=fmt, window=model.window or MAX_WINDOW)
    tokens = tuple(builder.register() for _ in range(model.input_dim))
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
    )


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

    fmt: AnyFormat
    window: int
    wires: list[tuple[int, ...]] = field(default_factory=list)
    operations: list[list[Operation]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    initial: dict[int, mpq] = field(default_factory=dict)
    never_negative: list[bool] = field(default_factory=list)  # values are ≥ +0 or nan
    signed_zero: list[bool] = field(default_factory=list)  # −0 can occur
    sticky: set[int] = field(default_factory=set)
    switches: dict[_Row, int] = field(default_factory=dict)  # gates of the layer at hand

    def register(self) -> int:
        self.never_negative.append(False)
        self.signed_zero.append(False)
        return len(self.never_negative) - 1

    def gather(self, wires: Iterable[int]) -> tuple[int, ...]:
        assert all(TOKENS <= wire < len(self.wires) for wire in wires)
        return tuple(register for wire in wires for register in self.wires[wire])

    def output(self, terms: tuple[Term, ...], bias: mpq) -> None:
        row = _Row(bias=bias, terms=terms)
        self.outputs.append(self._factor(row, relu=False))

    def add(self, layer: Layer) -> None:
        self.operations.append([])
        self.switches.clear()
        sources = self.gather(layer.inputs)
        if layer.kind == "conv":
            kernels = lag_kernels(layer, self.window, self.fmt)
            starts = layer.initial or (ZERO,) * layer.size
            pairs = zip(kernels, starts, strict=True)
            self.wires.append(tuple(self._convolution(kernel, start, sources) for kernel, start in pairs))
            return
        read_back = {column for row in layer.weight_hh.rows for column, _ in row}
        units = [self.register() if unit in read_back else None for unit in range(layer.size)]
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
            wire.append(self._unit(layer, unit, gates, units[unit]))
        self.wires.append(tuple(wire))

    def _unit(self, layer: Layer, unit: int, gates: Sequence[_Row], out: int | None) -> int:
        before = layer.initial[unit] if layer.initial else ZERO
        match layer.kind:
            case "linear" | "state":
                return self._factor(gates[0], relu=False, out=out)
            case "relu" | "rnn":
                return self._factor(gates[0], relu=True, out=out)
            case "gate" | "glu":
                return self._gate(gates, out, relu=layer.kind == "glu")
            case "lstm":
                cell = layer.initial_cell[unit] if layer.initial_cell else ZERO
                return self._lstm(gates, cell, before, out)
            case "gru":
                return self._gru(gates, before, out)
            case _:
                raise AssertionError(f"{layer.kind} layers have no units of this form")

    def _gate(self, gates: Sequence[_Row], out: int | None, *, relu: bool) -> int:
        """The product of two factors, the second one after a ReLU if ``relu``."""
        first, second = gates
        if second.constant(ONE):
            return self._factor(first, relu=False, out=out)
        if first.constant(ONE):
            return self._factor(second, relu=relu, out=out)
        return self._product(self._factor(first, relu=False), self._factor(second, relu=relu), out=out)

    def _convolution(self, kernel: LagKernel, start: mpq, sources: Sequence[int]) -> int:
        registers = (*sources, UNIT)
        lags = tuple(
            tuple(Term(register=registers[column], weight=weight) for column, weight in row)
            for row in kernel.lags
        )
        if not lags:
            return self._factor(_Row(bias=start, terms=()), relu=False)
        if len(lags) == 1 and not kernel.period and all(term.register != UNIT for term in lags[0]):
            return self._factor(_Row(bias=start, terms=lags[0]), relu=False)
        register = self.register()
        self._emit(Convolution(out=register, bias=start, lags=lags, period=kernel.period))
        return register

    def _factor(self, row: _Row, *, relu: bool, out: int | None = None, sticky: bool = False) -> int:
        """A register that holds one pre-activation (after its ReLU)."""
        if out is None and row.bias == 0 and len(row.terms) == 1:
            term = row.terms[0]
            copied = self.never_negative[term.register] if relu else True
            copied = copied and (term.register in self.sticky or not sticky)
            if term.weight == 1 and not term.delayed and copied and not self.signed_zero[term.register]:
                return term.register
        register = self.register() if out is None else out
        self.never_negative[register] = relu or (
            row.bias >= 0
            and all(t.weight > 0 and not t.delayed and self.never_negative[t.register] for t in row.terms)
        )
        self._emit(Affine(out=register, bias=row.bias, terms=row.terms, relu=relu, sticky=sticky))
        return register

    def _product(
        self,
        left: int,
        right: int,
        *,
        delayed: bool = False,
        out: int | None = None,
        relu: bool = False,
        sticky: bool = False,
    ) -> int:
        register = self.register() if out is None else out
        unsigned = self.never_negative[left] and self.never_negative[right] and not delayed
        self.never_negative[register] = relu or unsigned
        self.signed_zero[register] = not self.never_negative[register]
        self._emit(Product(out=register, left=left, right=right, delayed=delayed, relu=relu, sticky=sticky))
        return register

    def _emit(self, operation: Operation) -> None:
        self.operations[-1].append(operation)
        if isinstance(operation, Affine | Product) and operation.sticky:
            self.sticky.add(operation.out)
            self.initial.setdefault(operation.out, ZERO)

    def _memoryless(self, gates: Sequence[_Row], out: int | None) -> int:
        """An ``lstm`` unit whose forget gate is zero: c = σ(i)·σ(g), h = σ(o)·c."""
        entry, _, candidate, output = gates
        factors = [gate for gate in (entry, candidate) if not gate.constant(ONE)]
        if not factors:
            return self._factor(output, relu=True, out=out)
        plain = output.constant(ONE)
        target = out if plain else None
        if len(factors) == 1:
            memory = self._factor(factors[0], relu=True, out=target, sticky=True)
        else:
            left, right = (self._factor(gate, relu=True) for gate in factors)
            memory = self._product(left, right, out=target, sticky=True)
        if plain:
            return memory
        return self._product(self._factor(output, relu=True), memory, out=out)

    def _lstm(self, gates: Sequence[_Row], cell: mpq, before: mpq, out: int | None) -> int:
        if self._vanishes(gates[1]) and self._finite(cell) and self._finite(before):
            return self._memoryless(gates, out)
        entry, forget, candidate, output = (self._factor(gate, relu=True) for gate in gates)
        memory = self.register()
        self.initial[memory] = cell
        self.signed_zero[memory] = True
        self._emit(Cell(out=memory, forget=forget, entry=entry, candidate=candidate))
        exposed = self._factor(_Row(bias=ZERO, terms=(Term(register=memory, weight=ONE),)), relu=True)
        return self._product(output, exposed, out=out)

    def _gru(self, gates: Sequence[_Row], before: mpq, out: int | None) -> int:
        reset, update, new = gates
        if self._vanishes(update) and self._finite(before):
            return self._candidate(reset, new, out=out, sticky=True)
        own = any(term.delayed for term in new.terms)
        strict = reset == update and not own  # r·0 is nan where r, which is z, is not finite
        kept = self._switch(update)
        taken = self._factor(_Row(bias=ONE, terms=(Term(register=kept, weight=-ONE),)), relu=False)
        candidate = self._candidate(_Row(bias=ONE, terms=()) if strict else reset, new)
        register = self.register() if out is None else out
        self.initial[register], self.signed_zero[register] = before, True
        self._emit(Cell(out=register, forget=kept, entry=taken, candidate=candidate, strict=strict))
        return register

    def _switch(self, gate: _Row) -> int:
        """A gate after its ReLU; gates that are the same are computed once."""
        if gate not in self.switches:
            self.switches[gate] = self._factor(gate, relu=True)
        return self.switches[gate]

    def _candidate(self, reset: _Row, new: _Row, *, out: int | None = None, sticky: bool = False) -> int:
        """σ((bias + W x) + r·(0 + U h')) of a ``gru`` unit."""
        own = _Row(bias=ZERO, terms=tuple(term for term in new.terms if term.delayed))
        entry = _Row(bias=new.bias, terms=tuple(term for term in new.terms if not term.delayed))
        vacant = not entry.terms and entry.bias == 0
        if not own.terms and not reset.terms and self._finite(reset.bias):
            return self._factor(entry, relu=True, out=out, sticky=sticky)
        if reset.constant(ONE):
            row = own if vacant else self._joined(own, entry)
            return self._factor(row, relu=True, out=out, sticky=sticky)
        switch = self._switch(reset)
        plain = len(own.terms) == 1 and own.terms[0].weight == 1
        right = own.terms[0].register if plain else self._factor(own, relu=False)
        if vacant:
            return self._product(switch, right, delayed=plain, out=out, relu=True, sticky=sticky)
        term = Term(register=self._product(switch, right, delayed=plain), weight=ONE)
        return self._factor(replace(entry, terms=(*entry.terms, term)), relu=True, out=out, sticky=sticky)

    def _joined(self, own: _Row, entry: _Row) -> _Row:
        """The sum of both, as one accumulator where that rounds alike: addition commutes.

        What comes before the feedback is then out of the loop over time.
        """
        if isinstance(self.fmt, Format):
            before = Term(register=self._factor(entry, relu=False), weight=ONE)
            return replace(own, terms=(*own.terms, before))
        fed = Term(register=self._factor(own, relu=False), weight=ONE)
        return replace(entry, terms=(*entry.terms, fed))

    def _vanishes(self, gate: _Row) -> bool:
        return not gate.terms and gate.bias <= 0 and self._finite(gate.bias)

    def _finite(self, value: mpq) -> bool:
        return not isinstance(self.fmt, Format) or abs(round_rational(value, self.fmt)) != float("inf")


def _known(register: int | None) -> int:
    assert register is not None
    return register
