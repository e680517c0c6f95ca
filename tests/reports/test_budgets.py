"""Error budgets in the terminal, on the page and in the summary."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from reports.budgets import MOST, budget_lines, budgets, error_text, print_budgets, wrong_text
from reports.summary import escaped
from reports.tables import named
from stability.budget import LONE
from stability.budget_cells import BUDGET, ERROR, REST, STEP
from tests.reports.frames import cell, frame
from tests.reports.test_cli import lsrl, refused


def told(**values: Any) -> dict[str, Any]:
    """The columns of a budget, by hand."""
    none: dict[str, Any] = dict.fromkeys(BUDGET)
    sizes: dict[str, Any] = {f"budget_{source}": 0.0 for source in LONE}
    return none | sizes | {STEP: 7, ERROR: 0.5, REST: 0.25} | values


def framed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as they are reported."""
    usual = {"activation": "relu", "order": "step"}
    return named(pd.DataFrame([usual | row for row in rows]).astype(dict(BUDGET)))


def shown(rows: pd.DataFrame) -> str:
    """What the terminal gets."""
    console = Console(file=io.StringIO(), width=110)
    print_budgets(console, budgets(rows))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def planted() -> pd.DataFrame:
    """Two models with one budget, a third with its own, one without error, and one without a budget."""
    blank: dict[str, Any] = dict.fromkeys(BUDGET)
    rows = [
        *cell("lstm", "optimized", **told(budget_state=0.5, horizon_state=7)),
        *cell("relu_rnn", "optimized", **told(budget_state=0.5, horizon_state=7)),
        *cell("lstm", "optimized", seed=1, **told(**{ERROR: 0.1})),
        *cell("gru", "optimized", **told(budget_weights=float("inf"), **{ERROR: float("inf")})),
        *cell("hawk", "optimized", **told(**{ERROR: 0.0})),
        *cell("griffin", "optimized", **blank),
    ]
    return framed(rows)


def test_models_with_one_budget_share_a_line() -> None:
    """Equal budgets are one row, the worst seed counts, and without an error there is none."""
    found = {row.models: row for row in budgets(planted())}
    assert set(found) == {"lstm and relu_rnn", "gru"}
    assert found["lstm and relu_rnn"].wrong == {"state": 7}
    assert found["lstm and relu_rnn"].error == 0.5
    text = shown(planted())
    assert "0.5*" in text
    assert "∞" in text
    assert "hawk" not in text
    assert "by itself enough for a wrong token" in text
    lines = budget_lines(budgets(planted()), escaped)
    assert sum("state from step 7" in line for line in lines) == 1


def test_a_frame_without_budgets_has_none() -> None:
    """A frame that was measured without, or whose runs have no error, is told so."""
    assert budgets(frame(cell("lstm", "optimized"))) == []
    assert budget_lines([], escaped) == []
    assert "No error budget" in shown(planted().iloc[:0])


def test_a_long_table_is_cut() -> None:
    """The terminal gets the first rows and the number of the others."""
    rows = [
        row
        for number in range(MOST + 5)
        for row in cell("lstm", "optimized", program=f"p{number}", **told(budget_state=1.0 + number))
    ]
    text = shown(framed(rows))
    assert "and 5 more, in the report" in text


@pytest.mark.parametrize(
    ("error", "text"), [(0, "–"), (float("inf"), "∞"), (0.5, "0.5"), (1.234e-7, "1.2e-07"), (1, "1")]
)
def test_sizes_are_short(error: float, text: str) -> None:
    """Two digits, and words for nothing and for infinity."""
    assert error_text(error) == text


def test_the_command_reports_budgets(tmp_path: Path) -> None:
    """--budget prints the table and puts it on the page and into the summary; without, nothing is said."""
    common = ["continuous", "--target", "lstm", "--format", "float16", "--config", "stable", "--length", 40]
    with_it = lsrl("drift", *common, "--budget", "--jobs", 1, "-o", tmp_path / "with")
    assert with_it.exit_code == 0, with_it.output
    assert "Error budget of continuous, stable, optimized" in with_it.stdout
    page = (tmp_path / "with" / "index.html").read_text(encoding="utf-8")
    assert '<section id="budget">' in page
    assert "## Error budget" in (tmp_path / "with" / "summary.md").read_text(encoding="utf-8")
    assert set(BUDGET) <= set(pd.read_parquet(tmp_path / "with" / "drift.parquet").columns)
    without = lsrl("drift", *common, "--jobs", 1, "-o", tmp_path / "without")
    assert "Error budget" not in without.stdout
    assert 'id="budget"' not in (tmp_path / "without" / "index.html").read_text(encoding="utf-8")
    refused(
        lsrl("drift", *common, "--budget", "--engine", "torch", "-o", tmp_path / "no"), "no error budget with"
    )
    assert not (tmp_path / "no").exists()


def test_what_is_wrong_by_itself_is_told_in_words() -> None:
    """Each place that alone gives a wrong token is named with its first one."""
    (row,) = budgets(framed(cell("lstm", "optimized", **told(horizon_accumulation=2048, horizon_state=9))))
    assert wrong_text(row) == "sums from step 2,048, state from step 9"
