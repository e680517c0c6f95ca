"""``lsrl programs``: what is in the library."""

from __future__ import annotations

import sys

from rich.table import Table
from rich.text import Text

from compiler.library import LIBRARY
from compiler.loading import load_program
from reports.cli import options
from reports.cli.terminal import console_of


def programs(as_json: options.Json = False) -> None:
    """List the programs of the library with their parameters."""
    rows = [
        (entry.name, {name: str(value) for name, value in load_program(entry.name).parameters}, entry.summary)
        for entry in LIBRARY.values()
    ]
    if as_json:
        options.print_json(
            [
                {"name": name, "parameters": parameters, "summary": summary}
                for name, parameters, summary in rows
            ]
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("program", "parameters", "what it does"):
        table.add_column(heading, no_wrap=heading == "program")
    for name, parameters, summary in rows:
        table.add_row(
            Text(name), Text(" ".join(f"{key}={value}" for key, value in parameters.items())), Text(summary)
        )
    console_of(sys.stdout).print(table)
