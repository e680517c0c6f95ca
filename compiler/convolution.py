"""The kernels of ``conv`` layers, lag by lag, each distinct one once.

K_i = A^i K_0.  A splits into blocks of units that read each other; in a block whose
powers vanish (a shift register) or come again (a permutation, an accumulator) only the
distinct kernels are kept.  Powers stay exact as long as their entries are short; longer
ones go on with p + 64 + log2 T bits, and are rounded once to the format from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpq

from compiler.exact import ZERO, Matrix, hstack
from compiler.model import Layer

LONGEST = 4096
"""Bits of an exact entry, numerator and denominator together, before rounding sets in."""
GUARD = 64

Row = tuple[tuple[int, mpq], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagKernel:
    """One unit's weights at every lag.

    Attributes:
        lags: per lag its (column, weight) pairs, columns ascending; the last column, the
            layer's width, is the constant 1.
        period: how many of the last ``lags`` come again for ever; 0: all later ones are zero.
    """

    lags: tuple[Row, ...]
    period: int

    def at(self, lag: int) -> Row:
        """The weights at one lag."""
        if lag < len(self.lags):
            return self.lags[lag]
        if not self.period:
            return ()
        return self.lags[len(self.lags) - self.period + (lag - len(self.lags)) % self.period]


def first_kernel(layer: Layer) -> Matrix:
    """K_0 = [B, b + A s0 − s0], H × (D + 1); its last column reads the constant 1."""
    start = layer.initial or (ZERO,) * layer.size
    moved = layer.weight_hh.times(start)
    constant = [b + after - before for b, after, before in zip(layer.bias, moved, start, strict=True)]
    return hstack([layer.weight_ih, Matrix.from_rows(1, [{0: value} for value in constant])])


def lag_kernels(
    layer: Layer, window: int, precision: int, *, keep: int | None = None
) -> tuple[LagKernel, ...]:
    """The kernels of a layer's units for lags 0 to ``window`` − 1.

    Args:
        layer: of kind ``conv``.
        window: T.
        precision: p, the bits of the format that they are for; long powers keep
            p + 64 + log2 T, short ones are exact.
        keep: bits to which a long power is rounded when it is stored; default: all it has.
    """
    start = first_kernel(layer)
    bits = precision + GUARD + window.bit_length()
    kernels: dict[int, LagKernel] = {}
    for block in _blocks(layer.weight_hh):
        place = {unit: k for k, unit in enumerate(block)}
        own = [tuple((place[j], w) for j, w in layer.weight_hh.rows[unit]) for unit in block]
        found, period = _powers(own, [start.rows[unit] for unit in block], window, bits, keep)
        for k, unit in enumerate(block):
            kernels[unit] = _trimmed([rows[k] for rows in found], period)
    return tuple(kernels[unit] for unit in range(layer.size))


def lag_matrices(layer: Layer, window: int | None, precision: int) -> list[Matrix]:
    """The kernels K_i of a ``conv`` by lag, up to the window or the last that is not zero.

    Each is H × (D + 1); its last column reads the constant 1.  Other kinds have none.

    Args:
        layer: of any kind.
        window: T; every model with a ``conv`` has one.
        precision: as in :func:`lag_kernels`.
    """
    if layer.kind != "conv":
        return []
    assert window is not None
    kernels = lag_kernels(layer, window, precision)
    lags = max((window if kernel.period else len(kernel.lags) for kernel in kernels), default=0)
    width = layer.weight_ih.width + 1
    return [
        Matrix(height=layer.size, width=width, rows=tuple(kernel.at(lag) for kernel in kernels))
        for lag in range(lags)
    ]


def _blocks(matrix: Matrix) -> list[list[int]]:
    """Units that are connected through ``matrix``, block by block."""
    parent = list(range(matrix.height))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    for row, column, _ in matrix.entries():
        parent[root(row)] = root(column)
    blocks: dict[int, list[int]] = {}
    for unit in range(matrix.height):
        blocks.setdefault(root(unit), []).append(unit)
    return list(blocks.values())


def _powers(
    own: Sequence[Row], start: Sequence[Row], window: int, bits: int, keep: int | None
) -> tuple[list[tuple[Row, ...]], int]:
    """The distinct kernels of a block of units, and how many of the last come again."""
    seen: dict[tuple[Row, ...], int] = {}
    found: list[tuple[Row, ...]] = []
    rows, exact = tuple(start), True
    while len(found) < window and any(rows):
        if exact:
            if rows in seen:
                return found, len(found) - seen[rows]
            seen[rows] = len(found)
        found.append(rows if exact or keep is None else _short(rows, keep))
        rows = tuple(_combined(each, rows) for each in own)
        exact = exact and _longest(rows) <= LONGEST
        if not exact:
            rows = _short(rows, bits)
    return found, 0


def _combined(own: Row, rows: Sequence[Row]) -> Row:
    total: dict[int, mpq] = {}
    for unit, factor in own:
        for column, weight in rows[unit]:
            total[column] = total.get(column, ZERO) + factor * weight
    return tuple(sorted((column, weight) for column, weight in total.items() if weight))


def _longest(rows: Iterable[Row]) -> int:
    return max(
        (w.numerator.bit_length() + w.denominator.bit_length() for row in rows for _, w in row), default=0
    )


def _short(rows: Iterable[Row], bits: int) -> tuple[Row, ...]:
    nearest = gmpy2.context(precision=bits, round=gmpy2.RoundToNearest)
    return tuple(
        tuple((column, mpq(gmpy2.mpfr(weight, 0, nearest))) for column, weight in row) for row in rows
    )


def _trimmed(lags: Sequence[Row], period: int) -> LagKernel:
    """One unit's kernel without zero kernels at its end."""
    if period and not any(lags[len(lags) - period :]):
        period = 0
    end = len(lags)
    while not period and end and not lags[end - 1]:
        end -= 1
    return LagKernel(lags=tuple(lags[:end]), period=period)
