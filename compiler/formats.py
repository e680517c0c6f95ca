"""Binary floating-point formats: their precision and range, for weights and everything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from gmpy2 import mpq


@dataclass(frozen=True, kw_only=True)
class Format:
    """A binary floating-point format as in IEEE 754, subnormals included.

    Attributes:
        name: how users write it.
        precision: p, significand bits with the hidden one.
        exponent_bits: width of the exponent field.
        dtype: the numpy type of the same values; ``None`` where numpy has none.
    """

    name: str
    precision: int
    exponent_bits: int
    dtype: np.dtype[np.floating] | None = None

    @property
    def max_exponent(self) -> int:
        """The exponent e of the largest finite values, 2^e ≤ |x| < 2^(e+1)."""
        return int(2 ** (self.exponent_bits - 1) - 1)

    @property
    def min_exponent(self) -> int:
        """The exponent of the smallest normal value."""
        return 1 - self.max_exponent

    @cached_property
    def largest(self) -> mpq:
        """The largest finite value."""
        return (2 - mpq(2) ** (1 - self.precision)) * mpq(2) ** self.max_exponent

    @cached_property
    def smallest_normal(self) -> mpq:
        """The smallest positive normal value."""
        return mpq(2) ** self.min_exponent

    @cached_property
    def smallest_subnormal(self) -> mpq:
        """The smallest positive value."""
        return mpq(2) ** (self.min_exponent - self.precision + 1)

    @cached_property
    def roundoff(self) -> mpq:
        """U = 2^-p: the largest relative error of one rounding to nearest of a normal value."""
        return mpq(2) ** -self.precision


FLOAT16 = Format(name="float16", precision=11, exponent_bits=5, dtype=np.dtype(np.float16))
BFLOAT16 = Format(name="bfloat16", precision=8, exponent_bits=8)
FLOAT32 = Format(name="float32", precision=24, exponent_bits=8, dtype=np.dtype(np.float32))
FLOAT64 = Format(name="float64", precision=53, exponent_bits=11, dtype=np.dtype(np.float64))
