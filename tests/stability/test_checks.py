"""Static findings name the line and come true when the program is run."""

from __future__ import annotations

import pytest
from gmpy2 import mpq

from compiler import CompileConfig, load_program
from compiler.expr import Input, LinState
from compiler.stdlib import f_ifelse, f_larger
from stability import drift
from stability.checks import Finding, check


def of_kind(findings: list[Finding], kind: str) -> list[Finding]:
    """The findings of one kind."""
    return [each for each in findings if each.kind == kind]


def test_the_paper_constants_overflow_float16_and_nothing_else() -> None:
    """λ = 1e10 is found in float16, with the line of its conditional, and not in float32."""
    program = load_program("modulo")
    config = CompileConfig.named("paper").with_conditional("optimized")
    (finding,) = of_kind(check(program, config, format="float16"), "overflow")
    assert "1e+10 overflows float16 (max 65504)" in finding.message
    assert finding.span is not None
    assert finding.span.file == "modulo.lsrl"
    assert "lam=auto" in finding.remedy
    assert not of_kind(check(program, config, format="float32"), "overflow")
    assert not of_kind(check(program, config, format="mpmath50"), "overflow")


def test_an_overflow_that_depends_on_the_length_is_found_at_that_length() -> None:
    """μ·lead overflows float16 only where the prompt is long enough for the lead to reach 66."""
    program = load_program("majority")
    config = CompileConfig.named("paper")
    assert not of_kind(check(program, config, format="float16", length=60), "overflow")
    assert of_kind(check(program, config, format="float16", length=70), "overflow")


def test_a_counter_stops_where_it_was_predicted_to() -> None:
    """A float16 counter is exact up to the predicted step and wrong soon after it."""
    x = Input(1, lo=1, hi=1, integer=True)
    program = LinState(x, [[1]], [[1]], init_state=[0]).named("count").program()
    (finding,) = of_kind(check(program, format="float16", length=5000), "counter")
    assert finding.step == 2048
    assert "count adds up to 1 a step" in finding.message
    assert not check(program, format="float16", length=2000)
    assert not check(program, format="float32", length=5000)


def test_the_predicted_step_is_the_measured_horizon(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The step predicted for a counter is the first wrong step of the run."""
    path = tmp_path_factory.mktemp("program") / "count.lsrl"
    path.write_text(
        "ForEach:\n    x = Input(dim=1, lo=1, hi=1, integer=true)\n"
        "    return LinState(x, A=eye(1), B=eye(1), init_state=zeros(1, 1))\n"
    )
    predicted = of_kind(check(load_program(str(path)), format="float16", length=3000), "counter")[0].step
    frame = drift(
        [str(path)], targets=["linear_rnn"], formats=["float16"], configs=["stable"], length=3000, jobs=1
    )
    assert set(frame["horizon"]) == {predicted}


def test_an_unsaturated_comparison_is_a_finding() -> None:
    """A μ that leaves a comparison on its ramp is reported with the μ that would not."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = f_larger(x, mpq(1, 2)).program()
    (finding,) = check(program, CompileConfig(mu=1))
    assert finding.kind == "unsaturated"
    assert "mu ≥ 2" in finding.remedy
    assert not check(program, CompileConfig(mu=2))


def test_findings_stand_in_source_order() -> None:
    """Findings are sorted by line and each is given once."""
    findings = check(
        load_program("dictionary"), CompileConfig.named("paper"), format="float16", target="relu_rnn"
    )
    spans = [each.span for each in findings]
    assert spans == sorted(spans, key=lambda span: (span.line, span.column) if span else (0, 0))
    assert len({(each.kind, each.span, each.message) for each in findings}) == len(findings)


def test_the_conditional_is_that_of_the_target() -> None:
    """Without a conditional in the configuration, the target settles it: λ matters to ungated ones only."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = f_ifelse(f_larger(x, 4.5), x, 0).program()
    config = CompileConfig.named("paper")
    assert of_kind(check(program, config, format="float16", target="relu_rnn"), "overflow")
    assert not of_kind(check(program, config, format="float16", target="lstm"), "overflow")
