"""``lsrl experiment``: lists, shows and runs; mistakes exit 2, broken cells 1, Ctrl-C 130 with the way on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from reports.cli import experiment as module
from stability.cells import Bench, Member, Record
from stability.experiment import Experiment, Outcome, load_experiment, read_store, shipped
from stability.experiment.reading import experiment_text
from stability.experiment.running import run_groups
from tests.reports.test_cli import LSRL, lsrl, refused

TINY = """
description = "four cells"
programs = "majority"
targets = "relu_rnn"
configs = "stable"
formats = ["float32", "float64"]
lengths = 10
seeds = [0, 1]
[thresholds]
wrong_share = 0.0
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A file of an experiment with eight cells."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_shipped_experiments_are_listed() -> None:
    """Each has its name, its size and what it measures, as a table and as JSON."""
    listed = json.loads(lsrl("experiment", "list", "--json").stdout)
    assert [each["name"] for each in listed] == list(shipped())
    shown = lsrl("experiment", "list").stdout
    assert all(each["name"] in shown and f"{each['cells']:,}" in shown for each in listed)


def test_an_experiment_is_shown(tiny: Path) -> None:
    """``show`` names what is on each axis; ``--toml`` is the file, to be changed and run."""
    shown = lsrl("experiment", "show", tiny)
    assert shown.exit_code == 0
    for text in ("tiny: 8 cells. four cells", "relu_rnn", "float32, float64", "0, 1", "wrong_share > 0.0"):
        assert text in shown.stdout
    assert "0 to 9" in lsrl("experiment", "show", "paper").stdout
    assert lsrl("experiment", "show", "quick", "--toml").stdout == experiment_text("quick")[1]


def test_an_experiment_runs_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    """The first run computes every cell, the second finds them; the store reads as a frame."""
    first = lsrl("experiment", "run", tiny, "-o", tmp_path / "store", "--jobs", 1)
    assert first.exit_code == 0, first.output
    assert "tiny: 8 cells, 0 of them finished before" in first.stdout
    assert "drifted: 0 cells (wrong_share > 0.0)" in first.stdout
    assert "measured 8 of 8" in first.stderr
    again = lsrl("experiment", "run", tiny, "-o", tmp_path / "store", "--jobs", 1)
    assert "8 cells, 8 of them finished before" in again.stdout
    assert read_store(tmp_path / "store")["cell"].nunique() == 8
    kept = list((tmp_path / "store" / "experiments").iterdir())
    assert [each.read_text() for each in kept] == [TINY]


def test_mistakes_are_lines_and_exit_2(tiny: Path, tmp_path: Path) -> None:
    """Every mistake of a file, a place that is no store and impossible jobs are refused at once."""
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('programs = "majority"\nseeds = -1\nformat = "float32"\nlengths = 0\n')
    for command in ("show", "run"):
        options = ["-o", tmp_path / "new"] if command == "run" else []
        refused(lsrl("experiment", command, wrong, *options), "wrong.toml:2:1", "formats?", ":4:1", lines=3)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("x")
    refused(lsrl("experiment", "run", "quik", "-o", tmp_path / "new"), "did you mean quick")
    refused(lsrl("experiment", "run", tiny, "-o", tmp_path / "file"), "is a file")
    refused(lsrl("experiment", "run", tiny, "-o", tmp_path), "not empty, and no store")
    refused(lsrl("experiment", "run", tiny, "-o", tmp_path / "new", "--jobs", 0), "0 jobs")


def test_damaged_and_broken_cells_are_told(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken cell is named with its error and the exit status is 1; a damaged one is computed again."""

    def failing(bench: Bench, member: Member) -> list[Record]:
        if bench.setup.seed == 1 and member.target == "relu_rnn":
            raise ZeroDivisionError("by zero")
        return bench.measure(member)

    def running(experiment: Experiment, path: Path, **options: Any) -> Outcome:
        return run_groups(experiment.groups(), path, experiment, compute=failing, **options)

    monkeypatch.setattr(module, "run_experiment", running)
    command = ["experiment", "run", tiny, "-o", tmp_path / "store", "--jobs", 1]
    broken = lsrl(*command)
    assert broken.exit_code == 1
    assert "failed unexpectedly: 2 cells\n  2 × ZeroDivisionError: by zero" in broken.stdout
    assert broken.stderr.splitlines()[-1].startswith("error: 2 cells failed unexpectedly")
    monkeypatch.undo()
    assert lsrl(*command).exit_code == 1
    assert lsrl(*command, "--retry").exit_code == 0
    cell = next((tmp_path / "store" / "cells").iterdir())
    cell.write_bytes(cell.read_bytes()[:-9])
    mended = lsrl(*command)
    assert mended.exit_code == 0
    assert "7 of them finished before" in mended.stdout
    assert f"computed again: {cell}: damaged" in mended.stderr


@pytest.mark.skipif(os.name != "posix", reason="process groups are those of POSIX")
def stopped(arguments: list[str], store: Path, *, presses: int) -> tuple[int, str, str]:
    """Status, stdout and stderr of a run that Ctrl-C ends when its store has a first cell."""
    with subprocess.Popen(
        [*LSRL, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        limit = time.monotonic() + 120
        while not list(store.glob("cells/*.parquet")) and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        for _ in range(presses):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C ends in one line with the command that goes on, and status 130; what is finished is kept."""
    path, store = tmp_path / "many.toml", tmp_path / "a store"
    path.write_text(TINY.replace("[0, 1]", "[" + ",\n".join(map(str, range(500))) + "]"))
    arguments = ["experiment", "run", str(path), "-o", str(store), "--jobs", "2"]
    status, out, errors = stopped(arguments, store, presses=1)
    assert (status, out) == (130, ""), errors
    told = errors.splitlines()[-1]
    kept = read_store(store)["cell"].nunique()
    assert 0 < kept < load_experiment(path).size == 2000
    assert told.startswith(f"interrupted: {kept} of 2000 cells are kept; to go on: ")
    assert shlex.split(told.rpartition(": ")[2]) == ["lsrl", *arguments[:-2]]
    assert "Traceback" not in errors
    assert not list(store.glob("cells/*.part"))


def test_an_impatient_second_ctrl_c_ends_the_run(tmp_path: Path) -> None:
    """Pressed again while the first is put away, the run ends at once with status 130; the store goes on."""
    path, store = tmp_path / "many.toml", tmp_path / "store"
    path.write_text(TINY.replace("[0, 1]", "[" + ",\n".join(map(str, range(500))) + "]"))
    arguments = ["experiment", "run", str(path), "-o", str(store), "--jobs", "2"]
    assert stopped(arguments, store, presses=3)[0] == 130
    assert read_store(store)["cell"].nunique() > 0
