"""The HTML page of a report: one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pandas as pd
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.budgets import ABOUT, BudgetRow, headings, texts, wrong_text
from reports.findings import Findings
from reports.plots import Picture, first_choice, pictures
from reports.statements import foremost
from reports.summary import GLOSSARY, KINDS, Setting, conditional_text
from reports.tables import GroupRow, bits_text, horizon_text, share_text, titled
from reports.text import plain
from stability.drift import NO_CONDITIONAL

COLUMNS = (
    "program",
    "configuration",
    "conditional",
    "target",
    "format",
    "seed",
    "layers",
    "non-zeros",
    "overflow",
    "wrong",
    "horizon",
    "first inf/nan",
    "bits at end",
    "fewest bits",
    "reference",
    "note",
)
NUMERIC = frozenset(COLUMNS[5:14])
NEVER = 1e18
"""Sorts after every number of steps."""


def render(
    frame: pd.DataFrame,
    cells: pd.DataFrame,
    findings: Findings,
    groups: Sequence[GroupRow],
    setting: Setting,
    costs: Sequence[BudgetRow] = (),
) -> str:
    """The page.

    Args:
        frame: a drift frame.
        cells: its cells, from :func:`reports.tables.cells_of`.
        findings: what is in them.
        groups: gated against ungated.
        setting: the conditions of the run.
        costs: the error budgets, from :func:`reports.budgets.budgets`.

    Returns:
        HTML that holds its scripts, styles and numbers; names and messages are escaped.
    """
    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    shown = titled(cells)
    charts = pictures(frame, cells)
    program, config = first_choice(cells)
    first = foremost(findings.statements[1:])
    return environment.get_template("page.html.j2").render(
        overview=findings.statements[0].text,
        first=first,
        rest=[each for each in findings.statements[1:] if each not in first],
        comparisons=findings.comparisons,
        without=NO_CONDITIONAL,
        kinds=KINDS,
        glossary=GLOSSARY,
        groups=group_rows(groups),
        budget_about=ABOUT,
        budget_columns=["construction", *headings(), "wrong by itself"],
        budgets=[[row.construction, *texts(row), wrong_text(row) or "–"] for row in costs],
        state={
            "programs": setting.programs,
            "lengths": setting.lengths,
            "seeds": setting.seeds,
            "longest": f"{int(cells['length'].max()):,}",
        },
        programs=list(dict.fromkeys(shown["title"])),
        configs=list(dict.fromkeys(shown["label"])),
        first_program=program,
        first_config=config,
        pictures=[_placed(number, each) for number, each in enumerate(charts)],
        specs=Markup(embedded([each.spec for each in charts])),  # noqa: S704 -- cannot end its element
        bundle=Markup(bundle()),  # noqa: S704 -- the same
        columns=COLUMNS,
        numeric=NUMERIC,
        cells=[_cell_row(cell) for _, cell in shown.iterrows()],
        about=setting.rows,
    )


def _placed(number: int, picture: Picture) -> dict[str, Any]:
    return {"number": number, "section": picture.section, "title": picture.title}


def embedded(value: object) -> str:
    """JSON that cannot end the script element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_GLOBALS = "window.vegaEmbed = vegaEmbed;"


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed in one script."""
    script: str = vl_convert.javascript_bundle(_GLOBALS)
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def group_rows(groups: Sequence[GroupRow]) -> list[dict[str, Any]]:
    """The rows of the table gated against ungated, as text."""
    rows: list[dict[str, Any]] = []
    previous: tuple[str, str] | None = None
    for row in groups:
        rows.append(
            {
                "first": (row.format, row.config) != previous,
                "format": plain(row.format),
                "config": plain(row.config),
                "role": row.role,
                "conditional": conditional_text(row.conditional),
                "cells": row.cells,
                "failed": row.failed,
                "wrong_cells": row.wrong_cells,
                "right": not row.wrong_cells,
                "horizon": horizon_text(row.horizon, row.length) if row.cells else "–",
                "bits": bits_text(row.bits),
                "wrong": share_text(row.wrong_share),
            }
        )
        previous = (row.format, row.config)
    return rows


def _cell_row(cell: pd.Series) -> dict[str, Any]:
    failed = bool(cell["failed"])
    length = int(cell["length"])
    horizon = None if pd.isna(cell["horizon"]) else int(cell["horizon"])
    first_bad = None if pd.isna(cell["first_bad"]) else int(cell["first_bad"])
    note = plain(cell["error"]) if failed else ""
    if not failed and pd.notna(cell["reference_right"]) and not cell["reference_right"]:
        note = "the program differs from its oracle"
    values: list[tuple[str, object]] = [
        *((plain(cell[name]), "") for name in ("title", "label")),
        (conditional_text(cell["conditional"]), ""),
        (plain(cell["target"]), ""),
        (plain(cell["format"]), ""),
        (str(cell["seed"]), cell["seed"]),
        *(_count(cell[name]) for name in ("layers", "nonzeros", "weight_overflow")),
        (share_text(cell["wrong_share"]), -1 if failed else cell["wrong_share"]),
        (
            "–" if failed else horizon_text(horizon, length),
            -1 if failed else NEVER if horizon is None else horizon,
        ),
        ("–" if first_bad is None else f"{first_bad:,}", NEVER if first_bad is None else first_bad),
        *(
            (bits_text(cell[name]), -1 if pd.isna(cell[name]) else cell[name])
            for name in ("bits_end", "bits_min")
        ),
        (plain(cell["reference"]), ""),
        (note, ""),
    ]
    return {
        "outcome": "failed" if failed else "wrong" if cell["wrong"] else "right",
        "row": [{"text": text, "sort": sort} for text, sort in values],
    }


def _count(value: Any) -> tuple[str, object]:
    return ("–", -1) if pd.isna(value) else (f"{int(value):,}", int(value))
