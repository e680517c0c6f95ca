"""Writing programs back as text: reading the text gives an equal program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import exact as ex
from compiler import ir
from compiler.config import CONDITIONALS, CompileConfig
from compiler.errors import ProgramError
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU, Variable, _reachable, assume
from compiler.loading import library_names, load_program
from compiler.lowering import lower
from compiler.stdlib import f_bump, f_delay, f_ifelse, f_int_ge, f_larger, f_modulo_counter
from compiler.text import parse_program, unparse
from compiler.text.unparse import matrix, number

RATIONALS = st.one_of(
    st.integers(-3, 3), st.fractions(min_value=-100, max_value=100, max_denominator=10**6), st.just("0.001")
).map(ex.exact)


@st.composite
def matrices(draw: st.DrawFn, height: int | None = None, width: int | None = None) -> ex.Matrix:
    """Dense, sparse, scaled and structured matrices."""
    m, n = height or draw(st.integers(1, 7)), width or draw(st.integers(1, 7))
    entries = st.one_of(st.just(mpq(0)), st.just(mpq(1)), RATIONALS)
    pick = draw(st.integers(0, 4))
    if pick == 0 and m == n:
        return draw(st.sampled_from([ex.eye, ex.shift, ex.cycle]))(m).scaled(draw(RATIONALS))
    if pick == 1:
        return ex.ones(m, n).scaled(draw(RATIONALS))
    if pick == 2:
        places = draw(
            st.dictionaries(st.tuples(st.integers(0, m - 1), st.integers(0, n - 1)), RATIONALS, max_size=3)
        )
        return ex.Matrix.from_rows(n, [{j: v for (r, j), v in places.items() if r == i} for i in range(m)])
    return ex.Matrix.dense(draw(st.lists(st.lists(entries, min_size=n, max_size=n), min_size=m, max_size=m)))


def vectors(size: int) -> st.SearchStrategy[list[mpq]]:
    """Vectors, half of them constant."""
    return st.one_of(
        RATIONALS.map(lambda value: [value] * size), st.lists(RATIONALS, min_size=size, max_size=size)
    )


def _grow(draw: st.DrawFn, x: Variable) -> Variable:
    """One random operation on ``x``."""
    c, m = draw(RATIONALS), draw(st.integers(1, 4))
    choices: dict[str, Callable[[], Variable]] = {
        "add": lambda: x + c, "from": lambda: c - x, "scale": lambda: x * c, "minus": lambda: -x,
        "relu": lambda: ReLU(x), "self": lambda: x + x, "pair": lambda: Concat(x, ReLU(x)),
        "multi": lambda: Multi(Concat(x, x)), "element": lambda: x[draw(st.integers(-x.dim, x.dim - 1))],
        "slice": lambda: x[draw(st.integers(0, x.dim - 1)) :],
        "linear": lambda: Linear(x, draw(matrices(m, x.dim)), draw(vectors(m))),
        "state": lambda: LinState(
            x, draw(matrices(m, m)), draw(matrices(m, x.dim)), draw(vectors(m)), draw(vectors(m))
        ),
        "assume": lambda: assume(x, lo=-abs(c), hi=draw(st.sampled_from([None, 9])), integer=c > 0),
        "larger": lambda: f_larger(x, c, mu=draw(st.sampled_from([None, 4]))),
        "bump": lambda: f_bump(x, c, x[0]), "ge": lambda: f_int_ge(x, c),
        "ifelse": lambda: f_ifelse(x[0], x, c, lam=draw(st.sampled_from([None, mpq(1, 3)]))),
        "counter": lambda: f_modulo_counter(x, m, keep_mu=draw(st.booleans())),
        "delay": lambda: f_delay(x[0], m),
    }  # fmt: skip
    return choices[draw(st.sampled_from(sorted(choices)))]()


@st.composite
def programs(draw: st.DrawFn) -> ir.Program:
    """Random source programs with awkward names, idioms and declarations."""
    x = Input(draw(st.integers(1, 3)), lo=draw(st.sampled_from([None, -1])), integer=draw(st.booleans()))
    names = ["x", "y", "eye", "n", "for", "a[0]", "a[0]", "f.y", "_", "μ", "9", "linear_3"]
    values = [x]
    for _ in range(draw(st.integers(0, 8))):
        grown = _grow(draw, draw(st.sampled_from(values)))
        values.append(grown.named(draw(st.sampled_from(names))) if draw(st.booleans()) else grown)
    parameters = draw(st.dictionaries(st.sampled_from(["n", "y", "a_0"]), RATIONALS))
    return draw(st.sampled_from(values)).program(parameters=dict(parameters))


@given(programs())
def test_reading_what_was_written_gives_an_equal_program(program: ir.Program) -> None:
    """parse(unparse(p)) == p for random programs, and writing is stable."""
    text = unparse(program)
    again = parse_program(text)
    assert again == program
    assert parse_program(unparse(again)) == program


@given(matrices())
def test_matrices_are_written_exactly(value: ex.Matrix) -> None:
    """A matrix read back from its text is the same matrix."""
    text = f"ForEach:\n    x = Input(dim={value.width})\n    return Linear(x, A={matrix(value)})\n"
    node = parse_program(text).nodes[-1]
    assert isinstance(node, ir.Linear)
    assert node.matrix == value


@pytest.mark.parametrize("name", library_names())
def test_library_programs_survive_the_round_trip(name: str) -> None:
    """Each library program, as source and lowered, is read back unchanged (less dead nodes)."""
    program = load_program(name)
    assert parse_program(unparse(program)) == program
    for conditional in CONDITIONALS:
        for step in ("clip", "paper"):
            lowered = lower(program, CompileConfig(conditional=conditional, step=step)).program
            nodes, output = _reachable(lowered.nodes, lowered.output)
            assert parse_program(unparse(lowered)) == replace(lowered, nodes=nodes, output=output)


def test_names_stay_readable() -> None:
    """Variable names are kept; list elements, reserved and doubled names are made identifiers."""
    text = (
        "param n = 2\nForEach:\n    x = Input(dim=1, lo=0, hi=1/3)\n    parts = [x * i for i in 2..5]\n"
        "    state = LinState(x, A=eye(1), B=1, init_state=0)\n    return Concat(state, parts)\n"
    )
    assert unparse(parse_program(text)) == (
        "param n = 2\nForEach:\n    x = Input(dim=1, lo=0, hi=1/3)\n    parts_0 = x * 2\n"
        "    parts_1 = x * 3\n    parts_2 = x * 4\n    state = LinState(x, A=[[1]], B=[[1]], init_state=0)\n"
        "    concat_5 = Concat(state, parts_0, parts_1, parts_2)\n    return concat_5\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("3", "3"), ("-1/2", "-0.5"), ("0.001", "0.001"), ("-7/3", "-7/3"), ("1/8", "0.125"),
        ("12.5", "12.5"),
        (mpq(1, 2**40), f"1/{2**40}"), ("0", "0"), ("-1/100", "-0.01"),
    ],
)  # fmt: skip
def test_numbers_are_short_and_exact(value: str | mpq, text: str) -> None:
    """A number is an integer, a short decimal, or a fraction."""
    assert number(ex.exact(value)) == text
    assert ex.exact(text) == ex.exact(value)


def test_large_sparse_matrices_are_not_written_densely() -> None:
    """The text of a matrix grows with its non-zero entries, and builders are used where they fit."""
    assert matrix(ex.eye(1000).scaled(mpq(1, 2))) == "0.5 * eye(1000)"
    assert matrix(ex.cycle(1000)) == "cycle(1000)"
    assert matrix(ex.shift(1000)) == "shift(1000)"
    assert matrix(ex.zeros(10, 1000)) == "zeros(10, 1000)"
    assert matrix(ex.ones(10, 1000)) == "ones(10, 1000)"
    single = ex.Matrix.from_rows(1000, [{}, {7: mpq(3)}])
    assert matrix(single) == "sparse(2, 1000, [[1, 7, 3]])"


def test_declared_nodes_of_any_kind_survive() -> None:
    """A range on a node that is no assume(…) is written with declared(…)."""
    x = Input(2, lo=0)
    program = Multi(ReLU(x)).program()
    stated = ir.Declaration(lo=mpq(0), hi=mpq(5), integer=True)
    program = replace(program, nodes=tuple(replace(node, declared=stated) for node in program.nodes))
    assert parse_program(unparse(program)) == program


def test_what_the_language_cannot_say_is_refused() -> None:
    """A Concat of one value, or an unknown idiom, is a ProgramError and not a wrong text."""
    x = Input(1).node
    alone = ir.Program(nodes=(x, ir.Concat(dim=1, sources=(0,))), output=1)
    with pytest.raises(ProgramError, match="Concat of 1"):
        unparse(alone)
    unknown = ir.Program(nodes=(x, ir.Idiom(dim=1, kind="f_new", sources=(0,))), output=1)
    with pytest.raises(ProgramError, match="unknown idiom"):
        unparse(unknown)
