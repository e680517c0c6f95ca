"""What a model with real gates is made for: a number format and a length of prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gmpy2 import mpq

from compiler.config import Auto
from compiler.errors import ConfigError
from compiler.exact import Number, exact, next_power_of_two
from compiler.formats import FLOAT32, Format

DEFAULT_LENGTH = 100_000
MAX_LENGTH = 10**9
ORDINARY_GAIN = mpq(256)
"""The least K where the format leaves room: sigmoid(−128) = 2.6e-56, which float32 rounds to 0."""
ORDINARY_SATURATION = 200
LOADED_CELL = mpq(100)
"""tanh(100) is 1 in every format of fewer than 288 bits."""
LEAST_PUSH = 32
LEAST_MAGNITUDE = mpq(1, 64)
MOST_BITS = 2048
"""Up to this many bits below 1, gates are saturated until they underflow to 0 exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeGates:
    """The choices of a compilation to sigmoid and tanh.

    Attributes:
        format: the format in which the model will run; ε and K are chosen for it.
        length: T, the longest prompt: it bounds what accumulates, and the error bound holds up to it.
        epsilon: ε, by which values that are not Boolean are scaled (a power of two), or
            ``auto``: per unit, the largest for which tanh is the identity after rounding.
        gain: K, the slope of saturating gates, or ``auto``: 256 or more, less where the
            weights K·w/ε would overflow the format.
        restore: up to so many steps, outputs on a bounded lattice are read from Booleans of one
            more layer, a unit for each step (see :mod:`compiler.real_gates.restoring`); 0: never.

    Raises:
        ConfigError: a length below 1, an ε that is no power of two in (0, 1], a gain below 4, or
            a negative number of steps to restore.
    """

    format: Format = FLOAT32
    length: int = DEFAULT_LENGTH
    epsilon: mpq | Auto = "auto"
    gain: mpq | Auto = "auto"
    restore: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MAX_LENGTH:
            raise ConfigError.single(f"a prompt length of {self.length}", hint=f"1 to {MAX_LENGTH} tokens")
        if self.restore < 0:
            raise ConfigError.single(
                f"restore={self.restore}", hint="a number of steps, such as 64; 0: never"
            )
        object.__setattr__(self, "epsilon", _number("epsilon", self.epsilon))
        object.__setattr__(self, "gain", _number("gate gain", self.gain))
        if self.epsilon != "auto" and not _is_power_of_two(self.epsilon):
            raise ConfigError.single(
                f"epsilon={self.epsilon} is not a power of two in (0, 1]", hint="such as 1/2048, or auto"
            )
        if self.gain != "auto" and self.gain < 4:
            raise ConfigError.single(
                f"gate gain={self.gain} does not saturate a gate", hint="at least 4, or auto"
            )

    def within_identity(self, value: mpq) -> bool:
        """Whether tanh(x) rounds to x for all |x| ≤ ``value``: x³/3 is then under half a unit of x."""
        return bool(value * value <= mpq(1, 2 ** (self.format.precision + 1)))

    def epsilon_of(self, magnitude: mpq) -> mpq:
        """ε of values up to ``magnitude``."""
        if self.epsilon != "auto":
            return self.epsilon
        chosen = power_of_two_below(1 / max(magnitude, LEAST_MAGNITUDE))
        chosen *= mpq(1, 2 ** (self.format.precision // 2 - 1))
        while not self.within_identity(chosen * magnitude):
            chosen /= 2
        return chosen

    @property
    def vanishing(self) -> int:
        """X with sigmoid(−X) = 0 and sigmoid(X) = 1 in the format, or what its digits can tell apart."""
        digits = self.format.precision + self.length.bit_length() + 8
        underflow = self.format.precision - self.format.min_exponent + 2
        return math.ceil(math.log(2) * (underflow if underflow <= MOST_BITS else digits))

    @property
    def saturation(self) -> mpq:
        """L, a number of the format: a gate that is always open or shut has the pre-activation ±L."""
        wanted = mpq(max(ORDINARY_SATURATION, self.vanishing))
        digit = power_of_two_below(wanted) * mpq(2) ** (1 - self.format.precision)
        return min(digit * -(-wanted // digit), self.format.largest)

    @property
    def loaded(self) -> mpq:
        """The cell of an LSTM's flag, whose tanh rounds to 1."""
        return min(LOADED_CELL, self.format.largest)

    @property
    def push(self) -> mpq:
        """What an open reset gate lets into a GRU's flag: half of it still has the tanh 1."""
        return min(mpq(max(LEAST_PUSH, self.format.precision)), self.format.largest)

    @property
    def ordinary_gain(self) -> mpq:
        """K where nothing keeps it down."""
        if self.gain != "auto":
            return self.gain
        return max(ORDINARY_GAIN, next_power_of_two(mpq(2 * self.vanishing)))

    def settings(self) -> dict[str, str]:
        """As exact strings, for the model's settings."""
        return ({"restore": str(self.restore)} if self.restore else {}) | {
            "activation": "native",
            "native format": self.format.name,
            "native length": str(self.length),
            "epsilon": str(self.epsilon),
            "gate gain": str(self.gain),
        }


def _number(role: str, value: Number | Auto) -> mpq | Auto:
    if value == "auto":
        return "auto"
    try:
        number = exact(value)
    except (ValueError, ZeroDivisionError):
        raise ConfigError.single(f"{role}={value!r} is not a number", hint="a number or 'auto'") from None
    if number <= 0:
        raise ConfigError.single(f"{role}={value} is not positive", hint="a positive number or 'auto'")
    return number


def _is_power_of_two(value: mpq) -> bool:
    return value <= 1 and value.numerator == 1 and int(value.denominator).bit_count() == 1


def power_of_two_below(value: mpq) -> mpq:
    """The largest power of two ≤ ``value`` > 0."""
    exponent = int(value.numerator.bit_length() - value.denominator.bit_length())
    power = mpq(2) ** exponent
    return power if power <= value else power / 2
