"""Binary floating-point formats: their precision and range, for weights and everything else."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        infinities: ``False`` where the largest exponent holds numbers as well, all but the
            last of them, which is nan; what overflows is then nan.
        saturating: what overflows is the largest finite value, infinities included.
    """

    name: str
    precision: int
    exponent_bits: int
    dtype: np.dtype[np.floating] | None = None
    infinities: bool = True
    saturating: bool = False

    @property
    def max_exponent(self) -> int:
        """The exponent e of the largest finite values, 2^e ≤ |x| < 2^(e+1)."""
        return int(2 ** (self.exponent_bits - 1) - self.infinities)

    @property
    def min_exponent(self) -> int:
        """The exponent of the smallest normal value."""
        return int(2 - 2 ** (self.exponent_bits - 1))

    @cached_property
    def largest(self) -> mpq:
        """The largest finite value."""
        last = mpq(2) ** (1 - self.precision)
        return (2 - last * (1 if self.infinities else 2)) * mpq(2) ** self.max_exponent

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

    @property
    def storage(self) -> np.dtype[np.floating]:
        """The numpy type that holds its values: its own, else float32 or float64."""
        if self.dtype is not None:
            return self.dtype
        return np.dtype(np.float32 if FLOAT32.holds(self) else np.float64)

    @property
    def overflow(self) -> float:
        """What a positive number beyond the range becomes: inf, nan or the largest value."""
        if self.saturating:
            return float(self.largest)
        return float("inf") if self.infinities else float("nan")

    def holds(self, other: Format) -> bool:
        """Whether every value of ``other``, infinities included, is a value of this format."""
        unbounded = other.infinities and not other.saturating
        return (
            self.precision >= other.precision
            and self.largest >= other.largest
            and self.smallest_subnormal <= other.smallest_subnormal
            and (not unbounded or (self.infinities and not self.saturating))
        )

    def saturated(self) -> Format:
        """The same format, in which what overflows is the largest value."""
        return replace(self, name=f"{self.name}-sat", dtype=None, saturating=True)


FLOAT16 = Format(name="float16", precision=11, exponent_bits=5, dtype=np.dtype(np.float16))
BFLOAT16 = Format(name="bfloat16", precision=8, exponent_bits=8)
TF32 = Format(name="tf32", precision=11, exponent_bits=8)
FLOAT8_E4M3FN = Format(name="float8_e4m3fn", precision=4, exponent_bits=4, infinities=False)
FLOAT8_E5M2 = Format(name="float8_e5m2", precision=3, exponent_bits=5)
FLOAT32 = Format(name="float32", precision=24, exponent_bits=8, dtype=np.dtype(np.float32))
FLOAT64 = Format(name="float64", precision=53, exponent_bits=11, dtype=np.dtype(np.float64))
