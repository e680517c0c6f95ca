"""How far a value is from what it should be, in the units that the field uses.

Errors are computed exactly (as rationals) and only then rounded for the table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq, mpz

from stability.formats import AnyFormat, Format
from stability.rounding import floor_log2


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One value against its reference.

    Attributes:
        value: what was computed.
        reference: what is true, rounded to float64 for the table.
        abs_error: |y − r|.
        rel_error: |y − r| / |r| (0 where both are 0, inf where only r is).
        ulp_error: |y − r| in ulps of the format under test at r.
        significant_bits: −log2(|y − r| / max(|r|, s)) in [0, p], s the largest |r| of the
            variable so far.
    """

    value: float
    reference: float
    abs_error: float
    rel_error: float
    ulp_error: float
    significant_bits: float


def exact_value(value: Any) -> mpq | None:
    """A finite float, ``mpf`` or ``mpq`` as a rational; None for inf and nan."""
    if isinstance(value, mpq):
        return value
    parts = getattr(value, "_mpf_", None)
    if parts is not None:
        sign, mantissa, exponent, _ = parts
        if not mantissa and exponent:
            return None
        mantissa = -mpz(mantissa) if sign else mpz(mantissa)
        return mpq(mantissa << exponent) if exponent >= 0 else mpq(mantissa, mpz(1) << -exponent)
    number = float(value)
    return mpq(*number.as_integer_ratio()) if math.isfinite(number) else None


def to_float(value: mpq) -> float:
    """A rational as float64 (±inf beyond its range)."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def log2_ratio(numerator: mpq, denominator: mpq) -> float:
    """log2(numerator / denominator) of positive rationals of any size."""
    ratio = numerator / denominator
    exponent = floor_log2(ratio)
    return exponent + math.log2(to_float(ratio / mpq(2) ** exponent))


def ulp(reference: mpq, fmt: AnyFormat) -> mpq:
    """The spacing of ``fmt`` at ``reference``: 2^(max(e, e_min) − p + 1).

    mpmath numbers have no smallest exponent; their spacing at 0 is taken at 1.
    """
    if isinstance(fmt, Format):
        exponent = fmt.min_exponent if reference == 0 else max(floor_log2(abs(reference)), fmt.min_exponent)
    else:
        exponent = 0 if reference == 0 else floor_log2(abs(reference))
    return mpq(2) ** (exponent - fmt.precision + 1)


def deviation(value: Any, reference: mpq, scale: mpq, fmt: AnyFormat) -> Deviation:
    """Measure one value (see :class:`Deviation`); inf and nan have no bits left.

    Args:
        value: a float or ``mpf`` of the format under test.
        reference: the true value.
        scale: s, the largest |reference| of this variable so far.
        fmt: the format under test, whose ulp and precision count.
    """
    true = to_float(reference)
    known = exact_value(value)
    if known is None:
        return Deviation(
            value=float(value),
            reference=true,
            abs_error=math.inf,
            rel_error=math.inf,
            ulp_error=math.inf,
            significant_bits=0.0,
        )
    error = abs(known - reference)
    if error == 0:
        return Deviation(
            value=to_float(known),
            reference=true,
            abs_error=0.0,
            rel_error=0.0,
            ulp_error=0.0,
            significant_bits=float(fmt.precision),
        )
    size = max(abs(reference), scale)
    bits = 0.0 if size == 0 else min(max(-log2_ratio(error, size), 0.0), float(fmt.precision))
    return Deviation(
        value=to_float(known),
        reference=true,
        abs_error=to_float(error),
        rel_error=to_float(error / abs(reference)) if reference else math.inf,
        ulp_error=to_float(error / ulp(reference, fmt)),
        significant_bits=bits,
    )


def worst(deviations: Sequence[Deviation]) -> Deviation:
    """The component with the fewest bits left, the largest error among equals."""
    return min(deviations, key=lambda each: (each.significant_bits, -each.abs_error))


def sample_steps(length: int, per_octave: int = 12) -> npt.NDArray[np.int64]:
    """Steps to sample: every one at first, then evenly on a logarithmic scale; the last always."""
    octaves = np.arange(0, math.log2(length) + 1, 1 / per_octave) if length > 1 else np.zeros(1)
    steps = np.unique(np.round(2.0**octaves).astype(np.int64)) - 1
    return np.unique(np.append(steps[steps < length], length - 1))


def first_true(flags: npt.NDArray[np.bool_]) -> int | None:
    """The index of the first True, or None."""
    return int(np.argmax(flags)) if flags.any() else None
