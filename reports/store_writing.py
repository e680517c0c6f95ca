"""The files of a store's report: page, Markdown summary, table and charts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import vl_convert

from reports.comparing import said_of_comparison
from reports.files import beside
from reports.store_noise import noise_plots
from reports.store_page import RUNS, render_store
from reports.store_report import StoreReport
from reports.summary import about_lines, escaped, findings_lines, groups_lines, words_lines

PAGE, SUMMARY, TABLE, CHARTS = "index.html", "summary.md", "horizons.csv", "charts"
NAMES = ("bits", "compared", "errors", "growth", "horizons", "noise", "right", "spread", "states")
SUFFIXES = (".svg", ".png")
"""Charts of these names are ours: those of an earlier report are taken away."""
WIDTH, SCALE = 640, 2
"""Pixels of a chart in a file, and how many of the picture each is."""
_CONFIG = {"background": "#ffffff", "axisY": {"labelLimit": 260}, "legend": {"labelLimit": 260}}


def write_store_report(report: StoreReport, folder: Path, *, pictures: bool = True) -> list[Path]:
    """Write a report into a folder that exists: all of its files, or none.

    Args:
        report: from :func:`reports.store_report.store_report`.
        folder: where to; ``charts`` in it is made.
        pictures: whether the charts are written as SVG and PNG; that takes most of the time.

    Returns:
        The files; those of the charts last.

    Raises:
        OSError: the folder cannot be written.
    """
    charts = folder / CHARTS
    charts.mkdir(exist_ok=True)
    page, text = render_store(report), store_markdown(report, pictures=pictures)
    table = report.table.rename(columns={name: heading for name, heading, _ in RUNS})
    writers: dict[Path, Callable[[Path], object]] = {
        folder / PAGE: lambda path: path.write_text(page, encoding="utf-8"),
        folder / SUMMARY: lambda path: path.write_text(text, encoding="utf-8"),
        folder / TABLE: partial(table.to_csv, index=False),
    }
    for plot in (*report.plots, *noise_plots(report.noise)) if pictures else ():
        if not plot.drawn(report.chosen):
            continue
        spec = _sized(plot.filled(report.chosen), plot.width)
        writers[charts / f"{plot.name}.svg"] = partial(_write_svg, spec)
        writers[charts / f"{plot.name}.png"] = partial(_write_png, spec)
    made: dict[Path, Path] = {}
    try:
        for place, write in writers.items():
            made[place] = beside(place)
            write(made[place])
        for place, part in made.items():
            part.replace(place)
        for stale in charts.iterdir():
            if stale.stem.partition("-")[0] in NAMES and stale.suffix in SUFFIXES and stale not in writers:
                stale.unlink()
    finally:
        for part in made.values():
            part.unlink(missing_ok=True)
    return list(writers)


def _sized(spec: dict[str, Any], width: int) -> dict[str, Any]:
    """A spec that takes its width from its page gets one of its own."""
    sized = spec | {"config": spec.get("config", {}) | _CONFIG}
    return sized | {"width": max(WIDTH, width)} if spec.get("width") == "container" else sized


def _write_svg(spec: dict[str, Any], path: Path) -> None:
    path.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")


def _write_png(spec: dict[str, Any], path: Path) -> None:
    path.write_bytes(vl_convert.vegalite_to_png(spec, scale=SCALE))


def store_markdown(report: StoreReport, *, pictures: bool = True) -> str:
    """The summary of a store as a Markdown document, with links to the pictures if there are any."""
    lines = [f"# Drift report: {escaped(report.name)}", ""]
    if report.notes:
        lines += ["Left out of this report:", "", *(f"- {escaped(each)}" for each in report.notes), ""]
    for chapter in report.chapters:
        lines += [f"## {escaped(chapter.title)}", "", *(f"{escaped(each)}\n" for each in chapter.lines)]
    if report.other is not None:
        lines += [f"## Compared with {escaped(report.other.name)}", ""]
        lines += [f"{escaped(each)}\n" for each in said_of_comparison(report.other)]
    if len(report.findings.statements) > 1:
        lines += ["## The findings one by one", "", *findings_lines(report.findings), ""]
    if report.groups:
        lines += [*groups_lines(report.groups), ""]
    if report.plots and pictures:
        picture = (
            f"of {escaped(report.chosen.get('program', ''))}, {escaped(report.chosen.get('config', ''))}"
        )
        lines += ["## Charts", "", f"As the page shows them first: {picture}.", ""]
        drawn = [plot for plot in report.plots if plot.drawn(report.chosen)]
        lines += [f"![{escaped(plot.title)}]({CHARTS}/{plot.name}.svg)\n" for plot in drawn]
    lines += [*words_lines(), ""]
    if report.setting is not None:
        lines += ["## About", "", f"- Tokens per prompt: {report.setting.lengths}; {report.setting.seeds}"]
        lines += [f"- Thresholds: {escaped(each)}" for each in report.experiments.texts]
        lines += about_lines(report.setting)
    return "\n".join(lines).rstrip("\n") + "\n"
