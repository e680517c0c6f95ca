"""Exact sums of numbers man·2^exp with integer ``man``, rounded once.

Rounding is to nearest, ties to even, at a given number of bits; exponents have no bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gmpy2 import mpq, mpz

from stability.rounding import floor_log2, round_ratio

FARTHEST = 1 << 16  # bits that terms may lie apart before their sum is taken with care
ZERO, ONE, MINUS_ONE = mpz(0), mpz(1), mpz(-1)

Scaled = tuple[mpz, int]  # man, exp
Values = tuple[list[mpz], list[int]]
Source = tuple[list[mpz], list[int], int]  # values, and where column 0 begins in them


def scaled(value: mpq, precision: int) -> Scaled:
    """A rational as man·2^exp, rounded to ``precision`` bits, ``man`` odd or 0."""
    if value == 0:
        return ZERO, 0
    magnitude = abs(value)
    unit = floor_log2(magnitude) - precision + 1
    top, bottom = magnitude.numerator, magnitude.denominator
    man = round_ratio(top, bottom << unit) if unit >= 0 else round_ratio(top << -unit, bottom)
    return _odd(man if value > 0 else -man, unit)


def constant(value: mpq, precision: int) -> Scaled:
    """As :func:`scaled`, but exact for dyadic rationals of any length."""
    bottom = value.denominator
    if bottom & (bottom - 1) == 0:
        return _odd(value.numerator, 1 - bottom.bit_length())
    return scaled(value, precision)


def _odd(man: mpz, exp: int) -> Scaled:
    zeros = man.bit_scan1() or 0
    return man >> zeros, (exp + zeros if man else 0)


def nearest(man: mpz, drop: int) -> mpz:
    """``man``·2^-drop rounded to an integer, ties to even; for either sign (shifts floor)."""
    floor = man >> drop
    return (man + ((ONE << (drop - 1)) - 1 + (floor & 1))) >> drop


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What one column of an operation reads: constants times sources, and products of sources."""

    bias: Scaled
    terms: list[tuple[mpz, int, list[mpz], list[int], int]]
    pairs: list[tuple[list[mpz], list[int], int, list[mpz], list[int], int]]
    relu: bool


def dot(row: Row, c: int, precision: int) -> Scaled:
    """The value of one column: the exact sum, then ReLU, then one rounding."""
    man, exp = row.bias
    for factor, shift, source, source_exps, offset in row.terms:
        value = source[c + offset]
        if value:
            value = value * factor
            value_exp = source_exps[c + offset] + shift
            gap = value_exp - exp
            if not man:
                man, exp = value, value_exp
            elif gap == 0:
                man += value
            elif 0 < gap < FARTHEST:
                man += value << gap
            elif -FARTHEST < gap < 0:
                man = (man << -gap) + value
                exp = value_exp
            else:
                return _finished(far_sum(_terms(row, c, precision), precision, FARTHEST), row, precision)
    if row.pairs:
        return _finished(far_sum(_terms(row, c, precision), precision, FARTHEST), row, precision)
    return _finished((man, exp), row, precision)


def _finished(value: Scaled, row: Row, precision: int) -> Scaled:
    man, exp = value
    if row.relu and man < 0:
        return ZERO, 0
    return short(man, exp, precision)


def short(man: mpz, exp: int, precision: int) -> Scaled:
    """A number rounded to ``precision`` bits; shorter ones stay as they are."""
    drop = man.bit_length() - precision
    return (nearest(man, drop), exp + drop) if drop > 0 else (man, exp)


def _terms(row: Row, c: int, precision: int) -> list[Scaled]:
    """The addends of one column; products of two values are rounded by themselves."""
    terms = [row.bias]
    for factor, shift, source, exps, offset in row.terms:
        terms.append((source[c + offset] * factor, exps[c + offset] + shift))
    for x, x_exps, x_offset, y, y_exps, y_offset in row.pairs:
        exp = x_exps[c + x_offset] + y_exps[c + y_offset]
        terms.append(short(x[c + x_offset] * y[c + y_offset], exp, precision))
    return terms


def far_sum(terms: Iterable[Scaled], precision: int, farthest: int = FARTHEST) -> Scaled:
    """A sum that rounds as the exact one does, for terms whose exponents may lie anywhere.

    Terms too small to reach the larger ones' last bit count by their sign alone, below
    every bit that rounding looks at, unless the larger ones cancel.
    """
    left = sorted((term for term in terms if term[0]), key=lambda term: term[1] + term[0].bit_length())
    man, exp = ZERO, 0
    while left:
        value, value_exp = left.pop()
        if not man:
            man, exp = value, value_exp
            continue
        if exp - value_exp - value.bit_length() > farthest + len(left) + precision:
            rest, _ = far_sum([*left, (value, value_exp)], precision, farthest)
            beyond = precision + 3
            return (man << beyond) + (0 if rest == 0 else 1 if rest > 0 else -1), exp - beyond
        low = min(exp, value_exp)
        man, exp = (man << exp - low) + (value << value_exp - low), low
    return man, exp
