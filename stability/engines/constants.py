"""A model's constants in a policy: what is finite, what stays as it is, what an activation makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import assert_never

from gmpy2 import mpq

from compiler.exact import ZERO
from stability.activations import activated, activated_constant
from stability.engines.operations import Activation
from stability.formats import AnyFormat, ExactFormat, Format
from stability.policy import Policy
from stability.rounding import round_rational


def rounded(value: mpq, *formats: AnyFormat) -> mpq | None:
    """A constant in one format after the other, to nearest; None if it is not finite there."""
    for fmt in formats:
        if isinstance(fmt, Format):
            number = round_rational(value, fmt)
            if not math.isfinite(number):
                return None
            value = mpq(number)
    return value


def keeps(fmt: AnyFormat, value: AnyFormat) -> bool:
    """Whether every value of one format is a value of ``fmt``."""
    if fmt == value or isinstance(fmt, ExactFormat):
        return True
    return isinstance(fmt, Format) and isinstance(value, Format) and fmt.holds(value)


@dataclass(frozen=True)
class Constants:
    """The policy in which a plan's constants are rounded."""

    policy: Policy

    @cached_property
    def foldable(self) -> bool:
        """Whether what is exact on paper is exact in the policy, so that equations may be folded.

        Products of 1 and sums with 0 are no roundings, and what a layer keeps of an activation
        is that activation.
        """
        p = self.policy
        return (
            p.rounding == "nearest"
            and p.products == p.accumulator
            and all(keeps(p.products, fmt) for fmt in (p.input, p.activations, p.state))
            and keeps(p.state, p.activations)
        )

    def finite(self, value: mpq) -> bool:
        """Whether a constant is finite wherever it may go."""
        p = self.policy
        places = (p.weights, p.accumulator, p.state, p.activations)
        return all(rounded(value, fmt) is not None for fmt in places)

    def begins(self, value: mpq) -> mpq | None:
        """A bias as an accumulator begins with it; None if it is not finite."""
        return rounded(value, self.policy.weights, self.policy.accumulator)

    def stored(self, value: mpq) -> mpq | None:
        """An initial state; None if it is not finite."""
        return rounded(value, self.policy.state)

    def steady(self, value: mpq) -> bool:
        """Whether a value that was computed may stand as a bias."""
        return bool(self.begins(value) == value)

    def value(self, bias: mpq, activation: Activation) -> mpq | None:
        """A bias after its activation; None if it is not finite, or cannot stand as a bias."""
        if not self.finite(bias):
            return None
        fmt = self.policy.activations
        start = self.begins(bias)
        assert start is not None
        match activation:
            case "none":
                found = start
            case "relu":
                found = max(start, ZERO)
            case "sigmoid" | "tanh":
                if not isinstance(fmt, Format):
                    return activated_constant(activation, bias, fmt)
                found = mpq(activated(activation, float(start), fmt))
            case _:
                assert_never(activation)
        placed = rounded(found, fmt)
        return placed if placed is not None and self.steady(placed) else None
