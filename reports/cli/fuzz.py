"""``lsrl fuzz``: random programs against the properties that must hold for all of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from compiler.compiling import TARGET_NAMES
from compiler.errors import ConfigError
from compiler.text import unparse
from reports.cli import options
from reports.text import plain
from stability.corpus import (
    DRIFT,
    PROPERTIES,
    Case,
    Drift,
    Entry,
    drift_of,
    entries,
    keep,
    read_entry,
    replay,
)
from stability.corpus.replaying import step_text
from stability.policy import parse_policy

if TYPE_CHECKING:
    from stability.fuzz import Finding

FOUND = 1
USUAL = 200
ENDLESS = 10**9


def fuzz_command(
    profile: Annotated[str, typer.Option("--profile", help="kind of programs; all: every kind")] = "all",
    prop: Annotated[
        list[str] | None, typer.Option("--property", help="what must hold (repeatable; default: all)")
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples",
            min=1,
            help=f"cases per profile and property (default: {USUAL}, or all that --time allows)",
        ),
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="of all cases (default: random)")] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="P", help="of all cases (default: random)")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed draws the same cases")] = 0,
    seconds: Annotated[
        float | None, typer.Option("--time", min=1, help="stop drawing after so many seconds, shared fairly")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", metavar="DIR", help="keep what is found in this folder")
    ] = None,
    replay_place: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE|DIR", help="judge kept cases, draw none")
    ] = None,
    drift: Annotated[
        bool, typer.Option("--drift", help="hunt for the largest error and the earliest wrong step")
    ] = False,
) -> None:
    """Hunt for programs that break a property; what is found is shrunk and printed with its replay."""
    if replay_place is not None:
        _replay(replay_place)
        return
    _need_hypothesis()
    from stability.fuzz import PROFILES  # noqa: PLC0415 -- hypothesis is an optional extra

    if target is not None:
        _known("target", target, TARGET_NAMES)
    if policy is not None:
        parse_policy(policy)
    draw = _Draw(
        profiles=list(PROFILES) if profile == "all" else [_known("profile", profile, PROFILES)],
        examples=examples or (USUAL if seconds is None else ENDLESS),
        seed=seed, seconds=seconds, corpus=corpus, target=target, policy=policy,
    )  # fmt: skip
    names = [_known("property", name, PROPERTIES) for name in prop or PROPERTIES]
    if corpus is not None:
        options.writable_folder(corpus)
    if drift:
        _drift(draw)
        return
    _hunt(draw, names)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    """The options that say what is drawn, and where what is found is kept."""

    profiles: Sequence[str]
    examples: int
    seed: int
    seconds: float | None
    corpus: Path | None
    target: str | None
    policy: str | None


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


@dataclass(slots=True)
class _Tally:
    """What was done for one property."""

    judged: int = 0
    discarded: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.judged / max(self.seconds, 1e-9)
        took = f"{self.seconds:.1f} s ({rate:.3g} a second)"
        return f"{self.judged:,} cases in {took}, {self.discarded:,} discarded"


def _hunt(draw: _Draw, names: Sequence[str]) -> None:
    from stability.fuzz import hunt  # noqa: PLC0415 -- as above

    until = float("inf") if draw.seconds is None else time.monotonic() + draw.seconds
    tallies = {name: _Tally() for name in names}
    found: list[tuple[Finding, Path]] = []
    pairs = [(kind, name) for kind in draw.profiles for name in names]
    total = len(pairs) * draw.examples if draw.examples < ENDLESS else None
    with _bar(total) as (bar, task):
        for place, (kind, name) in enumerate(pairs):
            bar.update(task, description=f"{kind}, {name}")
            before = bar.tasks[task].completed

            def drawn(count: int, before: float = before) -> None:
                bar.update(task, completed=before + count)

            done = hunt(
                PROPERTIES[name], kind, examples=draw.examples, random_seed=draw.seed,
                seconds=max(0.0, until - time.monotonic()) / (len(pairs) - place), progress=drawn,
                target=draw.target, policy=draw.policy,
            )  # fmt: skip
            if total is not None:
                bar.update(task, completed=before + draw.examples)
            tally = tallies[name]
            tally.judged += done.examples
            tally.discarded += done.discarded
            tally.seconds += done.seconds
            if done.finding is not None:
                found.append((done.finding, _kept(done.finding, draw.corpus)))
    for name, tally in tallies.items():
        typer.echo(f"{name}: {tally}")
    judged, took = (sum(getattr(each, of) for each in tallies.values()) for of in ("judged", "seconds"))
    typer.echo(f"{judged:,} cases judged in {took:.1f} s, {len(found)} found")
    for finding, path in found:
        _tell(finding, path)
    if found:
        raise typer.Exit(FOUND)


@contextlib.contextmanager
def _bar(total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on stderr, and its task."""
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with progress:
        yield progress, progress.add_task("", total=total)


def _kept(finding: Finding, corpus: Path | None) -> Path:
    """The file of a finding, written as soon as it is found."""
    entry = Entry(prop=finding.prop, case=finding.case, message=finding.message)
    return keep(entry, corpus if corpus is not None else Path())


def _tell(finding: Finding, place: Path) -> None:
    """A finding as LSRL text, with the way to see it again."""
    typer.echo(f"\n{finding.prop}: {plain(finding.message)}", err=True)
    _show(finding.case)
    typer.echo(f"again: lsrl fuzz --replay {plain(str(place))}", err=True)


def _show(case: Case) -> None:
    typer.echo(plain(unparse(case.program)), err=True)
    tokens = "; ".join(",".join(str(value) for value in token) for token in case.tokens)
    typer.echo(f"target {case.target}, policy {case.policy}, tokens {tokens}", err=True)


def _replay(place: Path) -> None:
    """Judge kept cases: a line for each, and for what differs."""
    found = list(entries(place)) if place.is_dir() else [(place, read_entry(place))]
    if not found:
        raise ConfigError.single(
            f"{place} holds no case", hint="a folder that lsrl fuzz --corpus has written"
        )
    broken = 0
    for path, entry in found:
        told = replay(entry)
        worse = [each for each in told if each.worse]
        said = "; ".join(f"{each.measure} {each.old} → {each.new}, rule: {each.rule}" for each in told)
        word = "worse: " if worse else "better: " if told else ""
        typer.echo(f"{plain(str(path))}: {word}{plain(said or _holds(entry))}")
        broken += bool(worse)
    if broken:
        raise typer.Exit(FOUND)


def _holds(entry: Entry) -> str:
    return "holds" if entry.drift is None else f"as it was: {_shown(entry.drift)}"


def _shown(drift: Drift) -> str:
    return f"relative error {drift.error:.3g}, first wrong: {step_text(drift.horizon)}"


def _drift(draw: _Draw) -> None:
    from stability.fuzz import steer  # noqa: PLC0415 -- as above

    def measure(case: Case) -> float | None:
        seen = drift_of(case)
        return None if seen is None else seen.badness

    share = float("inf") if draw.seconds is None else draw.seconds / len(draw.profiles)
    for kind in draw.profiles:
        found = steer(
            kind, measure, examples=draw.examples, random_seed=draw.seed, seconds=share, target=draw.target,
            policy=draw.policy,
        )  # fmt: skip
        if found is None:
            typer.echo(f"{kind}: nothing to measure")
            continue
        case, _ = found
        seen = drift_of(case)
        assert seen is not None
        said = (
            f"{_shown(seen)} of {len(case.tokens)} on {case.target} in {case.policy}, "
            f"{len(case.program.nodes)} nodes"
        )
        typer.echo(f"{kind}: {said}")
        if draw.corpus is not None:
            place = keep(Entry(prop=DRIFT, case=case, message=said, drift=seen), draw.corpus)
            typer.echo(f"  kept as {plain(str(place))}")
