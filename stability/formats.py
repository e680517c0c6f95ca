"""Number formats: what a value can be, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format

__all__ = [
    "BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64", "FLOATS", "FORMAT_CHOICES", "SCORED",
    "AnyFormat", "Format", "MpmathFormat", "parse_format",
]  # fmt: skip


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

FLOATS: dict[str, Format] = {fmt.name: fmt for fmt in (FLOAT16, FLOAT32, FLOAT64)}
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
