"""What a report reads besides the cells of a store: its experiments' thresholds, and noise tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from compiler.errors import LsrlError
from reports.text import plain
from stability.experiment.reading import cut, file_text, parse_toml
from stability.experiment.store import DAMAGED, EXPERIMENTS, FINISHED
from stability.experiment.thresholds import Thresholds, thresholds_of
from stability.noise_horizons import CELL

NOISE = ("noise.parquet", "noise.csv")
"""Names under which a noise table lies in the folder of a store."""
_SUFFIX = ".toml"
_NEEDED = (*CELL, "horizon", "wrong_share", "seed", "error")


class ReportError(LsrlError):
    """A file for a report that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiments:
    """What was run into a store.

    Attributes:
        names: of the experiments.
        limits: their thresholds, those that have any.
        notes: what could not be read, one line each.
    """

    names: tuple[str, ...]
    limits: tuple[Thresholds, ...]
    notes: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The thresholds in words."""
        return tuple(limits_text(each) for each in self.limits)

    def beyond(self, rows: pd.DataFrame) -> pd.Series[bool]:
        """Which rows break a threshold of any experiment."""
        broken = pd.Series(data=False, index=rows.index)
        for each in self.limits:
            broken |= each.beyond(rows)
        return broken


def experiments_of(store: Path) -> Experiments:
    """The experiments that were run into a store; files that are wrong become notes."""
    names, limits, notes = list[str](), list[Thresholds](), list[str]()
    for file in sorted((store / EXPERIMENTS).glob(f"*{_SUFFIX}")):
        try:
            raw, findings = parse_toml(file_text(file, "experiment"), file.name)
            own = thresholds_of(findings, raw.get("thresholds", {}))
            findings.close()
        except LsrlError as problem:
            notes.append(f"the thresholds of {plain(file.name)} cannot be read: {plain(problem)}")
            continue
        given = raw.get("name")
        names.append(plain(given if isinstance(given, str) else file.stem.rpartition("-")[0]))
        if own != Thresholds():
            limits.append(own)
    put_aside = len(list((store / DAMAGED).glob(f"*{FINISHED}")))
    if put_aside:
        notes.append(f"{put_aside:,} damaged cells were put aside by an earlier run")
    return Experiments(
        names=tuple(dict.fromkeys(names)), limits=tuple(dict.fromkeys(limits)), notes=tuple(notes)
    )


def limits_text(limits: Thresholds) -> str:
    """``wrong_share > 0.0 or horizon < 100``; empty where there are none."""
    said = {
        "wrong_share > {}": limits.wrong_share,
        "horizon < {}": limits.horizon,
        "significant_bits < {}": limits.significant_bits,
    }
    return " or ".join(text.format(value) for text, value in said.items() if value is not None)


def noise_in(store: Path) -> Path | None:
    """The noise table in the folder of a store, if there is one."""
    return next((store / name for name in NOISE if (store / name).is_file()), None)


def read_noise(path: Path) -> pd.DataFrame:
    """A table that ``lsrl noise -o`` wrote.

    Raises:
        ReportError: it cannot be read, or is no such table.
    """
    hint = "a .csv or .parquet file of: lsrl noise PROGRAM -o DIR"
    try:
        frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, RecursionError, MemoryError) as problem:
        reason = cut(plain(str(problem).split("\n", maxsplit=1)[0]))
        raise ReportError.single(f"{path}: cannot be read: {reason}", hint=hint) from None
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        raise ReportError.single(f"{path}: no noise table: it has no column {missing[0]!r}", hint=hint)
    words = {*CELL, "error"} - {"sigma", "length"}
    texts = {name: frame[name].astype(object).where(frame[name].notna(), "").astype(str) for name in words}
    try:
        return frame.assign(**texts).astype(
            {
                "horizon": "Int64",
                "length": "int64",
                "sigma": "float64",
                "seed": "int64",
                "wrong_share": "float64",
            }
        )
    except (ValueError, TypeError) as problem:
        raise ReportError.single(f"{path}: no noise table: {cut(plain(problem))}", hint=hint) from None
