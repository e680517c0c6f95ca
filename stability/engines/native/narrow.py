"""Rounding to nearest from float32 or float64 to any narrower format, by integer arithmetic; compiled.

A loop over columns becomes vector code: there are no branches.  Numbers at or above the
smallest normal one of the format are rounded in their bits; smaller ones by adding and
subtracting a power of two whose last place is the format's smallest subnormal number.
"""
# numba's intrinsics are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call"
# ruff: noqa: ARG001

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from stability.formats import FLOAT32, FLOAT64, Format

DROP, ODD, BELOW_HALF, KEEP, SMALL, SHIFTER, LARGEST, OVERFLOW = range(8)
Words = tuple[Any, ...]


def narrow_words(fmt: Format, carrier: np.dtype[np.floating[Any]]) -> Words:
    """What :func:`narrow` needs to know of a format, as words of the carrier's width.

    Args:
        fmt: of no more precision and range than the carrier.
        carrier: float32 or float64.
    """
    wide = FLOAT32 if carrier == np.float32 else FLOAT64
    assert fmt.precision <= wide.precision
    assert fmt.min_exponent >= wide.min_exponent
    word = np.uint32 if carrier == np.float32 else np.uint64

    def bits(value: float) -> Any:
        return np.array([value], dtype=carrier).view(word)[0]

    drop = wide.precision - fmt.precision
    plain = fmt.min_exponent == wide.min_exponent  # its subnormals are those of the carrier, cut
    shifter = 2.0 ** (fmt.min_exponent + drop) if not plain else 1.0
    small = bits(float(fmt.smallest_normal)) if not plain else word(0)
    return (
        word(drop), word(drop > 0), word((1 << drop >> 1) - 1 if drop else 0),
        word((2 ** (8 * carrier.itemsize) - 1) >> drop << drop), small, bits(shifter),
        bits(float(fmt.largest)), bits(fmt.overflow),
    )  # fmt: skip


@intrinsic
def narrow(typingctx, value, words):
    """``value`` rounded to the format of ``words``."""

    def build(context, builder, signature, args):
        kind, wide = args[0].type, isinstance(args[0].type, ir.DoubleType)
        word = ir.IntType(64 if wide else 32)
        sign_bit, infinity = (1 << 63, 0x7FF << 52) if wide else (1 << 31, 0xFF << 23)

        def known(number):
            return builder.extract_value(args[1], number)

        bits = builder.bitcast(args[0], word)
        sign = builder.and_(bits, ir.Constant(word, sign_bit))
        size = builder.and_(bits, ir.Constant(word, sign_bit - 1))
        odd = builder.and_(builder.lshr(size, known(DROP)), known(ODD))
        normal = builder.and_(builder.add(builder.add(size, known(BELOW_HALF)), odd), known(KEEP))
        over = builder.icmp_unsigned(">", normal, known(LARGEST))
        normal = builder.select(over, known(OVERFLOW), normal)
        shifter = builder.bitcast(known(SHIFTER), kind)
        shifted = builder.fsub(builder.fadd(builder.bitcast(size, kind), shifter), shifter)
        small = builder.icmp_unsigned("<", size, known(SMALL))
        chosen = builder.select(small, builder.bitcast(shifted, word), normal)
        is_nan = builder.icmp_unsigned(">", size, ir.Constant(word, infinity))
        chosen = builder.select(is_nan, size, chosen)
        return builder.bitcast(builder.or_(chosen, sign), kind)

    width = types.uint32 if value == types.float32 else types.uint64
    return value(value, types.UniTuple(width, 8)), build
