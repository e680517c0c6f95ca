"""Policies: a number format for every place of a computation, and a direction of rounding.

What is rounded where, in a compiled model (:mod:`compiler.model` has the equations):

- each token once to ``input``, each weight and bias once to ``weights``, each initial state
  once to ``state``: before the run, from their exact values, to nearest;
- each product to ``products``, each sum to ``accumulator``; a pre-activation has one
  accumulator, which begins at the bias, then takes the terms of ``weight_hh`` and those of
  ``weight_ih``, in the order of their columns, without fused operations.  The products and
  sums of a cell (f ⊙ c' + i ⊙ g and the like) are such products and sums, and 1 − z is
  1 + (−1) z;
- each pre-activation once to ``activations``, after its activation function; so is the
  product of a gate layer, and every value that one layer hands to another;
- h and c that a recurrent layer keeps for its next step, to ``state``; the layers that
  read h get that value, rounded to ``activations``;
- each output once to ``readout``.

A format by itself is a policy: the same for every place, every operation rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from compiler.errors import ConfigError
from stability.formats import (
    FLOAT16,
    FLOAT32,
    FLOAT64,
    FORMAT_CHOICES,
    AnyFormat,
    Format,
    find_format,
    parse_format,
)
from stability.rounding import MODES, Mode

PLACES = ("input", "weights", "products", "accumulator", "state", "activations", "readout")
WIDER: dict[str, Format] = {"16": FLOAT16, "32": FLOAT32, "64": FLOAT64}
PRESETS = (
    "float16", "float16-acc32", "float16-state32", "bfloat16", "bfloat16-acc32", "bfloat16-state32",
    "float8_e4m3fn", "float8_e4m3fn-acc32", "float8_e4m3fn-state32", "float8_e5m2", "float8_e5m2-acc32",
    "float8_e5m2-state32", "tf32", "tf32-acc32", "float32", "float32-acc64", "float64", "mpmath50", "exact",
)  # fmt: skip
"""What users choose from; every format has its ``-acc32`` and ``-state32``."""
POLICY_CHOICES = (
    *FORMAT_CHOICES, "-acc32 or -state32 after a format", "float16,state=float32",
    "float16,rounding=stochastic,seed=7",
)  # fmt: skip
MAX_SEED = (1 << 64) - 1

_WIDENED = re.compile(r"(.+)-(acc|state)(16|32|64)", re.ASCII)
_SEED = re.compile(r"[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A format for every place (see the module).

    Attributes:
        input: tokens.
        weights: weights and biases.
        products: the result of a multiplication.
        accumulator: the result of an addition.
        state: what a recurrent layer keeps from step to step.
        activations: what units hand on.
        readout: outputs.
        rounding: the direction of all arithmetic; constants and tokens are rounded to nearest.
        seed: of stochastic rounding.

    Raises:
        ConfigError: a direction for formats that only round to nearest, or a seed without use.
    """

    input: AnyFormat
    weights: AnyFormat
    products: AnyFormat
    accumulator: AnyFormat
    state: AnyFormat
    activations: AnyFormat
    readout: AnyFormat
    rounding: Mode = "nearest"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounding not in MODES:
            raise ConfigError.single(f"unknown rounding {self.rounding!r}", hint="one of " + ", ".join(MODES))
        other = [fmt.name for fmt in self.formats.values() if not isinstance(fmt, Format)]
        if other and self.rounding != "nearest":
            raise ConfigError.single(
                f"{other[0]} is not rounded {self.rounding}", hint="take a binary format for every place"
            )
        if self.seed and self.rounding != "stochastic":
            raise ConfigError.single(
                f"a seed of {self.seed} for rounding={self.rounding}", hint="rounding=stochastic has a seed"
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError.single(f"a seed of {self.seed}", hint="0 to 2^64 − 1")

    @cached_property
    def formats(self) -> dict[str, AnyFormat]:
        """The format of every place, in the order of :data:`PLACES`."""
        return {place: getattr(self, place) for place in PLACES}

    @property
    def binary(self) -> bool:
        """Whether all formats are binary floating-point formats of at most 53 bits."""
        return all(isinstance(fmt, Format) for fmt in self.formats.values())

    @property
    def uniform(self) -> AnyFormat | None:
        """The one format of all places, to nearest; None for other policies."""
        found = set(self.formats.values())
        return self.input if len(found) == 1 and self.rounding == "nearest" else None

    @cached_property
    def name(self) -> str:
        """The shortest text that :func:`parse_policy` reads as this policy."""
        base = min(self._bases(), key=lambda name: len(_changes(_named(name), self)))
        parts = [base, *(f"{place}={self.formats[place].name}" for place in _changes(_named(base), self))]
        if self.rounding != "nearest":
            parts.append(f"rounding={self.rounding}")
        if self.seed:
            parts.append(f"seed={self.seed}")
        return ",".join(parts)

    def _bases(self) -> Iterator[str]:
        for fmt in dict.fromkeys(self.formats.values()):
            yield fmt.name
            if not isinstance(fmt, Format):
                continue
            for bits, wider in WIDER.items():
                if wider != fmt and wider.holds(fmt):
                    yield f"{fmt.name}-acc{bits}"
                    yield f"{fmt.name}-state{bits}"


AnyPolicy = AnyFormat | Policy


def _changes(base: Policy, policy: Policy) -> list[str]:
    return [place for place in PLACES if base.formats[place] != policy.formats[place]]


def as_policy(policy: AnyPolicy) -> Policy:
    """A format as the policy that it is."""
    return policy if isinstance(policy, Policy) else Policy(**dict.fromkeys(PLACES, policy))  # type: ignore[arg-type]


def wire_type(policy: AnyPolicy, wire: int) -> np.dtype[Any]:
    """The numpy type of the outputs (−1), of the tokens (0) or of what a layer hands on (1 and up)."""
    places = as_policy(policy)
    fmt = places.readout if wire < 0 else places.activations if wire else places.input
    return fmt.storage if isinstance(fmt, Format) else np.dtype(object)


def output_format(policy: AnyPolicy) -> AnyFormat:
    """The format of the outputs, in which their errors are measured."""
    return policy.readout if isinstance(policy, Policy) else policy


def parse_policy(name: str | AnyPolicy) -> AnyPolicy:
    """The policy of that name; a policy is returned as it is.

    A name is a format, or one with ``-acc32`` (products and sums in float32: what most
    kernels do) or ``-state32`` (and the state as well) after it; 16 and 64 stand for float16
    and float64.  Places may follow, as in ``float16,state=float32``, and
    ``rounding=stochastic,seed=7``.

    Returns:
        A format where it is the same for every place, to nearest; else a policy.

    Raises:
        ConfigError: an unknown name, place or direction, with the choices.
    """
    if not isinstance(name, str):
        return name
    base, *settings = (part.strip() for part in name.split(","))
    policy = _named(base)
    given = [_setting(part, name) for part in settings]
    twice = next((key for n, (key, _) in enumerate(given) if key in dict(given[:n])), None)
    if twice is not None:
        raise ConfigError.single(f"two values for {twice} in {name!r}")
    policy = replace(policy, **dict(given))  # type: ignore[arg-type]  # fields have their own types
    uniform = policy.uniform
    return policy if uniform is None else uniform


def _named(name: str) -> Policy:
    """A format, or one that is widened."""
    fmt = find_format(name)
    if fmt is not None:
        return as_policy(fmt)
    found = _WIDENED.fullmatch(name)
    fmt = find_format(found[1]) if found else None
    if found is None or not isinstance(fmt, Format):
        raise ConfigError.single(
            f"unknown format or policy {name!r}", hint="one of " + ", ".join(POLICY_CHOICES)
        )
    wider = WIDER[found[3]]
    if not wider.holds(fmt):
        raise ConfigError.single(
            f"no policy {name!r}: {wider.name} does not hold all values of {fmt.name}",
            hint=f"{fmt.name}-{found[2]}64, or a place as in {fmt.name},accumulator={wider.name}",
        )
    policy = replace(as_policy(fmt), products=wider, accumulator=wider)
    return replace(policy, state=wider) if found[2] == "state" else policy


def _setting(text: str, name: str) -> tuple[str, AnyFormat | str | int]:
    """One ``key=value`` after a policy's name."""
    key, equals, value = (part.strip() for part in text.partition("="))
    choices = [field.name for field in fields(Policy)]
    if not equals or key not in choices:
        raise ConfigError.single(
            f"{text!r} in the policy {name!r}", hint="place=format, one of " + ", ".join(choices)
        )
    if key == "rounding":
        return key, value
    if key == "seed":
        if not _SEED.fullmatch(value):
            raise ConfigError.single(f"seed={value} in the policy {name!r}", hint="a whole number")
        return key, int(value)
    return key, parse_format(value)
