"""Options that commands share do the same everywhere, and a refused run prints nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.reports.test_cli import lsrl, refused

# ---------------------------------------------------------------- --reduce and its like


def test_show_tells_what_is_reduced() -> None:
    """With --reduce the settings that are shown say so."""
    shown = {
        extra: json.loads(lsrl("show", "majority", "--json", *extra).stdout)["settings"]["reduce"]
        for extra in ((), ("--reduce",))
    }
    assert shown == {(): "off", ("--reduce",): "on"}


def test_verify_takes_the_whole_configuration() -> None:
    """The model that is verified is compiled with --reduce."""
    found = json.loads(
        lsrl("verify", "modulo", "--reduce", "--engine", "native", "--length", 5, "--json").stdout
    )
    assert found["settings"]["reduce"] == "on"


def test_drift_takes_the_whole_configuration(tmp_path: Path) -> None:
    """Every factor changes each configuration, and the frame and the report name the change."""
    changes = ["--step", "paper", "--mu", 16, "--lam", "auto", "--complement", "direct", "--reduce"]
    done = lsrl(
        "drift", "modulo", "--target", "lstm", "--format", "float32", "--length", 20, "--jobs", 1,
        *changes, "-o", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    frame = pd.read_parquet(tmp_path / "drift.parquet")
    factors = ["step_form", "mu", "lam", "complement"]
    assert set(frame[factors].itertuples(index=False, name=None)) == {("paper", "16", "auto", "direct")}
    # both configurations come to the same, so that it is measured once, under one name
    assert set(frame["config"]) == {"paper mu=16 lam=auto reduce=on"}
    assert "paper mu=16 lam=auto reduce=on" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    hashes = set(frame.loc[frame["target"] == "lstm", "model_hash"])
    assert len(hashes) == len(set(frame["conditional"]))


def test_drift_without_changes_measures_the_named_configurations(tmp_path: Path) -> None:
    """A change that leaves a configuration as it is does not rename it."""
    done = lsrl(
        "drift", "majority", "--target", "lstm", "--format", "float32", "--length", 9, "--jobs", 1,
        "--config", "stable", "--mu", "auto", "-o", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert set(pd.read_parquet(tmp_path / "drift.parquet")["config"]) == {"stable"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--step", "big"], "unknown step form"),
        (["--complement", "none"], "unknown complement"),
        (["--mu", "nan"], "mu='nan' is not a number"),
        (["--lam", "0"], "not positive"),
    ],
)
def test_drift_refuses_factors_before_it_starts(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A wrong factor is one line, and the folder is not made."""
    refused(lsrl("drift", "majority", *arguments, "-o", tmp_path / "r"), words)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- --window


def test_verify_compiles_for_the_prompt_unless_a_window_is_named() -> None:
    """A short window verifies long sums; one that is shorter than the prompt is refused."""
    arguments = ["verify", "majority", "--target", "hawk", "--engine", "native", "--length", 12]
    assert lsrl(*arguments).exit_code == 0
    assert lsrl(*arguments, "--window", 12).exit_code == 0
    refused(lsrl(*arguments, "--window", 11), "longer than the window of 11 tokens")
    refused(lsrl(*arguments, "--window", 0), "window=0")
    refused(lsrl("verify", "majority", "--window", 9), "target lstm has no window")
    # 4,096 lags of two columns are more terms than a bound is known for
    refused(lsrl(*arguments, "--window", 4096), "no error bound is known for sums")


def test_run_takes_a_window_for_the_targets_that_have_one(tmp_path: Path) -> None:
    """--window goes to hawk and not to lstm; a saved model has its own."""
    both = ["run", "majority", "--target", "hawk", "--target", "lstm", "--tokens", "-"]
    assert lsrl(*both, "--window", 3, stdin="1\n1\n0\n").exit_code == 0
    refused(lsrl(*both, "--window", 2, stdin="1\n1\n0\n"), "longer than the window of 2 tokens")
    refused(lsrl("run", "majority", "--window", 2, "--tokens", "-", stdin="1\n"), "has no window")
    assert lsrl("compile", "majority", "--target", "hawk", "-o", tmp_path / "m").exit_code == 0
    refused(lsrl("run", tmp_path / "m", "--window", 9, "--tokens", "-", stdin="1\n"), "is a compiled model")


# ---------------------------------------------------------------- a refused run prints nothing


@pytest.mark.parametrize(
    "prompt", ["x\n1,2\n", "1\n2\nnope\n", "1,2\n", "", "nan\n"], ids=["wide", "third", "both", "none", "nan"]
)
def test_bad_tokens_at_the_start_print_nothing(tmp_path: Path, prompt: str) -> None:
    """What is wrong in the first rows is found before the header of the answer is written."""
    refused(lsrl("run", "majority", "--tokens", "-", stdin=prompt), "standard input")
    (tmp_path / "prompt.csv").write_text(prompt, encoding="utf-8")
    refused(lsrl("run", "majority", "--tokens", tmp_path / "prompt.csv"), "prompt.csv")


def test_a_run_that_begins_well_prints_as_before() -> None:
    """The first block is not lost, and an error far into a long prompt keeps the rows before it."""
    done = lsrl("run", "majority", "--tokens", "-", stdin="1\n" * 40_000 + "nope\n")
    assert done.exit_code == 2
    assert "standard input:40001" in done.stderr
    rows = done.stdout.splitlines()
    assert rows[:2] == ["step,y0", "0,1.0"]
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(len(rows) - 1))
    assert len(rows) > 1000


# ---------------------------------------------------------------- files that are no models


def test_a_file_of_something_else_is_not_called_damaged(tmp_path: Path) -> None:
    """A text given as a model is said to be none, by every command that takes models."""
    text = tmp_path / "notes.txt"
    text.write_text("These are notes, and they are longer than a header.\n", encoding="utf-8")
    for command in (["run", text, "--tokens", "-"], ["verify", text], ["explain", text]):
        refused(lsrl(*command, stdin="1\n"), "not a model file of lsrl-stability", "lsrl compile PROGRAM")
