"""Number formats: what a value can be, by name.

Names of binary formats are those of :data:`BINARY`, and ``e5m10`` for any other one: five
exponent bits and ten stored mantissa bits, so a precision of eleven with the hidden bit,
with subnormals, infinities and nan as in IEEE 754.  With ``-sat`` at its end a name means
the same format, in which what overflows becomes the largest value instead of inf or nan.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.formats import (
    BFLOAT16,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    Format,
)

__all__ = [
    "BFLOAT16", "BINARY", "EXACT", "FLOAT8_E4M3FN", "FLOAT8_E5M2", "FLOAT16", "FLOAT32", "FLOAT64",
    "FLOATS", "FORMAT_CHOICES", "SCORED", "TF32", "AnyFormat", "ExactFormat", "Format", "MpmathFormat",
    "find_format", "parse_format",
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


@dataclass(frozen=True, kw_only=True)
class ExactFormat:
    """Rational numbers: nothing is ever rounded.

    ``precision`` is what measures give as significant bits where there is no error.
    """

    name: str = "exact"
    precision: int = 1024


AnyFormat = Format | MpmathFormat | ExactFormat

MAX_DPS = 100_000
BITS_PER_DIGIT = 3.3219280948873626  # log2(10), the constant that mpmath uses
EXPONENT_BITS = range(2, 12)
MANTISSA_BITS = range(1, 53)

EXACT = ExactFormat()
FLOATS: dict[str, Format] = {fmt.name: fmt for fmt in (FLOAT16, FLOAT32, FLOAT64)}
SCORED: dict[str, Format] = {fmt.name: fmt for fmt in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}
BINARY: dict[str, Format] = {
    fmt.name: fmt for fmt in (FLOAT16, BFLOAT16, TF32, FLOAT32, FLOAT64, FLOAT8_E4M3FN, FLOAT8_E5M2)
}
FORMAT_CHOICES: tuple[str, ...] = (
    *BINARY, "e5m10 (any exponent and mantissa bits)", "-sat after any of them", "mpmath50",
    "mpmath(dps=80) (any number of digits)", "exact",
)  # fmt: skip

_FIELDS = {
    (fmt.exponent_bits, fmt.precision - 1, "" if fmt.infinities else "fn"): fmt for fmt in BINARY.values()
}
_CUSTOM = re.compile(r"e([0-9]{1,4})m([0-9]{1,4})(fn)?", re.ASCII)
_MPMATH = re.compile(r"mpmath(?:([0-9]{1,7})|\(\s*dps\s*=\s*([0-9]{1,7})\s*\))", re.ASCII)


def parse_format(name: str | AnyFormat) -> AnyFormat:
    """The format of that name; a format is returned as it is.

    Raises:
        ConfigError: an unknown name, with the choices, or numbers out of range.
    """
    if isinstance(name, Format | MpmathFormat | ExactFormat):
        return name
    found = find_format(str(name))
    if found is None:
        raise ConfigError.single(f"unknown format {name!r}", hint="one of " + ", ".join(FORMAT_CHOICES))
    return found


def find_format(name: str) -> AnyFormat | None:
    """The format of that name; None for what is no name of a format.

    Raises:
        ConfigError: a number of digits or bits out of range.
    """
    text = name.strip()
    if text == EXACT.name:
        return EXACT
    found = _MPMATH.fullmatch(text)
    if found is not None:
        return MpmathFormat(dps=int(found[1] or found[2]))
    plain = text.removesuffix("-sat")
    fmt = BINARY.get(plain) or _custom(plain)
    return fmt if fmt is None or plain == text else fmt.saturated()


def _custom(name: str) -> Format | None:
    """A format by its numbers of bits; one that has a name of its own is that one."""
    found = _CUSTOM.fullmatch(name)
    if found is None:
        return None
    exponent, mantissa, kind = int(found[1]), int(found[2]), found[3] or ""
    known = _FIELDS.get((exponent, mantissa, kind))
    if known is not None or kind:
        return known
    if exponent not in EXPONENT_BITS or mantissa not in MANTISSA_BITS:
        raise ConfigError.single(
            f"no format {name!r}",
            hint=f"{EXPONENT_BITS[0]} to {EXPONENT_BITS[-1]} exponent bits and {MANTISSA_BITS[0]} to "
            f"{MANTISSA_BITS[-1]} mantissa bits, the hidden one not counted",
        )
    return Format(name=f"e{exponent}m{mantissa}", precision=mantissa + 1, exponent_bits=exponent)
