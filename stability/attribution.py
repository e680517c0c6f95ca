"""Which state of a program drifts first, on which line, by which law, and whose fault it is.

A state whose true values lie on a lattice (the integers, mostly) has drifted once its error
is half the spacing: the nearest point of the lattice is another one.  Any other state has
drifted once fewer than half of its format's significant bits are right.  Of a state that
has, the error at that step is taken apart: what the step made by itself, begun in the true
states, is *local*; the rest came with the states of the step before and is *inherited*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from compiler.errors import Span
from stability.growth import Growth, growth_law
from stability.states import StateErrors

COLUMNS = (
    "variable", "file", "line", "column", "components", "component", "first", "before", "error", "size",
    "local", "bits", "law", "estimate", "low", "high", "growth",
)  # fmt: skip
FIRST = {
    "first_state": "str",
    "first_state_place": "str",
    "first_state_step": "Int64",
    "first_state_local": "float64",
    "first_state_law": "str",
}
"""What is told of a whole cell, with pandas types: the state that drifts first; empty where none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableDrift:
    """How one named state of a program drifts.

    Attributes:
        variable: its name, or that of the variable whose source line makes it.
        span: the source place.
        components: how many of its components the model holds.
        component: the one that drifts first (or is the farthest off, if none does).
        first: the first step at which it is known to have drifted, if any.
        before: the last step before that at which it is known not to have; on a sample of steps
            the drift began somewhere between.
        error: the absolute error of that component at ``first``, else the largest one.
        size: the largest true size of that component by then.
        local: the share of ``error`` that the step ``first`` made by itself; nan where unknown.
        bits: significant bits left at the last step, of the worst component.
        growth: the law of the largest error over the components.
    """

    variable: str
    span: Span | None
    components: int
    component: int
    first: int | None
    before: int | None
    error: float
    size: float
    local: float
    bits: float
    growth: Growth

    @property
    def place(self) -> str:
        """``file:line``, or nothing."""
        return f"{self.span.file}:{self.span.line}" if self.span is not None else ""

    @property
    def text(self) -> str:
        """One clause: the variable, its line, its first step and the law of its error."""
        where = f"{self.variable} ({self.place})" if self.place else self.variable
        if self.first is None:
            return f"{where} has not drifted; its error: {self.growth.text}"
        late = f" (sampled; right at {self.before:,})" if _skipped(self.before, self.first) else ""
        origin = "" if math.isnan(self.local) else f", {self.local:.0%} of the error made in that step"
        return f"{where} at step {self.first:,}{late}{origin}; its error: {self.growth.text}"


def _skipped(before: int | None, first: int) -> bool:
    return before is not None and before < first - 1


def drifts(
    errors: StateErrors, *, generator: np.random.Generator, bits: float | None = None
) -> tuple[VariableDrift, ...]:
    """Every named state, the first to drift first.

    Of states that drift at the same step, the one comes first that made the larger share of its
    error there; states that do not drift come last.

    Args:
        errors: from :func:`stability.states.state_errors`.
        generator: for the intervals of the growth laws.
        bits: significant bits below which a state without a lattice has drifted; default: half
            of those of its format.
    """
    gone = _drifted(errors, errors.precision / 2 if bits is None else bits)
    found = [_variable(errors, members, gone, generator) for members in _variables(errors)]
    late = math.inf
    return tuple(
        sorted(
            found,
            key=lambda each: (
                late if each.first is None else each.first,
                0.0 if math.isnan(each.local) else -each.local,
                (each.span is None, each.span or Span(file="", line=0)),
            ),
        )
    )


def drift_table(found: Sequence[VariableDrift]) -> pd.DataFrame:
    """The same as a frame, one row a variable, with the columns :data:`COLUMNS`."""
    rows = [
        (
            each.variable,
            each.span.file if each.span else None,
            each.span.line if each.span else None,
            each.span.column if each.span else None,
            each.components,
            each.component,
            each.first,
            each.before,
            each.error,
            each.size,
            each.local,
            each.bits,
            each.growth.law,
            each.growth.estimate,
            each.growth.low,
            each.growth.high,
            each.growth.text,
        )
        for each in found
    ]
    whole = dict.fromkeys(("line", "column", "first", "before"), "Int64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(whole)


def first_record(found: Sequence[VariableDrift]) -> dict[str, object]:
    """The state that drifts first, as the columns :data:`FIRST`."""
    if not found or found[0].first is None:
        return blank_record()
    first = found[0]
    law = first.growth.law if first.growth.law != "inconclusive" else first.growth.text
    values = (first.variable, first.place, first.first, first.local, law)
    return dict(zip(FIRST, values, strict=True))


def blank_record() -> dict[str, object]:
    """The columns :data:`FIRST` of a cell in which no state drifts, or that could not be run."""
    return {name: "" if kind == "str" else None for name, kind in FIRST.items()}


def state_table(errors: StateErrors, steps: npt.NDArray[np.int64] | None = None) -> pd.DataFrame:
    """The errors as a tidy frame: one row per state component and step.

    Args:
        errors: from :func:`stability.states.state_errors`.
        steps: the steps that are wanted; default: all that are known.
    """
    rows = np.flatnonzero(np.isin(errors.steps, errors.steps if steps is None else steps))
    count = len(rows)
    columns = {
        "variable": [each.variable for each in errors.states for _ in range(count)],
        "component": [each.component for each in errors.states for _ in range(count)],
        "line": [each.span.line if each.span else None for each in errors.states for _ in range(count)],
        "step": np.tile(errors.steps[rows], len(errors.states)),
        "reference_value": errors.reference[rows].T.ravel(),
        "value": errors.value[rows].T.ravel(),
        "abs_error": errors.error[rows].T.ravel(),
        "significant_bits": errors.bits[rows].T.ravel(),
        "local_error": errors.local[rows].T.ravel(),
        "inherited_error": errors.inherited[rows].T.ravel(),
    }
    return pd.DataFrame(columns).astype({"line": "Int64"})


def _variables(errors: StateErrors) -> Iterator[list[int]]:
    """The columns of each named state."""
    members: dict[tuple[str, Span | None], list[int]] = {}
    for column, each in enumerate(errors.states):
        members.setdefault((each.variable, each.span), []).append(column)
    yield from members.values()


def _drifted(errors: StateErrors, bits: float) -> npt.NDArray[np.bool_]:
    """(K, n): whether a state is off by half its spacing, or has fewer bits left."""
    half = np.array([each.spacing / 2 if each.spacing else math.nan for each in errors.states])
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isnan(half), errors.bits < bits, errors.error >= half))


def _variable(
    errors: StateErrors, members: list[int], gone: npt.NDArray[np.bool_], generator: np.random.Generator
) -> VariableDrift:
    mine, steps = gone[:, members], errors.steps
    sizes = errors.error[:, members]
    hit = mine.any(axis=1)
    row = int(np.argmax(hit)) if hit.any() else None
    if row is None:
        at, component = (int(each) for each in np.unravel_index(np.argmax(sizes), sizes.shape))
    else:
        at, component = row, int(np.argmax(np.where(mine[row], sizes[row], -1.0)))
    column = members[component]
    first = errors.states[column]
    local, inherited = float(errors.local[at, column]), float(errors.inherited[at, column])
    return VariableDrift(
        variable=first.variable,
        span=first.span,
        components=len(members),
        component=first.component,
        first=None if row is None else int(steps[row]),
        before=int(steps[row - 1]) if row else None,
        error=float(errors.error[at, column]),
        size=float(errors.scale[at, column]),
        local=math.nan if row is None else _share(local, inherited),
        bits=float(errors.bits[-1, members].min()),
        growth=growth_law(
            steps,
            sizes.max(axis=1),
            generator=generator,
            ceiling=float(errors.scale[-1, members].max()),
        ),
    )


def _share(local: float, inherited: float) -> float:
    """The part of an error that one step made; all of it where that step alone ends in inf or nan."""
    if math.isinf(local) or math.isinf(inherited):
        return float(math.isinf(local))
    return local / (local + inherited) if local + inherited > 0 else math.nan
