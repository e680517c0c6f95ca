"""Read an experiment's TOML: the text, its limits, and the kinds of its values.

What the values mean is checked in :mod:`stability.experiment.checking`.  Everything
that is wrong is collected and reported at once.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from compiler.errors import ConfigError, Diagnostic, LsrlError, Span
from stability.experiment.places import Key, Place, place_of, places

T = TypeVar("T")

SUFFIX = ".toml"
MAX_BYTES = 100_000
MAX_LINE = 2_000
MAX_ENTRIES = 1_000
"""Values in one list."""
MAX_FINDINGS = 50
"""Mistakes reported one by one."""
LONGEST_SHOWN = 60
LARGEST_EXPONENT = 5_000
MAX_DIGITS = 4_000

_AT = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)")


class ExperimentError(ConfigError):
    """An experiment that is wrong, with everything that is wrong about it."""


@dataclass(slots=True)
class Findings:
    """What is wrong with a file so far.

    Attributes:
        file: its path, as it was given.
        known: where its keys stand.
    """

    file: str
    known: dict[Key, Place] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)

    def add(self, key: Key, problem: str, hint: str | None = None) -> None:
        """Something wrong with the value of ``key``."""
        line, column = place_of(self.known, key)
        message = f"{shown_key(key)}{problem}" if key else problem
        self.found.append(
            Diagnostic(message=message, hint=hint, span=Span(file=self.file, line=line, column=column))
        )

    def wrong(self, key: Key, value: object, problem: str, hint: str | None = None) -> None:
        """A value that is wrong: the finding shows it."""
        self.add(key, f" = {shown(value)}: {problem}", hint)

    def guard(self, key: Key, make: Callable[[], T]) -> T | None:
        """What ``make`` gives; its mistakes become findings."""
        try:
            return make()
        except LsrlError as problem:
            for each in problem.diagnostics:
                where = f"{each.span}: " if each.span is not None else ""
                self.add(key, f": {where}{each.message}", each.hint)
            return None

    def close(self) -> None:
        """End here if anything is wrong.

        Raises:
            ExperimentError: all of it, by line.
        """
        if not self.found:
            return
        every = sorted(dict.fromkeys(self.found), key=_at)
        more = len(every) - MAX_FINDINGS
        told = every[:MAX_FINDINGS]
        if more > 0:
            told.append(
                Diagnostic(message=f"{self.file}: and {more} more mistakes", hint="correct these first")
            )
        raise ExperimentError(told)


def _at(finding: Diagnostic) -> tuple[int, int]:
    return (finding.span.line, finding.span.column) if finding.span else (0, 0)


def shown_key(key: Key) -> str:
    """``grid[0].lengths[2]``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{cut(str(part))}" for part in key]
    return "".join(parts).removeprefix(".")


def shown(value: object) -> str:
    """A value for a message, on one line and not long."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 4 * LONGEST_SHOWN:
        return "a huge number"
    return cut(repr(value) if isinstance(value, str) else str(value))


def cut(text: str) -> str:
    """At most :data:`LONGEST_SHOWN` characters of a text."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def shipped() -> tuple[str, ...]:
    """The experiments that come with the package, sorted."""
    folder = resources.files("stability") / "experiments"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(each.name.removesuffix(SUFFIX) for each in folder.iterdir() if each.name.endswith(SUFFIX))
    )


def experiment_text(name_or_path: str | Path) -> tuple[str, str, Path]:
    """The file name, the text and the folder of an experiment that ships, or of a file.

    Raises:
        ExperimentError: neither of the two, or a file that is too large or not UTF-8 text.
    """
    name = str(name_or_path)
    if name in shipped():
        source = resources.files("stability") / "experiments" / f"{name}{SUFFIX}"
        return f"{name}{SUFFIX}", source.read_text(encoding="utf-8"), Path()
    path = Path(name_or_path)
    if path.suffix != SUFFIX:
        close = difflib.get_close_matches(name[:LONGEST_SHOWN], shipped(), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ExperimentError.single(
            f"unknown experiment {name[:LONGEST_SHOWN]!r}",
            hint=f"{hint}one of {', '.join(shipped())}, or a file that ends in {SUFFIX}",
        )
    return name, file_text(path, "experiment"), path.parent


def file_text(path: Path, what: str) -> str:
    """A file's text, its size checked before it is read.

    Args:
        path: of the file.
        what: it is, for the message of one that is too large.

    Raises:
        ExperimentError: no such file, or one that is too large or not UTF-8 text.
    """
    span = Span(file=str(path), line=1)
    try:
        if not path.is_file():
            raise ExperimentError.single("there is no such file", span=span, hint="check the path")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            size = path.stat().st_size
            raise ExperimentError.single(
                f"the {what} has {size:,} bytes, more than {MAX_BYTES:,}", span=span, hint="split it"
            )
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise ExperimentError.single(
            f"byte {problem.start} is not UTF-8", span=Span(file=str(path), line=line),
            hint="save the file as UTF-8 text",
        ) from None  # fmt: skip
    except OSError as problem:
        raise ExperimentError.single(
            f"cannot read the file: {problem.strerror or problem}", span=span, hint="check the path"
        ) from None


def parse_toml(text: str, file: str) -> tuple[dict[str, Any], Findings]:
    """The tables of a TOML text, its numbers as they are written, and where its keys stand.

    Raises:
        ExperimentError: it is no TOML, or beyond the limits of an experiment.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE:
            raise ExperimentError.single(
                f"a line of {len(line):,} characters, more than {MAX_LINE:,}",
                span=Span(file=file, line=number),
                hint="break it: a list may go over several lines",
            )
    try:
        return tomllib.loads(text, parse_float=_decimal), Findings(file=file, known=places(text))
    except RecursionError:
        message, place = "nested too deeply", (1, 1)
    except ValueError as problem:  # TOMLDecodeError, or a number of thousands of digits
        message, place = _syntax(str(problem), text)
    raise ExperimentError.single(
        message, span=Span(file=file, line=place[0], column=place[1]), hint="the file has to be TOML 1.0"
    )


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace("_", ""))


def _syntax(message: str, text: str) -> tuple[str, Place]:
    found = _AT.search(message)
    if found is None:
        return cut(message), (1, 1)
    plain = _AT.sub("", message)
    if found[1] is None:
        lines = text.rstrip("\n").split("\n")
        return f"{plain} at the end of the file", (len(lines), len(lines[-1]) + 1)
    return plain, (int(found[1]), int(found[2]))


# ---------------------------------------------------------------- values by kind


def known_keys(findings: Findings, key: Key, table: dict[str, Any], allowed: Iterable[str]) -> None:
    """A finding for every key of a table that is not one of ``allowed``."""
    names = tuple(allowed)
    for name in table:
        if name not in names:
            close = difflib.get_close_matches(name[:LONGEST_SHOWN], names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(names)}"
            findings.add((*key, name), ": unknown key", hint)


def listed(findings: Findings, key: Key, value: object) -> Iterator[tuple[Key, Any]]:
    """The values of a list with their keys; one value stands for a list of one."""
    if not isinstance(value, list):
        yield key, value
        return
    if not value:
        findings.wrong(key, value, "an empty list", "leave the key out, or name at least one")
    if len(value) > MAX_ENTRIES:
        findings.wrong(key, value, f"more than {MAX_ENTRIES:,} values", "split the experiment")
        return
    for index, each in enumerate(value):
        yield (*key, index), each


def each_of(read: Callable[[Findings, Key, Any], Any]) -> Callable[[Findings, Key, Any], tuple[Any, ...]]:
    """A reader of lists from a reader of one value; what is wrong is left out."""

    def reader(findings: Findings, key: Key, value: Any) -> tuple[Any, ...]:
        values = [read(findings, place, each) for place, each in listed(findings, key, value)]
        return tuple(dict.fromkeys(each for each in values if each is not None))

    return reader


def text_of(findings: Findings, key: Key, value: object, hint: str | None = None) -> str | None:
    """A string."""
    if isinstance(value, str):
        return value
    findings.wrong(key, value, "it has to be a string", hint)
    return None


def truth_of(findings: Findings, key: Key, value: object) -> bool | None:
    """True or false."""
    if isinstance(value, bool):
        return value
    findings.wrong(key, value, "it has to be true or false")
    return None


def whole_of(findings: Findings, key: Key, value: object, least: int, most: int) -> int | None:
    """A whole number in [least, most]."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    findings.wrong(key, value, "out of bounds", f"a whole number from {least:,} to {most:,}")
    return None


def number_of(findings: Findings, key: Key, value: object) -> str | None:
    """A number as it is written, exactly: ``3``, ``0.1``, ``"1/3"`` or ``1e10``."""
    text = str(value) if isinstance(value, int | Decimal | str) and not isinstance(value, bool) else ""
    text = text.strip()
    if re.fullmatch(r"[-+]?\d+/\d+|[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,6})?", text, re.ASCII):
        exponent = text.lower().partition("e")[2]
        zero = re.fullmatch(r"0+", text.partition("/")[2])
        if len(text) <= MAX_DIGITS and abs(int(exponent or 0)) <= LARGEST_EXPONENT and not zero:
            return text
    findings.wrong(key, value, "it has to be a finite number", 'such as 3, 0.1, "1/3" or 1e10')
    return None


def table_of(findings: Findings, key: Key, value: object) -> dict[str, Any]:
    """A table; an empty one where it is none."""
    if isinstance(value, dict):
        return value
    findings.wrong(key, value, "it has to be a table", f"write [{shown_key(key)}] above its lines")
    return {}
