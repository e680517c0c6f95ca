"""The mistakes of a program as they are found, and what to say of names that are not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from compiler.errors import Diagnostic, Span
from compiler.text import syntax
from compiler.text.syntax import Position

MAX_DIAGNOSTICS = 100
_LONGEST_MESSAGE = 300
_MOST_REACHED = 2_000


class Enough(Exception):  # noqa: N818  (a signal: evaluation stops, the findings are kept)
    """There is nothing more to be learnt from evaluating on."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """The mistakes found so far, each once."""

    file: str
    diagnostics: list[Diagnostic] = field(default_factory=list)
    seen: set[tuple[Position, str]] = field(default_factory=set)

    def add(self, at: Position, message: str, hint: str | None = None, *, context: str = "") -> None:
        """Note a mistake; the same one at the same place counts once.

        Raises:
            Enough: there are too many to be of use.
        """
        if (at, message) in self.seen:
            return
        self.seen.add((at, message))
        if len(message) > _LONGEST_MESSAGE:
            message = message[:_LONGEST_MESSAGE] + "…"
        span = Span(file=self.file, line=at[0], column=at[1])
        self.diagnostics.append(Diagnostic(message=message + context, span=span, hint=hint))
        if len(self.diagnostics) >= MAX_DIAGNOSTICS:
            raise Enough


def readings(block: syntax.ForEach) -> dict[str, set[str]]:
    """For every variable of the block, the names that its definitions read."""
    found: dict[str, set[str]] = {}
    for each in block.body:
        if isinstance(each, syntax.Assign):
            names = {read.name for read in syntax.names_read(each.value)}
            found.setdefault(each.name, set()).update(names)
    return found


def reaches(name: str, readings: Mapping[str, set[str]]) -> set[str]:
    """``name`` and the names that its definitions read, directly or through others (boundedly many)."""
    reached, pending = {name}, [name]
    while pending and len(reached) < _MOST_REACHED:
        new = readings.get(pending.pop(), set()) - reached
        reached |= new
        pending.extend(new)
    return reached


def similar(name: str, known: Iterable[str]) -> str | None:
    """A hint with the known names that are close to ``name``."""
    if len(name) > 60:
        return None
    close = difflib.get_close_matches(
        name, sorted({each for each in known if len(each) <= 60})[:2000], n=3, cutoff=0.7
    )
    return f"did you mean {' or '.join(close)}?" if close else None
