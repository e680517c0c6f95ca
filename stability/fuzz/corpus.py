"""A corpus: cases worth keeping, one JSON file each, that tests and the gate replay.

A file holds the program as LSRL text, the exact tokens, target, policy, and either the
property that the case once broke, or the drift that it showed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmpy2 import mpq

from compiler.compiling import TARGET_NAMES
from compiler.errors import ConfigError, LsrlError
from compiler.exact import exact
from compiler.text import parse_program, unparse
from stability.fuzz.cases import Case
from stability.policy import parse_policy

SCHEMA = 1
MAX_BYTES = 1 << 20
MAX_TOKENS = 100_000
LONGEST_NUMBER = 200
DRIFT = "drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One case of a corpus.

    Attributes:
        prop: the property it once broke, or ``drift``.
        case: program, tokens, target, policy.
        message: what was seen when it was kept.
    """

    prop: str
    case: Case
    message: str


def _record(entry: Entry) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "property": entry.prop,
        "target": entry.case.target,
        "policy": entry.case.policy,
        "message": entry.message,
        "program": unparse(entry.case.program),
        "tokens": [[str(value) for value in token] for token in entry.case.tokens],
    }


def keep(entry: Entry, folder: Path) -> Path:
    """Write an entry, named by its content.

    Raises:
        OSError: the folder cannot be written.
    """
    text = json.dumps(_record(entry), indent=1, ensure_ascii=False) + "\n"
    name = f"{entry.prop}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (name + ".part")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(folder / name)


def read_entry(path: str | Path) -> Entry:
    """Read an entry, which is untrusted.

    Raises:
        ConfigError: not a file of a corpus; names the file and what is wrong.
        LsrlError: its program is wrong.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _wrong(path, f"larger than {MAX_BYTES >> 10} KiB")
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise _wrong(path, f"cannot be read: {problem.strerror}") from None
    except (ValueError, RecursionError):
        raise _wrong(path, "is not JSON") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise _wrong(path, f'has no "schema": {SCHEMA}')
    texts = {key: record.get(key) for key in ("property", "target", "policy", "message", "program")}
    missing = [key for key, value in texts.items() if not isinstance(value, str)]
    if missing:
        raise _wrong(path, f"has no text under {missing[0]!r}")
    if texts["target"] not in TARGET_NAMES:
        raise _wrong(path, f"names the unknown target {str(texts['target'])[:40]!r}")
    parse_policy(str(texts["policy"]))
    program = parse_program(str(texts["program"]), file=str(path))
    tokens = _tokens(path, record.get("tokens"), program.input_dim)
    case = Case(program=program, tokens=tokens, target=str(texts["target"]), policy=str(texts["policy"]))
    return Entry(prop=str(texts["property"]), case=case, message=str(texts["message"]))


def _tokens(path: Path, given: object, dim: int) -> tuple[tuple[mpq, ...], ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_TOKENS:
        raise _wrong(path, "has no list of tokens")
    rows = []
    for number, row in enumerate(given):
        if not isinstance(row, list) or len(row) != dim:
            raise _wrong(path, f"token {number} is not a list of {dim} numbers")
        try:
            rows.append(tuple(_number(value) for value in row))
        except (ValueError, ZeroDivisionError):
            raise _wrong(path, f"token {number} is not a list of exact numbers as texts") from None
    return tuple(rows)


def _number(value: object) -> mpq:
    if not isinstance(value, str) or len(value) > LONGEST_NUMBER:
        raise ValueError
    return exact(value)


def _wrong(path: Path, problem: str) -> LsrlError:
    return ConfigError.single(f"{path}: {problem}", hint="a file that lsrl fuzz --corpus has written")


def entries(folder: str | Path) -> Iterator[tuple[Path, Entry]]:
    """All entries of a folder, by name.

    Raises:
        ConfigError: as :func:`read_entry`.
    """
    for path in sorted(Path(folder).glob("*.json")):
        yield path, read_entry(path)
