"""Number formats: what a value can be, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from gmpy2 import mpq

from compiler.errors import ConfigError


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


@dataclass(frozen=True, kw_only=True)
class MpmathFormat:
    """mpmath numbers of a given number of decimal digits; their exponent has no bounds.

    Attributes:
        dps: decimal digits, as in ``mpmath.mp.dps``.
    """

    dps: int

    def __post_init__(self) -> None:
        if not 1 <= self.dps <= MAX_DPS:
            raise ConfigError.single(f"mpmath with dps={self.dps}", hint=f"dps from 1 to {MAX_DPS}")

    @property
    def name(self) -> str:
        """``mpmath50`` for 50 digits."""
        return f"mpmath{self.dps}"

    @property
    def precision(self) -> int:
        """p, significand bits: mpmath's own translation of ``dps``."""
        return max(1, round((int(self.dps) + 1) * BITS_PER_DIGIT))

    @cached_property
    def roundoff(self) -> mpq:
        """U = 2^-p."""
        return mpq(2) ** -self.precision


AnyFormat = Format | MpmathFormat

MAX_DPS = 100_000
BITS_PER_DIGIT = 3.3219280948873626  # log2(10), the constant that mpmath uses

FLOAT16 = Format(name="float16", precision=11, exponent_bits=5, dtype=np.dtype(np.float16))
FLOAT32 = Format(name="float32", precision=24, exponent_bits=8, dtype=np.dtype(np.float32))
FLOAT64 = Format(name="float64", precision=53, exponent_bits=11, dtype=np.dtype(np.float64))

FLOATS: dict[str, Format] = {fmt.name: fmt for fmt in (FLOAT16, FLOAT32, FLOAT64)}
BFLOAT16 = Format(name="bfloat16", precision=8, exponent_bits=8)
"""To measure outputs in; no engine computes in it yet."""
SCORED: dict[str, Format] = {fmt.name: fmt for fmt in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}
FORMAT_CHOICES: tuple[str, ...] = (*FLOATS, "mpmath50", "mpmath(dps=80)")

_MPMATH = re.compile(r"mpmath(?:([0-9]{1,7})|\(\s*dps\s*=\s*([0-9]{1,7})\s*\))", re.ASCII)


def parse_format(name: str | AnyFormat) -> AnyFormat:
    """The format of that name; a format is returned as it is.

    Raises:
        ConfigError: an unknown name, with the choices.
    """
    if isinstance(name, Format | MpmathFormat):
        return name
    text = str(name).strip()
    if text in FLOATS:
        return FLOATS[text]
    found = _MPMATH.fullmatch(text)
    if found is None:
        choices = ", ".join(FORMAT_CHOICES)
        if text in SCORED:
            raise ConfigError.single(f"no engine computes in {text} yet", hint=f"one of {choices}")
        raise ConfigError.single(f"unknown format {name!r}", hint=f"one of {choices} (any number of digits)")
    return MpmathFormat(dps=int(found[1] or found[2]))
