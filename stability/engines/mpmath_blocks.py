"""Blocks of numbers man·2^exp, as the ``mpmath`` engine holds the columns of a register."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from operator import add, lshift, mul, sub

from gmpy2 import mpz

from stability.engines import sums
from stability.engines.sums import MINUS_ONE, ONE, ZERO, Values


@dataclass(slots=True, eq=False)
class Block:
    """One register's values: ``mans[c]``·2^exp, or ·2^exps[c] where exponents are far apart.

    ``bits`` bounds the length of ``mans``; 0 means that all are zero.
    """

    mans: list[mpz]
    exp: int
    bits: int
    exps: list[int] | None = None

    def each(self) -> list[int]:
        """The exponent of every value."""
        return [self.exp] * len(self.mans) if self.exps is None else self.exps


def joined(mans: list[mpz], exps: list[int]) -> Block:
    """A block of values with their own exponents, given a common one if that is affordable."""
    present = [exp for man, exp in zip(mans, exps, strict=True) if man]
    if not present:
        return Block([ZERO] * len(mans), 0, 0)
    low, high = min(present), max(present)
    if high - low > sums.FARTHEST:
        return Block(mans, 0, -1, exps)
    if high > low:
        mans = [man << exp - low if man else man for man, exp in zip(mans, exps, strict=True)]
    return Block(mans, low, max(man.bit_length() for man in mans))


def aligned(weights: Values, past: Values) -> tuple[Values, Values]:
    """Both with one exponent each, which is then the only one listed, if that is affordable."""
    blocks = [joined(*values) for values in (weights, past)]
    if any(block.exps is not None for block in blocks):
        return weights, past
    (own, own_exp), (seen, seen_exp) = ((block.mans, block.exp) for block in blocks)
    return (own, [own_exp]), (seen, [seen_exp])


def plus(total: Iterator[mpz] | None, values: list[mpz], factor: mpz) -> Iterator[mpz]:
    """The sum total + factor · values, element by element and lazily."""
    if factor == ONE:
        return iter(values) if total is None else map(add, total, values)
    if factor == MINUS_ONE and total is not None:
        return map(sub, total, values)
    power = factor.bit_length() - 1
    scaled_values = (
        map(lshift, values, repeat(power)) if factor == ONE << power else map(mul, values, repeat(factor))
    )
    return scaled_values if total is None else map(add, total, scaled_values)
