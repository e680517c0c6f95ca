"""From text to syntax tree: the lark grammar, the indentation and the words for syntax errors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Literal, NoReturn

from gmpy2 import mpq, mpz
from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from lark.lark import PostLex

from compiler.errors import Diagnostic, ProgramError, Span
from compiler.text import syntax
from compiler.text.findings import MAX_DIAGNOSTICS
from compiler.text.recovery import all_slips
from compiler.text.scan import Slip, check, normalised
from compiler.text.values import MAX_DIGITS

RESERVED = frozenset(
    "param def return ForEach for in if else and or not true false True False pi".split()  # noqa: SIM905
)

_TRUTHS = {"true": True, "True": True, "false": False, "False": False}


class Indentation(PostLex):
    """Turn leading blanks into block tokens; line ends inside brackets vanish.

    All of its state lives in one call of :meth:`process`, so that threads may parse at once.
    """

    always_accept = ("_NEWLINE",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """The tokens of ``stream`` with ``_INDENT`` and ``_DEDENT`` added."""
        depth, levels, last = 0, [0], None
        for token in stream:
            last = token
            if token.type == "_NEWLINE":
                if depth == 0:
                    yield token
                    yield from self._blocks(token, levels)
                continue
            yield token
            depth += (token.type in ("OPEN", "LPAR")) - (token.type in ("RSQB", "RPAR"))
        while len(levels) > 1:
            levels.pop()
            yield Token.new_borrow_pos("_DEDENT", "", last) if last is not None else Token("_DEDENT", "")

    def _blocks(self, token: Token, levels: list[int]) -> Iterator[Token]:
        indent = len(token.rpartition("\n")[2])
        if indent > levels[-1]:
            levels.append(indent)
            yield Token.new_borrow_pos("_INDENT", "", token)
        while indent < levels[-1]:
            levels.pop()
            yield Token.new_borrow_pos("_DEDENT", "", token)
        if indent != levels[-1]:
            at = (token.end_line or 1, indent + 1)
            raise Slip(at, "this indentation matches no block above", "indent a block evenly")


def _at(token: Token) -> syntax.Position:
    return (token.line or 1, token.column or 1)


def _number(token: Token) -> mpq:
    """The exact value of a literal: digits and a power of ten, both bounded."""
    mantissa, _, exponent = token.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 6 or abs(int(exponent or "0")) > MAX_DIGITS:
        raise Slip(
            _at(token), f"a number of more than {MAX_DIGITS:,} digits", "constants are finite and bounded"
        )
    try:
        value = mpq(mpz(whole + fraction))
    except ValueError:
        raise Slip(_at(token), f"'{token[:20]}' is not a number", "write digits 0 to 9") from None
    return value * mpq(10) ** (int(exponent or "0") - len(fraction))


def _declared(token: Token) -> str:
    if token in RESERVED:
        raise Slip(_at(token), f"'{token}' is a word of the language, not a name", "choose another name")
    return str(token)


class TreeBuilder(Transformer[Token, Any]):
    """Makes syntax nodes while lark reduces, so that no raw tree is ever held."""

    # ruff: noqa: D102  (one method per rule of grammar.lark, named like it)

    def start(self, items: list[Any]) -> syntax.Module:
        return tuple(items)

    def param(self, parts: list[Any]) -> syntax.Param:
        return syntax.Param(at=_at(parts[0]), name=_declared(parts[0]), value=parts[1])

    def assign(self, parts: list[Any]) -> syntax.Assign:
        return syntax.Assign(at=_at(parts[0]), name=_declared(parts[0]), value=parts[1])

    def return_statement(self, parts: list[Any]) -> syntax.Return:
        return syntax.Return(at=_at(parts[0]), value=parts[1])

    def body(self, parts: list[Any]) -> tuple[syntax.Statement, ...]:
        return tuple(parts)

    def foreach(self, parts: list[Any]) -> syntax.ForEach:
        return syntax.ForEach(at=_at(parts[0]), body=parts[1])

    def formals(self, parts: list[Any]) -> tuple[syntax.Formal, ...]:
        return tuple(parts)

    def formal(self, parts: list[Any]) -> syntax.Formal:
        return syntax.Formal(at=_at(parts[0]), name=_declared(parts[0]), default=parts[1])

    def definition(self, parts: list[Any]) -> syntax.Definition:
        return syntax.Definition(
            at=_at(parts[0]), name=_declared(parts[0]), formals=parts[1] or (), body=parts[2]
        )

    def conditional(self, parts: list[Any]) -> syntax.Conditional:
        branches = tuple(zip(parts[0:-1:2], parts[1::2], strict=True))
        return syntax.Conditional(at=parts[0].at, branches=branches, otherwise=parts[-1])

    def either(self, parts: list[Any]) -> syntax.Logic:
        return syntax.Logic(at=parts[0].at, operator="or", operands=tuple(parts))

    def both(self, parts: list[Any]) -> syntax.Logic:
        return syntax.Logic(at=parts[0].at, operator="and", operands=tuple(parts))

    def inverted(self, parts: list[Any]) -> syntax.Prefixed:
        return self._prefixed("not", len(parts) % 2 == 0, parts)

    def signs(self, parts: list[Any]) -> syntax.Prefixed:
        return self._prefixed("sign", sum(part == "-" for part in parts[:-1]) % 2 == 1, parts)

    def _prefixed(self, kind: Literal["sign", "not"], odd: bool, parts: list[Any]) -> syntax.Prefixed:
        return syntax.Prefixed(at=_at(parts[0]), kind=kind, odd=odd, operand=parts[-1])

    def compared(self, parts: list[Any]) -> syntax.Comparison:
        return syntax.Comparison(at=_at(parts[1]), first=parts[0], steps=self._steps(parts))

    def chain(self, parts: list[Any]) -> syntax.Chain:
        return syntax.Chain(at=_at(parts[1]), first=parts[0], steps=self._steps(parts))

    def _steps(self, parts: list[Any]) -> tuple[syntax.Step, ...]:
        pairs = zip(parts[1::2], parts[2::2], strict=True)
        return tuple(
            syntax.Step(at=_at(sign), operator=str(sign), operand=operand) for sign, operand in pairs
        )

    def powers(self, parts: list[Any]) -> syntax.Power:
        return syntax.Power(at=parts[0].at, operands=tuple(parts))

    def trailed(self, parts: list[Any]) -> syntax.Postfix:
        return syntax.Postfix(at=parts[0].at, base=parts[0], trailers=tuple(parts[1:]))

    def empty_index(self, parts: list[Any]) -> NoReturn:
        raise Slip(_at(parts[0]), "an empty index", "write x[i] or x[a:b]")

    def index(self, parts: list[Any]) -> syntax.Index:
        return syntax.Index(at=_at(parts[0]), index=parts[1])

    def slice(self, parts: list[Any]) -> syntax.Slice:
        return syntax.Slice(at=_at(parts[0]), start=parts[1], stop=parts[3])

    def attribute(self, parts: list[Any]) -> syntax.Attribute:
        return syntax.Attribute(at=_at(parts[1]), name=str(parts[1]))

    def number(self, parts: list[Any]) -> syntax.Number:
        return syntax.Number(at=_at(parts[0]), value=_number(parts[0]))

    def name(self, parts: list[Any]) -> syntax.Name | syntax.Truth:
        if parts[0] in _TRUTHS:
            return syntax.Truth(at=_at(parts[0]), value=_TRUTHS[parts[0]])
        return syntax.Name(at=_at(parts[0]), name=str(parts[0]))

    def items(self, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)

    arguments = items

    def keyword(self, parts: list[Any]) -> tuple[Token, Any]:
        return (parts[0], parts[1])

    def call(self, parts: list[Any]) -> syntax.Call:
        arguments = parts[1] or ()
        keywords: dict[str, Any] = {}
        positional = []
        for argument in arguments:
            if not isinstance(argument, tuple):
                if keywords:
                    raise Slip(argument.at, "a positional argument after a named one", "name this one too")
                positional.append(argument)
                continue
            token, value = argument
            if str(token) in keywords:
                raise Slip(_at(token), f"the argument '{token}' is given twice")
            keywords[str(token)] = value
        return syntax.Call(
            at=_at(parts[0]),
            name=str(parts[0]),
            positional=tuple(positional),
            keywords=tuple(keywords.items()),
        )

    def list_of(self, parts: list[Any]) -> syntax.ListOf:
        return syntax.ListOf(at=_at(parts[0]), items=parts[1] or ())

    def clause(self, parts: list[Any]) -> syntax.Clause:
        return syntax.Clause(
            at=_at(parts[0]),
            name=_declared(parts[1]),
            start=parts[2],
            stop=parts[3],
            conditions=tuple(parts[4:]),
        )

    def comprehension(self, parts: list[Any]) -> syntax.Comprehension:
        return syntax.Comprehension(at=_at(parts[0]), item=parts[1], clauses=tuple(parts[2:]))


@cache
def _parser() -> Lark:
    grammar = resources.files("compiler.text").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        postlex=Indentation(),
        transformer=TreeBuilder(),
        propagate_positions=False,
        maybe_placeholders=True,
    )


class _Words:
    """What terminals are called in messages."""

    plain: ClassVar[dict[str, str]] = {
        "_NEWLINE": "the end of the line",
        "_INDENT": "an indented block",
        "_DEDENT": "the end of the block",
        "$END": "the end of the file",
        "COMPARE": "a comparison",
        "LPAR": "'('",
        "RPAR": "')'",
        "RSQB": "']'",
        "OPEN": "'['",
        "EQUAL": "'='",
        "COMMA": "','",
        "COLON": "':'",
        "DOT": "'.'",
        "NAME": "a name",
        "NUMBER": "a number",
        "FOREACH": "'ForEach'",
    }
    operators = frozenset(
        "PLUS MINUS STAR SLASH DOUBLE_SLASH PERCENT AT COMPARE POW AND OR IF DOT OPEN".split()  # noqa: SIM905
    )


def _expected(terminals: set[str]) -> str:
    """The allowed terminals in plain words, an expression and an operator as one each."""
    words: list[str] = []
    rest = set(terminals)
    if {"NUMBER", "NAME"} <= rest:
        words.append("a value")
        rest -= {"NUMBER", "NAME", "LPAR", "OPEN", "PLUS", "MINUS", "NOT"}
    if {"PLUS", "STAR"} <= rest:
        words.append("an operator")
        rest -= {*_Words.operators, "LPAR"}
    if {"PARAM", "DEF"} <= rest:
        words.append("a statement")
        rest -= {"PARAM", "DEF", "FOREACH", "RETURN", "NAME", "$END", "_NEWLINE"}
    names = [
        _Words.plain.get(name, f"'{name.lower()}'") for name in sorted(rest) if not name.startswith("__")
    ]
    words.extend(names)
    return " or ".join(words[:5]) or "something else"


_HINTS = {
    "if": "conditions on values: f_ifelse(cond, t=…, f=…); on constants: a if c else b",
    "for": "loops stand in a list: [f(i) for i in 0..n]",
    "while": "there are no loops but lists: [f(i) for i in 0..n]",
    "import": "the library's names are there without import",
    "foreach": "it is written ForEach:",
    "Foreach": "it is written ForEach:",
    "elif": "conditions on values: f_ifelse(cond, t=…, f=…); on constants: a if c else b",
    "..": "a..b stands only in a list's loop: [i for i in a..b]",
    "{": "there are lists and calls, no sets or dictionaries",
}


def _syntax_error(problem: UnexpectedToken, text: str) -> Slip:
    token = problem.token
    expected = f"expected {_expected(set(problem.accepts or problem.expected))}"
    at = _at(token)
    lines = text.split("\n")
    first = (lines[at[0] - 1].split() or [""])[0].rstrip(":") if at[0] <= len(lines) else ""
    hint = _HINTS.get(str(token), _HINTS.get(first))
    if token.type == "$END":
        place = (max(1, text.rstrip().count("\n") + 1), 1)
        return Slip(place, f"the program ends too early: {expected}", hint)
    if token.type == "_INDENT":
        place = (token.end_line or at[0], len(token) or 1)
        return Slip(place, "an indented line where no block starts", "only ForEach: and def f(…): open one")
    if token.type == "_NEWLINE":
        return Slip(at, f"the line ends too early: {expected}", hint)
    if token.type == "_DEDENT":
        return Slip(at, f"the block ends too early: {expected}", hint)
    shown = str(token) if len(token) <= 30 else f"{token[:30]}…"
    return Slip(at, f"'{shown}' does not fit here: {expected}", hint)


def _parse(text: str) -> syntax.Module | Slip:
    """The statements of a text, or what comes first of what is wrong with it."""
    try:
        module: Any = _parser().parse(text)
    except UnexpectedToken as problem:
        return _syntax_error(problem, text)
    except UnexpectedCharacters as problem:
        sign = text.split("\n")[problem.line - 1][problem.column - 1]
        message = f"the character {sign!a} does not belong to the language"
        return Slip((problem.line, problem.column), message, _HINTS.get(sign))
    except Slip as problem:
        return problem
    assert isinstance(module, tuple)
    return module


def _slip(text: str) -> Slip | None:
    found = _parse(text)
    return found if isinstance(found, Slip) else None


def parse_module(text: str, file: str) -> syntax.Module:
    """The statements of a program.

    Raises:
        ProgramError: the syntax errors, at most one a statement, with line and column.
    """
    try:
        text = normalised(text)
        check(text)
    except Slip as problem:
        first, good = problem, 0
    else:
        module = _parse(text)
        if not isinstance(module, Slip):
            return module
        first, good = module, module.at[0] - 1
    raise ProgramError(
        [
            Diagnostic(
                message=slip.message, span=Span(file=file, line=slip.at[0], column=slip.at[1]), hint=slip.hint
            )
            for slip in all_slips(text, first, _slip, good=good, most=MAX_DIAGNOSTICS)
        ]
    )
