"""The operations on one value that the compiled loops are made of.

Every product and every sum is rounded by :func:`rounded`, chosen by the type of its
``mark``: not at all (float32, float64: the operation has rounded already), or to
float16.  Float16 values live in float32, which is exact: 24 ≥ 2·11 + 2.
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

AS_IT_IS = np.int8(0)  # the marks
HALF_BY_BITS = np.int16(0)
HALF_BY_HARDWARE = np.int32(0)


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
