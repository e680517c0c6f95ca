"""What a process does with its share of an experiment: claim a cell, compute it, write it."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from compiler.errors import LsrlError
from compiler.selfcheck import CompilerBugError
from stability import noise_cells
from stability.cells import Bench, Member, Record
from stability.experiment.origin import NUMERIC_SCHEMA, canonical, config_hash, digest, identity
from stability.experiment.store import Claim, Store, StoreError
from stability.grid import Group

REFUSED, BROKEN, DIED = "refused", "broken", "died"

Compute = Callable[[Bench, Member], list[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Cells of one group, for one process.

    Attributes:
        group: the cells.
        cells: their hashes, in the order of its members.
        store: where they go.
        owner: the process that handed the job out.
        versions: of the suite and its dependencies, for the rows.
        commit: of the suite.
        compute: what computes a cell.
    """

    group: Group
    cells: tuple[str, ...]
    store: Store
    owner: int
    versions: str
    commit: str
    compute: Compute = noise_cells.measure

    def identity(self, cell: str, member: Member) -> str:
        """The text of which ``cell`` is the hash: all that determines it.

        Raises:
            StoreError: this process takes something else to determine it than the one that
                handed the job out, so their numbers are not of one cell.
        """
        text = canonical(identity(self.group.setup, member))
        if digest(text) != cell:
            raise StoreError.single(
                f"cell {cell[:12]}… of {self.group.setup.title} is another one to the process that makes it",
                hint="run all processes with the same versions of lsrl-stability and its dependencies",
            )
        return text


def work(job: Job) -> str:
    """Finish all cells of a job, but for those that other processes finish; its title.

    Raises:
        OSError: a cell cannot be written.
        StoreError: as :meth:`Job.identity`.
    """
    bench = Bench(job.group.setup)
    late = [
        (cell, member)
        for cell, member in zip(job.cells, job.group.members, strict=True)
        if not _settled(job, bench, cell, member, wait=False)
    ]
    for cell, member in late:
        _settled(job, bench, cell, member, wait=True)
    return job.group.setup.title


def _settled(job: Job, bench: Bench, cell: str, member: Member, *, wait: bool) -> bool:
    """Whether a cell is finished, after computing it if it was anybody's to compute."""
    with job.store.claim(cell, wait=wait) as claim:
        _stop_if_orphaned(job.owner)
        if claim is None:
            return job.store.has(cell)
        job.identity(cell, member)
        start = time.monotonic()
        try:
            records, failure = job.compute(bench, member), ""
        except LsrlError as problem:
            records = [noise_cells.refused(bench, member, problem)]
            failure = BROKEN if isinstance(problem, CompilerBugError) else REFUSED
        except Exception as problem:  # noqa: BLE001 -- whatever fails in a cell, the others go on
            described = f"{type(problem).__name__}: {problem}"
            records = [noise_cells.lost(bench.setup, member, described)]
            failure = BROKEN
        finish(job, claim, member, records, failure=failure, seconds=time.monotonic() - start)
        return True


def finish(
    job: Job, claim: Claim, member: Member, records: list[Record], *, failure: str, seconds: float
) -> None:
    """Write the rows of a cell with where they come from.

    Raises:
        OSError: they cannot be written.
    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    origin = {
        "cell": claim.cell,
        "config_hash": config_hash(job.group.setup, member),
        "failure": failure,
        "numeric_schema": NUMERIC_SCHEMA,
        "versions": job.versions,
        "commit": job.commit,
        "computed_at": now,
        "seconds": round(seconds, 4),
    }
    claim.finish([record | origin for record in records], job.identity(claim.cell, member))


def give_up(job: Job, member: Member, cell: str, reason: str) -> None:
    """Record a cell that takes its process down.

    Raises:
        OSError: it cannot be written.
    """
    with job.store.claim(cell) as claim:
        if claim is not None:
            records = [noise_cells.lost(job.group.setup, member, reason)]
            finish(job, claim, member, records, failure=DIED, seconds=0.0)


def _stop_if_orphaned(owner: int) -> None:
    """End a worker whose owner was killed: nobody is left to report to, and a new run wants the cells."""
    if owner not in {os.getpid(), os.getppid()}:
        os._exit(1)
