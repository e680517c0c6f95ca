"""What typed units are made of: affine forms, switches, and what each unit holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from gmpy2 import mpq

from compiler.exact import ZERO
from compiler.model import Label
from compiler.ranges import Range
from compiler.targets.base import Parts

Role = Literal["flag", "linear", "sum", "switched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a unit of the layer below holds: ``scale`` times a value of ``extent``."""

    scale: mpq
    extent: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """A value: Σ weight·(unit below) + Σ weight·(value of this layer one step before) + bias."""

    reads: dict[int, mpq] = field(default_factory=dict)
    own: dict[int, mpq] = field(default_factory=dict)
    bias: mpq = ZERO

    def scaled(self, factor: mpq, shift: mpq = ZERO) -> Affine:
        """Factor times the value, plus ``shift``."""
        return Affine(
            reads={j: factor * w for j, w in self.reads.items()},
            own={j: factor * w for j, w in self.own.items()},
            bias=factor * self.bias + shift,
        )

    def plus(self, other: Affine) -> Affine:
        """The sum of two values."""
        reads, own = dict(self.reads), dict(self.own)
        for j, w in other.reads.items():
            reads[j] = reads.get(j, ZERO) + w
        for j, w in other.own.items():
            own[j] = own.get(j, ZERO) + w
        return Affine(reads=reads, own=own, bias=self.bias + other.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A saturating gate: sigmoid(slope · p), p a value less its threshold.

    Attributes:
        argument: p.
        slope: K over ``gap``.
        gap: how far p's values on either side stand apart; 0 where they may come near 0.
        extent: where p is known to lie.
    """

    argument: Affine
    slope: mpq
    gap: mpq
    extent: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One typed unit.

    Attributes:
        role: see the module.
        label: with its scale.
        extent: the range of what it carries.
        start: its value before the first token.
        form: what it carries (for ``switched``, when open; for ``sum``, the increment).
        size: the largest magnitude of ``form``.
        switch: of ``flag`` and ``switched``; of a ``sum`` of integers that never falls,
            open where the increment is not 0.
    """

    role: Role
    label: Label
    extent: Range
    start: mpq
    form: Affine
    size: mpq
    switch: Switch | None = None

    @property
    def scale(self) -> mpq:
        """ε, or 1 for a Boolean."""
        return self.label.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """The layer below: how the path's values stand in it, and what its units hold."""

    parts: Sequence[Parts]
    held: Sequence[Held]
    ranges: Sequence[Range]


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The typed units of one path layer.

    Attributes:
        units: in order.
        values: per value of the path layer, its units with their factors.
        below: what they read.
    """

    units: tuple[Unit, ...]
    values: tuple[tuple[tuple[int, mpq], ...], ...]
    below: Below
