"""Shrinking takes out of a program's graph every node that the fault does not need."""

from __future__ import annotations

import pytest
from gmpy2 import mpq
from hypothesis import given

from compiler import ir
from compiler.interpreter import interpret
from compiler.text import parse_program
from stability.fuzz import Case, programs
from stability.fuzz.shrinking import BUDGET, shrink, smaller_programs, without_dead_nodes

SOURCE = """
ForEach:
    token = Input(dim=2)
    state = LinState(token, A=eye(1), B=[[1, 0]], b=[[1]], init_state=[[1]])
    other = Linear(token, A=[[1, 1]], b=[[1]])
    top = Concat(ReLU(state), other, ReLU(other))
    return Linear(top, A=[[1, 1, 1]], b=[[0]])
"""


def a_relu_reads_a_state(case: Case) -> bool:
    """The fault of these tests."""
    nodes = case.program.nodes
    return any(isinstance(node, ir.ReLU) and isinstance(nodes[node.source], ir.LinState) for node in nodes)


@pytest.fixture
def case() -> Case:
    """Seven nodes, of which the fault needs three."""
    return Case(program=parse_program(SOURCE, file="made.lsrl"), tokens=((mpq(1), mpq(2)),))


def test_only_what_the_fault_needs_is_left(case: Case) -> None:
    """The Input, the state and its ReLU; the prompt is as it was."""
    assert len(case.program.nodes) == 7
    small = shrink(case, a_relu_reads_a_state)
    assert [type(node).__name__ for node in small.program.nodes] == ["Input", "LinState", "ReLU"]
    assert small.tokens == case.tokens


def test_what_cannot_be_smaller_stays(case: Case) -> None:
    """Where no edit keeps the fault, the case comes back as it is."""
    assert shrink(case, lambda _: False) is case


def test_shrinking_ends(case: Case) -> None:
    """A judge is asked a bounded number of times, and never twice about one program."""
    asked: list[ir.Program] = []

    def never(each: Case) -> bool:
        asked.append(each.program)
        return False

    shrink(case, never)
    assert 0 < len(asked) == len(set(asked)) <= BUDGET


@given(programs("stateful", least=1))
def test_edits_are_programs_that_run(program: ir.Program) -> None:
    """Each edit, its dead nodes taken out, is a program of the same input."""
    token = (mpq(1),) * program.input_dim
    whole = without_dead_nodes(program)
    assert interpret(whole, [token]) == interpret(program, [token])
    for edited in map(without_dead_nodes, smaller_programs(program)):
        assert edited.input_dim == program.input_dim
        assert len(interpret(edited, [token])[0]) == edited.output_dim
