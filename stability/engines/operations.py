"""Register operations: what a plan consists of, and what an engine must know how to do.

Every value of a token's pass lives in a register.  An operation computes one register
from registers of the same step and, where it says ``delayed``, of the step before.  Its
value is rounded to its ``place`` at last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from gmpy2 import mpq

Activation = Literal["none", "relu", "sigmoid", "tanh"]
Place = Literal["none", "state", "activations", "readout"]
"""What a value is rounded to after its activation; ``none``: it stays as it was computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the roundings of an operation stand, for their random bits (:mod:`stability.random_bits`).

    Attributes:
        layer: its layer.
        unit: its unit.
        first: the number of its first rounding; an accumulator's others follow.
        placed: that of the rounding after the activation.
    """

    layer: int = 0
    unit: int = 0
    first: int = 0
    placed: int = 0


NOWHERE = Site()


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One product of an accumulator: ``weight`` times a register's (previous) value."""

    register: int
    weight: mpq
    delayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """out = activation(bias + Σ terms), in their order; nan for ever if ``sticky``."""

    out: int
    bias: mpq
    terms: tuple[Term, ...]
    activation: Activation = "none"
    sticky: bool = False
    place: Place = "none"
    site: Site = NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """out = activation(left · right).

    ``delayed``: the value that ``right`` had one step before; ``sticky``: nan for ever
    after a non-finite value.
    """

    out: int
    left: int
    right: int
    delayed: bool = False
    activation: Activation = "none"
    sticky: bool = False
    place: Place = "none"
    site: Site = NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """out = activation(left + right), or of ``left`` alone if there is no ``right``."""

    out: int
    left: int
    right: int | None = None
    activation: Activation = "none"
    place: Place = "none"
    site: Site = NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """out = forget · (out one step before) + entry · candidate.

    ``strict``: nan where ``forget`` is not finite.
    """

    out: int
    forget: int
    entry: int
    candidate: int
    strict: bool = False
    place: Place = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """out = bias + Σ over lags i from 0 to the first step of Σ terms of lag i.

    A term of lag i reads the value that its register had i steps before, or :data:`UNIT`.
    The accumulator takes lag after lag, each in the order of its terms.

    Attributes:
        out: its register.
        bias: where the accumulator starts.
        lags: the terms of each lag.
        period: how many of the last ``lags`` come again for ever; 0: later lags have no terms.
        place: what it is rounded to.
        site: where.
    """

    out: int
    bias: mpq
    lags: tuple[tuple[Term, ...], ...]
    period: int
    place: Place = "none"
    site: Site = NOWHERE

    @property
    def registers(self) -> tuple[int, ...]:
        """The registers whose past it reads, each once."""
        found = {term.register: None for terms in self.lags for term in terms}
        return tuple(register for register in found if register != UNIT)


UNIT = -1
"""In a convolution: the constant 1."""

Operation = Affine | Product | Sum | Cell | Convolution


def reads(operation: Operation) -> tuple[tuple[int, int], ...]:
    """The registers an operation reads, each with how many steps back; a convolution's past apart."""
    match operation:
        case Affine():
            return tuple((term.register, int(term.delayed)) for term in operation.terms)
        case Product():
            return ((operation.left, 0), (operation.right, int(operation.delayed)))
        case Sum():
            registers = (operation.left,) if operation.right is None else (operation.left, operation.right)
            return tuple((register, 0) for register in registers)
        case Cell():
            now = (operation.forget, operation.entry, operation.candidate)
            return (*((register, 0) for register in now), (operation.out, 1))
        case Convolution():
            return tuple((register, 0) for register in operation.registers)
        case _:
            assert_never(operation)
