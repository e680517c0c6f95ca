"""How far states come: every state lies inside the bounds, and comes to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.config import CompileConfig
from compiler.expr import Input, LinState
from compiler.lowering import lower
from stability import reach as module
from stability.reach import Extents, Reach, reach

Floats = npt.NDArray[np.float64]

ZERO, ONE = np.zeros(2), np.ones(2)
TURN = np.array([[0.6, -0.8], [0.8, 0.6]])


def numbers(size: int) -> st.SearchStrategy[Floats]:
    """A vector of halves from −2 to 2."""
    return st.lists(st.integers(-4, 4), min_size=size, max_size=size).map(lambda each: np.array(each) / 2)


def walked(matrix: Floats, initial: Floats, drives: Floats) -> Floats:
    """The state after the last of ``drives``, (T, n)."""
    state = initial
    for drive in drives:
        state = matrix @ state + drive
    return state


@given(numbers(9), numbers(3), numbers(3), numbers(3), st.integers(1, 12), st.integers(0, 2))
def test_bounds_hold_and_are_reached(
    entries: Floats, initial: Floats, one: Floats, other: Floats, steps: int, coordinate: int
) -> None:
    """The drives that push a coordinate hardest bring it to its bound, and no prompt beyond it."""
    matrix, low, high = entries.reshape(3, 3), np.minimum(one, other), np.maximum(one, other)
    found = reach(matrix, initial, low, high, steps)
    pushes = [np.linalg.matrix_power(matrix, steps - 1 - k)[coordinate] for k in range(steps)]
    best = walked(matrix, initial, np.array([np.where(push > 0, high, low) for push in pushes]))[coordinate]
    before = found.after(steps - 1)[1][coordinate] if steps > 1 else -np.inf
    assert np.isclose(max(before, best), found.after(steps)[1][coordinate])


def test_a_rotation_does_not_grow_and_a_decay_settles() -> None:
    """Powers that keep their size bound a free state for ever; those that vanish end the walk."""
    low, high = reach(TURN, ONE, ZERO, ZERO, 100_000).after(100_000)
    assert (np.abs([low, high]) <= np.sqrt(2) + 1e-9).all()
    decay = reach(np.eye(2) * 0.5, ZERO, -ONE, ONE, 10**9)
    assert decay.lengths[-1] < 200
    assert decay.after(10**9)[1] == pytest.approx([2, 2])


def test_growth_ends_beyond_float64_and_leaves_others_alone() -> None:
    """A coordinate that overflows does not spoil one that it does not feed."""
    found = reach(np.array([[3.0, 1.0], [0.0, 0.5]]), ONE, ZERO, ONE, 5_000)
    low, high = found.after(5_000)
    assert np.isinf(high[0])
    assert high[1] == pytest.approx(2)
    assert low[1] >= 0


@pytest.mark.parametrize("matrix", [TURN, np.eye(2), np.array([[1.0, 1.0], [0.0, 1.0]])])
def test_doubling_contains_what_single_steps_give(matrix: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the steps that are computed one by one, bounds are wider, never narrower."""
    exact = reach(matrix, ONE, -ONE, 2 * ONE, 1000)
    monkeypatch.setattr(module, "MOST_STEPS", 100)
    coarse = reach(matrix, ONE, -ONE, 2 * ONE, 1000)
    assert len(coarse.lengths) < 110
    for length in (50, 100, 101, 400, 1000):
        (low, high), (wide_low, wide_high) = exact.after(length), coarse.after(length)
        assert (wide_low <= low + 1e-9).all()
        assert (wide_high >= high - 1e-9).all()


def test_bounds_of_a_long_prompt_hold_for_a_short_one() -> None:
    """The first length at which a limit is passed is found among all of them."""
    found = reach(np.array([[2.0]]), np.zeros(1), np.zeros(1), np.ones(1), 50)
    assert [found.after(length)[1][0] for length in (1, 2, 3)] == [1, 3, 7]
    assert found.first_beyond(100) == 7
    assert found.first_beyond(1e300) is None
    assert isinstance(found, Reach)


def test_the_first_length_of_a_program() -> None:
    """What holds from some length on is found at that length; a chain counts what feeds it."""
    x = Input(1, lo=0, hi=1, integer=True)
    count = LinState(x, [[1]], [[1]], init_state=[0])
    squares = LinState(count, [[1]], [[1]], init_state=[0]).named("squares")
    graph = lower(squares.program(), CompileConfig()).graph
    extents = Extents(graph, 1000)
    symbol = graph.groups[-1].symbols[0]
    assert extents.after(10)[symbol].hi == 100
    assert extents.first(lambda known: (known[symbol].hi or 0) > 99) == 10
    assert extents.first(lambda known: (known[symbol].hi or 0) > 10**9) is None
