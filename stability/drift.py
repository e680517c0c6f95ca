"""The main measurement: how compiled programs drift from their true trajectory.

One tidy row per program × parameters × configuration × conditional × target × format
× seed × sampled step; the columns are those of :mod:`stability.cells`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import joblib
import pandas as pd

from compiler.compiling import TARGETS, check_target
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from stability.attribution import FIRST
from stability.budget_cells import BUDGET, budget_record, check_budget
from stability.cells import (
    ACTIVATIONS,
    COLUMNS,
    IN_STEPS,
    KEYS,
    NO_CONDITIONAL,
    RESULTS,
    SAMPLES,
    TYPES,
    Bench,
    Record,
)
from stability.engines.registry import check_engine
from stability.grid import NAMED_CONFIGS, Grid, Group, named_config
from stability.orders import parse_order
from stability.policy import parse_policy
from stability.subject import Subject, subject

__all__ = [
    "COLUMNS", "DEFAULT_CONFIGS", "DEFAULT_FORMATS", "DEFAULT_LENGTH", "DEFAULT_PROGRAMS", "KEYS",
    "NO_CONDITIONAL", "RESULTS", "SAMPLES", "TYPES", "Progress", "drift", "drift_frame",
]  # fmt: skip

DEFAULT_PROGRAMS = ("majority", "continuous", "dictionary", "copy_delay", "modulo")
DEFAULT_FORMATS = ("float16", "float32", "float64")
DEFAULT_CONFIGS = NAMED_CONFIGS
DEFAULT_LENGTH = 4000
ORDER = (
    "program", "parameters", "length", "seed", "config", "conditional", "target", "activation", "format",
    "order", "engine", "step",
)  # fmt: skip
"""Columns by which the rows of a frame are sorted."""

Progress = Callable[[int, int, str], None]


def drift(
    programs: Sequence[str] | None = None,
    *,
    targets: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    activations: Sequence[str] = ACTIVATIONS[:1],
    orders: Sequence[str] = (IN_STEPS,),
    configs: Sequence[str | CompileConfig] = DEFAULT_CONFIGS,
    conditionals: Sequence[str] | None = None,
    length: int | None = None,
    seeds: Sequence[int] = (0,),
    parameters: dict[str, str] | None = None,
    engine: str | None = None,
    states: bool = False,
    budget: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure drift over a grid (see the module for its rows).

    Args:
        programs: library names or paths of ``.lsrl`` files; default: :data:`DEFAULT_PROGRAMS`.
        targets: architectures; default: all.  The control ``uncompiled`` is always run.
        formats: number formats or policies; default: float16, float32, float64.
        activations: of the gates of lstm and gru: ``relu``, ``native``.
        orders: of evaluation of linear recurrences, see :mod:`stability.orders`.
        configs: ``stable``, ``paper`` or configurations of your own.
        conditionals: default: each target's own, and ``optimized`` on gated targets as
            a control of the ungated ones.
        length: tokens per prompt.
        seeds: one prompt per seed.
        parameters: program parameters by name, given to every program that has them.
        engine: who executes: ``native``, ``scalar``, ``onnxruntime``, ``torch`` …; default: ``native``
            for floats, ``mpmath`` for mpmath formats.
        states: also tell of every cell which named state drifts first, in the columns
            :data:`stability.attribution.FIRST`; takes about twice as long.
        budget: also tell of every cell which place of rounding makes how much of its error, in the
            columns :data:`stability.budget_cells.BUDGET`; takes about seven times as long.
        jobs: processes; default: one per core.
        progress: called with (done, total, what) after every task.

    Raises:
        ConfigError: an unknown name of a program, target, format, configuration,
            conditional, engine or parameter, or a length below 1.
        ProgramError: a program of the user's is wrong.
    """
    subjects = _subjects(programs, parameters)
    chosen = tuple(dict.fromkeys(check_target(target) for target in targets or TARGETS))
    fmts = tuple(parse_policy(name) for name in formats or DEFAULT_FORMATS)
    for activation in activations:
        if activation not in ACTIVATIONS:
            hint = "one of " + ", ".join(ACTIVATIONS)
            raise ConfigError.single(f"unknown activation {activation!r}", hint=hint)
    settled = tuple(named_config(config) for config in configs)
    if engine is not None:
        check_engine(engine)
    if budget:
        check_budget(engine)
    for conditional in conditionals or ():
        CompileConfig(conditional=conditional)  # type: ignore[arg-type]  # checked by the constructor
    if length is not None and length < 1:
        raise ConfigError.single(f"a prompt of {length} tokens", hint="give a length of at least 1")
    grid = Grid(
        subjects=tuple(subjects),
        configs=settled,
        conditionals=tuple(conditionals or ()),
        targets=chosen,
        activations=tuple(dict.fromkeys(activations)),
        orders=tuple(dict.fromkeys(parse_order(order).name for order in orders)),
        formats=fmts,
        engine=engine,
        seeds=tuple(seeds),
        lengths=(length or DEFAULT_LENGTH,),
        states=states,
    )
    groups = list(grid.groups())
    return drift_frame(
        [record for rows in _run_all(groups, jobs, progress, budget=budget) for record in rows]
    )


def drift_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Rows of cells as a sorted frame with the columns and types of :mod:`stability.cells`.

    The columns :data:`stability.attribution.FIRST` and :data:`stability.budget_cells.BUDGET` are
    added where the rows have them.
    """
    known = records[0] if records else {}
    more = {name: kind for name, kind in (FIRST | BUDGET).items() if name in known}
    frame = pd.DataFrame(records, columns=[*COLUMNS, *more]).astype(TYPES | more)
    return frame.sort_values(list(ORDER), kind="stable", ignore_index=True)


def _subjects(programs: Sequence[str] | None, parameters: dict[str, str] | None) -> list[Subject]:
    found = [subject(name, parameters) for name in programs or DEFAULT_PROGRAMS]
    known = {name for each in found for name in each.parameters}
    for name in parameters or {}:
        if name not in known:
            raise ConfigError.single(
                f"no program here has a parameter {name!r}", hint="one of " + ", ".join(sorted(known))
            )
    return found


def _run_all(
    groups: list[Group], jobs: int | None, progress: Progress | None, *, budget: bool
) -> Iterator[list[Record]]:
    report = progress or (lambda _done, _total, _what: None)
    report(0, len(groups), "")
    workers = min(jobs if jobs is not None else joblib.cpu_count(), len(groups)) or 1
    pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    finished: Iterable[tuple[str, list[Record]]] = pool(
        joblib.delayed(_run_group)(each, budget=budget) for each in groups
    )
    for done, (title, records) in enumerate(finished, start=1):
        report(done, len(groups), title)
        yield records


def _run_group(group: Group, *, budget: bool) -> tuple[str, list[Record]]:
    """All cells of one group; a refusal is a row, not a failure of the rest."""
    bench = Bench(group.setup)
    records: list[Record] = []
    for member in group.members:
        more = budget_record(bench, member) if budget else {}
        records.extend(row | more for row in bench.rows(member))
    return group.setup.title, records
