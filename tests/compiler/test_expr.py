"""The Python front end: one set of rules, and errors that name the user's line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import compile_program
from compiler.errors import CompileRefusal, LsrlError, ProgramError
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU, Variable, assume
from compiler.interpreter import interpret
from compiler.lowering import lower
from compiler.stdlib import f_constant, f_delay, f_ifelse, f_int_ge, f_larger, f_modulo_counter


def value_of(make: Callable[[Variable], Variable], row: list[object], dim: int = 2) -> list[mpq]:
    """What an expression of a token gives for one token."""
    return list(interpret(make(Input(dim)).program(), [row])[0])


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda x: x + 1, [4, 6]),
        (lambda x: 1 - x, [-2, -4]),
        (lambda x: -x / 2, [mpq(-3, 2), mpq(-5, 2)]),
        (lambda x: 2 * x - x, [3, 5]),
        (lambda x: x[0] + x, [6, 8]),
        (lambda x: x * x[1], [15, 25]),
        (lambda x: x[-1:], [5]),
        (lambda x: Concat(list(x)), [3, 5]),
        (Multi, [15]),
        (lambda x: ReLU(x - 4), [0, 1]),
        (lambda x: Linear(x, np.array([[1, 2], [3, 4]]), np.array([1, 0])), [14, 29]),
        (lambda x: x * 0.1, [mpq(3, 10), mpq(1, 2)]),
        (lambda x: f_constant(x, [7, "1/3"]), [7, mpq(1, 3)]),
    ],
)
def test_operators_mean_what_they_say(make: Callable[[Variable], Variable], wanted: list[mpq]) -> None:
    """Operators, slices and matrices give the exact values that they write down."""
    assert value_of(make, [3, 5]) == wanted


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x + Input(2), "two different programs"),
        (lambda x: Concat(x, Input(2)), "two different programs"),
        (lambda x: f_larger(x, Input(2)), "two different programs"),
        (lambda x: x + Concat(x, x), "different dimension"),
        (lambda x: x / 0, "division by zero"),
        (lambda x: x / x, "division by a variable"),
        (lambda x: 1 / x, "division by a variable"),
        (lambda x: x[2], "index 2"),
        (lambda x: x["a"], "index 'a'"),
        (lambda x: x[0:2:2], "step"),
        (lambda x: x[1:1], "empty"),
        (lambda x: x > 0, "f_larger"),
        (lambda x: x * float("nan"), "not a finite number"),
        (lambda x: x + "1/0", "not an exact constant"),
        (lambda x: Linear(x, [[1]]), "A has 1 columns"),
        (lambda x: Linear(x, [[1, 2], [3]]), "not a matrix"),
        (lambda x: Linear(x, [[1, 2]], [1, 2]), "b has 2 entries"),
        (lambda x: LinState(x, [[1, 2]], [[1, 2]], init_state=[0]), "square"),
        (lambda x: LinState(x, [[1]], [[1]], init_state=[0]), "B has shape 1×1"),
        (lambda x: LinState(x, [[1]], [[1, 1]]), "init_state"),
        (lambda x: Multi(x[0]), "odd"),
        (lambda _: Concat(), "nothing"),
        (lambda x: f_larger(x, 0, mu="1/0"), "mu"),
        (lambda x: f_larger(x, 0, mu=-1), "positive"),
        (lambda _: f_larger(1, 2), "without a variable"),
        (lambda x: f_int_ge(x, "abc"), "f_int_ge: k"),
        (lambda x: f_modulo_counter(x, float("nan")), "n"),
        (lambda x: f_modulo_counter(x, 10**9), "from 1 to"),
        (lambda x: f_delay(x, 2), "dim 1"),
        (lambda x: f_constant(x, []), "without entries"),
        (lambda x: assume(x, lo=2, hi=1), "empty range"),
        (lambda x: assume(x, lo=0.2, hi=0.8, integer=True), "no whole number"),
        (lambda x: assume(x, lo="1/0"), "not an exact bound"),
    ],
)
def test_mistakes_are_errors_of_the_program(make: Callable[[Variable], Variable], message: str) -> None:
    """Every misuse is one ProgramError with a plain message, never a bare Python exception."""
    with pytest.raises(ProgramError, match=message) as caught:
        make(Input(2))
    assert "\n" not in str(caught.value)


def test_a_second_input_and_a_wrong_dim_are_refused() -> None:
    """Input starts a program; its dim is a positive whole number."""
    x = Input(1)
    with pytest.raises(ProgramError, match="second Input"):
        Input(1, recorder=x.recorder)
    with pytest.raises(ProgramError, match="positive whole number"):
        Input(0)
    with pytest.raises(ProgramError, match="empty range"):
        Input(1, lo=3, hi=2)


def test_nodes_remember_the_line_that_made_them() -> None:
    """A node's span is the user's own file and line, also for the library's idioms."""
    x = Input(1)
    y = f_larger(x, 0)
    lines = [variable.node.span for variable in (x, y)]
    assert all(span is not None and span.file == "test_expr.py" for span in lines)
    assert lines[0] is not None
    assert lines[1] is not None
    assert lines[1].line == lines[0].line + 1


def test_only_what_reaches_the_output_is_part_of_the_program() -> None:
    """A program holds its Input and the nodes that its output needs."""
    x = Input(1)
    unused = LinState(x, [[2]], [[1]], init_state=[0])
    program = ReLU(x).program("small", {"k": "1/2"})
    assert len(program.nodes) == 2
    assert len(ReLU(unused).program().nodes) == 3
    assert program.parameters == (("k", mpq(1, 2)),)
    assert [name for name, _ in (x + 1).named("shifted").program().named()] == ["shifted"]


def test_labels_say_what_a_node_is() -> None:
    """A node is called by its variable, else by its operation and line."""
    x = Input(1)
    program = ReLU(f_larger(x.named("token"), 0)).program()
    assert program.label(0) == "token"
    assert program.label(2).startswith("f_larger@")
    bare = ir.Program(nodes=(ir.Input(dim=1),), output=0)
    assert bare.label(0) == "Input#0"


def test_contradictory_ranges_are_errors() -> None:
    """A declared range that leaves no value is found, with its line."""
    x = Input(1, lo=0, hi=3, integer=True)
    with pytest.raises(ProgramError, match="leaves no value") as caught:
        lower(assume(x, lo=5).program())
    assert caught.value.diagnostics[0].span is not None


def test_a_condition_that_is_none_is_noted_on_every_target() -> None:
    """A condition outside [0, 1] is noted whatever the conditional."""
    x = Input(1, lo=0, hi=3, integer=True)
    program = f_ifelse(x, 1, 2).program()
    for target in ("lstm", "relu_rnn"):
        assert any(
            "condition of f_ifelse" in warning for warning in compile_program(program, target).warnings
        )


def test_refusals_name_the_line() -> None:
    """An ungated target names the line of the first product and the way out."""
    x = Input(2)
    with pytest.raises(CompileRefusal, match=r"test_expr\.py:.*gated target") as caught:
        compile_program(Multi(x).program(), "relu_rnn")
    assert isinstance(caught.value, LsrlError)


def test_configurations_go_by_name_and_numpy_floats_by_value() -> None:
    """A configuration may be named; NumPy floats are binary values, Python floats decimals."""
    x = Input(1)
    program = (x * 1).program()
    assert compile_program(program, "lstm", "paper").settings["step"] == "paper"
    with pytest.raises(LsrlError, match="stable, paper"):
        compile_program(program, "lstm", "fast")
    with pytest.raises(LsrlError, match="window"):
        compile_program(program, "hawk", window=2.5)  # type: ignore[arg-type]
    assert interpret(program, [[0.1]]) == [(mpq(1, 10),)]
    assert interpret(program, np.array([[0.5]], dtype=np.float32).tolist()) == [(mpq(1, 2),)]
    assert interpret(program, [[np.float32(0.1)]]) == [(mpq(*np.float32(0.1).as_integer_ratio()),)]
