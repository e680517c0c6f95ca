"""From a signed path to the layers of a cell with real gates, with what was chosen and proved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gmpy2 import mpq

from compiler.errors import CompileRefusal, ConfigError
from compiler.exact import ONE, Matrix, Vector
from compiler.model import Layer
from compiler.path import Path
from compiler.real_gates import gru, lstm
from compiler.real_gates.error import layer_errors, output_errors, token_error
from compiler.real_gates.forms import Affine, Below, Held, Role, Typed, Unit
from compiler.real_gates.numbers import Off
from compiler.real_gates.reach import reach
from compiler.real_gates.restoring import restored
from compiler.real_gates.settings import NativeGates
from compiler.real_gates.units import type_layer
from compiler.real_gates.writing import Laid
from compiler.targets.base import Stack, decoded

LayOut = Callable[[Typed, NativeGates, int], Laid]
CELLS: dict[str, tuple[LayOut, int]] = {"lstm": (lstm.lay_out, 2), "gru": (gru.lay_out, 1)}
"""Per target, how it lays typed units out, and how many tanh a value passes in its cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedUnit:
    """What was chosen and proved for one typed unit.

    Attributes:
        unit: its role, scale and switch.
        cells: its units of the layer.
        error: a bound of its error, in units of the value it carries; inf where none is proved.
    """

    unit: Unit
    cells: tuple[int, ...]
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RealGates:
    """A stack of cells with real gates, and its record.

    Attributes:
        stack: layers and readout.
        layers: the typed units of every layer.
        outputs: per output, a bound of its error over the prompt's length; inf where none is proved.
        gates: what it was made for.
        tanhs: how many tanh a value passes in a cell.
    """

    stack: Stack
    layers: tuple[tuple[TypedUnit, ...], ...]
    outputs: tuple[float, ...]
    gates: NativeGates
    tanhs: int

    def of_role(self, *roles: Role) -> list[TypedUnit]:
        """The typed units of some roles, in order."""
        return [each for layer in self.layers for each in layer if each.unit.role in roles]


def check_native(target: str) -> None:
    """Refuse real gates for a target that has none.

    Raises:
        ConfigError: not ``lstm`` or ``gru``.
    """
    if target not in CELLS:
        raise ConfigError.single(
            f"target {target} has no sigmoid and tanh", hint="activation native is for " + " and ".join(CELLS)
        )


def build(path: Path, target: str, gates: NativeGates) -> RealGates:
    """The cells of ``target`` for a signed path.

    Raises:
        CompileRefusal: a value without bound, a gate that is not Boolean, or a format without
            a window for ε and K; names the line and the way out.
    """
    lay_out, tanhs = CELLS[target]
    _check_saturation(gates)
    below, errors = _tokens(path, gates)
    layers: list[Layer] = []
    records: list[tuple[TypedUnit, ...]] = []
    for each, extents in zip(path.layers, reach(path, gates.length), strict=True):
        typed = type_layer(each, below, extents, gates)
        made = lay_out(typed, gates, len(below.held))
        own = layer_errors(typed, errors, gates, tanhs=tanhs)
        layers.append(replace(made.layer, inputs=(len(layers),)))
        records.append(_record(typed, made, own))
        errors = _cell_errors(made, own)
        below = Below(parts=made.parts, held=made.held, ranges=extents)
    readout, readout_bias = decoded(path.readout, below.parts, len(below.held)), path.readout_bias
    ends = restored(_forms(readout, readout_bias), path.outputs, below, gates)
    if ends is not None:
        made = lay_out(ends.typed, gates, len(below.held))
        own = layer_errors(ends.typed, errors, gates, tanhs=tanhs)
        layers.append(replace(made.layer, inputs=(len(layers),)))
        records.append(_record(ends.typed, made, own))
        errors = _cell_errors(made, own)
        below = Below(parts=made.parts, held=made.held, ranges=[unit.extent for unit in ends.typed.units])
        readout, readout_bias = decoded(ends.readout, below.parts, len(below.held)), ends.readout_bias
    forms = _forms(readout, readout_bias)
    return RealGates(
        stack=Stack(layers=tuple(layers), readout=readout, readout_bias=readout_bias),
        layers=tuple(records),
        outputs=tuple(output_errors(forms, path.outputs, below, errors, gates)),
        gates=gates,
        tanhs=tanhs,
    )


def _check_saturation(gates: NativeGates) -> None:
    if gates.saturation < gates.vanishing:
        raise CompileRefusal.single(
            f"{gates.format.name} has no number whose sigmoid rounds to 1 and 0 but those up to "
            f"{float(gates.format.largest):g}, and a gate needs {gates.vanishing}",
            hint="a format with more exponent bits",
        )


def _forms(readout: Matrix, bias: Vector) -> list[Affine]:
    return [Affine(reads=dict(row), bias=own) for row, own in zip(readout.rows, bias, strict=True)]


def _tokens(path: Path, gates: NativeGates) -> tuple[Below, list[Off]]:
    """The tokens as the layer below the first."""
    for component, extent in enumerate(path.tokens):
        if extent.magnitude is None:
            raise CompileRefusal.single(
                f"real gates need to know how large a token is, but component {component} is in {extent}",
                hint="declare it: Input(dim=…, lo=…, hi=…)",
            )
    parts = [((i, ONE),) for i in range(path.input_dim)]
    held = [Held(scale=ONE, extent=extent) for extent in path.tokens]
    return Below(parts=parts, held=held, ranges=path.tokens), [
        token_error(extent, gates.format) for extent in path.tokens
    ]


def _record(typed: Typed, made: Laid, errors: Sequence[Off]) -> tuple[TypedUnit, ...]:
    cells: list[list[int]] = [[] for _ in typed.units]
    for cell, owner in enumerate(made.owners):
        cells[owner].append(cell)
    return tuple(
        TypedUnit(unit=unit, cells=tuple(own), error=off.error)
        for unit, own, off in zip(typed.units, cells, errors, strict=True)
    )


def _cell_errors(made: Laid, errors: Sequence[Off]) -> list[Off]:
    """Per cell; the second cell of a pair is read with the first, whose error is that of both."""
    seen: set[int] = set()
    found = []
    for owner in made.owners:
        off = errors[owner]
        found.append(replace(off, error=0.0) if owner in seen else off)
        seen.add(owner)
    return found


def decay(value: mpq, epsilon: mpq, steps: int, tanhs: int) -> float:
    """What is left of a value fed back through h above the identity: v0/√(1 + k ε² v0² t).

    k is 2/3 for each tanh on the way: 4/3 in the LSTM, 2/3 in the GRU.
    """
    x = float(epsilon * value)
    return float(value) / math.sqrt(1 + 2 * tanhs / 3 * x * x * steps)


__all__ = ["CELLS", "RealGates", "TypedUnit", "build", "check_native", "decay"]
