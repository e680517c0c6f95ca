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
    activation_mark,
    bounded,
    is_finite_magnitude,
    lower_bound,
    magnitude_max,
    no_magnitude,
    place_mark,
    places,
    rounded,
)
from stability.engines.native.layout import (
    ACCUMULATOR,
    AFFINE,
    CELL,
    CONVOLUTION,
    COUNT,
    FIRST,
    FOUR,
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
    STICKY,
    SUM,
    TANH,
    THIRD,
)
from stability.engines.native.sums import (
    accumulator_columns,
    affine_columns,
    four_accumulators,
    placed_columns,
)

NARROW = np.uint64(8)  # below this many columns, a loop over columns does not pay


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
def _sum_columns(regs, table, row, start, stop, mark):
    """A sum of two registers, or one as it is, over columns; returns its largest magnitude."""
    out, x, y = table[row, THIRD], table[row, LEFT], table[row, RIGHT]
    largest = no_magnitude(regs[0])
    bound = lower_bound(table[row, RELU], regs[0])
    if table[row, COUNT] == ONE:
        for c in range(start, stop):
            value = regs[x + c]
            largest = magnitude_max(largest, value)
            regs[out + c] = bounded(value, bound)
    else:
        for c in range(start, stop):
            value = rounded(regs[x + c] + regs[y + c], mark)
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
        old = rounded(regs[forget + c] * regs[before + c], mark)
        value = rounded(old + rounded(regs[entry + c] * regs[new + c], mark), mark)
        largest = magnitude_max(largest, value)
        regs[out + c] = value
    return largest


@njit
def remember(regs, table, row, offsets, past, stop):
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
        largest = affine_columns(regs, table, row, bias, offsets, weights, start, stop, mark)
    elif table[row, KIND] == PRODUCT:
        largest = _product_columns(regs, table, row, start, stop, mark)
    elif table[row, KIND] == CELL:
        largest = _cell_columns(regs, table, row, start, stop, width, mark)
    elif table[row, KIND] == SUM:
        largest = _sum_columns(regs, table, row, start, stop, mark)
    elif table[row, KIND] == ACCUMULATOR:
        largest = accumulator_columns(regs, table, row, bias, offsets, weights, stop, width, mark)
    else:
        remember(regs, table, row, offsets, past, stop)
        largest = _convolution_columns(regs, table, row, bias, past, stop, width, mark)
    smooth = table[row, SMOOTH]
    if smooth:
        activate_columns(
            regs, table[row, THIRD], table[row, OUT], start, stop, smooth == TANH, activation_mark(mark)
        )
    if table[row, STICKY]:
        before = table[row, OUT] + start - width
        for c in range(before, before + width):
            largest = magnitude_max(largest, regs[c])
    return largest


@njit(forceinline=True)
def note(value, status, c):
    """Mark a column whose value is not finite."""
    off = value - value
    if off != off:  # noqa: PLR0124 -- nan
        found = np.uint8(2) if value != value else np.uint8(1)  # noqa: PLR0124 -- nan
        status[c] = max(status[c], found)


@njit(forceinline=True)
def _finished(value, table, row, mark, status, c):
    """A value after the activation of its operation, and as its place holds it; both are noted."""
    note(value, status, c)
    if table[row, SMOOTH]:
        return activated_value(value, table[row, SMOOTH] == TANH, activation_mark(mark))
    value = bounded(value, lower_bound(table[row, RELU], value))
    if places(mark) and table[row, PLACE]:
        value = rounded(value, place_mark(table[row, PLACE], mark))
        note(value, status, c)
    return value


@njit(forceinline=True)
def _summed(regs, table, row, c, mark):
    """A sum of two registers, or one as it is, in one column."""
    value = regs[table[row, LEFT] + c]
    return value if table[row, COUNT] == ONE else rounded(value + regs[table[row, RIGHT] + c], mark)


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
                elif kind == SUM:
                    value = _summed(regs, table, row, c, mark)
                else:
                    value = rounded(regs[table[row, LEFT] + c] * regs[out + c - width], mark)
                    new = rounded(regs[table[row, RIGHT] + c] * regs[table[row, THIRD] + c], mark)
                    value = rounded(value + new, mark)
                if table[row, STICKY]:
                    before = regs[table[row, LEFT] + c] if kind == CELL else regs[out + c - width]
                    value += before - before  # +0, or nan after a non-finite value (in a cell: with one)
                regs[out + c] = _finished(value, table, row, mark, status, c)
        start += step


@njit(forceinline=True)
def _checked(regs, table, row, biases, offsets, weights, past, start, stop, width, mark, status, watched):
    """An operation over columns, and once more, column by column, if something is not finite."""
    largest = _columns(regs, table, row, biases[row], offsets, weights, past, start, stop, width, mark)
    again = not is_finite_magnitude(largest, biases[row]) and (watched or table[row, STICKY])
    if places(mark) and not again and table[row, PLACE] and table[row, KIND] != ACCUMULATOR:
        how = place_mark(table[row, PLACE], mark)
        largest = placed_columns(regs, table[row, OUT], start, stop, how)
        again = not is_finite_magnitude(largest, biases[row]) and watched
    if again:
        _one_by_one(
            regs, table, row, row + ONE, biases, offsets, weights, start, stop, stop - start, width, mark,
            status,
        )  # fmt: skip


@njit(forceinline=True)
def _four(regs, table, row, biases, offsets, weights, stop, width, mark, status, watched):
    """Four accumulators of one sequence over a block, and once more if something is not finite."""
    largest = four_accumulators(regs, table, row, biases, offsets, weights, stop, mark)
    if not is_finite_magnitude(largest, biases[row]) and watched:
        zero = stop - stop
        for each in range(row, row + FOUR):
            _one_by_one(
                regs, table, each, each + ONE, biases, offsets, weights, zero, stop, stop, width, mark, status
            )


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
        whole = step == zero
        if whole:
            step = stop
        elif step < NARROW:
            _one_by_one(
                regs, table, first, last, biases, offsets, weights, zero, stop, width, width, mark, status
            )  # fmt: skip
            continue
        start = zero
        while start < stop:
            end = min(start + step, stop)
            row = first
            while row < last:
                if whole and width == 1 and table[row, KIND] == ACCUMULATOR and table[row, COUNT] >= FOUR:
                    _four(regs, table, row, biases, offsets, weights, stop, width, mark, status, watched)
                    row += FOUR
                else:
                    _checked(
                        regs, table, row, biases, offsets, weights, past, start, end, width, mark, status,
                        watched,
                    )  # fmt: skip
                    row += ONE
            start = end
