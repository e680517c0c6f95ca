"""The operations on one value that the compiled loops are made of.

Every product and every sum is rounded by :func:`rounded`, chosen by the type of its
``mark``: not at all (float32, float64: the operation has rounded already), to float16, or
to the format of :func:`.narrow.narrow_words`.  :mod:`.carriers` says when that is exact.
The mark of a policy is a tuple of marks: of its arithmetic, and the words of ``state``,
``activations`` and ``readout``, to which values are rounded at last.
A ReLU is the lower bound 0; no bound is nan.
"""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated,redundant-expr"
# ruff: noqa: ARG001, ARG005

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from stability.engines.native.narrow import narrow

AS_IT_IS = np.int8(0)  # marks
HALF_BY_HARDWARE = np.int32(0)
STATE, ACTIVATIONS, READOUT = np.uint64(1), np.uint64(2), np.uint64(3)  # places


def _word(value):
    """The integer type as wide as an LLVM float type, and its sign mask and infinity."""
    if isinstance(value, ir.FloatType):
        return ir.IntType(32), 0x7FFFFFFF, 0x7F800000
    return ir.IntType(64), 0x7FFFFFFFFFFFFFFF, 0x7FF0000000000000


def _word_type(value):
    return types.int32 if value == types.float32 else types.int64


@intrinsic
def magnitude_max(typingctx, so_far, value):
    """The larger of ``so_far`` and the bits of |value|, which order like the magnitudes."""

    def build(context, builder, signature, args):
        word, mask, _ = _word(args[1].type)
        bits = builder.and_(builder.bitcast(args[1], word), ir.Constant(word, mask))
        return builder.select(builder.icmp_signed(">", bits, args[0]), bits, args[0])

    return _word_type(value)(_word_type(value), value), build


@intrinsic
def no_magnitude(typingctx, value):
    """What :func:`magnitude_max` begins with."""

    def build(context, builder, signature, args):
        return ir.Constant(_word(args[0].type)[0], 0)

    return _word_type(value)(value), build


@intrinsic
def is_finite_magnitude(typingctx, magnitude, value):
    """Whether a magnitude of values of this type is neither that of an infinity nor of nan."""

    def build(context, builder, signature, args):
        word, _, infinity = _word(args[1].type)
        return builder.icmp_signed("<", args[0], ir.Constant(word, infinity))

    return types.boolean(magnitude, value), build


@intrinsic
def lower_bound(typingctx, relu, value):
    """0 for an operation with a ReLU, nan for one without; see :func:`bounded`."""

    def build(context, builder, signature, args):
        real = args[1].type
        wanted = builder.icmp_unsigned("!=", args[0], ir.Constant(args[0].type, 0))
        return builder.select(wanted, ir.Constant(real, 0.0), ir.Constant(real, float("nan")))

    return value(relu, value), build


@intrinsic
def bounded(typingctx, value, bound):
    """+0 for what is ≤ ``bound``, −0 included; nan for nan, and any value if the bound is nan."""

    def build(context, builder, signature, args):
        zero = ir.Constant(args[0].type, 0.0)
        return builder.select(builder.fcmp_ordered("<=", args[0], args[1]), zero, args[0])

    return value(value, bound), build


@intrinsic
def _half_by_hardware(typingctx, value):
    def build(context, builder, signature, args):
        return builder.fpext(builder.fptrunc(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.float32), build


def rounded(value, mark):
    """``value`` rounded to the format of ``mark``; compiled code only."""
    raise NotImplementedError


def is_words(mark):
    """Whether a mark's type is that of :func:`.narrow.narrow_words`."""
    return isinstance(mark, types.UniTuple) and isinstance(mark.dtype, types.Integer)


def is_policy(mark):
    """Whether a mark's type is that of a policy."""
    return isinstance(mark, types.BaseTuple) and not is_words(mark)


@overload(rounded, inline="always")
def _rounded(value, mark):
    if is_policy(mark):
        return lambda value, mark: rounded(value, mark[0])
    if is_words(mark):
        return lambda value, mark: narrow(value, mark)  # noqa: PLW0108 -- numba inlines functions only
    if mark == types.int8:
        return lambda value, mark: value
    return lambda value, mark: _half_by_hardware(value)


def activation_mark(mark):
    """The mark by which a sigmoid or tanh is rounded; compiled code only."""
    raise NotImplementedError


@overload(activation_mark, inline="always")
def _activation_mark(mark):
    if is_policy(mark):
        return lambda mark: mark[2]
    return lambda mark: mark


def places(mark):
    """Whether values are rounded once more at last; compiled code only."""
    raise NotImplementedError


@overload(places, inline="always")
def _places(mark):
    return (lambda mark: True) if is_policy(mark) else (lambda mark: False)


def kept(value, mark):
    """A value as the next step finds it, rounded to the state's format; compiled code only."""
    raise NotImplementedError


@overload(kept, inline="always")
def _kept(value, mark):
    if is_policy(mark):
        return lambda value, mark: narrow(value, mark[1])
    return lambda value, mark: value


def place_mark(place, mark):
    """The mark by which values of a place are rounded; compiled code only."""
    raise NotImplementedError


@overload(place_mark)
def _place_mark(place, mark):
    if not is_policy(mark):
        return lambda place, mark: mark

    def chosen(place, mark):
        if place == STATE:
            return mark[1]
        return mark[2] if place == ACTIVATIONS else mark[3]

    return chosen
