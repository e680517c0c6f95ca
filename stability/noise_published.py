"""The paper's own noise measurements, read from the files that its authors publish, beside ours.

The files are not part of this project: the caller says where they are.  They are untrusted
input: what does not look like them ends in one error.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from compiler.errors import LsrlError
from stability.noise_paper import CONDITIONALS, MEASURES

FILES = {"continuous": "paper_noise_continuous.csv", "dictionary": "paper_noise_dictionary.csv"}
"""Program → the file's name.  Its columns: a number, conditional_mode, Noise level, the measure."""
MAX_BYTES, MAX_ROWS = 4 << 20, 100_000
_KEYS = ["program", "conditional", "sigma"]


class PublishedError(LsrlError):
    """A file of published measurements that is none, or is damaged."""


def read_published(folder: str | Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The published measurements in a folder.

    Args:
        folder: where the files of :data:`FILES` may be.

    Returns:
        One row per measurement: ``program``, ``conditional``, ``sigma``, ``value``; and, for
        every file that is not there, why there is nothing to compare with.

    Raises:
        PublishedError: a file that cannot be what its name says; names it and the line.
        OSError: a file that is there and cannot be read.
    """
    rows: list[tuple[str, str, float, float]] = []
    absent = []
    for program, name in FILES.items():
        place = Path(folder) / name
        if place.is_file():
            rows += [(program, *row) for row in _rows(place, MEASURES[program])]
        else:
            absent.append(f"{place} is not there: no published measurements of {program} to compare with")
    frame = pd.DataFrame(rows, columns=[*_KEYS, "value"])
    return frame.astype({"sigma": "float64", "value": "float64"}), tuple(absent)


def _rows(place: Path, measure: str) -> Iterator[tuple[str, float, float]]:
    with place.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _broken(place, f"more than {MAX_BYTES:,} bytes")
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise _broken(place, str(problem)) from None
    wanted = ["conditional_mode", "Noise level", measure]
    if not lines or lines[0][1:] != wanted:
        raise _broken(place, "line 1 does not name the columns " + ", ".join(wanted))
    if not 1 < len(lines) <= MAX_ROWS:
        raise _broken(place, f"{len(lines) - 1:,} rows, where 1 to {MAX_ROWS:,} make sense")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(wanted) + 1 or line[1] not in CONDITIONALS:
            raise _broken(place, f"line {number} is not a number, a form of f_ifelse and two numbers")
        yield line[1], _number(place, number, line[2]), _number(place, number, line[3])


def _number(place: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise _broken(place, f"line {line}: {text[:40]!r} is not a number of 0 or more")
    return value


def _broken(place: Path, reason: str) -> LsrlError:
    return PublishedError.single(
        f"{place}: not the published measurements, or damaged: {reason}",
        hint="fetch the file again, or leave it away",
    )


def compare(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Medians and quartiles of our measurements beside the published ones.

    Args:
        ours: from :func:`stability.noise_paper.paper_noise`, of one set-up.
        published: from :func:`read_published`.

    Returns:
        One row per program, conditional and σ that both have: ``median``, ``low`` and ``high``
        (quartiles) of ours, ``published``, ``published_low`` and ``published_high``, how many
        ``targets`` each has, and ``agrees``: the ranges between the quartiles overlap.
    """
    mine = _quartiles(ours[ours["error"] == ""])
    theirs = _quartiles(published).rename(
        columns={
            "median": "published",
            "low": "published_low",
            "high": "published_high",
            "targets": "published_targets",
        }
    )
    both = mine.merge(theirs, on=_KEYS, how="inner", sort=False)
    overlap = (both["low"] <= both["published_high"]) & (both["published_low"] <= both["high"])
    return both.assign(agrees=overlap)


def _quartiles(frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key, part in frame.groupby(_KEYS, sort=False):
        # order statistics: interpolating next to an infinity gives nan
        low, median, high = np.quantile(part["value"], (0.25, 0.5, 0.75), method="nearest")
        rows.append((*key, float(median), float(low), float(high), len(part)))
    return pd.DataFrame(rows, columns=[*_KEYS, "median", "low", "high", "targets"])
