"""Eight bugs to plant, one at a time, in the compiler or in an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from gmpy2 import mpq

from compiler import ir, layering
from compiler.compiling import compile_program
from compiler.exact import Matrix, Vector
from compiler.model import Layer, Model
from compiler.targets import relu_rnn
from compiler.targets.base import signed_rows
from stability.corpus import properties as judged
from stability.engines.mpmath_engine import MpmathEngine
from stability.engines.native.engine import NativeEngine
from stability.policy import parse_policy

Plant = AbstractContextManager[Any]


def _spoiled(spoil: Callable[[Layer], Layer], target: str) -> Plant:
    """Every model of one target comes out of the compiler with its layers spoiled."""

    def wrong(program: ir.Program, name: str) -> Model:
        model = compile_program(program, name)
        if name != target:
            return model
        return replace(model, layers=tuple(spoil(layer) for layer in model.layers))

    return mock.patch.object(judged, "compile_program", wrong)


def wrong_sign() -> Plant:
    """Both halves of a signed value get the same sign."""

    def unsigned(matrix: Matrix, encoding: Any) -> Matrix:
        return signed_rows(
            matrix, replace(encoding, units=tuple((i, abs(sign)) for i, sign in encoding.units))
        )

    return mock.patch.object(relu_rnn, "signed_rows", unsigned)


def lost_bias() -> Plant:
    """A target forgets its biases."""
    return _spoiled(lambda layer: replace(layer, bias=(mpq(0),) * len(layer.bias)), "gated_rnn")


def dropped_initial_state() -> Plant:
    """A target forgets its initial states."""
    return _spoiled(lambda layer: replace(layer, initial=(mpq(0),) * len(layer.initial)), "linear_rnn")


def swapped_gates() -> Plant:
    """The LSTM's forget and output gates change places."""

    def swapped(layer: Layer) -> Layer:
        size = layer.size
        order = [*range(size), *range(3 * size, 4 * size), *range(2 * size, 3 * size), *range(size, 2 * size)]
        ih, hh = (
            replace(m, rows=tuple(m.rows[i] for i in order)) for m in (layer.weight_ih, layer.weight_hh)
        )
        return replace(layer, weight_ih=ih, weight_hh=hh, bias=tuple(layer.bias[i] for i in order))

    return _spoiled(swapped, "lstm")


def shifted_by_one() -> Plant:
    """A state's coordinates read their neighbours'."""
    emit = layering._Emitter.fresh_states

    def off(self: Any, members: dict[int, Any]) -> None:
        start = len(self.own)
        emit(self, members)
        size = len(self.own) - start
        base = len(self.rows) - size
        for k in range(start, len(self.own)):
            self.own[k] = {base + (j - base + 1) % size: value for j, value in self.own[k].items()}

    return mock.patch.object(layering._Emitter, "fresh_states", off)


def _through_float64(vector: Vector) -> Vector:
    return tuple(mpq(float(value)) for value in vector)


def _rounded(layer: Layer) -> Layer:
    ih, hh = (
        Matrix.from_rows(m.width, [{j: mpq(float(w)) for j, w in row} for row in m.rows])
        for m in (layer.weight_ih, layer.weight_hh)
    )
    return replace(layer, weight_ih=ih, weight_hh=hh, bias=_through_float64(layer.bias))


def float64_in_mpmath() -> Plant:
    """The weights of the mpmath engine pass through float64."""
    prepare = MpmathEngine.prepare

    def leaking(self: MpmathEngine, model: Model, *rest: Any) -> Any:
        return prepare(self, replace(model, layers=tuple(map(_rounded, model.layers))), *rest)

    return mock.patch.object(MpmathEngine, "prepare", leaking)


def wrong_accumulator() -> Plant:
    """The native engine adds up in float32 what it should round to a shorter format."""
    prepare = NativeEngine.prepare

    def wide(self: NativeEngine, model: Model, policy: Any, *rest: Any) -> Any:
        name = getattr(policy, "name", "")
        return prepare(self, model, parse_policy(f"{name}-acc32") if name == "float16" else policy, *rest)

    return mock.patch.object(NativeEngine, "prepare", wide)


def stale_state() -> Plant:
    """The native engine goes on where the prompt before ended."""
    prepare, sessions = NativeEngine.prepare, dict[Any, Any]()

    def stale(self: NativeEngine, model: Model, policy: Any, keep: Sequence[int] = ()) -> Any:
        key = (id(model), id(self))
        if key not in sessions:
            sessions[key] = (prepare(self, model, policy, keep), model)
        return sessions[key][0]

    return mock.patch.object(NativeEngine, "prepare", stale)


PLANTS: tuple[tuple[Callable[[], Plant], str, str], ...] = (
    (wrong_sign, "exact", "stateful"),
    (lost_bias, "exact", "stateful"),
    (dropped_initial_state, "exact", "stateful"),
    (swapped_gates, "exact", "stateful"),
    (shifted_by_one, "exact", "affine"),
    (float64_in_mpmath, "mpmath", "affine"),
    (wrong_accumulator, "twin", "affine"),
    (stale_state, "batch", "affine"),
)
"""Each bug, the property that it breaks, and a profile of programs that show it."""
