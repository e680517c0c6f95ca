"""Values with bounds on their errors, and the operations of a model on them.

Beside every value, which is computed in float64, stand two bounds: ``own``, on the
distance of the float64 value from the exact one, and ``error``, on the distance of what
an engine computes in a format from the exact one.  An engine may take its sums in any
order, with fused multiply-adds or in a wider format; it must round to nearest, keep
subnormal numbers, and round no more often than the equations of :mod:`compiler.model`
have operations.  With u = 2^-p the unit roundoff, η the smallest subnormal number,
γ_n = n·u / (1 − n·u), and hats for what the engine has:

- a sum of n products, p = Σ w·x: every product passes at most n roundings, so
  |p̂ − p| ≤ Σ (|w|·|x̂ − x| + |ŵ − w|·|x̂|) + γ_n·Σ |ŵ|·|x̂| + n·η; products of which a
  factor is exactly 0 do not count in n, and x alone, or −x, is not rounded;
- a product: |âb̂ − ab| ≤ |a|·|b̂ − b| + |b|·|â − a| + |â − a|·|b̂ − b|, and one rounding,
  but none if a factor is exactly ±1;
- ReLU lengthens no distance, and is 0 for both where the larger of them is ≤ 0.

Where all factors are known exactly, all products of a sum are multiples of 2^g, and their
magnitudes add up to less than 2^(p+g), every partial sum in every order is a number of
the format: nothing is rounded, and the bound is 0.  Where the magnitudes add up to more
than the largest finite number, some order may overflow, and the bound is infinite; so
are those of all sums that read that value, since in a dense kernel 0·∞ is nan.

The bounds are themselves float64 numbers; each is raised by a factor of 1 + 2^-40, more
than its own roundings (of up to 8,000 terms) can take away.

Running error analysis: N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd
edition, sections 3.1, 3.3 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.exact import Matrix, Vector
from stability.formats import FLOAT64, Format
from stability.rounding import floor_log2, round_rational

Floats: TypeAlias = npt.NDArray[np.float64]
Whole: TypeAlias = npt.NDArray[np.int64]
Truths: TypeAlias = npt.NDArray[np.bool_]

MARGIN = 1 + 2.0**-40
TINY = 1e-300  # more than float64 can have lost below its own range
ANY_GRID = 1 << 20  # zero is a multiple of everything


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bounded:
    """Values with what is known of their errors; all arrays have one shape.

    Attributes:
        value: float64 approximations of the exact values.
        own: bounds on |value − exact|.
        error: bounds on |engine − exact|; infinite where there is none.
    """

    value: Floats
    own: Floats
    error: Floats

    def __getitem__(self, place: Any) -> Bounded:
        return Bounded(value=self.value[place], own=self.own[place], error=self.error[place])

    @property
    def size(self) -> Floats:
        """Bounds on |exact|."""
        return np.asarray(np.abs(self.value) + self.own)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """Rows Σ w·x + b; the bias is the weight of a constant 1 after the last column.

    Attributes:
        columns: per term, the column it reads.
        weights: per term, its weight.
        grid: per term, the largest g with weight = m·2^g, where float64 has the weight.
        starts: per row, its first term.
    """

    columns: Whole
    weights: Bounded
    grid: Whole
    starts: Whole


class _Level:
    """Rounding in one format."""

    def __init__(self, fmt: Format) -> None:
        self._fmt = fmt
        self._roundoff = 2.0**-fmt.precision
        self._tiny = float(fmt.smallest_subnormal)
        self._least_grid = fmt.min_exponent - fmt.precision + 1
        self._largest = float(fmt.largest)

    def distance(self, value: mpq) -> float:
        """How far ``value`` is from its rounded self; infinite if that is."""
        rounded = round_rational(value, self._fmt)
        if np.isinf(rounded):
            return float(np.inf)
        distance = abs(value - mpq(rounded))
        return float(distance) * MARGIN + TINY if distance else 0.0

    def rounding(self, terms: Any, size: Floats) -> Floats:
        """γ_n·size + n·η for n ``terms``."""
        share = terms * self._roundoff
        gamma = np.where(share < 0.5, share / (1 - np.minimum(share, 0.5)), np.inf)
        return np.asarray(gamma * size + terms * self._tiny)

    def exact(self, size: Floats, grid: Whole) -> Truths:
        """Whether multiples of 2^grid whose magnitudes add up to ``size`` have exact sums."""
        fits = np.ldexp(size, -np.clip(grid, -1100, 1000)) < 2.0**self._fmt.precision
        return np.asarray((size == 0) | (fits & (grid >= self._least_grid) & (size <= self._largest)))

    def closed(self, error: Floats, size: Floats) -> Floats:
        """A bound raised by its own roundings; infinite where ``size`` can overflow."""
        safe = np.where(error == 0, 0.0, error * MARGIN + TINY)
        return np.where(np.isnan(safe) | ~((size + safe) * MARGIN <= self._largest), np.inf, safe)


class Arithmetic:
    """The operations of a model, for an engine that computes in ``fmt``."""

    def __init__(self, fmt: Format) -> None:
        self._own, self._engine = _Level(FLOAT64), _Level(fmt)

    # ------------------------------------------------------------ constants

    def constants(self, values: Iterable[mpq]) -> Bounded:
        """Exact numbers that float64 and the engine round once."""
        known: dict[mpq, tuple[float, float, float]] = {}
        rows = [known.get(v) or known.setdefault(v, self._constant(v)) for v in values]
        columns = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
        return Bounded(value=columns[:, 0], own=columns[:, 1], error=columns[:, 2])

    def _constant(self, value: mpq) -> tuple[float, float, float]:
        near = round_rational(value, FLOAT64)
        own, error = self._own.distance(value), self._engine.distance(value)
        return (near, own, error) if np.isfinite(near) else (0.0, np.inf, np.inf)

    def sums(self, matrices: Sequence[Matrix], bias: Vector) -> Sums:
        """The rows of matrices that stand side by side, and a bias."""
        columns: list[int] = []
        weights: list[mpq] = []
        starts: list[int] = []
        for row, constant in enumerate(bias):
            starts.append(len(columns))
            offset = 0
            for matrix in matrices:
                columns.extend(offset + j for j, _ in matrix.rows[row])
                weights.extend(w for _, w in matrix.rows[row])
                offset += matrix.width
            columns.append(offset)
            weights.append(constant)
        return Sums(
            columns=np.array(columns, dtype=np.int64),
            weights=self.constants(weights),
            grid=np.array([_grid_of(weight) for weight in weights], dtype=np.int64),
            starts=np.array(starts, dtype=np.int64),
        )

    # ------------------------------------------------------------ operations

    def weighted(self, rows: Sums, inputs: Bounded) -> Bounded:
        """Σ w·x + b for each row; ``inputs`` is (B, D)."""
        x, w = with_one(inputs)[:, rows.columns], rows.weights
        w_size, x_seen = w.size, x.size + x.error
        w_seen = w_size + w.error
        value = _total(w.value * x.value, rows)
        grid = np.minimum.reduceat(_grid(x.value) + rows.grid, rows.starts, axis=1)
        zero, unit = x_seen == 0, np.abs(w.value) == 1
        own_size = _total(np.abs(w.value * x.value), rows)
        own = _total(w_size * x.own + w.own * np.abs(x.value), rows)
        own += self._own.rounding(
            _terms((x.value == 0) | (w.value == 0), unit & (w.own == 0), rows), own_size
        )
        own_known = _all((x.own == 0) & ((w.own == 0) | (x.value == 0)), rows)
        size = _total(w_seen * x_seen, rows)
        error = _total(w_size * x.error + w.error * x_seen, rows)
        error += self._engine.rounding(_terms(zero | (w_seen == 0), unit & (w.error == 0), rows), size)
        known = _all((x.own == 0) & (x.error == 0) & ((w.error == 0) | (x.value == 0)), rows)
        own = np.where(own_known & self._own.exact(own_size, grid), 0.0, own)
        error = np.where(known & self._engine.exact(size, grid), 0.0, error)
        # a dense kernel multiplies what overflowed by the zeros of all its rows: 0·∞ is nan
        error = np.where(np.isinf(inputs.error).any(axis=1, keepdims=True), np.inf, error)
        return self._made(value, own, error, own_size, size)

    def product(self, a: Bounded, b: Bounded) -> Bounded:
        """The product a ⊙ b."""
        value = a.value * b.value
        own_size, grid = np.abs(value), _grid(a.value) + _grid(b.value)
        own = np.abs(a.value) * b.own + np.abs(b.value) * a.own + a.own * b.own
        free = ((np.abs(a.value) == 1) & (a.own == 0)) | ((np.abs(b.value) == 1) & (b.own == 0))
        exact = (a.own == 0) & (b.own == 0) & self._own.exact(own_size, grid)
        nothing = ((a.size == 0) & np.isfinite(b.own)) | ((b.size == 0) & np.isfinite(a.own))
        own = np.where(exact | nothing, 0.0, own + self._own.rounding(~free, own_size))
        a_known, b_known = _known(a), _known(b)
        size = (a.size + a.error) * (b.size + b.error)
        error = a.size * b.error + b.size * a.error + a.error * b.error
        free = ((np.abs(a.value) == 1) & a_known) | ((np.abs(b.value) == 1) & b_known)
        exact = a_known & b_known & self._engine.exact(own_size, grid)
        nothing = ((a.size == 0) & a_known & np.isfinite(b.error)) | (
            (b.size == 0) & b_known & np.isfinite(a.error)
        )
        error = np.where(exact | nothing, 0.0, error + self._engine.rounding(~free, size))
        return self._made(value, own, error, own_size, np.where(nothing, 0.0, size))

    def plus(self, a: Bounded, b: Bounded) -> Bounded:
        """The sum a + b."""
        value, grid = a.value + b.value, np.minimum(_grid(a.value), _grid(b.value))
        own_size = np.abs(a.value) + np.abs(b.value)
        alone = (a.value == 0) | (b.value == 0)
        exact = (a.own == 0) & (b.own == 0) & self._own.exact(own_size, grid)
        own = a.own + b.own + self._own.rounding(~(alone | exact), own_size)
        size = a.size + a.error + b.size + b.error
        alone = (a.size + a.error == 0) | (b.size + b.error == 0)
        exact = _known(a) & _known(b) & self._engine.exact(size, grid)
        error = a.error + b.error + self._engine.rounding(~(alone | exact), size)
        return self._made(value, own, error, own_size, size)

    def relu(self, a: Bounded) -> Bounded:
        """The larger of 0 and a."""
        return Bounded(
            value=np.maximum(a.value, 0.0),
            own=np.minimum(a.own, np.maximum(0.0, (a.value + a.own) * MARGIN)),
            error=np.minimum(a.error, np.maximum(0.0, (a.value + a.own + a.error) * MARGIN)),
        )

    def _made(self, value: Floats, own: Floats, error: Floats, own_size: Floats, size: Floats) -> Bounded:
        lost = ~np.isfinite(value)
        return Bounded(
            value=np.where(lost, 0.0, value),
            own=np.where(lost, np.inf, self._own.closed(own, own_size)),
            error=np.where(lost, np.inf, self._engine.closed(error, size)),
        )


def with_one(values: Bounded) -> Bounded:
    """(B, D) with a column of exact ones behind it."""
    one, zero = np.ones((len(values.value), 1)), np.zeros((len(values.value), 1))
    return joined([values, Bounded(value=one, own=zero, error=zero)])


def joined(parts: Sequence[Bounded]) -> Bounded:
    """Several (B, D) side by side."""
    return Bounded(
        value=np.concatenate([part.value for part in parts], axis=1),
        own=np.concatenate([part.own for part in parts], axis=1),
        error=np.concatenate([part.error for part in parts], axis=1),
    )


def _known(values: Bounded) -> Truths:
    return np.asarray((values.own == 0) & (values.error == 0))


def _total(terms: Floats, rows: Sums) -> Floats:
    return np.asarray(np.add.reduceat(terms, rows.starts, axis=1))


def _all(truths: Truths, rows: Sums) -> Truths:
    return np.asarray(np.logical_and.reduceat(truths, rows.starts, axis=1))


def _terms(absent: Truths, unit: Truths, rows: Sums) -> Floats:
    """How many products of a row are rounded: a single one of a weight ±1 is not."""
    count = _total((~absent).astype(np.float64), rows)
    plain = _all(absent | unit, rows)
    return np.where((count == 1) & plain, 0.0, count)


def _grid(values: Floats) -> Whole:
    """Per value, the largest g of which it is a multiple of 2^g."""
    fraction, exponent = np.frexp(values)
    whole = np.ldexp(fraction, 53).astype(np.int64)
    lowest = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return np.where(values == 0, ANY_GRID, exponent - 53 + lowest).astype(np.int64)


def _grid_of(value: mpq) -> int:
    """The same of an exact number; meaningless (and unused) where float64 has it not."""
    if value == 0:
        return ANY_GRID
    return int(floor_log2(mpq(value.numerator & -value.numerator, value.denominator)))
