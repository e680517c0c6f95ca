"""``lsrl fuzz``: random programs against the properties that must hold for all of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from compiler.errors import ConfigError
from reports.cli import options
from reports.text import plain

if TYPE_CHECKING:
    from stability.fuzz import Case, Entry, Finding

FOUND = 1


def fuzz_command(
    profile: Annotated[str, typer.Option("--profile", help="kind of programs; all: every kind")] = "all",
    prop: Annotated[
        list[str] | None, typer.Option("--property", help="what must hold (repeatable; default: all)")
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=1, help="cases per profile and property")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed draws the same cases")] = 0,
    seconds: Annotated[
        float | None, typer.Option("--time", min=1, help="stop drawing after so many seconds")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", metavar="DIR", help="keep what is found in this folder")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE|DIR", help="judge kept cases, draw none")
    ] = None,
    drift: Annotated[
        bool, typer.Option("--drift", help="hunt for the largest error and the earliest wrong step")
    ] = False,
) -> None:
    """Hunt for programs that break a property; what is found is shrunk and printed with its replay."""
    _need_hypothesis()
    from stability.fuzz import PROFILES, PROPERTIES  # noqa: PLC0415 -- hypothesis is an optional extra

    if replay is not None:
        _replay(replay)
        return
    profiles = list(PROFILES) if profile == "all" else [_known("profile", profile, PROFILES)]
    names = [_known("property", name, PROPERTIES) for name in prop or PROPERTIES]
    if corpus is not None:
        options.writable_folder(corpus)
    if drift:
        _drift(profiles, examples, seed, seconds, corpus)
        return
    _hunt(profiles, names, examples, seed, seconds, corpus)


def _need_hypothesis() -> None:
    try:
        import hypothesis  # noqa: F401, PLC0415 -- optional
    except ImportError:
        raise ConfigError.single(
            "the package hypothesis is not installed", hint="pip install 'lsrl-stability[fuzz]'"
        ) from None


def _known(role: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    if name not in names:
        raise ConfigError.single(f"unknown {role} {name!r}", hint="one of " + ", ".join(names))
    return name


def _hunt(
    profiles: Sequence[str],
    names: Sequence[str],
    examples: int,
    seed: int,
    seconds: float | None,
    corpus: Path | None,
) -> None:
    from stability.fuzz import PROPERTIES, hunt  # noqa: PLC0415 -- as above

    start, judged, discarded = time.monotonic(), 0, 0
    until = float("inf") if seconds is None else start + seconds
    findings: list[Finding] = []
    with _bar(len(profiles) * len(names) * examples) as (bar, task):
        for kind in profiles:
            for name in names:
                bar.update(task, description=f"{kind}, {name}")
                before = bar.tasks[task].completed

                def drawn(count: int, before: float = before) -> None:
                    bar.update(task, completed=before + count)

                done = hunt(
                    PROPERTIES[name], kind, examples=examples, random_seed=seed,
                    seconds=max(0.0, until - time.monotonic()), progress=drawn,
                )  # fmt: skip
                bar.update(task, completed=before + examples)
                judged, discarded = judged + done.examples, discarded + done.discarded
                if done.finding is not None:
                    findings.append(done.finding)
    took = time.monotonic() - start
    typer.echo(
        f"{judged:,} cases judged in {took:.1f} s ({judged / max(took, 1e-9):.0f} a second), "
        f"{discarded:,} discarded, {len(findings)} found"
    )
    for finding in findings:
        _tell(finding, corpus)
    if findings:
        raise typer.Exit(FOUND)


@contextlib.contextmanager
def _bar(total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on stderr, and its task."""
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with progress:
        yield progress, progress.add_task("", total=total)


def _tell(finding: Finding, corpus: Path | None) -> None:
    """A finding as LSRL text, with the way to see it again."""
    from stability.fuzz import Entry, keep  # noqa: PLC0415 -- as above

    entry = Entry(prop=finding.prop, case=finding.case, message=finding.message)
    place = keep(entry, corpus if corpus is not None else Path())
    typer.echo(f"\n{finding.prop}: {plain(finding.message)}", err=True)
    _show(finding.case)
    typer.echo(f"again: lsrl fuzz --replay {plain(str(place))}", err=True)


def _show(case: Case) -> None:
    from compiler.text import unparse  # noqa: PLC0415 -- with hypothesis only

    typer.echo(plain(unparse(case.program)), err=True)
    tokens = "; ".join(",".join(str(value) for value in token) for token in case.tokens)
    typer.echo(f"target {case.target}, policy {case.policy}, tokens {tokens}", err=True)


def _replay(place: Path) -> None:
    from stability.fuzz import entries, read_entry  # noqa: PLC0415 -- as above

    found = list(entries(place)) if place.is_dir() else [(place, read_entry(place))]
    if not found:
        raise ConfigError.single(
            f"{place} holds no case", hint="a folder that lsrl fuzz --corpus has written"
        )
    broken = 0
    for path, entry in found:
        verdict = _judged(entry)
        typer.echo(f"{plain(str(path))}: {plain(verdict or 'holds')}")
        broken += verdict is not None
    if broken:
        raise typer.Exit(FOUND)


def _judged(entry: Entry) -> str | None:
    """What is wrong with a kept case now; a drift case is shown and always holds."""
    from stability.fuzz import PROPERTIES, drift_of, judge  # noqa: PLC0415 -- as above
    from stability.fuzz.properties import DiscardError  # noqa: PLC0415 -- as above

    if entry.prop not in PROPERTIES:
        seen = drift_of(entry.case)
        if seen is not None:
            typer.echo(f"relative error {seen.error:.3g}, first wrong step {_step(seen.horizon)}; ", nl=False)
        return None
    try:
        return judge(PROPERTIES[entry.prop], entry.case)
    except DiscardError:
        return "no longer says anything: it is refused"


def _step(horizon: int | None) -> str:
    return "none" if horizon is None else str(horizon)


def _drift(
    profiles: Sequence[str], examples: int, seed: int, seconds: float | None, corpus: Path | None
) -> None:
    from stability.fuzz import Entry, drift_of, keep, steer  # noqa: PLC0415 -- as above
    from stability.fuzz.corpus import DRIFT  # noqa: PLC0415 -- as above

    def measure(case: Case) -> float | None:
        seen = drift_of(case)
        return None if seen is None else seen.badness

    share = float("inf") if seconds is None else seconds / len(profiles)
    for kind in profiles:
        found = steer(kind, measure, examples=examples, random_seed=seed, seconds=share)
        if found is None:
            typer.echo(f"{kind}: nothing to measure")
            continue
        case, _ = found
        seen = drift_of(case)
        assert seen is not None
        said = (
            f"relative error {seen.error:.3g} on {case.target} in {case.policy}, first wrong step "
            f"{_step(seen.horizon)} of {seen.length}, {len(case.program.nodes)} nodes"
        )
        typer.echo(f"{kind}: {said}")
        if corpus is not None:
            typer.echo(f"  kept as {keep(Entry(prop=DRIFT, case=case, message=said), corpus)}")
