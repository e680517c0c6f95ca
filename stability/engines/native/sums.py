"""Accumulators over columns, and those that feed themselves; see :mod:`.kernels`."""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated,redundant-expr"

from __future__ import annotations

import numpy as np
from numba import njit

from stability.engines.native.arithmetic import (
    STATE,
    bounded,
    kept,
    lower_bound,
    magnitude_max,
    no_magnitude,
    place_mark,
    places,
    rounded,
)
from stability.engines.native.layout import FIRST, LAST, ONE, OUT, RELU, THIRD, TWO


@njit(forceinline=True)
def _plus_two(total, u, x, v, y, mark):
    """Returns total + u·x + v·y, summed in this order."""
    total = rounded(total + rounded(u * x, mark), mark)
    return rounded(total + rounded(v * y, mark), mark)


@njit(forceinline=True)
def _one_term(regs, out, bias, u, x, start, stop, bound, mark):
    """One term over columns: out = bias + u·x."""
    largest = no_magnitude(bias)
    for c in range(start, stop):
        total = rounded(bias + rounded(u * regs[x + c], mark), mark)
        largest = magnitude_max(largest, total)
        regs[out + c] = bounded(total, bound)
    return largest


@njit(forceinline=True)
def _two_terms(regs, out, bias, u, v, x, y, start, stop, bound, mark):
    """Two terms over columns: out = bias + u·x + v·y."""
    largest = no_magnitude(bias)
    for c in range(start, stop):
        total = _plus_two(bias, u, regs[x + c], v, regs[y + c], mark)
        largest = magnitude_max(largest, total)
        regs[out + c] = bounded(total, bound)
    return largest


@njit(forceinline=True)
def _two_more(regs, out, u, v, x, y, start, stop, bound, mark):
    """Two more terms over columns: out = out + u·x + v·y."""
    largest = no_magnitude(u)
    for c in range(start, stop):
        total = _plus_two(regs[out + c], u, regs[x + c], v, regs[y + c], mark)
        largest = magnitude_max(largest, total)
        regs[out + c] = bounded(total, bound)
    return largest


@njit(forceinline=True)
def affine_columns(regs, table, row, bias, offsets, weights, start, stop, mark):
    """An affine operation over columns; returns the largest magnitude before its activation."""
    out, k, last = table[row, THIRD], table[row, FIRST], table[row, LAST]
    bound = lower_bound(table[row, RELU], bias)
    left = last - k
    none = lower_bound(ONE - ONE, bias)
    largest = magnitude_max(no_magnitude(bias), bias)
    if left == 0:
        value = bounded(bias, bound)
        for c in range(start, stop):
            regs[out + c] = value
    elif left & ONE:
        end = bound if left == ONE else none
        largest = _one_term(regs, out, bias, weights[k], offsets[k], start, stop, end, mark)
        k += ONE
    else:
        u, v, x, y = weights[k], weights[k + ONE], offsets[k], offsets[k + ONE]
        end = bound if left == TWO else none
        largest = _two_terms(regs, out, bias, u, v, x, y, start, stop, end, mark)
        k += TWO
    while k < last:
        u, v, x, y = weights[k], weights[k + ONE], offsets[k], offsets[k + ONE]
        k += TWO
        end = bound if k == last else none
        largest = _two_more(regs, out, u, v, x, y, start, stop, end, mark)
    return largest


@njit(forceinline=True)
def placed_columns(regs, out, start, stop, mark):
    """Round columns by the mark of a place; returns their largest magnitude then."""
    largest = no_magnitude(regs[0])
    for c in range(start, stop):
        value = rounded(regs[out + c], mark)
        largest = magnitude_max(largest, value)
        regs[out + c] = value
    return largest


@njit(forceinline=True)
def _behind(regs, constants, stop, distance, mark):
    """Feedback over a block: out = bias + u·out + v·y, ``out`` read ``distance`` columns earlier.

    A constant ``distance`` lets this loop be vectorised as far as that, although it feeds itself.
    """
    out, bias, u, v, y, bound = constants
    largest = no_magnitude(bias)
    for c in range(stop):
        total = _plus_two(bias, u, regs[out + c - distance], v, regs[y + c], mark)
        largest = magnitude_max(largest, total)
        value = kept(bounded(total, bound), mark)
        if places(mark):
            largest = magnitude_max(largest, value)
        regs[out + c] = value
    return largest


@njit(forceinline=True)
def _accumulator(table, row, bias, offsets, weights):
    """Place, bias, both weights, place of what is added, and lower bound of an accumulator."""
    k = table[row, FIRST]
    bound = lower_bound(table[row, RELU], bias)
    return table[row, OUT], bias, weights[k], weights[k + ONE], offsets[k + ONE], bound


@njit
def accumulator_columns(regs, table, row, bias, offsets, weights, stop, width, mark):
    """An accumulator over a block; returns the largest magnitude before its ReLU."""
    constants = _accumulator(table, row, bias, offsets, weights)
    if width == 1:
        return _behind(regs, constants, stop, ONE, mark)
    if width == 16:
        return _behind(regs, constants, stop, np.uint64(16), mark)
    if width == 32:
        return _behind(regs, constants, stop, np.uint64(32), mark)
    if width == 64:
        return _behind(regs, constants, stop, np.uint64(64), mark)
    out, _, u, v, y, bound = constants
    largest = no_magnitude(bias)
    start = stop - stop
    while start < stop:
        end = start + width
        found = _two_terms(regs, out, bias, u, v, out - width, y, start, end, bound, mark)
        largest = max(largest, found)
        if places(mark):
            largest = max(largest, placed_columns(regs, out, start, end, place_mark(STATE, mark)))
        start = end
    return largest


@njit
def four_accumulators(regs, table, row, biases, offsets, weights, stop, mark):
    """Four accumulators of one sequence: side by side, as each waits for its own last sum."""
    b, c, d = row + ONE, row + TWO, row + TWO + ONE
    p0, b0, u0, v0, y0, l0 = _accumulator(table, row, biases[row], offsets, weights)
    p1, b1, u1, v1, y1, l1 = _accumulator(table, b, biases[b], offsets, weights)
    p2, b2, u2, v2, y2, l2 = _accumulator(table, c, biases[c], offsets, weights)
    p3, b3, u3, v3, y3, l3 = _accumulator(table, d, biases[d], offsets, weights)
    h0, h1, h2, h3 = regs[p0 - ONE], regs[p1 - ONE], regs[p2 - ONE], regs[p3 - ONE]
    largest = no_magnitude(b0)
    for t in range(stop):
        h0 = _plus_two(b0, u0, h0, v0, regs[y0 + t], mark)
        largest = magnitude_max(largest, h0)
        regs[p0 + t] = h0 = kept(bounded(h0, l0), mark)
        if places(mark):
            largest = magnitude_max(largest, h0)
        h1 = _plus_two(b1, u1, h1, v1, regs[y1 + t], mark)
        largest = magnitude_max(largest, h1)
        regs[p1 + t] = h1 = kept(bounded(h1, l1), mark)
        if places(mark):
            largest = magnitude_max(largest, h1)
        h2 = _plus_two(b2, u2, h2, v2, regs[y2 + t], mark)
        largest = magnitude_max(largest, h2)
        regs[p2 + t] = h2 = kept(bounded(h2, l2), mark)
        if places(mark):
            largest = magnitude_max(largest, h2)
        h3 = _plus_two(b3, u3, h3, v3, regs[y3 + t], mark)
        largest = magnitude_max(largest, h3)
        regs[p3 + t] = h3 = kept(bounded(h3, l3), mark)
        if places(mark):
            largest = magnitude_max(largest, h3)
    return largest
