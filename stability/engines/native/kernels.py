"""The compiled loops of the ``native`` engine.

One register is one row of ``regs``, which holds, time-major, ``width`` sequences of a
block of steps, and before them the step that precedes the block: step t of sequence b
is in column ``t * width + b``, t from −1.  An operation runs over a range of such columns, so that
the same code serves a whole block, one step of a batch, and one step of one sequence.

Every product and every sum is rounded by :func:`rounded`, chosen by the type of its
``mark``: not at all (float32, float64: the operation has rounded already), or to
float16.  Float16 values live in float32, which is exact: 24 ≥ 2·11 + 2.
Loops over columns have no branches and no calls; nothing is reassociated or fused.
"""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated,redundant-expr"
# ruff: noqa: ARG001, ARG005

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from stability.engines.native.locking import CACHED

AS_IT_IS = np.int8(0)  # the marks
HALF_BY_BITS = np.int16(0)
HALF_BY_HARDWARE = np.int32(0)

ONE, TWO = np.uint64(1), np.uint64(2)
AFFINE, PRODUCT, CELL, CONVOLUTION = ONE, TWO, np.uint64(3), np.uint64(4)  # kinds of operations
# columns of the table of operations
KIND, OUT, RELU, STICKY, FIRST, LAST, LEFT, RIGHT, THIRD, DELAYED, LAGS, COUNT, PERIOD = range(13)
FIELDS = 13
NARROW = np.uint64(8)  # below this many columns, a loop over columns does not pay


def _word(value):
    """The integer type as wide as an LLVM float type, and its sign mask and infinity."""
    if isinstance(value, ir.FloatType):
        return ir.IntType(32), 0x7FFFFFFF, 0x7F800000
    return ir.IntType(64), 0x7FFFFFFFFFFFFFFF, 0x7FF0000000000000


def _word_type(value):
    return types.int32 if value == types.float32 else types.int64


@intrinsic
def _magnitude_max(typingctx, so_far, value):
    """The larger of ``so_far`` and the bits of |value|, which order like the magnitudes."""

    def build(context, builder, signature, args):
        word, mask, _ = _word(args[1].type)
        bits = builder.and_(builder.bitcast(args[1], word), ir.Constant(word, mask))
        return builder.select(builder.icmp_signed(">", bits, args[0]), bits, args[0])

    return _word_type(value)(_word_type(value), value), build


@intrinsic
def _no_magnitude(typingctx, value):
    def build(context, builder, signature, args):
        return ir.Constant(_word(args[0].type)[0], 0)

    return _word_type(value)(value), build


@intrinsic
def _is_finite_magnitude(typingctx, magnitude, value):
    def build(context, builder, signature, args):
        word, _, infinity = _word(args[1].type)
        return builder.icmp_signed("<", args[0], ir.Constant(word, infinity))

    return types.boolean(magnitude, value), build


@intrinsic
def _relu(typingctx, value):
    """+0 for what is ≤ 0, −0 included; nan for nan."""

    def build(context, builder, signature, args):
        zero = ir.Constant(args[0].type, 0.0)
        return builder.select(builder.fcmp_ordered("<=", args[0], zero), zero, args[0])

    return value(value), build


@intrinsic
def _half_by_hardware(typingctx, value):
    def build(context, builder, signature, args):
        return builder.fpext(builder.fptrunc(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.float32), build


@intrinsic
def _half_by_bits(typingctx, value):
    """float32 to the nearest float16 by integer arithmetic, without branches."""

    def build(context, builder, signature, args):
        word = ir.IntType(32)

        def const(number):
            return ir.Constant(word, number)

        bits = builder.bitcast(args[0], word)
        sign = builder.and_(bits, const(0x80000000))
        size = builder.and_(bits, const(0x7FFFFFFF))
        odd = builder.and_(builder.lshr(size, const(13)), const(1))
        up = builder.add(builder.add(size, const(0xFFF)), odd)
        normal = builder.and_(up, const(0xFFFFE000))
        over = builder.icmp_unsigned(">=", normal, const(0x47800000))  # 2^16
        normal = builder.select(over, const(0x7F800000), normal)
        # one ulp of float32 in [1/2, 1) is the smallest float16 subnormal
        half = ir.Constant(ir.FloatType(), 0.5)
        shifted = builder.fsub(builder.fadd(builder.bitcast(size, ir.FloatType()), half), half)
        small = builder.icmp_unsigned("<", size, const(0x38800000))  # 2^-14
        chosen = builder.select(small, builder.bitcast(shifted, word), normal)
        is_nan = builder.icmp_unsigned(">", size, const(0x7F800000))
        chosen = builder.select(is_nan, size, chosen)
        return builder.bitcast(builder.or_(chosen, sign), ir.FloatType())

    return types.float32(types.float32), build


def rounded(value, mark):
    """``value`` rounded to the format of ``mark``; compiled code only."""
    raise NotImplementedError


@overload(rounded, inline="always")
def _rounded(value, mark):
    if mark == types.int8:
        return lambda value, mark: value
    if mark == types.int16:
        return lambda value, mark: _half_by_bits(value)
    return lambda value, mark: _half_by_hardware(value)


@njit(cache=CACHED)
def _affine_columns(regs, table, row, bias, offsets, weights, start, stop, mark):  # noqa: C901, PLR0912 -- unrolled
    """An affine operation over columns; returns the largest magnitude before its ReLU."""
    out = table[row, OUT]
    k, last = table[row, FIRST], table[row, LAST]
    left = last - k
    if left == 0:
        for c in range(start, stop):
            regs[out + c] = bias
    elif left == 2 or left > 3:
        u, v = weights[k], weights[k + ONE]
        x, y = offsets[k], offsets[k + ONE]
        k += TWO
        for c in range(start, stop):
            total = rounded(bias + rounded(u * regs[x + c], mark), mark)
            regs[out + c] = rounded(total + rounded(v * regs[y + c], mark), mark)
    else:
        u, x = weights[k], offsets[k]
        k += ONE
        for c in range(start, stop):
            regs[out + c] = rounded(bias + rounded(u * regs[x + c], mark), mark)
    while k + ONE < last:
        u, v = weights[k], weights[k + ONE]
        x, y = offsets[k], offsets[k + ONE]
        k += TWO
        for c in range(start, stop):
            total = rounded(regs[out + c] + rounded(u * regs[x + c], mark), mark)
            regs[out + c] = rounded(total + rounded(v * regs[y + c], mark), mark)
    if k < last:
        u, x = weights[k], offsets[k]
        for c in range(start, stop):
            regs[out + c] = rounded(regs[out + c] + rounded(u * regs[x + c], mark), mark)
    largest = _no_magnitude(bias)
    if table[row, RELU]:
        for c in range(start, stop):
            value = regs[out + c]
            largest = _magnitude_max(largest, value)
            regs[out + c] = _relu(value)
    else:
        for c in range(start, stop):
            largest = _magnitude_max(largest, regs[out + c])
    return largest


@njit(cache=CACHED)
def _product_columns(regs, table, row, start, stop, mark):
    """A product over columns; returns its largest magnitude."""
    out, x, y = table[row, OUT], table[row, LEFT], table[row, RIGHT]
    largest = _no_magnitude(regs[0])
    for c in range(start, stop):
        value = rounded(regs[x + c] * regs[y + c], mark)
        largest = _magnitude_max(largest, value)
        regs[out + c] = value
    if table[row, RELU]:
        for c in range(start, stop):
            regs[out + c] = _relu(regs[out + c])
    return largest


@njit(cache=CACHED)
def _cell_columns(regs, table, row, start, stop, width, mark):
    """An ``lstm`` cell over the columns of one step; returns its largest magnitude."""
    out, forget, entry, new = table[row, OUT], table[row, LEFT], table[row, RIGHT], table[row, THIRD]
    before = out - width
    largest = _no_magnitude(regs[0])
    for c in range(start, stop):
        kept = rounded(regs[forget + c] * regs[before + c], mark)
        value = rounded(kept + rounded(regs[entry + c] * regs[new + c], mark), mark)
        largest = _magnitude_max(largest, value)
        regs[out + c] = value
    return largest


@njit(cache=CACHED)
def _remember(regs, table, row, offsets, past, stop):
    """Add the block's inputs of a convolution to what it has seen."""
    held, slots, _, _, reach, begun, _ = past
    for k in range(table[row, FIRST], table[row, LAST]):
        place, x = slots[k] * reach + begun, offsets[k]
        for c in range(stop):
            held[place + c] = regs[x + c]


@njit(cache=CACHED)
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
    largest = _no_magnitude(bias)
    for c in range(stop):
        largest = _magnitude_max(largest, regs[out + c])
    return largest


@njit(cache=CACHED)
def _columns(regs, table, row, bias, offsets, weights, past, start, stop, width, mark):
    """Any operation over columns; returns the largest magnitude of what its status depends on."""
    if table[row, KIND] == AFFINE:
        largest = _affine_columns(regs, table, row, bias, offsets, weights, start, stop, mark)
    elif table[row, KIND] == PRODUCT:
        largest = _product_columns(regs, table, row, start, stop, mark)
    elif table[row, KIND] == CELL:
        largest = _cell_columns(regs, table, row, start, stop, width, mark)
    else:
        _remember(regs, table, row, offsets, past, stop)
        largest = _convolution_columns(regs, table, row, bias, past, stop, width, mark)
    if table[row, STICKY]:
        before = table[row, OUT] + start - width
        for c in range(before, before + width):
            largest = _magnitude_max(largest, regs[c])
    return largest


@njit(cache=CACHED)
def _one_by_one(regs, table, first, last, biases, offsets, weights, start, stop, step, width, mark, status):
    """Operations column by column, with their status.

    All operations for ``step`` columns, then for the next ones: for feedback in narrow
    batches, and for any operation in whose columns something was not finite.
    """
    while start < stop:
        for row in range(first, last):
            kind, out = table[row, KIND], table[row, OUT]
            for c in range(start, start + step):
                if kind == AFFINE:
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
                regs[out + c] = _relu(value) if table[row, RELU] else value
        start += step


@njit(cache=CACHED)
def run_block(regs, table, biases, offsets, weights, groups, steps, width, mark, status, watched, past):
    """Advance ``width`` sequences by ``steps`` steps.

    All integers are unsigned words: an index that cannot be negative needs no check for it.

    Args:
        regs: the registers, flat; tokens are in place, and so is the step before.
        table: one row per operation; a register stands as the place of its column 0.
        biases: one per operation.
        offsets: per term of an affine operation, the place of its register's column 0,
            less one step where the term is delayed.
        weights: per term.
        groups: per group (first operation, last operation + 1, 1 if sequential).
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
    for g in range(len(groups)):
        first, last = groups[g, 0], groups[g, 1]
        stop = steps * width
        sequential = groups[g, 2] == ONE
        if sequential and width < NARROW:
            _one_by_one(
                regs, table, first, last, biases, offsets, weights, zero, stop, width, width, mark, status
            )  # fmt: skip
            continue
        step = width if sequential else stop
        start = zero
        while start < stop:
            for row in range(first, last):
                end = start + step
                largest = _columns(
                    regs, table, row, biases[row], offsets, weights, past, start, end, width, mark
                )  # fmt: skip
                if not _is_finite_magnitude(largest, biases[row]) and (watched or table[row, STICKY]):
                    _one_by_one(
                        regs, table, row, row + ONE, biases, offsets, weights, start, end, step, width, mark,
                        status,
                    )  # fmt: skip
            start += step
