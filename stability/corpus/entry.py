"""A corpus: cases worth keeping, one JSON file each, that tests and the gate replay.

A file holds the program as lines of LSRL, the exact tokens, target and policy, and either the
property that the case once broke, or the drift that it showed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmpy2 import mpq

from compiler.compiling import TARGET_NAMES
from compiler.errors import ConfigError, LsrlError
from compiler.text import parse_program, unparse
from stability.corpus.case import Case
from stability.corpus.drifting import Drift
from stability.corpus.properties import PROPERTIES
from stability.policy import parse_policy

SCHEMA = 2
MAX_BYTES = 1 << 20
MAX_TOKENS = 100_000
DRIFT = "drift"
NUMBER = re.compile(r"-?[0-9]{1,200}(/[0-9]{1,200})?", re.ASCII)
LARGEST = 1.7976931348623157e308


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One case of a corpus.

    Attributes:
        prop: the property it once broke, or ``drift``.
        case: program, tokens, target, policy.
        message: what was seen when it was kept.
        drift: in numbers, for a case of drift; None for a property.
    """

    prop: str
    case: Case
    message: str
    drift: Drift | None = None


Kept = tuple[Path, Entry]
"""A file of a corpus, and what it holds."""


def _record(entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "property": entry.prop,
        "target": entry.case.target,
        "policy": entry.case.policy,
        "message": entry.message,
    }
    if entry.drift is not None:
        error = entry.drift.error
        record["drift"] = {"error": "inf" if math.isinf(error) else error, "horizon": entry.drift.horizon}
    record["program"] = unparse(entry.case.program).splitlines()
    record["tokens"] = [[str(value) for value in token] for token in entry.case.tokens]
    return record


def _text(record: dict[str, Any]) -> str:
    """JSON with a line for each key, each line of the program and each token, as a review wants it."""
    shown = []
    for name, value in record.items():
        if isinstance(value, list):
            lines = ",\n".join(f"  {json.dumps(each, ensure_ascii=False)}" for each in value)
            shown.append(f' "{name}": [\n{lines}\n ]')
        else:
            shown.append(f' "{name}": {json.dumps(value, ensure_ascii=False, allow_nan=False)}')
    return "{\n" + ",\n".join(shown) + "\n}\n"


def keep(entry: Entry, folder: Path) -> Path:
    """Write an entry, named by its content.

    Raises:
        OSError: the folder cannot be written.
    """
    text = _text(_record(entry))
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
    record = _parsed(path)
    texts = {key: record.get(key) for key in ("property", "target", "policy", "message")}
    missing = [key for key, value in texts.items() if not isinstance(value, str)]
    if missing:
        raise _wrong(path, f"has no text under {missing[0]!r}")
    prop, target, policy, message = (str(value) for value in texts.values())
    if prop not in {*PROPERTIES, DRIFT}:
        raise _wrong(path, f"names the unknown property {prop[:40]!r}")
    if target not in TARGET_NAMES:
        raise _wrong(path, f"names the unknown target {target[:40]!r}")
    try:
        parse_policy(policy)
    except ConfigError as problem:
        raise _wrong(path, problem.diagnostics[0].message) from None
    lines = record.get("program")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise _wrong(path, "has no list of lines under 'program'")
    program = parse_program("".join(f"{line}\n" for line in lines), file=str(path))
    tokens = _tokens(path, record.get("tokens"), program.input_dim)
    return Entry(
        prop=prop,
        case=Case(program=program, tokens=tokens, target=target, policy=policy),
        message=message,
        drift=_drift(path, record.get("drift"), len(tokens)) if prop == DRIFT else None,
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as problem:
        raise _wrong(path, f"cannot be read: {problem.strerror or problem}") from None
    if len(content) > MAX_BYTES:
        raise _wrong(path, f"larger than {MAX_BYTES >> 10} KiB")
    try:
        record = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _wrong(path, "is not JSON") from None
    schema = record.get("schema") if isinstance(record, dict) else None
    if not isinstance(record, dict) or isinstance(schema, bool) or schema != SCHEMA:
        raise _wrong(path, f'has no "schema": {SCHEMA}')
    return record


def _drift(path: Path, given: object, length: int) -> Drift:
    if not isinstance(given, dict) or given.keys() != {"error", "horizon"}:
        raise _wrong(path, "has no error and horizon under 'drift'")
    error, horizon = given["error"], given["horizon"]
    real = isinstance(error, int | float) and not isinstance(error, bool)
    if error != "inf" and not (real and 0 <= error <= LARGEST):
        raise _wrong(path, "drift.error is not a number from 0 on, nor \"inf\"")  # fmt: skip
    whole = isinstance(horizon, int) and not isinstance(horizon, bool)
    if horizon is not None and not (whole and 0 <= horizon < length):
        raise _wrong(path, "drift.horizon is not a step of the prompt, nor null")
    return Drift(error=float(error), horizon=horizon)


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
            raise _wrong(path, f"token {number} is not a list of fractions as texts") from None
    return tuple(rows)


def _number(value: object) -> mpq:
    if not isinstance(value, str) or NUMBER.fullmatch(value) is None:
        raise ValueError
    return mpq(value)


def _wrong(path: Path, problem: str) -> LsrlError:
    return ConfigError.single(f"{path}: {problem}", hint="a file that lsrl fuzz --corpus has written")


def entry_files(folder: str | Path) -> list[Path]:
    """The files of a corpus, by name."""
    return sorted(Path(folder).glob("*.json"))


def entries(folder: str | Path) -> Iterator[Kept]:
    """All entries of a folder, by name.

    Raises:
        ConfigError: as :func:`read_entry`.
    """
    for path in entry_files(folder):
        yield path, read_entry(path)
