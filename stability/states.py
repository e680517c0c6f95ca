"""The states of a program inside a compiled model, and how far a run is from their true values.

Every unit of a model is labelled with the variable that it carries.  The labels say which
units hold a state of the program, as signed halves or scaled, and so the values of a run
can be read as those of the program's own states and held to the certified reference of
the program (:mod:`stability.state_truth`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.compiling import UNCOMPILED
from compiler.errors import Span
from compiler.exact import ONE, ZERO
from compiler.lowering import Lowered
from compiler.model import Label, Model
from compiler.scalars import StateSymbol
from compiler.schedule import schedule
from stability.engines.base import Engine
from stability.formats import Format
from stability.measures import exact_value, to_float
from stability.policy import AnyPolicy, output_format
from stability.running import CHUNK, stream
from stability.state_truth import DENSE, StateTruth, state_homes
from stability.teacher_forcing import FORCED, States, clean_states, forced_wires

Floats = npt.NDArray[np.float64]


# ---------------------------------------------------------------- where a model holds them


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One component of a state of the program, and the units of a model that hold it.

    Attributes:
        symbol: of the program's scalar graph.
        variable: the state's name, or that of the variable whose source line makes it.
        component: of the variable.
        span: the source place.
        spacing: of the values that it can have, where they lie on a lattice (1 for integers).
        wire: the layer's wire.
        parts: (unit, factor) pairs: the value is Σ factor · unit.
    """

    symbol: int
    variable: str
    component: int
    span: Span | None
    spacing: float | None
    wire: int
    parts: tuple[tuple[int, mpq], ...]


class Titles:
    """What to call a value of a program: by its own name, or by the variable whose source line makes it."""

    def __init__(self, lowered: Lowered) -> None:
        named = [node for node in reversed(lowered.program.nodes) if node.name and node.span]
        self._exactly = {node.span: node.name for node in named}
        self._by_line = {(node.span.file, node.span.line): node.name for node in named if node.span}

    def of(self, label: Label) -> str:
        """The title of what a label stands for."""
        if "@" not in label.variable or label.span is None:
            return label.variable
        on_line = self._by_line.get((label.span.file, label.span.line))
        return self._exactly.get(label.span) or on_line or label.variable


_Key = tuple[str, int, Span | None]
_Parts = tuple[tuple[int, mpq], ...]
_Place = tuple[int, _Parts]


def holdings(lowered: Lowered, model: Model) -> tuple[Holding, ...]:
    """Where a model holds the states of the program that it was compiled from.

    States that no output depends on are left out; so are states of the same name on the same
    line that cannot be told apart.
    """
    graph, titles = lowered.graph, Titles(lowered)
    if model.target == UNCOMPILED:
        homes = state_homes(lowered).items()
        placed: dict[int, _Place] = {symbol: (wire, ((unit, ONE),)) for symbol, (wire, unit) in homes}
    else:
        placed = _placed(lowered, model)
    found = []
    for symbol, (wire, parts) in placed.items():
        label = graph.labels[symbol]
        found.append(
            Holding(
                symbol=symbol,
                variable=titles.of(label),
                component=label.component,
                span=label.span,
                spacing=float(step) if (step := graph.ranges[symbol].step) else None,
                wire=wire,
                parts=parts,
            )
        )
    return tuple(sorted(found, key=lambda each: each.symbol))


def _placed(lowered: Lowered, model: Model) -> dict[int, _Place]:
    """Match labels with symbols; those of one key stand in the order of the layers and of the symbols."""
    graph = lowered.graph
    layer_of = schedule(graph, graph.forms[lowered.program.output]).layer
    wanted: dict[_Key, list[int]] = {}
    live = [s for s, made in enumerate(graph.symbols) if isinstance(made, StateSymbol) and s in layer_of]
    for symbol in sorted(live, key=lambda s: (layer_of[s], s)):
        wanted.setdefault(_key(graph.labels[symbol]), []).append(symbol)
    held: dict[_Key, list[_Place]] = {}
    for number, layer in enumerate(model.layers):
        for key, parts in _values(layer.labels):
            held.setdefault(key, []).append((number + 1, parts))
    return {
        symbol: place
        for key, symbols in wanted.items()
        if len(held.get(key, ())) == len(symbols)
        for symbol, place in zip(symbols, held[key], strict=True)
    }


def _key(label: Label) -> _Key:
    return (label.variable, label.component, label.span)


def _values(labels: Sequence[Label]) -> Iterator[tuple[_Key, _Parts]]:
    """The fresh values of a layer: one unit each, or the halves v⁺ and v⁻ one after the other."""
    unit = 0
    while unit < len(labels):
        label, unit = labels[unit], unit + 1
        if not label.fresh:
            continue
        parts = [(unit - 1, mpq(label.sign or 1) / label.scale)]
        if label.sign != -1 and unit < len(labels):
            other = labels[unit]
            if other.fresh and other.sign == -1 and _key(other) == _key(label):
                parts.append((unit, -1 / other.scale))
                unit += 1
        yield _key(label), tuple(parts)


# ---------------------------------------------------------------- errors of a run


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateErrors:
    """How far the states of a run are from their true values.

    Attributes:
        format: its name.
        precision: p, significand bits in which the states are stored.
        states: n of them.
        steps: (K,), ascending.
        reference: (K, n) true values, rounded; ``scale``: their largest size so far.
        value: (K, n) the values of the run, rounded; inf and nan as they come.
        error: (K, n) absolute errors; inf where the value is not finite.
        local: (K, n) the part that is made in the step itself: the error of a step that begins
            in the true states; nan where that is not known.
        inherited: (K, n) the rest, |value − value of the step that begins in the true states|.
    """

    format: str
    precision: int
    states: tuple[Holding, ...]
    steps: npt.NDArray[np.int64]
    reference: Floats
    scale: Floats
    value: Floats
    error: Floats
    local: Floats
    inherited: Floats

    @property
    def bits(self) -> Floats:
        """(K, n) significant bits: −log2(error / largest size so far), in [0, p]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = np.log2(self.error / self.scale)
        found = np.clip(-np.nan_to_num(lost, nan=0.0), 0.0, self.precision)
        return np.where(self.error == 0, float(self.precision), found)


def state_errors(
    lowered: Lowered,
    model: Model,
    fmt: AnyPolicy,
    truth: StateTruth,
    *,
    engine: str | Engine | None = None,
) -> StateErrors:
    """Run a model and measure its states.

    Args:
        lowered: the program that the model was compiled from.
        model: the compiled model.
        fmt: the format or policy under test.
        truth: from :func:`state_truth`, of the same program and prompt.
        engine: who executes; default: as in :func:`stability.execute`.

    Raises:
        ConfigError: the engine does not know the format.
    """
    held = tuple(each for each in holdings(lowered, model) if each.symbol in truth.symbols)
    columns = [truth.symbols.index(each.symbol) for each in held]
    wires = _run(model, fmt, truth, held, engine)
    value, error = _held_to(truth, held, columns, wires)
    forced = _forced(model, fmt, truth, held, columns)
    local = inherited = np.full(error.shape, np.nan)
    if model.window is not None:
        local, inherited = error, np.zeros(error.shape)
    elif forced is not None:
        taught, local = _held_to(truth, held, columns, forced)
        with np.errstate(invalid="ignore"):
            inherited = _finite(np.abs(value - taught))
        unknown = (truth.steps > 0) & (_before(truth.steps) < 0)
        local[unknown] = inherited[unknown] = np.nan
    return StateErrors(
        format=fmt.name,
        precision=output_format(fmt).precision,
        states=held,
        steps=truth.steps,
        reference=truth.high[:, columns],
        scale=truth.scale[:, columns],
        value=value,
        error=error,
        local=local,
        inherited=inherited,
    )


def _finite(errors: Floats) -> Floats:
    """Inf in place of nan: what has no value is as wrong as can be."""
    return np.where(np.isnan(errors), np.inf, errors)


def _run(
    model: Model, fmt: AnyPolicy, truth: StateTruth, held: Sequence[Holding], engine: str | Engine | None
) -> dict[int, npt.NDArray[Any]]:
    """The kept wires at the known steps, (K, size)."""
    keep = sorted({each.wire for each in held})
    size = max(1, min(CHUNK, DENSE // max(1, sum(model.wire_size(wire) for wire in keep))))
    pieces = [truth.tokens[start : start + size] for start in range(0, len(truth.tokens), size)]
    rows: dict[int, list[npt.NDArray[Any]]] = {wire: [] for wire in keep}
    for number, piece in enumerate(stream(model, pieces, fmt, engine=engine, keep=keep)):
        start = number * size
        here = truth.steps[(truth.steps >= start) & (truth.steps < start + size)] - start
        for wire in keep:
            rows[wire].append(piece.wires[wire][here])
    return {wire: np.concatenate(parts) for wire, parts in rows.items()}


def _held_to(
    truth: StateTruth, held: Sequence[Holding], columns: Sequence[int], wires: Mapping[int, npt.NDArray[Any]]
) -> tuple[Floats, Floats]:
    """(values, errors), (K, n) each, of kept wires."""
    value, error = np.zeros((2, len(truth.steps), len(held)))
    for n, (each, column) in enumerate(zip(held, columns, strict=True)):
        units = wires[each.wire]
        if units.dtype == object:
            value[:, n], error[:, n] = _exactly(units, each.parts, [row[column] for row in truth.exact])
            continue
        with np.errstate(all="ignore"):
            value[:, n] = sum(
                units[:, unit].astype(np.float64) * float(factor) for unit, factor in each.parts
            )
            error[:, n] = _finite(np.abs((value[:, n] - truth.high[:, column]) - truth.low[:, column]))
    return value, error


def _exactly(
    units: npt.NDArray[Any], parts: Sequence[tuple[int, mpq]], true: Sequence[mpq]
) -> tuple[list[float], list[float]]:
    found = [
        sum((factor * (exact_value(row[unit]) or ZERO) for unit, factor in parts), ZERO) for row in units
    ]
    errors = [to_float(abs(value - right)) for value, right in zip(found, true, strict=True)]
    return [to_float(value) for value in found], errors


# ---------------------------------------------------------------- steps that begin in the true states


def _forced(
    model: Model, fmt: AnyPolicy, truth: StateTruth, held: Sequence[Holding], columns: Sequence[int]
) -> dict[int, npt.NDArray[Any]] | None:
    """The kept wires at the known steps, each step begun in the true states; None where it cannot be.

    Real gates hold their states only nearly as they are meant to: such a model begins in
    those of its own run in float64.
    """
    if not isinstance(fmt, Format) or fmt.name not in FORCED or model.window is not None:
        return None
    keep = sorted({each.wire for each in held})
    if model.activation == "native":
        pieces = clean_states(model, truth.tokens[np.newaxis])
        parts = [forced_wires(model, tokens, states, fmt, keep) for tokens, states in pieces]
        return {wire: np.concatenate([part[wire][0] for part in parts])[truth.steps] for wire in keep}
    states = _true_states(model, truth, held, columns)
    found = forced_wires(model, truth.tokens[truth.steps][np.newaxis], states, fmt, keep)
    return {wire: found[wire][0] for wire in keep}


def _true_states(model: Model, truth: StateTruth, held: Sequence[Holding], columns: Sequence[int]) -> States:
    """What the layers hold before each known step; units that hold no state of the program hold 0."""
    start, before = truth.steps == 0, _before(truth.steps)
    hidden = {}
    for number, layer in enumerate(model.layers):
        if layer.kind != "gru" and not layer.weight_hh.nonzeros:
            continue
        initial = [to_float(value) for value in layer.initial or (ZERO,) * layer.size]
        hidden[number] = np.outer(initial, start)
        for each, column in zip(held, columns, strict=True):
            if each.wire != number + 1:
                continue
            past = np.where(before >= 0, truth.high[before, column], np.nan)
            for unit, factor in each.parts:
                encoded = past / float(factor)
                if len(each.parts) > 1:
                    encoded = np.maximum(encoded, 0.0)
                hidden[number][unit] = np.where(start, initial[unit], encoded)
    return States(hidden=hidden)


def _before(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each step, where the one before it is among the steps; −1 where it is not."""
    place = np.searchsorted(steps, steps - 1)
    return np.where(steps[np.minimum(place, len(steps) - 1)] == steps - 1, place, -1)
