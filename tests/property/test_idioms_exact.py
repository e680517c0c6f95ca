"""Programs made of idioms: exact on every target, under every configuration."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compiler import ir
from compiler.compiling import TARGET_NAMES, compile_program, settle
from compiler.config import COMPLEMENTS, CONDITIONALS, STEPS, CompileConfig
from compiler.errors import CompileRefusal
from compiler.evaluate import evaluate
from compiler.interpreter import interpret
from compiler.lowering import lower
from stability.fuzz import programs, prompts
from stability.range_check import find_violation

CONFIGS = st.builds(
    CompileConfig,
    step=st.sampled_from(STEPS),
    mu=st.sampled_from(("auto", 1000)),
    conditional=st.sampled_from((None, *CONDITIONALS)),
    complement=st.sampled_from(COMPLEMENTS),
    reduce=st.booleans(),
)


@given(st.data())
def test_idioms_compile_exactly(data: st.DataObject) -> None:
    """Random programs of idioms equal the interpreter on every target that does not refuse them."""
    program, config = data.draw(programs("idioms")), data.draw(CONFIGS)
    tokens = data.draw(prompts(program, max_length=8))
    for target in TARGET_NAMES:
        settled = settle(config, target)
        try:
            model = compile_program(program, target, settled)
        except CompileRefusal as refusal:
            assert any(word in str(refusal) for word in ("is a product", "known bound"))  # noqa: PT017
            continue
        assert evaluate(model, tokens) == interpret(program, tokens, settled), (target, settled)


@given(st.data())
def test_conditionals_agree_where_conditions_saturate(data: st.DataObject) -> None:
    """Step form, conditional, complement, μ and reduction change no value of an integer program."""
    program = data.draw(programs("idioms"))
    tokens = data.draw(prompts(program, max_length=8))
    wanted = interpret(program, tokens)
    assert interpret(program, tokens, data.draw(CONFIGS)) == wanted


@given(st.data())
def test_ranges_of_idioms_hold(data: st.DataObject) -> None:
    """Every range declared for an idiom or inferred from it holds in a checking run."""
    program, config = data.draw(programs("idioms")), data.draw(CONFIGS)
    assert find_violation(program, [data.draw(prompts(program, max_length=8))], config) is None


@given(programs("idioms"))
def test_integer_programs_are_recognised(program: ir.Program) -> None:
    """Every output of a program of idioms over integers is known to be an integer."""
    lowered = lower(program)
    assert all(extent.integer for extent in lowered.node_ranges(lowered.program.output))
