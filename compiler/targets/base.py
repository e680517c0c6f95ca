"""What every target shares: the encoding of signed values in units that are ≥ 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from gmpy2 import mpq

from compiler.config import Conditional
from compiler.errors import CompileRefusal
from compiler.exact import ONE, ZERO, Matrix, Vector
from compiler.model import Label, Layer
from compiler.path import Path, PathLayer
from compiler.ranges import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The layers and the readout that a target makes of a path."""

    layers: tuple[Layer, ...]
    readout: Matrix
    readout_bias: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One architecture.

    Attributes:
        name: as on the command line.
        gated: whether it multiplies values.
        build: path → stack.
        summary: one line for listings.
        windowed: whether it sees a window of tokens, chosen when compiling, in place of
            keeping a state: its lack of drift is no finding.
    """

    name: str
    gated: bool
    build: Callable[[Path], Stack]
    summary: str
    windowed: bool = False

    @property
    def conditional(self) -> Conditional:
        """The conditional of a configuration that names none."""
        return "multiplicative_optimized" if self.gated else "optimized"


Parts: TypeAlias = tuple[tuple[int, mpq], ...]
"""How one value of the path stands in a target's layer: Σ factor·unit."""


def refuse_gates(path: Path, target: str) -> None:
    """Refuse a program with products.

    Raises:
        CompileRefusal: names the line of the first Multi.
    """
    for each in path.layers:
        if each.layer.kind != "gate":
            continue
        label = next(label for label in each.layer.labels if label.fresh)
        raise CompileRefusal.single(
            f"{target} has no gates, but {label.variable} is a product",
            span=label.span,
            hint="use a gated target (gated_linear_rnn, lstm), or conditional=optimized "
            "where the product comes from f_ifelse",
        )


def decoded(matrix: Matrix, parts: Sequence[Parts], width: int) -> Matrix:
    """``matrix``, which reads values of the path, as one that reads a target's units."""
    rows: list[dict[int, mpq]] = []
    for row in matrix.rows:
        total: dict[int, mpq] = {}
        for column, value in row:
            for unit, factor in parts[column]:
                total[unit] = total.get(unit, ZERO) + value * factor
        rows.append(total)
    return Matrix.from_rows(width, rows)


def range_signs(extent: Range) -> tuple[int, ...]:
    """The signs that a value can have: (1,), (−1,) or (1, −1)."""
    if extent.nonnegative:
        return (1,)
    return (-1,) if extent.nonpositive else (1, -1)


def signs_of(each: PathLayer, unit: int) -> tuple[int, ...]:
    """The signs under which a value must be kept: (1,), (−1,) or (1, −1).

    Ranges hold after the first update, so a state may be a single unit only if its
    initial value has that sign too.
    """
    extent = each.ranges[unit]
    start = each.layer.initial[unit] if each.layer.kind == "state" else ZERO
    if extent.nonnegative and start >= 0:
        return (1,)
    if extent.nonpositive and start <= 0:
        return (-1,)
    return (1, -1)


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which unit carries which signed half of which value.

    Attributes:
        units: per unit, (value of the path layer, sign).
        parts: per value of the path layer, its units with their factors.
    """

    units: tuple[tuple[int, int], ...]
    parts: tuple[Parts, ...]


def encode(each: PathLayer) -> Encoding:
    """Encode a layer's values in units ≥ 0."""
    units: list[tuple[int, int]] = []
    parts: list[Parts] = []
    for value in range(each.layer.size):
        signs = signs_of(each, value)
        parts.append(tuple((len(units) + k, mpq(sign)) for k, sign in enumerate(signs)))
        units.extend((value, sign) for sign in signs)
    return Encoding(tuple(units), tuple(parts))


def signed_rows(matrix: Matrix, encoding: Encoding) -> Matrix:
    """E · matrix: each unit's row is its value's row times its sign."""
    rows = [{j: sign * value for j, value in matrix.rows[index]} for index, sign in encoding.units]
    return Matrix.from_rows(matrix.width, rows)


def signed_vector(vector: Vector, encoding: Encoding) -> Vector:
    """E · vector."""
    return tuple(sign * vector[index] for index, sign in encoding.units)


def signed_start(layer: Layer, encoding: Encoding) -> Vector:
    """max(0, E s0): the initial values of encoded units (zeros without recurrence)."""
    if layer.kind != "state":
        return (ZERO,) * len(encoding.units)
    return tuple(max(ZERO, value) for value in signed_vector(layer.initial, encoding))


def signed_labels(labels: Sequence[Label], encoding: Encoding) -> tuple[Label, ...]:
    """The labels of encoded units; a value without halves keeps its own."""
    return tuple(replace(labels[index], sign=labels[index].sign or sign) for index, sign in encoding.units)


Lower: TypeAlias = Callable[[PathLayer, Sequence[Parts], int], tuple[list[Layer], list[Parts]]]
"""(path layer, how its inputs stand in the units below, their number) → layers, its values' parts."""


def stacked(path: Path, lower: Lower) -> Stack:
    """Build layer after layer, each reading the one before."""
    below: list[Parts] = [((i, ONE),) for i in range(path.input_dim)]
    width, layers = path.input_dim, list[Layer]()
    for each in path.layers:
        made, below = lower(each, below, width)
        for layer in made:
            layers.append(replace(layer, inputs=(len(layers),)))
        width = layers[-1].size
    return Stack(
        layers=tuple(layers),
        readout=decoded(path.readout, below, width),
        readout_bias=path.readout_bias,
    )
