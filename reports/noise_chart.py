"""Pictures of noise: how long noisy models stay right, and our measurements beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import pandas as pd

from reports.noise_report import model_name, sigma_text
from reports.plots import COLOURS, NATIVE_COLOURS, AnyChart
from stability.noise_horizons import summarise
from stability.noise_paper import CONDITIONALS

_OTHER = "#777777"
_PALETTE = ("#222222", "#d55e00", "#0072b2", "#009e73", "#cc79a7")
_PUBLISHED = "the paper"


def horizon_chart(frame: pd.DataFrame) -> AnyChart:
    """The first wrong token of every run by σ: a point per run, a bar for the median and its interval.

    Tokens count from 1 here, since the scale is logarithmic.  A run without a wrong token is a
    triangle at the length of its prompt; there an interval ends that has no upper end.

    Where all runs are of one model under several conditionals, these are told apart instead.

    Args:
        frame: from :func:`stability.noise.noise`; runs with an error are left out.
    """
    runs = frame[frame["error"] == ""]
    name = _conditional_names if by_conditional(runs) else _names
    runs = runs.assign(
        model=name(runs),
        noise=runs["sigma"].map(sigma_text),
        token=runs["horizon"].add(1).fillna(runs["length"]).astype("int64"),
        outcome=np.where(runs["horizon"].isna(), "none wrong", "first wrong token"),
    )
    cells = summarise(frame)
    cells = cells.assign(model=name(cells), noise=cells["sigma"].map(sigma_text))
    for end in ("median", "low", "high"):
        cells[end] = cells[end].add(1).fillna(cells["length"]).astype("int64")
    order = _conditionals(runs) if name is _conditional_names else _order(runs)
    longest = max(int(runs["length"].max()), 2) if len(runs) else 2
    noise = [sigma_text(sigma) for sigma in sorted(runs["sigma"].unique())]
    shared = {
        "x": alt.X("noise:O", sort=noise, title="σ of the noise", axis=alt.Axis(labelAngle=0)),
        "xOffset": alt.XOffset("model:N", sort=list(order)),
        "color": alt.Color(
            "model:N",
            sort=list(order),
            scale=alt.Scale(domain=list(order), range=list(order.values())),
            legend=alt.Legend(title=None, orient="bottom", columns=4),
        ),
    }
    scale = alt.Scale(type="log", domain=[1, longest * 1.3], nice=False)
    axis = alt.Axis(values=[10.0**k for k in range(len(str(longest)))], format=",d")
    height = alt.Y("token:Q", scale=scale, axis=axis, title="first wrong token")
    shape = alt.Shape(
        "outcome:N",
        scale=alt.Scale(domain=["first wrong token", "none wrong"], range=["circle", "triangle-up"]),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    points = alt.Chart(_plain(runs, ["model", "noise", "token", "outcome", "seed"])).mark_point(
        filled=True, size=35, opacity=0.55
    )
    tips = ["model:N", "noise:O", "token:Q", "outcome:N", "seed:Q"]
    drawn = points.encode(y=height, shape=shape, tooltip=tips, **shared)
    table = _plain(cells, ["model", "noise", "median", "low", "high", "failed", "runs"])
    told = ["model:N", "noise:O", "median:Q", "low:Q", "high:Q", "failed:Q", "runs:Q"]
    spans = alt.Chart(table).mark_rule(strokeWidth=2, opacity=0.8)
    ends = spans.encode(y=alt.Y("low:Q", scale=scale), y2="high:Q", tooltip=told, **shared)
    middles = alt.Chart(table).mark_tick(thickness=3, size=12)
    medians = middles.encode(y=alt.Y("median:Q", scale=scale), tooltip=told, **shared)
    width = max(360, 26 * len(order) * len(noise))
    return alt.layer(ends, medians, drawn).properties(width=width, height=320)


def by_conditional(frame: pd.DataFrame) -> bool:
    """Whether runs are of one model under several conditionals."""
    models = frame[["target", "activation"]].drop_duplicates()
    return len(models) == 1 and frame["conditional"].nunique() > 1


def _conditional_names(frame: pd.DataFrame) -> list[str]:
    """The conditional of every run."""
    return [str(each) for each in frame["conditional"]]


def _conditionals(runs: pd.DataFrame) -> dict[str, str]:
    """Conditional → colour, in the order of the paper."""
    known = [each for each in CONDITIONALS if each in set(runs["conditional"])]
    found = [*known, *sorted(set(runs["conditional"]) - set(known))]
    return {each: _PALETTE[k % len(_PALETTE)] for k, each in enumerate(found)}


def _names(frame: pd.DataFrame) -> list[str]:
    return [model_name(*pair) for pair in zip(frame["target"], frame["activation"], strict=True)]


def _order(runs: pd.DataFrame) -> dict[str, str]:
    """Model → colour, targets in the order of all charts, real gates after ReLU."""
    known = [*COLOURS, *sorted(set(runs["target"]) - set(COLOURS))]
    pairs = sorted(
        set(zip(runs["target"], runs["activation"], strict=True)),
        key=lambda pair: (pair[1] != "relu", known.index(pair[0])),
    )
    return {
        model_name(target, activation): COLOURS.get(target, _OTHER)
        if activation == "relu"
        else NATIVE_COLOURS.get(target, _OTHER)
        for target, activation in pairs
    }


def _plain(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Only what is drawn, in types that JSON has."""
    return frame[columns].reset_index(drop=True)


def published_chart(comparisons: Mapping[str, pd.DataFrame]) -> alt.VConcatChart:
    """Medians and quartiles of the paper's noise experiment: the published ones and ours.

    Args:
        comparisons: name of one of our set-ups → its :func:`stability.noise_published.compare`.
    """
    rows = pd.concat(
        [_published(next(iter(comparisons.values()))), *map(_ours, comparisons, comparisons.values())]
    )
    names = [_PUBLISHED, *comparisons]
    colour = alt.Color(
        "source:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[_PALETTE[k % len(_PALETTE)] for k in range(len(names))]),
        legend=alt.Legend(title=None, orient="bottom", labelLimit=400),
    )
    noise = [sigma_text(sigma) for sigma in sorted(rows["sigma"].unique())]
    charts = []
    for program, part in rows.groupby("program", sort=True):
        share = str(program).startswith("dictionary")
        scale = alt.Scale(domain=[0, 100]) if share else alt.Scale(type="log")
        title = "wrong outputs, %" if share else "distance to the function"
        axis = alt.Axis() if share else alt.Axis(format="~e", values=[10.0**k for k in range(-2, 17, 2)])
        shared = {
            "x": alt.X("noise:O", sort=noise, title="σ", axis=alt.Axis(labelAngle=0)),
            "xOffset": alt.XOffset("source:N", sort=names),
            "color": colour,
            "tooltip": ["source:N", "noise:O", "median:Q", "low:Q", "high:Q"],
        }
        base = alt.Chart(_plain(part, ["source", "conditional", "noise", "median", "low", "high"]))
        spans = base.mark_rule(strokeWidth=2).encode(
            y=alt.Y("low:Q", scale=scale, axis=axis, title=title), y2="high:Q", **shared
        )
        middles = base.mark_point(filled=True, size=45, opacity=1).encode(
            y=alt.Y("median:Q", scale=scale, axis=axis, title=title), **shared
        )
        panel = alt.layer(spans, middles).properties(width=190, height=220)
        column = alt.Facet("conditional:N", sort=list(CONDITIONALS), title=str(program))
        charts.append(panel.facet(facet=column, columns=len(CONDITIONALS)))
    return alt.vconcat(*charts)


def _ours(name: str, comparison: pd.DataFrame) -> pd.DataFrame:
    return _rows(name, comparison, {"median": "median", "low": "low", "high": "high"})


def _published(comparison: pd.DataFrame) -> pd.DataFrame:
    names = {"median": "published", "low": "published_low", "high": "published_high"}
    return _rows(_PUBLISHED, comparison, names)


def _rows(source: str, comparison: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    finite = {
        name: comparison[column].replace(np.inf, np.finfo(np.float64).max) for name, column in columns.items()
    }
    keys = comparison[["program", "conditional", "sigma"]]
    return keys.assign(source=source, noise=comparison["sigma"].map(sigma_text), **finite)
