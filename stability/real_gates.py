"""Real gates for the formats and policies of the lab."""

from __future__ import annotations

from compiler.errors import ConfigError
from compiler.formats import Format
from compiler.real_gates import NativeGates
from stability.formats import AnyFormat, ExactFormat
from stability.policy import AnyPolicy, Policy

UNBOUNDED_EXPONENT = 18
"""Exponent bits that stand for mpmath's exponent, which has no bounds."""


def binary_format(fmt: AnyFormat) -> Format:
    """``fmt`` as a binary format: mpmath's has its precision and an exponent that no model reaches.

    Raises:
        ConfigError: ``exact``, in which sigmoid and tanh have no values.
    """
    if isinstance(fmt, Format):
        return fmt
    if isinstance(fmt, ExactFormat):
        raise ConfigError.single(
            "sigmoid and tanh are no rational numbers", hint="take mpmath50 or more digits"
        )
    return Format(name=fmt.name, precision=fmt.precision, exponent_bits=UNBOUNDED_EXPONENT)


def narrowest(policy: AnyPolicy) -> Format:
    """The format whose values every place of a policy holds: the fewest digits and the smallest exponents."""
    if not isinstance(policy, Policy):
        return binary_format(policy)
    places = [binary_format(fmt) for fmt in policy.formats.values()]
    precision = min(fmt.precision for fmt in places)
    exponent = min(fmt.exponent_bits for fmt in places)
    same = next((fmt for fmt in places if (fmt.precision, fmt.exponent_bits) == (precision, exponent)), None)
    return same or Format(name=policy.name, precision=precision, exponent_bits=exponent)


def gates_for(policy: AnyPolicy, length: int) -> NativeGates:
    """ε and K chosen for a format or policy and a length of prompt."""
    return NativeGates(format=narrowest(policy), length=length)
