"""A report on disk: the frame, the page and the summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from reports.budgets import budget_lines, budgets
from reports.files import beside
from reports.findings import Findings, find
from reports.page import render
from reports.summary import escaped, markdown, setting_of
from reports.tables import GroupRow, cells_of, grouped, named

FRAME, PAGE, SUMMARY = "drift.parquet", "index.html", "summary.md"


def write_report(frame: pd.DataFrame, folder: Path) -> tuple[Findings, list[GroupRow]]:
    """Write ``drift.parquet``, ``index.html`` and ``summary.md`` into a folder that exists.

    All three are written beside their places first and then renamed, so that a run
    that is stopped leaves the report that was there.

    Args:
        frame: a drift frame.
        folder: where to.

    Returns:
        What the report says, for the terminal.

    Raises:
        OSError: the folder cannot be written.
    """
    shown = named(frame)
    cells = cells_of(shown)
    findings, groups, setting = find(shown), grouped(cells), setting_of(shown)
    costs = budgets(shown)
    page = render(shown, cells, findings, groups, setting, costs)
    summary = markdown(findings, groups, setting, budget_lines(costs, escaped))
    writers: dict[str, Callable[[Path], object]] = {
        FRAME: lambda path: frame.to_parquet(path, index=False),
        PAGE: lambda path: path.write_text(page, encoding="utf-8"),
        SUMMARY: lambda path: path.write_text(summary, encoding="utf-8"),
    }
    partial: dict[str, Path] = {}
    try:
        for name, write in writers.items():
            partial[name] = beside(folder / name)
            write(partial[name])
        for name, path in partial.items():
            path.replace(folder / name)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    return findings, groups
