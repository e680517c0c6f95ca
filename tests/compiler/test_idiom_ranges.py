"""An idiom's own range is a theorem: where its precondition fails it is not used.

Each program here once compiled to a wrong model, because a range was declared that the
construction does not keep.
"""

from __future__ import annotations

import itertools

import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import ir
from compiler.compiling import TARGET_NAMES, compile_program, settle
from compiler.config import COMPLEMENTS, CONDITIONALS, STEPS, CompileConfig
from compiler.errors import CompileRefusal, ProgramError
from compiler.evaluate import evaluate
from compiler.exact import Vector
from compiler.expr import Concat, Input, Variable, assume
from compiler.interpreter import interpret
from compiler.lowering import lower
from compiler.stdlib import f_and, f_bump, f_constant, f_ifelse, f_larger, f_smaller
from stability.fuzz import programs, prompts
from stability.range_check import find_violation

GRID = [list(map(mpq, pair)) for pair in itertools.product(range(5), range(5))]


def assert_exact(program: ir.Program, tokens: list[list[mpq]] | list[Vector], config: CompileConfig) -> None:
    """Every target that does not refuse the program gives the interpreter's rationals."""
    for target in TARGET_NAMES:
        settled = settle(config, target)
        try:
            model = compile_program(program, target, settled)
        except CompileRefusal:
            continue
        assert evaluate(model, tokens) == interpret(program, tokens, settled), (target, settled)


def two_integers() -> Variable:
    """A token of two integers from 0 to 4."""
    return Input(2, lo=0, hi=4, integer=True)


@pytest.mark.parametrize("conditional", [None, *CONDITIONALS])
@pytest.mark.parametrize("complement", COMPLEMENTS)
@pytest.mark.parametrize("reduce", [False, True])
def test_a_condition_and_its_opposite_may_both_fail(
    conditional: str | None, complement: str, *, reduce: bool
) -> None:
    """At x = y f_larger and f_smaller are both 0: the value is neither t nor f, and no range says so."""
    config = CompileConfig(conditional=conditional, complement=complement, reduce=reduce)  # type: ignore[arg-type]
    x = two_integers()
    v = f_ifelse(f_larger(x[0], 2), 3, 5)
    for program in (
        ((v - 3) * (x[1] - 2)).program(),
        f_larger(v, 2).program(),
        (f_larger(f_larger(v, 0), mpq(1, 2)) + v).program(),
        (f_ifelse(f_and(x[0] / 2, 1), 1, 1) * (x[1] - 2)).program(),
    ):
        assert_exact(program, GRID, config)


@pytest.mark.parametrize("complement", COMPLEMENTS)
def test_a_ramp_is_no_complement(complement: str) -> None:
    """On the ramps of a real comparison c and its opposite do not add up to 1."""
    x = Input(2, lo=-1, hi=1)
    v = f_ifelse(f_larger(x[0], 0), 4, 4)
    tokens = [[mpq(a, 4096), mpq(b)] for a in (-3, -1, 0, 1, 2, 4096) for b in (-1, 1)]
    assert_exact(((v - 3) * x[1]).program(), tokens, CompileConfig(complement=complement))  # type: ignore[arg-type]


def test_the_two_sides_of_a_bump_have_one_slope() -> None:
    """A bump over sides of different lattices stays within [0, 1], and is exact on every target."""
    x = Input(2, lo=-1, hi=1)
    k = assume(x[1], integer=True)
    bump = f_bump(Concat(x[0], k), f_constant(x, [0, 0]), f_constant(x, [0, mpq(4095, 4096)]))
    tokens = [[mpq(a, 10_000), mpq(b)] for a in (5, 3000, 1, -1, 9999) for b in (-1, 0, 1)]
    program = (bump[0] * k).program()
    for step in STEPS:
        assert_exact(program, tokens, CompileConfig(step=step))
        assert find_violation(program, [tokens], CompileConfig(step=step)) is None


@pytest.mark.parametrize("conditional", CONDITIONALS)
def test_a_lambda_that_is_too_small_gives_no_range(conditional: str) -> None:
    """Where λ does not cover the branches the value is not said to lie between them."""
    config = CompileConfig(conditional=conditional)  # type: ignore[arg-type]
    x = two_integers()
    v = f_ifelse(f_larger(x[0], 2), x[1], x[1], lam=1)
    assert_exact(((4 - v) * (x[0] - 1)).program(), GRID, config)
    w = f_ifelse(f_larger(x[0], 2), 5, 3, lam=1)
    assert_exact((f_larger(f_larger(w, 0), mpq(1, 2)) + w).program(), GRID, config)


def test_decided_comparisons_keep_their_range() -> None:
    """With thresholds between the values, the opposite idiom is the complement and the range is used."""
    x = two_integers()
    for cond in (f_larger(x[0], 2.5), f_smaller(x[0], 1.5), f_and(f_larger(x[0], 1.5), f_smaller(x[1], 2.5))):
        lowered = lower(f_ifelse(cond, x[1], 0).program(), CompileConfig.named("paper"))
        assert str(lowered.node_ranges(lowered.program.output)[0]) == "[0, 4] integer"
        assert not [note for note in lowered.notes if note.kind == "range"]


def test_a_false_range_of_a_constant_is_an_error() -> None:
    """assume on a value that is constant is checked when compiling."""
    x = two_integers()
    for wrong in (assume(x[0] - x[0] + 3, lo=5), assume(f_constant(x, mpq(1, 2)), integer=True)):
        with pytest.raises(ProgramError, match="leaves no value"):
            lower(wrong.program())


@given(st.data())
def test_random_idioms_on_reals_are_exact(data: st.DataObject) -> None:
    """Programs whose comparisons cannot saturate are exact too, under every configuration."""
    config = CompileConfig(
        step=data.draw(st.sampled_from(STEPS)),
        mu=data.draw(st.sampled_from(("auto", 2, 1000))),
        lam=data.draw(st.sampled_from(("auto", 1, 10**10))),
        conditional=data.draw(st.sampled_from((None, *CONDITIONALS))),
        complement=data.draw(st.sampled_from(COMPLEMENTS)),
        reduce=data.draw(st.booleans()),
    )
    program = data.draw(programs("ramps"))
    try:
        assert_exact(program, data.draw(prompts(program, max_length=8)), config)
    except CompileRefusal as refusal:
        assert "mu ≥ 2" in str(refusal)  # noqa: PT017
