"""Static findings name the line and come true when the program is run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq

from compiler import CompileConfig, compile_program, load_program, parse_program
from compiler.expr import Input, LinState
from compiler.ir import Program
from compiler.stdlib import f_ifelse, f_larger
from stability import drift, run
from stability.checks import Finding, check

Floats = npt.NDArray[np.float64]


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


# ---------------------------------------------------------------- states that grow

ONES = "    x = Input(dim=1, lo=1, hi=1, integer=true)\n"
SIGNS = "    x = Input(dim=1, lo=-1, hi=1)\n"


def body(*lines: str) -> Program:
    """A program of these lines."""
    return parse_program("ForEach:\n" + "".join(f"{line.rstrip()}\n" for line in lines), file="t.lsrl")


def state(A: str, *, start: str = "0", feed: str = ONES, B: str = "1") -> Program:
    """One state."""
    return body(feed, f"    s = LinState(x, A={A}, B={B}, init_state={start})", "    return s")


def infinite_from(program: Program, tokens: Floats, number_format: str) -> int:
    """The first step at which a run of the Linear RNN is not finite."""
    outputs = run(compile_program(program, "linear_rnn"), tokens, number_format)
    return int(np.argmax(~np.isfinite(outputs.astype(float)).all(axis=1)))


@pytest.mark.parametrize(("number_format", "step"), [("float16", 15), ("bfloat16", 127), ("float32", 127)])
def test_a_doubling_state_overflows_where_it_was_predicted_to(number_format: str, step: int) -> None:
    """s = 2 s + 1 is infinite at the predicted step of a run."""
    program = state("2")
    (finding,) = of_kind(check(program, format=number_format), "overflow")
    assert finding.step == step
    assert "grows by a factor of up to 2 a step" in finding.message
    assert f"at step {step}" in finding.message
    assert "spectral radius" in finding.remedy
    if number_format != "bfloat16":
        assert infinite_from(program, np.ones((200, 1)), number_format) == step
    assert not of_kind(check(program, format=number_format, length=step), "overflow")


def test_formats_without_infinities_and_without_rounding() -> None:
    """A format that saturates is said to; exact arithmetic has no findings of either kind."""
    program = state("2")
    for name, step, says in (
        ("e4m3-sat", 7, "saturates e4m3-sat (max 240)"),
        ("float8_e4m3fn", 8, "(max 448)"),
    ):
        (finding,) = of_kind(check(program, format=name), "overflow")
        assert finding.step == step
        assert says in finding.message
    assert not check(program, format="exact")


def test_a_doubling_state_loses_its_integers_where_it_was_predicted_to() -> None:
    """2^t − 1 is held up to 11 bits in float16: the next step is the measured horizon."""
    program = state("2")
    (finding,) = of_kind(check(program, format="float16", length=14), "counter")
    assert finding.step == 11
    outputs = run(compile_program(program, "linear_rnn"), np.ones((14, 1)), "float16")[:, 0]
    assert int(np.argmax(outputs.astype(float) != 2.0 ** np.arange(1, 15) - 1)) == 11


def test_spectral_growth_is_predicted_for_the_worst_prompt() -> None:
    """A growing rotation overflows float32 at the predicted step of the prompt that pushes it hardest."""
    program = state("1.25*rotation(2*pi/7)", start="[0, 0]", feed=SIGNS, B="[[1], [0]]")
    (finding,) = of_kind(check(program, format="float32", length=1000), "overflow")
    assert "1.25 a step" in finding.message
    assert finding.step is not None
    angle = 2 * np.pi / 7
    turn = 1.25 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pushes = np.array([np.linalg.matrix_power(turn, finding.step - k)[:, 0] for k in range(finding.step + 1)])
    measured = [
        infinite_from(program, np.append(np.sign(push), np.zeros(9))[:, np.newaxis], "float32")
        for push in pushes.T
    ]
    assert min(measured) == finding.step


@pytest.mark.parametrize(
    ("program", "length"),
    [
        (state("rotation(2*pi/7)", start="[1, 0]", B="zeros(2, 1)"), 100_000),
        (state("[[1/2, 1/3], [0, 1/2]]", start="[1, 1]", B="[[1], [1]]"), 100_000),
        (state("cycle(3)", start="[1, 0, 0]", B="zeros(3, 1)"), 100_000),
    ],
    ids=["rotation", "decay", "ring"],
)
def test_states_that_do_not_grow_are_no_finding(program: Program, length: int) -> None:
    """A rotation, a decay and a ring keep their size, whatever the sums of |A|'s entries are."""
    assert not check(program, format="float16", length=length)


def test_powers_of_two_lose_no_bits() -> None:
    """A state that nothing feeds is followed exactly: doubling overflows, and is right until then."""
    free = state("2", start="1", B="0")
    assert [each.kind for each in check(free, format="float16")] == ["overflow"]
    fibonacci = state("[[1, 1], [1, 0]]", start="[1, 0]", B="zeros(2, 1)")
    (finding,) = of_kind(check(fibonacci, format="float16"), "counter")
    held = [1, 1]
    while float(np.float16(held[-1])) == held[-1]:
        held.append(held[-1] + held[-2])
    assert finding.step == len(held) - 2


def test_other_sums_are_counters_too() -> None:
    """A sum of sums, in one state or in two, and of multiples of 3, stop where integers end."""
    pair = state("[[1, 1], [0, 1]]", start="[0, 0]", B="[[0], [1]]")
    (finding,) = of_kind(check(pair, format="float16", length=300), "counter")
    assert finding.step == 64  # 64·65/2 = 2080
    chain = body(
        ONES, "    s = LinState(x, A=1, B=1, init_state=0)", "    u = LinState(s, A=1, B=1, init_state=0)",
        "    return u",
    )  # fmt: skip
    (counter,) = of_kind(check(chain, format="float16", length=300), "counter")
    assert "u adds up" in counter.message
    assert 0 < (counter.step or 0) <= 64
    threes = state("1", B="3")
    (finding,) = of_kind(check(threes, format="float16"), "counter")
    assert finding.step == 682
    assert float(np.float16(3 * 683)) != 3 * 683


def test_growth_without_a_range_is_told_with_what_is_taken_for_it() -> None:
    """Where nothing bounds the input, an input of 1 is assumed, and the message says so."""
    program = state("2", feed="    x = Input(dim=1)")
    (finding,) = check(program, format="float16")
    assert (finding.kind, finding.step) == ("overflow", 15)
    assert "fed with values up to 1 (what feeds it has no range)" in finding.message
    assert "declare the range of the Input" in finding.remedy
    assert not check(program, format="float16", length=10)
    assert not check(state("1", feed="    x = Input(dim=1)"), format="float16")


def test_an_overflow_behind_a_state_is_found_at_its_own_step() -> None:
    """100 s overflows before s does: both steps are told."""
    program = body(ONES, "    s = LinState(x, A=1, B=1, init_state=0)", "    y = 100*s", "    return y")
    steps = [each.step for each in of_kind(check(program, format="float16", length=70_000), "overflow")]
    assert steps == [65_519, 655]
