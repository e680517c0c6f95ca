"""Which state drifts first, and by which law errors grow, as the report says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from typer.testing import CliRunner

from reports.cli.app import app
from reports.drifting import said_of_drifting
from reports.findings import find
from stability.attribution import FIRST, blank_record
from tests.reports.frames import STEPS, cell, frame

COUNTED = dict(zip(FIRST, ("counted", "toy.lsrl:4", 49, 1.0, "linear"), strict=True))


def drifting(*cells: tuple[list[dict[str, Any]], dict[str, object]]) -> pd.DataFrame:
    """A frame of cells with what is told of their states."""
    found = frame(*(rows for rows, _ in cells))
    told = [first for rows, first in cells for _ in rows]
    return pd.concat([found, pd.DataFrame(told, index=found.index).astype(FIRST)], axis=1)


def texts(found: pd.DataFrame, kind: str) -> list[str]:
    """The sentences of a kind."""
    return [each.text for each in said_of_drifting(found) if each.kind == kind]


def test_the_first_state_is_named_with_its_line_step_share_and_law() -> None:
    """One sentence per construction and format, targets together."""
    targets = ("lstm", "gru", "linear_rnn")
    found = drifting(*((cell(each, "optimized"), COUNTED) for each in targets))
    (text,) = texts(found, "states")
    assert text.startswith("toy, paper, optimized, float32: counted (toy.lsrl:4) drifts first, at step 49 ")
    assert text.endswith(
        "(100% of its error made in that step), on all targets; the law of its error: linear."
    )


def test_targets_that_differ_are_told_apart() -> None:
    """Another first state, or none, is not lumped in; steps that differ are given as a range."""
    later = COUNTED | {"first_state_step": 99, "first_state_local": float("nan")}
    other = COUNTED | {"first_state": "kept", "first_state_place": ""}
    found = drifting(
        (cell("lstm", "optimized"), COUNTED),
        (cell("gru", "optimized"), later),
        (cell("linear_rnn", "optimized"), other),
        (cell("relu_rnn", "optimized"), blank_record()),
    )
    (text,) = texts(found, "states")
    assert "counted (toy.lsrl:4) drifts first, at steps 49 to 99" in text
    assert "on lstm and gru" in text
    assert "kept drifts first" in text
    assert "relu_rnn" not in text


def test_states_that_do_not_drift_are_not_mentioned() -> None:
    """No drift, no sentence; a cell that could not run says nothing either."""
    refused = cell("linear_rnn", "optimized", error="toy.lsrl:3:1: a product")
    found = drifting((cell("lstm", "optimized"), blank_record()), (refused, blank_record()))
    assert texts(found, "states") == []


def test_laws_are_told_where_there_are_errors() -> None:
    """The law of each target's output error is told, but not where no target has an error."""
    some = drifting((cell("lstm", "optimized", horizon=9), blank_record()))
    assert ["the error of the output is inconclusive" in text for text in texts(some, "growth")] == [True]
    rows = [row | {"abs_error": 0.0} for row in cell("lstm", "optimized")]
    assert texts(drifting((rows, blank_record())), "growth") == []


def test_a_report_tells_of_states_only_when_asked() -> None:
    """A frame without the columns has neither kind of sentence; one with them has, in the findings too."""
    rows = cell("lstm", "optimized")
    assert len(rows) == len(STEPS)
    plain = find(frame(rows)).statements
    told = find(drifting((rows, COUNTED))).statements
    assert not {"states", "growth"} & {each.kind for each in plain}
    assert "states" in {each.kind for each in told}


def test_the_command_tells_of_states_when_asked(tmp_path: Path) -> None:
    """``lsrl drift FILE --states`` names the state, its line and step in the terminal and in the summary."""
    source = tmp_path / "leak.lsrl"
    source.write_text(
        "ForEach:\n    x = Input(dim=1, lo=0, hi=1, integer=true)\n"
        "    total = LinState(x, A=eye(1), B=[[600]], b=ones(1, 1), init_state=zeros(1, 1))\n"
        "    return total\n"
    )
    arguments = ["drift", str(source), "--format", "float16", "--config", "stable", "--target", "lstm"]
    done = CliRunner().invoke(
        app, [*arguments, "--length", "60", "--states", "-o", str(tmp_path / "report"), "--jobs", "1"]
    )
    assert done.exit_code == 0, done.output
    summary = (tmp_path / "report" / "summary.md").read_text(encoding="utf-8")
    for text in (" ".join(done.stdout.split()), summary):
        assert "first to drift" in text
        assert "total (leak.lsrl:3) drifts first" in text
