"""``lsrl drift``: the measurement and its report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from compiler.compiling import TARGET_NAMES, check_target
from compiler.config import CONDITIONALS
from compiler.errors import ConfigError
from compiler.loading import load_program
from reports.cli import options
from reports.cli.native_options import RELU, check_activation
from reports.cli.terminal import console_of
from reports.text import plain
from stability.budget_cells import check_budget
from stability.drift import DEFAULT_CONFIGS, DEFAULT_FORMATS, DEFAULT_LENGTH
from stability.drift import Progress as Report
from stability.drift import drift as measure
from stability.engines.registry import ENGINES, check_engine
from stability.orders import ORDER_CHOICES, STEP, parse_order
from stability.policy import parse_policy

LONGEST = 10_000_000
QUIET_SECONDS = 5.0
"""Time between two lines of progress where there is no terminal to draw a bar on."""


def drift_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE_OR_NAME]...", help="programs (default: five of the library)"),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help=f"architectures: {' | '.join(TARGET_NAMES)} (default: all)"),
    ] = None,
    number_format: Annotated[
        list[str] | None,
        typer.Option("--format", "--policy", help=f"number formats (default: {' '.join(DEFAULT_FORMATS)})"),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", help=f"configurations (default: {' '.join(DEFAULT_CONFIGS)})"),
    ] = None,
    conditional: Annotated[
        list[str] | None,
        typer.Option(
            "--conditional",
            help=f"forms of f_ifelse: {' | '.join(CONDITIONALS)} (default: by target, with controls)",
        ),
    ] = None,
    length: Annotated[int, typer.Option("--length", help="tokens per prompt")] = DEFAULT_LENGTH,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="seed of a prompt (repeatable; default 0)")
    ] = None,
    param: options.Parameters = None,
    step: options.StepOption = None,
    complement: options.ComplementOption = None,
    mu: options.Mu = None,
    lam: options.Lam = None,
    reduce: options.Reduce = False,
    activation: Annotated[
        list[str] | None,
        typer.Option("--activation", help="gates of lstm and gru (repeatable): relu (default) | native"),
    ] = None,
    order: Annotated[
        list[str] | None,
        typer.Option(
            "--order", help=f"of evaluation of linear recurrences (repeatable): {' | '.join(ORDER_CHOICES)}"
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help=f"who executes: {' | '.join(ENGINES)} (default: native, or mpmath)"),
    ] = None,
    states: Annotated[
        bool,
        typer.Option("--states", help="tell which named state drifts first, and by which law errors grow"),
    ] = False,
    budget: Annotated[
        bool, typer.Option("--budget", help="tell which place of rounding makes how much of the error")
    ] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", help="processes (default: one per core)")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="folder of the report")] = Path(
        "drift-report"
    ),
) -> None:
    """Measure how compiled programs drift, and write a report: index.html, summary.md, drift.parquet.

    --target, --format, --config, --conditional, --seed and --param may be given more than once.
    --step, --complement, --mu, --lam and --reduce change every --config; the report names the change.
    """
    for name in names or ():
        load_program(name)
    # Charts and tables take most of the time that the command line needs to start.
    from reports.budgets import budgets, print_budgets  # noqa: PLC0415
    from reports.summary import print_summary  # noqa: PLC0415
    from reports.tables import named  # noqa: PLC0415
    from reports.writing import FRAME, PAGE, SUMMARY, write_report  # noqa: PLC0415

    _check(target, number_format, conditional, length, seed, jobs)
    for name in order or ():
        parse_order(name)
    settings = [
        options.configuration(name, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce)
        for name in config or DEFAULT_CONFIGS
    ]
    if engine is not None:
        check_engine(engine)
    if budget:
        check_budget(engine)
    parameters = {name: str(value) for name, value in options.parameters_of(param).items()}
    folder = options.writable_folder(output)
    start = time.monotonic()
    with progress_on(console_of(sys.stderr)) as report:
        frame = measure(
            names or None,
            targets=target or None,
            formats=number_format or None,
            activations=tuple(map(check_activation, activation or (RELU,))),
            orders=order or (STEP.name,),
            configs=tuple(dict.fromkeys(settings)),
            conditionals=conditional or None,
            length=length,
            seeds=tuple(dict.fromkeys(seed or (0,))),
            parameters=parameters or None,
            engine=engine,
            states=states,
            budget=budget,
            jobs=jobs,
            progress=report,
        )
    findings, groups = write_report(frame, folder)
    console = console_of(sys.stdout)
    print_summary(console, findings, groups)
    if budget:
        print_budgets(console, budgets(named(frame)))
    seconds = time.monotonic() - start
    console.print(
        f"\n{folder / PAGE}  the report; opens in any browser, offline",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"{folder / SUMMARY}  its summary as Markdown", markup=False, highlight=False, soft_wrap=True
    )
    console.print(
        f"{folder / FRAME}  every number ({len(frame):,} rows; {seconds:.0f} s)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _check(
    targets: list[str] | None,
    formats: list[str] | None,
    conditionals: list[str] | None,
    length: int,
    seeds: list[int] | None,
    jobs: int | None,
) -> None:
    """Refuse what is wrong before any folder is made or any time is spent."""
    for target in targets or ():
        check_target(target)
    for name in formats or ():
        parse_policy(name)
    for conditional in conditionals or ():
        options.configuration("stable", conditional=conditional)
    if not 1 <= length <= LONGEST:
        raise ConfigError.single(f"--length {length}", hint=f"from 1 to {LONGEST:,} tokens")
    if any(seed < 0 for seed in seeds or ()):
        raise ConfigError.single("a negative --seed", hint="0 or more")
    if jobs is not None and jobs < 1:
        raise ConfigError.single(f"--jobs {jobs}", hint="1 or more")


@contextmanager
def progress_on(console: Console) -> Iterator[Report]:
    """Progress of a measurement: a bar with an estimate on a terminal, else a line now and then."""
    if not console.is_terminal:
        yield _plain_progress(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("measuring", total=None)

        def report(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=plain(what)[:40] or "measuring")

        yield report


def _plain_progress(console: Console) -> Report:
    start = time.monotonic()
    shown = start

    def report(done: int, total: int, what: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if done not in {0, total} and now - shown < QUIET_SECONDS:
            return
        shown = now
        left = f", about {(now - start) * (total - done) / done:.0f} s left" if 0 < done < total else ""
        line = f"measured {done} of {total}{left}{f' ({plain(what)})' if what else ''}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return report
