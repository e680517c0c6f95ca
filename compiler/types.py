"""Types of a program's values and states, from ranges, lattices and state matrices.

A value is a constant, a Boolean, two-valued, on a lattice (integers are one), or real; it may
never fall, or never rise.  A state is what its matrix makes it (:mod:`compiler.state_kinds`),
fed by increments with a range of their own.

Everything here is inferred from declared ranges and holds wherever those do;
:mod:`stability.range_check` verifies it on a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gmpy2 import mpq

from compiler import ir, ranges
from compiler.errors import Span
from compiler.exact import ONE, ZERO, Vector
from compiler.lowering import Lowered
from compiler.ranges import Range
from compiler.scalars import ScalarGraph, StateSymbol
from compiler.state_kinds import Accumulator, Kind, Ring, ShiftRegister, kind_text, parts, short
from compiler.trends import Trend, form_trend, symbol_trends

Sign: TypeAlias = Literal["none", "nonnegative", "nonpositive", "either"]
MOST_LISTED = 3
"""Different types that a text names one by one."""
LONGEST_VECTOR = 8


# ---------------------------------------------------------------- values


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Always the same value."""

    value: mpq

    def __str__(self) -> str:
        return f"constant {short(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean:
    """0 or 1."""

    def __str__(self) -> str:
        return "Boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoValued:
    """One of two values other than 0 and 1."""

    low: mpq
    high: mpq

    def __str__(self) -> str:
        return f"two-valued {{{short(self.low)}, {short(self.high)}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """On offset + step·ℤ, between bounds that lie on it (None: unbounded)."""

    step: mpq
    offset: mpq
    lo: mpq | None
    hi: mpq | None

    @property
    def integer(self) -> bool:
        """Whether every value is a whole number."""
        return bool(self.step.denominator == 1 and self.offset.denominator == 1)

    def __str__(self) -> str:
        if self.step == 1 and self.offset == 0:
            return "integer"
        multiples = f"{short(self.step)}·ℤ"
        return f"lattice {short(self.offset)} + {multiples}" if self.offset else f"lattice {multiples}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """Any number between bounds (None: unbounded)."""

    lo: mpq | None
    hi: mpq | None

    def __str__(self) -> str:
        return "real"


ValueType: TypeAlias = Constant | Boolean | TwoValued | Lattice | Real


def type_of(extent: Range) -> ValueType:
    """The type of a value that has this range."""
    if extent.lo is not None and extent.lo == extent.hi:
        return Constant(value=extent.lo)
    if extent.step is None:
        return Real(lo=extent.lo, hi=extent.hi)
    if extent.step == 0:
        return Constant(value=extent.offset)
    step, offset = extent.step, extent.offset
    lo = None if extent.lo is None else extent.lo + (offset - extent.lo) % step
    hi = None if extent.hi is None else extent.hi - (extent.hi - offset) % step
    if lo is not None and hi is not None:
        if lo == hi:
            return Constant(value=lo)
        if hi - lo == step:
            return Boolean() if (lo, hi) == (ZERO, ONE) else TwoValued(low=lo, high=hi)
    return Lattice(step=step, offset=offset, lo=lo, hi=hi)


def full_text(kind: ValueType) -> str:
    """The type with its bounds."""
    if not isinstance(kind, Lattice | Real):
        return str(kind)
    if kind.lo is not None and kind.hi is not None:
        return f"{kind}, {short(kind.lo)} to {short(kind.hi)}"
    if kind.lo is not None:
        return f"{kind} ≥ {short(kind.lo)}"
    return f"{kind} ≤ {short(kind.hi)}" if kind.hi is not None else f"{kind} of either sign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What is known of a node's value.

    Attributes:
        name: its variable in the program, or operation and line.
        types: one per component.
        trends: likewise.
    """

    name: str
    types: tuple[ValueType, ...]
    trends: tuple[Trend, ...]

    @property
    def text(self) -> str:
        """The types without bounds, and the trend that all components share."""
        kinds = [str(each) for each in dict.fromkeys(self.types)]
        listed = _listed(list(dict.fromkeys(kinds)))
        shared = set(self.trends)
        trend = shared.pop() if len(shared) == 1 else "free"
        return listed if trend in {"free", "constant"} else f"{listed}, {trend}"


# ---------------------------------------------------------------- states


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A part of a LinState whose coordinates feed back into one another, or a shift register.

    Attributes:
        name: of the LinState: its variable; ``x.state`` where an idiom keeps it for x; else
            operation and line.
        node: the LinState among the lowered nodes.
        components: of the node; for rings and registers in the order in which values move.
        kind: what A makes of them.
        initial: before the first token.
        types: of the values, which leave out the initial state.
        increments: the range of u in s = A s' + u: what the program feeds, and the past of other
            parts of the same LinState.
        trends: of the values.
        dim: of the node.
        span: the source place.
    """

    name: str
    node: int
    components: tuple[int, ...]
    kind: Kind
    initial: Vector
    types: tuple[ValueType, ...]
    increments: tuple[Range, ...]
    trends: tuple[Trend, ...]
    dim: int
    span: Span | None

    @property
    def fed(self) -> bool:
        """Whether anything comes in after the start."""
        return not all(extent.zero for extent in self.increments)

    @property
    def sign(self) -> Sign:
        """Of the increments, all of them together."""
        if not self.fed:
            return "none"
        if all(extent.nonnegative for extent in self.increments):
            return "nonnegative"
        return "nonpositive" if all(extent.nonpositive for extent in self.increments) else "either"

    @property
    def monotone(self) -> bool:
        """Whether no component ever falls."""
        return all(trend in {"constant", "never falls"} for trend in self.trends)

    @property
    def one_hot(self) -> bool:
        """A ring without input that turns a single 1."""
        return isinstance(self.kind, Ring) and not self.fed and sorted(self.initial)[-2:] == [ZERO, ONE]

    @property
    def latch(self) -> bool:
        """A Boolean accumulator: once set, it stays."""
        return isinstance(self.kind, Accumulator) and self.types == (Boolean(),) and self.monotone

    @property
    def kind_text(self) -> str:
        """The kind in the field's terms."""
        if self.latch:
            return "latch"
        return f"{kind_text(self.kind)}, one-hot" if self.one_hot else kind_text(self.kind)

    @property
    def increments_text(self) -> str:
        """What comes in at each step."""
        if not self.fed:
            return "none"
        kinds = [full_text(type_of(extent)) for extent in self.increments]
        if isinstance(self.kind, ShiftRegister) and all(extent.zero for extent in self.increments[1:]):
            return f"{kinds[0]}, at the first cell"
        return _listed(list(dict.fromkeys(kinds)))

    @property
    def place(self) -> str:
        """Name and components, as a program would write them."""
        return place_text(self.name, self.components, self.dim)


def place_text(name: str, components: Sequence[int], dim: int) -> str:
    """A variable's components as a program would write them."""
    if dim == 1:
        return name
    first = components[0]
    if len(components) == 1:
        return f"{name}[{first}]"
    if list(components) == list(range(first, first + len(components))):
        return f"{name}[{first}:{first + len(components)}]"
    shown = ", ".join(map(str, components[:8]))
    return f"{name}[{shown}{', …' if len(components) > 8 else ''}]"


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_LISTED} more" if len(texts) > MOST_LISTED else ""
    return "; ".join(texts[:MOST_LISTED]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """States of one LinState that are alike, for a table.

    Attributes:
        states: the alike ones, in order.
    """

    states: tuple[State, ...]

    @property
    def place(self) -> str:
        """Name and components of all of them."""
        first = self.states[0]
        members = [i for state in self.states for i in state.components]
        return place_text(first.name, members, first.dim)

    @property
    def kind(self) -> str:
        """Their kind, and how many they are."""
        count = f" × {len(self.states)}" if len(self.states) > 1 else ""
        return f"{self.states[0].kind_text}{count}"

    @property
    def starts(self) -> str:
        """The initial state: one number if all components share it."""
        texts = [short(value) for value in self.states[0].initial]
        if len(set(texts)) == 1:
            return texts[0]
        return (
            f"({', '.join(texts)})" if len(texts) <= LONGEST_VECTOR else _listed(list(dict.fromkeys(texts)))
        )

    @property
    def values(self) -> str:
        """Types and trend of the values."""
        first = self.states[0]
        full = _listed(list(dict.fromkeys(full_text(each) for each in first.types)))
        trend = first.trends[0] if len(set(first.trends)) == 1 else "free"
        return full if trend in {"free", "constant"} else f"{full}, {trend}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Types:
    """The types of a lowered program.

    Attributes:
        variables: one per lowered node.
        states: of every LinState, in order; coordinates whose A is 0 are none.
    """

    variables: tuple[Variable, ...]
    states: tuple[State, ...]

    def rows(self) -> list[StateRow]:
        """The states, alike ones of one LinState together."""
        alike: dict[object, list[State]] = {}
        for state in self.states:
            key = (state.node, state.kind, state.initial, state.types, state.increments, state.trends)
            alike.setdefault(key, []).append(state)
        return [StateRow(states=tuple(each)) for each in alike.values()]

    def describe(self) -> str:
        """Named variables, then states, one a line."""
        lines = [f"{each.name}: {each.text}" for each in self.variables if "@" not in each.name]
        for row in self.rows():
            line = row.states[0].span
            where = f" (line {line.line})" if line else ""
            lines.append(
                f"state {row.place}{where}: {row.kind}; increments {row.states[0].increments_text}; "
                f"values {row.values}; starts at {row.starts}"
            )
        return "\n".join(lines)


# ---------------------------------------------------------------- inference


def infer_types(lowered: Lowered, source: ir.Program | None = None) -> Types:
    """The types of every value and state of a lowered program.

    Args:
        lowered: the program over the six operations, with its ranges.
        source: the program before lowering, whose idioms name the states that they keep.
    """
    graph = lowered.graph
    trends = symbol_trends(graph)
    variables = tuple(
        Variable(
            name=lowered.program.label(index),
            types=tuple(type_of(graph.range_of(form)) for form in forms),
            trends=tuple(form_trend(form, trends, graph) for form in forms),
        )
        for index, forms in enumerate(graph.forms)
    )
    states = tuple(
        state
        for index, node in enumerate(lowered.program.nodes)
        if isinstance(node, ir.LinState)
        for state in _states(lowered, index, node, variables[index], _name(lowered, index, source))
    )
    return Types(variables=variables, states=states)


def _name(lowered: Lowered, index: int, source: ir.Program | None) -> str:
    node = lowered.program.nodes[index]
    if node.name or node.span is None:
        return lowered.program.label(index)
    for other in lowered.program.nodes:
        if other.name and other.span == node.span:
            return f"{other.name}.state"
    if source is not None:
        for place, idiom in enumerate(source.nodes):
            if isinstance(idiom, ir.Idiom) and idiom.span == node.span:
                return f"{source.label(place)}.state"
    return lowered.program.label(index)


def _states(
    lowered: Lowered, index: int, node: ir.LinState, variable: Variable, name: str
) -> Iterator[State]:
    graph = lowered.graph
    for members, kind in parts(node.state_matrix.rows):
        own = frozenset(members)
        yield State(
            name=name,
            node=index,
            components=members,
            kind=kind,
            initial=tuple(node.initial[i] for i in members),
            types=tuple(variable.types[i] for i in members),
            increments=tuple(_increment(graph, index, node, i, own) for i in members),
            trends=tuple(variable.trends[i] for i in members),
            dim=node.dim,
            span=node.span,
        )


def _increment(
    graph: ScalarGraph, index: int, node: ir.LinState, component: int, members: frozenset[int]
) -> Range:
    """The range of what a coordinate is fed, other parts' past included."""
    ((symbol, _),) = graph.forms[index][component].terms
    made = graph.symbols[symbol]
    assert isinstance(made, StateSymbol), "a coordinate that reads or is read is a state"
    fed = [(ONE, graph.range_of(graph.groups[made.group].drive[made.coordinate]))]
    for j, value in node.state_matrix.rows[component]:
        if j not in members:
            past = ranges.hull(ranges.constant(node.initial[j]), graph.range_of(graph.forms[index][j]))
            fed.append((value, past))
    return ranges.affine(ZERO, fed)
