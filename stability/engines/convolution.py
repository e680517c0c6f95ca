"""The kernels of ``conv`` layers, lag by lag, each distinct one once.

K_i = A^i K_0 (:mod:`compiler.convolution`).  A splits into blocks of units that read each
other; in a block whose powers vanish (a shift register) or come again (a permutation, an
accumulator) only the distinct kernels are kept.  Powers stay exact as long as their
entries are short; longer ones go on with p + 64 + log2 T bits, and are rounded once to
the format from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gmpy2 import mpq

from compiler.convolution import first_kernel
from compiler.exact import ZERO, Matrix
from compiler.model import Layer
from stability.engines.sums import scaled
from stability.formats import AnyFormat, MpmathFormat

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


def lag_kernels(layer: Layer, window: int, fmt: AnyFormat) -> tuple[LagKernel, ...]:
    """The kernels of a layer's units for lags 0 to ``window`` − 1.

    Args:
        layer: of kind ``conv``.
        window: T.
        fmt: decides how many bits long powers keep; short ones are exact.
    """
    start = first_kernel(layer)
    kernels: dict[int, LagKernel] = {}
    for block in _blocks(layer.weight_hh):
        place = {unit: k for k, unit in enumerate(block)}
        own = [tuple((place[j], w) for j, w in layer.weight_hh.rows[unit]) for unit in block]
        found, period = _powers(own, [start.rows[unit] for unit in block], window, fmt)
        for k, unit in enumerate(block):
            kernels[unit] = _trimmed([rows[k] for rows in found], period)
    return tuple(kernels[unit] for unit in range(layer.size))


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
    own: Sequence[Row], start: Sequence[Row], window: int, fmt: AnyFormat
) -> tuple[list[tuple[Row, ...]], int]:
    """The distinct kernels of a block of units, and how many of the last come again."""
    bits = fmt.precision + GUARD + window.bit_length()
    seen: dict[tuple[Row, ...], int] = {}
    found: list[tuple[Row, ...]] = []
    rows, exact = tuple(start), True
    while len(found) < window and any(rows):
        if exact:
            if rows in seen:
                return found, len(found) - seen[rows]
            seen[rows] = len(found)
        found.append(rows if exact or not isinstance(fmt, MpmathFormat) else _short(rows, fmt.precision))
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
    return tuple(tuple((column, _rounded(weight, bits)) for column, weight in row) for row in rows)


def _rounded(value: mpq, bits: int) -> mpq:
    man, exp = scaled(value, bits)
    return mpq(man << exp) if exp >= 0 else mpq(man, 1 << -exp)


def _trimmed(lags: Sequence[Row], period: int) -> LagKernel:
    """One unit's kernel without zero kernels at its end."""
    if period and not any(lags[len(lags) - period :]):
        period = 0
    end = len(lags)
    while not period and end and not lags[end - 1]:
        end -= 1
    return LagKernel(lags=tuple(lags[:end]), period=period)
