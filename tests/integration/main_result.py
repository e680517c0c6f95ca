"""The table of docs/main-result.md, from the ``horizons.csv`` of a report."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

COLUMNS = {
    "uncompiled": ("uncompiled",),
    "ungated": ("linear_rnn", "relu_rnn"),
    "gated": ("gated_linear_rnn", "gated_rnn", "lstm"),
    "GRU": ("gru",),
    "LSTM, real gates": ("lstm (native)",),
    "GRU, real gates": ("gru (native)",),
}
"""Its columns, and the models of each; those of one column do the same to the last bit."""
KEYS = ("program", "configuration", "conditional", "format")


def table(path: Path) -> Iterator[tuple[str, ...]]:
    """The rows of the table: :data:`KEYS`, then a horizon for each of :data:`COLUMNS`.

    Args:
        path: a ``horizons.csv``.

    Raises:
        ValueError: models of one column have other horizons.
    """
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for key in dict.fromkeys(tuple(row[name] for name in KEYS) for row in found):
        models = {row["model"]: _horizon(row) for row in found if tuple(row[name] for name in KEYS) == key}
        yield (*key, *(_one(models, names) for names in COLUMNS.values()))


def _one(models: dict[str, str], names: Sequence[str]) -> str:
    seen = {models[name] for name in names if name in models}
    if len(seen) > 1:
        raise ValueError(f"{', '.join(names)} differ: {seen}")
    return seen.pop() if seen else "–"


def _horizon(row: dict[str, str]) -> str:
    """``median [from, to]``; ``> T`` where no run has a wrong token."""
    runs, wrong = int(row["runs"]), int(row["wrong runs"])
    if not runs:
        return "refused"
    if not wrong:
        return f"> {int(row['tokens']):,}"
    if not row["horizon (median)"]:
        return f"{wrong} of {runs} wrong, first after {_count(row['from'])}"
    return f"{_count(row['horizon (median)'])} [{_count(row['from'])}, {_count(row['to'])}]"


def _count(number: str) -> str:
    return f"{int(number):,}" if number else ""


def lines(path: Path) -> Iterator[str]:
    """The table as Markdown."""
    yield "| " + " | ".join((*KEYS, *COLUMNS)) + " |"
    yield "|" + "---|" * (len(KEYS) + len(COLUMNS))
    for row in table(path):
        yield "| " + " | ".join(row) + " |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines(Path(sys.argv[1]))) + "\n")
