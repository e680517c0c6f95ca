"""Models with real sigmoid and tanh: exact where it is said, inside their bound everywhere."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import ir
from compiler.compiling import build_native, compile_program, settle
from compiler.config import CompileConfig
from compiler.errors import CompileRefusal, ConfigError
from compiler.exact import Vector
from compiler.formats import BFLOAT16, FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT16, FLOAT32, FLOAT64, Format
from compiler.interpreter import interpret
from compiler.loading import load_program
from compiler.lowering import lower
from compiler.model_file import load_model, model_hash, save_model
from compiler.real_gates import NativeGates, RealGates, decay
from compiler.real_gates.report import describe
from compiler.text import parse_program
from stability.fuzz import programs, prompts
from tests.compiler import native_twin

FORMATS = (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)
HEAD = "ForEach:\n    x = Input(dim=1, lo=0, hi=3, integer=true)\n"


def built(program: ir.Program, target: str, gates: NativeGates) -> RealGates:
    """The record of a compilation."""
    return build_native(lower(program, settle(CompileConfig(), target)), target, gates)


def source(body: str) -> ir.Program:
    """A program over x, an integer from 0 to 3."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return parse_program(HEAD + lines, file="test.lsrl")


def bounded(program: ir.Program) -> ir.Program:
    """The program with tokens of at most 3 beyond the bound that they have."""
    first = program.nodes[0]
    assert isinstance(first, ir.Input)
    said = first.declared or ir.Declaration()
    lo = said.lo if said.lo is not None else (said.hi or mpq(0)) - 3
    hi = said.hi if said.hi is not None else lo + 6
    return replace(program, nodes=(replace(first, declared=replace(said, lo=lo, hi=hi)), *program.nodes[1:]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[ir.Program, list[Vector], str, Format]:
    """A random program that real gates can carry or refuse, a prompt, a target and a format."""
    program = bounded(
        draw(programs(draw(st.sampled_from(["affine", "relu", "stateful", "gated", "idioms"]))))
    )
    return (
        program,
        draw(prompts(program)),
        draw(st.sampled_from(["lstm", "gru"])),
        draw(st.sampled_from(FORMATS)),
    )


@given(cases())
def test_random_programs_stay_inside_their_bound(
    case: tuple[ir.Program, list[Vector], str, Format],
) -> None:
    """Whatever is compiled is at no step farther from the exact value than its bound says."""
    program, tokens, target, fmt = case
    gates = NativeGates(format=fmt, length=max(1, len(tokens)))
    try:
        record = built(program, target, gates)
    except CompileRefusal:
        return
    if not all(bound < math.inf for bound in record.outputs):
        return
    model = compile_program(program, target, native=gates)
    got = native_twin.run(model, fmt, tokens)
    for values, wanted in zip(got, interpret(program, tokens), strict=True):
        for value, true, bound in zip(values, wanted, record.outputs, strict=True):
            assert abs(value - true) <= bound


@pytest.mark.parametrize("target", ["lstm", "gru"])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_a_proved_zero_is_zero(target: str, fmt: Format) -> None:
    """dictionary_exact is proved exact in every format, and its cells give the very integers."""
    program = load_program("dictionary_exact", n=2, V=9)
    gates = NativeGates(format=fmt, length=1000)
    assert built(program, target, gates).outputs == (0.0,)
    tokens = [(mpq(int(v)),) for v in [4, 2, 4, 1, 7, 8, 4, 2, 9, 3, 1, 1, 5, 6]]
    model = compile_program(program, target, native=gates)
    assert native_twin.run(model, fmt, tokens) == interpret(program, tokens)


@pytest.mark.parametrize(
    ("body", "roles"),
    [
        ("return LinState(x, A=[[1]], B=[[1]], init_state=zeros(1, 1))", ["sum"]),
        ("return f_ring_counter(x, 3)", ["flag"] * 3),
        ("return LinState(x, A=cycle(2), B=zeros(2, 1), init_state=[[5], [2]])", ["linear"] * 2),
        ("return ReLU(x - 1)", ["switched"]),
        ("return ReLU(x - 2)", ["flag"]),
        ("return ReLU(x + 2)", ["linear"]),
    ],
)
def test_types_decide_encodings(body: str, roles: list[str]) -> None:
    """Booleans saturate, accumulators use the cell, other states h, ReLUs of integers a gate."""
    record = built(source(body), "lstm", NativeGates(length=100))
    assert [each.unit.role for each in record.layers[-1]] == roles


def test_a_gate_of_two_values_is_a_gate() -> None:
    """A factor of −1 or 1 is two switched units, one for each sign, and exact."""
    program = source("sign = assume(1 - x, lo=-1, hi=1)\nreturn Multi(Concat(2 * f_int_ge(x, 2) - 1, x))")
    record = built(program, "gru", NativeGates(length=10))
    assert record.outputs == (0.0,)
    tokens = [(mpq(v),) for v in (0, 3, 1, 2, 2, 0)]
    model = compile_program(program, "gru", native=NativeGates(length=10))
    assert native_twin.run(model, FLOAT32, tokens) == [(v,) for v in (mpq(0), mpq(3), mpq(-1), 2, 2, mpq(0))]


@pytest.mark.parametrize(
    ("program", "target", "gates", "words"),
    [
        ("return Multi(Concat(x, x))", "lstm", NativeGates(), ["gate of 0 or 1", "test.lsrl:3", "assume("]),
        (
            "return LinState(x, A=[[2]], B=[[1]], init_state=zeros(1, 1))", "gru", NativeGates(),
            ["no bound within 100000 tokens", "test.lsrl:3", "assume("],
        ),
        (
            "return LinState(x, A=[[1]], B=[[1]], init_state=zeros(1, 1))", "lstm",
            NativeGates(format=FLOAT16), ["does not tell its values apart", "--gate-length"],
        ),
        (
            "return ReLU(ReLU(1000 * x - 1000) - x)", "lstm", NativeGates(format=FLOAT16),
            ["no window", "a format with a wider range"],
        ),
        (
            "return ReLU(x + 2)", "lstm", NativeGates(epsilon=mpq(1, 2)),
            ["where tanh bends", "smaller epsilon"],
        ),
        (
            "return ReLU(x - 1)", "gru", NativeGates(format=FLOAT16, gain=mpq(60000)),
            ["K = 60000 overflows float16", "auto"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused(
    program: str, target: str, gates: NativeGates, words: list[str]
) -> None:
    """A refusal names the line, the reason and the way out."""
    with pytest.raises(CompileRefusal) as refusal:
        built(source(program), target, gates)
    assert all(word in str(refusal.value) for word in words)


def test_tokens_need_a_range() -> None:
    """Without a declared range of the tokens there is no ε."""
    program = parse_program("ForEach:\n    x = Input(dim=2, lo=0)\n    return x\n", file="open.lsrl")
    with pytest.raises(CompileRefusal, match="how large a token is"):
        built(program, "lstm", NativeGates())


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 0}, {"length": 10**10}, {"epsilon": mpq(1, 3)}, {"epsilon": mpq(2)}, {"epsilon": "small"},
        {"gain": mpq(2)}, {"gain": mpq(-1)},
    ],
)  # fmt: skip
def test_wrong_choices_are_refused(wrong: dict[str, object]) -> None:
    """Lengths, ε and K outside their bounds are configuration errors."""
    with pytest.raises(ConfigError):
        NativeGates(**wrong)  # type: ignore[arg-type]


def test_only_lstm_and_gru_have_real_gates() -> None:
    """Another target is refused by name."""
    with pytest.raises(ConfigError, match="relu_rnn has no sigmoid"):
        compile_program(source("return x + 0"), "relu_rnn", native=NativeGates())


def test_the_model_file_keeps_real_gates(tmp_path: Path) -> None:
    """Saved and loaded, a model has the same hash, activation, b_hn and scales."""
    for target in ("lstm", "gru"):
        model = compile_program(load_program("parity", digits=3), target, native=NativeGates(length=50))
        digest = save_model(model, tmp_path / target)
        again = load_model(tmp_path / target)
        assert again.activation == "native"
        assert model_hash(again) == digest
        assert [layer.bias_hn for layer in again.layers] == [layer.bias_hn for layer in model.layers]
        assert again.labels == model.labels
    relu = compile_program(load_program("parity", digits=3), "gru")
    assert model_hash(relu) != digest


def test_the_report_says_what_was_chosen() -> None:
    """ε, K, leak, decay and bound are printed, and a decay above the identity with its law."""
    ring = source("return LinState(x, A=cycle(3), B=zeros(3, 1), init_state=[[3], [0], [1]])")
    said = describe(built(ring, "lstm", NativeGates(length=1000)))
    assert "decay: none" in said[4]
    assert said[5] == "error bound: 0, every output is exact"
    bent = describe(built(ring, "lstm", NativeGates(length=1000, epsilon=mpq(1, 8))))
    left = decay(mpq(3), mpq(1, 8), 1000, 2)
    assert f"falls from 3 to {left:.6g} in 1,000 tokens" in bent[4]
    assert 3 / math.sqrt(1 + 4 / 3 * (3 / 8) ** 2 * 1000) == pytest.approx(left)


def test_a_threshold_that_may_be_crossed_is_named() -> None:
    """Where no bound is proved, the report names the variable and line whose comparison fails first."""
    program = load_program("modulo")
    said = describe(built(program, "lstm", NativeGates(format=FLOAT32, length=10**6)))[-1]
    assert "none proved" in said
    assert "modulo.lsrl:7" in said


def worst_error(program: ir.Program, target: str, gates: NativeGates, tokens: list[Vector]) -> float:
    """The largest error of any output; inf where one is no number."""
    model = compile_program(program, target, native=gates)
    try:
        got = native_twin.run(model, gates.format, tokens)
    except (OverflowError, ValueError):
        return math.inf
    wanted = interpret(program, tokens)
    return float(max(abs(a - b) for x, y in zip(got, wanted, strict=True) for a, b in zip(x, y, strict=True)))


def over(body: str, lo: str, hi: str, *, integer: bool = True) -> ir.Program:
    """A program over x from ``lo`` to ``hi``."""
    kind = ", integer=true" if integer else ""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return parse_program(f"ForEach:\n    x = Input(dim=1, lo={lo}, hi={hi}{kind})\n{lines}", file="t.lsrl")


ACCUMULATOR = "return LinState({}, A=[[1]], B=[[1]], init_state=zeros(1, 1))"
THIRDS = [(mpq(1, 3),)] * 600


@pytest.mark.parametrize("target", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("program", "gates", "tokens"),
    [
        (over("return 3*x", "0", "1000"), NativeGates(format=FLOAT16, length=3), [(mpq(999),), (mpq(683),)]),
        (source("return ReLU(x - 2)"), NativeGates(length=4, gain=mpq(8)), [(mpq(v),) for v in range(4)]),
        (
            source(ACCUMULATOR.format("ReLU(x - 1)")), NativeGates(length=40, gain=mpq(8)),
            [(mpq(v % 4),) for v in range(40)],
        ),
        (source(ACCUMULATOR.format("x")), NativeGates(length=300, epsilon=mpq(1, 2**11)), [(mpq(3),)] * 300),
        (
            over("return LinState(x, A=[[1,0],[1,0]], B=[[1],[0]], init_state=zeros(2, 1))", "0", "1",
                 integer=False),
            NativeGates(format=BFLOAT16, length=600), THIRDS,
        ),
        (
            source("return LinState(x, A=cycle(2), B=[[1],[0]], init_state=zeros(2, 1))"),
            NativeGates(format=Format(name="e10m3", precision=4, exponent_bits=10), length=2),
            [(mpq(1),), (mpq(0),)],
        ),
        (
            over("return ReLU(x)", "-1", "1/1000", integer=False),
            NativeGates(format=FLOAT16, length=600), [(mpq(-1, 2),)] * 600,
        ),
    ],
    ids=["multiples of 3", "a low gain", "a low gain of a sum", "above the identity", "beside a sum",
         "a wide exponent", "a real ReLU that is shut"],
)  # fmt: skip
def test_errors_that_are_easily_overlooked(
    program: ir.Program, target: str, gates: NativeGates, tokens: list[Vector]
) -> None:
    """Lattices without room, leaking gates, values that decay, sums among other states: all bounded."""
    bound = max(built(program, target, gates).outputs)
    assert worst_error(program, target, gates, tokens) <= bound


@pytest.mark.parametrize("target", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("program", "fmt"),
    [
        (over("return 100*ReLU(x - 1)", "0", "600"), FLOAT16),
        (over("return x + 1", "0", "1000000", integer=False), FLOAT16),
        (over("return x", "0", "20"), Format(name="e3m4", precision=5, exponent_bits=3)),
    ],
    ids=["the readout's weights", "tokens", "integers that the digits would hold"],
)
def test_what_may_overflow_has_no_bound(program: ir.Program, target: str, fmt: Format) -> None:
    """Weights, tokens and sums beyond the format's largest value give no bound, and that is said."""
    record = built(program, target, NativeGates(format=fmt, length=3))
    assert record.outputs == (math.inf,)
    assert f"may overflow {fmt.name}" in describe(record)[-1]


@pytest.mark.parametrize("target", ["lstm", "gru"])
def test_a_start_that_only_others_read_is_kept(target: str) -> None:
    """A register's first cell, which does not read itself, starts with its own value."""
    program = source("return LinState(x, A=[[0,0],[1,0]], B=[[1],[0]], init_state=[[5],[2]])")
    gates = NativeGates(length=20)
    assert built(program, target, gates).outputs == (0.0, 0.0)
    assert worst_error(program, target, gates, [(mpq(v),) for v in (1, 2, 3)]) == 0


@pytest.mark.parametrize("target", ["lstm", "gru"])
@pytest.mark.parametrize("digits", [3, 5], ids=["e3m2", "e3m4"])
def test_saturation_keeps_within_the_format(target: str, digits: int) -> None:
    """The constants that hold gates open, cells loaded and flags pushed are finite in a small format."""
    fmt = Format(name="e3", precision=digits, exponent_bits=3)
    program, gates = over("return f_larger(x, 0.5)", "0", "1"), NativeGates(format=fmt, length=3)
    model = compile_program(program, target, native=gates)
    for layer in model.layers:
        for values in (layer.bias, layer.initial_cell, layer.bias_hn):
            assert max(map(abs, values), default=0) <= fmt.largest
    narrow = replace(gates, format=Format(name="e2m5", precision=6, exponent_bits=2))
    with pytest.raises(CompileRefusal, match="no number whose sigmoid"):
        built(program, target, narrow)
    assert NativeGates(format=FLOAT8_E4M3FN).saturation == 208


def test_decay_is_said_of_what_decays() -> None:
    """An accumulator of the GRU passes tanh, the LSTM's does not, and what a register holds leaves it."""
    bent = NativeGates(length=100, epsilon=mpq(1, 2**11))
    total, register = (
        source(ACCUMULATOR.format("x")),
        source("return LinState(x, A=[[0,0],[1,0]], B=[[1],[0]], init_state=[[5],[2]])"),
    )
    assert "falls from 300" in describe(built(total, "gru", bent))[4]
    assert "nothing is fed back" in describe(built(total, "lstm", bent))[4]
    assert "nothing is fed back" in describe(built(register, "gru", bent))[4]


def test_what_is_exact_stays_exact_however_long() -> None:
    """An exact sum has error 0 where an error would grow without bound."""
    program = over("s = LinState(ReLU(x - 1), A=[[1]], B=[[1]], init_state=[[2]])\nreturn 2*s", "0", "1")
    gates = NativeGates(format=FLOAT8_E5M2, length=10**6)
    record = built(program, "lstm", gates)
    assert record.outputs == (0.0,)
    assert record.of_role("sum")


def test_a_huge_range_is_refused_in_one_line() -> None:
    """Values beyond float64 are named in the refusal, not a crash."""
    with pytest.raises(CompileRefusal, match=r"up to 1\.6e\+401"):
        built(over(ACCUMULATOR.format("x"), "0", "2e400"), "lstm", NativeGates(length=8))
