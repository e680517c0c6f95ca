"""The loops of policies that no float type carries: column by column, in integers.

The tables are those of :mod:`.kernels`, of a plan in which nothing is folded
(:mod:`stability.engines.literal_plan`).
"""
# numba's functions are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call"
# ruff: noqa: ARG001

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, types

from stability.engines.native.kernels import note, remember
from stability.engines.native.layout import (
    ACCUMULATOR,
    AFFINE,
    CONVOLUTION,
    COUNT,
    FIRST,
    KIND,
    LAGS,
    LAST,
    LEFT,
    ONE,
    OUT,
    PERIOD,
    PLACE,
    PRODUCT,
    RELU,
    RIGHT,
    SMOOTH,
    TANH,
    TWO,
)
from stability.engines.native.soft import STOCHASTIC, add, convert, mix, multiply
from stability.engines.native.soft_activations import activated

PRODUCTS, SUMS = 0, 1  # rows of the formats; a place's is SUMS plus its number
ACTIVATED = 3
KEY, NUMBER, PLACED = range(3)  # columns of the sites
NOWHERE = np.uint64(0)


class SoftMark(NamedTuple):
    """What the loops need to know of a policy, in place of a mark.

    Attributes:
        formats: rows of :func:`.soft.format_row`: products, accumulator, state, activations, readout.
        mode: of :func:`.soft.mode_number`.
        sites: per operation, the key of its layer and unit, and the numbers of its first rounding
            and of the last one (:mod:`stability.random_bits`).
        seed: mix(seed xor SALT).
        first: the number of the first sequence.
    """

    formats: npt.NDArray[np.float64]
    mode: np.int64
    sites: npt.NDArray[np.uint64]
    seed: np.uint64
    first: np.uint64


def is_soft(mark: Any) -> bool:
    """Whether a mark's type is that of this module."""
    return isinstance(mark, types.NamedTuple)


@njit
def _where(mark, row, further):
    """The place of a rounding, ``further`` behind the operation's first one."""
    if mark.mode != STOCHASTIC:
        return NOWHERE
    return mix(mark.sites[row, KEY] + mark.sites[row, NUMBER] + further)


@njit
def _when(mark, column, width):
    """The moment of a column, counted from the first token on."""
    if mark.mode != STOCHASTIC:
        return NOWHERE
    return mix(mix(mark.seed + mark.first + column % width) + column // width)


@njit
def _accumulated(regs, table, row, bias, offsets, weights, c, moment, mark):
    """An accumulator in one column."""
    products, sums, mode = mark.formats[PRODUCTS], mark.formats[SUMS], mark.mode
    value, further = bias, NOWHERE
    for k in range(table[row, FIRST], table[row, LAST]):
        here = _where(mark, row, further)
        product = multiply(weights[k], regs[offsets[k] + c], products, mode, here, moment)
        value = add(value, product, sums, mode, _where(mark, row, further + ONE), moment)
        further += TWO
    return value


@njit
def _convolved(table, row, bias, past, c, width, moment, mark):
    """A convolution in one column; see :func:`.kernels._convolution_columns`."""
    held, _, starts, slots, reach, begun, weights = past
    products, sums, mode = mark.formats[PRODUCTS], mark.formats[SUMS], mark.mode
    lags, count, period = table[row, LAGS], table[row, COUNT], table[row, PERIOD]
    value, further = bias, NOWHERE
    lag, behind = NOWHERE, NOWHERE
    while behind <= begun + c:
        k = lag
        if lag >= count:
            if period == NOWHERE:
                break
            k = count - period + (lag - count) % period
        for e in range(starts[lags + k], starts[lags + k + ONE]):
            x = held[slots[e] * reach + begun + c - behind]
            product = multiply(weights[e], x, products, mode, _where(mark, row, further), moment)
            value = add(value, product, sums, mode, _where(mark, row, further + ONE), moment)
            further += TWO
        lag += ONE
        behind += width
    return value


@njit
def _computed(regs, table, row, biases, offsets, weights, past, c, width, moment, mark):
    """An operation in one column, before its activation."""
    kind, left, right = table[row, KIND], table[row, LEFT] + c, table[row, RIGHT] + c
    if kind in (AFFINE, ACCUMULATOR):
        return _accumulated(regs, table, row, biases[row], offsets, weights, c, moment, mark)
    if kind == CONVOLUTION:
        return _convolved(table, row, biases[row], past, c, width, moment, mark)
    here = _where(mark, row, NOWHERE)
    if kind == PRODUCT:
        return multiply(regs[left], regs[right], mark.formats[PRODUCTS], mark.mode, here, moment)
    if table[row, COUNT] == ONE:
        return regs[left]
    return add(regs[left], regs[right], mark.formats[SUMS], mark.mode, here, moment)


@njit
def _finished(value, table, row, moment, mark):
    """A value after its activation, rounded to its place."""
    here = NOWHERE
    if mark.mode == STOCHASTIC:
        here = mix(mark.sites[row, KEY] + mark.sites[row, PLACED])
    if table[row, SMOOTH]:
        return activated(value, table[row, SMOOTH] == TANH, mark.formats[ACTIVATED], mark.mode, here, moment)
    if table[row, RELU] and value <= 0:
        return 0.0
    place = table[row, PLACE]
    if place == NOWHERE:
        return value
    return convert(value, mark.formats[np.int64(place) + SUMS], mark.mode, here, moment)


@njit
def run_block(regs, table, biases, offsets, weights, groups, steps, width, mark, status, watched, past):
    """Advance ``width`` sequences by ``steps`` steps; see :func:`.kernels.run_block`."""
    stop, begun = steps * width, past[5]
    for g in range(len(groups)):
        first, last, step = groups[g, 0], groups[g, 1], groups[g, 2] * width
        if step == NOWHERE:
            step = stop
        start = NOWHERE
        while start < stop:
            end = min(start + step, stop)
            for row in range(first, last):
                if table[row, KIND] == CONVOLUTION:
                    remember(regs, table, row, offsets, past, stop)
                for c in range(start, end):
                    moment = _when(mark, begun + c, width)
                    value = _computed(
                        regs, table, row, biases, offsets, weights, past, c, width, moment, mark
                    )
                    note(value, status, c)
                    value = _finished(value, table, row, moment, mark)
                    note(value, status, c)
                    regs[table[row, OUT] + c] = value
            start = end
