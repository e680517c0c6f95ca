"""Sums and products of arrays, rounded once to any format in any mode.

float64 gives a sum or a product as two numbers without an error between them (TwoSum by
Knuth, TwoProduct by Dekker); the pair is what :func:`stability.rounding.round_pairs`
rounds.  So nothing is rounded twice, whatever the format and the mode.

A sum that is zero is +0 in every mode, but −0 for two zeros of that sign.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stability.formats import Format
from stability.rounding import FAR, NO_BITS, Doubles, FloatArray, Mode, Words, round_pairs

SPLITTER = 2.0**27 + 1


def add(
    left: FloatArray, right: FloatArray, fmt: Format, mode: Mode = "nearest", bits: Words = NO_BITS
) -> Doubles:
    """The sums left + right, elementwise, in ``fmt``.

    Args:
        left: any shape; inf, nan and −0 included.
        right: the same shape.
        fmt: the result's format, of at most 53 bits.
        mode: the direction.
        bits: for ``stochastic``, 32 random bits per element.

    Returns:
        The sums, held in float64.
    """
    a, b = (np.asarray(each, dtype=np.float64) for each in (left, right))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        plain = a + b
        ended = ~(np.isfinite(a) & np.isfinite(b))
        (x, x_exp), (y, y_exp) = _parts(a), _parts(b)
        exponent = np.maximum(np.where(a == 0, y_exp, x_exp), np.where(b == 0, x_exp, y_exp))
        x, y = _shifted(x, x_exp - exponent), _shifted(y, y_exp - exponent)
        high = x + y
        of_y = high - x
        low = (x - (high - of_y)) + (y - of_y)
    # a sum that only float64 has no room for is finite here
    plain = np.where(ended, plain, np.where(high == 0, np.where((a == 0) & (b == 0), plain, 0.0), high))
    return round_pairs(plain, (high, low, exponent), fmt, mode, bits)


def multiply(
    left: FloatArray, right: FloatArray, fmt: Format, mode: Mode = "nearest", bits: Words = NO_BITS
) -> Doubles:
    """The products left · right, elementwise, in ``fmt``; see :func:`add`."""
    a, b = (np.asarray(each, dtype=np.float64) for each in (left, right))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        plain = a * b
        ended = ~(np.isfinite(a) & np.isfinite(b)) | (a == 0) | (b == 0)
        (x, x_exp), (y, y_exp) = _parts(a), _parts(b)
        high = x * y
        (x_top, x_end), (y_top, y_end) = _halves(x), _halves(y)
        low = ((x_top * y_top - high) + x_top * y_end + x_end * y_top) + x_end * y_end
    plain = np.where(ended, plain, high)
    return round_pairs(plain, (high, low, x_exp + y_exp), fmt, mode, bits)


def _parts(values: Doubles) -> tuple[Doubles, npt.NDArray[np.int64]]:
    fraction, exponent = np.frexp(values)
    return fraction, exponent.astype(np.int64)


def _shifted(fraction: Doubles, shift: npt.NDArray[np.int64]) -> Doubles:
    """fraction·2^shift for shift ≤ 0; what is very small keeps its sign and its being there."""
    return np.ldexp(fraction, np.maximum(shift, -FAR).astype(np.int32))


def _halves(fraction: Doubles) -> tuple[Doubles, Doubles]:
    """Veltkamp's splitting into two numbers of 26 bits."""
    scaled = SPLITTER * fraction
    top = scaled - (scaled - fraction)
    return top, fraction - top
