"""Which state drifts first, and by which law errors grow, in sentences.

Told of frames that were measured with ``states`` (see :func:`stability.drift.drift`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from reports.statements import Statement, format_weight, listed, under
from reports.tables import titled
from reports.text import plain
from stability.attribution import FIRST
from stability.cells import KEYS
from stability.growth import Growth, growth_of

SEED = 0
"""Of the bootstrap: the same frame gives the same report."""
GROUP = ["title", "label", "conditional", "format"]


def said_of_drifting(frame: pd.DataFrame) -> Iterator[Statement]:
    """The first state to drift of each construction and format, and the laws of its errors."""
    if not set(FIRST) <= set(frame.columns):
        return
    ran = titled(frame[frame["step"].notna()])
    cells = ran.drop_duplicates(list(KEYS))
    for (title, label, conditional, format_name), part in cells.groupby(GROUP, sort=False):
        where = f"{title}, {label}{under(str(conditional))}, {format_name}"
        states = [_said_of_state(each, set(part["target"])) for each in _by_state(part)]
        if states:
            weight = 82 + format_weight(str(format_name))
            yield Statement(kind="states", text=f"{where}: {'; '.join(states)}.", weight=weight)
    for (title, label, conditional, format_name), part in ran.groupby(GROUP, sort=False):
        where = f"{title}, {label}{under(str(conditional))}, {format_name}"
        text = _said_of_growth(part)
        if text:
            weight = 45 + format_weight(str(format_name))
            yield Statement(kind="growth", text=f"{where}: the error of the output is {text}.", weight=weight)


def _by_state(cells: pd.DataFrame) -> Iterator[pd.DataFrame]:
    drifting = cells[cells["first_state"].fillna("") != ""]
    for _, same in drifting.groupby(["first_state", "first_state_place"], sort=False):
        yield same


def _said_of_state(cells: pd.DataFrame, targets: set[str]) -> str:
    """``counted (dictionary.lsrl:14) drifts first, at step 2,049, on all targets …``."""
    steps = cells["first_state_step"].astype("int64").to_numpy()
    first = cells.iloc[int(steps.argmin())]
    place = f" ({plain(str(first['first_state_place']))})" if first["first_state_place"] else ""
    shares = cells["first_state_local"].dropna()
    origin = f" ({shares.median():.0%} of its error made in that step)" if len(shares) else ""
    laws = listed([plain(str(law)) for law in dict.fromkeys(cells["first_state_law"])], 3)
    state = (
        f"{plain(str(first['first_state']))}{place} drifts first, {_when(steps.min(), steps.max())}{origin}"
    )
    return f"{state}, on {_named(cells['target'], targets)}; the law of its error: {laws}"


def _when(earliest: int, latest: int) -> str:
    return f"at step {earliest:,}" if earliest == latest else f"at steps {earliest:,} to {latest:,}"


def _said_of_growth(rows: pd.DataFrame) -> str:
    """``linear (exponent …) on lstm; no error on gru``; empty where no target has an error."""
    laws: dict[str, list[str]] = {}
    for target, own in rows.groupby("target", sort=False):
        found = growth_of(own, generator=np.random.default_rng(SEED))
        laws.setdefault(found.text, []).append(str(target))
    if set(laws) == {Growth(law="exact").text}:
        return ""
    ran = set(rows["target"])
    return "; ".join(f"{plain(law)} on {_named(targets, ran)}" for law, targets in laws.items())


def _named(targets: Iterable[str], ran: set[str]) -> str:
    chosen = list(dict.fromkeys(targets))
    return "all targets" if len(chosen) > 2 and set(chosen) == ran else listed(chosen)
