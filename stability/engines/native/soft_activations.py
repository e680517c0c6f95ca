"""Sigmoid and tanh for policies that no float type carries: the bits of :mod:`stability.activations`.

A value is found as a pair of float64 with a bound of its error, and rounded from there; if
that leaves a doubt, the definition gives it as a pair whose last bit stands for all others.
"""
# numba's functions are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np
from numba import njit, objmode

from stability.activations import HAIR, Function, odd_pair
from stability.engines.native.series import NOTHING, careful_sigmoid, careful_tanh
from stability.engines.native.soft import PRECISION, add_scaled, convert

HAIRLINE = 2.0**-200
TINY, TINIEST = 2.0**-60, 2.0**-500  # below them tanh is its argument less a hair
CLOSE = 2.0**-200  # below it sigmoid is 1/2 and a hair
NO_SCALE = np.int64(0)


def _defined_pair(value: float, tanh: bool) -> tuple[float, float, int]:
    function: Function = "tanh" if tanh else "sigmoid"
    return odd_pair(function, value)


@njit
def _by_definition(x, tanh, row, mode, place, moment):
    with objmode(high="float64", low="float64", scale="int64"):
        high, low, scale = _defined_pair(x, tanh)
    return add_scaled(high, low, scale, row, mode, place, moment)


@njit
def _limit(x, tanh, size, precision):
    """Where a function is a number and a hair: (it is, the number, the hair, their exponent)."""
    if (tanh or x > 0) and 1.44 * size * (2.0 if tanh else 1.0) >= precision + HAIR + 2:
        one = np.copysign(1.0, x)
        return True, one, -one * HAIRLINE, NO_SCALE
    if tanh and size < TINIEST:
        return True, x * 2.0**500, -x * 2.0**350, np.int64(-500)
    if tanh and size < TINY:
        return True, x, -x * 2.0**-150, NO_SCALE
    if not tanh and size < CLOSE:
        return True, 0.5, np.copysign(HAIRLINE, x), NO_SCALE
    return False, x, x, NO_SCALE


@njit
def _activated(x, tanh, row, mode, place, moment):
    """As :func:`activated`, or −0."""
    size = abs(x)
    if x != x:  # noqa: PLR0124 -- nan
        return x
    if x == 0 or size == np.inf:
        end = np.copysign(1.0, x) if tanh else (1.0 if x > 0 else 0.0)
        return convert(end if x != 0 else (0.0 if tanh else 0.5), row, mode, place, moment)
    known, high, low, scale = _limit(x, tanh, size, row[PRECISION])
    if known:
        return add_scaled(high, low, scale, row, mode, place, moment)
    if tanh and size < 20.0:
        high, low, margin = careful_tanh(size)
        if x < 0:
            high, low = -high, -low
    elif not tanh and NOTHING < x < 40.0:
        high, low, scale, margin = careful_sigmoid(x)
    else:
        return _by_definition(x, tanh, row, mode, place, moment)
    below, above = low - margin, low + margin
    if below != 0 and above != 0:
        least = add_scaled(high, below, scale, row, mode, place, moment)
        if least == add_scaled(high, above, scale, row, mode, place, moment):
            return least
    return _by_definition(x, tanh, row, mode, place, moment)


@njit
def activated(x, tanh, row, mode, place, moment):
    """A function of a float64, in the format of ``row``; see :func:`.soft.convert`; never −0.

    Args:
        x: the argument.
        tanh: or sigmoid.
        row: of the format.
        mode: of rounding.
        place: for stochastic rounding, where it is,
        moment: and when.
    """
    return _activated(x, tanh, row, mode, place, moment) + 0.0
