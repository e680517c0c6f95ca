"""Ranges of scalar values: an interval and a lattice, with the arithmetic of both.

A :class:`Range` says that a value lies in [lo, hi] (``None``: unbounded) and, if
``step`` is known, on the lattice offset + step·ℤ.  Integers are the lattice
0 + 1·ℤ; a Boolean is an integer in [0, 1]; ``step = 0`` is a constant.  Every
operation here is an outer bound: the true set of values is contained in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd

from gmpy2 import mpq

from compiler.exact import ONE, ZERO


def rational_gcd(left: mpq, right: mpq) -> mpq:
    """The largest g with left and right both multiples of g (gcd(0, x) = |x|)."""
    denominator = left.denominator * right.denominator
    numerator = gcd(int(left.numerator * right.denominator), int(right.numerator * left.denominator))
    return mpq(numerator, denominator)


@dataclass(frozen=True, slots=True)
class Range:
    """Where a scalar value can be.

    Attributes:
        lo: lower bound, or None.
        hi: upper bound, or None.
        step: lattice step (0: a constant), or None for any real.
        offset: a point of the lattice, in [0, step) where step > 0.
    """

    lo: mpq | None = None
    hi: mpq | None = None
    step: mpq | None = None
    offset: mpq = ZERO

    @property
    def nonnegative(self) -> bool:
        """Never below 0."""
        return self.lo is not None and self.lo >= 0

    @property
    def nonpositive(self) -> bool:
        """Never above 0."""
        return self.hi is not None and self.hi <= 0

    @property
    def zero(self) -> bool:
        """Always 0."""
        return self.lo == 0 and self.hi == 0

    @property
    def may_be_zero(self) -> bool:
        """Whether 0 lies in the interval and on the lattice."""
        if (self.lo is not None and self.lo > 0) or (self.hi is not None and self.hi < 0):
            return False
        if self.step is None:
            return True
        return bool(self.offset == 0 if self.step == 0 else self.offset % self.step == 0)

    @property
    def integer(self) -> bool:
        """Always a whole number."""
        return self.step is not None and self.step.denominator == 1 and self.offset.denominator == 1

    @property
    def boolean(self) -> bool:
        """Always 0 or 1."""
        return self.integer and self.lo is not None and self.lo >= 0 and self.hi is not None and self.hi <= 1

    @property
    def magnitude(self) -> mpq | None:
        """The largest |value|, or None where unbounded."""
        if self.lo is None or self.hi is None:
            return None
        return max(abs(self.lo), abs(self.hi))

    def smallest_positive(self) -> mpq | None:
        """The smallest positive value on the lattice; None for a real value.

        0 where the range holds no positive value at all.
        """
        if self.nonpositive:
            return ZERO
        if self.step is None:
            return self.lo if self.lo is not None and self.lo > 0 else None
        if self.step == 0:
            return max(self.offset, ZERO)
        smallest = self.offset if self.offset > 0 else self.step
        return max(smallest, self.lo) if self.lo is not None else smallest

    def __str__(self) -> str:
        if self.lo is not None and self.lo == self.hi:
            return str(self.lo)
        low = "(−∞" if self.lo is None else f"[{self.lo}"
        high = "∞)" if self.hi is None else f"{self.hi}]"
        if self.boolean:
            return "{0, 1}"
        kind = ""
        if self.integer:
            kind = " integer"
        elif (
            self.step is not None
            and self.step.numerator.bit_length() + self.step.denominator.bit_length() < 40
        ):
            kind = f" in {self.offset}+{self.step}ℤ" if self.offset else f" in {self.step}ℤ"
        return f"{low}, {high}{kind}"


REAL = Range()


def constant(value: mpq) -> Range:
    """The range of one value."""
    return Range(value, value, ZERO, value)


def _lattice(step: mpq | None, offset: mpq) -> tuple[mpq | None, mpq]:
    """Normalise the offset into [0, step)."""
    if step is None:
        return None, ZERO
    if step == 0:
        return step, offset
    return step, offset % step


def declared_range(lo: mpq | None, hi: mpq | None, *, integer: bool) -> Range:
    """The range that a declaration states; integer bounds are tightened inward."""
    if integer:
        low = None if lo is None else mpq(-((-lo.numerator) // lo.denominator))
        high = None if hi is None else mpq(hi.numerator // hi.denominator)
        return Range(low, high, ONE, ZERO)
    return constant(lo) if lo is not None and lo == hi else Range(lo, hi)


def affine(shift: mpq, terms: Iterable[tuple[mpq, Range]]) -> Range:
    """The range of shift + Σ factor·value."""
    lo: mpq | None = shift
    hi: mpq | None = shift
    step: mpq | None = ZERO
    offset = shift
    for factor, value in terms:
        low, high = (value.lo, value.hi) if factor > 0 else (value.hi, value.lo)
        lo = None if lo is None or low is None else lo + factor * low
        hi = None if hi is None or high is None else hi + factor * high
        if step is not None and value.step is not None:
            step = rational_gcd(step, factor * value.step)
            offset += factor * value.offset
        else:
            step = None
    return Range(lo, hi, *_lattice(step, offset))


def relu(value: Range) -> Range:
    """The range of max(0, value)."""
    if value.nonnegative:
        return value
    if value.nonpositive:
        return constant(ZERO)
    hi = value.hi
    if value.step is None:
        return Range(ZERO, hi)
    return Range(ZERO, hi, *_lattice(rational_gcd(value.step, value.offset), ZERO))


def product(left: Range, right: Range) -> Range:
    """The range of left · right."""
    if left.zero or right.zero:
        return constant(ZERO)
    lo, hi = _product_bounds(left, right)
    if left.step is None or right.step is None:
        return Range(lo, hi)
    step = rational_gcd(
        rational_gcd(left.offset * right.step, right.offset * left.step), left.step * right.step
    )
    return Range(lo, hi, *_lattice(step, left.offset * right.offset))


def _product_bounds(left: Range, right: Range) -> tuple[mpq | None, mpq | None]:
    if None not in (left.lo, left.hi, right.lo, right.hi):
        corners = [a * b for a in (left.lo, left.hi) for b in (right.lo, right.hi)]  # type: ignore[operator]
        return min(corners), max(corners)
    if left.nonnegative and right.nonnegative:
        return left.lo * right.lo, None  # type: ignore[operator]
    if left.nonpositive and right.nonpositive:
        return left.hi * right.hi, None  # type: ignore[operator]
    if (left.nonnegative and right.nonpositive) or (left.nonpositive and right.nonnegative):
        return None, ZERO
    return None, None


def hull(left: Range, right: Range) -> Range:
    """The smallest range that contains both."""
    lo = None if left.lo is None or right.lo is None else min(left.lo, right.lo)
    hi = None if left.hi is None or right.hi is None else max(left.hi, right.hi)
    if left.step is None or right.step is None:
        return Range(lo, hi)
    step = rational_gcd(rational_gcd(left.step, right.step), left.offset - right.offset)
    return Range(lo, hi, *_lattice(step, left.offset))


def intersect(left: Range, right: Range) -> Range:
    """A range that contains the intersection; the sparser lattice is kept."""
    lo = left.lo if right.lo is None else right.lo if left.lo is None else max(left.lo, right.lo)
    hi = left.hi if right.hi is None else right.hi if left.hi is None else min(left.hi, right.hi)
    sparser = max(left, right, key=_sparsity)
    return Range(lo, hi, sparser.step, sparser.offset)


def _sparsity(value: Range) -> tuple[int, mpq]:
    if value.step is None:
        return (0, ZERO)
    return (2, ZERO) if value.step == 0 else (1, value.step)
