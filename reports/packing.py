"""Tables in a page: columns as JSON, words numbered, so that thousands of rows stay small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

Rows = list[dict[str, Any]]


def packed(table: pd.DataFrame, curves: Sequence[Mapping[str, Sequence[Any]]] = ()) -> dict[str, Any]:
    """A table for the page's script.

    Args:
        table: text and numbers; what is missing becomes null.
        curves: where the table has a column ``curve``, what its numbers stand for.
    """
    columns = {str(name): _column(table[name]) for name in table.columns}
    found: dict[str, Any] = {"size": len(table), "columns": columns}
    return found | ({"curves": list(curves)} if len(curves) else {})


def unpacked(
    table: pd.DataFrame, chosen: Mapping[str, str], curves: Sequence[Mapping[str, Sequence[Any]]] = ()
) -> Rows:
    """The rows that a chart gets, as the page's script makes them.

    Args:
        table: as for :func:`packed`.
        chosen: column → the value that rows must have; columns that the table lacks do not count.
        curves: as for :func:`packed`.
    """
    kept = np.ones(len(table), dtype=bool)
    for name, value in chosen.items():
        if name in table.columns:
            kept &= (table[name] == value).to_numpy()
    chosen_rows = table[kept]
    values = {str(name): _plain(chosen_rows[name]) for name in chosen_rows.columns}
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    if "curve" not in values:
        return rows
    return [
        row | dict(zip(curves[row["curve"]], point, strict=True))
        for row in rows
        for point in zip(*curves[row["curve"]].values(), strict=True)
    ]


def _column(column: pd.Series[Any]) -> dict[str, Any]:
    values = _plain(column)
    if not all(isinstance(value, str) for value in values):
        return {"values": values}
    words = {word: code for code, word in enumerate(dict.fromkeys(values))}
    return {"words": list(words), "codes": [words[value] for value in values]}


def _plain(column: pd.Series[Any]) -> list[Any]:
    """Values that JSON has; nan, inf and missing ones are null."""
    found: list[Any] = []
    for value in column.tolist():
        if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
            found.append(None)
        elif isinstance(value, bool | np.bool_):
            found.append(int(value))
        else:
            found.append(value)
    return found
