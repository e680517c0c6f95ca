"""What else is wrong with a text that cannot be parsed: its statements, one by one.

A text with a syntax error is cut into statements, and each is parsed on its own, so that a
mistake in one hides no mistake in another and causes none.  What a mistake makes unclear -
the rest of a statement, the block under a line that opens none - is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from compiler.text.scan import (
    Bracket,
    Slip,
    check_indentation,
    follow,
    forbidden,
    indentation,
    is_code,
    pieces,
    unclosed,
)

MAX_RECOVERED = 100_000
"""Characters that are parsed again."""
FAR = 200
"""Lines in which a bracket is looked for that closes."""
FILLER = "_=0"
_BEGINNING = re.compile(r"[ \t]*(?:(?:param|def|ForEach|return)\b|[^\W\d]\w*[ \t]*=(?!=))")
_CONTINUED = re.compile(r"[ \t]*(?:else|elif)\b")
_HEADER = re.compile(r"[ \t]*(?:def|ForEach)\b")

Parse = Callable[[str], Slip | None]
"""What is wrong with a text, if anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Lines that belong together.

    Attributes:
        start: the first line's number.
        stop: the last line's.
        indent: the blanks before it.
        slip: what is wrong with its characters or brackets.
    """

    start: int
    stop: int
    indent: str
    slip: Slip | None

    def lines(self, text: Sequence[str]) -> list[str]:
        """Its lines of ``text``."""
        return list(text[self.start - 1 : self.stop])


def all_slips(text: str, first: Slip, parse: Parse, *, good: int, most: int) -> list[Slip]:
    """The mistakes of a text by place, at most one a statement.

    Args:
        text: normalised.
        first: the first mistake that was found in it.
        parse: parses a part of it.
        good: the number of lines that were parsed before it.
        most: mistakes that are wanted.
    """
    if first.lone:
        return [first]
    lines = text.split("\n")
    characters = dict(islice(_characters(lines), most))
    statements = list(islice(_statements(lines, characters), most * FAR))
    found = {slip.at: slip for slip in characters.values()}
    found |= {each.slip.at: each.slip for each in statements if each.slip is not None}
    try:
        check_indentation(text, (each.start for each in statements))
    except Slip:
        statements = []
    for slip in islice(_parsed(lines, statements, parse, good), most):
        found.setdefault(slip.at, slip)
    if first.at in found or all(line != first.at[0] for line, _ in found):
        found[first.at] = first
    return sorted(found.values(), key=lambda slip: slip.at)[:most]


# ---------------------------------------------------------------- statements


def _characters(lines: Sequence[str]) -> Iterator[tuple[int, Slip]]:
    for number, line in enumerate(lines, start=1):
        slip = forbidden(line, number)
        if slip is not None:
            yield number, slip


def _statements(lines: Sequence[str], characters: Mapping[int, Slip]) -> Iterator[Statement]:
    """The statements of a text whose brackets may not fit.

    Where they do not, a line that looks like a new statement, and stands no deeper than the
    one at hand, begins one.
    """
    start, slip, known = 0, None, 0
    opened = list[Bracket]()
    for number, line in enumerate(lines, start=1):
        if start and number > known and _begins(line, lines[start - 1]):
            known = 0 if slip else _closed_by(lines, number, opened)
            if not known:
                yield _statement(lines, start, number - 1, slip or unclosed(opened[-1]))
                start, slip = 0, None
                opened.clear()
        if not start and is_code(line):
            start = number
        if start:
            slip = slip or characters.get(number) or follow(line, number, opened)
            if not slip and not opened:
                yield _statement(lines, start, number, None)
                start = 0
    if start:
        yield _statement(lines, start, len(lines), slip or unclosed(opened[-1]))


def _statement(lines: Sequence[str], start: int, stop: int, slip: Slip | None) -> Statement:
    return Statement(start=start, stop=stop, indent=indentation(lines[start - 1]), slip=slip)


def _begins(line: str, current: str) -> bool:
    """Whether a line looks like a statement that is not part of the one that ``current`` begins."""
    inside = len(indentation(line)) > len(indentation(current)) and not _HEADER.match(current)
    return bool(_BEGINNING.match(line)) and not inside and not line.rstrip().endswith(",")


def _closed_by(lines: Sequence[str], number: int, opened: Sequence[Bracket]) -> int:
    """The line soon after ``number`` that closes all ``opened`` brackets; 0 where none does."""
    still = list(opened)
    for at, line in enumerate(lines[number - 1 : number - 1 + FAR], start=number):
        if follow(line, at, still) is not None:
            return 0
        if not still:
            return at
    return 0


# ---------------------------------------------------------------- parsing them


def _parsed(lines: Sequence[str], statements: Sequence[Statement], parse: Parse, good: int) -> Iterator[Slip]:
    """What is wrong with the statements whose characters and brackets fit."""
    left = MAX_RECOVERED
    for start, stop in _units(statements):
        head, block = statements[start], statements[start + 1 : stop]
        after = statements[stop] if stop < len(statements) else None
        parts = [(head, [FILLER], _tail(lines, head, block[0] if block else after, inside=bool(block)))]
        parts += _block_parts(lines, block)
        wrong = False
        for each, before, tail in parts:
            if each.stop <= good or each.slip or (wrong and _CONTINUED.match(lines[each.start - 1])):
                continue
            left -= sum(map(len, each.lines(lines)))
            if left < 0:
                return
            slip = parse("\n".join([*before, *each.lines(lines), *tail, ""]))
            wrong = slip is not None
            if slip is not None:
                line = slip.at[0] - len(before) + each.start - 1
                yield Slip((line, slip.at[1]), slip.message, slip.hint)
        odd = _uneven(block)
        if odd is not None and odd.at[0] > good:
            yield odd


def _units(statements: Sequence[Statement]) -> Iterator[tuple[int, int]]:
    """Where the statements without indentation begin, and where their blocks end."""
    heads = [k for k, each in enumerate(statements) if not each.indent]
    yield from pairwise([*heads, len(statements)])


Part = tuple[Statement, list[str], list[str]]
"""A statement, and the lines before and after it that make it a text."""


def _block_parts(lines: Sequence[str], block: Sequence[Statement]) -> list[Part]:
    """The statements of a block; what stands deeper than it, or not as deep, is left out."""
    parts: list[Part] = []
    base = block[0].indent if block else ""
    before = ["ForEach:", base + FILLER]
    for number, each in enumerate(block, start=1):
        if len(each.indent) < len(base):
            break
        if len(each.indent) == len(base):
            deeper = next(
                (after for after in block[number : number + 1] if len(after.indent) > len(base)), None
            )
            parts.append((each, before, _tail(lines, each, deeper, inside=True)))
    return parts


def _tail(lines: Sequence[str], each: Statement, after: Statement | None, *, inside: bool) -> list[str]:
    """What shows the parser whether a block follows: a block of its own, or none where one should be."""
    if after is None:
        return []
    between = [""] * (after.start - each.stop - 1)
    if inside:
        return [*between, after.indent + FILLER]
    opens = lines[each.stop - 1].partition("#")[0].rstrip().endswith(":")
    first = next(pieces(lines[after.start - 1]))[0]
    return [*between, first] if opens else []


def _uneven(block: Sequence[Statement]) -> Slip | None:
    """The first statement of a block that stands less deep than it."""
    for each in block:
        if len(each.indent) < len(block[0].indent):
            place = (each.start, len(each.indent) + 1)
            return Slip(place, "this indentation matches no block above", "indent a block evenly")
    return None
