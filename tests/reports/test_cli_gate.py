"""``lsrl gate``: its exit statuses, its files, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from compiler.errors import CompileRefusal
from reports.cli.app import app
from stability import cells
from stability.cells import Bench

CONFIG = """
baseline = "gate.json"
[experiment]
programs = ["majority", "mine.lsrl"]
targets = "lstm"
configs = "stable"
formats = "float16"
lengths = 20
seeds = [0, 1, 2]
"""
MINE = """\
ForEach:
    x = Input(dim=1, lo=0, hi=1)
    slow = LinState(x, A=[[0.9]], B=[[0.1]], init_state=[[1]])
    return slow
"""
Change = Callable[[dict[str, Any]], None]


def lsrl(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, ["gate", *map(str, arguments), "--jobs", "1"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a gate and its baseline."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "gate.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "mine.lsrl").write_text(MINE, encoding="utf-8")
    with mock.patch.dict("os.environ", {"CI": ""}):
        done = lsrl(folder / "gate.toml", "--update")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{folder / 'gate.json'}  the baseline: 12 cells, 12 added, 0 removed, 0 changed\n"
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, outside of CI."""
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(folder: Path, change: Change) -> None:
    """Change the cells of a baseline."""
    path = folder / "gate.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for cell in whole["cells"]:
        change(cell)
    path.write_text(json.dumps(whole), encoding="utf-8")


def test_the_same_code_passes(folder: Path) -> None:
    """Status 0 and one line, and in JSON no change."""
    done = lsrl("gate.toml")
    assert (done.exit_code, done.stdout) == (0, "gate: pass: 12 cells\n")
    told = json.loads(lsrl("gate.toml", "--json").stdout)
    assert (told["outcome"], told["exit_status"], told["changes"]) == ("pass", 0, [])


def test_a_regression_names_the_line_and_the_state_that_drifts(folder: Path) -> None:
    """Status 1; all forms are written, and the annotation is on the user's own file."""
    spoil(folder, lambda cell: cell.update(significant_bits=30) if cell["program"] == "mine" else None)
    done = lsrl("gate.toml", "--github", "--junit", "j.xml", "--summary", "s.md")
    assert done.exit_code == 1
    regressions = [line for line in done.stdout.splitlines() if line.startswith("regression: ")]
    assert len(regressions) == 2  # the LSTM and the control
    place, _, said = regressions[0].partition(" (stable, relu, 20 tokens): ")
    assert place == "regression: mine.lsrl:3: mine on lstm in float16"
    assert said.startswith("significant_bits 30 → ")
    assert "rule: drop <= 1.0 (seeds 0, 1, 2 of 3)" in regressions[0]
    assert "::error file=mine.lsrl,line=3,title=gate%3A regression of significant_bits::" in done.stdout
    assert 'failures="2"' in (folder / "j.xml").read_text(encoding="utf-8")
    assert "**regression**" in (folder / "s.md").read_text(encoding="utf-8")
    told = lsrl("gate.toml", "--github", "--json")
    assert len(json.loads(told.stdout)["changes"]) == 2
    assert "::error " in told.stderr


def test_a_state_that_drifts_is_named(folder: Path) -> None:
    """A regression of numbers tells which named state drifts first, and on which line, where one does."""
    mine = MINE.replace("[[0.9]]", "[[1]]").replace("[[0.1]]", "[[1000]]")
    (folder / "mine.lsrl").write_text(mine, encoding="utf-8")
    (folder / "gate.toml").write_text(CONFIG.replace("lengths = 20", "lengths = 200"), encoding="utf-8")
    assert lsrl("gate.toml", "--update").exit_code == 0
    spoil(folder, lambda cell: cell.update(wrong_share=0.0, abs_error=0.0))
    done = lsrl("gate.toml")
    assert done.exit_code == 1
    assert "first to drift: slow (mine.lsrl:3) at step " in done.stdout


def test_seeds_that_disagree_are_inconclusive(folder: Path) -> None:
    """Status 3: worse on one seed, better on another, the median unmoved."""
    bits = [13.0, 9.0, 11.0]
    spoil(
        folder,
        lambda cell: (
            cell.update(significant_bits=bits[cell["seed"]]) if cell["program"] == "majority" else None
        ),
    )
    done = lsrl("gate.toml")
    assert done.exit_code == 3
    assert "the medians keep the rule, and it became better on seed 1" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("gate: inconclusive: ")


def test_improvements_are_told_and_pass(folder: Path) -> None:
    """Status 0 where everything became better, with what did."""
    spoil(folder, lambda cell: cell.update(wrong_share=1.0, horizon=0))
    done = lsrl("gate.toml")
    assert done.exit_code == 0
    assert "improved: majority.lsrl:" in done.stdout
    assert "horizon step 0 → none" in done.stdout


def test_a_baseline_that_does_not_fit_is_status_2(folder: Path) -> None:
    """New cells and cells that are gone have a message each, also as annotations."""
    config = CONFIG.replace("seeds = [0, 1, 2]", "seeds = [1, 2, 3]")
    (folder / "gate.toml").write_text(config, encoding="utf-8")
    done = lsrl("gate.toml", "--github")
    assert done.exit_code == 2
    assert "baseline: 4 cells have no baseline: " in done.stdout
    assert "baseline: 4 cells of the baseline are not in the experiment any more: " in done.stdout
    assert "::error file=gate.toml,title=gate%3A baseline::" in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "gate.json").unlink(), "there is no baseline"),
        (lambda folder: (folder / "gate.json").write_text("{", encoding="utf-8"), "it cannot be read"),
        (lambda folder: spoil(folder, lambda cell: cell.update(seed=-1)), "seed: '-1' is out of bounds"),
        (
            lambda folder: (folder / "gate.toml").write_text(
                CONFIG + "[rules]\nbits = 3\n", encoding="utf-8"
            ),
            "gate.toml:11:1: rules.bits = 3: it has to be a string",
        ),
        (lambda folder: (folder / "gate.toml").unlink(), "there is no such file"),
        (lambda folder: (folder / "mine.lsrl").unlink(), "there is no such file"),
    ],
)
def test_what_is_wrong_with_files_is_status_2(
    folder: Path, change: Callable[[Path], object], words: str
) -> None:
    """Missing, broken and hostile files end in one error line before anything is measured."""
    change(folder)
    with mock.patch.object(Bench, "measure", side_effect=AssertionError("measured")):
        done = lsrl("gate.toml")
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--junit", "no/such/folder.xml"], "cannot write no/such/folder.xml"),
        (["--summary", "."], ". is a folder"),
        (["--update", "--github"], "--update compares nothing"),
        (["--update", "--summary", "s.md"], "--update compares nothing"),
        (["--jobs", "0"], "--jobs 0"),
    ],
)
def test_options_that_make_no_sense_are_status_2(folder: Path, arguments: list[str], words: str) -> None:
    """They are refused before anything is measured."""
    with mock.patch.object(Bench, "measure", side_effect=AssertionError("measured")):
        done = CliRunner().invoke(app, ["gate", "gate.toml", *arguments])
    assert (done.exit_code, words in done.stderr) == (2, True)


def test_a_baseline_is_not_written_in_ci(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With CI set, --update is refused and the file stays; CI=false is no CI."""
    before = (folder / "gate.json").read_bytes()
    monkeypatch.setenv("CI", "true")
    done = lsrl("gate.toml", "--update")
    assert done.exit_code == 2
    assert "--update is refused in CI (the environment has CI=true)" in done.stderr
    assert (folder / "gate.json").read_bytes() == before
    monkeypatch.setenv("CI", "false")
    spoil(folder, lambda cell: cell.update(bits="0" * 64))
    told = json.loads(lsrl("gate.toml", "--update", "--json").stdout)
    assert told == {"baseline": "gate.json", "cells": 12, "added": 0, "removed": 0, "changed": 12}
    assert (folder / "gate.json").read_bytes() == before


def test_only_an_update_writes_the_baseline(folder: Path) -> None:
    """Whatever a comparison finds, the baseline stays to the last byte."""
    spoil(folder, lambda cell: cell.update(abs_error=0.0, wrong_share=0.0, significant_bits=40.0))
    before = (folder / "gate.json").read_bytes()
    assert lsrl("gate.toml").exit_code == 1
    assert (folder / "gate.json").read_bytes() == before
    assert {each.name for each in folder.iterdir()} == {"gate.json", "gate.toml", "mine.lsrl"}


def test_an_unexpected_failure_is_a_regression_and_no_baseline(folder: Path) -> None:
    """A cell that fails with an exception fails the gate, and cannot be accepted; a refusal can."""
    with mock.patch.object(cells, "execute_in_order", side_effect=IndexError("broken")):
        done = lsrl("gate.toml")
        update = lsrl("gate.toml", "--update")
    assert done.exit_code == 1
    assert "error it runs → IndexError: broken, rule: has to run" in done.stdout
    assert update.exit_code == 2
    assert "12 cells failed unexpectedly, the first with: IndexError: broken" in update.stderr
    with mock.patch.object(cells, "execute_in_order", side_effect=CompileRefusal.single("no room")):
        assert lsrl("gate.toml").exit_code == 1
        assert lsrl("gate.toml", "--update").exit_code == 0
        assert lsrl("gate.toml").exit_code == 0


def test_the_summary_of_a_step_is_added_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other commands wrote into $GITHUB_STEP_SUMMARY stays; any other file is replaced."""
    path = folder / "s.md"
    path.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    lsrl("gate.toml", "--summary", "s.md")
    assert path.read_text(encoding="utf-8") == "before\n### gate: pass: 12 cells\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "")
    lsrl("gate.toml", "--summary", "s.md")
    assert path.read_text(encoding="utf-8") == "### gate: pass: 12 cells\n"
