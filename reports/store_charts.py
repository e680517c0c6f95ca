"""The charts of a store: definitions that draw rows which the page, or the writer of files, chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from reports.horizons import FAILED, longest
from reports.packing import Rows, packed, unpacked
from reports.plots import AUTOSIZE, ROW, WIDTHS, AnyChart, colour, legend, model_label, target_order, tiles
from reports.store_curves import Curve
from reports.tables import horizon_text, share_text
from stability.drift import NO_CONDITIONAL

LAWS = {
    "exact": ("none", 1.0),
    "bounded": ("bounded", 0.85),
    "sqrt": ("√n", 0.6),
    "linear": ("n", 0.4),
    "power": ("n^", 0.3),
    "exponential": ("exp", 0.0),
    "inconclusive": ("?", -1.0),
}
"""Law → the text of its tile and how good it is."""
NOTHING, NO_ERROR = "Nothing was measured for this choice.", "No model has an error here."
TILE, LABELS = 50, 170
"""Pixels that a column of a heat map and its row labels need at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows of which a page shows those that are chosen.

    Attributes:
        table: with columns that are named like choices.
        curves: what the numbers of its column ``curve`` stand for.
    """

    table: pd.DataFrame
    curves: Sequence[Curve] = ()

    def packed(self) -> dict[str, Any]:
        """For the page's script."""
        return packed(self.table, self.curves)

    def rows(self, chosen: dict[str, str]) -> Rows:
        """What a chart draws under a choice."""
        return unpacked(self.table, chosen, self.curves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A chart and where it belongs.

    Attributes:
        section: of the page.
        name: of its files.
        title: its caption.
        spec: Vega-Lite; its rows are named ``rows`` unless it has its own.
        source: of its rows; None where the spec holds them.
        width: pixels that it needs at least.
        free: choices that do not count for it, since it shows all of their values.
        positive: a column; rows in which it is not above 0 are left out.
        empty: what stands in place of a chart without rows.
    """

    section: str
    name: str
    title: str
    spec: dict[str, Any]
    source: Source | None = None
    width: int = 0
    free: tuple[str, ...] = ("format",)
    positive: str = ""
    empty: str = NOTHING

    def filled(self, chosen: dict[str, str]) -> dict[str, Any]:
        """The spec with its rows under a choice, for a file."""
        if self.source is None:
            return self.spec
        return self.spec | {"datasets": {"rows": self._rows(self.source, chosen)}}

    def drawn(self, chosen: dict[str, str]) -> bool:
        """Whether a choice has anything to draw."""
        return self.source is None or bool(self._rows(self.source, chosen))

    def _rows(self, source: Source, chosen: dict[str, str]) -> Rows:
        rows = source.rows({name: value for name, value in chosen.items() if name not in self.free})
        return [row for row in rows if not self.positive or (row[self.positive] or 0) > 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What the charts of a report have in common.

    Attributes:
        models: labels of rows, in order.
        targets: in order.
        formats: in order.
    """

    models: tuple[str, ...]
    targets: tuple[str, ...]
    formats: tuple[str, ...]
    named: alt.NamedData = field(default_factory=lambda: alt.NamedData(name="rows"))

    @property
    def width(self) -> int:
        """Pixels that a heat map needs."""
        return LABELS + TILE * len(self.formats)


def axes_of(table: pd.DataFrame) -> Axes:
    """The axes of a :func:`reports.horizons.horizon_table`."""
    targets = target_order(dict.fromkeys(table["target"]))
    models = [
        model_label(target, conditional)
        for target in targets
        for conditional in sorted(table.loc[table["target"] == target, "conditional"].unique())
    ]
    return Axes(models=tuple(models), targets=tuple(targets), formats=tuple(sorted(table["format"].unique())))


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    """The columns by which every heat map is chosen and laid out."""
    models = [model_label(*pair) for pair in zip(table["target"], table["conditional"], strict=True)]
    return pd.DataFrame(
        {"program": table["title"], "config": table["label"], "format": table["format"], "model": models}
    )


def _heat(axes: Axes, told: Sequence[str]) -> dict[str, Any]:
    spec: dict[str, Any] = tiles(axes.named, axes.models, axes.formats, told).to_dict()
    return spec


# ---------------------------------------------------------------- how long models stay right


def right_plot(table: pd.DataFrame, axes: Axes) -> Plot:
    """The share of runs without a wrong token, over all programs and seeds."""
    kept = _everywhere(longest(table))
    summed = kept.groupby(["label", "format", "target", "conditional"], sort=False)[["runs", "failed"]].sum()
    table = summed.reset_index().assign(title="")
    share = 1 - table["failed"] / table["runs"].where(table["runs"] > 0)
    rows = _keyed(table).drop(columns="program")
    rows["shown"] = ["n/a" if pd.isna(value) else share_text(float(value)) for value in share]
    rows["score"] = share.fillna(-1.0).round(3)
    rows["right"] = [
        f"{runs - failed} of {runs} runs" for runs, failed in zip(table["runs"], table["failed"], strict=True)
    ]
    return Plot(
        section="horizons",
        name="right",
        title="Runs without a wrong token, all programs together",
        spec=_heat(axes, ["right"]),
        source=Source(table=rows),
        width=axes.width,
    )


def _everywhere(table: pd.DataFrame) -> pd.DataFrame:
    """Programs without a conditional stand under every one that their model has, as in the summary."""
    with_one = table[table["conditional"] != NO_CONDITIONAL]
    pairs = with_one[["target", "label", "conditional"]].drop_duplicates()
    without = table[table["conditional"] == NO_CONDITIONAL]
    spread = without.drop(columns="conditional").merge(pairs, on=["target", "label"], how="left")
    return pd.concat([with_one, spread.fillna({"conditional": NO_CONDITIONAL})])


def horizon_plot(table: pd.DataFrame, axes: Axes) -> Plot:
    """The median horizon of each model and format, for one program and configuration."""
    kept = longest(table)
    rows = _keyed(kept).assign(**_horizon_texts(kept))
    return Plot(
        section="horizons",
        name="horizons",
        title="Median horizon of the chosen program",
        spec=_heat(axes, ["horizon", "interval", "wrong"]),
        source=Source(table=rows),
        width=axes.width,
    )


def _horizon_texts(kept: pd.DataFrame) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in ("shown", "score", "horizon", "interval", "wrong")}
    for _, row in kept.iterrows():
        length, refused = int(row["length"]), row["outcome"] == FAILED
        low, middle, high = (
            None if pd.isna(row[name]) else int(row[name]) for name in ("low", "median", "high")
        )
        good = 1.0 if middle is None else 0.9 * float(np.log1p(middle) / np.log1p(length))
        found["shown"].append("n/a" if refused else "> T" if middle is None else f"{middle:,}")
        found["score"].append(-1.0 if refused else round(good, 3))
        found["horizon"].append("cannot run" if refused else horizon_text(middle, length))
        found["interval"].append(
            ""
            if refused
            else "one run"
            if row["runs"] == 1
            else f"{horizon_text(low, length)} to {horizon_text(high, length)} ({row['runs']} runs)"
        )
        found["wrong"].append("" if refused else f"{share_text(float(row['wrong_share']))} of the tokens")
    return found


def spread_plot(table: pd.DataFrame, axes: Axes) -> Plot:
    """The first wrong token of every model with its interval over seeds, in one format."""
    kept = longest(table[table["outcome"] != FAILED])
    rows = _keyed(kept).assign(target=kept["target"])
    for name in ("low", "median", "high"):
        rows[name] = kept[name].add(1).fillna(kept["length"]).astype("int64")
    rows["outcome"] = np.where(kept["median"].isna(), "most runs have none", "first wrong token")
    rows["told"] = _horizon_texts(kept)["interval"]
    base = alt.Chart(axes.named)
    labels = alt.Axis(labelExpr="split(datum.label, ' · ')", labelFontSize=10.5, labelOffset=-5)
    shared = {
        "y": alt.Y("model:N", sort=list(axes.models), title=None, axis=labels),
        "color": colour(axes.targets, legend=None),
        "tooltip": ["model:N", "median:Q", "low:Q", "high:Q", alt.Tooltip("told:N", title="interval")],
    }
    scale = alt.Scale(type="log", domainMin=1, nice=False)
    axis = alt.Axis(values=[10.0**k for k in range(9)], format=",d")
    shape = alt.Shape(
        "outcome:N",
        scale=alt.Scale(
            domain=["first wrong token", "most runs have none"], range=["circle", "triangle-right"]
        ),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    spans = base.mark_rule(strokeWidth=3, opacity=0.5).encode(
        x=alt.X("low:Q", scale=scale, axis=axis, title="tokens read"), x2="high:Q", **shared
    )
    middles = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("median:Q", scale=scale, axis=axis, title="tokens read"), shape=shape, **shared
    )
    chart: AnyChart = alt.layer(spans, middles).properties(
        width="container", height=alt.Step(ROW), autosize=AUTOSIZE
    )
    return Plot(
        section="horizons",
        name="spread",
        title="First wrong token, median and interval over the prompts, in the chosen format",
        spec=chart.to_dict(),
        source=Source(table=rows),
        width=360,
        free=(),
    )


# ---------------------------------------------------------------- errors over steps


def curve_plots(lines: pd.DataFrame, found: Sequence[Curve], axes: Axes) -> list[Plot]:
    """Significant bits and absolute error over tokens, for one program, configuration and format."""
    ordered = lines.sort_values(
        "target",
        key=lambda column: column.map({name: k for k, name in enumerate(axes.targets)}),
        kind="stable",
    )
    widths = dict(zip(axes.targets, (*WIDTHS, *[WIDTHS[-1]] * len(axes.targets)), strict=False))
    source = Source(table=ordered.assign(width=ordered["target"].map(widths)), curves=found)
    bits = alt.Y("bits:Q", title="significant bits", scale=alt.Scale(domainMin=0))
    error = alt.Y(
        "error:Q",
        title="absolute error",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format=".0e", tickCount=6),
    )
    return [
        Plot(
            section="steps",
            name=name,
            title=title,
            spec=_curve_chart(axes, height).to_dict(),
            source=source,
            width=320,
            free=(),
            positive=positive,
            empty=empty,
        )
        for name, title, height, positive, empty in (
            ("bits", "Significant bits left", bits, "", NOTHING),
            ("errors", "Absolute error (where it is not 0)", error, "error", NO_ERROR),
        )
    ]


def _curve_chart(axes: Axes, height: alt.Y) -> AnyChart:
    base = alt.Chart(axes.named)
    steps = alt.X(
        "token:Q",
        title="tokens read",
        scale=alt.Scale(type="log", domainMin=1, nice=False),
        axis=alt.Axis(values=[10.0**k for k in range(9)], format=",d"),
    )
    colours = colour(axes.targets, legend=legend(columns=2))
    tooltip = ["target:N", "conditional:N", "token:Q", "bits:Q", "error:Q"]
    drawn = base.mark_line(opacity=0.85).encode(
        x=steps,
        y=height,
        color=colours,
        strokeDash=alt.StrokeDash("conditional:N", legend=legend(columns=1)),
        strokeWidth=alt.StrokeWidth("width:Q", legend=None, scale=None),
        order=alt.Order("token:Q"),
        tooltip=tooltip,
    )
    crosses = (
        base.transform_filter(alt.datum.first == 1)
        .mark_point(shape="cross", angle=45, size=90, filled=True, opacity=1)
        .encode(x=steps, y=height, color=colours, tooltip=tooltip)
    )
    chart: AnyChart = alt.layer(drawn, crosses).properties(width="container", height=280)
    return chart


# ---------------------------------------------------------------- laws and states


def law_plot(laws: pd.DataFrame, axes: Axes) -> Plot:
    """The law by which the output's error grows, for one program and configuration."""
    kept = longest(laws)
    rows = _keyed(kept).assign(law=kept["text"])
    rows["shown"] = [
        f"n^{estimate:.1f}" if law == "power" else LAWS[law][0]
        for law, estimate in zip(kept["law"], kept["estimate"], strict=True)
    ]
    rows["score"] = [LAWS[law][1] for law in kept["law"]]
    return Plot(
        section="laws",
        name="growth",
        title="How the error of the output grows with the number of tokens n",
        spec=_heat(axes, ["law"]),
        source=Source(table=rows),
        width=axes.width,
    )


def state_plot(states: pd.DataFrame, axes: Axes) -> Plot:
    """The state that drifts first, for one program and configuration.

    Args:
        states: from :func:`reports.store_states.state_table`.
        axes: of the report.
    """
    kept = longest(states)
    rows = _keyed(kept).assign(state=kept["variable"], place=kept["place"], law=kept["law"])
    found = kept["variable"] != ""
    score = 0.9 * np.log1p(kept["step"].astype("Float64")) / np.log1p(kept["length"])
    rows["shown"] = [
        f"{name} {step:,}" if name else "none"
        for name, step in zip(kept["variable"], kept["step"].fillna(0), strict=True)
    ]
    rows["score"] = score.where(found, 1.0).round(3)
    return Plot(
        section="states",
        name="states",
        title="The state that drifts first, and the step at which it does",
        spec=_heat(axes, ["state", "place", "law"]),
        source=Source(table=rows),
        width=LABELS + 3 * TILE * len(axes.formats),
    )


def comparison_plot(groups: pd.DataFrame, axes: Axes) -> Plot:
    """Where the first store does better or worse than the second, over all programs and seeds.

    Args:
        groups: from :func:`reports.comparing.compare_stores`.
        axes: of the report.
    """
    keys = ["label", "format", "target", "conditional"]
    summed = (
        groups.groupby(keys, sort=False)[["pairs", "better", "worse"]].sum().reset_index().assign(title="")
    )
    rows = _keyed(summed).drop(columns="program")
    rows["shown"] = [
        "=" if not better and not worse else " ".join(
            text for text, count in ((f"+{better}", better), (f"−{worse}", worse)) if count
        )
        for better, worse in zip(summed["better"], summed["worse"], strict=True)
    ]  # fmt: skip
    rows["score"] = (0.5 + 0.5 * (summed["better"] - summed["worse"]) / summed["pairs"]).round(3)
    rows["pairs"] = summed["pairs"].astype(str)
    return Plot(
        section="compared",
        name="compared",
        title="Pairs that are better (+) or worse (−) than in the other store",
        spec=_heat(axes, ["pairs"]),
        source=Source(table=rows),
        width=axes.width,
    )
