"""Exact numbers, vectors and sparse matrices over the rationals.

The compiler never rounds: every constant of a program is a ``gmpy2.mpq``.
``0.001`` means 1/1000.  Cosines, sines and square roots that are irrational are
correctly rounded ONCE to :data:`IRRATIONAL_BITS` significant bits and are from
then on that dyadic rational.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from numbers import Integral
from typing import TypeAlias, cast

import gmpy2
from gmpy2 import mpq
from mpmath import libmp

Number: TypeAlias = int | float | str | Decimal | Fraction | mpq
Vector: TypeAlias = tuple[mpq, ...]

IRRATIONAL_BITS = 512
_GUARDED_BITS = IRRATIONAL_BITS + 128
ZERO = mpq(0)
ONE = mpq(1)


def exact(value: Number) -> mpq:
    """The exact rational that ``value`` writes down.

    A float is read as the decimal that Python prints for it, so ``exact(0.001)``
    is 1/1000 and not the nearest double.

    Raises:
        ValueError: ``value`` is not finite or not a number.
    """
    if isinstance(value, mpq):
        return value
    if isinstance(value, bool):
        return ONE if value else ZERO
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is not a finite number")
        return mpq(Fraction(Decimal(repr(float(value)))))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value!r} is not a finite number")
        return mpq(Fraction(value))
    if isinstance(value, str):
        return mpq(Fraction(value))
    if isinstance(value, Fraction | Integral):  # numpy's integers are Integral, but mpq refuses them
        return mpq(value if isinstance(value, Fraction) else int(value))
    raise ValueError(f"{value!r} is not a number")


def _from_mpf(value: tuple[int, int, int, int]) -> mpq:
    sign, mantissa, exponent, _ = value
    magnitude = mpq(mantissa) * (mpq(2) ** exponent)
    return -magnitude if sign else magnitude


def _irrational(guarded: tuple[int, int, int, int]) -> mpq:
    """A value known to 128 guard bits, rounded to nearest at 512 bits."""
    return _from_mpf(libmp.mpf_pos(guarded, IRRATIONAL_BITS, "n"))


def _guarded(value: mpq) -> tuple[int, int, int, int]:
    rounded = libmp.from_rational(int(value.numerator), int(value.denominator), _GUARDED_BITS, "n")
    return cast(tuple[int, int, int, int], rounded)


_EXACT_COSINES = {
    mpq(0): mpq(1),
    mpq(1, 3): mpq(1, 2),
    mpq(1, 2): mpq(0),
    mpq(2, 3): mpq(-1, 2),
    mpq(1): mpq(-1),
}


@lru_cache(maxsize=4096)
def cos_pi(turn: mpq) -> mpq:
    """cos(π·turn): exact at 0, ±1/2 and ±1, else correctly rounded to 512 bits."""
    folded = turn % 2
    if folded > 1:
        folded = 2 - folded
    known = _EXACT_COSINES.get(folded)
    if known is not None:
        return known
    if folded > mpq(1, 2):
        return -cos_pi(1 - folded)
    return _irrational(libmp.mpf_cos_pi(_guarded(folded), _GUARDED_BITS, "n"))


def sin_pi(turn: mpq) -> mpq:
    """sin(π·turn), by the same rule as :func:`cos_pi`."""
    return cos_pi(turn - mpq(1, 2))


def square_root(value: mpq) -> mpq:
    """√value: exact for squares of rationals, else correctly rounded to 512 bits.

    Raises:
        ValueError: ``value`` is negative.
    """
    if value < 0:
        raise ValueError(f"square root of {value}, which is negative")
    if gmpy2.is_square(value.numerator) and gmpy2.is_square(value.denominator):
        return mpq(gmpy2.isqrt(value.numerator), gmpy2.isqrt(value.denominator))
    return _irrational(libmp.mpf_sqrt(_guarded(value), _GUARDED_BITS, "n"))


def next_power_of_two(value: mpq) -> mpq:
    """The smallest power of two (any integer exponent) that is ≥ ``value`` > 0."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - 1
    power = mpq(2) ** exponent
    while power < value:
        power *= 2
    return power


@dataclass(frozen=True, slots=False, kw_only=True)
class Matrix:
    """An immutable sparse matrix of rationals.

    Attributes:
        height: number of rows.
        width: number of columns.
        rows: per row, its non-zero entries as (column, value), columns ascending.
    """

    height: int
    width: int
    rows: tuple[tuple[tuple[int, mpq], ...], ...]

    @classmethod
    def from_rows(cls, width: int, rows: Iterable[Mapping[int, mpq]]) -> Matrix:
        """Build from one mapping column → value per row; zeros are dropped."""
        packed = tuple(
            tuple(sorted((column, value) for column, value in row.items() if value != 0)) for row in rows
        )
        return cls(height=len(packed), width=width, rows=packed)

    @classmethod
    def dense(cls, values: Sequence[Sequence[Number]]) -> Matrix:
        """Build from nested sequences.

        Raises:
            ValueError: rows of different length, or an entry that is not a finite number.
        """
        width = len(values[0]) if values else 0
        for number, row in enumerate(values):
            if len(row) != width:
                raise ValueError(f"row {number} has {len(row)} entries, row 0 has {width}")
        return cls.from_rows(width, [{j: exact(v) for j, v in enumerate(row)} for row in values])

    @cached_property
    def nonzeros(self) -> int:
        """Number of stored (non-zero) entries."""
        return sum(len(row) for row in self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    def entries(self) -> Iterator[tuple[int, int, mpq]]:
        """All non-zero entries as (row, column, value), row by row."""
        for i, row in enumerate(self.rows):
            for j, value in row:
                yield i, j, value

    def times(self, vector: Sequence[mpq]) -> Vector:
        """The matrix–vector product."""
        return tuple(sum((value * vector[j] for j, value in row), ZERO) for row in self.rows)

    @cached_property
    def transpose(self) -> Matrix:
        """The transposed matrix."""
        columns: list[dict[int, mpq]] = [{} for _ in range(self.width)]
        for i, j, value in self.entries():
            columns[j][i] = value
        return Matrix.from_rows(self.height, columns)

    def __matmul__(self, other: Matrix) -> Matrix:
        rows: list[dict[int, mpq]] = []
        for row in self.rows:
            total: dict[int, mpq] = {}
            for k, value in row:
                for j, factor in other.rows[k]:
                    total[j] = total.get(j, ZERO) + value * factor
            rows.append(total)
        return Matrix.from_rows(other.width, rows)

    def scaled(self, factor: mpq) -> Matrix:
        """Every entry times ``factor``."""
        return Matrix.from_rows(self.width, [{j: v * factor for j, v in row} for row in self.rows])

    def plus(self, other: Matrix) -> Matrix:
        """Entrywise sum of two matrices of equal shape."""
        rows = []
        for left, right in zip(self.rows, other.rows, strict=True):
            total = dict(left)
            for j, value in right:
                total[j] = total.get(j, ZERO) + value
            rows.append(total)
        return Matrix.from_rows(self.width, rows)


def zeros(height: int, width: int) -> Matrix:
    """The zero matrix."""
    return Matrix(height=height, width=width, rows=((),) * height)


def ones(height: int, width: int) -> Matrix:
    """The matrix of ones."""
    row = tuple((j, ONE) for j in range(width))
    return Matrix(height=height, width=width, rows=(row,) * height)


def eye(size: int) -> Matrix:
    """The identity."""
    return diag([ONE] * size)


def diag(values: Sequence[mpq]) -> Matrix:
    """A diagonal matrix."""
    return Matrix.from_rows(len(values), [{i: value} for i, value in enumerate(values)])


def shift(size: int) -> Matrix:
    """The shift register: row i reads element i−1, row 0 reads nothing."""
    return Matrix.from_rows(size, [{i - 1: ONE} if i else {} for i in range(size)])


def cycle(size: int) -> Matrix:
    """The cyclic permutation: row i reads element i−1, row 0 reads the last."""
    return Matrix.from_rows(size, [{(i - 1) % size: ONE} for i in range(size)])


def rotation(turn: mpq) -> Matrix:
    """The 2×2 rotation by the angle π·``turn``."""
    cosine, sine = cos_pi(turn), sin_pi(turn)
    return Matrix.from_rows(2, [{0: cosine, 1: -sine}, {0: sine, 1: cosine}])


def hstack(blocks: Sequence[Matrix]) -> Matrix:
    """Blocks side by side.

    Raises:
        ValueError: no block, or blocks of different height.
    """
    if not blocks:
        raise ValueError("hstack of nothing")
    if len({block.height for block in blocks}) > 1:
        raise ValueError(f"hstack of blocks with heights {[block.height for block in blocks]}")
    rows: list[dict[int, mpq]] = [{} for _ in range(blocks[0].height)]
    offset = 0
    for block in blocks:
        for i, j, value in block.entries():
            rows[i][offset + j] = value
        offset += block.width
    return Matrix.from_rows(offset, rows)


def vstack(blocks: Sequence[Matrix]) -> Matrix:
    """Blocks on top of each other.

    Raises:
        ValueError: no block, or blocks of different width.
    """
    if not blocks:
        raise ValueError("vstack of nothing")
    if len({block.width for block in blocks}) > 1:
        raise ValueError(f"vstack of blocks with widths {[block.width for block in blocks]}")
    rows = tuple(row for block in blocks for row in block.rows)
    return Matrix(height=len(rows), width=blocks[0].width, rows=rows)
