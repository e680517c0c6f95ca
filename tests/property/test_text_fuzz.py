"""Fuzzing the text front end: for any text there is a program or an LsrlError, nothing else."""

from __future__ import annotations

from importlib import resources

from hypothesis import example, given
from hypothesis import strategies as st

from compiler.errors import LsrlError
from compiler.loading import library_names
from compiler.text import parse_program, unparse
from compiler.text.builtins import BUILTINS
from compiler.text.parsing import RESERVED

SOURCES = [
    (resources.files("compiler") / "programs" / f"{name}.lsrl").read_text(encoding="utf-8")
    for name in library_names()
]
WORDS = [
    *sorted(RESERVED), *sorted(BUILTINS), "x", "y", "f", "n", "dim", "lo", "hi", "integer", "A", "B",
    "b", "init_state", "mu", "k", "0", "1", "2", "3", "0.5", "1e3", "1e-9", ".", "..", "+", "-", "*", "/",
    "//", "%", "**", "@", "<", "==", "!=", "=", ",", ":", "(", ")", "[", "]", "[[1, 2], [3, 4]]", "[x, x]",
    ".T", "#", "\n", "\n    ", "\t", "{", "}", '"', "\\", ";", "\r\n", "é", "٣", "\0",
]  # fmt: skip
VALUES = st.sampled_from(
    ["x", "x2", "0", "1", "-1", "2", "1/2", "10**30", "true", "pi", "[]", "[x]", "[1, 2]", "[[1]]", "eye(2)",
     "ones(1, 2)", "zeros(2, 1)", "f", "sqrt(2)", "[[x]]", "[[1, 2], [3]]", "x[0]"]
)  # fmt: skip
NAMES = st.sampled_from("x A B b init_state mu lam lo hi integer n k t f".split())  # noqa: SIM905
OPERATORS = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "@", "<", "==", "and", "if 1 > 0 else"])
PARAMETERS = st.one_of(
    st.text(max_size=12), st.floats(), st.integers(), st.fractions(), st.booleans(), st.decimals()
)
HEAD = "def f(x): return x\nForEach:\n    x = Input(dim=1)\n    x2 = Concat(x, x)\n    y = "


def survives(text: str) -> None:
    """Read ``text``; whatever is read can be written and read again."""
    try:
        program = parse_program(text)
    except LsrlError as mistake:
        found = mistake.diagnostics
    else:
        assert parse_program(unparse(program)) == program
        return
    assert found
    assert all(each.span is not None and each.span.line >= 1 for each in found)
    assert all(len(str(each)) < 1000 for each in found)


@given(st.text(max_size=200))
@example("\ufeff")
@example("\x85")
@example("ForEach:\n    return \u2028")
def test_any_text(text: str) -> None:
    """Random characters never break the reader."""
    survives(text)


@given(st.lists(st.sampled_from(WORDS), max_size=40), st.booleans())
def test_any_soup_of_words(words: list[str], spaced: bool) -> None:
    """Words of the language in any order never break the reader."""
    survives(f"{HEAD}{(' ' if spaced else '').join(words)}\n    return x\n")


@given(st.sampled_from(SOURCES), st.data())
def test_any_mutation_of_a_library_program(source: str, data: st.DataObject) -> None:
    """Library programs with pieces replaced, dropped, moved or doubled never break the reader."""
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(source)))
        stop = min(len(source), start + data.draw(st.integers(0, 12)))
        put = data.draw(st.sampled_from([*WORDS, source[start:stop] * 2, source[stop : stop + 8]]))
        source = source[:start] + put + source[stop:]
    survives(source)


@given(
    st.sampled_from(sorted(BUILTINS)),
    st.lists(VALUES, max_size=4),
    st.lists(st.tuples(NAMES, VALUES), max_size=4, unique_by=lambda pair: pair[0]),
)
def test_any_call(name: str, positional: list[str], keywords: list[tuple[str, str]]) -> None:
    """Every function of the language takes any arguments, or refuses them in words."""
    arguments = ", ".join([*positional, *(f"{key}={value}" for key, value in keywords)])
    survives(f"{HEAD}{name}({arguments})\n    return Concat([x] + [x])\n")
    survives(f"{HEAD}{name}({arguments})\n    return y\n")


@given(VALUES, OPERATORS, VALUES)
def test_any_operator(left: str, operator: str, right: str) -> None:
    """Every operator takes any two values, or refuses them in words."""
    survives(f"{HEAD}{left} {operator} {right}\n    return x2\n")
    survives(f"{HEAD}{left} {operator} {right}\n    return y\n")


@given(st.dictionaries(st.sampled_from(["n", "V", "m"]), PARAMETERS, max_size=3))
def test_any_parameters(parameters: dict[str, float]) -> None:
    """Any value for a parameter is taken exactly or refused in words."""
    text = "param n = 1\nparam V = 2\nForEach:\n    x = Input(dim=1)\n    return x * n + V\n"
    try:
        program = parse_program(text, parameters=parameters)
    except LsrlError:
        return
    assert {name for name, _ in program.parameters} == {"n", "V"}
