"""Numbers of a policy, one operation at a time: what the slow engine computes with.

:class:`NumpyNumbers` leaves all rounding to the scalars of NumPy, where a policy is one of
their formats; :class:`RationalNumbers` rounds exact results itself, in any policy.
"""

# ruff: noqa: ARG002 -- NumPy's scalars need not know where they are

from __future__ import annotations

import math
from typing import Any, Protocol

from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.exact import ZERO
from stability.activations import Function, activated, activated_scaled
from stability.engines.sums import ONE, Scaled, constant, scaled
from stability.formats import ExactFormat, Format, MpmathFormat
from stability.policy import Policy
from stability.random_bits import moment_key, place_key, random_bits
from stability.rounding import round_rational, round_signed

Site = tuple[int, int, int]
"""Layer, unit and operation: see :mod:`stability.random_bits`."""
Number = Any
LONG = 512  # bits of a rational of which a sigmoid or tanh is taken
FARTHEST = mpq(10) ** 300  # both functions have their limits long before


class Numbers(Protocol):
    """The operations of a policy; ``site`` is where the result is rounded."""

    def constant(self, value: mpq, *places: str) -> Number:
        """An exact constant, rounded to nearest for one place after the other."""
        ...

    def at(self, sequence: int, step: int) -> None:
        """What follows belongs to this sequence and step."""
        ...

    def times(self, left: Number, right: Number, site: Site) -> Number:
        """A product, rounded to ``products``."""
        ...

    def plus(self, left: Number, right: Number, site: Site) -> Number:
        """A sum, rounded to ``accumulator``."""
        ...

    def rounded(self, value: Number, place: str, site: Site) -> Number:
        """A number rounded to the format of a place."""
        ...

    def activated(self, function: Function, value: Number, site: Site) -> Number:
        """A function of a number, rounded once to ``activations``."""
        ...


class NumpyNumbers:
    """Scalars of one format that NumPy has; every operation rounds to nearest."""

    def __init__(self, fmt: Format) -> None:
        assert fmt.dtype is not None
        self._format, self._make = fmt, fmt.dtype.type

    def constant(self, value: mpq, *places: str) -> Number:
        """See :class:`Numbers`."""
        return self._make(round_rational(value, self._format))

    def at(self, sequence: int, step: int) -> None:
        """See :class:`Numbers`."""
        return

    def times(self, left: Number, right: Number, site: Site) -> Number:
        """See :class:`Numbers`."""
        return left * right

    def plus(self, left: Number, right: Number, site: Site) -> Number:
        """See :class:`Numbers`."""
        return left + right

    def rounded(self, value: Number, place: str, site: Site) -> Number:
        """See :class:`Numbers`."""
        return value

    def activated(self, function: Function, value: Number, site: Site) -> Number:
        """See :class:`Numbers`."""
        return self._make(activated(function, float(value), self._format))


class RationalNumbers:
    """Exact results of operations, rounded by the definition, in any policy.

    Values of binary formats are Python floats, those of other formats rationals.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._formats = policy.formats
        self._stochastic = policy.rounding == "stochastic"
        self._moment = 0

    def constant(self, value: mpq, *places: str) -> Number:
        """See :class:`Numbers`."""
        found: Number = value
        for place in places:
            fmt = self._formats[place]
            if not _finite(found):
                found = self._special(found, place)
            elif isinstance(fmt, Format):
                found = round_rational(mpq(found), fmt)
            else:
                found = _unbounded(mpq(found), fmt)
        return found

    def at(self, sequence: int, step: int) -> None:
        """See :class:`Numbers`."""
        if self._stochastic:
            self._moment = moment_key(self._policy.seed, sequence, step)

    def times(self, left: Number, right: Number, site: Site) -> Number:
        """See :class:`Numbers`."""
        if not (_finite(left) and _finite(right)):
            return self._special(float(left) * float(right), "products")
        exact = mpq(left) * mpq(right)
        if exact:
            return self._exact(exact, "products", site)
        return self._special(-0.0 if _negative(left) != _negative(right) else 0.0, "products")

    def plus(self, left: Number, right: Number, site: Site) -> Number:
        """See :class:`Numbers`."""
        if not (_finite(left) and _finite(right)):
            return self._special(float(left) + float(right), "accumulator")
        exact = mpq(left) + mpq(right)
        if exact:
            return self._exact(exact, "accumulator", site)
        both = left == 0 and _negative(left) and _negative(right)
        return self._special(-0.0 if both else 0.0, "accumulator")

    def rounded(self, value: Number, place: str, site: Site) -> Number:
        """See :class:`Numbers`."""
        if _finite(value) and value != 0:
            return self._exact(mpq(value), place, site)
        return self._special(float(value), place)

    def activated(self, function: Function, value: Number, site: Site) -> Number:
        """See :class:`Numbers`."""
        fmt = self._formats["activations"]
        if isinstance(fmt, Format):
            if isinstance(value, mpq):
                value = min(max(_dyadic(value, LONG), -FARTHEST), FARTHEST)
            return activated(function, value, fmt, self._policy.rounding, self._bits(site))
        if isinstance(fmt, ExactFormat):
            raise ConfigError.single(f"{function} has no exact values", hint="activations=mpmath50")
        return _rational(activated_scaled(function, scaled(mpq(value), fmt.precision + LONG), fmt.precision))

    def _exact(self, value: mpq, place: str, site: Site) -> Number:
        fmt = self._formats[place]
        if isinstance(fmt, Format):
            return round_signed(value, fmt, self._policy.rounding, self._bits(site))
        return _unbounded(value, fmt)

    def _bits(self, site: Site) -> int:
        return random_bits(place_key(*site), self._moment) if self._stochastic else 0

    def _special(self, value: float, place: str) -> Number:
        """A zero, an infinity or nan in the format of a place."""
        fmt = self._formats[place]
        if isinstance(fmt, Format):
            return math.copysign(fmt.overflow, value) if math.isinf(value) else value
        return value or ZERO


def _unbounded(value: mpq, fmt: MpmathFormat | ExactFormat) -> mpq:
    return value if isinstance(fmt, ExactFormat) else _rational(constant(value, fmt.precision))


def _dyadic(value: mpq, precision: int) -> mpq:
    return _rational(scaled(value, precision))


def _rational(value: Scaled) -> mpq:
    man, exp = value
    return mpq(man << exp) if exp >= 0 else mpq(man, ONE << -exp)


def _finite(value: Number) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _negative(value: Number) -> bool:
    return bool(math.copysign(1.0, value) < 0 if isinstance(value, float) else value < 0)
