"""What an engine is: something that executes a compiled model in a number format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.exact import Matrix, Vector
from compiler.model import Layer, Model
from stability.engines.convolution import lag_kernels
from stability.formats import AnyFormat, Format
from stability.rounding import round_rational

StatusArray = npt.NDArray[np.uint8]


class Status(IntEnum):
    """What has happened to a sequence so far; it never goes back to a smaller value.

    It is set by any token, pre-activation (before its ReLU), product, cell or output
    that is not finite, whatever later values look like.
    """

    OK = 0
    OVERFLOW = 1
    NAN = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """What an engine computed for one chunk of tokens.

    Attributes:
        outputs: (B, C, output_dim) in the format's own numbers.
        status: (B, C) of :class:`Status`, sticky along time, earlier chunks included.
        wires: the wires that were asked for, each (B, C, size).
    """

    outputs: npt.NDArray[Any]
    status: StatusArray
    wires: Mapping[int, npt.NDArray[Any]] = field(default_factory=dict)


class Session(Protocol):
    """A model under way: it remembers every sequence's state between chunks."""

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        """Advance all sequences by one chunk.

        Args:
            tokens: (B, C, input_dim), exact: int64, float64 or objects (rationals); B is
                the same in every call.
        """
        ...


class Engine(Protocol):
    """Executes models in the formats it knows."""

    def prepare(self, model: Model, fmt: AnyFormat, keep: Sequence[int] = ()) -> Session:
        """Round a model to a format and start it before its first token.

        Args:
            model: a compiled model.
            fmt: the format of weights, values and every operation.
            keep: wires whose values are wanted besides the outputs.

        Raises:
            ConfigError: the engine does not know this format.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOverflow:
    """A finite constant of a model that is infinite in the format.

    Attributes:
        layer: the layer's index; ``None`` for the readout.
        unit: the unit it belongs to.
        role: ``weight_ih``, ``weight_hh``, ``bias``, ``bias_hn``, ``initial``, ``initial_cell``, or
            ``kernel`` for an entry of a convolution's kernels.
        value: the exact constant.
    """

    layer: int | None
    unit: int
    role: str
    value: mpq


def weight_overflows(model: Model, fmt: AnyFormat) -> tuple[WeightOverflow, ...]:
    """All constants of a model that a format rounds to an infinity."""
    if not isinstance(fmt, Format):
        return ()
    found: list[WeightOverflow] = []
    for number, layer in enumerate(model.layers):
        for role, row, value in _constants(layer, model.window or 1, fmt):
            if np.isinf(round_rational(value, fmt)):
                found.append(WeightOverflow(layer=number, unit=row % layer.size, role=role, value=value))
    for role, row, value in (*_entries("weight_ih", model.readout), *_vector("bias", model.readout_bias)):
        if np.isinf(round_rational(value, fmt)):
            found.append(WeightOverflow(layer=None, unit=row, role=role, value=value))
    return tuple(found)


def _constants(layer: Layer, window: int, fmt: Format) -> Iterator[tuple[str, int, mpq]]:
    if layer.kind == "conv":
        yield from _vector("initial", layer.initial)
        for unit, kernel in enumerate(lag_kernels(layer, window, fmt)):
            yield from (("kernel", unit, value) for row in kernel.lags for _, value in row)
        return
    yield from _entries("weight_ih", layer.weight_ih)
    yield from _entries("weight_hh", layer.weight_hh)
    yield from _vector("bias", layer.bias)
    yield from _vector("initial", layer.initial)
    yield from _vector("initial_cell", layer.initial_cell)
    yield from _vector("bias_hn", layer.bias_hn)


def _entries(role: str, matrix: Matrix) -> Iterator[tuple[str, int, mpq]]:
    for row, _, value in matrix.entries():
        yield role, row, value


def _vector(role: str, values: Vector) -> Iterator[tuple[str, int, mpq]]:
    for row, value in enumerate(values):
        yield role, row, value
