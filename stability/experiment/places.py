"""Where the keys and values of a TOML text stand, so that a wrong one can be pointed at.

``tomllib`` keeps no positions.  This is no second parser: it is asked only about texts that
``tomllib`` has read, and finds its way by their brackets, strings and line ends alone.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field

Key = tuple[str | int, ...]
"""``("grid", 0, "lengths", 2)`` is the third of the lengths of the first ``[[grid]]``."""
Place = tuple[int, int]
"""Line and column, from 1."""

_TOKEN = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<string>\"{3}(?:[^\\]|\\.)*?\"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')
    | (?P<newline>\n)
    | (?P<mark>[\[\]{},=.])
    | (?P<bare>[^\s\#"'\[\]{},=.]+)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet: an array of ``count`` values so far, or a table."""

    key: Key
    array: bool
    count: int = 0


@dataclass(slots=True)
class _Walk:
    """A walk over the tokens of a text."""

    tokens: list[_Token]
    at: int = 0
    starts: dict[Key, int] = field(default_factory=dict)
    tables: dict[Key, int] = field(default_factory=dict)

    def peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def blank(self) -> None:
        """Over line ends."""
        while self.at < len(self.tokens) and self.tokens[self.at].kind == "newline":
            self.at += 1

    def key(self, before: Key, end: str) -> Key:
        """Over a key and the ``end`` that closes it; every part of it begins where it does."""
        start = self.tokens[self.at].start
        found = before
        while self.peek() != end:
            token = self.tokens[self.at]
            if token.kind != "mark":
                found = (*found, _name(token))
                self.starts.setdefault(found, start)
            self.at += 1
        self.at += 1
        return found

    def header(self) -> Key:
        """Over ``[table]`` or ``[[table]]``: the place that the lines below it fill."""
        start, double = self.tokens[self.at].start, self.tokens[self.at + 1].text == "["
        self.at += 2 if double else 1
        found: Key = ()
        while self.peek() != "]":
            token = self.tokens[self.at]
            self.at += 1
            if token.kind == "mark":
                continue
            if found in self.tables:
                found = (*found, self.tables[found])
            found = (*found, _name(token))
            self.starts.setdefault(found, start)
        self.at += 2 if double else 1
        if double:
            self.tables[found] = self.tables.get(found, -1) + 1
        if found in self.tables:
            found = (*found, self.tables[found])
            self.starts.setdefault(found, start)
        return found

    def value(self, key: Key) -> None:
        """Over one value, however deep; all that stands in it gets its place."""
        opened: list[_Open] = []
        while True:
            self.blank()
            if opened and self.peek() in {"]", "}"}:
                self.at += 1
                opened.pop()
            else:
                here = self.element(opened[-1]) if opened else key
                if self.peek() in {"[", "{"}:
                    opened.append(_Open(here, array=self.peek() == "["))
                    self.at += 1
                    continue
                self.scalar()
            if not opened:
                return
            self.blank()
            if self.peek() == ",":
                self.at += 1

    def element(self, inside: _Open) -> Key:
        """The key of the next value in an array or in an inline table."""
        if not inside.array:
            found = self.key(inside.key, "=")
            self.blank()
            return found
        found = (*inside.key, inside.count)
        inside.count += 1
        self.starts.setdefault(found, self.tokens[self.at].start)
        return found

    def scalar(self) -> None:
        """Over a string, a number or a date."""
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind == "newline" or token.text in {",", "]", "}"}:
                return
            self.at += 1


def _name(token: _Token) -> str:
    if token.kind != "string":
        return token.text
    return str(tomllib.loads(f"k = {token.text}")["k"])


def places(text: str) -> dict[Key, Place]:
    """The line and column of every table, key and element of a text that ``tomllib`` accepts.

    A key that two tables share, such as a header's first part, has the place of the first.
    """
    tokens = [
        _Token(str(found.lastgroup), found[0], found.start())
        for found in _TOKEN.finditer(text)
        if found.lastgroup != "comment"
    ]
    walk = _Walk(tokens)
    table: Key = ()
    walk.blank()
    while walk.at < len(tokens):
        if walk.peek() == "[":
            table = walk.header()
        else:
            walk.value(walk.key(table, "="))
        walk.blank()
    lines = [0, *(found.end() for found in re.finditer("\n", text))]
    return _numbered(walk.starts, lines)


def _numbered(starts: dict[Key, int], lines: list[int]) -> dict[Key, Place]:
    found: dict[Key, Place] = {}
    line = 0
    for key, start in sorted(starts.items(), key=lambda pair: pair[1]):
        while line + 1 < len(lines) and lines[line + 1] <= start:
            line += 1
        found[key] = line + 1, start - lines[line] + 1
    return found


def place_of(known: dict[Key, Place], key: Key) -> Place:
    """The place of a key, or of the nearest thing around it."""
    while key and key not in known:
        key = key[:-1]
    return known.get(key, (1, 1))
