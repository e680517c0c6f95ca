"""Which layer computes which atom.

The layers' kinds come from list scheduling: ReLU while any is ready, else products,
else states (which keeps recurrent layers fewest).  Then every atom moves to the
latest layer of its kind that stands before all its readers, so that little is
carried, and layers left empty are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from compiler.scalars import (
    Form,
    InputSymbol,
    ProductSymbol,
    ReluSymbol,
    ScalarGraph,
    StateSymbol,
    SumSymbol,
)

LayerKind = Literal["relu", "gate", "state"]
MATERIALISE = 2
"""A sum of p parts and u readers becomes a unit when u·p > MATERIALISE·(u + p)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The result: kinds of layers 1, 2, …, and the layer of every atom.

    Attributes:
        kinds: kind of layer k at index k − 1.
        layer: symbol → layer; inputs are at 0; sums that are not units are absent.
        ready: symbol → first boundary at which it can be expressed.
    """

    kinds: tuple[LayerKind, ...]
    layer: dict[int, int]
    ready: dict[int, int]


def argument_forms(graph: ScalarGraph, symbol: int) -> tuple[Form, ...]:
    """The forms that a symbol's own computation reads."""
    match graph.symbols[symbol]:
        case InputSymbol():
            return ()
        case ReluSymbol(argument=form) | SumSymbol(form=form):
            return (form,)
        case ProductSymbol(left=left, right=right):
            return (left, right)
        case StateSymbol(group=group, coordinate=coordinate):
            return (graph.groups[group].drive[coordinate],)
        case _ as never:
            assert_never(never)


def live_symbols(graph: ScalarGraph, outputs: Iterable[Form]) -> set[int]:
    """Every symbol that reaches an output; dead state coordinates are left out."""
    live: set[int] = set()
    stack = [symbol for form in outputs for symbol, _ in form.terms]
    while stack:
        symbol = stack.pop()
        if symbol in live:
            continue
        live.add(symbol)
        for form in argument_forms(graph, symbol):
            stack.extend(s for s, _ in form.terms)
        made = graph.symbols[symbol]
        if isinstance(made, StateSymbol):
            group = graph.groups[made.group]
            stack.extend(group.symbols[j] for j, _ in group.rows[made.coordinate])
    return live


def _materialised(graph: ScalarGraph, live: set[int], outputs: Sequence[Form]) -> set[int]:
    readers: dict[int, int] = {}
    forms = [form for symbol in live for form in argument_forms(graph, symbol)]
    for form in [*forms, *outputs]:
        for symbol, _ in form.terms:
            readers[symbol] = readers.get(symbol, 0) + 1
    chosen = set()
    for symbol in live:
        made = graph.symbols[symbol]
        if isinstance(made, SumSymbol):
            parts, uses = len(made.form.terms), readers.get(symbol, 0)
            if uses * parts > MATERIALISE * (uses + parts):
                chosen.add(symbol)
    return chosen


class _Units:
    """The things that take a place in a layer: atoms, state groups, materialised sums."""

    def __init__(self, graph: ScalarGraph, live: set[int], outputs: Sequence[Form]) -> None:
        self.graph = graph
        self.live = live
        self.sums = _materialised(graph, live, outputs)
        self.members: dict[int, list[int]] = {}
        self.unit_of: dict[int, int] = {}
        self._collect()
        self._needs: dict[int, frozenset[int]] = {}
        self.needs = {unit: self._unit_needs(members) for unit, members in self.members.items()}

    def _collect(self) -> None:
        """A unit is named by its first symbol; live coordinates of a state move together."""
        first_of_group: dict[int, int] = {}
        for symbol in sorted(self.live):
            made = self.graph.symbols[symbol]
            if isinstance(made, InputSymbol) or (isinstance(made, SumSymbol) and symbol not in self.sums):
                continue
            unit = first_of_group.setdefault(made.group, symbol) if isinstance(made, StateSymbol) else symbol
            self.members.setdefault(unit, []).append(symbol)
            self.unit_of[symbol] = unit

    def kind(self, unit: int) -> LayerKind | None:
        """The layer kind a unit needs; None: any."""
        match self.graph.symbols[unit]:
            case ReluSymbol():
                return "relu"
            case ProductSymbol():
                return "gate"
            case StateSymbol():
                return "state"
            case _:
                return None

    def _unit_needs(self, members: Sequence[int]) -> frozenset[int]:
        forms = [form for symbol in members for form in argument_forms(self.graph, symbol)]
        return self.units_in(forms)

    def units_in(self, forms: Iterable[Form]) -> frozenset[int]:
        """The units that ``forms`` read, through sums that are not units."""
        found: set[int] = set()
        for form in forms:
            for symbol, _ in form.terms:
                found |= self._symbol_needs(symbol)
        return frozenset(found)

    def _symbol_needs(self, symbol: int) -> frozenset[int]:
        unit = self.unit_of.get(symbol)
        if unit is not None:
            return frozenset((unit,))
        if isinstance(self.graph.symbols[symbol], InputSymbol):
            return frozenset()
        known = self._needs.get(symbol)
        if known is None:
            known = self.units_in(argument_forms(self.graph, symbol))
            self._needs[symbol] = known
        return known


def _list_schedule(units: _Units) -> tuple[list[LayerKind], dict[int, int]]:
    waiting = {unit: len(needs) for unit, needs in units.needs.items()}
    readers: dict[int, list[int]] = {unit: [] for unit in waiting}
    for unit, needs in units.needs.items():
        for need in needs:
            readers[need].append(unit)
    ready = {unit for unit, count in waiting.items() if count == 0}
    kinds: list[LayerKind] = []
    layer: dict[int, int] = {}
    while ready:
        wanted = {units.kind(unit) for unit in ready}
        kind: LayerKind = "relu" if "relu" in wanted else "gate" if "gate" in wanted else "state"
        kinds.append(kind)
        taken = {unit for unit in ready if units.kind(unit) in (kind, None)}
        ready -= taken
        for unit in taken:
            layer[unit] = len(kinds)
            for reader in readers[unit]:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    ready.add(reader)
    return kinds, layer


def _place_late(units: _Units, kinds: Sequence[LayerKind], layer: dict[int, int]) -> dict[int, int]:
    latest = dict.fromkeys(layer, len(kinds))
    for unit in sorted(layer, key=lambda each: layer[each], reverse=True):
        kind, place = units.kind(unit), latest[unit]
        while kind is not None and kinds[place - 1] != kind:
            place -= 1
        latest[unit] = place
        for need in units.needs[unit]:
            latest[need] = min(latest[need], place - 1)
    return latest


def schedule(graph: ScalarGraph, outputs: Sequence[Form]) -> Schedule:
    """Place every live atom; see the module."""
    units = _Units(graph, live_symbols(graph, outputs), outputs)
    kinds, early = _list_schedule(units)
    late = _place_late(units, kinds, early)
    used = sorted(set(late.values()))
    renumber = {old: new for new, old in enumerate(used, start=1)}
    layer = {symbol: 0 for symbol in units.live if isinstance(graph.symbols[symbol], InputSymbol)}
    layer |= {symbol: renumber[late[unit]] for symbol, unit in units.unit_of.items()}
    ready = dict(layer)
    for symbol in sorted(units.live):  # a sum reads only older symbols
        if symbol not in ready:
            ready[symbol] = max(ready[s] for s, _ in argument_forms(graph, symbol)[0].terms)
    return Schedule(kinds=tuple(kinds[old - 1] for old in used), layer=layer, ready=ready)
