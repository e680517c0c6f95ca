"""The compiled loops of the ``native`` engine: operations over columns.

One register is one row of ``regs``, which holds, time-major, ``width`` sequences of a
block of steps, and before them the steps that precede the block: step t of sequence b
is in column ``t * width + b``, t < 0 included.  An operation runs over a range of such
columns, so that the same code serves a whole block, one step of a batch, and one step of
one sequence.

Loops over columns have no branches and no calls; nothing is reassociated or fused.
What every operation needs in its innermost loop is in :mod:`.arithmetic`.
"""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated,redundant-expr"

from __future__ import annotations

import numpy as np
from numba import njit

from stability.engines.native.activations import activate_columns, activated_value
from stability.engines.native.arithmetic import (
    bounded,
    is_finite_magnitude,
    lower_bound,
    magnitude_max,
    no_magnitude,
    rounded,
)

ONE, TWO, FOUR = np.uint64(1), np.uint64(2), np.uint64(4)
# kinds of operations
AFFINE, PRODUCT, CELL, CONVOLUTION, ACCUMULATOR = ONE, TWO, np.uint64(3), FOUR, np.uint64(5)
# columns of the table of operations
KIND, OUT, RELU, STICKY, FIRST, LAST, LEFT, RIGHT, THIRD, LAGS, COUNT, PERIOD, SMOOTH = range(13)
FIELDS = 13
SIGMOID, TANH = ONE, TWO  # what SMOOTH says, if anything; THIRD is then the place of the argument
NARROW = np.uint64(8)  # below this many columns, a loop over columns does not pay


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
def _affine_columns(regs, table, row, bias, offsets, weights, start, stop, mark):
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
def _behind(regs, constants, stop, distance, mark):
    """Feedback over a block: out = bias + u·out + v·y, ``out`` read ``distance`` columns earlier.

    A constant ``distance`` lets this loop be vectorised as far as that, although it feeds itself.
    """
    out, bias, u, v, y, bound = constants
    largest = no_magnitude(bias)
    for c in range(stop):
        total = _plus_two(bias, u, regs[out + c - distance], v, regs[y + c], mark)
        largest = magnitude_max(largest, total)
        regs[out + c] = bounded(total, bound)
    return largest


@njit(forceinline=True)
def _accumulator(table, row, bias, offsets, weights):
    """Place, bias, both weights, place of what is added, and lower bound of an accumulator."""
    k = table[row, FIRST]
    bound = lower_bound(table[row, RELU], bias)
    return table[row, OUT], bias, weights[k], weights[k + ONE], offsets[k + ONE], bound


@njit
def _accumulator_columns(regs, table, row, bias, offsets, weights, stop, width, mark):
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
        start = end
    return largest


@njit
def _four_accumulators(regs, table, row, biases, offsets, weights, stop, mark):
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
        regs[p0 + t] = h0 = bounded(h0, l0)
        h1 = _plus_two(b1, u1, h1, v1, regs[y1 + t], mark)
        largest = magnitude_max(largest, h1)
        regs[p1 + t] = h1 = bounded(h1, l1)
        h2 = _plus_two(b2, u2, h2, v2, regs[y2 + t], mark)
        largest = magnitude_max(largest, h2)
        regs[p2 + t] = h2 = bounded(h2, l2)
        h3 = _plus_two(b3, u3, h3, v3, regs[y3 + t], mark)
        largest = magnitude_max(largest, h3)
        regs[p3 + t] = h3 = bounded(h3, l3)
    return largest


@njit(forceinline=True)
def _product_columns(regs, table, row, start, stop, mark):
    """A product over columns; returns its largest magnitude before its activation."""
    out, x, y = table[row, THIRD], table[row, LEFT], table[row, RIGHT]
    largest = no_magnitude(regs[0])
    bound = lower_bound(table[row, RELU], regs[0])
    for c in range(start, stop):
        value = rounded(regs[x + c] * regs[y + c], mark)
        largest = magnitude_max(largest, value)
        regs[out + c] = bounded(value, bound)
    return largest


@njit(forceinline=True)
def _cell_columns(regs, table, row, start, stop, width, mark):
    """An ``lstm`` cell over the columns of one step; returns its largest magnitude."""
    out, forget, entry, new = table[row, OUT], table[row, LEFT], table[row, RIGHT], table[row, THIRD]
    before = out - width
    largest = no_magnitude(regs[0])
    for c in range(start, stop):
        kept = rounded(regs[forget + c] * regs[before + c], mark)
        value = rounded(kept + rounded(regs[entry + c] * regs[new + c], mark), mark)
        largest = magnitude_max(largest, value)
        regs[out + c] = value
    return largest


@njit
def _remember(regs, table, row, offsets, past, stop):
    """Add the block's inputs of a convolution to what it has seen."""
    held, slots, _, _, reach, begun, _ = past
    for k in range(table[row, FIRST], table[row, LAST]):
        place, x = slots[k] * reach + begun, offsets[k]
        for c in range(stop):
            held[place + c] = regs[x + c]


@njit
def _convolution_columns(regs, table, row, bias, past, stop, width, mark):
    """A convolution over a block; returns its largest magnitude.

    Column c of the block is column ``begun`` + c of the past, and a lag is ``width`` columns.
    """
    held, _, starts, slots, reach, begun, weights = past
    out, lags = table[row, OUT], table[row, LAGS]
    count, period = table[row, COUNT], table[row, PERIOD]
    zero = np.uint64(0)
    for c in range(stop):
        regs[out + c] = bias
    lag, behind = zero, zero
    while behind < begun + stop:
        k = lag
        if lag >= count:
            if period == zero:
                break
            k = count - period + (lag - count) % period
        low = behind - begun if behind > begun else zero
        for e in range(starts[lags + k], starts[lags + k + ONE]):
            place, weight = slots[e] * reach + begun - behind, weights[e]
            for c in range(low, stop):
                regs[out + c] = rounded(regs[out + c] + rounded(weight * held[place + c], mark), mark)
        lag += ONE
        behind += width
    largest = no_magnitude(bias)
    for c in range(stop):
        largest = magnitude_max(largest, regs[out + c])
    return largest


@njit(forceinline=True)
def _columns(regs, table, row, bias, offsets, weights, past, start, stop, width, mark):
    """Any operation over columns; returns the largest magnitude of what its status depends on."""
    if table[row, KIND] == AFFINE:
        largest = _affine_columns(regs, table, row, bias, offsets, weights, start, stop, mark)
    elif table[row, KIND] == PRODUCT:
        largest = _product_columns(regs, table, row, start, stop, mark)
    elif table[row, KIND] == CELL:
        largest = _cell_columns(regs, table, row, start, stop, width, mark)
    elif table[row, KIND] == ACCUMULATOR:
        largest = _accumulator_columns(regs, table, row, bias, offsets, weights, stop, width, mark)
    else:
        _remember(regs, table, row, offsets, past, stop)
        largest = _convolution_columns(regs, table, row, bias, past, stop, width, mark)
    smooth = table[row, SMOOTH]
    if smooth:
        activate_columns(regs, table[row, THIRD], table[row, OUT], start, stop, smooth == TANH, mark)
    if table[row, STICKY]:
        before = table[row, OUT] + start - width
        for c in range(before, before + width):
            largest = magnitude_max(largest, regs[c])
    return largest


@njit(forceinline=True)
def _activated(value, table, row, mark):
    """A value after the activation of its operation."""
    if table[row, SMOOTH]:
        return activated_value(value, table[row, SMOOTH] == TANH, mark)
    return bounded(value, lower_bound(table[row, RELU], value))


@njit
def _one_by_one(regs, table, first, last, biases, offsets, weights, start, stop, step, width, mark, status):
    """Operations column by column, with their status.

    All operations for ``step`` columns, then for the next ones: for feedback in narrow
    batches, and for any operation in whose columns something was not finite.
    """
    while start < stop:
        for row in range(first, last):
            kind, out = table[row, KIND], table[row, OUT]
            for c in range(start, start + step):
                if kind in (AFFINE, ACCUMULATOR):
                    value = biases[row]
                    for k in range(table[row, FIRST], table[row, LAST]):
                        value = rounded(value + rounded(weights[k] * regs[offsets[k] + c], mark), mark)
                elif kind == CONVOLUTION:
                    value = regs[out + c]  # computed already
                elif kind == PRODUCT:
                    value = rounded(regs[table[row, LEFT] + c] * regs[table[row, RIGHT] + c], mark)
                else:
                    value = rounded(regs[table[row, LEFT] + c] * regs[out + c - width], mark)
                    new = rounded(regs[table[row, RIGHT] + c] * regs[table[row, THIRD] + c], mark)
                    value = rounded(value + new, mark)
                if table[row, STICKY]:
                    before = regs[table[row, LEFT] + c] if kind == CELL else regs[out + c - width]
                    value += before - before  # +0, or nan after a non-finite value (in a cell: with one)
                off = value - value
                if off != off:  # noqa: PLR0124 -- nan
                    found = np.uint8(2) if value != value else np.uint8(1)  # noqa: PLR0124 -- nan
                    status[c] = max(status[c], found)
                regs[out + c] = _activated(value, table, row, mark)
        start += step


@njit(forceinline=True)
def _checked(regs, table, row, biases, offsets, weights, past, start, stop, width, mark, status, watched):
    """An operation over columns, and once more, column by column, if something is not finite."""
    largest = _columns(regs, table, row, biases[row], offsets, weights, past, start, stop, width, mark)
    if not is_finite_magnitude(largest, biases[row]) and (watched or table[row, STICKY]):
        _one_by_one(
            regs, table, row, row + ONE, biases, offsets, weights, start, stop, stop - start, width, mark,
            status,
        )  # fmt: skip


@njit
def _whole_block(
    regs, table, first, last, biases, offsets, weights, past, stop, width, mark, status, watched
):  # fmt: skip
    """Operations one after the other, each over the block."""
    zero = np.uint64(0)
    row = first
    while row < last:
        if width == 1 and table[row, KIND] == ACCUMULATOR and table[row, COUNT] >= FOUR:
            largest = _four_accumulators(regs, table, row, biases, offsets, weights, stop, mark)
            if not is_finite_magnitude(largest, biases[row]) and watched:
                for each in range(row, row + FOUR):
                    _one_by_one(
                        regs, table, each, each + ONE, biases, offsets, weights, zero, stop, stop, width,
                        mark, status,
                    )  # fmt: skip
            row += FOUR
        else:
            _checked(
                regs, table, row, biases, offsets, weights, past, zero, stop, width, mark, status, watched
            )
            row += ONE


@njit
def run_block(regs, table, biases, offsets, weights, groups, steps, width, mark, status, watched, past):
    """Advance ``width`` sequences by ``steps`` steps.

    All integers are unsigned words: an index that cannot be negative needs no check for it.

    Args:
        regs: the registers, flat; tokens are in place, and so are the steps before.
        table: one row per operation; a register stands as the place of its column 0.
        biases: one per operation.
        offsets: per term of an affine operation, the place of its register's column 0,
            less the steps that the term looks back.
        weights: per term.
        groups: per group (first operation, last operation + 1, how many steps at once; 0: all).
        steps: how many of the block's steps are used.
        width: sequences side by side.
        mark: which rounding.
        status: steps·width, all zero; set where something is not finite.
        watched: whether ``status`` is still of interest.
        past: what convolutions have seen, and their kernels: values, slot by slot (slot 0 is
            all ones); per term, the slot of a convolution's input; per lag, where its weights
            begin; per weight, its slot; the length of a slot; how many columns were there
            before this block; the weights.
    """
    zero = np.uint64(0)
    stop = steps * width
    for g in range(len(groups)):
        first, last, step = groups[g, 0], groups[g, 1], groups[g, 2] * width
        if step == zero:
            _whole_block(
                regs, table, first, last, biases, offsets, weights, past, stop, width, mark, status, watched
            )  # fmt: skip
        elif step < NARROW:
            _one_by_one(
                regs, table, first, last, biases, offsets, weights, zero, stop, width, width, mark, status
            )  # fmt: skip
        else:
            start = zero
            while start < stop:
                end = min(start + step, stop)
                for row in range(first, last):
                    _checked(
                        regs, table, row, biases, offsets, weights, past, start, end, width, mark, status,
                        watched,
                    )  # fmt: skip
                start = end
