"""From typed units to the rows of a cell, the same for LSTM and GRU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpq

from compiler.exact import Matrix
from compiler.model import Layer
from compiler.real_gates.forms import Affine, Held, Typed
from compiler.targets.base import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One pre-activation over the units themselves: below, own (one step before), bias."""

    reads: dict[int, mpq]
    own: dict[int, mpq]
    bias: mpq


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A layer, and how the path's values stand in it.

    Attributes:
        layer: the cells.
        parts: per value of the path layer, its cells with their factors.
        held: per cell, what it holds.
        owners: per cell, the typed unit that it belongs to.
    """

    layer: Layer
    parts: Sequence[Parts]
    held: Sequence[Held]
    owners: Sequence[int]


def constant(value: mpq) -> Row:
    """A pre-activation that reads nothing."""
    return Row(reads={}, own={}, bias=value)


def row_of(typed: Typed, form: Affine, factor: mpq, place: Sequence[int]) -> Row:
    """``factor`` times a typed value; its own terms read the units at ``place``, by their scale."""
    return Row(
        reads={j: factor * w for j, w in form.reads.items()},
        own={place[j]: factor * w / typed.units[j].scale for j, w in form.own.items()},
        bias=factor * form.bias,
    )


def matrices(rows: Sequence[Row], width: int, size: int) -> tuple[Matrix, Matrix, tuple[mpq, ...]]:
    """weight_ih, weight_hh and bias of stacked rows."""
    return (
        Matrix.from_rows(width, [row.reads for row in rows]),
        Matrix.from_rows(size, [row.own for row in rows]),
        tuple(row.bias for row in rows),
    )


def laid(typed: Typed, layer: Layer, units: Sequence[Sequence[tuple[int, mpq]]]) -> Laid:
    """What the next layer reads: ``units`` has, per typed unit, its cells (in order) with their factors."""
    owners = [number for number, cells in enumerate(units) for _ in cells]
    return Laid(
        layer=layer,
        parts=[
            tuple((cell, factor * own) for number, factor in value for cell, own in units[number])
            for value in typed.values
        ],
        held=[Held(scale=typed.units[number].scale, extent=typed.units[number].extent) for number in owners],
        owners=owners,
    )
