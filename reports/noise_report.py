"""What a noise measurement says: a table for the terminal, and the files of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.files import beside
from reports.tables import horizon_text, share_text
from reports.text import plain
from stability.noise_horizons import summarise

TABLES = (".csv", ".parquet")
CHARTS = (".html", ".svg", ".png")


def model_name(target: str, activation: str) -> str:
    """How a chart and a table call a model: its target, and its gates where they are real."""
    return f"{target} ({activation})" if activation != "relu" else target


def sigma_text(sigma: float) -> str:
    """A σ in words: ``0``, ``1e-5``."""
    digits, _, exponent = f"{sigma:.5e}".partition("e")
    digits = digits.rstrip("0").rstrip(".")
    return f"{digits}e{int(exponent)}" if 0 < sigma < 0.01 else f"{sigma:g}"


def print_noise(console: Console, frame: pd.DataFrame) -> None:
    """Print what was measured, a row per model and σ, and how far the numbers carry.

    Args:
        console: where to.
        frame: from :func:`stability.noise.noise`, at least one row.
    """
    tell = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    first = frame.iloc[0]
    about = f"{first['program']} {first['parameters']}".rstrip()
    tell(
        f"{plain(about)}: {first['kind']} Gaussian noise on {first['include'].replace('+', ' and ')}, "
        f"{first['states']} states, {first['format']}, {first['length']:,} tokens"
    )
    cells = summarise(frame)
    if len(cells):
        console.print(_table(cells))
        for line in _remarks(cells):
            tell(line)
    failed = frame[frame["error"] != ""]
    for name, problem in dict.fromkeys(zip(failed["target"], failed["error"], strict=True)):
        tell(f"{name} could not run: {plain(problem)}")


def _table(cells: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("σ", "runs that failed", "tokens before the first wrong one", "interval", "wrong"):
        table.add_column(heading, justify="right")
    previous = ""
    for _, cell in cells.iterrows():
        name = model_name(cell["target"], cell["activation"])
        low, middle, high = (
            horizon_text(None if pd.isna(cell[end]) else int(cell[end]), int(cell["length"]))
            for end in ("low", "median", "high")
        )
        table.add_row(
            Text(name if name != previous else ""),
            sigma_text(cell["sigma"]),
            f"{cell['failed']} of {cell['runs']}",
            middle,
            low if low == high else f"{low} to {high}",
            share_text(cell["wrong_share"]),
        )
        previous = name
    return table


def _remarks(cells: pd.DataFrame) -> list[str]:
    runs, coverage = int(cells["runs"].min()), float(cells["coverage"].min())
    lines = ["one run of each: no interval"]
    if runs > 1:
        lines = [
            f"medians of {runs} runs; such intervals hold the true median {100 * coverage:.0f} times in 100"
        ]
    unhurt = cells[(cells["failed"] == 0) & (cells["sigma"] > 0)]
    if len(unhurt):
        most = 100 * float(unhurt["chance_high"].max())
        lines.append(f"where no run failed: at most {most:.0f} of 100 such runs do (95 % confidence)")
    return lines


def write_noise(frame: pd.DataFrame, places: Sequence[Path]) -> None:
    """Write every run as a table and the chart of horizons: all of the files, or none.

    Args:
        frame: from :func:`stability.noise.noise`.
        places: files that end in one of :data:`TABLES` or :data:`CHARTS`.

    Raises:
        OSError: a file cannot be written.
    """
    # Charts take most of the time that the command line needs to start.
    from reports.noise_chart import horizon_chart  # noqa: PLC0415

    chart = horizon_chart(frame)
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": partial(frame.to_csv, index=False),
        ".parquet": partial(frame.to_parquet, index=False),
        ".html": partial(chart.save, format="html", inline=True),
        ".svg": partial(chart.save, format="svg"),
        ".png": partial(chart.save, format="png", scale_factor=2),
    }
    made: list[Path] = []
    try:
        for place in places:
            made.append(beside(place))
            writers[place.suffix.lower()](made[-1])
        for part, place in zip(made, places, strict=True):
            part.replace(place)
    finally:
        for part in made:
            part.unlink(missing_ok=True)
