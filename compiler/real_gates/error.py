"""How far a model with real gates can be from the exact values: a bound for every unit.

Each layer is walked once.  A unit's error has three sources, all in units of the value
that it carries: what it inherits from the units it reads, the rounding of its
pre-activation, and its activations.  A pre-activation whose terms all lie on one lattice
of the format is exact.  A flag forgets what it inherits: with an error δ of p its
sigmoid is K·(½ − δ/gap) away from its threshold.  What accumulates does so for T tokens.

The bound holds for activations that are correctly rounded, and for any order of a sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from gmpy2 import mpq

from compiler import ranges
from compiler.exact import ONE, ZERO, Matrix
from compiler.formats import Format
from compiler.ranges import REAL, Range, rational_gcd
from compiler.real_gates.forms import Affine, Below, Held, Switch, Typed, Unit
from compiler.real_gates.reach import components, local_rows, powers
from compiler.real_gates.settings import NativeGates

SIGMOID_BEND = 0.2785
"""max x·sigmoid(−x), the error of x·sigmoid(x) against ReLU."""
SWITCH_SLOPE = 1.1
"""The largest slope of x·sigmoid(x)."""
ROUNDS = 4
TINY = math.ulp(0.0)
"""Stands for what is smaller than any float64, in formats that do not end there."""


def _float(value: mpq) -> float:
    """``value`` ≥ 0 as a float that is not below it."""
    try:
        return math.nextafter(float(value), math.inf)
    except OverflowError:
        return math.inf


def _fits(value: mpq, fmt: Format) -> bool:
    """Whether ``value`` is a number of the format."""
    if not value:
        return True
    low = value.numerator & -value.numerator
    bits = abs(value.numerator) // low
    power_of_two = value.denominator & (value.denominator - 1) == 0
    return (
        power_of_two
        and int(bits).bit_length() <= fmt.precision
        and mpq(low, value.denominator) >= fmt.smallest_subnormal
        and abs(value) <= fmt.largest
    )


def _counts(quantum: mpq | None, size: float, fmt: Format) -> bool:
    """Whether the format holds every multiple of ``quantum`` (None: any real) up to ``size``."""
    if quantum is None:
        return False
    if not quantum:
        return True
    if quantum.denominator & (quantum.denominator - 1):
        return False  # a third has no end in binary
    unit = mpq(quantum.numerator & -quantum.numerator, quantum.denominator)
    return bool(unit >= fmt.smallest_subnormal) and size <= float(unit) * 2.0**fmt.precision


def _quantum(so_far: mpq | None, factor: mpq, extent: Range) -> mpq | None:
    """The lattice of a sum, after a term: every partial sum is a multiple of it."""
    if so_far is None or extent.step is None:
        return None
    return rational_gcd(so_far, rational_gcd(factor * extent.step, factor * extent.offset))


@dataclass(frozen=True, slots=True)
class _Term:
    """One term of a pre-activation: its weight on what a unit holds, and that unit."""

    weight: mpq
    scale: mpq
    extent: Range
    error: float


class _Layer:
    """The errors of one layer's typed units."""

    def __init__(self, typed: Typed, below: Sequence[float], gates: NativeGates, tanhs: int) -> None:
        self.typed, self.below, self.gates, self.tanhs = typed, below, gates, tanhs
        self.fmt = gates.format
        self.unit_roundoff = _float(self.fmt.roundoff)
        self.least = float(self.fmt.smallest_subnormal) / 2 or float(self.fmt.smallest_subnormal)
        self.errors = [0.0] * len(typed.units)

    def terms(self, form: Affine, *, own: bool = True) -> list[_Term]:
        held = self.typed.below.held
        found = [_term(w, held[j], self.below[j]) for j, w in form.reads.items()]
        for j, w in form.own.items() if own else ():
            unit = self.typed.units[j]
            extent = ranges.hull(unit.extent, ranges.constant(unit.start))
            found.append(_term(w / unit.scale, Held(scale=unit.scale, extent=extent), self.errors[j]))
        return found

    def rounding(self, form: Affine, factor: mpq, result: Range = REAL) -> float:
        """The rounding errors of ``factor`` times a form, in units of its value; 0 where it is exact.

        Args:
            form: the pre-activation.
            factor: its scale.
            result: where the form's exact value is known to lie.
        """
        terms = self.terms(form)
        span = _span(form.bias, terms, result)
        if all(t.error == 0 for t in terms) and self._exact(form, factor, terms, span):
            return 0.0
        count = len(terms) + 4
        gamma = (
            count * self.unit_roundoff / (1 - count * self.unit_roundoff)
            if count * self.unit_roundoff < 1
            else math.inf
        )
        return gamma * span + count * self.least / _float(abs(factor))

    def _exact(self, form: Affine, factor: mpq, terms: Sequence[_Term], span: float) -> bool:
        fmt, quantum = self.fmt, abs(factor * form.bias)
        lattice: mpq | None = quantum
        for term in terms:
            if not _fits(factor * term.weight, fmt):
                return False
            lattice = _quantum(lattice, abs(factor * term.weight * term.scale), term.extent)
        if lattice is None or not _fits(factor * form.bias, fmt):
            return False
        if not lattice:
            return True
        return (
            lattice >= fmt.smallest_subnormal
            and span * _float(abs(factor)) <= float(lattice) * 2.0**fmt.precision
        )

    def inherited(self, form: Affine, *, own: bool = True) -> float:
        return sum(t.error * _float(abs(t.weight) * t.scale) for t in self.terms(form, own=own))

    def tail(self, switch: Switch) -> float:
        """Sigmoid's distance from 0 or 1 at worst; inf where the threshold may be crossed."""
        rounding = self.rounding(switch.argument, switch.slope, switch.extent)
        off = self.inherited(switch.argument) + rounding
        margin = float(switch.slope) * (float(switch.gap) / 2 - off)
        if margin <= 0:
            return math.inf
        tail = math.exp(-margin)
        return tail if tail or self.least else TINY

    def bend(self, unit: Unit, size: mpq) -> float:
        """What tanh takes away from ε·v, |v| ≤ ``size``, in units of v; 0 within the identity."""
        if self.gates.within_identity(unit.scale * size):
            return 0.0
        x = _float(unit.scale * size)
        return self.tanhs * (x**3 / 3 + self.unit_roundoff * x) / _float(unit.scale)

    def update(self, number: int) -> float:
        """The error of one unit, given those of the layer so far."""
        unit = self.typed.units[number]
        match unit.role:
            case "flag":
                return self._flag(unit)
            case "linear":
                return self.step(unit) + self.inherited(unit.form)
            case "sum":
                return self._sum(unit)
            case "switched":
                return self._switched(unit)
            case _:
                assert_never(unit.role)

    def step(self, unit: Unit) -> float:
        """The error that a value gains in one step."""
        if unit.role == "flag":
            return self.rounding(unit.form, ONE)
        size = unit.size if unit.role == "sum" else _largest(unit)
        known = REAL if unit.role in {"sum", "switched"} else unit.extent
        return (
            self.rounding(unit.form, unit.scale, known) + self.bend(unit, size) + self._closed(_largest(unit))
        )

    def started(self, unit: Unit) -> float:
        """What rounding the value before the first token costs."""
        if _fits(unit.scale * unit.start, self.fmt):
            return 0.0
        return _float(self.fmt.roundoff * abs(unit.start)) + self.least / _float(unit.scale)

    def _closed(self, size: mpq) -> float:
        """What sigmoid(−L) lets through."""
        leak = math.exp(-self.gates.saturation)
        return 0.0 if leak < self.least else leak * _float(size)

    def _flag(self, unit: Unit) -> float:
        assert unit.switch is not None
        tail = self.tail(unit.switch)
        if tail <= self.unit_roundoff / 2 and tail < self.least:
            return 0.0
        return tail * (1 + self.unit_roundoff) + self.unit_roundoff * (tail > self.unit_roundoff / 2)

    def _sum(self, unit: Unit) -> float:
        gain = self.inherited(unit.form) + self.step(unit)
        if gain or not self._sums_exactly(unit):
            gain += self.unit_roundoff * _float(_largest(unit)) + self.least / _float(unit.scale)
        return self.started(unit) + self.gates.length * gain + self.bend(unit, _largest(unit))

    def _sums_exactly(self, unit: Unit) -> bool:
        """Whether a sum's every value is a number of the format."""
        if unit.extent.step is None:
            return False
        quantum = rational_gcd(rational_gcd(unit.extent.step, unit.extent.offset), unit.start)
        return _counts(unit.scale * quantum, _float(unit.scale * _largest(unit)), self.fmt)

    def _switched(self, unit: Unit) -> float:
        assert unit.switch is not None
        carried = self.inherited(unit.form) + self.step(unit)
        inside = _float(_largest(unit))
        if not unit.switch.gap:
            return (
                SWITCH_SLOPE * carried + SIGMOID_BEND / float(unit.switch.slope) + self.unit_roundoff * inside
            )
        tail = self.tail(unit.switch)
        through = min(_float(unit.size) + carried, 1 / float(unit.scale))
        shut = tail * through
        if tail < self.least or shut * float(unit.scale) < self.least:
            shut = 0.0
        opened = 0.0 if tail <= self.unit_roundoff / 2 else (tail + self.unit_roundoff) * inside
        return carried + max(shut, opened) if tail < math.inf else math.inf


def _span(bias: mpq, terms: Sequence[_Term], result: Range) -> float:
    """A bound of every partial sum's magnitude, in whatever order.

    With P the sum of the positive terms and N that of the negative ones, P − N is the value:
    where it is known to be at most hi, P ≤ hi + N, and so on.
    """
    plus, minus = max(bias, ZERO), max(-bias, ZERO)
    for term in terms:
        factor, extent = term.weight * term.scale, term.extent
        ends = [factor * end for end in (extent.lo or ZERO, extent.hi or ZERO)]
        plus, minus = plus + max(*ends, ZERO), minus + max(-min(ends), ZERO)
    if result.hi is not None:
        plus = min(plus, max(result.hi, ZERO) + minus)
    if result.lo is not None:
        minus = min(minus, max(-result.lo, ZERO) + plus)
    slack = sum(term.error * _float(abs(term.weight) * term.scale) for term in terms)
    return _float(max(plus, minus)) + slack


def _largest(unit: Unit) -> mpq:
    """The largest |value| that a unit carries, its start included."""
    return max(unit.extent.magnitude or ZERO, abs(unit.start))


def _term(weight: mpq, held: Held, error: float) -> _Term:
    return _Term(weight, held.scale, held.extent, error)


def layer_errors(typed: Typed, below: Sequence[float], gates: NativeGates, *, tanhs: int) -> list[float]:
    """Per typed unit, a bound of |what it carries − the exact value| over the prompt.

    Args:
        typed: the layer.
        below: the errors of the units it reads, in units of the value that they carry.
        gates: format and length.
        tanhs: how many tanh a value passes on its way through a cell.
    """
    layer = _Layer(typed, below, gates, tanhs)
    size = len(typed.units)
    own = Matrix.from_rows(size, [unit.form.own for unit in typed.units])
    for members in components(own):
        if len(members) == 1 and not own.rows[members[0]]:
            layer.errors[members[0]] = layer.update(members[0])
        elif all(typed.units[unit].role == "flag" for unit in members):
            _settle_flags(layer, members)
        else:
            _settle_loop(layer, members, local_rows(own, members))
    return layer.errors


def _settle_flags(layer: _Layer, members: Sequence[int]) -> None:
    """Flags that feed each other forget; their errors are a fixpoint."""
    for _ in range(ROUNDS):
        before = [layer.errors[unit] for unit in members]
        for unit in members:
            layer.errors[unit] = layer.update(unit)
        if [layer.errors[unit] for unit in members] == before:
            return
    for unit in members:
        layer.errors[unit] = math.inf


def _settle_loop(layer: _Layer, members: Sequence[int], rows: Sequence[dict[int, mpq]]) -> None:
    """Values fed back through h: each step's error goes on through the powers of the matrix."""
    units = layer.typed.units

    def gained() -> float:
        return max(layer.inherited(units[k].form, own=False) + layer.step(units[k]) for k in members)

    bound = powers(rows, layer.gates.length)
    started = max(layer.started(units[k]) for k in members)
    for unit in members:
        layer.errors[unit] = started
    step = gained()
    if step:  # off the lattice of exact values, every sum is rounded
        for unit in members:
            layer.errors[unit] = max(step, started)
        step = gained()
    for unit in members:
        if bound is None:
            layer.errors[unit] = math.inf
        else:
            layer.errors[unit] = _float(bound.total) * step + _float(bound.largest) * started
    for unit in members:
        if units[unit].role == "flag":
            layer.errors[unit] = min(layer.errors[unit], layer.update(unit))


def output_errors(
    readout: Sequence[Affine],
    known: Sequence[Range],
    below: Below,
    errors: Sequence[float],
    gates: NativeGates,
) -> list[float]:
    """Per output, the bound of its error."""
    nothing = Typed(units=(), values=(), below=below)
    layer = _Layer(nothing, errors, gates, 0)
    return [
        layer.inherited(form) + layer.rounding(form, ONE, extent)
        for form, extent in zip(readout, known, strict=True)
    ]


def token_error(extent: Range, fmt: Format) -> float:
    """What rounding a token's entry to the format costs."""
    size = extent.magnitude or ZERO
    quantum = rational_gcd(extent.step, extent.offset) if extent.step is not None else None
    if _counts(quantum, _float(size), fmt):
        return 0.0
    return _float(fmt.roundoff * size) + _float(fmt.smallest_subnormal) / 2
