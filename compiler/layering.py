"""From a lowered program to its path (see :mod:`compiler.path`).

After :mod:`compiler.schedule` has placed the atoms, a backward pass settles what
every boundary between layers must hold: walking from the readout to the tokens, a
value that a later form needs is either computed in the layer at hand or carried
through it.  Values that all later forms use in one fixed proportion are carried as
that combination; a named sum is carried as itself once its parts are complete.
A forward pass then writes the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gmpy2 import mpq

from compiler import ranges
from compiler.exact import ONE, ZERO, Matrix
from compiler.lowering import Lowered
from compiler.model import Label, Layer
from compiler.path import Path, PathLayer
from compiler.ranges import Range
from compiler.scalars import Form, ProductSymbol, ReluSymbol, ScalarGraph, StateSymbol, SumSymbol, combine
from compiler.schedule import LayerKind, Schedule, argument_forms, schedule

SHIFT_CAP = mpq(2048)
"""Largest constant that may be added to carry a signed integer as one ReLU unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Boundary:
    """What h_j holds: values computed in layer j, and values carried through it."""

    fresh: tuple[int, ...]
    carried: tuple[int, ...]


class _Values:
    """Symbols of the graph, and combinations of them made for carrying."""

    def __init__(self, graph: ScalarGraph, plan: Schedule) -> None:
        self.graph = graph
        self.plan = plan
        self.combinations: dict[int, Form] = {}
        self._known: dict[Form, int] = {}

    def combination(self, form: Form) -> int:
        """The value that stands for ``form`` (which has no constant part)."""
        if len(form.terms) == 1 and form.terms[0][1] == 1:
            return form.terms[0][0]
        found = self._known.get(form)
        if found is None:
            found = len(self.graph.symbols) + len(self.combinations)
            self.combinations[found] = form
            self._known[form] = found
        return found

    def complete(self, fresh: set[int]) -> list[int]:
        """``fresh`` with the coordinates that their states need to go on."""
        for value in list(fresh):
            symbol = self.graph.symbols[value]
            if isinstance(symbol, StateSymbol):
                fresh.update(v for v in self.graph.groups[symbol.group].symbols if v in self.plan.layer)
        return sorted(fresh)

    def form(self, value: int) -> Form:
        """A carried value as a form over older values."""
        return self.combinations.get(value, Form(ZERO, ((value, ONE),)))

    def range(self, value: int) -> Range:
        """The range of a value."""
        made = self.combinations.get(value)
        if made is None:
            return self.graph.ranges[value]
        return ranges.affine(made.shift, ((factor, self.range(each)) for each, factor in made.terms))

    def label(self, value: int, *, fresh: bool) -> Label:
        """The label of a value."""
        while value in self.combinations:
            value = self.combinations[value].terms[0][0]
        return replace(self.graph.labels[value], fresh=fresh)

    def resolve(self, form: Form, boundary: int) -> Form:
        """``form`` over values that h_boundary can hold."""
        parts: list[tuple[mpq, Form]] = []
        for value, factor in form.terms:
            parts.append((factor, self._resolve_value(value, boundary)))
        return combine(form.shift, parts)

    def _resolve_value(self, value: int, boundary: int) -> Form:
        made = self.combinations.get(value)
        if made is not None:
            return self.resolve(made, boundary)
        symbol = self.graph.symbols[value]
        if (
            isinstance(symbol, SumSymbol)
            and value not in self.plan.layer
            and self.plan.ready[value] >= boundary
        ):
            return self.resolve(symbol.form, boundary)
        return Form(ZERO, ((value, ONE),))


def _proportional(forms: Sequence[Form], carried: Iterable[int]) -> list[Form]:
    """Carried values grouped into combinations that every form uses in one proportion."""
    carried = sorted(carried)
    columns: dict[int, list[tuple[int, mpq]]] = {value: [] for value in carried}
    for index, form in enumerate(forms):
        for value, factor in form.terms:
            if value in columns:
                columns[value].append((index, factor))
    groups: dict[tuple[tuple[int, mpq], ...], list[tuple[int, mpq]]] = {}
    for value in carried:
        lead = columns[value][0][1]
        key = tuple((index, factor / lead) for index, factor in columns[value])
        groups.setdefault(key, []).append((value, lead))
    return [
        Form(ZERO, tuple((value, lead / members[0][1]) for value, lead in members))
        for members in groups.values()
    ]


def _boundary(values: _Values, forms: list[Form], number: int) -> tuple[_Boundary, list[Form]]:
    """What boundary ``number`` holds for its readers, and their forms over it."""
    resolved = [values.resolve(form, number) for form in forms]
    needed = {value for form in resolved for value, _ in form.terms}
    fresh = values.complete({value for value in needed if values.plan.layer.get(value) == number})
    carried = needed - set(fresh)
    combined: dict[int, tuple[int, mpq]] = {}
    leads: set[int] = set()
    names: list[int] = []
    for group in _proportional(resolved, carried):
        name = values.combination(group)
        names.append(name)
        leads.add(group.terms[0][0])
        for value, factor in group.terms:
            combined[value] = (name, factor)
    rewritten = [
        combine(
            form.shift,
            (
                (
                    factor,
                    Form(ZERO, ((combined[value][0], ONE),))
                    if value in combined
                    else Form(ZERO, ((value, ONE),)),
                )
                for value, factor in form.terms
                if value not in combined or value in leads
            ),
        )
        for form in resolved
    ]
    return _Boundary(fresh=tuple(fresh), carried=tuple(names)), rewritten


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Per layer: its boundary and the forms its units read; and the readout's forms."""

    boundaries: tuple[_Boundary, ...]
    arguments: tuple[dict[int, tuple[Form, ...]], ...]
    outputs: tuple[Form, ...]


def _plan(values: _Values, outputs: Sequence[Form]) -> _Plan:
    """The backward pass."""
    boundaries: list[_Boundary] = []
    arguments: list[dict[int, tuple[Form, ...]]] = []
    readers: list[tuple[int, int]] = []  # (value, number of forms) of the layer above
    forms = list(outputs)
    final: tuple[Form, ...] = ()
    for number in range(len(values.plan.kinds), -1, -1):
        if number:
            boundary, rewritten = _boundary(values, forms, number)
        else:
            boundary, rewritten = _Boundary(fresh=(), carried=()), [values.resolve(form, 0) for form in forms]
        if number == len(values.plan.kinds):
            final = tuple(rewritten)
        else:
            read = iter(rewritten)
            arguments.append({value: tuple(next(read) for _ in range(count)) for value, count in readers})
        if not number:
            break
        boundaries.append(boundary)
        needs = [(value, argument_forms(values.graph, value)) for value in boundary.fresh]
        needs += [(value, (values.form(value),)) for value in boundary.carried]
        readers = [(value, len(each)) for value, each in needs]
        forms = [form for _, each in needs for form in each]
    return _Plan(boundaries=tuple(reversed(boundaries)), arguments=tuple(reversed(arguments)), outputs=final)


@dataclass(frozen=True, slots=True)
class _Rep:
    """How a value stands in a layer: shift + Σ factor·unit."""

    shift: mpq
    units: tuple[tuple[int, mpq], ...]


class _Row:
    """An affine row over the units of the layer below."""

    def __init__(self, form: Form, reps: dict[int, _Rep]) -> None:
        self.shift = form.shift
        self.entries: dict[int, mpq] = {}
        for value, factor in form.terms:
            rep = reps[value]
            self.shift += factor * rep.shift
            for unit, own in rep.units:
                self.entries[unit] = self.entries.get(unit, ZERO) + factor * own

    def scaled(self, factor: mpq, shift: mpq = ZERO) -> tuple[dict[int, mpq], mpq]:
        """(entries, constant) of factor·row + shift."""
        return {unit: factor * value for unit, value in self.entries.items()}, factor * self.shift + shift


class _Emitter:
    """Writes one layer: rows, biases, labels, ranges, and the values' representations."""

    def __init__(
        self,
        kind: LayerKind,
        values: _Values,
        below: dict[int, _Rep],
        width: int,
        partners: dict[int, int],
        *,
        signed: bool = False,
    ) -> None:
        self.kind = kind
        self.signed = signed
        self.values = values
        self.below = below
        self.width = width
        self.partners_below = partners
        self.halves: dict[int, int] = {}
        self.rows: list[dict[int, mpq]] = []
        self.bias: list[mpq] = []
        self.other_rows: list[dict[int, mpq]] = []
        self.other_bias: list[mpq] = []
        self.labels: list[Label] = []
        self.ranges: list[Range] = []
        self.operands: list[tuple[Range, Range]] = []
        self.arguments: list[Range] = []
        self.passing: set[int] = set()
        self.own: list[dict[int, mpq]] = []
        self.initial: list[mpq] = []
        self.reps: dict[int, _Rep] = {}

    def _unit(self, row: dict[int, mpq], bias: mpq, label: Label, extent: Range) -> int:
        self.rows.append(row)
        self.bias.append(bias)
        self.labels.append(label)
        self.ranges.append(extent)
        return len(self.rows) - 1

    def fresh_relu(self, value: int, argument: Form, *, known: Range) -> None:
        """A ReLU; ``known`` is the range of its argument before named sums were resolved."""
        row, bias = _Row(argument, self.below).scaled(ONE)
        self.arguments.append(ranges.intersect(self._extent(argument), known))
        unit = self._unit(row, bias, self.values.label(value, fresh=True), self.values.range(value))
        self.reps[value] = _Rep(ZERO, ((unit, ONE),))

    def fresh_product(self, value: int, left: Form, right: Form, *, known: tuple[Range, Range]) -> None:
        """A product; ``known`` are the ranges of its factors before named sums were resolved."""
        row, bias = _Row(left, self.below).scaled(ONE)
        unit = self._unit(row, bias, self.values.label(value, fresh=True), self.values.range(value))
        other, other_bias = _Row(right, self.below).scaled(ONE)
        extents = (
            ranges.intersect(self._extent(left), known[0]),
            ranges.intersect(self._extent(right), known[1]),
        )
        self._operand(other, other_bias, extents)
        self.reps[value] = _Rep(ZERO, ((unit, ONE),))

    def _operand(self, row: dict[int, mpq], bias: mpq, operands: tuple[Range, Range]) -> None:
        self.other_rows.append(row)
        self.other_bias.append(bias)
        self.operands.append(operands)

    def _extent(self, form: Form) -> Range:
        return ranges.affine(form.shift, ((factor, self.values.range(v)) for v, factor in form.terms))

    def fresh_states(self, members: dict[int, Form]) -> None:
        """The live coordinates of one state group, and their recurrence."""
        units: dict[int, int] = {}
        graph = self.values.graph
        for value, drive in members.items():
            symbol = graph.symbols[value]
            assert isinstance(symbol, StateSymbol)
            known = graph.range_of(graph.groups[symbol.group].drive[symbol.coordinate])
            self.arguments.append(ranges.intersect(self._extent(drive), known))
            row, bias = _Row(drive, self.below).scaled(ONE)
            units[value] = self._unit(
                row, bias, self.values.label(value, fresh=True), self.values.range(value)
            )
            self.reps[value] = _Rep(ZERO, ((units[value], ONE),))
        for value in members:
            symbol = graph.symbols[value]
            assert isinstance(symbol, StateSymbol)
            group = graph.groups[symbol.group]
            self.own.append({units[group.symbols[j]]: factor for j, factor in group.rows[symbol.coordinate]})
            self.initial.append(group.initial[symbol.coordinate])

    def carry(self, value: int, form: Form, *, fresh: bool = False) -> None:
        """A value that passes through (or a sum that becomes a unit here)."""
        row, extent = _Row(form, self.below), self.values.range(value)
        label = self.values.label(value, fresh=fresh)
        if self.kind == "relu" and self.signed:
            self.passing.add(len(self.rows))
            self.arguments.append(extent)
        elif self.kind == "relu":
            self._carry_relu(value, row, extent, label)
            return
        entries, bias = row.scaled(ONE)
        unit = self._unit(entries, bias, label, extent)
        if self.kind == "gate":
            self._operand({}, ONE, (extent, ranges.constant(ONE)))
        elif self.kind == "state":
            self.arguments.append(extent)
            self.own.append({})
            self.initial.append(ZERO)
        self.reps[value] = _Rep(ZERO, ((unit, ONE),))

    def _carry_relu(self, value: int, row: _Row, extent: Range, label: Label) -> None:
        """One unit where a bound allows it, else the pair ReLU(v), ReLU(−v).

        A shift is used for integers only: adding a constant to a real value would
        round it.
        """
        if extent.nonnegative or extent.nonpositive:
            sign = ONE if extent.nonnegative else -ONE
            self.reps[value] = _Rep(ZERO, ((self._half(row, sign, label, extent, ZERO), sign),))
        elif extent.integer and extent.lo is not None and -extent.lo <= SHIFT_CAP:
            unit = self._half(row, ONE, label, extent, -extent.lo)
            self.reps[value] = _Rep(extent.lo, ((unit, ONE),))
        elif extent.integer and extent.hi is not None and extent.hi <= SHIFT_CAP:
            unit = self._half(row, -ONE, label, extent, extent.hi)
            self.reps[value] = _Rep(extent.hi, ((unit, -ONE),))
        else:
            units = [self._half(row, sign, label, extent, ZERO) for sign in (ONE, -ONE)]
            self.halves |= {units[0]: units[1], units[1]: units[0]}
            self.reps[value] = _Rep(ZERO, ((units[0], ONE), (units[1], -ONE)))

    def _half(self, row: _Row, sign: mpq, label: Label, extent: Range, shift: mpq) -> int:
        """ReLU(sign·row + shift); a half of a pair below is copied, not rebuilt."""
        entries, bias = row.scaled(sign, shift)
        if shift == 0 and bias == 0 and len(entries) == 2:
            (plus, up), (minus, down) = sorted(entries.items(), key=lambda item: item[1], reverse=True)
            if up == 1 and down == -1 and self.partners_below.get(plus) == minus:
                entries = {plus: ONE}
        before = ranges.affine(shift, [(sign, extent)])
        held = ranges.relu(before)
        self.arguments.append(before)
        return self._unit(entries, bias, replace(label, sign=int(sign)), held)

    def layer(self, number: int) -> PathLayer:
        """The finished layer."""
        size = len(self.rows)
        rows, bias = [*self.rows, *self.other_rows], [*self.bias, *self.other_bias]
        own = self.own if self.kind == "state" else [{}] * len(rows)
        made = Layer(
            kind=self.kind,
            inputs=(number - 1,),
            size=size,
            weight_ih=Matrix.from_rows(self.width, rows),
            weight_hh=Matrix.from_rows(size, own),
            bias=tuple(bias),
            initial=tuple(self.initial),
            labels=tuple(self.labels),
        )
        return PathLayer(
            layer=made,
            ranges=tuple(self.ranges),
            operands=tuple(self.operands),
            arguments=tuple(self.arguments),
            passing=frozenset(self.passing),
        )


def _emit_layer(emitter: _Emitter, boundary: _Boundary, arguments: dict[int, tuple[Form, ...]]) -> None:
    graph = emitter.values.graph
    groups: dict[int, dict[int, Form]] = {}
    for value in boundary.fresh:
        match graph.symbols[value]:
            case ReluSymbol(argument=argument):
                emitter.fresh_relu(value, arguments[value][0], known=graph.range_of(argument))
            case ProductSymbol(left=left, right=right):
                known = (graph.range_of(left), graph.range_of(right))
                emitter.fresh_product(value, *arguments[value], known=known)
            case StateSymbol(group=group):
                groups.setdefault(group, {})[value] = arguments[value][0]
            case _:
                emitter.carry(value, arguments[value][0], fresh=True)
    for members in groups.values():
        emitter.fresh_states(members)
    for value in boundary.carried:
        emitter.carry(value, arguments[value][0])


def to_path(lowered: Lowered, *, signed: bool = False) -> Path:
    """The path of a lowered program, equal to it as exact rationals.

    Args:
        lowered: the program.
        signed: the units of ReLU layers that only carry a value pass it on with its sign
            (``PathLayer.passing``), for cells whose activations are odd, in place of
            carrying it as ReLU units.
    """
    program, graph = lowered.program, lowered.graph
    outputs = graph.forms[program.output]
    values = _Values(graph, schedule(graph, outputs))
    plan = _plan(values, outputs)
    inputs = graph.forms[0]
    reps = {form.terms[0][0]: _Rep(ZERO, ((i, ONE),)) for i, form in enumerate(inputs)}
    width, layers = program.input_dim, []
    halves: dict[int, int] = {}
    for number, kind in enumerate(values.plan.kinds, start=1):
        emitter = _Emitter(kind, values, reps, width, halves, signed=signed)
        _emit_layer(emitter, plan.boundaries[number - 1], plan.arguments[number - 1])
        layers.append(emitter.layer(number))
        reps, width, halves = emitter.reps, len(emitter.rows), emitter.halves
    rows = [_Row(form, reps) for form in plan.outputs]
    return Path(
        input_dim=program.input_dim,
        tokens=tuple(graph.ranges[form.terms[0][0]] for form in inputs),
        layers=tuple(layers),
        readout=Matrix.from_rows(width, [row.entries for row in rows]),
        readout_bias=tuple(row.shift for row in rows),
        outputs=tuple(graph.range_of(form) for form in outputs),
    )
