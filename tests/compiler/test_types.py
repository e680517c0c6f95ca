"""Types: what values are, what states are, and which values never fall."""

from __future__ import annotations

import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import exact as ex
from compiler import ir, load_program
from compiler.exact import Matrix
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU, Variable, assume
from compiler.library import LIBRARY
from compiler.lowering import lower
from compiler.ranges import Range, constant
from compiler.state_kinds import (
    Accumulator,
    Alternating,
    Decay,
    Delay,
    Growth,
    Kind,
    Recurrence,
    Ring,
    Rotation,
    ShiftRegister,
    carried,
    kind_text,
    parts,
)
from compiler.stdlib import f_delay, f_first, f_modulo_counter, f_ring_counter
from compiler.types import (
    Boolean,
    Constant,
    Lattice,
    Real,
    State,
    TwoValued,
    Types,
    ValueType,
    full_text,
    infer_types,
    type_of,
)

HALF = mpq(1, 2)

VARIABLES: dict[str, dict[str, str]] = {
    "majority": {
        "input": "Boolean",
        "lead": "integer",
    },
    "continuous": {
        "input": "real",
        "width": "real",
        "lower": "real",
        "value": "real",
        "counted": "integer, never falls",
        "first": "Boolean, never rises",
        "later": "Boolean, never falls",
        "query_token": "real",
        "query_state": "real, never falls",
        "query": "real, never falls",
        "within": "Boolean",
        "sides": "integer",
        "holds_query": "Boolean",
        "added": "real",
    },
    "dictionary": {
        "input": "integer",
        "counted": "integer, never falls",
        "global_ctr": "integer, never falls",
        "place": "integer",
        "pair_place": "integer",
        "place_starts": "constant -1/2; constant 1/2; constant 3/2",
        "place_ends": "constant 1/2; constant 3/2; constant 5/2",
        "at_place": "Boolean",
        "query_mode": "Boolean, never rises",
        "compare_mode": "Boolean",
        "copy_mode": "Boolean",
        "query_token": "integer",
        "query_writes": "integer",
        "query_state": "integer, never falls",
        "query": "integer, never falls",
        "query_reads": "integer",
        "query_sum": "integer",
        "wanted": "integer",
        "same": "Boolean",
        "match": "Boolean",
        "buffer": "Boolean",
        "matched": "integer",
        "full_match": "Boolean",
        "start_writes": "integer",
        "start_state": "integer, never falls",
        "started_on": "integer, never falls",
        "copying": "Boolean",
        "copied": "integer",
        "answer_writes": "integer",
        "answer_state": "integer, never falls",
        "answer": "integer, never falls",
        "answer_reads": "integer",
        "output": "integer",
    },
    "dictionary_exact": {
        "input": "integer",
        "at_place": "Boolean",
        "at_pair_place": "Boolean",
        "query_mode": "Boolean, never rises",
        "compare_mode": "Boolean",
        "query_token": "integer",
        "query_writes": "integer",
        "query_state": "integer, never falls",
        "query": "integer, never falls",
        "query_reads": "integer",
        "wanted": "integer",
        "hit": "Boolean",
        "hits": "Boolean",
        "matched": "integer",
        "full_match": "Boolean",
        "matches": "Boolean",
        "copying": "Boolean",
        "copied": "integer",
        "answer_writes": "integer",
        "answer_state": "integer, never falls",
        "answer": "integer, never falls",
        "answer_reads": "integer",
    },
    "linear_attention": {
        "input": "integer",
        "key": "lattice 1/3·ℤ",
        "value": "lattice 1/3·ℤ",
        "query": "lattice 1/3·ℤ",
        "values": "lattice 1/3·ℤ",
        "keys": "lattice 1/3·ℤ",
        "queries": "lattice 1/3·ℤ",
        "written": "lattice 1/9·ℤ",
        "state": "lattice 1/9·ℤ",
        "read": "lattice 1/27·ℤ",
    },
    "icl_regression": {
        "input": "integer",
        "x": "integer",
        "targets": "integer",
        "gradient": "integer",
        "weights": "lattice 1/30·ℤ",
        "prediction": "lattice 1/30·ℤ",
    },
    "copy_delay": {
        "input": "integer",
        "latest": "integer",
    },
    "modulo": {
        "input": "integer",
        "shift_by": "integer",
        "moved": "integer",
        "wraps": "Boolean",
    },
    "parity": {
        "input": "Boolean",
        "counted": "integer",
        "excess": "integer",
    },
    "balanced": {
        "input": "integer",
        "depth": "integer",
        "below": "Boolean",
        "steps_below": "integer, never falls",
        "never_below": "Boolean, never rises",
    },
    "most_recent_key": {
        "input": "integer",
        "written": "integer",
        "value": "integer",
        "asked": "integer",
        "keys": "integer",
        "values": "integer",
        "same": "Boolean",
        "newer": "constant 0; Boolean; integer",
        "newest": "Boolean",
        "chosen": "integer",
    },
}
STATES: dict[str, list[tuple[str, str, str, str]]] = {
    "majority": [
        ("lead", "accumulator", "two-valued {-1, 1}", "integer of either sign"),
    ],
    "continuous": [
        ("counted", "accumulator", "constant 1", "integer ≥ 1, never falls"),
        ("query_state[0:2]", "accumulator × 2", "real, 0 to 1", "real, 0 to 1, never falls"),
        ("LinState@28[0:2]", "accumulator × 2", "real, -2 to 2", "real of either sign"),
    ],
    "dictionary": [
        ("counted", "accumulator", "constant 1", "integer, 0 to 131072, never falls"),
        ("place.state[0:2]", "rotation by 2π/3", "none", "real, -2 to 2"),
        ("pair_place.state[0:2]", "rotation by π/3", "none", "real, -2 to 2"),
        ("query_state[0:3]", "accumulator × 3", "integer, 0 to 26", "integer, 0 to 26, never falls"),
        ("buffer[0:4]", "shift register of 4", "Boolean, at the first cell", "Boolean"),
        ("start_state", "accumulator", "integer, 0 to 131072", "integer, 0 to 131072, never falls"),
        ("answer_state[0:3]", "accumulator × 3", "integer, 0 to 26", "integer, 0 to 26, never falls"),
    ],
    "dictionary_exact": [
        ("at_place[0:3]", "ring of 3, one-hot", "none", "Boolean"),
        ("at_pair_place[0:6]", "ring of 6, one-hot", "none", "Boolean"),
        ("f_first@23.state[0:4]", "shift register of 4", "none", "constant 0; Boolean"),
        ("query_state[0:3]", "accumulator × 3", "integer, 0 to 26", "integer, 0 to 26, never falls"),
        ("hits[0:4]", "shift register of 4", "Boolean, at the first cell", "Boolean"),
        ("matches[0:3]", "shift register of 3", "Boolean, at the first cell", "Boolean"),
        ("answer_state[0:3]", "accumulator × 3", "integer, 0 to 26", "integer, 0 to 26, never falls"),
    ],
    "linear_attention": [
        ("state[0, 3]", "accumulator × 2", "lattice 1/9·ℤ, -12 to 12", "lattice 1/9·ℤ of either sign"),
        ("state[1]", "accumulator", "lattice 1/9·ℤ, -9 to 9", "lattice 1/9·ℤ of either sign"),
        ("state[2]", "accumulator", "lattice 1/9·ℤ, -16 to 16", "lattice 1/9·ℤ of either sign"),
    ],
    "icl_regression": [
        ("weights[0:2]", "accumulator × 2", "lattice 1/30·ℤ, -8/15 to 8/15", "lattice 1/30·ℤ of either sign"),
        ("weights[2:4]", "delay × 2", "lattice 1/30·ℤ of either sign", "lattice 1/30·ℤ of either sign"),
    ],
    "copy_delay": [
        ("latest[0:4]", "shift register of 4", "integer, 0 to 9, at the first cell", "integer, 0 to 9"),
    ],
    "modulo": [
        ("shift_by.state[0:2]", "rotation by 2π/7", "none", "real, -2 to 2"),
    ],
    "parity": [
        ("counted", "alternating", "Boolean", "integer, -8192 to 8192"),
    ],
    "balanced": [
        ("depth", "accumulator", "integer, -1 to 1", "integer of either sign"),
        ("steps_below", "accumulator", "Boolean", "integer ≥ 0, never falls"),
    ],
    "most_recent_key": [
        ("keys[0:16]", "shift register of 16", "integer, 0 to 8, at the first cell", "integer, 0 to 8"),
        ("values[0:16]", "shift register of 16", "integer, 0 to 26, at the first cell", "integer, 0 to 26"),
    ],
}


def inferred(program: ir.Program) -> Types:
    """The types of a program in configuration ``stable``."""
    return infer_types(lower(program), program)


def only_state(output: Variable) -> State:
    """The one state of a small program."""
    (state,) = inferred(output.program()).states
    return state


@pytest.mark.parametrize("name", LIBRARY)
def test_library_programs_have_the_types_of_the_table(name: str) -> None:
    """Every named variable and every state of every library program is what the table says."""
    types = inferred(load_program(name))
    assert {each.name: each.text for each in types.variables if "@" not in each.name} == VARIABLES[name]
    assert [
        (row.place, row.kind, row.states[0].increments_text, row.values) for row in types.rows()
    ] == STATES[name]


@pytest.mark.parametrize(
    ("extent", "kind", "text"),
    [
        (constant(mpq(3)), Constant(value=mpq(3)), "constant 3"),
        (Range(mpq(0), mpq(1), mpq(1)), Boolean(), "Boolean"),
        (Range(mpq(-1), mpq(1), mpq(2), mpq(1)), TwoValued(low=mpq(-1), high=mpq(1)), "two-valued {-1, 1}"),
        (
            Range(mpq(0), None, mpq(1)),
            Lattice(step=mpq(1), offset=mpq(0), lo=mpq(0), hi=None),
            "integer ≥ 0",
        ),
        (
            Range(None, mpq(7, 2), mpq(1), HALF),
            Lattice(step=mpq(1), offset=HALF, lo=None, hi=mpq(7, 2)),
            "lattice 1/2 + 1·ℤ ≤ 7/2",
        ),
        (Range(HALF, mpq(5, 2), mpq(1)), TwoValued(low=mpq(1), high=mpq(2)), "two-valued {1, 2}"),
        (Range(mpq(-1, 2), HALF, mpq(1)), Constant(value=mpq(0)), "constant 0"),
        (Range(mpq(0), mpq(1)), Real(lo=mpq(0), hi=mpq(1)), "real, 0 to 1"),
        (Range(), Real(lo=None, hi=None), "real of either sign"),
    ],
)
def test_a_range_is_a_type(extent: Range, kind: ValueType, text: str) -> None:
    """Bounds are drawn in to the lattice, and one or two values left make a type of their own."""
    assert type_of(extent) == kind
    assert full_text(type_of(extent)) == text


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        ([[1]], [((0,), Accumulator())]),
        ([[-1]], [((0,), Alternating())]),
        ([["-1/2"]], [((0,), Decay(factor=-HALF))]),
        ([[2]], [((0,), Growth(factor=mpq(2)))]),
        ([[0]], []),
        (ex.eye(2), [((0,), Accumulator()), ((1,), Accumulator())]),
        (ex.cycle(3), [((0, 1, 2), Ring(cells=3))]),
        (ex.cycle(3).transpose, [((0, 2, 1), Ring(cells=3))]),
        ([[0, 1], [1, 0]], [((0, 1), Ring(cells=2))]),
        (
            [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
            [((0, 1), Rotation(cosine=mpq(0), sine=mpq(1))), ((2,), Accumulator())],
        ),
        ([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], [((0, 1, 2), Recurrence(size=3))]),
        ([[0, 2], [1, 0]], [((0, 1), Recurrence(size=2))]),
        ([["3/5", "-4/5"], ["4/5", "3/5"]], [((0, 1), Rotation(cosine=mpq(3, 5), sine=mpq(4, 5)))]),
        ([["3/5", "4/5"], ["4/5", "-3/5"]], [((0, 1), Recurrence(size=2))]),
        (ex.shift(4), [((0, 1, 2, 3), ShiftRegister(cells=4))]),
        (ex.shift(3).transpose, [((2, 1, 0), ShiftRegister(cells=3))]),
        ([[0, 0, 0], [1, 0, 0], [1, 0, 0]], [((0,), Delay()), ((1,), Delay()), ((2,), Delay())]),
        ([[0, 0], [2, 0]], [((0,), Delay()), ((1,), Delay())]),
        ([[1, 0], [1, 0]], [((0,), Accumulator()), ((1,), Delay())]),
    ],
)
def test_a_matrix_is_read(
    matrix: Matrix | list[list[str]], found: list[tuple[tuple[int, ...], Kind]]
) -> None:
    """Each pattern of a state matrix is told for what it is, its coordinates in the order of its values."""
    dense = matrix if isinstance(matrix, Matrix) else Matrix.dense(matrix)
    assert list(parts(dense.rows)) == found


@given(st.data())
def test_parts_account_for_the_whole_matrix(data: st.DataObject) -> None:
    """For every A and s, A s is what the parts carry on plus what they read of other parts."""
    size = data.draw(st.integers(1, 6))
    entries = st.sampled_from([0, 0, 0, 1, 1, -1, 2])
    flat = data.draw(st.lists(entries, min_size=size * size, max_size=size * size))
    matrix = Matrix.dense([flat[i * size : (i + 1) * size] for i in range(size)])
    state = [mpq(value) for value in data.draw(st.lists(st.integers(-9, 9), min_size=size, max_size=size))]
    after, covered = matrix.times(state), set()
    for members, kind in parts(matrix.rows):
        covered |= set(members)
        kept = carried(kind, [state[i] for i in members])
        for place, i in enumerate(members if kept is not None else ()):
            other = sum((value * state[j] for j, value in matrix.rows[i] if j not in members), mpq(0))
            assert kept is not None
            assert after[i] == kept[place] + other
    isolated = set(range(size)) - {k for i, j, _ in matrix.entries() for k in (i, j)}
    assert covered == set(range(size)) - isolated


@pytest.mark.parametrize(
    ("period", "text"), [(3, "rotation by 2π/3"), (4, "rotation by π/2"), (360, "rotation by π/180")]
)
def test_the_angle_of_a_rotation_is_told(period: int, text: str) -> None:
    """A modulo counter is a rotation whose angle reads as a fraction of π."""
    state = only_state(f_modulo_counter(Input(1), period))
    assert (state.kind_text, state.fed, state.initial[0]) == (text, False, ex.cos_pi(mpq(2, period)))


def test_other_angles_are_told_in_radians() -> None:
    """A rotation by no fraction of π, or against the sense, is told as what it is."""
    assert kind_text(Rotation(cosine=mpq(3, 5), sine=mpq(4, 5))) == "rotation by 0.927295 rad"
    assert kind_text(Rotation(cosine=mpq(0), sine=mpq(-1))) == "rotation by −π/2"


def test_rings_and_registers_of_the_library() -> None:
    """A ring counter is a one-hot ring, a delay is fed at its first cell, f_first is fed nothing."""
    x = Input(1, lo=0, hi=9, integer=True)
    ring, delay, first = (only_state(f(x, 3)) for f in (f_ring_counter, f_delay, f_first))
    assert (ring.kind_text, ring.one_hot, ring.sign) == ("ring of 3, one-hot", True, "none")
    assert delay.increments_text == "integer, 0 to 9, at the first cell"
    assert (first.kind, first.fed, first.trends[-1]) == (ShiftRegister(cells=4), False, "never rises")
    assert not delay.monotone


def test_a_ring_with_input_is_not_one_hot() -> None:
    """What comes into a ring is told, and takes its claim to be one-hot."""
    x = Input(1, lo=0, hi=1, integer=True)
    state = only_state(LinState(x, ex.cycle(2), [[1], [0]], init_state=[0, 1]))
    assert (state.kind, state.one_hot, state.sign) == (Ring(cells=2), False, "nonnegative")
    assert state.increments_text == "Boolean; constant 0"


@pytest.mark.parametrize(
    ("bounds", "sign", "trend"),
    [
        ((0, 2), "nonnegative", "never falls"),
        ((-2, 0), "nonpositive", "never rises"),
        ((-1, 1), "either", "free"),
        ((0, 0), "none", "constant"),
    ],
)
def test_increments_decide_whether_an_accumulator_falls(
    bounds: tuple[int, int], sign: str, trend: str
) -> None:
    """The sign of its increments is the trend of an accumulator."""
    x = Input(1, lo=bounds[0], hi=bounds[1], integer=True)
    state = only_state(LinState(x, [[1]], [[1]], init_state=[5]))
    assert (state.sign, state.trends) == (sign, (trend,))
    assert state.monotone == (trend in {"never falls", "constant"})


def test_a_latch_is_a_boolean_that_stays() -> None:
    """An accumulator declared Boolean, fed Booleans, is a latch; undeclared it is an accumulator."""
    x = Input(1, lo=0, hi=1, integer=True)
    state = LinState(x, [[1]], [[1]], init_state=[0])
    assert only_state(state).kind_text == "accumulator"
    assert only_state(assume(state, lo=0, hi=1, integer=True)).kind_text == "latch"


@pytest.mark.parametrize(("start", "trend"), [(0, "never falls"), (9, "never rises"), (4, "constant")])
def test_a_decay_to_a_fixed_point_has_a_trend(start: int, trend: str) -> None:
    """S = s'/2 + 2 tends to 4 from either side, and stays there."""
    x = Input(1)
    assert only_state(LinState(x, [["1/2"]], [[0]], b=[2], init_state=[start])).trends == (trend,)


def test_trends_pass_through_operations() -> None:
    """Negation turns a trend, ReLU keeps it, sums and products need theirs to agree."""
    x = Input(1, lo=0, hi=1)
    up = LinState(x, [[1]], [[1]], init_state=[1]).named("up")
    down = LinState(x, [[1]], [[-1]], init_state=[0]).named("down")
    across = LinState(x, [[1]], [[1]], init_state=[-5]).named("across")
    kept = {
        "turned": (-up, "never rises"),
        "cut": (ReLU(up - 3), "never falls"),
        "apart": (up - down, "never falls"),
        "mixed": (up + down, "free"),
        "square": (Multi(Concat(up, up)), "never falls"),
        "signed": (Multi(Concat(up, down)), "never rises"),
        "fed": (Multi(Concat(up, x)), "free"),
        "crossing": (Multi(Concat(across, across)), "free"),
    }
    output = Concat([value.named(name) for name, (value, _) in kept.items()])
    types = {each.name: each.trends for each in inferred(output.program()).variables}
    assert {name: types[name] for name in kept} == {name: (trend,) for name, (_, trend) in kept.items()}


def test_alike_states_share_a_row() -> None:
    """Accumulators of one LinState with equal increments stand in one line, others in their own."""
    x = Input(3, lo=0, hi=1, integer=True)
    fed = Linear(x, [[1, 0, 0], [0, 1, 0], [0, 0, 2]])
    types = inferred(LinState(fed, ex.eye(3), ex.eye(3), init_state=[0, 0, 0]).named("kept").program())
    assert [(row.place, row.kind, row.starts) for row in types.rows()] == [
        ("kept[0:2]", "accumulator × 2", "0"),
        ("kept[2]", "accumulator", "0"),
    ]
    assert "state kept[2]" in types.describe()
