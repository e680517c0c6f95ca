"""The summary of a store for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from reports.comparing import said_of_comparison
from reports.store_report import StoreReport


def print_store(console: Console, report: StoreReport) -> None:
    """Print the chapters of a report, the comparison and what was left out."""
    chapters = [(each.title, list(each.lines)) for each in report.chapters]
    if report.other is not None:
        chapters.append((f"Compared with {report.other.name}", said_of_comparison(report.other)))
    if report.notes:
        chapters.append(("Left out of this report", list(report.notes)))
    for title, lines in chapters:
        console.print(Text(title, style="bold"))
        for line in lines:
            console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))
