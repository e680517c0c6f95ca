"""Looking for a case that breaks a property, and making it small."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis import target as aim

from stability.corpus.case import Case
from stability.corpus.properties import DiscardError, Property, judge
from stability.fuzz.cases import cases
from stability.fuzz.shrinking import shrink

BATCH = 100
"""Examples of one seed; between two of them the clock is asked."""
PHASES = (Phase.generate, Phase.target, Phase.shrink)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A case that breaks a property, as small as it could be made."""

    prop: str
    case: Case
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """What a hunt did.

    Attributes:
        examples: cases that were judged.
        discarded: cases that said nothing about the property.
        seconds: wall-clock time.
        finding: what it found, or None.
    """

    examples: int
    discarded: int
    seconds: float
    finding: Finding | None


class _BrokenError(Exception):
    """Raised inside a test, so that Hypothesis shrinks the case."""


class _LateError(BaseException):
    """Raised inside a test when its time is up: Hypothesis lets it pass, and draws no more."""


class _Tally:
    """What the examples of a hunt have shown so far."""

    def __init__(self, prop: Property, until: float) -> None:
        self.prop, self.until = prop, until
        self.examples = self.discarded = 0
        self.last: Finding | None = None

    @property
    def late(self) -> bool:
        """Whether the time is up; a hunt that has found something may finish."""
        return self.last is None and time.monotonic() > self.until

    def judge(self, case: Case) -> None:
        if self.late:
            raise _LateError
        try:
            message = judge(self.prop, case)
        except DiscardError:
            self.discarded += 1
            return
        self.examples += 1
        if message is not None:
            self.last = Finding(prop=self.prop.name, case=case, message=message)
            raise _BrokenError


def hunt(
    prop: Property,
    profile: str,
    *,
    examples: int = 100,
    random_seed: int = 0,
    seconds: float = float("inf"),
    progress: Callable[[int], None] | None = None,
    target: str | None = None,
    policy: str | None = None,
) -> Hunt:
    """Judge random cases of a profile until one breaks the property; shrink that one.

    Args:
        prop: one of :data:`stability.corpus.properties.PROPERTIES`.
        profile: a name of :data:`stability.fuzz.programs.PROFILES`.
        examples: how many cases, discarded ones included.
        random_seed: the same seed draws the same cases.
        seconds: after which no new case is drawn.
        progress: is told how many cases were drawn so far.
        target: of all cases, in place of random ones.
        policy: of all cases, in place of random ones.

    Raises:
        ConfigError: an unknown profile.
    """
    start = time.monotonic()
    tally = _Tally(prop, start + seconds)
    strategy = cases(profile, least=1, target=target, policy=policy)
    drawn = 0
    while drawn < examples and not tally.late and tally.last is None:
        count = min(BATCH, examples - drawn)
        _batch(strategy, count, random_seed + drawn, tally.judge)
        drawn += count
        if progress is not None:
            progress(drawn)
    return Hunt(
        examples=tally.examples,
        discarded=tally.discarded,
        seconds=time.monotonic() - start,
        finding=tally.last and _shrunk(prop, tally.last),
    )


def _shrunk(prop: Property, finding: Finding) -> Finding:
    """The finding with the nodes taken out that it does not need."""
    messages: dict[Case, str] = {finding.case: finding.message}

    def broken(case: Case) -> bool:
        try:
            message = judge(prop, case)
        except DiscardError:
            return False
        if message is not None:
            messages[case] = message
        return message is not None

    case = shrink(finding.case, broken)
    return Finding(prop=prop.name, case=case, message=messages[case])


def _batch(strategy: st.SearchStrategy[Case], count: int, number: int, check: Callable[[Case], None]) -> None:
    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=PHASES, print_blob=False,
        report_multiple_bugs=False, verbosity=Verbosity.quiet, derandomize=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def test(case: Case) -> None:
        check(case)

    try:
        test()
    except (_BrokenError, _LateError):
        return  # what Hypothesis ran last is the smallest case


def steer(
    profile: str,
    measure: Callable[[Case], float | None],
    *,
    examples: int,
    random_seed: int = 0,
    seconds: float = float("inf"),
    target: str | None = None,
    policy: str | None = None,
) -> tuple[Case, float] | None:
    """The case with the largest measure that directed search finds.

    Args:
        profile: a name of :data:`stability.fuzz.programs.PROFILES`.
        measure: what is to be large; None where a case has no measure.
        examples: how many cases.
        random_seed: of the search.
        seconds: after which no new case is measured.
        target: of all cases, in place of random ones.
        policy: of all cases, in place of random ones.

    Returns:
        The case, without the nodes that its measure does not need, and its measure; None where no
        case has one.
    """
    until = time.monotonic() + seconds
    best: list[tuple[float, Case]] = []

    def check(case: Case) -> None:
        if time.monotonic() > until:
            raise _LateError
        found = measure(case)
        if found is None:
            return
        aim(found)
        if not best or found > best[0][0]:
            best[:] = [(found, case)]

    drawn = 0
    while drawn < examples and time.monotonic() < until:
        count = min(10 * BATCH, examples - drawn)
        _batch(cases(profile, least=1, target=target, policy=policy), count, random_seed + drawn, check)
        drawn += count
    return _smallest(best[0][1], measure, best[0][0]) if best else None


def _smallest(case: Case, measure: Callable[[Case], float | None], least: float) -> tuple[Case, float] | None:
    """The smallest program whose measure is no less."""

    def as_bad(each: Case) -> bool:
        found = measure(each)
        return found is not None and found >= least

    small = shrink(case, as_bad, budget=BATCH)
    found = measure(small)
    return None if found is None else (small, found)
