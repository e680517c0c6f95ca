"""A checking run finds the first false declaration, and none where all are true."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import CompileConfig, ir, load_program
from compiler import exact as ex
from compiler.exact import Matrix, Vector
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU, assume
from compiler.interpreter import trace
from compiler.library import LIBRARY
from compiler.lowering import Lowered, lower
from compiler.ranges import Range, constant
from compiler.state_kinds import Ring
from compiler.stdlib import f_bump, f_larger, f_ring_counter
from compiler.types import Types, infer_types
from stability.fuzz import programs, prompts
from stability.fuzz.programs import PROFILES
from stability.range_check import find_violation, first_violation


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("config", ["stable", "paper"])
def test_library_programs_keep_their_ranges(name: str, config: str) -> None:
    """No declared or inferred range of a library program is violated on its own prompts."""
    program = load_program(name)
    tokens = LIBRARY[name].prompt(np.random.default_rng(5), 90, dict(program.parameters))
    assert find_violation(program, [tokens[:50], tokens[50:]], CompileConfig.named(config)) is None


@given(st.data())
def test_inferred_ranges_hold_on_random_programs(data: st.DataObject) -> None:
    """The ranges inferred for random programs hold for random prompts."""
    program = data.draw(programs("gated"))
    assert find_violation(program, [data.draw(prompts(program))]) is None


def test_the_first_false_declaration_is_found() -> None:
    """A counter that passes its declared bound is reported at that step, with line and range."""
    x = Input(1, lo=0, hi=1, integer=True)
    count = LinState(x, [[1]], [[1]], init_state=[0])
    program = (assume(count, lo=0, hi=3, integer=True).named("bounded") * 2).program()
    found = find_violation(program, [[[1]] * 3, [[1]] * 3])
    assert found is not None
    assert (found.step, found.value) == (3, 4.0)
    assert found.span is not None
    assert re.search(r"test_range_check\.py:.*at step 3.*\[0, 3\] integer", str(found.diagnostic))
    assert find_violation(program, [[[1]] * 3]) is None


def test_a_token_outside_its_range_is_found() -> None:
    """Tokens are held to the Input's declaration, its integrality included."""
    x = Input(2, lo=0, hi=9, integer=True)
    program = f_larger(x, 4.5).program()
    assert find_violation(program, [[[1, 9]]]) is None
    for token in ([1, 10], ["1/2", 1]):
        found = find_violation(program, [[token]])
        assert found is not None
        assert found.declared
        assert found.variable.startswith("Input@")


def test_a_lattice_is_checked_between_its_bounds() -> None:
    """A value inside its interval but off its lattice is a violation (a query on a ramp)."""
    x = Input(1, lo=0, hi=1)
    within = assume(f_bump(x, 0.25, 0.75), lo=0, hi=1, integer=True)
    program = within.program()
    assert find_violation(program, [[["1/2"]]]) is None
    assert find_violation(program, [[["2501/10000"]]]) is not None


@pytest.mark.parametrize("profile", PROFILES)
@given(data=st.data())
def test_every_claim_holds_exactly_on_random_programs(profile: str, data: st.DataObject) -> None:
    """Types, increments, kinds and trends of random programs hold as rationals, without tolerance."""
    program = data.draw(programs(profile))
    lowered = lower(program)
    rows = trace(lowered.program, data.draw(prompts(program, min_length=4, max_length=7)))
    assert first_violation(lowered, infer_types(lowered, program), rows) is None


BLOCKS = (
    ex.eye(1),
    ex.eye(1).scaled(mpq(-1)),
    ex.eye(1).scaled(mpq(1, 2)),
    ex.zeros(1, 1),
    ex.cycle(2),
    ex.cycle(3),
    ex.shift(2),
    ex.shift(3),
    Matrix.dense([[0, -1], [1, 0]]),
)


@st.composite
def structured(draw: st.DrawFn) -> ir.Program:
    """A state of accumulators, rings, registers, … in any order, some of which feed one another."""
    blocks = draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3))
    size = sum(block.height for block in blocks)
    place = draw(st.permutations(range(size)))
    rows: list[dict[int, mpq]] = [{} for _ in range(size)]
    start = 0
    for block in blocks:
        for i, j, value in block.entries():
            rows[place[start + i]][place[start + j]] = value
        start += block.height
    if draw(st.booleans()):
        rows[draw(st.integers(0, size - 1))].setdefault(draw(st.integers(0, size - 1)), mpq(1))
    low = draw(st.sampled_from([-1, 0]))
    x = Input(1, lo=low, hi=draw(st.sampled_from([0, 1])), integer=True)
    entry, bias, initial = (
        draw(st.lists(st.sampled_from([0, 0, 1, -1]), min_size=size, max_size=size)) for _ in range(3)
    )
    state = LinState(x, Matrix.from_rows(size, rows), [[each] for each in entry], bias, initial)
    factors = draw(st.lists(st.sampled_from([0, 1, -1]), min_size=size, max_size=size))
    mixed = Linear(state, [factors], [1])
    both = Multi(Concat(ReLU(mixed), state[draw(st.integers(0, size - 1))]))
    return Concat(LinState(both, [[1]], [[1]], init_state=[0]), both, state).program()


@given(data=st.data())
@settings(max_examples=200)
def test_every_claim_holds_exactly_on_structured_states(data: st.DataObject) -> None:
    """Accumulators, rings, registers and delays, mixed and coupled, are what they are told to be."""
    program = data.draw(structured())
    lowered = lower(program)
    rows = trace(lowered.program, data.draw(prompts(program, min_length=5, max_length=8)))
    assert first_violation(lowered, infer_types(lowered, program), rows) is None


def test_a_false_sign_of_an_increment_is_found() -> None:
    """An accumulator fed by a value declared ≥ 0 never falls; the token that lets it fall is named."""
    x = Input(1)
    fed = assume(x, lo=0).named("fed")
    program = LinState(fed, [[1]], [[1]], init_state=[0]).named("total").program()
    assert infer_types(lower(program)).states[0].monotone
    assert find_violation(program, [[[2], [0]]]) is None
    found = find_violation(program, [[[2], [1], [-1], [-5]]])
    assert found is not None
    assert (found.variable, found.step, found.value, found.declared) == ("fed", 2, -1.0, True)


def claimed(kind: str) -> tuple[Lowered, Types, list[list[Vector]]]:
    """A counter, a sum or a ring, what is claimed of it, and three steps of it in exact arithmetic."""
    x = Input(1, lo=-1, hi=1, integer=True)
    output = {
        "counter": lambda: LinState(x, [[1]], [[0]], b=[1], init_state=[0]),
        "sum": lambda: LinState(x, [[1]], [[1]], init_state=[0]),
        "ring": lambda: f_ring_counter(x, 3),
        "register": lambda: LinState(x, ex.shift(2), [[1], [0]], init_state=[0, 0]),
    }[kind]()
    lowered = lower(output.named(kind).program())
    tokens = [(mpq(1),), (mpq(1),), (mpq(-1),)]
    return lowered, infer_types(lowered), list(trace(lowered.program, tokens))


@pytest.mark.parametrize(
    ("kind", "wrong", "step", "message"),
    [
        ("sum", {"increments": (Range(mpq(0)),)}, 2, r"takes in -1, outside real ≥ 0"),
        ("sum", {"increments": (Range(mpq(-2), mpq(2), mpq(2)),)}, 0, r"takes in 1, outside lattice 2·ℤ"),
        ("counter", {"increments": (constant(mpq(2)),)}, 0, r"takes in 1, outside constant 2"),
        ("register", {"kind": Ring(cells=2)}, 2, r"as ring of 2 it takes in"),
        ("ring", {"components": (0, 2, 1)}, 1, r"ring of 3, one-hot it takes in"),
    ],
)
def test_a_false_claim_of_a_state_is_found(
    kind: str, wrong: dict[str, object], step: int, message: str
) -> None:
    """Increments, a kind or an order that a state has not are found where it first shows, by name."""
    lowered, types, rows = claimed(kind)
    assert first_violation(lowered, types, rows) is None
    (state,) = types.states
    planted = replace(types, states=(replace(state, **wrong),))  # type: ignore[arg-type]
    found = first_violation(lowered, planted, rows)
    assert found is not None
    assert (found.variable, found.step) == (kind, step)
    assert re.search(message, str(found.diagnostic))
    assert "test_range_check.py:" in str(found.diagnostic)


@pytest.mark.parametrize(
    ("kind", "trend", "step", "message"),
    [
        ("sum", "never falls", 2, r"is 1 at step 2, after 2, though it never falls"),
        ("sum", "never rises", 1, r"is 2 at step 1, after 1, though it never rises"),
        ("counter", "constant", 1, r"is 2 at step 1, after 1, though it is constant"),
    ],
)
def test_a_false_trend_is_found(kind: str, trend: str, step: int, message: str) -> None:
    """A value that falls, rises or moves against its trend is found at the first such step."""
    lowered, types, rows = claimed(kind)
    variables = tuple(
        replace(each, trends=(trend,)) if each.name == kind else each  # type: ignore[arg-type]
        for each in types.variables
    )
    found = first_violation(lowered, replace(types, variables=variables), rows)
    assert found is not None
    assert found.step == step
    assert re.search(message, found.message)


@pytest.mark.parametrize("cells", [("0", "1/2", "0"), ("0", "1", "1"), ("0", "0", "0")])
def test_a_ring_that_loses_its_one_is_found(cells: tuple[str, str, str]) -> None:
    """A one-hot ring that holds something else than a single 1 is found."""
    lowered, types, rows = claimed("ring")
    (state,) = types.states
    assert state.one_hot
    rows[1][state.node] = tuple(mpq(cell) for cell in cells)
    found = first_violation(lowered, types, rows)
    assert found is not None
    assert found.step == 1
    if cells[1] == "1/2":  # its range says so before
        assert "outside its declared range {0, 1}" in found.message or "inferred" in found.message
    else:
        assert "holds a single 1 and else zeros" in found.message
