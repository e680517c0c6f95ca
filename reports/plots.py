"""The pictures of a report: one Altair definition for each.

A chart holds only what it shows: sampled steps, the worst seed, and of a run of
equal points its two ends.  The page chooses program and configuration through
the charts' parameters ``program`` and ``config``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from compiler.compiling import UNCOMPILED
from reports.noise_report import model_name
from reports.tables import horizon_text, titled
from stability.cells import NATIVE
from stability.drift import NO_CONDITIONAL

COLOURS = {
    "uncompiled": "#8c8c8c",
    "linear_rnn": "#0072b2",
    "relu_rnn": "#56b4e9",
    "gated_linear_rnn": "#e69f00",
    "lstm": "#d55e00",
    "gru": "#cc79a7",
    "hawk": "#009e73",
    "griffin": "#b5a300",
    "gated_rnn": "#a05a2c",
}
"""Okabe and Ito's palette: blues for ungated targets, warm colours for gated ones; in the order of charts."""

NATIVE_COLOURS = {"lstm": "#b2182b", "gru": "#9b59b6"}
"""Of models with real gates; they are drawn after all others."""

ROW = 30
"""Pixels of a row whose label has two lines."""
AUTOSIZE = alt.AutoSizeParams(type="fit-x", contains="padding")
"""Of charts that are as wide as their place and as high as their rows."""
WIDTHS = (7.0, 5.5, 4.0, 2.8, 1.4)
"""Lines that coincide stay visible: the control widest and lowest, then narrower ones on top."""


AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart
AnySource = pd.DataFrame | alt.NamedData
"""What a chart draws: its own rows, or those that its page chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart and where it belongs.

    Attributes:
        section: ``bits``, ``horizon`` or ``wrong``.
        title: its caption.
        spec: Vega-Lite, for vega-embed.
    """

    section: Literal["bits", "horizon", "wrong"]
    title: str
    spec: dict[str, Any]


def pictures(frame: pd.DataFrame, cells: pd.DataFrame) -> list[Picture]:
    """All charts of a report.

    Args:
        frame: a drift frame.
        cells: its cells, from :func:`reports.tables.cells_of`.
    """
    if cells.empty:
        return []
    shown = titled(cells)
    formats = list(shown["format"].unique())
    found = [
        Picture(section="bits", title=name, spec=bits_chart(frame, shown, name).to_dict())
        for name in formats
        if not shown[shown["format"].eq(name) & ~shown["failed"]].empty
    ]
    for (title, label), part in shown.groupby(["title", "label"], sort=False):
        spec = horizon_chart(part, formats).to_dict()
        found.append(Picture(section="horizon", title=f"{title}, {label}", spec=spec))
    for name in formats:
        part = shown[shown["format"].eq(name) & ~shown["failed"]]
        if not part.empty:
            found.append(Picture(section="wrong", title=name, spec=wrong_chart(part).to_dict()))
    return found


def first_choice(cells: pd.DataFrame) -> tuple[str, str]:
    """The program and the configuration to show first: where compilation breaks most cells."""
    shown = titled(cells)
    wrong = shown[shown["wrong"] & (shown["target"] != UNCOMPILED)]
    best = wrong.groupby(["title", "label"], sort=False).size()
    if best.empty:
        return str(shown["title"].iloc[0]), str(shown["label"].iloc[0])
    most = best.reset_index(name="count").nlargest(1, "count", keep="first").iloc[0]
    return str(most["title"]), str(most["label"])


def _choices(cells: pd.DataFrame) -> tuple[alt.Parameter, alt.Parameter]:
    title, label = first_choice(cells)
    return alt.param(name="program", value=title), alt.param(name="config", value=label)


def model_label(target: str, conditional: str) -> str:
    """A target with its conditional, for axes and legends."""
    return target if conditional == NO_CONDITIONAL else f"{target} · {conditional}"


def target_order(targets: Iterable[str]) -> list[str]:
    """Targets in the order of all charts; real gates last."""
    known = [*COLOURS, *(model_name(name, NATIVE) for name in NATIVE_COLOURS)]
    return sorted(targets, key=lambda name: (known.index(name) if name in known else len(known), name))


def colour(targets: Sequence[str], **settings: Any) -> alt.Color:
    """The colour of a target, the same in every chart."""
    known = COLOURS | {model_name(name, NATIVE): value for name, value in NATIVE_COLOURS.items()}
    ordered = target_order(targets)
    scale = alt.Scale(domain=ordered, range=[known.get(name, "#777777") for name in ordered])
    return alt.Color("target:N", scale=scale, sort=ordered, **settings)


# ---------------------------------------------------------------- significant bits over steps


def bits_chart(frame: pd.DataFrame, cells: pd.DataFrame, format_name: str) -> AnyChart:
    """Significant bits over steps (logarithmic), a line per target and conditional."""
    lines = _lines(frame[frame["format"].eq(format_name) & frame["step"].notna()])
    targets = target_order(list(lines["target"].unique()))
    widths = dict(zip(targets, (*WIDTHS, *[WIDTHS[-1]] * len(targets)), strict=False))
    lines = lines.assign(width=lines["target"].map(widths)).sort_values(
        "width", ascending=False, kind="stable"
    )
    program, config = _choices(cells)
    base = alt.Chart(lines).transform_filter((alt.datum.program == program) & (alt.datum.config == config))
    length = int(cells["length"].max())
    most = max(float(lines["bits"].max()), 1.0)
    ticks = [10.0**k for k in range(len(str(length)))]
    steps = alt.X(
        "token:Q",
        title="tokens read",
        scale=alt.Scale(type="log", domain=[1, max(length, 2)], nice=False),
        axis=alt.Axis(values=ticks, format=",d"),
    )
    bits = alt.Y("bits:Q", title="significant bits", scale=alt.Scale(domain=[0, most], nice=True))
    colours = colour(targets, legend=legend(columns=2))
    dash = alt.StrokeDash("conditional:N", legend=legend(columns=1))
    width = alt.StrokeWidth("width:Q", legend=None, scale=None)
    tooltip = ["target:N", "conditional:N", "token:Q", "bits:Q", "status:N"]
    drawn = base.mark_line(interpolate="linear", opacity=0.85).encode(
        x=steps,
        y=bits,
        color=colours,
        strokeDash=dash,
        strokeWidth=width,
        detail="conditional:N",
        order=alt.Order("token:Q"),
        tooltip=tooltip,
    )
    marks = (
        base.transform_filter(alt.datum.first)
        .mark_point(shape="cross", angle=45, size=90, filled=True, opacity=1)
        .encode(x=steps, y=bits, color=colours, tooltip=tooltip)
    )
    return alt.layer(drawn, marks).add_params(program, config).properties(width="container", height=240)


def legend(*, columns: int) -> alt.Legend:
    """A legend below its chart."""
    return alt.Legend(
        orient="bottom", direction="horizontal", columns=columns, symbolType="stroke", title=None
    )


def _lines(frame: pd.DataFrame) -> pd.DataFrame:
    """The worst seed of each step, with runs of equal bits cut to their ends."""
    rows = titled(frame)
    rows = rows.assign(
        program=rows["title"],
        config=rows["label"],
        token=frame["step"].astype("int64") + 1,
        bits=frame["significant_bits"].round(2),
        first=(frame["step"] == frame["horizon"]).fillna(value=False).astype(bool),
    )
    keys = ["program", "config", "target", "conditional"]
    worst = rows.sort_values("bits", kind="stable").drop_duplicates([*keys, "token"])
    first = rows[rows["first"]].groupby(keys)["token"].min()
    kept = list(_thinned(worst.sort_values([*keys, "token"]), keys))
    table = pd.concat(kept) if kept else worst
    earliest = [first.get(tuple(key), -1) for key in table[keys].itertuples(index=False, name=None)]
    table = table.assign(first=table["token"].to_numpy() == np.asarray(earliest, dtype=np.int64))
    return table[[*keys, "token", "bits", "status", "first"]]


def _thinned(rows: pd.DataFrame, keys: list[str]) -> Iterator[pd.DataFrame]:
    for _, line in rows.groupby(keys, sort=False):
        bits = line["bits"].to_numpy()
        inner = np.zeros(len(bits), dtype=bool)
        inner[1:-1] = (bits[1:-1] == bits[:-2]) & (bits[1:-1] == bits[2:])
        yield line[~inner | line["first"].to_numpy()]


# ---------------------------------------------------------------- horizons and wrong tokens


def horizon_chart(part: pd.DataFrame, formats: Sequence[str]) -> AnyChart:
    """Horizon of every target in every format, for one program and configuration."""
    rows = part.assign(
        model=[model_label(*pair) for pair in zip(part["target"], part["conditional"], strict=True)]
    )
    worst = rows.sort_values(["failed", "horizon"], na_position="last").drop_duplicates(["model", "format"])
    table = pd.DataFrame([_tile(cell) for _, cell in worst.iterrows()])
    order = [
        name
        for target in target_order(list(rows["target"].unique()))
        for name in sorted(rows.loc[rows["target"] == target, "model"].unique())
    ]
    return tiles(table, order, formats, ("horizon", "wrong"))


def tiles(source: AnySource, models: Sequence[str], formats: Sequence[str], told: Sequence[str]) -> AnyChart:
    """A heat map, a row per model and a column per format.

    Args:
        source: rows with ``model``, ``format``, ``shown`` (the text of a tile) and ``score`` (from 0,
            bad, to 1, good; negative where there is nothing to tell).
        models: in order; ``·`` begins the second line of a label.
        formats: in order.
        told: further columns that a tile's tooltip shows.
    """
    base = alt.Chart(source).encode(
        x=alt.X(
            "format:N",
            sort=list(formats),
            title=None,
            axis=alt.Axis(orient="top", labelAngle=-30, labelAlign="left"),
        ),
        y=alt.Y(
            "model:N",
            sort=list(models),
            title=None,
            axis=alt.Axis(labelExpr="split(datum.label, ' · ')", labelFontSize=10.5, labelOffset=-5),
        ),
        tooltip=["model:N", "format:N", *(f"{name}:N" for name in told)],
    )
    scale = alt.Scale(domain=[0, 1], range=["#b2182b", "#f4a582", "#f7f7f7", "#92c5de", "#2166ac"])
    ran = alt.datum.score >= 0
    drawn = base.mark_rect(stroke="#8884").encode(
        color=alt.condition(ran, alt.Color("score:Q", scale=scale, legend=None), alt.value("#c4c7ca"))
    )
    light = (alt.datum.score < 0) | ((alt.datum.score > 0.1) & (alt.datum.score < 0.85))
    words = base.mark_text(fontSize=11, limit=150).encode(
        text="shown:N", color=alt.condition(light, alt.value("#111"), alt.value("#fff"))
    )
    height = ROW * len(models) if isinstance(source, pd.DataFrame) else alt.Step(ROW)
    return alt.layer(drawn, words).properties(width="container", height=height, autosize=AUTOSIZE)


def _tile(cell: pd.Series) -> dict[str, object]:
    length = int(cell["length"])
    horizon = None if pd.isna(cell["horizon"]) else int(cell["horizon"])
    score = 1.0 if horizon is None else 0.9 * float(np.log1p(horizon) / np.log1p(length))
    failed = bool(cell["failed"])
    return {
        "model": model_label(cell["target"], cell["conditional"]),
        "format": cell["format"],
        "shown": "n/a" if failed else "> T" if horizon is None else f"{horizon:,}",
        "horizon": "cannot run" if failed else horizon_text(horizon, length),
        "score": -1.0 if failed else round(score, 3),
        "wrong": "" if failed else f"{100 * cell['wrong_share']:.2f} %",
    }


def wrong_chart(part: pd.DataFrame) -> AnyChart:
    """Share of wrong tokens of every model in one format, for one program and configuration."""
    table = part.assign(
        program=part["title"],
        config=part["label"],
        wrong=100 * part["wrong_share"],
        model=[model_label(*pair) for pair in zip(part["target"], part["conditional"], strict=True)],
    )
    keys = ["program", "config", "target", "model"]
    table = table.groupby(keys, sort=False)["wrong"].mean().round(3).reset_index()
    program, config = _choices(part)
    targets = target_order(list(table["target"].unique()))
    order = [m for target in targets for m in sorted(table.loc[table["target"] == target, "model"].unique())]
    chart: AnyChart = (
        alt.Chart(table)
        .add_params(program, config)
        .transform_filter((alt.datum.program == program) & (alt.datum.config == config))
        .mark_bar()
        .encode(
            x=alt.X(
                "wrong:Q",
                title="wrong tokens, %",
                scale=alt.Scale(domain=[0, 100]),
                axis=alt.Axis(values=[0, 50, 100]),
            ),
            y=alt.Y("model:N", sort=order, title=None),
            color=colour(targets, legend=None),
            tooltip=["model:N", "wrong:Q"],
        )
        .properties(width="container", height=18 * len(order))
    )
    return chart
