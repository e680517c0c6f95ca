"""Hostile texts: each ends in one clear error, never in a hang, a crash or a traceback."""

from __future__ import annotations

import sys

import pytest

from compiler.errors import ProgramError
from compiler.text import parse_program
from compiler.text.scan import MAX_BYTES, MAX_TOKENS

HEAD = "ForEach:\n    x = Input(dim=1)\n"


def block(*lines: str) -> str:
    """A program whose block holds ``lines`` after the Input."""
    return HEAD + "".join(f"    {line}\n" for line in lines)


def constant(expression: str) -> str:
    """A program with one constant and a harmless return."""
    return block(f"y = {expression}", "return x")


DOUBLING = "".join(
    f"def f{i}(x): return f{i - 1}(f{i - 1}(x))\n" if i else "def f0(x): return x + 1\n" for i in range(40)
)

REFUSED = {
    "ten megabytes": ("x" * 10_000_000, "larger than"),
    "wide characters": ("# " + "é" * (MAX_BYTES // 2 + 1), "larger than"),
    "ten thousand brackets": (constant("(" * 10_000 + "1" + ")" * 10_000), "nested deeper"),
    "unclosed brackets": (constant("[" * 10_000), "nested deeper"),
    "too many signs": (constant("-" * (MAX_TOKENS + 1) + "1"), "words and signs"),
    "only line ends": ("\n" * (MAX_TOKENS + 1), "words and signs"),
    "deep operators": (constant("(1 if 1 < 2 and not " * 60 + "true" + " else 2)" * 60), "nested too deeply"),
    "deep lists of calls": (constant("[1 + 2 * max(1, " * 30 + "1" + ")]" * 30), ""),
    "tower": (constant("10**10**10"), "65,536 bits"),
    "long power": (constant("2**65000 * 2**65000"), "65,536 bits"),
    "many long powers": (constant("[3**(20000 + i) for i in 0..20000]"), "steps"),
    "negative tower": (constant("10**-(10**10)"), "65,536 bits"),
    "long literal": (constant("9" * 100_000), "digits"),
    "long exponent": (constant("1e999999999"), "digits"),
    "long denominators": (
        block("a = [[1/(3**10000 + i + j) for i in 0..40] for j in 0..40]", "b = a @ a @ a", "return x"),
        "65,536 bits",
    ),
    "endless loop": (constant("[i for i in 0..10**12]"), "1,000,000,000,000 rounds"),
    "nested loops": (constant("[0 for a in 0..2000 for b in 0..2000 for c in 0..2000]"), ""),
    "many loops": (constant("[1 " + "for i in 0..1 " * 1000 + "]"), "loops in one list"),
    "large identity": (constant("eye(10**9)"), "between 1 and 100,000"),
    "large ones": (constant("ones(10**5, 10**5)"), "entries"),
    "large zeros as a vector": (block("return f_constant(x, zeros(10**5, 10**5))"), "not a vector"),
    "large zeros as a state": (
        block("return LinState(x, A=1, B=1, init_state=zeros(10**5, 10**5))"), "not a vector",
    ),
    "rows of large zeros": (constant("[row for row in zeros(10**5, 10**5)]"), "entries"),
    "growing matrix": (
        block("a = ones(1, 1000)", *["a = hstack(a, a, a)"] * 30, "return x"), "rows and columns",
    ),
    "growing list": (block("a = [1]", *["a = a + a"] * 60, "return x"), "entries"),
    "wide input": ("ForEach:\n    return Input(dim=10**9)\n", "between 1 and 100,000"),
    "wide delay": (block("return f_delay(x, 10**9)"), "k is a whole number from 1 to"),
    "long counter": (block("return f_modulo_counter(x, 10**9)"), "n is a whole number from 1 to"),
    "many wide values": (
        "ForEach:\n    x = Input(dim=10**5)\n    y = [x[1:] for i in 0..10**4]\n    return x\n", "entries",
    ),
    "doubling calls": (DOUBLING + block("return f39(x)"), "steps"),
    "endless recursion": ("def f(n): return f(n)\n" + constant("f(1)"), "calls nested deeper"),
    "wide recursion": ("def f(n): return f(n - 1) + f(n - 1) if n > 0 else 1\n" + constant("f(25)"), "steps"),
    "deep recursion": ("def f(n): return 1 + 2 * (3 - [f(n)][0])\n" + constant("f(1)"), "nested too deeply"),
    "many cosines": (constant("[cos(2*pi/(i + 3)) for i in 0..10**5]"), "steps"),
    "NUL": (block("y = x\0", "return x"), "U+0000"),
    "NUL in a comment": ("# \0\n" + block("return x"), "U+0000"),
    "lone surrogate": ("# \ud800\n" + block("return x"), "U+D800"),
    "tabs and spaces": ("ForEach:\n\tx = Input(dim=1)\n        return x\n", "mixed"),
    "staircase": ("".join(" " * i + "ForEach:\n" for i in range(500)), "does not fit"),
    "long name": (constant("z" * 500_000), "unknown name 'zzz"),
    "many arguments": (block("return f_not(" + "x, " * 50_000 + ")"), "50000 are given"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_text_ends_in_a_short_error(case: str) -> None:
    """Every attack is refused with a place and a message of bounded length."""
    text, says = REFUSED[case]
    if not says:
        says = "nested too deeply" if "deep" in case else "steps"
    with pytest.raises(ProgramError) as caught:
        parse_program(text)
    assert says in str(caught.value.diagnostics[0])
    assert caught.value.diagnostics[0].span is not None
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 60 + "1" + ")" * 60,
        "- " * 20_000 + "1",
        "1 + " * 20_000 + "1",
        "1 if " + "not " * 20_000 + "true else 2",
        "1 if false else " * 5_000 + "2",
        "[[1, 2]]" + ".T" * 5_000,
        "1 ** " * 5_000 + "1",
        "[i for i in 10**12..10**12 + 3]",
    ],
    ids=["brackets", "signs", "sum", "not", "if", "transposes", "powers", "far range"],
)
def test_long_but_harmless_chains_are_read(expression: str) -> None:
    """Chains are flat: their length costs no stack."""
    assert len(parse_program(constant(expression)).nodes) == 1


def test_deeply_nested_lists_are_released_without_recursion() -> None:
    """A list wrapped thousands of times is built and dropped."""
    assert len(parse_program(block("a = [x]", *["a = [a, a]"] * 5_000, "return x")).nodes) == 1


def test_the_deepest_program_leaves_room_on_the_stack() -> None:
    """The deepest nesting that is let through, or refused, needs less than 500 frames."""
    used = len(_frames())
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(used + 500)
    try:
        for case in ("deep operators", "deep lists of calls", "endless recursion", "deep recursion"):
            with pytest.raises(ProgramError):
                parse_program(REFUSED[case][0])
        parse_program(block("return " + "f_not(" * 60 + "x" + ")" * 60))
    finally:
        sys.setrecursionlimit(limit)


def _frames() -> list[object]:
    frame, found = sys._getframe(), []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return list(found)
