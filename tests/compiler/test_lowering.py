"""Idioms expand to what the language reference says, under every configuration."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from gmpy2 import mpq

from compiler import ir
from compiler.config import COMPLEMENTS, CONDITIONALS, STEPS, CompileConfig, Conditional
from compiler.errors import CompileRefusal, ConfigError
from compiler.expr import Concat, Input, LinState, Variable, assume
from compiler.interpreter import interpret
from compiler.lowering import Lowered, lower
from compiler.stdlib import (
    f_and,
    f_bump,
    f_delay,
    f_eq,
    f_first,
    f_ifelse,
    f_int_and,
    f_int_eq,
    f_int_ge,
    f_larger,
    f_modulo_counter,
    f_neq,
    f_not,
    f_or,
    f_relu_identity,
    f_ring_counter,
    f_smaller,
    f_step,
)

CONFIGS = [
    CompileConfig(step=step, mu=mu, complement=complement)
    for step, mu, complement in itertools.product(STEPS, ("auto", 1000), COMPLEMENTS)
]
PAIRS = [(a, b) for a in range(-2, 3) for b in range(-2, 3)]
BITS = [(a, b) for a in (0, 1) for b in (0, 1)]

Pair = Callable[[Variable, Variable], Variable]


def pairwise_outputs(expand: Pair, rows: list[tuple[int, int]], config: CompileConfig) -> list[mpq]:
    """The outputs of a two-argument idiom over rows of integer arguments."""
    values = [value for row in rows for value in row]
    x = Input(2, lo=min(values), hi=max(values), integer=True)
    return [row[0] for row in interpret(expand(x[0], x[1]).program(), rows, config)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.step}-{c.mu}-{c.complement}")
@pytest.mark.parametrize(
    ("idiom", "wanted", "rows"),
    [
        (f_larger, lambda a, b: a > b, PAIRS),
        (f_smaller, lambda a, b: a < b, PAIRS),
        (f_eq, lambda a, b: a == b, PAIRS),
        (f_neq, lambda a, b: a != b, PAIRS),
        (f_int_eq, lambda a, b: a == b, PAIRS),
        (f_and, lambda a, b: a and b, BITS),
        (f_or, lambda a, b: a or b, BITS),
        (f_int_and, lambda a, b: a and b, BITS),
        (lambda x, y: f_not(f_and(x, y)), lambda a, b: not (a and b), BITS),
        (lambda x, y: f_not(f_or(x, y)), lambda a, b: not (a or b), BITS),
        (lambda x, y: f_not(f_larger(x, y - 0.5)), lambda a, b: not a > b - 0.5, PAIRS),
        (lambda x, y: f_not(f_not(f_eq(x, y))), lambda a, b: a == b, PAIRS),
        (lambda x, y: f_step(x - y - 0.5), lambda a, b: a - b >= 1, PAIRS),
        (lambda x, _: f_int_ge(x, 1), lambda a, _: a >= 1, PAIRS),
        (lambda x, _: f_bump(x, -0.5, 1.5), lambda a, _: -0.5 < a <= 1.5, PAIRS),
        (lambda x, _: f_relu_identity(x), lambda a, _: a, PAIRS),
    ],
)
def test_idioms_on_integers(
    idiom: Pair, wanted: Callable[[int, int], int], rows: list[tuple[int, int]], config: CompileConfig
) -> None:
    """On integers every idiom gives its exact truth value, whatever the configuration."""
    assert pairwise_outputs(idiom, rows, config) == [mpq(int(wanted(a, b))) for a, b in rows]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.step}-{c.mu}-{c.complement}")
@pytest.mark.parametrize("conditional", CONDITIONALS)
@pytest.mark.parametrize(("t", "f"), [(0, 3), (-2, 0), (5, -4), (0, 0)])
def test_conditionals_select(conditional: Conditional, config: CompileConfig, t: int, f: int) -> None:
    """Every conditional gives t where the condition is 1 and f where it is 0, sizes and signs mixed."""
    x = Input(1, lo=-3, hi=3, integer=True)
    program = f_ifelse(f_larger(x, 0.5), x * t, x * f).program()
    tokens = [[value] for value in range(-3, 4)]
    outputs = interpret(program, tokens, config.with_conditional(conditional))
    assert [row[0] for row in outputs] == [value * (t if value > 0.5 else f) for (value,) in tokens]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12, 75])
@pytest.mark.parametrize("name", ["stable", "paper"])
def test_modulo_counters_count(n: int, name: str) -> None:
    """A modulo counter gives 0, 1, …, n − 1, 0, … exactly, also where the plain μ would not do."""
    x = Input(1)
    program = f_modulo_counter(x, n).program()
    steps = min(2 * n + 2, 90)
    outputs = interpret(program, [[0]] * steps, CompileConfig.named(name))
    assert [row[0] for row in outputs] == [step % n for step in range(steps)]


def test_a_modulo_counter_may_keep_the_plain_slope() -> None:
    """keep_mu reproduces the paper's counter, which miscounts for n > 70, and says so."""
    x = Input(1)
    program = f_modulo_counter(x, 75, keep_mu=True).program()
    lowered = lower(program, CompileConfig.named("paper"))
    assert any(note.kind == "unsaturated" for note in lowered.notes)
    outputs = interpret(program, [[0]] * 6, CompileConfig.named("paper"))
    assert [row[0] for row in outputs] != [0, 1, 2, 3, 4, 5]


def test_registers() -> None:
    """Ring counters, delays and f_first give what their tables say at every step."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = Concat(f_ring_counter(x, 3), f_delay(x, 2), f_first(x, 2)).program()
    rows = interpret(program, [[5], [6], [7], [8]])
    ring = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    delays = [(5, 0), (6, 5), (7, 6), (8, 7)]
    first = [(1,), (1,), (0,), (0,)]
    assert rows == [a + b + c for a, b, c in zip(ring, delays, first, strict=True)]


def output_range(lowered: Lowered) -> str:
    """The range of the first output component, as text."""
    return str(lowered.node_ranges(lowered.program.output)[0])


def test_auto_mu_is_the_smallest_that_saturates() -> None:
    """Half-integer thresholds take μ = 2, integer ones 1, sixteenths 16."""
    for gap, mu in ((mpq(1, 2), 2), (mpq(0), 1), (mpq(15, 16), 16), (mpq(1, 3), 2)):
        x = Input(1, lo=0, hi=9, integer=True)
        lowered = lower(f_larger(x, gap).program())
        scaled = lowered.program.nodes[4]
        assert isinstance(scaled, ir.Linear)
        assert scaled.matrix.rows[0][0][1] == mu
        assert output_range(lowered) == "{0, 1}"


def test_a_ramp_is_noted() -> None:
    """A comparison of real values cannot saturate: its range stays [0, 1] and a note says why."""
    x = Input(1, lo=0, hi=1)
    lowered = lower(f_larger(x, 0.5).program())
    assert [note.kind for note in lowered.notes] == ["ramp"]
    assert output_range(lowered) == "[0, 1]"


def test_an_unsaturated_comparison_is_noted_with_a_remedy() -> None:
    """A slope that is too small is found from the lattice, with the slope that would do."""
    x = Input(1, lo=0, hi=9, integer=True)
    lowered = lower(f_larger(x, mpq(1, 2), mu=1).program())
    (note,) = lowered.notes
    assert note.kind == "unsaturated"
    assert "2" in (note.finding.hint or "")
    assert note.finding.span is not None


def test_auto_lambda_needs_a_bound() -> None:
    """lam=auto over an unbounded branch is refused with the line and the way out."""
    x = Input(1, lo=0, hi=1, integer=True)
    total = LinState(x, [[1]], [[1]], init_state=[0])
    config = CompileConfig(conditional="direct")
    with pytest.raises(CompileRefusal, match="assume") as refused:
        lower(f_ifelse(x, total, 0).program(), config)
    assert refused.value.diagnostics[0].span is not None
    bounded = assume(total, lo=0, hi=100, integer=True)
    assert output_range(lower(f_ifelse(x, bounded, 0).program(), config)) == "[0, 100] integer"


def test_a_small_lambda_is_noted() -> None:
    """A λ below a branch's bound is found before anything runs."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = f_ifelse(f_larger(x, 4.5), x, 0, lam=2).program()
    lowered = lower(program, CompileConfig(conditional="optimized"))
    assert [note.kind for note in lowered.notes] == ["lambda"]


def test_the_stepped_conditional_needs_a_slope_of_two() -> None:
    """The conditional 'step' with μ < 2 is refused."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = f_ifelse(f_larger(x, 4.5, mu=2), x, 0).program()
    with pytest.raises(CompileRefusal, match="mu ≥ 2"):
        lower(program, CompileConfig(conditional="step", mu=1))


def count(lowered: Lowered, kind: type[ir.Node]) -> int:
    """How many nodes of a kind a lowered program has."""
    return sum(isinstance(node, kind) for node in lowered.program.nodes)


def test_optimized_drops_what_vanishes() -> None:
    """'optimized' drops zero branches and halves that are never negative; 'direct' keeps all four."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = f_ifelse(f_larger(x, 4.5), x, x * 0).program()
    relus = {
        name: count(lower(program, CompileConfig(conditional=name)), ir.ReLU)
        for name in ("direct", "optimized")
    }
    assert relus["direct"] - relus["optimized"] == 3


def test_multiplicative_optimized_drops_a_zero_branch() -> None:
    """'multiplicative_optimized' multiplies once where one branch is zero."""
    x = Input(1, lo=0, hi=9, integer=True)
    program = f_ifelse(f_larger(x, 4.5), x, x * 0).program()
    products = [
        count(lower(program, CompileConfig(conditional=name)), ir.Multi)
        for name in ("multiplicative", "multiplicative_optimized")
    ]
    assert products == [2, 1]


def test_direct_complements_use_the_opposite_idiom() -> None:
    """complement=direct gives an exact zero for a false condition whose ramp is not saturated."""
    x = Input(1, lo=0, hi=1)
    program = f_not(f_larger(x, mpq(1, 2), mu=4)).program()
    token = [[mpq(5, 8)]]  # on the ramp: the step is 1/2
    assert interpret(program, token, CompileConfig(complement="subtract")) == [(mpq(1, 2),)]
    assert interpret(program, token, CompileConfig(complement="direct")) == [(mpq(0),)]


def test_states_have_their_fixpoint_as_range() -> None:
    """A sum of bits is an integer from 0 up; a ring stays Boolean; the initial state is left out."""
    x = Input(1, lo=0, hi=1, integer=True)
    assert output_range(lower(LinState(x, [[1]], [[1]], init_state=[0]).program())) == "[0, ∞) integer"
    assert output_range(lower(f_ring_counter(x, 4).program())) == "{0, 1}"
    assert output_range(lower(LinState(x, [[0]], [[1]], init_state=[7]).program())) == "{0, 1}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": "steep"}, "step form"),
        ({"conditional": "maybe"}, "conditional"),
        ({"complement": "none"}, "complement"),
        ({"mu": 0}, "positive"),
        ({"lam": "large"}, "number"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict[str, object], message: str) -> None:
    """Every factor is checked when a configuration is made."""
    with pytest.raises(ConfigError, match=message):
        CompileConfig(**options)  # type: ignore[arg-type]


def test_an_unknown_configuration_is_refused() -> None:
    """Named configurations are listed when the name is wrong."""
    with pytest.raises(ConfigError, match="stable, paper"):
        CompileConfig.named("fast")
