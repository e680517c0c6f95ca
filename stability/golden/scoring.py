"""How far a kernel's outputs are from a golden case, and whether that is good enough.

Bits are counted on the two scales of :mod:`stability.golden.bits`.  On the one that
remembers, a kernel needs a fixed number of them; on the one that forgets, about as many as
our own engine leaves in the same format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from stability.formats import BFLOAT16, FLOAT64, SCORED, Format
from stability.golden.bits import RECENT, Floats, Trajectory, bits_left, error_of, recent_bits
from stability.golden.case import REFERENCE
from stability.golden.reading import StoredCase
from stability.golden.states import StateScore
from stability.measures import first_true
from stability.reference import UNCERTIFIED

EXPECTED_SLACK = 3
"""Bits by which an arithmetic that is stated to the last rounding may differ in order of operations."""
RECENT_SLACK = 3
"""Bits by which a sound kernel may fall short of our engine on the scale that forgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The verdict on one file of outputs.

    Attributes:
        format: under test.
        against: the trajectory that decides.
        worst_bits: the fewest significant bits left at any step, and ``worst_step``.
        median_bits: over all steps.
        final_bits: at the last step.
        recent_bits: the fewest left of what the last 64 steps hold, and ``recent_step``.
        recent_own: as many as our engine leaves in this format; ``None``: not known.
        recent_min: the threshold on that scale; ``None``: it does not decide.
        horizon: the first wrong step; ``None``: none in this length.
        first_bad: the first step that is not finite, and ``bad`` what it is: ``overflow`` or ``nan``.
        expected_bad: the first step that should not be finite.
        min_bits: the threshold.
        reasons: why it failed; empty if it passed.
        others: for every trajectory of the case, the fewest bits left against it.
        states: what was judged besides the outputs.
        unrounded: the first step whose output the format does not hold; ``None``: none.
    """

    format: str
    against: str
    worst_bits: float
    worst_step: int
    median_bits: float
    final_bits: float
    recent_bits: float
    recent_step: int
    recent_own: float | None
    recent_min: float | None
    horizon: int | None
    first_bad: int | None
    bad: str | None
    expected_bad: int | None
    min_bits: float
    reasons: tuple[str, ...]
    others: dict[str, float]
    unrounded: int | None
    states: tuple[StateScore, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def default_min_bits(case: StoredCase, fmt: Format, against: str) -> float:
    """The bits that a correct kernel has left.

    Against the truth: half the significand of the format, since rounding errors of a long
    prompt add up.  Against a stated arithmetic: all but :data:`EXPECTED_SLACK`.  All of them
    in a case that asks for equality.
    """
    if case.exact:
        return float(fmt.precision)
    return float(fmt.precision // 2 if against == REFERENCE else fmt.precision - EXPECTED_SLACK)


def score(
    case: StoredCase,
    outputs: Floats,
    fmt: Format,
    *,
    against: str | None = None,
    min_bits: float | None = None,
    states: Sequence[StateScore] = (),
) -> Score:
    """Judge outputs.

    Args:
        case: from :func:`stability.golden.reading.read_case`.
        outputs: (T, output_dim), from :func:`stability.golden.reading.read_outputs`.
        fmt: the format under test: its precision and its threshold.
        against: a trajectory of the case; default: the one the case names for the format.
        min_bits: the threshold; default: :func:`default_min_bits`.
        states: from :func:`stability.golden.states.score_states`; they need as many bits.

    Raises:
        ConfigError: no such trajectory, an uncertified reference, or a threshold that the
            format cannot reach.
    """
    chosen = against if against is not None else case.against.get(fmt.name, REFERENCE)
    if chosen not in case.trajectories:
        raise ConfigError.single(
            f"the case has no trajectory {chosen!r}", hint="one of " + ", ".join(case.trajectories)
        )
    if min_bits is not None and not 0 <= min_bits <= fmt.precision:
        raise ConfigError.single(f"{min_bits:g} bits of {fmt.name}", hint=f"0 to {fmt.precision}")
    if chosen == REFERENCE and case.rung == UNCERTIFIED:
        raise ConfigError.single(
            "the reference of this case is uncertified, so it is no judge",
            hint="make the case with --step clip, or from another target",
        )
    least = default_min_bits(case, fmt, chosen) if min_bits is None else min_bits
    true = case.trajectories[chosen]
    bits = bits_left(outputs, true, fmt, case.tolerance).min(axis=1)
    own = case.recent.get(fmt.name) if chosen == REFERENCE else None
    recent_least = None if own is None else max(0.0, min(least, own - RECENT_SLACK))
    recent = recent_bits(outputs, true, fmt, case.tolerance).min(axis=1)
    first_bad, bad = _first_bad(outputs)
    worst, latest = int(np.argmin(bits)), int(np.argmin(recent))
    horizon = first_true(np.any(~(error_of(outputs, true) < case.tolerance), axis=1))
    scales = ((bits, least), (recent, recent_least))
    reasons = _reasons(case, outputs, true, scales, horizon, equal=min_bits is None)
    return Score(
        format=fmt.name,
        against=chosen,
        worst_bits=float(bits[worst]),
        worst_step=worst,
        median_bits=float(np.median(bits)),
        final_bits=float(bits[-1]),
        recent_bits=float(recent[latest]),
        recent_step=latest,
        recent_own=own,
        recent_min=recent_least,
        horizon=horizon,
        first_bad=first_bad,
        bad=bad,
        expected_bad=_first_bad(true.high)[0],
        min_bits=least,
        reasons=(*reasons, *(_lost(state, least) for state in states if state.worst_bits < least)),
        states=tuple(states),
        others={
            name: float(bits_left(outputs, each, fmt, case.tolerance).min())
            for name, each in case.trajectories.items()
        },
        unrounded=first_true(np.any(~_held(outputs, fmt), axis=1)),
    )


def _reasons(
    case: StoredCase,
    outputs: Floats,
    true: Trajectory,
    scales: Sequence[tuple[Floats, float | None]],
    horizon: int | None,
    *,
    equal: bool,
) -> Iterator[str]:
    found, expected = _first_bad(outputs), _first_bad(true.high)
    if found != expected:
        yield f"{_told(*found)}, expected {_told(*expected)}"
    for (bits, least), whose in zip(scales, ("", f" of what the last {RECENT} steps hold"), strict=True):
        worst = int(np.argmin(bits))
        if least is not None and bits[worst] < least:
            yield f"{bits[worst]:.1f} bits left{whose} at step {worst}, below {least:g}"
            break  # what is lost on the first scale is lost on the second
    changed = first_true(np.any(error_of(outputs, true) != 0, axis=1))
    if case.exact and equal and changed is not None:
        yield f"not equal to the reference at step {changed}, where equality is asked for"
    if case.nearest and horizon is not None:
        yield f"a wrong output at step {horizon}"


def _lost(state: StateScore, least: float) -> str:
    where = f"{state.name} at step {state.step}, unit {state.unit}"
    return f"{state.worst_bits:.1f} bits left of {where}, below {least:g}"


def scored_format(name: str) -> Format:
    """The format of that name, to measure in.

    Raises:
        ConfigError: another name.
    """
    found = SCORED.get(name.strip())
    if found is None:
        raise ConfigError.single(f"cannot score in {name!r}", hint="one of " + ", ".join(SCORED))
    return found


def _first_bad(values: Floats) -> tuple[int | None, str | None]:
    step = first_true(np.any(~np.isfinite(values), axis=1))
    if step is None:
        return None, None
    return step, "nan" if np.isnan(values[step]).any() else "overflow"


def _told(step: int | None, kind: str | None) -> str:
    return "no inf or nan" if kind is None else f"{kind} at step {step}"


def _held(values: Floats, fmt: Format) -> npt.NDArray[np.bool_]:
    """Whether the format holds these values."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if fmt == FLOAT64:
            near = values
        elif fmt == BFLOAT16:
            single = values.astype(np.float32)
            near = np.where((single.view(np.uint32) & 0xFFFF) == 0, single, np.nan).astype(np.float64)
        else:
            near = values.astype(fmt.dtype).astype(np.float64)
    return np.asarray((near == values) | np.isnan(values))
