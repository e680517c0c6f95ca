"""From a model to a list of register operations that give the same bits.

Every value of a token's pass lives in a register.  An operation computes one
register from registers of the same step and, where a term is ``delayed``, of the
step before.  Three things are saved against the literal equations, each without
changing a bit, non-finite values and the status included:

- a gate without entries is a constant: an ``lstm`` unit with f ≡ 0, i ≡ 1, g ≡ 1 is σ(o);
  with f ≡ 0, o ≡ 1 it is σ(i)·σ(g); a product with the constant 1 is its other factor.
  Where the literal cell would stay nan after an overflow (0·∞), the operation is ``sticky``;
- a unit that copies one register unchanged is that register.  An accumulator that starts
  at +0 never ends at −0, so the copy of an accumulator is exact, and so is the ReLU of a
  register that is never negative;
- operations of a layer that do not depend on themselves through time run over many steps
  at once, the others in a loop over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gmpy2 import mpq

from compiler.exact import ONE, ZERO
from compiler.model import GATES, TOKENS, Layer, Model
from stability.engines.schedule import Group, schedule
from stability.formats import AnyFormat, Format
from stability.rounding import round_rational


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One product of an accumulator: ``weight`` times a register's (previous) value."""

    register: int
    weight: mpq
    delayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """out = bias + Σ terms, in their order; then ReLU if ``relu``; nan for ever if ``sticky``."""

    out: int
    bias: mpq
    terms: tuple[Term, ...]
    relu: bool = False
    sticky: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """out = left · right; ``sticky``: nan for ever after a non-finite value."""

    out: int
    left: int
    right: int
    sticky: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """out = forget · (out one step before) + entry · candidate."""

    out: int
    forget: int
    entry: int
    candidate: int


Operation = Affine | Product | Cell


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
    builder = _Builder(fmt=fmt)
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
        groups += schedule(operations, _reads)
    return Plan(
        registers=len(builder.never_negative),
        tokens=tokens,
        groups=tuple(groups),
        outputs=tuple(builder.outputs),
        wires={wire: builder.wires[wire] for wire in keep},
        initial=builder.initial,
    )


def _reads(operation: Operation) -> tuple[tuple[int, ...], bool]:
    """The registers an operation reads, and whether it reads its own earlier value."""
    match operation:
        case Affine():
            registers = tuple(term.register for term in operation.terms)
            return registers, operation.out in registers
        case Product():
            return (operation.left, operation.right), False
        case Cell():
            return (operation.forget, operation.entry, operation.candidate), True


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
    wires: list[tuple[int, ...]] = field(default_factory=list)
    operations: list[list[Operation]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    initial: dict[int, mpq] = field(default_factory=dict)
    never_negative: list[bool] = field(default_factory=list)  # values are ≥ +0 or nan
    signed_zero: list[bool] = field(default_factory=list)  # −0 can occur

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
        sources = self.gather(layer.inputs)
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
        match layer.kind:
            case "linear" | "state":
                return self._factor(gates[0], relu=False, out=out)
            case "relu" | "rnn":
                return self._factor(gates[0], relu=True, out=out)
            case "gate":
                factors = [gate for gate in gates if not gate.constant(ONE)]
                if len(factors) == 2:
                    return self._product(*(self._factor(gate, relu=False) for gate in factors), out=out)
                return self._factor(factors[0] if factors else gates[0], relu=False, out=out)
            case "lstm":
                cell = layer.initial_cell[unit] if layer.initial_cell else ZERO
                before = layer.initial[unit] if layer.initial else ZERO
                if self._vanishes(gates[1]) and self._finite(cell) and self._finite(before):
                    return self._memoryless(gates, out)
                return self._lstm(gates, cell, out)

    def _factor(self, row: _Row, *, relu: bool, out: int | None = None, sticky: bool = False) -> int:
        """A register that holds one pre-activation (after its ReLU)."""
        if out is None and not sticky and row.bias == 0 and len(row.terms) == 1:
            term = row.terms[0]
            copied = self.never_negative[term.register] if relu else True
            if term.weight == 1 and not term.delayed and copied and not self.signed_zero[term.register]:
                return term.register
        register = self.register() if out is None else out
        self.never_negative[register] = relu or (
            row.bias >= 0
            and all(t.weight > 0 and not t.delayed and self.never_negative[t.register] for t in row.terms)
        )
        self._emit(Affine(out=register, bias=row.bias, terms=row.terms, relu=relu, sticky=sticky))
        return register

    def _product(self, left: int, right: int, *, out: int | None = None, sticky: bool = False) -> int:
        register = self.register() if out is None else out
        self.never_negative[register] = self.never_negative[left] and self.never_negative[right]
        self.signed_zero[register] = not self.never_negative[register]
        self._emit(Product(out=register, left=left, right=right, sticky=sticky))
        return register

    def _emit(self, operation: Operation) -> None:
        self.operations[-1].append(operation)
        if not isinstance(operation, Cell) and operation.sticky:
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

    def _lstm(self, gates: Sequence[_Row], cell: mpq, out: int | None) -> int:
        entry, forget, candidate, output = (self._factor(gate, relu=True) for gate in gates)
        memory = self.register()
        self.initial[memory] = cell
        self.signed_zero[memory] = True
        self._emit(Cell(out=memory, forget=forget, entry=entry, candidate=candidate))
        exposed = self._factor(_Row(bias=ZERO, terms=(Term(register=memory, weight=ONE),)), relu=True)
        return self._product(output, exposed, out=out)

    def _vanishes(self, gate: _Row) -> bool:
        return not gate.terms and gate.bias <= 0 and self._finite(gate.bias)

    def _finite(self, value: mpq) -> bool:
        return not isinstance(self.fmt, Format) or abs(round_rational(value, self.fmt)) != float("inf")


def _known(register: int | None) -> int:
    assert register is not None
    return register
