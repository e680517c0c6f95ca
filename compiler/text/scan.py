"""What is checked of a text before it is parsed: size, characters, brackets, indentation.

A program file is untrusted input.  These checks are linear in its length and
hold no stack, so that the parser behind them never meets a text it cannot end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from compiler.errors import Diagnostic, ProgramError, Span

MAX_BYTES = 1_000_000
MAX_BRACKETS = 64
MAX_TOKENS = 250_000

_PIECE = re.compile(r"#[^\n]*|[\[\](){}\n]|\w+|[^\s\w]")
_INDENT = re.compile(r"[ \t]*")
_CLOSING = {")": "(", "]": "[", "}": "{"}
_OPENING = frozenset(_CLOSING.values())


def prepare(text: str, file: str) -> str:
    """The text with line ends LF and one at its end, once it has passed the checks.

    Raises:
        ProgramError: too large, a forbidden character, brackets that are unbalanced or
            too deep, or an indentation that mixes tabs and spaces.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        _stop(f"the program is larger than {MAX_BYTES:,} bytes", Span(file=file, line=1), "split it")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n") + "\n"
    for number, line in enumerate(text.split("\n"), start=1):
        _check_characters(line, file, number)
    outside = _check_brackets(text, file)
    _check_indentation(text, outside, file)
    return text


def _stop(message: str, span: Span, hint: str | None = None) -> None:
    raise ProgramError([Diagnostic(message=message, span=span, hint=hint)])


def _check_characters(line: str, file: str, number: int) -> None:
    if line.isprintable():
        return
    for column, character in enumerate(line, start=1):
        if (ord(character) < 32 and character != "\t") or 0xD800 <= ord(character) < 0xE000:
            span = Span(file=file, line=number, column=column)
            _stop(
                f"the character U+{ord(character):04X} is not text", span, "save the file as plain UTF-8 text"
            )


def _check_brackets(text: str, file: str) -> list[int]:
    """Check the nesting; return the numbers of the lines that begin outside all brackets."""
    opened: list[tuple[str, int, int]] = []
    outside, line, line_start = [1], 1, 0
    for tokens, match in enumerate(_PIECE.finditer(text), start=1):
        piece = match.group()
        here = Span(file=file, line=line, column=match.start() - line_start + 1)
        if piece == "\n":
            line, line_start = line + 1, match.end()
            if not opened:
                outside.append(line)
        elif piece in _OPENING:
            opened.append((piece, here.line, here.column))
            if len(opened) > MAX_BRACKETS:
                _stop(
                    f"brackets nested deeper than {MAX_BRACKETS}",
                    here,
                    "name the inner parts on lines of their own",
                )
        elif piece in _CLOSING:
            if not opened or opened[-1][0] != _CLOSING[piece]:
                _stop(f"'{piece}' closes nothing", here, _last_open(opened))
            opened.pop()
        if tokens > MAX_TOKENS:
            _stop(f"more than {MAX_TOKENS:,} words and signs", here, "split the program")
    if opened:
        sign, line, column = opened[-1]
        _stop(f"'{sign}' is never closed", Span(file=file, line=line, column=column))
    return outside


def _last_open(opened: list[tuple[str, int, int]]) -> str | None:
    return f"the last open bracket is '{opened[-1][0]}' on line {opened[-1][1]}" if opened else None


def _logical_lines(text: str, outside: list[int]) -> Iterator[tuple[int, str]]:
    lines = text.split("\n")
    for number in outside:
        line = lines[number - 1]
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def _check_indentation(text: str, outside: list[int], file: str) -> None:
    seen: str | None = None
    for position, (number, line) in enumerate(_logical_lines(text, outside)):
        indent = _INDENT.match(line)
        characters = set(indent.group()) if indent else set()
        if characters and position == 0:
            _stop("the first line is indented", Span(file=file, line=number), "start it in column 1")
        for character in characters:
            if seen is not None and character != seen:
                span = Span(file=file, line=number)
                _stop(
                    "tabs and spaces are mixed in the indentation", span, "use one of them in the whole file"
                )
            seen = character
