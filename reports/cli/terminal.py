"""Where output goes: a terminal with its width and colours, or a plain stream of 100 columns."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

COLUMNS = 100


def console_of(stream: TextIO) -> Console:
    """A console on ``stream`` that is never wider than 100 columns."""
    console = Console(file=stream, highlight=False, emoji=False)
    if not console.is_terminal or console.width > COLUMNS:
        console.width = COLUMNS
    return console
