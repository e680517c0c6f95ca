"""The fresh run of a gate: every cell of its experiment, computed anew, and where its programs are."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from compiler.errors import LsrlError
from compiler.loading import SUFFIX
from stability.corpus import Kept
from stability.drift import Progress
from stability.experiment import Experiment, read_store, run_experiment
from stability.gate.cell import GateCell, cell_of
from stability.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the output of a program is made.

    Attributes:
        file: the name of its file.
        line: of the variable, or the expression, that it returns.
        path: of the file, if it is known.
    """

    file: str
    line: int
    path: Path | None


class FreshRunError(LsrlError):
    """A fresh run that lost cells, so that nothing can be compared."""


def fresh_cells(
    experiment: Experiment, *, jobs: int | None = None, progress: Progress | None = None
) -> list[GateCell]:
    """Run an experiment, but for its noisy runs; nothing that was computed before counts.

    Args:
        experiment: of the gate.
        jobs: processes; default: one per core; with 1 all is done in this one.
        progress: called with (done, total, what).

    Raises:
        StoreError: the temporary folder cannot be written.
        FreshRunError: cells were lost between computing and reading them.
        Interrupted: by Ctrl-C.
    """
    complaints: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lsrl-gate-", ignore_cleanup_errors=True) as folder:
        outcome = run_experiment(experiment.without_noise, folder, jobs=jobs, progress=progress)
        frame = read_store(folder, only=outcome.cells, complain=complaints.append)
    found = [cell_of(rows) for _, rows in frame.groupby("cell", sort=False)]
    if complaints or len(found) < len(outcome.cells):
        reason = complaints[0] if complaints else "some were not written"
        raise FreshRunError.single(
            f"only {len(found)} of {len(outcome.cells)} cells could be read: {reason}", hint="run it again"
        )
    return found


def sources(experiment: Experiment, corpus: Sequence[Kept] = ()) -> dict[str, Source]:
    """Where each program of an experiment makes its output, by name; kept cases by those of their files."""
    found = {subject.name: source_of(subject) for grid in experiment.grids for subject in grid.subjects}
    return found | {path.name: Source(file=path.name, line=1, path=path) for path, _ in corpus}


def source_of(subject: Subject) -> Source:
    """The line that makes what a program returns."""
    span = subject.source.nodes[subject.source.output].span
    shipped = resources.files("compiler") / "programs" / f"{subject.name}{SUFFIX}"
    path = Path(subject.path) if subject.path else Path(str(shipped))
    return Source(
        file=subject.file, line=span.line if span is not None else 1, path=path if path.is_file() else None
    )
