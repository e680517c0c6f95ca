"""Run an experiment into a store; run it again to go on where it was stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

from compiler.errors import ConfigError, LsrlError
from stability import noise_cells
from stability.cells import Member
from stability.drift import Progress
from stability.experiment.definition import Experiment
from stability.experiment.frames import inspected
from stability.experiment.origin import canonical, commit, digest, identity, versions
from stability.experiment.store import (
    CELLS,
    DAMAGED,
    FINISHED,
    NOISE_CELLS,
    SCHEMAS,
    Store,
    StoreError,
    open_store,
)
from stability.experiment.work import BROKEN, DIED, Compute, Job, give_up, work
from stability.grid import Group

POLL_SECONDS = 0.5
DIED_REASON = "the process that computed it was killed twice (not enough memory?)"


class Interrupted(KeyboardInterrupt):
    """A run that was stopped by the user.

    Attributes:
        kept: finished cells in the store.
        total: cells of the experiment.
    """

    def __init__(self, kept: int, total: int) -> None:
        self.kept, self.total = kept, total
        super().__init__(f"{kept} of {total} cells are kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did.

    Attributes:
        cells: hashes of all cells of the experiment; every one is finished.
        found: how many of them were finished before.
        damaged: why some were computed again, one line each.
    """

    cells: tuple[str, ...]
    found: int
    damaged: tuple[str, ...]

    @property
    def computed(self) -> int:
        """Cells that this run computed, or saw others compute."""
        return len(self.cells) - self.found


def run_experiment(
    experiment: Experiment,
    path: str | Path,
    *,
    jobs: int | None = None,
    retry: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Compute every cell of an experiment that its store lacks.

    Args:
        experiment: what to measure.
        path: the store; made if there is none.
        jobs: processes; default: one per core.
        retry: compute those cells again that failed unexpectedly; refusals stand.
        progress: called with (done, total, what), counting the cells that were missing.

    Raises:
        StoreError: the place cannot be written, or the disk is full; what is finished is kept.
        Interrupted: by Ctrl-C; what is finished is kept.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError.single(f"{jobs} jobs", hint="1 or more")
    return run_groups(experiment.groups(), path, experiment, jobs=jobs, retry=retry, progress=progress)


def run_groups(
    groups: Iterable[Group],
    path: str | Path,
    experiment: Experiment | None = None,
    *,
    jobs: int | None = None,
    retry: bool = False,
    progress: Progress | None = None,
    compute: Compute = noise_cells.measure,
) -> Outcome:
    """As :func:`run_experiment`, for any groups of cells."""
    store = open_store(path)
    if experiment is not None:
        store.keep_experiment(experiment.name, experiment.text)
    planned = list(_planned(groups, store, compute))
    cells = tuple(cell for job in planned for cell in job.cells)
    damaged = tuple(line for job in planned for line in _put_aside(job, retry=retry))
    missing = {cell for job in planned for cell in job.cells if not job.store.has(cell)}
    store.abandoned()
    try:
        with _watched(store, missing, progress):
            _run(_left(planned), store, jobs)
    except KeyboardInterrupt:
        store.abandoned()
        raise Interrupted(_kept(planned), len(cells)) from None
    except OSError as problem:
        store.abandoned()
        kept = _kept(planned)
        raise StoreError.single(
            f"cannot write the store {store.path}: {problem.strerror or problem}; "
            f"{kept} of {len(cells)} cells are kept",
            hint="make room, then run the same command again",
        ) from None
    return Outcome(cells=cells, found=len(cells) - len(missing), damaged=damaged)


def _kept(jobs: Iterable[Job]) -> int:
    return sum(job.store.has(cell) for job in jobs for cell in job.cells)


def _planned(groups: Iterable[Group], store: Store, compute: Compute) -> Iterator[Job]:
    """One job per group and folder; a cell that two groups have belongs to the first."""
    seen: set[str] = set()
    for group in groups:
        kinds: dict[str, dict[str, Member]] = {folder: {} for folder in SCHEMAS}
        for member in group.members:
            cell = digest(canonical(identity(group.setup, member)))
            if cell not in seen:
                seen.add(cell)
                kinds[CELLS if member.noise is None else NOISE_CELLS][cell] = member
        for folder, members in kinds.items():
            if not members:
                continue
            yield Job(
                group=replace(group, members=tuple(members.values())),
                cells=tuple(members),
                store=replace(store, folder=folder),
                owner=os.getpid(),
                versions=versions(),
                commit=commit(),
                compute=compute,
            )


def _left(jobs: Iterable[Job]) -> list[Job]:
    """The jobs with what is not finished of them."""
    found = []
    for job in jobs:
        left = [pair for pair in zip(job.cells, job.group.members, strict=True) if not job.store.has(pair[0])]
        if left:
            cells, members = zip(*left, strict=True)
            found.append(replace(job, cells=cells, group=replace(job.group, members=members)))
    return found


def _put_aside(job: Job, *, retry: bool) -> Iterator[str]:
    """Move damaged files out of the way, drop what is to be retried; what was wrong with the former."""
    store = job.store
    wanted = {
        cell: job.identity(cell, member) for cell, member in zip(job.cells, job.group.members, strict=True)
    }
    for cell, state in inspected(store, wanted):
        if isinstance(state, LsrlError):
            (store.path / DAMAGED).mkdir(exist_ok=True)
            store.finished(cell).replace(store.path / DAMAGED / f"{cell}{FINISHED}")
            yield str(state)
        elif retry and state in {BROKEN, DIED}:
            store.finished(cell).unlink(missing_ok=True)


def _run(jobs: list[Job], store: Store, workers: int | None) -> None:
    """Finish all jobs, even those whose cells take their process down with them."""
    while jobs:
        try:
            _pooled(jobs, workers)
        except BrokenProcessPool:
            suspects = set(store.abandoned())
            if not suspects:
                raise StoreError.single(
                    "the processes of this run are killed before they compute anything",
                    hint="take fewer --jobs, or free some memory",
                ) from None
            _alone(jobs, store, suspects)
        jobs = _left(jobs)


def _alone(jobs: list[Job], store: Store, suspects: set[str]) -> None:
    """One at a time, those cells that ran when a process died; who dies again is recorded."""
    for job in jobs:
        for cell, member in zip(job.cells, job.group.members, strict=True):
            if cell not in suspects:
                continue
            single = replace(job, cells=(cell,), group=replace(job.group, members=(member,)))
            try:
                _pooled([single], 2)  # two, so that it runs in a process of its own
            except BrokenProcessPool:
                store.abandoned()
                give_up(job, member, cell, DIED_REASON)


def _pooled(jobs: list[Job], workers: int | None) -> None:
    count = min(workers if workers is not None else joblib.cpu_count(), max(len(jobs), 2))
    pool = joblib.Parallel(n_jobs=count, batch_size=1, return_as="generator_unordered")
    with _without_interrupts():
        finished = pool(joblib.delayed(work)(job) for job in jobs)
    try:
        for _title in finished:
            pass
    finally:
        finished.close()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that are started here never see Ctrl-C: their owner does, and stops them.

    They inherit that the signal is ignored, but not that it is blocked: joblib unblocks it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if before is not None:  # None: installed by something other than Python
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _watched(store: Store, missing: Collection[str], progress: Progress | None) -> Iterator[None]:
    """Report how many of the missing cells are finished, whoever computes them, now and then."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def count() -> int:
        files = (each for folder in SCHEMAS for each in (store.path / folder).glob(f"*{FINISHED}"))
        return len({each.name.removesuffix(FINISHED) for each in files}.intersection(missing))

    def watch() -> None:
        last = 0
        while not over.wait(POLL_SECONDS):
            done = count()
            if done != last:
                progress(done, len(missing), "")
            last = done

    progress(0, len(missing), "")
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
        over.set()
        watcher.join()
        progress(len(missing), len(missing), "")
    finally:
        over.set()
        watcher.join()
