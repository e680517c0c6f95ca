"""Rows of docs/main-result.md, measured again at the full length."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.cli.app import app
from stability.experiment import load_experiment
from tests.integration.main_result import COLUMNS, KEYS, table

PAGE = (Path(__file__).parents[2] / "docs" / "main-result.md").read_text(encoding="utf-8")
TOML = """
programs = "majority"
configs = "stable"
formats = ["float16"]
seeds = [0, 1, 2, 3, 4]
targets = ["linear_rnn", "lstm", "gru"]
activation = ["relu", "native"]
lengths = 100_000
"""


def stated() -> list[tuple[str, ...]]:
    """The rows of the page's table, its head first."""
    lines = PAGE.split("<!-- table-horizons -->\n")[1].split("\n\n")[0].splitlines()
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [rows[0], *rows[2:]]


@pytest.mark.no_cover
def test_rows_of_the_table_are_measured_again(tmp_path: Path) -> None:
    """A program that is quickly measured gives the very horizons of the page, in every column."""
    head, *rows = stated()
    assert head == (*KEYS, *COLUMNS)
    (tmp_path / "some.toml").write_text(TOML, encoding="utf-8")
    for line in (
        f"experiment run {tmp_path}/some.toml -o {tmp_path}/store --jobs 1",
        f"report {tmp_path}/store -o {tmp_path}/report --no-charts",
    ):
        done = CliRunner().invoke(app, line.split())
        assert done.exit_code == 0, done.output
    measured = set(table(tmp_path / "report" / "horizons.csv"))
    wanted = {row for row in rows if row[:2] == ("majority", "stable")}
    assert len(wanted) == 1
    assert wanted == measured


def test_the_page_is_about_the_shipped_experiment() -> None:
    """What the page says was run is what ``long-prompts`` runs."""
    experiment = load_experiment("long-prompts")
    text = " ".join(PAGE.split())
    assert "seven programs, eight models and three formats, with five prompts of 100,000 tokens" in text
    grid = experiment.grids[0]
    assert (len(grid.subjects), len(grid.formats), len(grid.seeds)) == (7, 3, 5)
    assert grid.lengths == (100_000,)
