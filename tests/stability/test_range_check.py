"""A checking run finds the first false declaration, and none where all are true."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler import CompileConfig, load_program
from compiler.expr import Input, LinState, assume
from compiler.library import LIBRARY
from compiler.stdlib import f_bump, f_larger
from stability.fuzz import programs, prompts
from stability.range_check import find_violation


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
