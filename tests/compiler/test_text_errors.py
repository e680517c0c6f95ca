"""Mistakes in a program: each is found, placed, explained, and reported with the others."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from gmpy2 import mpq

from compiler.errors import ConfigError, Diagnostic, LsrlError, ProgramError
from compiler.exact import Number
from compiler.text import parse_program

HEAD = "ForEach:\n    x = Input(dim=1)\n"


def block(*lines: str) -> str:
    """A program whose block holds ``lines`` after the Input (they begin on line 3)."""
    return HEAD + "".join(f"    {line}\n" for line in lines)


def mistakes(text: str, parameters: Mapping[str, Number] | None = None) -> tuple[Diagnostic, ...]:
    """What is wrong with a program."""
    with pytest.raises(LsrlError) as caught:
        parse_program(text, parameters=parameters)
    return caught.value.diagnostics


def places(found: tuple[Diagnostic, ...]) -> list[tuple[int, int]]:
    """Line and column of every finding."""
    return [(each.span.line, each.span.column) for each in found if each.span]


@pytest.mark.parametrize(
    ("text", "place", "says", "hint"),
    [
        (block("return xx"), (3, 12), "unknown name 'xx'", ""),
        (block("input = x", "return inputt"), (4, 12), "unknown name 'inputt'", "did you mean input"),
        (block("return f_dealy(x, 2)"), (3, 12), "unknown function 'f_dealy'", "f_delay"),
        (block("y = z", "z = x", "return y"), (3, 9), "before its definition on line 4", "move line 4"),
        (
            block("s = LinState(y, A=1, B=1, init_state=0)", "y = ReLU(s)", "return y"),
            (3, 18), "a cycle: 's' on line 3 reads 'y', and 'y' on line 4 depends on 's'", "own A",
        ),
        (
            block("s = LinState(y, A=1, B=1, init_state=0)", "z = s + 1", "y = ReLU(z)", "return y"),
            (3, 18), "'s' on line 3 reads 'y', and 'y' on line 5 depends on 's'", "own A",
        ),
        (block("s = LinState(s, A=1, B=1, init_state=0)", "return s"), (3, 18), "depends on itself", "own A"),
        (block("y = Input(dim=1)", "return y"), (3, 9), "the first is on line 2", "one Input"),
        (
            block("s = Concat([x[i:1] for i in 0..1 if i < len([y])])", "y = [s][0]", "return y"),
            (3, 50), "a cycle: 's' on line 3 reads 'y'", "own A",
        ),
        (
            "def f(x): return [x[i:i+1] for i in 0..1 if i > p][0]\n" + block("return x"),
            (1, 49), "unknown name 'p'", "",
        ),
        ("return 3\n" + block("return x"), (1, 1), "return outside ForEach", "indent"),
        ("y = f(1)\ndef f(x): return x\n" + block("return x"), (1, 5), "definition on line 2", "move"),
        ("y = n\nparam n = 1\n" + block("return x"), (1, 5), "before its definition on line 2", "move"),
        ("n = 1\nparam n = 1\n" + block("return x"), (2, 7), "redefines the constant", "another name"),
        ("n = 1\ndef n(x): return x\n" + block("return x"), (2, 5), "redefines the constant", ""),
        ("def f(a=1, b): return a\n" + block("return x"), (1, 12), "without default", ""),
        (block("y = hstack(eye(1), eye(2))", "return x"), (3, 9), "a 1×1 matrix and a 2×2", "one height"),
        (block("y = vstack([])", "return x"), (3, 9), "vstack of nothing", "vstack(A"),
        (block("y = vstack(eye(1), eye(2))", "return x"), (3, 9), "vstack of a 1×1", "one width"),
        (block("y = diag([])", "return x"), (3, 9), "diag of an empty list", ""),
        (block("y = diag(eye(2))", "return x"), (3, 9), "not a vector", "one column"),
        (block("y = min([])", "return x"), (3, 9), "min of nothing", ""),
        (block("y = len(3)", "return x"), (3, 9), "len of the number 3", "a list"),
        (block("y = sparse(1, 1, 3)", "return x"), (3, 9), "entries of sparse is the number 3", "[[row"),
        (block("y = eye(2) + 1", "return x"), (3, 16), "a 2×2 matrix and the number 1", "ones(m, n)"),
        (block("y = eye(2) * eye(2)", "return x"), (3, 16), "between two matrices", "'@'"),
        (block("y = eye(2) + eye(3)", "return x"), (3, 16), "a 2×2 matrix and a 3×3 matrix", "one shape"),
        (block("y = eye(2) @ eye(3)", "return x"), (3, 16), "a 2×2 matrix and a 3×3 matrix", "left width"),
        (block("y = -[x]", "return x"), (3, 9), "'-' before a list of 1", ""),
        (block("y = +true", "return x"), (3, 9), "'+' before the truth value", ""),
        (block("y = [1, 2].T", "return x"), (3, 16), ".T of a list", "[[a], [b]]"),
        (block("return x.T"), (3, 14), ".T of a variable", "matrices"),
        (block("y = eye(2).U", "return x"), (3, 16), "unknown attribute '.U'", ".T"),
        (block("y = true[0]", "return x"), (3, 13), "an index after the truth value", "lists"),
        (block("y = true[0:1]", "return x"), (3, 13), "a slice of the truth value", "lists"),
        (block("y = eye(2)[2:]", "return x"), (3, 15), "an empty slice", ""),
        (block("y = [i for i in 3]", "return x"), (3, 21), "a loop over the number 3", "a..b"),
        (block("y = 1 < true", "return x"), (3, 11), "'<' between the number 1", "of numbers"),
        (block("y = true ** 2", "return x"), (3, 9), "powers are of numbers", ""),
        (block("return Concat()"), (3, 12), "Concat of nothing", "Concat(x, y)"),
        (block("return Concat(x=x)"), (3, 12), "no named arguments", "Concat("),
        (block("return declared(declared(x, lo=1), lo=2)"), (3, 12), "a second declaration", "assume"),
        (block("return Multi(Concat(x, x, x))"), (3, 12), "odd number of components (3)", "Concat"),
        (block("return x / 0"), (3, 14), "division by zero", ""),
        (block("y = 1/0", "return x"), (3, 10), "division by zero", ""),
        (block("y = 1 // 0", "return x"), (3, 11), "division by zero", ""),
        (block("y = 0 ** -1", "return x"), (3, 9), "division by zero", ""),
        (block("y = eye(2) / 0", "return x"), (3, 16), "division by zero", ""),
        (block("y = x"), (1, 1), "returns nothing", "return"),
        (block("return x", "y = x"), (4, 5), "never reached: line 3 returns", "above return"),
        (block("return x") + "y = 1\n", (4, 1), "never reached", "indent"),
        ("n = 3\n", (1, 1), "no ForEach", "ForEach:"),
        ("", (1, 1), "no ForEach", "ForEach:"),
        (block("y = inf", "return x"), (3, 9), "'inf' is not a constant", "finite"),
        (block("y = 1e999999", "return x"), (3, 9), "more than 19,000 digits", "finite"),
        ("param n = 3\n" + block("n = 4", "return x"), (4, 5), "redefines the param", "another name"),
        ("def f(x): return x\n" + block("f = 4", "return x"), (4, 5), "redefines the function", "another"),
        (block("eye = 4", "return x"), (3, 5), "a function of the language", "another name"),
        ("def eye(x): return x\n" + block("return x"), (1, 5), "a function of the language", "another name"),
        ("param n = 1\nparam n = 2\n" + block("return x"), (2, 7), "redefines the param", ""),
        ("param n = true\n" + block("return x"), (1, 7), "truth value", "a param is a number"),
        (block("return eye(3/2)"), (3, 12), "n of eye is 3/2", "whole number"),
        (block("return Linear(x, A=zeros(0, 1))"), (3, 24), "m of zeros is 0", "between 1"),
        (block("y = [i for i in 0..1/2]", "return x"), (3, 12), "the end of a range is 1/2", "whole"),
        (block("return x if x > 1 else x"), (3, 19), "compares a variable", "f_larger"),
        (block("return x if x else x"), (3, 17), "a condition is a variable", "f_ifelse"),
        (block("y = true + 1", "return x"), (3, 14), "truth value true and the number 1", "1 if c else 0"),
        (block("return f_step(3)"), (3, 12), "the number 3, not a variable", "f_constant"),
        (block("return f_larger(1, 2)"), (3, 12), "of constants only", "a variable"),
        (block("return f_step([x, x])"), (3, 12), "a list of 2, not a variable", "Concat"),
        (block("return x + [1, 2]"), (3, 14), "a variable of dim 1 and a list", "Concat"),
        (block("return x + eye(1)"), (3, 14), "a 1×1 matrix", "Linear"),
        (block("return x + pi"), (3, 14), "multiple of pi", "cos"),
        (block("y = pi + 1", "return x"), (3, 12), "multiple of pi", "symbolic"),
        (block("y = cos(1)", "return x"), (3, 9), "not a rational multiple of pi", "2*pi/n"),
        (block("return x ** 2"), (3, 12), "'**' of a variable", "x * x"),
        (block("y = 2 ** 0.5", "return x"), (3, 9), "exponent 1/2", "sqrt"),
        (block("y = sqrt(-2)", "return x"), (3, 9), "negative", ""),
        (block("return 1 / x"), (3, 14), "division by a variable", "constants"),
        (block("return x(3)"), (3, 12), "'x' is a value, not a function", "index with [i]"),
        (block("y = [x][0](3)", "return x"), (3, 15), "'(' does not fit here", ""),
        (block("y = 3", "return y(3)"), (4, 12), "'y' is a value, not a function", "multiply"),
        (block("return f_not"), (3, 12), "'f_not' is a function", "f_not(x)"),
        (block("return x[4]"), (3, 13), "index 4", ""),
        (block("y = [1, 2][5]", "return x"), (3, 15), "index 5 of a list of 2", "0 to 1"),
        (block("y = x", "return [x + 1, y]"), (4, 5), "a list of 2, not a variable", "Concat"),
        (block("return f_delay(x)"), (3, 12), "lacks the argument k", "f_delay(x, k)"),
        (block("return f_delay(x, 1, 2)"), (3, 12), "3 are given", "f_delay(x, k)"),
        (block("return f_delay(x, q=1)"), (3, 12), "no argument 'q'", "f_delay(x, k)"),
        (block("return f_delay(x, x=x, k=1)"), (3, 12), "given twice", "f_delay(x, k)"),
        (block("return f_delay(x, k=1, k=2)"), (3, 28), "given twice", ""),
        (block("return LinState(x, A=1, B=1)"), (3, 12), "without init_state", "zeros"),
        (block("return Linear(x, A=[[1, 2], [3]])"), (3, 12), "row 1 of A", "A=[["),
        (block("return assume(x, integer=3)"), (3, 12), "integer of assume is the number 3", "true or false"),
        (block("return assume(x, lo=2, hi=1)"), (3, 12), "an empty range", ""),
        (block("return sparse(1, 1, [[0, 0, 1], [0, 0, 2]])"), (3, 12), "two entries", ""),
        ("x = Input(dim=1)\n" + block("return x"), (1, 5), "Input outside ForEach", "ForEach block"),
        ("def f(x, x): return x\n" + block("return x"), (1, 10), "two parameters are called 'x'", ""),
        ("def f(x): y = x\n" + block("return x"), (1, 5), "'f' returns nothing", "return"),
        ("def f(x): return x + z\n" + block("return x"), (1, 22), "unknown name 'z' in the function 'f'", ""),
    ],
)  # fmt: skip
def test_each_mistake_has_place_message_and_hint(
    text: str, place: tuple[int, int], says: str, hint: str
) -> None:
    """One mistake gives one finding, at its line and column, with the way out."""
    found = mistakes(text)
    assert places(found) == [place]
    assert says in str(found[0])
    assert hint in (found[0].hint or "")


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (block("y = (x + ", "return x"), (3, 9), "'(' is never closed"),
        (block("y = x +", "return x"), (3, 12), "the line ends too early: expected a value"),
        (block("y = x x", "return x"), (3, 11), "'x' does not fit here: expected an operator"),
        (block("if x:", "    y = 1", "return x"), (3, 5), "'if' does not fit here"),
        (block("y = x]", "return x"), (3, 10), "']' closes nothing"),
        (block("y = x $ 2", "return x"), (3, 11), "'$' does not belong to the language"),
        (block("  y = 3", "return x"), (3, 1), "an indented line where no block starts"),
        (block("y = x[]", "return x"), (3, 10), "an empty index"),
        (block("y = 0..3", "return x"), (3, 10), "'..' does not fit here"),
        (block("for = 3", "return x"), (3, 5), "'for' does not fit here"),
        (block("true = 3", "return x"), (3, 5), "a word of the language"),
        (block("y = f_and(x=1, 2)", "return x"), (3, 20), "a positional argument after a named one"),
        ("ForEach:\n    x = Input(dim=1)\n  return x\n", (3, 3), "matches no block"),
        ("ForEach:\n\tx = Input(dim=1)\n        return x\n", (3, 1), "tabs and spaces are mixed"),
        ("ForEach:", (1, 1), "the program ends too early"),
        ("  x = 1\n", (1, 1), "the first line is indented"),
        ("x = 1\0\n", (1, 6), "U+0000"),
        ("x = ٣\n", (1, 5), "is not a number"),
    ],
)
def test_a_syntax_error_is_one_finding_in_plain_words(text: str, place: tuple[int, int], says: str) -> None:
    """What cannot be parsed is reported once, with line and column and what was expected."""
    found = mistakes(text)
    assert places(found) == [place]
    assert says in found[0].message


def test_all_mistakes_are_reported_at_once_in_order() -> None:
    """Mismatched dimensions on two lines and an unknown name are three findings, sorted by line."""
    text = block(
        "a = Linear(x, A=eye(2))",
        "b = LinState(x, A=eye(2), B=eye(2), init_state=0)",
        "c = nowhere + 1",
        "return x",
    )
    assert places(mistakes(text)) == [(3, 9), (4, 9), (5, 9)]


def test_what_follows_from_a_mistake_is_not_reported() -> None:
    """A name whose definition failed silences what reads it, through any number of steps."""
    text = block("a = nowhere", "b = a + 1", "c = f_and(b, x)", "d = [b, c]", "return Concat(d)")
    assert places(mistakes(text)) == [(3, 9)]
    assert places(mistakes("param n = 1/0\ndef f(x, k=n): return x\n" + block("return f(x)"))) == [(1, 12)]


def test_a_mistake_inside_a_function_names_the_call_and_counts_once() -> None:
    """The finding stands in the function and names the line of the first call."""
    text = "def f(x, k): return x + eye(k)\n" + block("y = f(x, 2)", "z = f(x, 3)", "return f(x, 2)")
    found = mistakes(text)
    assert places(found) == [(1, 23), (1, 23)]
    assert "in f, called on line 4" in found[0].message
    assert "in f, called on line 5" in found[1].message


def test_a_constant_as_output_leaves_the_input_unused() -> None:
    """Returning a number is an error, and so is the Input that nothing reads."""
    found = mistakes(block("return 3"))
    assert places(found) == [(2, 9), (3, 5)]
    assert "not used" in found[0].message
    assert any("no Input" in each.message for each in mistakes("ForEach:\n    return 3\n"))


@pytest.mark.parametrize(
    "value",
    ["inf", "x", "1/0", "", float("nan"), "1e99999999", "9" * 30_000, mpq(10) ** 30_000],
    ids=["inf", "letter", "1/0", "empty", "nan", "exponent", "digits", "bits"],
)
def test_bad_parameter_values_point_at_the_param(value: Number) -> None:
    """An override that is no finite, bounded number is refused at the parameter's line."""
    assert places(mistakes("param n = 3\n" + block("return x"), {"n": value})) == [(1, 7)]


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    """An override that the program does not declare is a ConfigError with the choices."""
    with pytest.raises(ConfigError, match=r"unknown parameter 'm' \(its parameters are n, k\)"):
        parse_program("param n = 3\nparam k = 3\n" + block("return x"), parameters={"m": 1})
    with pytest.raises(ConfigError, match="no parameters"):
        parse_program(block("return x"), parameters={"m": 1})


def test_the_number_of_findings_is_bounded() -> None:
    """A file of nothing but mistakes ends after a hundred of them."""
    with pytest.raises(ProgramError) as caught:
        parse_program(block(*[f"y{i} = z{i}" for i in range(5000)], "return x"))
    assert len(caught.value.diagnostics) == 100
