"""The error budgets of a drift frame: what each place of rounding makes of the error, by itself.

Told of frames that were measured with ``budget`` (see :func:`stability.drift.drift`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.statements import listed, under
from reports.tables import titled
from reports.text import plain
from stability.budget import LONE
from stability.budget_cells import BUDGET, ERROR, REST, STEP
from stability.cells import KEYS

MOST = 40
"""Rows that a terminal gets; the rest are counted."""
NOTHING = 1e-8
"""Of the error: smaller parts may be the roundings of float64, and are shown as none."""
SOURCES = (*LONE, "unexplained")
NAMES = {"accumulation": "sums"}
ABOUT = (
    "The error of the output where it is largest, and what each place of rounding makes of it when all "
    "else is float64. What works together or cancels is unexplained."
)
WRONG = "by itself enough for a wrong token"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRow:
    """One budget, shared by all models that have the same.

    Attributes:
        construction: the program, its configuration and its conditional.
        models: the targets.
        format: under test.
        step: at which the error is largest.
        error: of the output there.
        parts: the error of each of :data:`SOURCES` by itself.
        wrong: the sources that have a wrong token by themselves, with its step.
    """

    construction: str
    models: str
    format: str
    step: int
    error: float
    parts: tuple[float, ...]
    wrong: dict[str, int]


def budgets(frame: pd.DataFrame) -> list[BudgetRow]:
    """The budgets of a frame, the worst seed of each; runs without any error are left out."""
    if not set(BUDGET) <= set(frame.columns):
        return []
    cells = titled(frame.drop_duplicates(list(KEYS)))
    cells = cells[cells[STEP].notna() & (cells[ERROR] > 0)]
    return list(_rows(cells.sort_values(ERROR, ascending=False, kind="stable")))


def _rows(cells: pd.DataFrame) -> Iterator[BudgetRow]:
    place = ["title", "label", "conditional", "length"]
    worst = cells.drop_duplicates([*place, "target", "format"]).sort_index()
    for (title, label, conditional, *_), same in worst.groupby(place, sort=False):
        for _, alike in same.groupby(["format", *BUDGET], sort=False, dropna=False):
            first = alike.iloc[0]
            named = [plain(str(each)) for each in alike["target"]]
            yield BudgetRow(
                construction=f"{title}, {label}{under(str(conditional))}",
                models=listed(list(dict.fromkeys(named)), 9),
                format=plain(str(first["format"])),
                step=int(first[STEP]),
                error=float(first[ERROR]),
                parts=(*(_part(first[f"budget_{source}"]) for source in LONE), float(first[REST])),
                wrong={
                    source: int(first[f"horizon_{source}"])
                    for source in LONE
                    if pd.notna(first[f"horizon_{source}"])
                },
            )


def _part(value: float) -> float:
    return 0.0 if math.isnan(value) else float(value)


def headings() -> list[str]:
    """Those of the table."""
    return ["models", "format", "step", "error", *(NAMES.get(source, source) for source in SOURCES)]


def texts(row: BudgetRow) -> list[str]:
    """The cells of a row; a star marks a source that has a wrong token by itself."""
    marks = ["*" if source in row.wrong else "" for source in SOURCES]
    sizes = [0.0 if part < NOTHING * row.error else part for part in row.parts]
    parts = [error_text(part) + mark for part, mark in zip(sizes, marks, strict=True)]
    return [row.models, row.format, f"{row.step:,}", error_text(row.error), *parts]


def error_text(error: float) -> str:
    """Two digits of a size; ``–`` for none."""
    if error == 0:
        return "–"
    return "∞" if math.isinf(error) else f"{error:.2g}"


def print_budgets(console: Console, rows: list[BudgetRow]) -> None:
    """Print a table for each construction."""
    if not rows:
        console.print("\nNo error budget: no run has an error, or none is in a format of at most 26 bits.")
        return
    console.print()
    console.print(Text(ABOUT))
    for construction in dict.fromkeys(row.construction for row in rows[:MOST]):
        table = Table(
            title=Text(f"Error budget of {construction}"), title_justify="left", pad_edge=False, box=None,
            padding=(0, 1, 0, 0), header_style="bold",
        )  # fmt: skip
        for number, name in enumerate(headings()):
            table.add_column(
                name,
                justify="right" if number > 1 else "left",
                no_wrap=number > 1,
                overflow="fold",
                min_width=15 if number == 1 else None,
            )
        for row in rows[:MOST]:
            if row.construction == construction:
                table.add_row(*map(Text, texts(row)))
        console.print()
        console.print(table)
    if any(row.wrong for row in rows[:MOST]):
        console.print(Text(f"* {WRONG}"))
    if len(rows) > MOST:
        console.print(Text(f"and {len(rows) - MOST:,} more, in the report"))


def wrong_text(row: BudgetRow) -> str:
    """``state from step 2,048``; empty where no source has a wrong token by itself."""
    return ", ".join(f"{NAMES.get(source, source)} from step {step:,}" for source, step in row.wrong.items())


def budget_lines(rows: list[BudgetRow], escaped: Callable[[str], str]) -> list[str]:
    """The budgets as Markdown; nothing where there are none."""
    if not rows:
        return []
    names = ["construction", *headings(), "wrong by itself"]
    lines = ["## Error budget", "", escaped(ABOUT), "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        shown = [row.construction, *texts(row), wrong_text(row) or "–"]
        lines.append("| " + " | ".join(escaped(text) for text in shown) + " |")
    return [*lines, ""]
