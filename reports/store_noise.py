"""The noisy runs of a store's report: their charts, their table and what could not be run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.noise_chart import by_conditional, horizon_chart
from reports.noise_report import model_name, sigma_text
from reports.store_charts import Plot
from reports.text import plain
from stability.drift import NO_CONDITIONAL
from stability.noise_horizons import CELL, summarise

FAILURES = 3
"""Errors that are told; the rest are counted."""
_CHART = ["program", "parameters", "config", "format", "kind", "include", "states", "length"]


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame | None:
    """Noise frames as one, a run that two of them have once; None where there are none.

    Args:
        frames: of :func:`stability.experiment.read_noise` and :func:`reports.store_reading.read_noise`.
    """
    some = [frame for frame in frames if len(frame)]
    if not some:
        return None
    whole = pd.concat(some, ignore_index=True) if len(some) > 1 else some[0]
    return whole.drop_duplicates([*CELL, "seed"], ignore_index=True)


def noise_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per noisy model and σ."""
    cells = summarise(frame)
    models = [model_name(*pair) for pair in zip(cells["target"], cells["activation"], strict=True)]
    titles = [_title(*pair) for pair in zip(cells["program"], cells["parameters"], strict=True)]
    return cells.assign(title=titles, model=models, noise=cells["sigma"].map(sigma_text))


def noise_plots(frame: pd.DataFrame | None) -> list[Plot]:
    """Charts of noisy runs: for every program, configuration, format and kind of noise.

    Several models under several conditionals get a chart for each conditional; one model under
    several conditionals is one chart that tells these apart.
    """
    if frame is None:
        return []
    found: list[Plot] = []
    ran = frame[frame["error"] == ""]
    for _, together in ran.groupby(_CHART, sort=False):
        whole = by_conditional(together)
        for conditional, part in together.groupby("conditional", sort=False):
            shown = together if whole else part
            spec = horizon_chart(shown).to_dict()
            found.append(
                Plot(
                    section="noise",
                    name=f"noise-{len(found) + 1}" if found else "noise",
                    title=_chart_title(shown.iloc[0], "" if whole else str(conditional)),
                    spec=spec,
                    width=int(spec.get("width", 400)) + 90,
                )
            )
            if whole:
                break
    return found


def noise_failures(frame: pd.DataFrame | None) -> list[str]:
    """Why some noisy runs have no result, one line for each reason."""
    if frame is None:
        return []
    errors = frame.loc[frame["error"] != "", "error"].value_counts()
    lines = [f"{count:,} runs: {plain(str(error))}" for error, count in errors.head(FAILURES).items()]
    more = int(errors.iloc[FAILURES:].sum())
    return [*lines, f"{more:,} more runs, for other reasons"] if more else lines


def _title(program: str, parameters: str) -> str:
    return plain(f"{program} ({parameters})" if parameters else program)


def _chart_title(first: pd.Series[Any], conditional: str) -> str:
    parts = [
        _title(str(first["program"]), str(first["parameters"])),
        plain(str(first["config"])),
        plain(conditional) if conditional != NO_CONDITIONAL else "",
        plain(str(first["format"])),
        f"{plain(str(first['kind']))} noise on {plain(str(first['include']).replace('+', ' and '))}",
        f"{plain(str(first['states']))} states",
        f"{first['length']:,} tokens",
    ]
    return ", ".join(part for part in parts if part)
