"""Judging a kept case again: whether its property holds, or its drift is what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from stability.corpus.drifting import Drift, drift_of
from stability.corpus.entry import Entry
from stability.corpus.properties import PROPERTIES, DiscardError, judge

ERROR, FIRST_WRONG, RUNS = "relative_error", "first_wrong_step", "runs"
BIT = 2
"""An error that is so many times larger has lost one bit."""
HOLDS = "it has to hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not as it was, or not as it has to be.

    Attributes:
        measure: a property, ``relative_error``, ``first_wrong_step``, or ``runs`` for a case that
            cannot be run any more.
        rule: what may be.
        old: as it was kept, for a message.
        new: as it is now.
        worse: whether the rule is broken; else it became better.
    """

    measure: str
    rule: str
    old: str
    new: str
    worse: bool


def replay(entry: Entry) -> tuple[Difference, ...]:
    """Judge a kept case.

    A property has to hold.  A drift may not become worse: an error of more than twice the one that
    was kept has lost a bit, and the first wrong step may not come earlier.

    Returns:
        What differs, worse or clearly better; nothing where all is as it was or has to be.
    """
    if entry.drift is None:
        said = _judged(entry)
        return () if said is None else (_worse(entry.prop, HOLDS, "holds", said),)
    try:
        seen = drift_of(entry.case)
        problem = "it is refused"
    except Exception as failure:  # noqa: BLE001 -- whatever stops it now did not when it was kept
        seen, problem = None, f"{type(failure).__name__}: {failure}"
    if seen is None:
        return (_worse(RUNS, "it has to run", "yes", problem),)
    return tuple(each for each in (_error(entry.drift, seen), _first_wrong(entry.drift, seen)) if each)


def _judged(entry: Entry) -> str | None:
    try:
        return judge(PROPERTIES[entry.prop], entry.case)
    except DiscardError:
        return "it says nothing any more: it is refused"


def _worse(measure: str, rule: str, old: str, new: str) -> Difference:
    return Difference(measure=measure, rule=rule, old=old, new=new, worse=True)


def _error(old: Drift, new: Drift) -> Difference | None:
    worse = new.error > BIT * old.error
    if not worse and old.error <= BIT * new.error:
        return None
    shown = (f"{each.error:.6g}" for each in (old, new))
    return Difference(
        measure=ERROR, rule="no more than one bit worse", old=next(shown), new=next(shown), worse=worse
    )


def _first_wrong(old: Drift, new: Drift) -> Difference | None:
    if old.horizon == new.horizon:
        return None
    worse = new.horizon is not None and (old.horizon is None or new.horizon < old.horizon)
    return Difference(
        measure=FIRST_WRONG, rule="never earlier", old=step_text(old.horizon), new=step_text(new.horizon),
        worse=worse,
    )  # fmt: skip


def step_text(horizon: int | None) -> str:
    """A first wrong step, for a message."""
    return "none" if horizon is None else f"step {horizon:,}"
