"""The page of a store's report: one file that needs no network."""

from __future__ import annotations

from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.comparing import said_of_comparison
from reports.packing import packed
from reports.page import bundle, embedded, group_rows
from reports.statements import foremost
from reports.store_charts import Plot, Source
from reports.store_noise import noise_failures, noise_plots, noise_table
from reports.store_report import StoreReport
from reports.summary import GLOSSARY, KINDS
from stability.drift import NO_CONDITIONAL

STATEMENTS = 60
"""Details that the page holds; the rest are counted."""

Column = tuple[str, str, str]
"""A column of a table: its name in the rows, its heading and its kind (see the page's script)."""

RUNS: tuple[Column, ...] = (
    ("title", "program", "text"),
    ("label", "configuration", "text"),
    ("conditional", "conditional", "text"),
    ("target", "model", "text"),
    ("format", "format", "text"),
    ("length", "tokens", "count"),
    ("runs", "runs", "count"),
    ("failed", "wrong runs", "count"),
    ("median", "horizon (median)", "horizon"),
    ("low", "from", "horizon"),
    ("high", "to", "horizon"),
    ("coverage", "surely", "share"),
    ("chance_low", "fails at least", "share"),
    ("chance_high", "fails at most", "share"),
    ("wrong_share", "wrong tokens", "share"),
    ("bits_end", "bits at end", "bits"),
    ("bits_min", "fewest bits", "bits"),
    ("first_bad", "first inf/nan", "count"),
    ("overflow", "infinite weights", "count"),
    ("beyond", "beyond thresholds", "count"),
    ("growth", "growth of the error", "text"),
    ("error", "cannot run", "text"),
)
STATES: tuple[Column, ...] = (
    ("title", "program", "text"),
    ("label", "configuration", "text"),
    ("conditional", "conditional", "text"),
    ("target", "model", "text"),
    ("format", "format", "text"),
    ("variable", "drifts first", "text"),
    ("place", "line", "text"),
    ("step", "at step", "count"),
    ("local", "made in that step", "share"),
    ("law", "law of its error", "text"),
    ("drifted", "runs in which a state drifts", "count"),
    ("runs", "runs", "count"),
)
COMPARED: tuple[Column, ...] = (
    ("title", "program", "text"),
    ("label", "configuration", "text"),
    ("conditional", "conditional", "text"),
    ("target", "model", "text"),
    ("format", "format", "text"),
    ("length", "tokens", "count"),
    ("pairs", "pairs", "count"),
    ("better", "better", "count"),
    ("worse", "worse", "count"),
    ("same", "about the same", "count"),
    ("identical", "identical", "count"),
    ("horizon_l", "horizon here", "horizon"),
    ("horizon_r", "horizon there", "horizon"),
    ("bits_l", "bits here", "bits"),
    ("bits_r", "bits there", "bits"),
)
NOISY: tuple[Column, ...] = (
    ("title", "program", "text"),
    ("config", "configuration", "text"),
    ("conditional", "conditional", "text"),
    ("model", "model", "text"),
    ("format", "format", "text"),
    ("kind", "noise", "text"),
    ("states", "states", "text"),
    ("noise", "σ", "text"),
    ("length", "tokens", "count"),
    ("runs", "runs", "count"),
    ("failed", "wrong runs", "count"),
    ("median", "horizon (median)", "horizon"),
    ("low", "from", "horizon"),
    ("high", "to", "horizon"),
    ("coverage", "surely", "share"),
    ("wrong_share", "wrong tokens", "share"),
)
_BEYOND = -1
"""In a column of horizons: none within the length."""


def render_store(report: StoreReport) -> str:
    """The page: HTML that holds its scripts, styles and numbers; names and messages are escaped."""
    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    plots = [*report.plots, *noise_plots(report.noise)]
    listing = tables_of(report)
    sources = {plot.name: plot.source for plot in plots if plot.source is not None}
    names = _shared(sources)
    tables = {names[name]: source.packed() for name, source in sources.items()}
    tables |= {name: _listed(table, columns) for name, (table, columns) in listing.items()}
    details = report.findings.statements[1:]
    first = foremost(details)
    rest = [each for each in details if each not in first]
    return environment.get_template("store.html.j2").render(
        report=report,
        sections=_sections(report),
        compared=[] if report.other is None else said_of_comparison(report.other),
        first=first,
        rest=rest[:STATEMENTS],
        left_out=max(len(rest) - STATEMENTS, 0),
        comparisons=report.findings.comparisons,
        noise_failures=noise_failures(report.noise),
        groups=group_rows(report.groups),
        without=NO_CONDITIONAL,
        kinds=KINDS,
        glossary=GLOSSARY,
        plots=[_placed(number, plot, names) for number, plot in enumerate(plots)],
        listing={name: columns for name, (_, columns) in listing.items()},
        sizes={name: len(table) for name, (table, _) in listing.items()},
        specs=Markup(embedded([plot.spec for plot in plots])),  # noqa: S704 -- cannot end its element
        tables=Markup(embedded(tables)),  # noqa: S704 -- the same
        bundle=Markup(bundle()),  # noqa: S704 -- the same
    )


def tables_of(report: StoreReport) -> dict[str, tuple[pd.DataFrame, tuple[Column, ...]]]:
    """The tables of a report by name, each with its columns."""
    found = {"runs": (report.table, RUNS)}
    if len(report.states):
        found["states"] = report.states, STATES
    if report.other is not None:
        found["compared-groups"] = report.other.groups, COMPARED
    if report.noise is not None:
        found["noise-runs"] = noise_table(report.noise), NOISY
    return found


def _listed(table: pd.DataFrame, columns: tuple[Column, ...]) -> dict[str, Any]:
    """A table that the page's script lists."""
    kinds = {name: kind for name, _, kind in columns}
    kept = table[list(kinds)].copy()
    ran = table["runs"] > 0 if "runs" in table else pd.Series(data=True, index=table.index)
    for name, kind in kinds.items():
        if kind == "horizon":
            kept[name] = table[name].fillna(_BEYOND).where(ran)
        elif kind in {"share", "bits"}:
            kept[name] = table[name].astype("float64").round(4)
    for hidden in ("length", "outcome"):
        if hidden in table:
            kept[hidden] = table[hidden]
    return packed(kept) | {"kinds": kinds}


def _shared(sources: dict[str, Source]) -> dict[str, str]:
    """Plots that draw the same rows share one table, named after the first of them."""
    known: dict[int, str] = {}
    return {name: known.setdefault(id(source), f"chart-{name}") for name, source in sources.items()}


def _placed(number: int, plot: Plot, names: dict[str, str]) -> dict[str, Any]:
    return {
        "number": number,
        "section": plot.section,
        "name": plot.name,
        "title": plot.title,
        "width": plot.width,
        "rows": names.get(plot.name, ""),
        "free": " ".join(plot.free),
        "positive": plot.positive,
        "empty": plot.empty,
    }


def _sections(report: StoreReport) -> list[tuple[str, str]]:
    """The sections that this page has: anchor and name."""
    present = {plot.section for plot in report.plots}
    found = [("summary", "Summary")]
    found += [("compared", "Compared")] if report.other is not None else []
    found += [("gating", "Gated or not")] if report.groups else []
    for name, title in (("horizons", "Horizons"), ("steps", "Error over steps"), ("laws", "Growth laws")):
        found += [(name, title)] if name in present else []
    found += [("states", "States")] if len(report.states) else []
    found += [("noise", "Noise")] if report.noise is not None else []
    return [*found, ("runs", "All runs"), ("about", "About")]
