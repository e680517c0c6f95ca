"""Decision margins for the terminal: which comparison comes near to deciding otherwise, and when."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.text import plain
from stability.margins import WARNING


def print_margins(console: Console, table: pd.DataFrame, name: str) -> None:
    """Print the margins of all comparisons, the first to warn first.

    Args:
        console: where to.
        table: from :func:`stability.margins.margin_table`.
        name: of the format whose ulps are counted.
    """
    if table.empty:
        console.print("no comparison reaches the output: there are no margins")
        return
    count = "one comparison" if len(table) == 1 else f"{len(table)} comparisons"
    console.print(Text(f"margins of {count} in ulps of {name}, the first to warn first:"))
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    shown.add_column("comparison")
    shown.add_column("line", overflow="fold")
    for heading in ("warns at step", "closest", "at step", "to its ramp"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        warns = "never" if pd.isna(row["warns"]) else f"{row['warns']:,}"
        place = "" if pd.isna(row["line"]) else f"{row['file']}:{row['line']}"
        shown.add_row(
            Text(plain(row["variable"])), Text(plain(place)), Text(warns), f"{row['flip_ulps']:.3g}",
            f"{row['closest']:,}", f"{row['ramp_ulps']:.3g}",
        )  # fmt: skip
    console.print(shown)
    console.print(
        Text(
            f"closest: to the point where the decision turns; below {WARNING:g} ulps, where it warns, one "
            "rounding can turn it"
        )
    )
