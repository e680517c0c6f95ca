"""What is checked of a text before it is parsed: size, characters, brackets, indentation.

A program file is untrusted input.  These checks are linear in its length and
hold no stack, so that the parser behind them never meets a text it cannot end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from compiler.text.syntax import Position

MAX_BYTES = 1_000_000
MAX_BRACKETS = 64
MAX_TOKENS = 250_000

_PIECE = re.compile(r"#.*|[\[\](){}]|\w+|[^\s\w]")
_INDENT = re.compile(r"[ \t]*")
CLOSING = {")": "(", "]": "[", "}": "{"}
OPENING = frozenset(CLOSING.values())

Bracket = tuple[str, int, int]
"""A sign, its line and its column."""


class Slip(Exception):  # noqa: N818  (a finding on its way to the caller)
    """One thing that keeps a text from being parsed.

    Attributes:
        at: line and column.
        message: what is wrong.
        hint: the way out.
        lone: nothing else can be said of the text: it is too large, or its blocks are unclear.
    """

    def __init__(self, at: Position, message: str, hint: str | None = None, *, lone: bool = False) -> None:
        super().__init__(message)
        self.at, self.message, self.hint, self.lone = at, message, hint, lone


def normalised(text: str) -> str:
    """The text with line ends LF and one at its end.

    Raises:
        Slip: it is too large.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise Slip((1, 1), f"the program is larger than {MAX_BYTES:,} bytes", "split it", lone=True)
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n") + "\n"


def check(text: str) -> None:
    """Hold a normalised text to what the parser can take.

    Raises:
        Slip: a forbidden character, brackets that are unbalanced or too deep, too many words,
            or an indentation that mixes tabs and spaces.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        found = forbidden(line, number)
        if found is not None:
            raise found
    check_indentation(text, _check_brackets(text))


def forbidden(line: str, number: int) -> Slip | None:
    """The first character of a line that is no text."""
    if line.isprintable():
        return None
    for column, character in enumerate(line, start=1):
        if (ord(character) < 32 and character != "\t") or 0xD800 <= ord(character) < 0xE000:
            message = f"the character U+{ord(character):04X} is not text"
            return Slip((number, column), message, "save the file as plain UTF-8 text")
    return None


def pieces(line: str) -> Iterator[tuple[str, int]]:
    """The brackets, words and signs of a line with their columns; comments whole."""
    return ((match.group(), match.start() + 1) for match in _PIECE.finditer(line))


def _check_brackets(text: str) -> list[int]:
    """Check the nesting; return the numbers of the lines that begin outside all brackets."""
    opened, outside, tokens = list[Bracket](), list[int](), 0
    for line, content in enumerate(text.split("\n"), start=1):
        if not opened:
            outside.append(line)
        slip = follow(content, line, opened)
        if slip is not None:
            raise slip
        tokens += 1 + sum(1 for _ in pieces(content))
        if tokens > MAX_TOKENS:
            raise Slip((line, 1), f"more than {MAX_TOKENS:,} words and signs", "split the program", lone=True)
    if opened:
        raise unclosed(opened[-1])
    return outside


def follow(line: str, number: int, opened: list[Bracket]) -> Slip | None:
    """Open and close the brackets of a line; the first that closes nothing, or is too deep."""
    for piece, column in pieces(line):
        at = (number, column)
        if piece in OPENING:
            opened.append((piece, *at))
            if len(opened) > MAX_BRACKETS:
                message = f"brackets nested deeper than {MAX_BRACKETS}"
                return Slip(at, message, "name the inner parts on lines of their own", lone=True)
        elif piece in CLOSING:
            if not opened:
                return Slip(at, f"'{piece}' closes nothing")
            sign, place, _ = opened.pop()
            if sign != CLOSING[piece]:
                return Slip(
                    at, f"'{piece}' closes nothing", f"the last open bracket is '{sign}' on line {place}"
                )
    return None


def unclosed(bracket: Bracket) -> Slip:
    """The finding for a bracket that nothing closes."""
    sign, line, column = bracket
    return Slip((line, column), f"'{sign}' is never closed")


def indentation(line: str) -> str:
    """The blanks at the beginning of a line."""
    found = _INDENT.match(line)
    return found.group() if found else ""


def is_code(line: str) -> bool:
    """Whether a line holds more than blanks and a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def check_indentation(text: str, outside: Iterable[int]) -> None:
    """Refuse blocks that cannot be told from each other; ``outside``: the lines that begin statements.

    Raises:
        Slip: an indented first line, or tabs beside spaces.
    """
    lines, seen = text.split("\n"), None
    for position, number in enumerate(n for n in outside if is_code(lines[n - 1])):
        characters = set(indentation(lines[number - 1]))
        if characters and position == 0:
            raise Slip((number, 1), "the first line is indented", "start it in column 1", lone=True)
        for character in characters:
            if seen is not None and character != seen:
                message = "tabs and spaces are mixed in the indentation"
                raise Slip((number, 1), message, "use one of them in the whole file", lone=True)
            seen = character
