"""``lsrl experiment``: grids of measurements that are never lost."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.table import Table

from reports.cli import options
from reports.cli.drift import progress_on
from reports.cli.terminal import console_of
from reports.noise_report import sigma_text
from reports.store_reading import limits_text
from reports.text import plain
from stability.experiment import (
    Experiment,
    Interrupted,
    Outcome,
    load_experiment,
    read_noise,
    read_store,
    run_experiment,
    shipped,
)
from stability.experiment.reading import cut
from stability.experiment.work import BROKEN, DIED, REFUSED
from stability.grid import Grid

FAILED, INTERRUPTED = 1, 130
SHOWN_ERRORS = 5

Named = Annotated[
    str, typer.Argument(metavar="FILE_OR_NAME", help="a .toml file or an experiment that ships (see list)")
]

app = typer.Typer(
    name="experiment",
    help="Measure a whole grid of cells into a store, and go on where it was stopped.",
    no_args_is_help=True,
)


@app.command("list")
def list_command(json_output: options.Json = False) -> None:
    """List the experiments that ship with the package."""
    found = [load_experiment(name) for name in shipped()]
    if json_output:
        options.print_json(
            [{"name": each.name, "cells": each.size, "description": each.description} for each in found]
        )
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment", no_wrap=True)
    table.add_column("cells", justify="right", no_wrap=True)
    table.add_column("what it measures")
    for each in found:
        table.add_row(each.name, f"{each.size:,}", plain(each.description))
    console_of(sys.stdout).print(table)


@app.command("show")
def show_command(
    name: Named,
    toml: Annotated[
        bool, typer.Option("--toml", help="print its TOML: the start of one of your own")
    ] = False,
) -> None:
    """Show what an experiment measures; any mistake in a file of yours is reported."""
    experiment = load_experiment(name)
    if toml:
        typer.echo(experiment.text, nl=False)
        return
    console = console_of(sys.stdout)
    line = f"{experiment.name}: {experiment.size:,} cells. {plain(experiment.description)}"
    console.print(line, markup=False, soft_wrap=True)
    for grid in experiment.grids:
        table = Table(box=None, pad_edge=False, show_header=False)
        for role, values in _axes(grid).items():
            table.add_row(role, plain(", ".join(values)))
        console.print()
        console.print(table)
    limits = limits_text(experiment.thresholds)
    if limits:
        console.print(f"\ndrifted: {limits}", markup=False)


@app.command("run")
def run_command(
    name: Named,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="STORE", help="folder of the store")],
    jobs: Annotated[int | None, typer.Option("--jobs", help="processes (default: one per core)")] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="compute cells again that failed unexpectedly")
    ] = False,
) -> None:
    """Run an experiment into a store; the same command again goes on where it was stopped.

    Every finished cell is a file of its own and is kept, whatever happens.  Several
    processes may work on one store.  Exit status: 1 if cells failed unexpectedly.
    """
    experiment = load_experiment(name)
    start = time.monotonic()
    try:
        with progress_on(console_of(sys.stderr)) as report:
            outcome = run_experiment(experiment, output, jobs=jobs, retry=retry, progress=report)
    except KeyboardInterrupt as stop:
        kept = f"{stop.kept} of {stop.total} cells are kept; " if isinstance(stop, Interrupted) else ""
        again = shlex.join(["lsrl", "experiment", "run", name, "-o", str(output)])
        typer.echo(f"interrupted: {kept}to go on: {plain(again)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    _summarise(experiment, outcome, output, time.monotonic() - start)


def _summarise(experiment: Experiment, outcome: Outcome, store: Path, seconds: float) -> None:
    console = console_of(sys.stdout)

    def tell(line: str) -> None:
        console.print(plain(line), markup=False, highlight=False, soft_wrap=True)

    for problem in outcome.damaged:
        typer.echo(f"computed again: {plain(problem)}", err=True)
    tell(f"{experiment.name}: {len(outcome.cells):,} cells, {outcome.found:,} of them finished before; "
         f"{seconds:.0f} s")  # fmt: skip
    rows, noisy = (
        read(store, only=outcome.cells, complain=lambda line: typer.echo(plain(line), err=True))
        for read in (read_store, read_noise)
    )
    cells = pd.concat(
        [frame.drop_duplicates("cell")[["cell", "failure", "error"]] for frame in (rows, noisy)]
    )
    for kind, said in ((REFUSED, "refused"), (BROKEN, "failed unexpectedly"), (DIED, "died")):
        failing = cells[cells["failure"] == kind]
        if not failing.empty:
            tell(f"{said}: {len(failing):,} cells")
        for error, count in failing["error"].value_counts().head(SHOWN_ERRORS).items():
            tell(f"  {count:,} × {cut(str(error))}")
    limits = limits_text(experiment.thresholds)
    if limits:
        beyond = rows.loc[experiment.thresholds.beyond(rows), "cell"].nunique()
        tell(f"drifted: {beyond:,} cells ({limits})")
    if len(noisy):
        wrong = int(noisy["horizon"].notna().sum())
        tell(f"with noise: {wrong:,} of {(noisy['error'] == '').sum():,} runs have a wrong token")
    tell(f"{store}  the store: {len(rows) + len(noisy):,} rows")
    broken = int(cells["failure"].isin([BROKEN, DIED]).sum())
    if broken:
        typer.echo(
            f"error: {broken} cells failed unexpectedly (see above; --retry computes them again)", err=True
        )
        raise typer.Exit(FAILED)


def _axes(grid: Grid) -> dict[str, list[str]]:
    """The axes of a grid as they are printed."""
    engine = grid.engine or "native, or mpmath for its formats"
    return {
        "programs": [f"{each.name} {each.parameter_text}".strip() for each in grid.subjects],
        "configurations": [title for title, _ in grid.configs],
        "conditionals": list(grid.conditionals) or ["each target's own, and optimized as a control"],
        "targets": [*grid.targets],
        "activation": list(grid.activations),
        "formats": [fmt.name for fmt in grid.formats],
        "order": list(grid.orders),
        "lengths": [f"{length:,}" for length in grid.lengths],
        "seeds": _ranges(grid.seeds),
        **_noise(grid),
        "states": ["which drifts first" if grid.states else "not asked"],
        "engine": [engine],
        "cells": [f"{grid.size:,}"],
    }


def _noise(grid: Grid) -> dict[str, list[str]]:
    if not grid.noise:
        return {}
    kinds = dict.fromkeys(f"{each.kind} on {' and '.join(each.include)}" for each in grid.noise)
    return {
        "noise": [" or ".join(kinds)],
        "σ": list(dict.fromkeys(sigma_text(each.sigma) for each in grid.noise)),
        "before a step": list(dict.fromkeys(f"{each.states} states" for each in grid.noise)),
    }


def _ranges(numbers: tuple[int, ...]) -> list[str]:
    """``0 to 4`` for a run of numbers."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))):
        return [f"{numbers[0]} to {numbers[-1]}"]
    return [str(number) for number in numbers]
