"""The values of the text language, their bounds, and what they are called in messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import TypeAlias

from gmpy2 import mpq, mpz

from compiler.errors import Diagnostic, ProgramError
from compiler.exact import Matrix, Number
from compiler.expr import Variable

MAX_BITS = 65_536
MAX_DIGITS = 19_000
MAX_STEPS = 2_000_000
MAX_ENTRIES = 2_000_000
MAX_DIM = 100_000


class ExhaustedError(ProgramError):
    """The program does more work than a program may: evaluation ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PiMultiple:
    """π·turn, held symbolically."""

    turn: mpq


@dataclass(frozen=True, slots=True, kw_only=True)
class Automatic:
    """What the name ``auto`` stands for: a μ or λ that the compiler chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """What a name holds whose definition failed: reading it is not one more mistake."""


Value: TypeAlias = mpq | bool | PiMultiple | Automatic | Matrix | Variable | tuple["Value", ...] | Poison


@dataclass(slots=True, kw_only=True)
class Budget:
    """How much work and memory one program may still use.

    Attributes:
        steps: evaluation steps left; long numbers count as many steps.
        entries: matrix, list and constant entries left.
    """

    steps: int = field(default=MAX_STEPS)
    entries: int = field(default=MAX_ENTRIES)

    def work(self, steps: int) -> None:
        """Take ``steps`` from what is left.

        Raises:
            ExhaustedError: nothing is left.
        """
        self.steps -= steps
        if self.steps < 0:
            message = f"evaluating the program takes more than {MAX_STEPS:,} steps"
            raise ExhaustedError(
                [Diagnostic(message=message, hint="use smaller parameters or matrix builders")]
            )

    def store(self, entries: int) -> None:
        """Take room for ``entries`` numbers or list elements.

        Raises:
            ExhaustedError: no room is left.
        """
        self.entries -= entries
        if self.entries < 0:
            message = f"the program's matrices and lists hold more than {MAX_ENTRIES:,} entries"
            raise ExhaustedError([Diagnostic(message=message, hint="use smaller parameters")])


def fault(message: str, hint: str | None = None) -> ProgramError:
    """An error without a place, to be raised; the evaluator adds the place."""
    return ProgramError([Diagnostic(message=message, hint=hint)])


def bits(value: mpq) -> int:
    """Size of a rational: the bits of its numerator and denominator."""
    return int(value.numerator.bit_length() + value.denominator.bit_length())


def bounded(value: mpq) -> mpq:
    """``value``, if it is short enough to be a constant.

    Raises:
        ProgramError: more than :data:`MAX_BITS` bits.
    """
    if bits(value) > MAX_BITS:
        raise fault(f"a constant of more than {MAX_BITS:,} bits", "constants are finite and bounded")
    return value


def show(value: mpq) -> str:
    """A constant in a message: as written for short ones, abbreviated for long ones."""
    text = (
        str(value)
        if bits(value) < 200
        else f"about 2^{value.numerator.bit_length() - value.denominator.bit_length()}"
    )
    return text if len(text) <= 40 else f"{text[:40]}…"


def describe(value: Value) -> str:  # noqa: PLR0911  (one line per kind)
    """What kind of value this is, in words."""
    if isinstance(value, bool):
        return f"the truth value {'true' if value else 'false'}"
    if isinstance(value, mpq):
        return f"the number {show(value)}"
    if isinstance(value, PiMultiple):
        return "a multiple of pi"
    if isinstance(value, Automatic):
        return "the word auto"
    if isinstance(value, Matrix):
        return f"a {value.height}×{value.width} matrix"
    if isinstance(value, Variable):
        return f"a variable of dim {value.dim}"
    if isinstance(value, tuple):
        return f"a list of {len(value)}"
    return "a value"


def whole(value: Value, role: str, *, least: int = 0, most: int = MAX_DIM) -> int:
    """``value`` as an integer within bounds.

    Raises:
        ProgramError: not a number, not whole, or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, mpq):
        raise fault(f"{role} is {describe(value)}", f"{role} is a whole number")
    if value.denominator != 1:
        raise fault(f"{role} is {show(value)}", f"{role} is a whole number; floor(…) makes one")
    if not least <= value <= most:
        raise fault(f"{role} is {show(value)}", f"{role} lies between {least:,} and {most:,}")
    return int(value)


def parameter_value(name: str, given: Number | bool) -> mpq:
    """The exact value of a parameter that the caller overrides.

    Raises:
        ProgramError: not a finite number of bounded length.
    """
    shown = f"={given[:40]!r}" if isinstance(given, str) else f"={given}" if isinstance(given, float) else ""
    wrong = f"parameter {name}{shown}"
    hint = "a number such as 3, 1/3, 0.001 or 1e-3"
    if isinstance(given, str):
        return _from_text(given.strip(), wrong, hint)
    if isinstance(given, float):
        return _from_text(repr(float(given)), wrong, hint)
    if isinstance(given, Decimal):
        return _from_text(str(given), wrong, hint)
    if isinstance(given, Integral):
        return bounded(mpq(int(given)))
    if isinstance(given, Fraction | mpq):
        return bounded(mpq(given))
    raise fault(f"{wrong} is not a number", hint)


def _from_text(text: str, wrong: str, hint: str) -> mpq:
    top, slash, bottom = text.partition("/")
    numerator = _decimal(top, wrong, hint)
    denominator = _decimal(bottom, wrong, hint) if slash else mpq(1)
    if denominator == 0:
        raise fault(f"{wrong} divides by zero", hint)
    return bounded(numerator / denominator)


def _decimal(text: str, wrong: str, hint: str) -> mpq:
    if len(text) > MAX_DIGITS or not text.isascii():
        raise fault(f"{wrong} is not a number of bounded length", hint)
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise fault(f"{wrong} is not a number", hint) from None
    if not value.is_finite():
        raise fault(f"{wrong} is not finite", hint)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if abs(exponent) > MAX_DIGITS:
        raise fault(f"{wrong} has too many digits", hint)
    magnitude = mpq(mpz("".join(map(str, digits)) or "0")) * mpq(10) ** exponent
    return -magnitude if sign else magnitude
