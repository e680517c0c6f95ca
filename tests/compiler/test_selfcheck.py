"""The compiler's self-check finds a step that changes what a program computes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import CompileConfig, compile_program, load_program
from compiler.compiling import TARGETS
from compiler.evaluate import evaluate
from compiler.expr import Input, LinState, ReLU, assume
from compiler.interpreter import interpret
from compiler.layering import to_path
from compiler.lowering import lower
from compiler.selfcheck import CompilerBugError, check_compilation, path_model, random_prompts
from compiler.stdlib import f_ifelse, f_larger
from stability.fuzz import programs


@pytest.mark.parametrize("name", ["dictionary", "dictionary_exact", "modulo", "parity"])
@pytest.mark.parametrize("reduce", [False, True])
def test_library_programs_pass_their_own_check(name: str, *, reduce: bool) -> None:
    """Every stage of compiling a library program computes the same, reduced or not."""
    for target in ("relu_rnn", "lstm"):
        config = CompileConfig(conditional="optimized", reduce=reduce)
        compile_program(load_program(name), target, config, check=2)


def test_a_changed_stage_is_named() -> None:
    """A stage whose weights were changed is found and named."""
    lowered = lower(load_program("majority"))
    model = path_model(to_path(lowered), 1)
    spoiled = replace(model, readout_bias=(model.readout_bias[0] + mpq(1, 1000),))
    check_compilation(lowered, [("path", model)], prompts=2)
    with pytest.raises(CompilerBugError, match=r"after target.*by up to 0\.001"):
        check_compilation(lowered, [("path", model), ("target", spoiled)], prompts=2)


@given(st.data())
def test_reducing_changes_no_value(data: st.DataObject) -> None:
    """With `reduce`, random programs still equal the interpreter exactly on every target."""
    program = data.draw(programs("stateful"))
    config = CompileConfig(reduce=True)
    for tokens in random_prompts(program.nodes[0], 2, data.draw(st.integers(0, 99))):
        wanted = interpret(program, tokens)
        for target in TARGETS:
            assert evaluate(compile_program(program, target, config), tokens) == wanted


def test_reducing_turns_direct_into_optimized() -> None:
    """ReLUs of known sign and of two values disappear, and the model says that it was reduced."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = f_ifelse(f_larger(x, 4.5), x, 0).program()
    plain, reduced = (
        compile_program(program, "relu_rnn", CompileConfig(conditional="direct", reduce=on))
        for on in (False, True)
    )
    assert reduced.nonzeros < plain.nonzeros
    assert (plain.settings["reduce"], reduced.settings["reduce"]) == ("off", "on")


def test_two_values_need_to_lie_on_the_lattice() -> None:
    """A range as wide as its lattice's step but off it holds one value, and is left alone."""
    x = Input(1, lo=-1, hi=1, integer=True)
    off = assume(x, lo=mpq(-3, 10), hi=mpq(7, 10))
    program = ReLU(off).program()
    assert interpret(program, [[0]]) == [(mpq(0),)]
    assert evaluate(compile_program(program, "lstm", CompileConfig(reduce=True)), [[0]]) == [(mpq(0),)]


def test_random_prompts_keep_to_the_declared_range() -> None:
    """Prompts for the self-check are within the Input's range and reproducible."""
    for lo, hi, integer in ((-2, 5, True), (0, 1, False), (None, 1, False), (3, None, True)):
        node = Input(2, lo=lo, hi=hi, integer=integer).node
        drawn = random_prompts(node, 3, 1)
        assert drawn == random_prompts(node, 3, 1)
        for token in (token for prompt in drawn for token in prompt):
            assert all(lo is None or value >= lo for value in token)
            assert all(hi is None or value <= hi for value in token)
            assert not integer or all(value.denominator == 1 for value in token)


def test_a_false_declaration_is_no_bug_of_the_compiler() -> None:
    """Steps after a declaration turned out false are not held against the compiler."""
    x = Input(1, lo=-4, hi=4, integer=True)
    program = ReLU(assume(x, lo=0)).program()
    for target in TARGETS:
        compile_program(program, target, CompileConfig(reduce=True), check=5)
    wrong = evaluate(compile_program(program, "lstm", CompileConfig(reduce=True)), [[-1]])
    assert wrong != interpret(program, [[-1]])


def test_a_state_is_checked_over_time() -> None:
    """The check runs prompts of several tokens: an initial state that is lost would be seen."""
    x = Input(1)
    lowered = lower(LinState(x, [["1/2"]], [[1]], init_state=[4]).program())
    model = path_model(to_path(lowered), 1)
    layers = tuple(replace(layer, initial=(mpq(0),)) for layer in model.layers)
    with pytest.raises(CompilerBugError, match="step 0"):
        check_compilation(lowered, [("path", replace(model, layers=layers))], prompts=1)
