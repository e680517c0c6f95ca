"""The committed file that a gate compares with: JSON, one line per cell, sorted.

It is written by ``--update`` alone and reviewed like code.  It is read as a stranger's:
sizes, names, types and ranges are checked before anything is made of them.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from compiler.errors import LsrlError
from stability.experiment.checking import LARGEST_SEED, LONGEST, MAX_CELLS
from stability.gate.cell import CELL_KEYS, REFERENCES, STATUSES, VALUES, CellKey, GateCell

NAME, SCHEMA = "lsrl-gate", 1
MAX_BYTES = 200_000_000
MAX_TEXT = 20_000
LARGEST_BITS = 1e9

_FIELDS = (*CELL_KEYS, *VALUES)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_AGAIN = "write it anew with: lsrl gate CONFIG --update"


class BaselineError(LsrlError):
    """A baseline that is missing, or that is none."""


def write_baseline(path: Path, cells: Iterable[GateCell]) -> None:
    """Write a baseline; whatever stops this, the file is the old one or the new one.

    Args:
        path: the file; its folder has to exist.
        cells: none of them failed unexpectedly.

    Raises:
        OSError: it cannot be written.
    """
    lines = ",\n".join(_line(cell) for cell in sorted(cells, key=lambda cell: cell.key))
    text = f'{{"baseline": "{NAME}", "schema": {SCHEMA}, "cells": [\n{lines}\n]}}\n'
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(partial).chmod(0o666 & ~umask)
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _line(cell: GateCell) -> str:
    """A cell as JSON; what could not be run has only its error."""
    assert not cell.unexpected, "a failure is no baseline"
    values = ("error",) if cell.error else tuple(name for name in VALUES if name != "error")
    record = {name: cell.keys[name] for name in CELL_KEYS} | {name: getattr(cell, name) for name in values}
    if math.isinf(cell.abs_error):
        record["abs_error"] = "inf"
    return json.dumps(record, ensure_ascii=True, allow_nan=False)


def read_baseline(path: Path) -> dict[CellKey, GateCell]:
    """The cells of a baseline.

    Raises:
        BaselineError: there is no such file, or it is wrong: the first thing that is.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise BaselineError.single(f"there is no baseline {path}", hint=_AGAIN) from None
    except OSError as problem:
        raise BaselineError.single(
            f"cannot read the baseline {path}: {problem.strerror or problem}", hint="check the path"
        ) from None
    if len(content) > MAX_BYTES:
        raise BaselineError.single(f"{path}: more than {MAX_BYTES:,} bytes", hint=_AGAIN)
    return _cells(_parsed(content, path), path)


def _parsed(content: bytes, path: Path) -> list[Any]:
    def constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is no number here")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name comes twice in one object")
        return found

    try:
        raw = json.loads(content.decode("utf-8"), parse_constant=constant, object_pairs_hook=unique)
    except RecursionError:
        raise BaselineError.single(f"{path}: nested too deeply", hint=_AGAIN) from None
    except ValueError as problem:  # no UTF-8, no JSON, or a number of thousands of digits
        reason = str(problem).split("\n")[0][:120]
        raise BaselineError.single(f"{path}: it cannot be read: {reason}", hint=_AGAIN) from None
    if not isinstance(raw, dict) or raw.get("baseline") != NAME or not isinstance(raw.get("cells"), list):
        raise BaselineError.single(f"{path}: this is no baseline of a gate", hint=_AGAIN)
    schema = raw.get("schema")
    if raw.keys() != {"baseline", "schema", "cells"} or isinstance(schema, bool) or schema != SCHEMA:
        raise BaselineError.single(
            f"{path}: a baseline of schema {str(schema)[:20]}; this version reads {SCHEMA}",
            hint=_AGAIN,
        )
    cells: list[Any] = raw["cells"]
    if len(cells) > MAX_CELLS:
        raise BaselineError.single(f"{path}: {len(cells):,} cells, more than {MAX_CELLS:,}", hint=_AGAIN)
    return cells


def _cells(raw: list[Any], path: Path) -> dict[CellKey, GateCell]:
    found: dict[CellKey, GateCell] = {}
    for index, record in enumerate(raw):
        place = f"{path}: cells[{index}]"
        cell = _cell(record, place)
        if cell.key in found:
            raise BaselineError.single(f"{place}: the same cell comes twice", hint=_AGAIN)
        found[cell.key] = cell
    return found


def _cell(record: Any, place: str) -> GateCell:
    if not isinstance(record, dict):
        raise BaselineError.single(f"{place}: this is no cell", hint=_AGAIN)
    failed = "error" in record
    wanted = {*CELL_KEYS, "error"} if failed else {*CELL_KEYS, *VALUES} - {"error"}
    for name in sorted(wanted ^ record.keys()):
        problem = "is missing" if name in wanted else "does not belong here"
        raise BaselineError.single(f"{place}: {name[:60]!r} {problem}", hint=_AGAIN)
    for name in (each for each in _FIELDS if each in record):
        if not _CHECKS.get(name, _text)(record[name]):
            shown = str(record[name])[:60]
            raise BaselineError.single(f"{place}.{name}: {shown!r} is out of bounds", hint=_AGAIN)
    values = {name: record[name] for name in VALUES if name in record}
    if not failed:
        values["abs_error"] = float(values["abs_error"])
        for name in ("significant_bits", "wrong_share"):
            values[name] = float(values[name])
        _consistent(record, place)
    elif not record["error"]:
        raise BaselineError.single(f"{place}.error: it says nothing", hint=_AGAIN)
    return GateCell(keys={name: record[name] for name in CELL_KEYS}, **values)


def _consistent(record: Mapping[str, Any], place: str) -> None:
    """Steps lie within the prompt, and a bad status has a first step."""
    for name in ("horizon", "first_bad"):
        if record[name] is not None and record[name] >= record["length"]:
            raise BaselineError.single(f"{place}.{name}: beyond the prompt", hint=_AGAIN)
    if (record["status"] == STATUSES[0]) != (record["first_bad"] is None):
        raise BaselineError.single(f"{place}: status and first_bad contradict each other", hint=_AGAIN)


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _integer(least: int, most: int, *, optional: bool = False) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if value is None:
            return optional
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return check


def _real(most: float) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most

    return check


def _one_of(names: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


def _hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


_LARGEST = 1.7976931348623157e308
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "length": _integer(1, LONGEST),
    "seed": _integer(0, LARGEST_SEED),
    "first_bad": _integer(0, LONGEST, optional=True),
    "horizon": _integer(0, LONGEST, optional=True),
    "significant_bits": _real(LARGEST_BITS),
    "wrong_share": _real(1.0),
    "abs_error": lambda value: value == "inf" or _real(_LARGEST)(value),
    "model_hash": _hash,
    "bits": _hash,
    "status": _one_of(STATUSES),
    "reference": _one_of(REFERENCES),
}
