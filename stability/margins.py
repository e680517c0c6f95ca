"""Decision margins: how near the comparisons of a program come to deciding otherwise.

A comparison (f_step) is a ramp: 0 where its argument is at most 0, 1 where it is at least 1/μ.
For its true argument x at a step two distances are told, in ulps of the largest term of the sum
that x is (the format's spacing there, so about the rounding error that no order of summation can
avoid):

- ``ramp_ulps``, how far x is from the ramp [0, 1/μ]; 0 on it and at its ends, where ``mu=auto``
  puts the nearest argument by design;
- ``flip_ulps``, how far x is from the middle of the ramp, where the decision turns.

An argument less than half an ulp from the middle can flip by a single rounding: such a comparison
warns before any token is wrong.  Nothing is run in the format under test; the states come from
the certified reference, everything else of a step is computed from them in rationals.

Comparisons are found by their shape in the program's scalar graph, so a ramp that is written out
by hand, and the f_int_ge of integers, are found as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt
import pandas as pd
from gmpy2 import mpq

from compiler.errors import ConfigError, Span
from compiler.exact import ONE, ZERO
from compiler.lowering import Lowered
from compiler.model import exact_tokens
from compiler.scalars import (
    Form,
    InputSymbol,
    ProductSymbol,
    ReluSymbol,
    ScalarGraph,
    StateSymbol,
    SumSymbol,
    combine,
)
from compiler.schedule import live_symbols
from stability.formats import AnyFormat, ExactFormat
from stability.measures import sample_steps, to_float, ulp
from stability.policy import AnyPolicy, as_policy
from stability.state_truth import StateTruth
from stability.states import Titles

HALF = mpq(1, 2)
WARNING = 0.5
"""Ulps from the middle of the ramp below which one rounding can turn a decision."""
COLUMNS = (
    "variable", "file", "line", "column", "component", "step", "position", "largest_term", "ramp_ulps",
    "flip_ulps",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A ramp of the program.

    Attributes:
        variable: the variable whose source line makes it.
        component: of the variable.
        span: the source place.
        position: the form of μx: the ramp is where it lies in [0, 1].
    """

    variable: str
    component: int
    span: Span | None
    position: Form


def comparisons(lowered: Lowered) -> tuple[Comparison, ...]:
    """All ramps that reach the output, in source order."""
    graph = lowered.graph
    titles = Titles(lowered)
    live = live_symbols(graph, graph.forms[lowered.program.output])
    found: dict[Form, Comparison] = {}
    for symbol in sorted(live):
        position = _position(graph, symbol)
        if position is not None and position.terms:
            label = graph.labels[symbol]
            each = Comparison(
                variable=titles.of(label), component=label.component, span=label.span, position=position
            )
            found.setdefault(position, each)
    order = Span(file="", line=0)
    return tuple(sorted(found.values(), key=lambda each: (each.span or order, each.component)))


def _position(graph: ScalarGraph, symbol: int) -> Form | None:
    """μx, if a symbol is a ramp: ReLU(c − f·ReLU(a)), or f·ReLU(a) − g·ReLU(b) with f·a − g·b constant."""
    match graph.symbols[symbol]:
        case ReluSymbol(argument=Form(shift=shift, terms=((inner, factor),))) if shift > 0 > factor:
            made = graph.symbols[inner]
            return made.argument.scaled(-factor / shift) if isinstance(made, ReluSymbol) else None
        case SumSymbol(form=Form(terms=((one, f), (other, g)))) if f * g < 0:
            rises, falls = graph.symbols[one], graph.symbols[other]
            if not isinstance(rises, ReluSymbol) or not isinstance(falls, ReluSymbol):
                return None
            upper, lower = (rises.argument.scaled(abs(f)), falls.argument.scaled(abs(g)))
            difference = combine(ZERO, [(ONE, upper), (-ONE, lower)])
            if difference.terms or not difference.shift:
                return None
            height = abs(difference.shift)
            return (upper if difference.shift > 0 else lower).scaled(1 / height)
        case _:
            return None


def coarsest(policy: AnyPolicy) -> AnyFormat:
    """The format whose ulps count under a policy: the least precise of its sums, activations and states.

    Raises:
        ConfigError: all of them are exact, so that there are no ulps.
    """
    whole = as_policy(policy)
    places = (whole.accumulator, whole.activations, whole.state)
    rounded = [fmt for fmt in places if not isinstance(fmt, ExactFormat)]
    if not rounded:
        raise ConfigError.single(
            "exact values have no ulps, so no margins", hint="choose a format that rounds, such as float16"
        )
    return min(rounded, key=lambda fmt: fmt.precision)


def margins(
    lowered: Lowered,
    truth: StateTruth,
    fmt: AnyFormat,
    *,
    steps: npt.NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """The margins of every comparison, one row per comparison and step, with the columns :data:`COLUMNS`.

    Args:
        lowered: the program.
        truth: from :func:`stability.state_truth.state_truth`, of the same program and prompt.
        fmt: the format whose ulps count.
        steps: those wanted; default: a sample of the steps that the truth knows.
    """
    found = comparisons(lowered)
    wanted = sample_steps(len(truth.tokens)) if steps is None else steps
    tokens = exact_tokens([list(row) for row in truth.tokens], truth.tokens.shape[1])
    rows = []
    for place in np.flatnonzero(np.isin(truth.steps, wanted)):
        step = int(truth.steps[place])
        states = dict(zip(truth.symbols, truth.exact[place], strict=True))
        values = _Values(lowered.graph, tokens[step], states)
        for each in found:
            where = (each.span.file, each.span.line, each.span.column) if each.span else (None,) * 3
            found_here = _margin(each.position, values, fmt)
            rows.append((each.variable, *where, each.component, step, *found_here))
    whole = {"line": "Int64", "column": "Int64", "step": "int64"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(whole)


def _margin(position: Form, values: _Values, fmt: AnyFormat) -> tuple[float, float, float, float]:
    terms = [factor * values.of(symbol) for symbol, factor in position.terms]
    here = position.shift + sum(terms, ZERO)
    largest = max(abs(term) for term in (*terms, position.shift))
    spacing = ulp(largest, fmt)
    outside = max(-here, here - 1, ZERO)
    return (
        to_float(here),
        to_float(largest),
        to_float(outside / spacing),
        to_float(abs(here - HALF) / spacing),
    )


class _Values:
    """The exact values of symbols at one step, from a token and the states."""

    def __init__(self, graph: ScalarGraph, token: Sequence[mpq], states: dict[int, mpq]) -> None:
        self._graph = graph
        self._token = token
        self._known = states

    def of(self, symbol: int) -> mpq:
        """The value of a symbol; symbols read only those before them, save a state's."""
        found = self._known.get(symbol)
        if found is None:
            found = self._computed(symbol)
            self._known[symbol] = found
        return found

    def _computed(self, symbol: int) -> mpq:
        made = self._graph.symbols[symbol]
        match made:
            case InputSymbol(component=component):
                return self._token[component]
            case ReluSymbol(argument=form):
                return max(self._form(form), ZERO)
            case ProductSymbol(left=left, right=right):
                return self._form(left) * self._form(right)
            case SumSymbol(form=form):
                return self._form(form)
            case StateSymbol():
                raise AssertionError("the truth holds every state")
            case _:
                assert_never(made)

    def _form(self, form: Form) -> mpq:
        return form.shift + sum((factor * self.of(symbol) for symbol, factor in form.terms), ZERO)


def margin_table(found: pd.DataFrame) -> pd.DataFrame:
    """One row per comparison: its closest call, and the step from which it warns; the first to warn first.

    Args:
        found: from :func:`margins`.

    Returns:
        ``variable``, ``file``, ``line``, ``column``, ``warns`` (the first step at which a component
        is less than :data:`WARNING` ulps from the middle of its ramp; <NA>: none), ``flip_ulps``
        (the smallest) and ``closest`` (where that is), and ``ramp_ulps`` (the smallest).
    """
    rows = list(_closest(found))
    columns = ["variable", "file", "line", "column", "warns", "flip_ulps", "closest", "ramp_ulps"]
    table = pd.DataFrame(rows, columns=columns).astype(
        {"line": "Int64", "warns": "Int64", "closest": "Int64"}
    )
    return table.sort_values(["warns", "flip_ulps"], kind="stable", ignore_index=True)


def _closest(found: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    by = ["variable", "file", "line", "column"]
    for place, part in found.groupby(by, sort=False, dropna=False):
        near = part[part["flip_ulps"] < WARNING]
        closest = part.iloc[int(part["flip_ulps"].to_numpy().argmin())]
        warns = None if near.empty else int(near["step"].min())
        yield *place, warns, closest["flip_ulps"], closest["step"], part["ramp_ulps"].min()
