"""The compiler's main property: every target equals the interpreter, as rationals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock

import pytest
from gmpy2 import mpq
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from compiler import ir
from compiler.compiling import TARGETS, compile_program
from compiler.errors import CompileRefusal
from compiler.evaluate import evaluate
from compiler.exact import Vector, vstack
from compiler.interpreter import interpret, trace
from compiler.lowering import lower
from compiler.model import Layer, Model
from compiler.targets import relu_rnn
from compiler.targets.base import signed_rows
from stability.fuzz import programs, prompts

Case = tuple[ir.Program, list[Vector]]


@st.composite
def cases(draw: st.DrawFn, profile: str) -> Case:
    """A program and a prompt for it."""
    program = draw(programs(profile))
    return program, draw(prompts(program))


def outputs_of(program: ir.Program, target: str, tokens: list[Vector]) -> list[Vector]:
    """The exact outputs of the compiled program."""
    return evaluate(compile_program(program, target), tokens)


def targets_for(program: ir.Program) -> Iterator[str]:
    """The targets that do not refuse the program."""
    for name in (*TARGETS, "uncompiled"):
        try:
            compile_program(program, name)
        except CompileRefusal as refusal:
            unbounded = "has a known bound" in str(refusal)
            assert not TARGETS[name].gated or (name == "gru" and unbounded)
            assert any(isinstance(node, ir.Multi) for node in program.nodes)
            continue
        yield name


@pytest.mark.parametrize("profile", ["affine", "relu", "stateful", "gated"])
def test_every_target_equals_the_interpreter(profile: str) -> None:
    """For random programs and prompts, all targets give the interpreter's rationals exactly."""

    @given(cases(profile))
    def check(case: Case) -> None:
        program, tokens = case
        wanted = interpret(program, tokens)
        assume(len(set(wanted)) > 1)
        for target in targets_for(program):
            assert outputs_of(program, target, tokens) == wanted, target

    check()


@given(cases("gated"))
def test_ranges_contain_every_value(case: Case) -> None:
    """No value of a run lies outside the interval or off the lattice inferred for it."""
    program, tokens = case
    lowered = lower(program)
    extents = [lowered.node_ranges(index) for index in range(len(lowered.program.nodes))]
    for values in trace(lowered.program, tokens):
        for vector, allowed in zip(values, extents, strict=True):
            for value, extent in zip(vector, allowed, strict=True):
                assert extent.lo is None or value >= extent.lo
                assert extent.hi is None or value <= extent.hi
                if extent.step:
                    assert ((value - extent.offset) / extent.step).denominator == 1


def _lost_bias(model: Model) -> Model:
    layers = tuple(replace(layer, bias=(mpq(0),) * len(layer.bias)) for layer in model.layers)
    return replace(model, layers=layers)


def _lost_initial_state(model: Model) -> Model:
    layers = tuple(replace(layer, initial=(mpq(0),) * len(layer.initial)) for layer in model.layers)
    return replace(model, layers=layers)


def _finds_a_difference(profile: str, target: str, spoil: Callable[[Model], Model]) -> bool:
    def differs(case: Case) -> bool:
        program, tokens = case
        model = compile_program(program, target)
        return evaluate(spoil(model), tokens) != interpret(program, tokens)

    quick = settings(
        max_examples=200, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
    )
    try:
        find(cases(profile), differs, settings=quick)
    except NoSuchExample:
        return False
    return True


def _same(model: Model) -> Model:
    return model


@pytest.mark.parametrize("spoil", [_lost_bias, _lost_initial_state], ids=lambda each: each.__name__[1:])
def test_a_lost_constant_is_caught(spoil: Callable[[Model], Model]) -> None:
    """Dropping biases or initial states from a compiled model breaks the equality."""
    assert _finds_a_difference("stateful", "relu_rnn", spoil)


def test_a_wrong_sign_of_a_pair_is_caught() -> None:
    """Encoding both halves of a signed value with the same sign breaks the equality."""
    with mock.patch.object(
        relu_rnn,
        "signed_rows",
        lambda matrix, encoding: signed_rows(
            matrix, replace(encoding, units=tuple((i, abs(sign)) for i, sign in encoding.units))
        ),
    ):
        assert _finds_a_difference("stateful", "relu_rnn", _same)


def test_swapped_lstm_gates_are_caught() -> None:
    """Exchanging the rows of two LSTM gates breaks the equality."""

    def swapped(model: Model) -> Model:
        return replace(model, layers=tuple(_swap_forget_and_output(layer) for layer in model.layers))

    def _swap_forget_and_output(layer: Layer) -> Layer:
        size = layer.size
        order = [*range(size), *range(3 * size, 4 * size), *range(2 * size, 3 * size), *range(size, 2 * size)]
        rows_in, rows_own = ([m.rows[i] for i in order] for m in (layer.weight_ih, layer.weight_hh))
        return replace(
            layer,
            weight_ih=replace(vstack([layer.weight_ih]), rows=tuple(rows_in)),
            weight_hh=replace(vstack([layer.weight_hh]), rows=tuple(rows_own)),
            bias=tuple(layer.bias[i] for i in order),
        )

    assert _finds_a_difference("stateful", "lstm", swapped)


@pytest.mark.no_cover  # a search, as those above
def test_the_planted_bugs_are_the_cause() -> None:
    """Without a planted bug the same search finds no difference."""
    assert not _finds_a_difference("stateful", "relu_rnn", _same)
    assert not _finds_a_difference("stateful", "lstm", _same)
