"""A process that runs a small experiment and is meant to be killed.

Run as ``python -m tests.stability.experiment_driver STORE LOG JOBS``; LOG gets a line when
the computation of a cell begins.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from pathlib import Path

from stability.cells import Bench, Member, Record
from stability.experiment.running import run_groups
from stability.formats import parse_format
from stability.grid import Grid, Group, named_config
from stability.subject import subject

DELAY = 0.03
"""Seconds that a cell takes at least, so that kills fall into it."""


def groups() -> list[Group]:
    """18 cells in 3 groups."""
    grid = Grid(
        subjects=(subject("majority"),),
        configs=(named_config("stable"),),
        targets=("lstm", "relu_rnn"),
        formats=(parse_format("float16"), parse_format("float32")),
        seeds=(0, 1, 2),
        lengths=(20,),
    )
    return list(grid.groups())


def key_of(bench: Bench, member: Member) -> str:
    """A cell of :func:`groups` in one word."""
    return f"{bench.setup.seed}/{member.target}/{member.format.name}"


def logged(log: str, bench: Bench, member: Member) -> list[Record]:
    """Compute a cell, after a line in the log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{key_of(bench, member)}\n".encode())
    os.close(descriptor)
    rows = bench.measure(member)
    time.sleep(DELAY)
    return rows


def deadly(log: str, bench: Bench, member: Member) -> list[Record]:
    """As :func:`logged`, but one cell takes its process down."""
    if (bench.setup.seed, member.target, member.format.name) == (1, "relu_rnn", "float32"):
        os.kill(os.getpid(), signal.SIGKILL)
    return logged(log, bench, member)


def main(store: str, log: str, jobs: str) -> None:
    """Run it."""
    run_groups(groups(), Path(store), jobs=int(jobs), compute=functools.partial(logged, log))


if __name__ == "__main__":
    main(*sys.argv[1:])
