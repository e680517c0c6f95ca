"""A report of a store: everything that its page, its summary and its files show, worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reports.comparing import StoreComparison, compare_stores
from reports.findings import Findings, find
from reports.horizons import horizon_table, law_table
from reports.plots import first_choice
from reports.store_charts import (
    Axes,
    Plot,
    axes_of,
    comparison_plot,
    curve_plots,
    horizon_plot,
    law_plot,
    right_plot,
    spread_plot,
    state_plot,
)
from reports.store_curves import curves
from reports.store_reading import Experiments
from reports.store_states import state_table
from reports.story import Chapter, story
from reports.summary import Setting, setting_of
from reports.tables import GroupRow, cells_of, grouped, named, titled
from reports.text import plain
from stability.cells import KEYS
from stability.drift import Progress

NOTES = 12
"""Lines about files that were left out; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """All that is told of a store.

    Attributes:
        name: of the store.
        experiments: what was run into it.
        notes: what to know before trusting it: files that were left out.
        chapters: the summary in plain words.
        findings: the details; ``groups``: gated against ungated.
        cells: one row per cell; ``table``: one per group of prompts, with the columns of
            :func:`reports.horizons.horizon_table` and ``growth``, the law in words.
        states: from :func:`reports.store_states.state_table`.
        noise: a noise frame, if there is one.
        other: the comparison with another store, if there is one.
        plots: the charts; ``chosen``: what they show first, by choice.
        choices: choice → its values.
        setting: the conditions.
    """

    name: str
    experiments: Experiments
    notes: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    findings: Findings
    groups: tuple[GroupRow, ...]
    cells: pd.DataFrame
    table: pd.DataFrame
    states: pd.DataFrame
    noise: pd.DataFrame | None
    other: StoreComparison | None
    plots: tuple[Plot, ...]
    chosen: dict[str, str]
    choices: dict[str, tuple[str, ...]]
    setting: Setting | None


def store_report(
    name: str,
    frame: pd.DataFrame,
    experiments: Experiments,
    *,
    notes: Sequence[str] = (),
    noise: pd.DataFrame | None = None,
    other: tuple[str, pd.DataFrame] | None = None,
    progress: Progress | None = None,
) -> StoreReport:
    """Work out a report.

    Args:
        name: of the store.
        frame: from :func:`stability.experiment.read_store`; it may be empty.
        experiments: from :func:`reports.store_reading.experiments_of`.
        notes: lines about files that were left out.
        noise: from :func:`reports.store_reading.read_noise`.
        other: name and frame of a store to compare with.
        progress: called as the laws of growth are found, which takes most of the time.
    """
    rows = named(frame)
    rows = rows.assign(beyond=experiments.beyond(rows))
    cells = _cells(rows)
    table, laws, states = horizon_table(cells), law_table(rows, progress), state_table(rows)
    findings = find(rows.drop(columns="beyond"), cells)
    compared = None if other is None else compare_stores(cells, _cells(named(other[1])), other[0])
    axes = axes_of(table)
    told = [*notes, *experiments.notes]
    return StoreReport(
        name=name,
        experiments=experiments,
        notes=(*map(plain, told[:NOTES]), *_more(len(told) - NOTES)),
        chapters=tuple(story(cells, laws, findings.comparisons, experiments.texts)),
        findings=findings,
        groups=tuple(grouped(cells)),
        cells=cells,
        table=table.merge(_growth(laws), how="left", on=list(_growth(laws).columns[:-1])),
        states=states,
        noise=noise,
        other=compared,
        plots=tuple(_plots(rows, table, laws, states, compared, axes)),
        chosen=_chosen(cells),
        choices=_choices(cells),
        setting=None if frame.empty else setting_of(rows),
    )


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    cells = cells_of(rows)
    if "beyond" not in rows or cells.empty:
        return cells.assign(beyond=pd.Series(data=False, index=cells.index))
    beyond = rows.groupby(list(KEYS), sort=False, dropna=False)["beyond"].any()
    return cells.assign(beyond=beyond.to_numpy())


def _growth(laws: pd.DataFrame) -> pd.DataFrame:
    return laws.drop(columns=["law", "estimate", "low", "high"]).rename(columns={"text": "growth"})


def _more(count: int) -> list[str]:
    return [f"and {count:,} more"] if count > 0 else []


def _plots(
    rows: pd.DataFrame,
    table: pd.DataFrame,
    laws: pd.DataFrame,
    states: pd.DataFrame,
    compared: StoreComparison | None,
    axes: Axes,
) -> list[Plot]:
    if table.empty:
        return []
    found = [comparison_plot(compared.groups, axes)] if compared is not None and compared.pairs else []
    found.append(right_plot(table, axes))
    if not table["runs"].any():
        return found
    found += [horizon_plot(table, axes), spread_plot(table, axes)]
    found += curve_plots(*curves(rows), axes)
    found.append(law_plot(laws, axes))
    if len(states):
        found.append(state_plot(states, axes))
    return found


def _chosen(cells: pd.DataFrame) -> dict[str, str]:
    """What the charts show first: the program and format where compilation breaks most."""
    if cells.empty:
        return {}
    program, config = first_choice(cells)
    shown = titled(cells)
    own = shown[(shown["title"] == program) & (shown["label"] == config) & ~shown["failed"].astype(bool)]
    wrong = own[own["wrong"].astype(bool)]["format"]
    formats = list(own["format"].unique()) or list(shown["format"].unique())
    most = wrong.value_counts()
    some = [name for name in formats if 0 < most.get(name, 0) < (own["format"] == name).sum()]
    return {"program": program, "config": config, "format": str((some or list(most.index) or formats)[0])}


def _choices(cells: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    shown = titled(cells) if len(cells) else pd.DataFrame(columns=["title", "label", "format"])
    columns = {"program": "title", "config": "label", "format": "format"}
    found = {name: tuple(map(str, dict.fromkeys(shown[column]))) for name, column in columns.items()}
    return found | {"format": tuple(sorted(found["format"]))}


def report_name(path: Path) -> str:
    """How a store is called: the name of its folder."""
    return plain(path.resolve().name or str(path))
