"""Trends: which values never fall, or never rise, from each step to the next.

A trend is a fact about consecutive values; the state before the first token is no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, assert_never

from gmpy2 import mpq

from compiler import ranges
from compiler.exact import ONE, ZERO
from compiler.ranges import Range
from compiler.scalars import (
    Form,
    InputSymbol,
    ProductSymbol,
    ReluSymbol,
    ScalarGraph,
    StateGroup,
    StateSymbol,
    SumSymbol,
)

Trend: TypeAlias = Literal["constant", "never falls", "never rises", "free"]


def _fixed(extent: Range) -> bool:
    return extent.step == 0 or (extent.lo is not None and extent.lo == extent.hi)


def _sum_trend(parts: Sequence[tuple[mpq, Trend]]) -> Trend:
    """The trend of Σ factor·value."""
    found: set[Trend] = {_turned(trend) if factor < 0 else trend for factor, trend in parts if factor}
    found.discard("constant")
    if not found:
        return "constant"
    return found.pop() if len(found) == 1 else "free"


def _turned(trend: Trend) -> Trend:
    match trend:
        case "never falls":
            return "never rises"
        case "never rises":
            return "never falls"
        case "constant" | "free":
            return trend
        case _:
            assert_never(trend)


def form_trend(form: Form, trends: Sequence[Trend], graph: ScalarGraph) -> Trend:
    """The trend of a form's value, given that of every symbol before it."""
    if _fixed(graph.range_of(form)):
        return "constant"
    return _sum_trend([(factor, trends[symbol]) for symbol, factor in form.terms])


def symbol_trends(graph: ScalarGraph) -> list[Trend]:
    """The trend of every symbol, in order: a symbol is made of earlier ones.

    It holds wherever the declared ranges of the program do.
    """
    trends: list[Trend] = []
    of_groups: dict[int, list[Trend]] = {}
    for symbol, made in enumerate(graph.symbols):
        trend: Trend
        match made:
            case InputSymbol():
                trend = "free"
            case ReluSymbol(argument=form) | SumSymbol(form=form):
                trend = form_trend(form, trends, graph)
            case ProductSymbol(left=left, right=right):
                trend = _product_trend(left, right, trends, graph)
            case StateSymbol(group=group, coordinate=coordinate):
                if group not in of_groups:
                    of_groups[group] = _group_trends(graph.groups[group], trends, graph)
                trend = of_groups[group][coordinate]
            case _:
                assert_never(made)
        trends.append("constant" if _fixed(graph.ranges[symbol]) else trend)
    return trends


def _product_trend(left: Form, right: Form, trends: Sequence[Trend], graph: ScalarGraph) -> Trend:
    """The trend of a b, whose move is a (b − b') + b' (a − a'): it takes signs that never change."""
    moved: list[tuple[mpq, Trend]] = []
    for form, other in ((left, right), (right, left)):
        extent = graph.range_of(other)
        trend = form_trend(form, trends, graph)
        if trend != "constant" and not (extent.nonnegative or extent.nonpositive):
            return "free"
        moved.append((ONE if extent.nonnegative else -ONE, trend))
    return _sum_trend(moved)


def _group_trends(group: StateGroup, trends: Sequence[Trend], graph: ScalarGraph) -> list[Trend]:
    """A coordinate with A_ii = 1 moves by what it is fed; else see :func:`_iterated_trend`."""
    past = [graph.ranges[symbol] for symbol in group.symbols]  # of values: the first move is not one
    fed = [graph.range_of(form) for form in group.drive]
    found: list[Trend] = []
    for i, row in enumerate(group.rows):
        moved = None
        if dict(row).get(i) == ONE:
            moved = ranges.affine(ZERO, [(ONE, fed[i]), *((value, past[j]) for j, value in row if j != i)])
        found.append("free" if moved is None else _direction([moved]))
    if "free" in found:
        shared = _iterated_trend(group, fed, [form_trend(form, trends, graph) for form in group.drive])
        found = [shared if trend == "free" else trend for trend in found]
    return found


def _direction(moves: Sequence[Range]) -> Trend:
    if all(move.zero for move in moves):
        return "constant"
    if all(move.nonnegative for move in moves):
        return "never falls"
    return "never rises" if all(move.nonpositive for move in moves) else "free"


def _iterated_trend(group: StateGroup, fed: Sequence[Range], drives: Sequence[Trend]) -> Trend:
    """A ≥ 0 keeps the order: where s_2 ≤ s_1 and u never rises, s never rises.

    By induction on s_{t+1} − s_t = A (s_t − s_{t−1}) + (u_{t+1} − u_t); its base is that
    A (s_1 − s_0) has a sign, s_0 being the initial state.
    """
    if any(value < 0 for row in group.rows for _, value in row):
        return "free"
    first = [
        ranges.affine(-start, [(ONE, u), *((value, ranges.constant(group.initial[j])) for j, value in row)])
        for start, u, row in zip(group.initial, fed, group.rows, strict=True)
    ]
    base = _direction([ranges.affine(ZERO, [(value, first[j]) for j, value in row]) for row in group.rows])
    return _sum_trend([(ONE, base), *((ONE, trend) for trend in drives)])
