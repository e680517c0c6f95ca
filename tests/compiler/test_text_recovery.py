"""Several syntax errors of one text: each is reported, and nothing that follows from another."""

from __future__ import annotations

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import Diagnostic, ProgramError
from compiler.loading import library_names
from compiler.text import parse_program, recovery
from compiler.text.parsing import parse_module


def syntax_errors(text: str) -> list[Diagnostic]:
    """The syntax errors of a text; none where it can be parsed."""
    try:
        parse_module(text, "t.lsrl")
    except ProgramError as problem:
        return list(problem.diagnostics)
    return []


def places(text: str) -> list[tuple[int, int]]:
    """Line and column of every syntax error."""
    return [(each.span.line, each.span.column) for each in syntax_errors(text) if each.span]


def joined(*lines: str) -> str:
    """A text of these lines."""
    return "\n".join(lines) + "\n"


HEAD = ("ForEach:", "    x = Input(dim=1)")


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (("param n = = 3", *HEAD, "    y = x +", "    return w w"), [(1, 11), (4, 12), (5, 14)]),
        ((*HEAD, "    y = (x + 1", "    z = x]", "    return x x"), [(3, 9), (4, 10), (5, 14)]),
        (("def f(x: return x", "def g(x)", "    y = x x", "    return y", *HEAD), [(1, 6), (2, 9), (3, 11)]),
        (("def f(x:", "    return x x", *HEAD, "    return x +"), [(1, 6), (2, 14), (5, 15)]),
        ((*HEAD, "    y = $", "    z = 3..4", "    return x[]"), [(3, 9), (4, 10), (5, 13)]),
        ((*HEAD, "    true = 3", "    def f(x): return x", "    return 1 1"), [(3, 5), (4, 5), (5, 14)]),
        ((*HEAD, "    y = x\0", "    z = 1 1", "    # \0", "    return x"), [(3, 10), (4, 11), (5, 7)]),
        (("param k = 3 3", "ForEach:", "x = Input(dim=1)", "return x x"), [(1, 13), (3, 1), (4, 10)]),
        ((*HEAD, "    y = (x", "    return x", "k = 3 3"), [(3, 9), (5, 7)]),
        ((*HEAD, "    y = 1 1", "    return (x +"), [(3, 11), (4, 12)]),
    ],
)
def test_independent_mistakes_are_all_reported(lines: tuple[str, ...], wanted: list[tuple[int, int]]) -> None:
    """Mistakes in different statements are found at once, in the order of their lines."""
    assert places(joined(*lines)) == wanted


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ((*HEAD, "    if x > 3:", "        y = 1 +", "    else:", "        y = 2", "    return x x"), [3, 7]),
        ((*HEAD, "        y = 3 +", "        z = 4", "    return x x"), [3, 5]),
        ((*HEAD, "  y = 3 +", "    return x x", "param k = 3 3"), [3, 5]),
        ((*HEAD, "    y = LinState(x,", "A=eye(1) eye(2),", "B=2 2)", "    return x x"), [4, 6]),
        ((*HEAD, "    y = LinState(x,", "A=eye(1),", "        B=2", "    return x"), [3]),
        ((*HEAD, "    y = f([x, 1)", "        + 3 3", "    return x"), [3]),
        ((*HEAD, "    y = (1 # (", "    # )", "    )", "    z = 3 3", "    return x"), [6]),
        ((*HEAD, "    y = x\0 + +\0", "    return x"), [3]),
        (("ForEach:",), [1]),
        (("  x = 1", "y = = 2"), [1]),
        (("ForEach:", "\tx = 1", "        y = 1 1"), [3]),
    ],
)
def test_what_follows_from_a_mistake_is_passed_over(lines: tuple[str, ...], wanted: list[int]) -> None:
    """The rest of a statement and the block under it are not reported once more."""
    assert [line for line, _ in places(joined(*lines))] == wanted


def test_the_first_mistake_is_told_as_if_it_were_alone() -> None:
    """Its message does not depend on what else is wrong."""
    alone = joined(*HEAD, "    y = x +", "    return x")
    both = joined(*HEAD, "    y = x +", "    return x x")
    assert syntax_errors(both)[0] == syntax_errors(alone)[0]
    assert len(syntax_errors(both)) == 2


def test_a_text_without_syntax_errors_goes_on_to_the_rest() -> None:
    """Unknown names and their like are reported once every statement can be read."""
    with pytest.raises(ProgramError) as caught:
        parse_program(joined(*HEAD, "    y = nowhere", "    return y y"))
    assert [each.span.line for each in caught.value.diagnostics if each.span] == [4]


def test_the_number_of_mistakes_and_the_work_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred mistakes are told; what lies beyond the characters that are parsed again is not."""
    text = joined(*HEAD, *["    y = x x"] * 500)
    assert len(syntax_errors(text)) == 100
    monkeypatch.setattr(recovery, "MAX_RECOVERED", 60)
    assert [line for line, _ in places(text)] == [3, 4, 5, 6, 7]
    late = joined(*HEAD, *["    y = x"] * 500, "    z = 1 1", "    return 2 2")
    assert [line for line, _ in places(late)] == [503, 504]


SOURCES = [
    (resources.files("compiler") / "programs" / f"{name}.lsrl").read_text(encoding="utf-8").splitlines()
    for name in library_names()
]
BREAKS = ("{} x", "{} +", "{} $", "{} = ", "{}..", "{}\1")
"""What no statement of one line survives; a bracket too many may close one that is open before it."""


def breakable(lines: list[str]) -> list[int]:
    """The lines that are one whole statement."""
    depth, found = 0, []
    for number, line in enumerate(lines, start=1):
        code = line.partition("#")[0]
        change = sum(map(code.count, "([")) - sum(map(code.count, ")]"))
        if depth == 0 and change == 0 and code.strip() and not code.rstrip().endswith(":"):
            found.append(number)
        depth += change
    return found


@given(st.sampled_from(SOURCES), st.data())
def test_broken_lines_of_a_program_are_exactly_those_reported(source: list[str], data: st.DataObject) -> None:
    """Any few statements of a library program, broken in any ways: one finding on each of their lines."""
    lines = list(source)
    chosen = data.draw(st.lists(st.sampled_from(breakable(lines)), min_size=1, max_size=4, unique=True))
    breaks = (*BREAKS, data.draw(st.sampled_from(["{} (", "{})"])))
    for number in chosen:
        code = lines[number - 1].partition("#")[0].rstrip()
        lines[number - 1] = data.draw(st.sampled_from(breaks)).format(code)
    assert [line for line, _ in places(joined(*lines))] == sorted(chosen)
