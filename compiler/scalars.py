"""Scalarisation: every component of every node as an exact affine form over symbols.

A *symbol* is an input component, the scalar output of a ReLU, of a product or of
a state component (an *atom*), or a named sum of other symbols.  Linear, Concat and
slices vanish into the forms.  Equal atoms are one symbol: ReLUs up to a positive
scale, products up to order and scale, states of equal A, drive and start.  A
linear row with a declared range, or of three or more terms, becomes a named sum
with a range of its own: so a step, made of two ReLUs of unknown size, is known to
lie in [0, 1].

Every symbol has a :class:`~compiler.ranges.Range`.  A state's range is the
fixpoint of its update and leaves out the initial state, because the value that a
program reads is always the NEW state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from gmpy2 import mpq

from compiler import ir, ranges
from compiler.errors import ProgramError
from compiler.exact import ONE, ZERO, Matrix, Vector
from compiler.model import Label
from compiler.ranges import Range

NAMED_SUM_TERMS = 3


@dataclass(frozen=True, slots=True)
class Form:
    """shift + Σ factor·symbol, symbols ascending, factors non-zero."""

    shift: mpq
    terms: tuple[tuple[int, mpq], ...]

    def scaled(self, factor: mpq) -> Form:
        """Every part times ``factor`` (non-zero)."""
        return Form(self.shift * factor, tuple((s, f * factor) for s, f in self.terms))


def form_of(shift: mpq, terms: Mapping[int, mpq]) -> Form:
    """A form from a mapping symbol → factor."""
    return Form(shift, tuple(sorted((s, f) for s, f in terms.items() if f != 0)))


def combine(shift: mpq, parts: Iterable[tuple[mpq, Form]]) -> Form:
    """Shift + Σ factor·form."""
    total: dict[int, mpq] = {}
    for factor, form in parts:
        shift += factor * form.shift
        for symbol, own in form.terms:
            total[symbol] = total.get(symbol, ZERO) + factor * own
    return form_of(shift, total)


def affine_range(form: Form, extents: Sequence[Range]) -> Range:
    """The range of a form's value, given the range of every symbol."""
    return ranges.affine(form.shift, ((factor, extents[symbol]) for symbol, factor in form.terms))


@dataclass(frozen=True, slots=True)
class InputSymbol:
    """Component ``component`` of the token."""

    component: int


@dataclass(frozen=True, slots=True)
class ReluSymbol:
    """ReLU(argument)."""

    argument: Form


@dataclass(frozen=True, slots=True)
class ProductSymbol:
    """left · right."""

    left: Form
    right: Form


@dataclass(frozen=True, slots=True)
class StateSymbol:
    """Coordinate ``coordinate`` of state group ``group``."""

    group: int
    coordinate: int


@dataclass(frozen=True, slots=True)
class SumSymbol:
    """A named linear combination of other symbols (no constant part)."""

    form: Form


Symbol: TypeAlias = InputSymbol | ReluSymbol | ProductSymbol | StateSymbol | SumSymbol


@dataclass(frozen=True, slots=True)
class StateGroup:
    """A connected component of a LinState: s_i = Σ rows[i]·s' + drive[i]."""

    rows: tuple[tuple[tuple[int, mpq], ...], ...]
    drive: tuple[Form, ...]
    initial: Vector
    symbols: tuple[int, ...]


def _affine_relu(argument: Form, extent: Range) -> Form | None:
    """ReLU(argument) as an affine form where its range allows one, else None."""
    if extent.nonnegative:
        return argument
    if extent.nonpositive:
        return Form(ZERO, ())
    if extent.lo is None or extent.hi is None or extent.step != extent.hi - extent.lo:
        return None
    if (extent.lo - extent.offset) % extent.step:
        return None  # the bounds themselves are not on the lattice
    slope = extent.hi / (extent.hi - extent.lo)  # from (lo, 0) to (hi, hi)
    return combine(-slope * extent.lo, [(slope, argument)])


class ScalarGraph:
    """The symbols of one program, grown node by node (see the module).

    Args:
        reduce: make ReLUs affine where a range allows it (see
            :class:`compiler.config.CompileConfig`).
    """

    def __init__(self, *, reduce: bool = False) -> None:
        self.reduce = reduce
        self.symbols: list[Symbol] = []
        self.ranges: list[Range] = []
        self.labels: list[Label] = []
        self.groups: list[StateGroup] = []
        self.forms: list[tuple[Form, ...]] = []
        self._relus: dict[Form, tuple[int, mpq]] = {}
        self._products: dict[tuple[Form, Form], tuple[int, mpq]] = {}
        self._states: dict[object, int] = {}
        self._sums: dict[Form, tuple[int, mpq]] = {}

    def _add(self, symbol: Symbol, extent: Range, label: Label) -> int:
        self.symbols.append(symbol)
        self.ranges.append(extent)
        self.labels.append(label)
        return len(self.symbols) - 1

    def range_of(self, form: Form) -> Range:
        """The range of a form's value."""
        return affine_range(form, self.ranges)

    def refined(self, bounds: Mapping[int, Range]) -> list[Range]:
        """The range of every symbol when some are known to be narrower than in general."""
        narrowed: list[Range] = []
        for symbol, (made, extent) in enumerate(zip(self.symbols, self.ranges, strict=True)):
            inferred = extent
            match made:
                case ReluSymbol(argument=form):
                    inferred = ranges.relu(affine_range(form, narrowed))
                case ProductSymbol(left=left, right=right):
                    inferred = ranges.product(affine_range(left, narrowed), affine_range(right, narrowed))
                case SumSymbol(form=form):
                    inferred = affine_range(form, narrowed)
                case InputSymbol() | StateSymbol():
                    pass
            narrowed.append(
                ranges.intersect(ranges.intersect(extent, inferred), bounds.get(symbol, ranges.REAL))
            )
        return narrowed

    def extend(self, node: ir.Node, bounds: Sequence[Range] | None = None) -> None:
        """Scalarise the next node; ``bounds`` are ranges known per component."""
        known = list(bounds) if bounds is not None else None
        if node.declared is not None:
            said = ranges.declared_range(node.declared.lo, node.declared.hi, integer=node.declared.integer)
            known = [ranges.intersect(said, r) for r in known] if known else [said] * node.dim
        variable = ir.node_label(node, len(self.forms))
        labels = [Label(variable=variable, component=i, span=node.span) for i in range(node.dim)]
        self.forms.append(self._node_forms(node, labels, known))

    def _node_forms(self, node: ir.Node, labels: list[Label], known: list[Range] | None) -> tuple[Form, ...]:
        match node:
            case ir.Input(dim=dim):
                extents = known or [ranges.REAL] * dim
                made = [self._add(InputSymbol(i), extents[i], labels[i]) for i in range(dim)]
                return tuple(Form(ZERO, ((symbol, ONE),)) for symbol in made)
            case ir.Linear(source=source, matrix=matrix, bias=bias):
                rows = [
                    combine(b, ((v, self.forms[source][j]) for j, v in row))
                    for row, b in zip(matrix.rows, bias, strict=True)
                ]
            case ir.ReLU(source=source):
                rows = [
                    self.relu(form, label) for form, label in zip(self.forms[source], labels, strict=True)
                ]
            case ir.Multi(source=source, dim=dim):
                parts = self.forms[source]
                rows = [self.product(parts[i], parts[dim + i], labels[i]) for i in range(dim)]
            case ir.Concat(sources=sources):
                return tuple(form for source in sources for form in self.forms[source])
            case ir.LinState():
                rows = self._state(node, labels)
            case ir.Idiom():
                raise AssertionError("idioms are lowered before they are scalarised")
            case _:
                assert_never(node)
        return tuple(
            self._name(row, labels[i], known[i] if known else None, named=isinstance(node, ir.Linear))
            for i, row in enumerate(rows)
        )

    def _name(self, row: Form, label: Label, known: Range | None, *, named: bool) -> Form:
        """Tighten a row by what is known of it, and name it if it deserves a symbol."""
        if not row.terms:
            self._check_constant(row.shift, label, known)
            return row
        if len(row.terms) == 1 and known is not None:
            symbol, factor = row.terms[0]
            self._narrow(symbol, ranges.affine(-row.shift / factor, [(1 / factor, known)]), label)
            return row
        if known is None and (not named or len(row.terms) < NAMED_SUM_TERMS):
            return row
        return self._sum(row, label, known)

    def _sum(self, row: Form, label: Label, known: Range | None) -> Form:
        scale = row.terms[0][1]
        key = Form(ZERO, row.terms).scaled(1 / scale)
        found = self._sums.get(key)
        if found is None:
            plain = Form(ZERO, row.terms)
            found = (self._add(SumSymbol(plain), self.range_of(plain), label), scale)
            self._sums[key] = found
        symbol, first_scale = found
        factor = scale / first_scale
        if known is not None:
            self._narrow(symbol, ranges.affine(-row.shift / factor, [(1 / factor, known)]), label)
        return Form(row.shift, ((symbol, factor),))

    def _check_constant(self, value: mpq, label: Label, known: Range | None) -> None:
        if known is None:
            return
        inside = (known.lo is None or known.lo <= value) and (known.hi is None or value <= known.hi)
        if not inside or (known.integer and value.denominator != 1):
            raise ProgramError.single(
                f"{label.variable}: a declared range leaves no value: it is {value}, not in {known}",
                span=label.span,
                hint="correct the range in Input(…) or assume(…)",
            )

    def _narrow(self, symbol: int, bound: Range, label: Label) -> None:
        """Note a further bound of a symbol.

        Raises:
            ProgramError: no value satisfies it and what is known already.
        """
        before = self.ranges[symbol]
        after = ranges.intersect(before, bound)
        if after.lo is not None and after.hi is not None and after.lo > after.hi:
            raise ProgramError.single(
                f"{label.variable}: a declared range leaves no value: {before} and {bound} do not meet",
                span=label.span,
                hint="correct the range in Input(…) or assume(…)",
            )
        self.ranges[symbol] = after

    def relu(self, argument: Form, label: Label) -> Form:
        """The form of ReLU(argument)."""
        if not argument.terms:
            return Form(max(argument.shift, ZERO), ())
        if self.reduce:
            affine = _affine_relu(argument, self.range_of(argument))
            if affine is not None:
                return affine
        scale = abs(argument.terms[0][1])
        key = argument.scaled(1 / scale)
        found = self._relus.get(key)
        if found is None:
            extent = ranges.relu(self.range_of(argument))
            found = (self._add(ReluSymbol(argument), extent, label), scale)
            self._relus[key] = found
        symbol, first_scale = found
        return Form(ZERO, ((symbol, scale / first_scale),))

    def product(self, left: Form, right: Form, label: Label) -> Form:
        """The form of left · right."""
        if not left.terms or not right.terms:
            factor, other = (left.shift, right) if not left.terms else (right.shift, left)
            return other.scaled(factor) if factor else Form(ZERO, ())
        scales = left.terms[0][1], right.terms[0][1]
        normal = left.scaled(1 / scales[0]), right.scaled(1 / scales[1])
        key = normal if normal[0].terms <= normal[1].terms else (normal[1], normal[0])
        scale = scales[0] * scales[1]
        found = self._products.get(key)
        if found is None:
            extent = ranges.product(self.range_of(left), self.range_of(right))
            found = (self._add(ProductSymbol(left, right), extent, label), scale)
            self._products[key] = found
        symbol, first_scale = found
        return Form(ZERO, ((symbol, scale / first_scale),))

    def _state(self, node: ir.LinState, labels: list[Label]) -> list[Form]:
        source = self.forms[node.source]
        drive = [
            combine(b, ((v, source[j]) for j, v in row))
            for row, b in zip(node.input_matrix.rows, node.bias, strict=True)
        ]
        drive = [
            self._name(form, labels[i], None, named=True) if len(form.terms) >= NAMED_SUM_TERMS else form
            for i, form in enumerate(drive)
        ]
        forms: list[Form] = list(drive)
        for members in _components(node.state_matrix):
            if len(members) == 1 and not node.state_matrix.rows[members[0]]:
                continue  # A = 0 on this coordinate: the state is its drive
            local = {i: k for k, i in enumerate(members)}
            rows = tuple(tuple((local[j], value) for j, value in node.state_matrix.rows[i]) for i in members)
            initial = tuple(node.initial[i] for i in members)
            group = self._group(rows, tuple(drive[i] for i in members), initial, [labels[i] for i in members])
            for i in members:
                forms[i] = Form(ZERO, ((self.groups[group].symbols[local[i]], ONE),))
        return forms

    def _group(
        self,
        rows: tuple[tuple[tuple[int, mpq], ...], ...],
        drive: tuple[Form, ...],
        initial: Vector,
        labels: list[Label],
    ) -> int:
        key = (rows, drive, initial)
        found = self._states.get(key)
        if found is not None:
            return found
        number = len(self.groups)
        extents = _state_ranges(rows, [self.range_of(form) for form in drive], initial)
        symbols = tuple(
            self._add(StateSymbol(number, k), extent, label)
            for k, (extent, label) in enumerate(zip(extents, labels, strict=True))
        )
        self.groups.append(StateGroup(rows, drive, initial, symbols))
        self._states[key] = number
        return number


def _components(matrix: Matrix) -> list[list[int]]:
    """Connected components of a square matrix's pattern, each in ascending order."""
    parent = list(range(matrix.height))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, _ in matrix.entries():
        parent[root(i)] = root(j)
    members: dict[int, list[int]] = {}
    for i in range(matrix.height):
        members.setdefault(root(i), []).append(i)
    return sorted(members.values())


def _state_ranges(
    rows: Sequence[Sequence[tuple[int, mpq]]], drive: Sequence[Range], initial: Vector
) -> list[Range]:
    """The fixpoint of s ← A (s ∪ s0) + drive, bounds widened one by one.

    A bound that still moves after 2·dim + 2 updates of its coordinate is given up
    on its own; so is a lattice.
    """
    readers: list[list[int]] = [[] for _ in rows]
    for i, row in enumerate(rows):
        for j, _ in row:
            readers[j].append(i)
    starts = [ranges.constant(value) for value in initial]
    extents: list[Range | None] = [None] * len(rows)
    rounds = [0] * len(rows)
    patience = 2 * len(rows) + 2
    queue = deque(range(len(rows)))
    queued = [True] * len(rows)
    while queue:
        i = queue.popleft()
        queued[i] = False
        before = extents[i]
        fed = []
        for j, value in rows[i]:
            known = extents[j]
            fed.append((value, starts[j] if known is None else ranges.hull(starts[j], known)))
        fed.append((ONE, drive[i]))
        update = ranges.affine(ZERO, fed)
        after = update if before is None else ranges.hull(before, update)
        rounds[i] += 1
        if before is not None and rounds[i] > patience:
            after = _widen(before, after)
        if after == before:
            continue
        extents[i] = after
        for reader in readers[i]:
            if not queued[reader]:
                queued[reader] = True
                queue.append(reader)
    return [extent if extent is not None else ranges.REAL for extent in extents]


def _widen(before: Range, after: Range) -> Range:
    moving_lattice = (after.step, after.offset) != (before.step, before.offset)
    return Range(
        after.lo if after.lo == before.lo else None,
        after.hi if after.hi == before.hi else None,
        None if moving_lattice else after.step,
        ZERO if moving_lattice else after.offset,
    )
