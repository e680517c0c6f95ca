"""``lsrl gate``: nothing gets worse unnoticed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from compiler.errors import ConfigError
from reports.cli import options
from reports.cli.drift import progress_on
from reports.cli.terminal import console_of
from reports.files import beside
from reports.gate_outputs import EXIT, as_json, github_lines, junit, lines, markdown, table
from reports.text import plain
from stability.gate import (
    BaselineError,
    Comparison,
    GateCell,
    GateConfig,
    compare,
    fresh_cells,
    load_gate,
    read_baseline,
    sources,
    with_corpus,
    write_baseline,
)
from stability.gate.blaming import with_first_drifts
from stability.gate.cell import VALUES

NO = {"", "0", "false", "no"}
"""Values of ``CI`` that mean no."""


def gate_command(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="the gate's .toml file")],
    update: Annotated[
        bool, typer.Option("--update", help="accept the fresh run: write the baseline (never in CI)")
    ] = False,
    json_output: options.Json = False,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="F.xml", help="write JUnit XML")
    ] = None,
    github: Annotated[
        bool, typer.Option("--github", help="print GitHub annotations on the lines of the programs")
    ] = False,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", metavar="F.md", help="write Markdown; it is added to $GITHUB_STEP_SUMMARY"),
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="processes (default: one per core)")] = None,
) -> None:
    """Measure an experiment anew and hold it to a baseline, under rules.

    Exit status: 0 pass; 1 regression; 2 a wrong configuration, or a baseline that is missing or
    does not fit; 3 inconclusive: the seeds disagree.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError.single(f"--jobs {jobs}", hint="1 or more")
    if update:
        _refuse_update(junit_file, summary, github=github)
    gate = load_gate(config)
    if update:
        _update(gate, jobs, json_output=json_output)
        return
    baseline = read_baseline(gate.baseline)
    for place in (junit_file, summary):
        if place is not None:
            options.writable_file(place)
    with progress_on(console_of(sys.stderr)) as report:
        fresh = fresh_cells(gate.experiment, jobs=jobs, progress=report)
    comparison = with_first_drifts(compare(gate, baseline, fresh), gate.experiment)
    comparison = with_corpus(comparison, gate.corpus)
    _report(gate, comparison, junit_file, summary, json_output=json_output, github=github)
    raise typer.Exit(EXIT[comparison.outcome])


def _report(
    gate: GateConfig,
    comparison: Comparison,
    junit_file: Path | None,
    summary: Path | None,
    *,
    json_output: bool,
    github: bool,
) -> None:
    where = sources(gate.experiment, gate.corpus)
    if junit_file is not None:
        _write(junit_file, junit(comparison, where))
    if summary is not None:
        _summarise(summary, markdown(comparison, where))
    if github:
        root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
        for line in github_lines(comparison, where, root=root, config=gate.file):
            typer.echo(line, err=json_output)
    if json_output:
        options.print_json(as_json(comparison, where))
        return
    console = console_of(sys.stdout)
    if comparison.changes:
        console.print(table(comparison))
        console.print()
    for line in lines(comparison, where):
        typer.echo(line)


def _write(path: Path, text: str) -> None:
    """A file that is complete or not there."""
    partial = beside(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _summarise(path: Path, text: str) -> None:
    """Other commands of a step write to its summary as well: there, nothing is replaced."""
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if step and Path(step).resolve() == path.resolve():
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
        return
    _write(path, text)


def _refuse_update(junit_file: Path | None, summary: Path | None, *, github: bool) -> None:
    value = os.environ.get("CI", "")
    if value.strip().lower() not in NO:
        raise ConfigError.single(
            f"--update is refused in CI (the environment has CI={plain(value)[:20]})",
            hint="run it where its result is reviewed, and commit the baseline",
        )
    if junit_file is not None or summary is not None or github:
        raise ConfigError.single(
            "--update compares nothing", hint="leave out --junit, --github and --summary"
        )


def _update(gate: GateConfig, jobs: int | None, *, json_output: bool) -> None:
    """Measure, and write the baseline."""
    options.writable_file(gate.baseline)
    with progress_on(console_of(sys.stderr)) as report:
        fresh = fresh_cells(gate.experiment, jobs=jobs, progress=report)
    broken = [cell for cell in fresh if cell.unexpected]
    if broken:
        raise ConfigError.single(
            f"no baseline is written: {len(broken):,} cells failed unexpectedly, the first with: "
            f"{plain(broken[0].error)[:200]}",
            hint="this is a bug, or too little memory",
        )
    try:
        old = read_baseline(gate.baseline)
    except BaselineError:
        old = {}
    write_baseline(gate.baseline, fresh)
    now = {cell.key: cell for cell in fresh}
    counts = {
        "cells": len(now),
        "added": len(now.keys() - old.keys()),
        "removed": len(old.keys() - now.keys()),
        "changed": sum(_differ(old[key], cell) for key, cell in now.items() if key in old),
    }
    if json_output:
        options.print_json({"baseline": str(gate.baseline), **counts})
        return
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    typer.echo(f"{plain(gate.baseline)}  the baseline: {said}")


def _differ(old: GateCell, new: GateCell) -> bool:
    return any(getattr(old, name) != getattr(new, name) for name in VALUES)
