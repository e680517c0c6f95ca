"""How an error grows with the number of tokens: by which law, and how surely.

An error may not grow (``bounded``), or grow like √n, like n, like another power of n, or
like e^(rn); n counts the tokens since the first error.  A series is cut into pieces of time,
half an octave long or shorter, each with the root mean square of its errors.  Three
hypotheses about its logarithm y are compared:

=========================  ==========================================================
hypothesis                 y
=========================  ==========================================================
the error is bounded       constant; or a + p·ln n or a + r·n up to a step, constant after
it grows by a power        a + p·ln n, over a constant floor or not
it grows exponentially     a + r·n, over a constant floor or not
=========================  ==========================================================

Where a floor ends and a plateau begins is searched for, and the search is paid for in the
comparison, which is by BIC: a hypothesis within :data:`TENABLE` of the best remains tenable.
Fits are generalised least squares.  The covariance is one of a list - independent pieces,
variances that fall with the number of samples, correlations that fade with the distance in
ln n as those of a random walk do, with and without independent noise - and all whose
restricted likelihood comes near the best are kept: an interval is the hull of theirs.

Intervals are 95 % bootstrap intervals: over whole series where there are at least
:data:`~stability.growth_fits.SEEDS` of them, else over decorrelated residuals.  A power stands
for the law whose exponent its interval reaches (:data:`TOLERANCE` is added to both ends), or for
``power`` if it reaches none that has a name.  An interval that reaches two or is wider than
:data:`WIDEST`, tenable hypotheses that stand for different laws, and a slope that is another
in the last two octaves make the answer ``inconclusive``.  A plateau counts as one only if it
begins in the first 1/:data:`PLATEAU` of the tokens and its own slope is shown to be none.

No error grows beyond the range of the values.  Where their size is given (``ceiling``), a
series is cut where it first reaches :data:`SATURATION` of it, or is not finite: the law is
that of the part before, and ``saturated`` says where that ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from stability.growth_fits import (
    Covariance,
    Fit,
    Floats,
    Pieces,
    constant_bic,
    covariances,
    cut,
    fit,
    slope,
)

Law = Literal["exact", "bounded", "sqrt", "linear", "power", "exponential", "inconclusive"]
Estimate = tuple[float, float, float]
"""A value and the ends of its 95 % interval."""

NAMED: dict[Law, float] = {"bounded": 0.0, "sqrt": 0.5, "linear": 1.0}
TOLERANCE = 0.1
WIDEST = 1.0
TENABLE = 6.0
PLATEAU = 4.0
SATURATION = 0.25
FEWEST_PIECES = 8
SHORTEST = 16.0
"""An error that is known over less than this factor of time has no law."""
LEAST_RISE = math.log(4)
"""A growth that may be none, and is by less than this factor if it is one, is taken for none."""
POWER_BENDS = (0.5, 1.0, 2.0, 4.0)
RATE_BENDS = (5.0, 10.0, 20.0, 40.0)
"""How sharply a law leaves its floor: per unit of ln n, and per length of the series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The law of an error series.

    Attributes:
        law: ``exact`` (no error at all), ``bounded``, ``sqrt``, ``linear``, ``power``,
            ``exponential`` or ``inconclusive``.
        estimate: the exponent of n; for ``exponential`` the rate r per token; nan where none
            was fitted.
        low: lower end of its 95 % interval; ``high``: the upper end.
        onset: the first step with an error, if any.
        plateau: the step since which a bounded error is constant, if it grew before.
        saturated: the step at which the error reached the size of the values or stopped
            being finite; only what lies before was judged.
        points: pieces of time that were fitted.
        reason: why it is inconclusive; else empty.
    """

    law: Law
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    onset: int | None = None
    plateau: int | None = None
    saturated: int | None = None
    points: int = 0
    reason: str = ""

    @property
    def text(self) -> str:
        """``linear (exponent 1.02, 95 % interval 0.97 to 1.06)``, or why it is inconclusive."""
        if self.law == "exact":
            return "no error"
        if self.law == "inconclusive":
            return f"inconclusive ({self.reason})"
        what = "rate" if self.law == "exponential" else "exponent"
        parts = [f"{what} {self.estimate:.3g}, 95 % interval {self.low:.3g} to {self.high:.3g}"]
        if self.plateau is not None:
            parts = [f"constant since step {self.plateau:,}"]
        if self.saturated is not None:
            parts.append(f"up to step {self.saturated:,}, where it has the size of the values")
        return f"{self.law} ({', '.join(parts)})"


def growth_law(
    steps: npt.ArrayLike,
    errors: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    ceiling: float | None = None,
) -> Growth:
    """The law by which the errors of a series, or of several under one law, grow.

    Args:
        steps: (T,) steps from 0, ascending; all of them or a sample.
        errors: (T,), or (S, T) for S seeds: absolute errors in any unit; inf and nan as they come.
        generator: draws the bootstrap samples.
        ceiling: the largest size of the values, in the unit of the errors; default: unknown.
    """
    when = np.asarray(steps, dtype=np.float64)
    sizes = np.abs(np.atleast_2d(np.asarray(errors, dtype=np.float64)))
    assert sizes.shape[1] == len(when), "an error for every step"
    limit = math.inf if ceiling is None or not ceiling > 0 else SATURATION * ceiling
    over = ~(np.where(np.isnan(sizes), np.inf, sizes) < limit).all(axis=0)
    saturated = int(when[int(np.argmax(over))]) if over.any() else None
    end = int(np.argmax(over)) if over.any() else len(when)
    wrong = (sizes[:, :end] > 0).any(axis=0)
    if not wrong.any():
        if saturated is None:
            return Growth(law="exact")
        reason = f"none before step {saturated:,}, where it has the size of the values"
        return Growth(law="inconclusive", onset=saturated, saturated=saturated, reason=reason)
    first = int(np.argmax(wrong))
    onset = int(when[first])
    # between two samples nobody knows where the first error was: half-way
    before = 0.0 if first == 0 else (when[first - 1] + 1 + when[first]) / 2
    found = _judge(cut(when[first:end] + 1 - before, sizes[:, first:end]), generator)
    plateau = None if found.plateau is None else int(found.plateau + before)
    return replace(found, onset=onset, plateau=plateau, saturated=saturated)


def growth_of(
    rows: pd.DataFrame,
    *,
    generator: np.random.Generator,
    error: str = "abs_error",
    value: str = "reference_value",
    series: str = "seed",
) -> Growth:
    """The law of the rows of one cell, or of one cell run with several seeds.

    Args:
        rows: sampled steps, as in a drift frame; where several series share the rows, those
            steps count that all of them have.
        generator: draws the bootstrap samples.
        error: the column of errors.
        value: the column of true values, whose largest is the ceiling (an error in ulps or
            bits has none: name no column).
        series: the column that tells one series from another.
    """
    known = rows[rows["step"].notna()]
    if known.empty:
        return Growth(law="inconclusive", reason="nothing was run")
    table = known.pivot_table(index=series, columns="step", values=error, aggfunc="first", dropna=False)
    complete = known.groupby("step")[series].nunique() == table.shape[0]
    table = table.loc[:, complete.reindex(table.columns, fill_value=False).to_numpy()]
    ceiling = float(known[value].abs().max()) if value else None
    steps = table.columns.to_numpy(dtype=np.float64)
    return growth_law(steps, table.to_numpy(dtype=np.float64), generator=generator, ceiling=ceiling)


def _judge(pieces: Pieces | None, generator: np.random.Generator) -> Growth:
    """The law of errors from the first on; ``plateau`` counts from there."""
    if pieces is None:
        return Growth(law="inconclusive", reason="the error is zero most of the time")
    count = len(pieces.level)
    if count < FEWEST_PIECES or pieces.tokens[-1] < SHORTEST * pieces.tokens[0]:
        return Growth(law="inconclusive", points=count, reason="too few steps with an error")
    known = covariances(pieces)
    flat, plateau = _bounded(pieces, known, generator)
    power = _rising(pieces.time, POWER_BENDS, pieces, known)
    rate = _rising(pieces.tokens / pieces.tokens[-1], RATE_BENDS, pieces, known)
    limit = min(flat, power.bic, rate.bic) + TENABLE
    exponent, speed = slope(power, pieces, generator), slope(rate, pieces, generator)
    tenable: list[Law] = ["bounded"] if flat <= limit else []
    tenable += _laws_of_power(exponent, float(np.ptp(power.column))) if power.bic <= limit else []
    tenable += _laws_of_rate(speed, float(np.ptp(rate.column))) if rate.bic <= limit else []
    laws = list(dict.fromkeys(tenable))
    if laws == ["bounded"]:
        whole = slope(fit(pieces.time[None], pieces.level, known), pieces, generator)
        return replace(_told("bounded", whole, count), plateau=plateau)
    if laws == ["exponential"]:
        changed = _changed(rate, speed, pieces, generator)
        last = pieces.tokens[-1]
        found = _told("exponential", (speed[0] / last, speed[1] / last, speed[2] / last), count)
    elif len(laws) == 1 and laws != ["inconclusive"]:
        changed = _changed(power, exponent, pieces, generator)
        found = _told(laws[0], exponent, count)
    else:
        found, changed = _told("inconclusive", exponent, count), _between(laws, exponent)
    return replace(found, law="inconclusive", reason=changed) if changed else found


def _between(laws: Sequence[Law], exponent: Estimate) -> str:
    if len(laws) == 1:
        return f"an exponent from {exponent[1]:.2g} to {exponent[2]:.2g}"
    return " or ".join("another law" if law == "inconclusive" else law for law in laws)


def _told(law: Law, estimate: Estimate, points: int) -> Growth:
    return Growth(law=law, estimate=estimate[0], low=estimate[1], high=estimate[2], points=points)


def _bounded(
    pieces: Pieces, known: Sequence[Covariance], generator: np.random.Generator
) -> tuple[float, int | None]:
    """The best BIC of a bounded error, and the tokens after which its plateau begins."""
    best, since = constant_bic(pieces.level, known), None
    last = pieces.tokens[-1]
    ends = [i for i in range(2, len(pieces.level) - 5) if pieces.tokens[i] * PLATEAU <= last]
    if not ends:
        return best, None
    for time in (pieces.time, pieces.tokens / last):
        columns = np.stack([np.minimum(time, time[i]) for i in ends])
        found = fit(columns, pieces.level, known, np.ones(len(ends)))
        start = ends[found.chosen]
        if found.bic < best and _is_flat(pieces.since(start + 1), generator):
            best, since = found.bic, int(pieces.tokens[start])
    return best, since


def _is_flat(pieces: Pieces, generator: np.random.Generator) -> bool:
    line = fit(pieces.time[None], pieces.level, covariances(pieces))
    return list(_laws_of_power(slope(line, pieces, generator))) == ["bounded"]


def _rising(time: Floats, bends: Sequence[float], pieces: Pieces, known: Sequence[Covariance]) -> Fit:
    """The best line over ``time``, or over a time that begins to pass at some piece.

    Squares of a floor and of a power q add up: √(f² + n^2q) is the smooth maximum of both.
    """
    floors = range(2, len(time) - 5)
    columns = [time]
    columns += [np.logaddexp(2 * q * time, 2 * q * time[i]) / (2 * q) for q in bends for i in floors]
    return fit(np.stack(columns), pieces.level, known, np.array([0.0] + [1.0] * (len(columns) - 1)))


def _changed(line: Fit, whole: Estimate, pieces: Pieces, generator: np.random.Generator) -> str:
    """How the slope of the last two octaves differs from that of all; empty where it does not."""
    start = int(np.searchsorted(pieces.tokens, pieces.tokens[-1] / PLATEAU))
    start = min(start, len(pieces.tokens) - FEWEST_PIECES + 2)
    part, column = pieces.since(start), line.column[None, start:]
    if not np.ptp(column):
        return ""
    late = slope(fit(column, part.level, covariances(part)), part, generator)
    slack = TOLERANCE * max(1.0, whole[0])
    if late[1] <= whole[2] + slack and late[2] >= whole[1] - slack:
        return ""
    return f"the law changes: {late[0] / whole[0]:.2g} times the slope in the last two octaves"


def _laws_of_power(exponent: Estimate, span: float = math.inf) -> Iterator[Law]:
    """What an exponent's interval stands for, over ``span`` of ln n."""
    _, low, high = exponent
    reached: list[Law] = [law for law, value in NAMED.items() if low - TOLERANCE <= value <= high + TOLERANCE]
    if high < TOLERANCE or (low <= TOLERANCE and high * span < LEAST_RISE):
        yield "bounded"
    elif high - low > WIDEST:
        yield from (*reached, "inconclusive")
    else:
        yield from reached or ["power"]


def _laws_of_rate(speed: Estimate, span: float) -> Iterator[Law]:
    """What the interval of a rate stands for, over ``span`` of its units of time."""
    estimate, low, high = speed
    if high * span >= LEAST_RISE:
        yield "exponential"
    if low <= 0 or estimate * span < LEAST_RISE:
        yield "bounded"
