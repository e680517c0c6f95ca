"""Everything that docs/ says in code is true: examples run, tables agree with the code.

A fence ``lsrl`` holds a whole program and ``python`` a whole script.  A ``text`` fence
after ``<!-- prints -->`` is what the fence before it prints; for a program (``<!-- prints
NAME.lsrl -->``) that is its error message, and a program without one has to compile.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler import CompileConfig, LsrlError, compile_program, interpret, parse_program, unparse
from compiler.compiling import TARGET_NAMES, settle
from compiler.config import CONDITIONALS, CONFIGURATIONS, STEPS
from compiler.evaluate import evaluate
from compiler.stdlib import LIBRARY
from compiler.text.builders import BUILDERS
from compiler.text.builtins import BUILTINS

DOCS = Path(__file__).parents[2] / "docs"
LANGUAGE = (DOCS / "language.md").read_text(encoding="utf-8")
_FENCE = re.compile(
    r"^```(?P<language>lsrl|python)\n(?P<code>.*?)^```$"
    r"(?:(?:(?!^```).)*?^<!-- prints ?(?P<file>\S*) -->\n```text\n(?P<printed>.*?)^```$)?",
    flags=re.MULTILINE | re.DOTALL,
)
OPERATIONS = ["Input", "Linear", "ReLU", "LinState", "Concat", "Multi"]
TOKENS: list[list[int | str]] = [
    [-2, 1, 3],
    [0, 0, 1],
    ["1/3", "1/2", -1],
    [1, 2, -3],
    [1, 1, "5/7"],
    [0, 4, 2],
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A fence of a page: its code and, where the page says so, its file's name and what it prints."""

    place: str
    code: str
    file: str | None
    printed: str | None


def examples(language: str) -> list[Example]:
    """The examples in one language of every page, in order."""
    found = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            if match["language"] == language:
                place = f"{page.name}:{line}"
                found.append(
                    Example(place=place, code=match["code"], file=match["file"], printed=match["printed"])
                )
    return found


def table(name: str) -> list[list[str]]:
    """The cells of a marked table of the language page, without its head."""
    lines = LANGUAGE.split(f"<!-- table-{name} -->\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def codes(cell: str) -> list[str]:
    """The code spans of a cell."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("example", examples("lsrl"), ids=lambda example: example.place)
def test_programs_compile_or_are_wrong_as_stated(example: Example) -> None:
    """A program of the docs compiles for an LSTM, or prints exactly the error beside it."""
    if example.printed is None:
        assert compile_program(parse_program(example.code), target="lstm").nonzeros > 0
        return
    with pytest.raises(LsrlError) as caught:
        compile_program(parse_program(example.code, file=example.file or "<text>"), target="lstm")
    assert str(caught.value) == example.printed.rstrip("\n")


@pytest.mark.parametrize("example", examples("python"), ids=lambda example: example.place)
def test_scripts_run_and_print_what_is_stated(example: Example, tmp_path: Path) -> None:
    """A script of the docs runs without a warning and prints exactly the text beside it."""
    script = tmp_path / "example.py"
    script.write_text(example.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if example.printed is not None:
        assert done.stdout == example.printed


def test_the_language_page_has_examples_of_each_kind() -> None:
    """The examples are found: good and wrong programs, and a script whose output is stated."""
    here = [each for each in examples("lsrl") if each.place.startswith("language.md")]
    assert {each.printed is None for each in here} == {True, False}
    wrong = next(each for each in here if each.printed)
    assert wrong.printed is not None
    assert len(wrong.printed.splitlines()) == 2
    assert any(each.printed for each in examples("python"))
    pages = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    for language in ("lsrl", "python"):
        assert len(examples(language)) == pages.count(f"\n```{language}")
    stated = sum(each.printed is not None for language in ("lsrl", "python") for each in examples(language))
    assert stated == pages.count("\n<!-- prints")


def test_the_operations_are_listed_with_their_forms() -> None:
    """The table of operations holds each of the six, as a call is written."""
    shown = [codes(row[0])[0] for row in table("operations")]
    assert shown == [str(BUILTINS[name].form) for name in OPERATIONS]


def test_the_idioms_are_listed_with_their_forms() -> None:
    """The table of idioms is the standard library, in order, as a call is written."""
    shown = [codes(row[0])[0] for row in table("idioms")]
    assert shown == [str(BUILTINS[name].form) for name in LIBRARY]


def outputs(expression: str, config: CompileConfig, constants: str = "") -> object:
    """The exact values of an expression over a few tokens; its variables are the token's entries."""
    lines = [f"{name} = v[{i}]" for i, names in enumerate(("xc", "yt", "f")) for name in names]
    body = ["v = Input(dim=3)", *lines, "lo = y", "hi = f", f"return {expression}"]
    text = f"{constants}\nForEach:\n" + "".join(f"    {line}\n" for line in body)
    return interpret(parse_program(text), TOKENS, config)


def _definitions() -> list[tuple[str, str]]:
    rows = [(codes(row[0])[0], row[1]) for row in table("idioms")]
    return [(call, codes(meaning)[0]) for call, meaning in rows if meaning.startswith("`")]


@pytest.mark.parametrize(("call", "meaning"), _definitions())
def test_an_idiom_computes_its_definition(call: str, meaning: str) -> None:
    """Where the definition is a formula, the idiom has its value on rational tokens."""
    config = CompileConfig(mu=4)
    plain = re.sub(r", \w+=…", "", call)
    assert outputs(plain, config, "k = 2") == outputs(meaning, config, "k = 2")


def test_most_idioms_are_defined_by_a_formula() -> None:
    """The check above reaches the idioms that have a closed form."""
    assert len(_definitions()) == 12


def test_step_forms_are_as_listed() -> None:
    """Each step form computes its formula, and no form is left out."""
    paragraph = LANGUAGE.split("\n**The step form** decides `f_step(x)`:")[1].split("\n\n")[0]
    spans = codes(paragraph)
    rows = dict(zip(spans[::2], spans[1::2], strict=True))
    assert set(rows) == set(STEPS)
    for step, formula in rows.items():
        config = CompileConfig(step=step, mu=4)  # type: ignore[arg-type]
        assert outputs("f_step(x)", config) == outputs(formula, config, "mu = 4")


def test_conditionals_are_as_listed() -> None:
    """Each conditional computes its formula, also where the condition is neither 0 nor 1."""
    rows = table("conditionals")
    named = [name for row in rows for name in codes(row[0])]
    assert sorted(named) == sorted(CONDITIONALS)
    formulas = {codes(row[0])[0]: codes(row[1]) for row in rows}
    direct = formulas["direct"][0]
    _, false_mask, false_step, true_mask, true_step = formulas["step"]
    stepped = direct.replace(true_mask, f"({true_step})").replace(false_mask, f"({false_step})")
    meanings = {
        "direct": direct, "optimized": direct, "step": stepped, "step_optimized": stepped,
        "multiplicative": formulas["multiplicative"][0],
        "multiplicative_optimized": formulas["multiplicative"][0],
    }  # fmt: skip
    for conditional, meaning in meanings.items():
        config = CompileConfig(mu=4, lam=10, conditional=conditional)  # type: ignore[arg-type]
        assert outputs("f_ifelse(c, t, f)", config) == outputs(meaning, config, "lam = 10")


def test_the_conditional_of_a_target_is_as_described() -> None:
    """The page names exactly the targets that take products, and the conditional of each kind."""
    sentence = LANGUAGE.split("Unless it is named, the conditional is ")[1].split("\n\n")[0]
    gated, *targets, ungated = codes(sentence)
    for target in TARGET_NAMES:
        expected = gated if target in targets else ungated
        assert settle(CompileConfig(), target).conditional == expected
    assert set(targets) <= set(TARGET_NAMES)


def test_configurations_are_as_listed() -> None:
    """The table of configurations holds every factor of every named configuration."""
    head = LANGUAGE.split("<!-- table-configurations -->\n")[1].splitlines()[0]
    factors = [cell.strip() for cell in head.strip("|").split(" | ")][1:]
    rows = {codes(row[0])[0]: [codes(cell)[0] for cell in row[1:]] for row in table("configurations")}
    assert set(rows) == set(CONFIGURATIONS)
    for name, values in rows.items():
        assert dict(zip(factors, values, strict=True)) == CompileConfig.named(name).settings()


@pytest.mark.parametrize("row", table("constants"), ids=lambda row: codes(row[0])[0])
def test_constants_have_the_stated_value(row: list[str]) -> None:
    """A constant expression and its value give the same program."""
    both = [f"ForEach:\n    x = Input(dim=1)\n    return f_constant(x, {codes(cell)[0]})\n" for cell in row]
    assert parse_program(both[0]) == parse_program(both[1])


@pytest.mark.parametrize("row", table("matrices"), ids=lambda row: codes(row[0])[0])
def test_matrices_have_the_stated_entries(row: list[str]) -> None:
    """A matrix expression and its entries give the same program."""
    expression, entries = (codes(cell)[0] for cell in row)
    width = len(ast.literal_eval(entries)[0])
    both = [
        f"ForEach:\n    x = Input(dim={width})\n    return Linear(x, A={each})\n"
        for each in (expression, entries)
    ]
    assert parse_program(both[0]) == parse_program(both[1])


def test_every_builder_is_shown() -> None:
    """Each function on constants stands in code on the page."""
    spans = " ".join(codes(re.sub(r"^```.*?^```$", "", LANGUAGE, flags=re.MULTILINE | re.DOTALL)))
    missing = [name for name in BUILDERS if not re.search(rf"\b{name}\b", spans)]
    assert missing == []


def test_limits_are_those_of_the_code() -> None:
    """Each limit of the table is its constant, and no bound of the text front end is left out."""
    shown = {codes(row[2])[0]: int(row[0].replace(",", "")) for row in table("limits")}
    for place, value in shown.items():
        module, _, name = place.rpartition(".")
        assert getattr(importlib.import_module(module), name) == value, place
    sources = itertools.chain(
        (DOCS.parent / "compiler" / "text").glob("*.py"), [DOCS.parent / "compiler" / "expr.py"]
    )
    bounds = {
        name
        for path in sources
        for name in re.findall(r"^(MAX_\w+) =", path.read_text("utf-8"), re.MULTILINE)
    }
    assert {place.rpartition(".")[2] for place in shown} == bounds


def test_a_parameter_is_overridden_as_described() -> None:
    """The page's example with params takes other values, exactly, and is written back as text."""
    code = next(each.code for each in examples("lsrl") if "param n = 3" in each.code)
    program = parse_program(code, parameters={"n": 5, "rate": "1/3"})
    assert {name: str(value) for name, value in program.parameters} == {"n": "5", "rate": "1/3"}
    assert parse_program(unparse(program)) == program


def test_a_wrong_declaration_is_believed() -> None:
    """A token beyond its declared range makes the compiled model differ from the program, unnoticed."""
    program = parse_program(
        "ForEach:\n    x = Input(dim=1, lo=0, hi=9)\n    return f_ifelse(f_larger(x, 5), t=0, f=x)\n"
    )
    model = compile_program(program, target="relu_rnn")
    assert interpret(program, [[3], [9], [100]]) == [(3,), (0,), (0,)]
    assert evaluate(model, [[3], [9], [100]]) == [(3,), (0,), (84,)]
