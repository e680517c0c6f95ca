"""Files that are wrong in every way that one can think of, drawn from files that are right."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import faulthandler
import json
import re
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from hypothesis import strategies as st

LIMIT, LAST = 10.0, 120.0
"""Seconds of computing that a file may take, and of waiting after which all is ended."""
HUGE = "9" * 5000
NASTY = (
    "", "\0", "\\u0000", "\ud7ff", "\ufeff", "é", "1e999999999", "-1e-999999999", "1e400", "nan", "-inf",
    "Infinity", HUGE, "9" * 99, f"1/{HUGE}", "1/0", "0x" + "f" * 99, "-0", "0.1", "true", "null", "[]", "{}",
    "[" * 3000, "{" * 200, "(" * 300, "[[[[", "]]]]", '"', "'", '"""', "\n", "\r", "\n\n", "\t", "    ", "#",
    "=", ",", ":", "..", "2020-01-01", '"\\ud800"', "__metadata__", "../../etc/passwd", "a" * 3000,
)  # fmt: skip
PIECES = (b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"[" * 4000, b"\x80")
TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30]),
    st.floats(), st.sampled_from(["", "a", "ok", "nan", "inf", "1/0", "\0", "é" * 50, HUGE, "1e999999999"]),
    st.just(10**400), st.dates(), st.datetimes(),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


class Content(bytes):
    """Bytes of a file, which an error message does not show."""

    def __repr__(self) -> str:
        return f"<{len(self):,} bytes>"


class HangError(BaseException):
    """A file took too long; nothing catches it."""


@contextlib.contextmanager
def watched(seconds: float = LIMIT) -> Iterator[None]:
    """End what computes for too long, and the whole of it where nothing can be interrupted."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    faulthandler.dump_traceback_later(LAST, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@st.composite
def damaged(draw: st.DrawFn, content: bytes, most: int = 4) -> bytes:
    """Bytes changed, cut off, put in, taken out, doubled or swapped."""
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = min(len(content), start + draw(st.sampled_from([1, 1, 2, 4, 8, 64, 1000])))
        piece = content[start:stop]
        match draw(st.sampled_from(["change", "flip", "cut", "insert", "remove", "double", "swap"])):
            case "change":
                content = content[:start] + draw(st.binary(max_size=8)) + content[stop:]
            case "flip" if piece:
                content = (
                    content[:start] + bytes([piece[0] ^ 1 << draw(st.integers(0, 7))]) + content[start + 1 :]
                )
            case "cut":
                content = content[:start]
            case "insert":
                put = draw(
                    st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"[" * 4000, b"\x80"])
                )
                content = content[:start] + put + content[start:]
            case "remove":
                content = content[:start] + content[stop:]
            case "double":
                content = content[:stop] + piece * draw(st.sampled_from([1, 2, 100])) + content[stop:]
            case _:
                other = draw(st.integers(0, max(0, len(content) - 1)))
                content = content[:start] + content[other : other + len(piece)] + content[stop:]
    return content


@st.composite
def recombined(draw: st.DrawFn, texts: Sequence[str], most: int = 5) -> str:
    """The words and signs of texts, some replaced by others, or by nasty ones, moved, dropped or doubled."""
    pool = sorted({word for text in texts for word in TOKEN.findall(text)})
    words = TOKEN.findall(draw(st.sampled_from(list(texts))))
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, len(words)))
        stop = min(len(words), start + draw(st.sampled_from([0, 1, 1, 1, 3, 20])))
        put = draw(
            st.one_of(
                st.sampled_from(pool).map(lambda word: [word]),
                st.sampled_from(NASTY).map(lambda word: [word]),
                st.just(words[start:stop] * 2),
                st.just([]),
                st.just(words[: draw(st.integers(0, 30))]),
            )
        )
        words[start:stop] = put
    return "".join(words)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that is in a document."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from _places(each, (*path, key))


@st.composite
def revalued(draw: st.DrawFn, document: Any, most: int = 3) -> Any:
    """A document in which values are replaced, dropped, doubled or moved, or keys added."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        paths = list(_places(document))
        if not paths:
            return document
        *above, last = draw(st.sampled_from(paths))
        place = document
        for key in above:
            place = place[key]
        match draw(st.sampled_from(["value", "value", "value", "drop", "double", "add", "wrap"])):
            case "drop":
                del place[last]
            case "double" if isinstance(place, list):
                place.insert(last, copy.deepcopy(place[last]))
            case "add" if isinstance(place, dict):
                place[draw(st.sampled_from(sorted({str(path[-1]) for path in paths})))] = draw(VALUES)
            case "wrap":
                place[last] = [place[last]]
            case _:
                place[last] = draw(VALUES)
    return document


def json_text(document: Any) -> str:
    """A document as JSON; what JSON has not is written as text."""
    return json.dumps(document, default=str)


def toml_text(table: dict[str, Any]) -> str:
    """A table as TOML, each key on a line of its own."""
    return "".join(f"{_quoted(key)} = {_toml(value)}\n" for key, value in table.items())


def _quoted(text: str) -> str:
    return json.dumps(str(text)).replace("\x7f", "\\u007F")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.date):
        return value.isoformat()
    return repr(value) if isinstance(value, int | float) else _quoted(value or "")
