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
from compiler.model import Kind, Layer, Model
from stability.engines.convolution import lag_kernels
from stability.formats import Format
from stability.policy import AnyPolicy, Policy, as_policy
from stability.rounding import overflows

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
        outputs: (B, C, output_dim) in the policy's own numbers.
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
    """Executes models in the policies it knows; a format is one."""

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """Round a model to a policy and start it before its first token.

        Args:
            model: a compiled model.
            fmt: the policy, or the one format of weights, values and every operation.
            keep: wires whose values are wanted besides the outputs.

        Raises:
            ConfigError: the engine does not know this policy.
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


def weight_overflows(model: Model, fmt: AnyPolicy) -> tuple[WeightOverflow, ...]:
    """All constants of a model that leave the range of a policy, infinite, nan or cut off."""
    policy = as_policy(fmt)
    found: list[WeightOverflow] = []
    for number, layer in enumerate(model.layers):
        for role, row, value in _constants(layer, model.window or 1, policy):
            if _leaves(role, layer.kind, value, policy):
                found.append(WeightOverflow(layer=number, unit=row % layer.size, role=role, value=value))
    for role, row, value in (*_entries("weight_ih", model.readout), *_vector("bias", model.readout_bias)):
        if _leaves(role, "linear", value, policy):
            found.append(WeightOverflow(layer=None, unit=row, role=role, value=value))
    return tuple(found)


def _leaves(role: str, kind: Kind, value: mpq, policy: Policy) -> bool:
    """Whether a constant is too large for one of the formats in which it is held."""
    begins = role.startswith("bias") or (role == "initial" and kind == "conv")
    formats = (policy.weights, policy.accumulator) if begins else (policy.weights,)
    if role.startswith("initial") and kind != "conv":
        formats = (policy.state,)
    return any(isinstance(fmt, Format) and overflows(value, fmt) for fmt in formats)


def _constants(layer: Layer, window: int, policy: Policy) -> Iterator[tuple[str, int, mpq]]:
    if layer.kind == "conv":
        yield from _vector("initial", layer.initial)
        for unit, kernel in enumerate(lag_kernels(layer, window, policy.weights)):
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
