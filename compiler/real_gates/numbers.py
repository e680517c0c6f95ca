"""What a binary format holds: numbers, lattices, and the sums of a pre-activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpq

from compiler.exact import ZERO
from compiler.formats import Format
from compiler.ranges import Range, rational_gcd


def upward(value: mpq) -> float:
    """``value`` ≥ 0 as a float that is not below it."""
    try:
        return math.nextafter(float(value), math.inf)
    except OverflowError:
        return math.inf


def fits(value: mpq, fmt: Format) -> bool:
    """Whether ``value`` is a number of the format."""
    if not value:
        return True
    low = value.numerator & -value.numerator
    bits = abs(value.numerator) // low
    power_of_two = value.denominator & (value.denominator - 1) == 0
    return (
        power_of_two
        and int(bits).bit_length() <= fmt.precision
        and mpq(low, value.denominator) >= fmt.smallest_subnormal
        and abs(value) <= fmt.largest
    )


def counts(quantum: mpq | None, size: mpq, fmt: Format) -> bool:
    """Whether the format holds every multiple of ``quantum`` (None: any real) up to ``size``.

    What counts is the power of two in it: of the multiples of 3, 2^p + 1 may be one.
    """
    if quantum is None:
        return False
    if not quantum:
        return True
    if quantum.denominator & (quantum.denominator - 1):
        return False  # a third has no end in binary
    unit = mpq(quantum.numerator & -quantum.numerator, quantum.denominator)
    return bool(
        unit >= fmt.smallest_subnormal and size <= unit * mpq(2) ** fmt.precision and size <= fmt.largest
    )


@dataclass(frozen=True, slots=True)
class Off:
    """How far a cell can be from what it should hold, in units of its value.

    Attributes:
        error: of the value that is read from it; of a pair of cells the first has that of both.
        spread: how far the cell itself can be outside of its range.
    """

    error: float
    spread: float


EXACT = Off(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a pre-activation: its weight on what a cell holds, and that cell."""

    weight: mpq
    scale: mpq
    extent: Range
    off: Off

    @property
    def slack(self) -> float:
        """How much more than its range allows it may add."""
        return self.off.spread * upward(abs(self.weight) * self.scale) if self.off.spread else 0.0


def exact_sum(bias: mpq, terms: Sequence[Term], factor: mpq, peak: mpq, fmt: Format) -> bool:
    """Whether ``factor`` times a sum of exact values, partial sums up to ``peak``, is never rounded."""
    lattice: mpq | None = abs(factor * bias)
    for term in terms:
        if not fits(factor * term.weight, fmt) or term.extent.step is None or lattice is None:
            return False
        weight = factor * term.weight * term.scale
        lattice = rational_gcd(
            lattice, rational_gcd(abs(weight * term.extent.step), abs(weight * term.extent.offset))
        )
    return fits(factor * bias, fmt) and counts(lattice, abs(factor) * peak, fmt)


def span(bias: mpq, terms: Sequence[Term], result: Range) -> tuple[mpq, mpq]:
    """Bounds of the sums of a form's positive and of its negative terms, of values in their ranges.

    No partial sum is larger than both, in whatever order.  With P the one and N the other, P − N
    is the value: where it is known to be at most hi, P ≤ hi + N, and so on.
    """
    plus, minus = max(bias, ZERO), max(-bias, ZERO)
    for term in terms:
        factor, extent = term.weight * term.scale, term.extent
        ends = [factor * end for end in (extent.lo or ZERO, extent.hi or ZERO)]
        plus, minus = plus + max(*ends, ZERO), minus + max(-min(ends), ZERO)
    if result.hi is not None:
        plus = min(plus, max(result.hi, ZERO) + minus)
    if result.lo is not None:
        minus = min(minus, max(-result.lo, ZERO) + plus)
    return plus, minus
