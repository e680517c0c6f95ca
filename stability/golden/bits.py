"""Significant bits of outputs on two scales: one that remembers every peak, and one that forgets.

The first counts against the largest |r| of an output so far, as
:func:`stability.measures.deviation` does.  After an early peak it takes a late error for a
small one; the second counts against the largest |r| of the last :data:`RECENT` steps.

Both leave all bits to an error below 2^-p of the tolerance from which a step is wrong: a
truth that is all but 0 would make a loss of what is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stability.formats import Format

Floats = npt.NDArray[np.float64]

RECENT = 64
"""Steps of the scale that forgets."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """What outputs are judged against.

    Attributes:
        name: ``reference``, or the name of an expectation.
        high: (T, output_dim); inf and nan only in an expectation.
        low: what float64 does not hold of it.
    """

    name: str
    high: Floats
    low: Floats


def bits_left(outputs: Floats, true: Trajectory, fmt: Format, tolerance: Floats | float = 0.0) -> Floats:
    """(T, output_dim): significant bits, as :func:`stability.measures.deviation` counts them.

    Where the trajectory is not finite, the same inf (or a nan) has all bits and anything
    else none.

    Args:
        outputs: (T, output_dim).
        true: what they should be.
        fmt: the format under test.
        tolerance: (T, output_dim): the error from which a step is wrong.
    """
    size = np.maximum.accumulate(_sizes(true), axis=0)
    return bits_of(_counted(outputs, true, fmt, tolerance), size, fmt)


def recent_bits(outputs: Floats, true: Trajectory, fmt: Format, tolerance: Floats | float = 0.0) -> Floats:
    """(T, output_dim): as :func:`bits_left`, against the largest |r| of the last :data:`RECENT` steps."""
    sizes, span = _sizes(true), 1
    while span < RECENT:  # from the largest of 1, 2, 4, … steps to that of twice as many
        sizes[span:] = np.maximum(sizes[span:], sizes[:-span])
        span *= 2
    return bits_of(_counted(outputs, true, fmt, tolerance), sizes, fmt)


def _counted(outputs: Floats, true: Trajectory, fmt: Format, tolerance: Floats | float) -> Floats:
    error = error_of(outputs, true)
    return np.where(error < np.ldexp(tolerance, -fmt.precision), 0.0, error)


def error_of(outputs: Floats, true: Trajectory) -> Floats:
    """|y − r|; 0 where both are the same inf or both nan, inf where only one is finite."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        error = np.abs((outputs - true.high) - true.low)
    same = (outputs == true.high) | (np.isnan(outputs) & np.isnan(true.high))
    finite = np.isfinite(outputs) & np.isfinite(true.high)
    return np.where(finite, error, np.where(same, 0.0, np.inf))


def _sizes(true: Trajectory) -> Floats:
    return np.where(np.isfinite(true.high), np.abs(true.high), 0.0)


def bits_of(error: Floats, size: Floats, fmt: Format) -> Floats:
    """−log2(error / size), between 0 and p; all of them for no error."""
    precision = float(fmt.precision)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        bits = np.clip(-np.log2(error / size), 0.0, precision) + 0.0  # no −0
    bits = np.where(np.isfinite(error) & (size > 0), bits, 0.0)
    return np.where(error == 0, precision, bits)
