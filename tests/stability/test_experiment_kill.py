"""An experiment survives whatever stops it: kill -9, Ctrl-C, a full disk, a cell that kills its process.

``HYPOTHESIS_PROFILE=thorough`` kills it twenty times at random moments instead of twice.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky.process_executor import BrokenProcessPool

from stability.cells import Bench, Member, Record
from stability.experiment import VOLATILE, StoreError, read_store, running
from stability.experiment.origin import canonical, digest, identity
from stability.experiment.running import Outcome, run_groups
from stability.experiment.work import Job
from tests.stability.experiment_driver import deadly, groups, logged

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
CELLS = 18
KILLS = 20 if THOROUGH else 2
PATIENCE = 120.0
"""Seconds to wait for a process that makes no progress before a test gives up."""


def started(log: Path) -> list[str]:
    """The cells whose computation has begun, in order."""
    return log.read_text().split() if log.exists() else []


def cells_of(store: Path) -> dict[str, str]:
    """The finished cells by their key in the log, each with the time of its computation."""
    frame = read_store(store).drop_duplicates("cell") if (store / "store.json").exists() else pd.DataFrame()
    return {f"{row.seed}/{row.target}/{row.format}": str(row.computed_at) for row in frame.itertuples()}


def timeless(store: Path) -> pd.DataFrame:
    """The rows of a store, but for when and how long."""
    return read_store(store).drop(columns=list(VOLATILE))


def launch(store: Path, log: Path, jobs: int) -> subprocess.Popen[bytes]:
    """The driver, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stability.experiment_driver", str(store), str(log), str(jobs)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_later(process: subprocess.Popen[bytes], log: Path, begun: int, *, whole: bool) -> None:
    """Kill a driver with SIGKILL once so many cells have begun: with its workers, or it alone."""
    limit = time.monotonic() + PATIENCE
    while len(started(log)) < begun and process.poll() is None:
        assert time.monotonic() < limit, "the driver does not begin"
        time.sleep(0.005)
    time.sleep(np.random.default_rng(begun).uniform(0, 0.06))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if whole else process.kill()
    process.wait()


def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed again and again, an experiment ends as an undisturbed one; no finished cell begins twice."""
    store, log = tmp_path / "store", tmp_path / "log"
    settled: list[tuple[dict[str, str], int]] = []
    for kill in range(KILLS):
        jobs = 2 if THOROUGH or kill else 1
        begun = len(started(log)) + int(np.random.default_rng(kill).integers(1, 3 if THOROUGH else 7))
        kill_later(launch(store, log, jobs), log, begun, whole=kill % 2 == 0)
        # what a worker without its owner still finishes counts as finished when it is there
        settled.append((cells_of(store), len(started(log))))
    run_groups(groups(), store, jobs=1, compute=functools.partial(logged, str(log)))
    last = cells_of(store)
    assert len(last) == CELLS
    for finished, position in settled:
        assert not set(started(log)[position:]) & set(finished)
        assert finished.items() <= last.items()
    undisturbed = tmp_path / "undisturbed"
    run_groups(groups(), undisturbed, jobs=1)
    pd.testing.assert_frame_equal(timeless(store), timeless(undisturbed))
    assert not list((store / "cells").glob("*.part"))


@pytest.mark.skipif(not THOROUGH, reason="starts six processes; the next test is its quick twin")
def test_a_cell_that_kills_its_process_is_a_row(tmp_path: Path) -> None:
    """A cell whose process is killed, as for want of memory, has an error; all others are measured."""
    store = tmp_path / "store"
    outcome = run_groups(groups(), store, jobs=2, compute=functools.partial(deadly, str(tmp_path / "log")))
    check_one_died(outcome, store)


def check_one_died(outcome: Outcome, store: Path) -> None:
    """Every cell is there, and only the deadly one has failed."""
    frame = read_store(store)
    assert len(outcome.cells) == frame["cell"].nunique() == CELLS
    dead = frame[frame["failure"] != ""]
    assert list(dead["failure"]) == ["died"]
    assert (dead["seed"].item(), dead["target"].item(), dead["format"].item()) == (1, "relu_rnn", "float32")
    assert "killed" in dead["error"].item()


def test_a_broken_pool_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a process dies, what ran is tried alone, the one to blame is recorded, the rest go on."""

    class KilledError(BaseException):
        """Stands for SIGKILL: the claim's file stays behind, and the pool reports it."""

    pooled = running._pooled
    tried: list[int] = []

    def breaking(jobs: list[Job], workers: int | None) -> None:
        tried.append(sum(len(job.cells) for job in jobs))
        try:
            pooled(jobs, 1)
        except KilledError:
            (tmp_path / "store" / "cells" / f"{running_now[-1]}.part").touch()
            raise BrokenProcessPool from None

    running_now: list[str] = []

    def dying(bench: Bench, member: Member) -> list[Record]:
        if (bench.setup.seed, member.target, member.format.name) == (1, "relu_rnn", "float32"):
            running_now.append(digest(canonical(identity(bench.setup, member))))
            raise KilledError
        return bench.measure(member)

    monkeypatch.setattr(running, "_pooled", breaking)
    outcome = run_groups(groups(), tmp_path / "store", jobs=1, compute=dying)
    check_one_died(outcome, tmp_path / "store")
    assert tried == [CELLS, 1, CELLS - 10]


def test_a_pool_that_never_works_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes die before they begin, the run ends with a message instead of trying for ever."""

    def broken(_jobs: list[Job], _workers: int | None) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(running, "_pooled", broken)
    with pytest.raises(StoreError, match="killed before they compute anything"):
        run_groups(groups(), tmp_path / "store", jobs=2)


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_costs_only_what_is_not_written_yet(tmp_path: Path) -> None:
    """On a small disk that fills up, finished cells are kept, and after making room the rest follow."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        ballast = disk / "lost+found"
        ballast.write_bytes(bytes(40_000))
        with pytest.raises(StoreError, match="No space left on device"):
            run_groups(groups(), disk, jobs=1)
        kept = cells_of(disk)
        assert 0 < len(kept) < CELLS
        assert not list((disk / "cells").glob("*.part"))
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        run_groups(groups(), disk, jobs=1)
        assert kept.items() <= cells_of(disk).items()
        run_groups(groups(), tmp_path / "other", jobs=1)
        pd.testing.assert_frame_equal(timeless(disk), timeless(tmp_path / "other"))
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
