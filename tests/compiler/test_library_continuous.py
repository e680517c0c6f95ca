"""In-context approximation: error bound, prompts and the ramp beside a cell's boundary."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.interpreter import interpret
from compiler.loading import load_program
from compiler.programs import continuous
from compiler.programs.continuous import build_prompt, centres, error_bound, oracle, prompt

ONE_TO_ONE = {"d_in": mpq(1), "d_out": mpq(1)}


def slope(x: Sequence[mpq]) -> list[mpq]:
    """1/4 + x, of Lipschitz constant 1."""
    return [mpq(1, 4) + x[0]]


@settings(deadline=None, max_examples=40)
@given(cells=st.integers(1, 12), place=st.fractions(0, 1, max_denominator=997).filter(lambda x: x > 0))
def test_the_oracle_is_within_half_a_cell_of_a_lipschitz_function(cells: int, place: Fraction) -> None:
    """After the whole grid the output is off by at most δ·L/2, here with L = 1."""
    query = mpq(place)
    (answer,) = oracle(build_prompt([query], cells, slope), ONE_TO_ONE)[-1]
    assert abs(answer - slope([query])[0]) <= mpq(1, 2 * cells)


@pytest.mark.parametrize("d_in", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_prompts_functions_keep_to_their_error_bound(d_in: int, seed: int) -> None:
    """A random function differs between the query and its cell's centre by at most δ·L·√d_in/2."""
    cells = 5
    generator = np.random.default_rng(seed)
    function = continuous._smooth(generator, d_in, 3)
    query = [mpq(int(i), 1000) for i in generator.integers(1, 1001, size=d_in)]
    chosen = {"d_in": mpq(d_in), "d_out": mpq(3)}
    answer = oracle(build_prompt(query, cells, function), chosen)[-1]
    for got, wanted in zip(answer, function(query), strict=True):
        assert abs(got - wanted) <= mpq(error_bound(cells))
        assert abs(wanted) <= mpq(3, 4)


@pytest.mark.parametrize(("d_in", "d_out", "length"), [(1, 1, 500), (2, 2, 700), (3, 1, 300), (5, 2, 100)])
def test_prompts_keep_the_query_away_from_every_boundary(d_in: int, d_out: int, length: int) -> None:
    """The query stays further than 1/1000 from every cell's boundary, so no ramp of μ ≥ 1000 shows."""
    chosen = {"d_in": mpq(d_in), "d_out": mpq(d_out)}
    for seed in range(5):
        tokens = prompt(np.random.default_rng(seed), length, chosen)
        query = tokens[0, :d_in]
        corners = tokens[1:, 1 : 1 + d_in]
        for edge in (corners, corners + tokens[1:, :1]):
            assert abs(edge - query).min() > mpq(1, 1000)


def test_the_first_pass_gives_every_cell_once_in_random_order() -> None:
    """The grid of the first pass is complete, and two seeds order it differently."""
    first, second = (prompt(np.random.default_rng(seed), 1 + 15**2, {}) for seed in (0, 1))
    half = mpq(1, 30)
    for tokens in (first, second):
        assert {tuple(row + half) for row in tokens[1:, 1:3]} == set(centres(15, 2))
        assert set(tokens[1:, 0]) == {mpq(1, 15)}
    assert first[1:, 1:3].tolist() != second[1:, 1:3].tolist()


def test_later_passes_turn_one_function_into_the_next() -> None:
    """Every pass changes the output, which stays in [-1, 1] and returns to the first function's value."""
    cells = 15**2
    passes = 2 * continuous.FUNCTIONS + 1
    wanted = oracle(prompt(np.random.default_rng(2), 1 + passes * cells, {}), {})
    after = [wanted[(number + 1) * cells] for number in range(passes)]
    assert len(set(after[: continuous.FUNCTIONS])) == continuous.FUNCTIONS
    assert after[: continuous.FUNCTIONS] == after[continuous.FUNCTIONS : -1]
    assert after[-1] == after[0]
    assert all(abs(value) <= 1 for output in wanted for value in output)


@pytest.mark.parametrize("mu", [16, 1000])
def test_beside_the_lower_corner_the_ramp_gives_less(mu: int) -> None:
    """Less than 1/μ above a cell's corner the program falls short of the oracle; from 1/μ on it does not."""
    program = load_program("continuous", d_in=1, d_out=1)
    config = CompileConfig(mu=mpq(mu))
    corner = mpq(1, 2)
    for share, reached in ((mpq(1, 4), False), (mpq(1, 2), False), (mpq(1), True), (mpq(3, 2), True)):
        tokens = build_prompt([corner + share / mu], 4, slope)
        (wanted,) = oracle(tokens, ONE_TO_ONE)[-1]
        (got,) = interpret(program, tokens.tolist(), config)[-1]
        assert (got == wanted) == reached
        assert 0 <= got <= wanted == mpq(7, 8)


def test_a_query_at_zero_has_no_cell() -> None:
    """Cells are open below, so a query at 0 gets nothing, from the oracle as from the program."""
    tokens = build_prompt([mpq(0)], 3, slope)
    assert oracle(tokens, ONE_TO_ONE)[-1] == (mpq(0),)
    assert interpret(load_program("continuous", d_in=1, d_out=1), tokens.tolist())[-1] == (mpq(0),)


def test_a_grid_needs_a_query_and_a_cell() -> None:
    """An empty query or no cell is one error."""
    with pytest.raises(ConfigError, match="0 cells"):
        build_prompt([mpq(1, 2)], 0, slope)
    with pytest.raises(ConfigError, match="0 dimensions"):
        build_prompt([], 3, slope)
