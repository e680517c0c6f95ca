"""How far a model with real gates can be from the exact values: a bound for every unit.

Each layer is walked once.  A unit's error has three sources, all in units of the value
that it carries: what it inherits from the units it reads, the rounding of its
pre-activation, and its activations.  A pre-activation whose terms all lie on one lattice
of the format is exact; one that may overflow has no bound.  A flag forgets what it
inherits: with an error δ of p its sigmoid is K·(½ − δ/gap) away from its threshold.  What
accumulates does so for T tokens, each rounding the errors of those before it.

The bound holds for activations that are correctly rounded, and for any order of a sum (in
the GRU the same for a reset and an update gate with equal weights).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import assert_never

from gmpy2 import mpq

from compiler import ranges
from compiler.exact import ONE, ZERO, Matrix
from compiler.formats import Format
from compiler.ranges import REAL, Range, rational_gcd
from compiler.real_gates.forms import Affine, Below, Switch, Typed, Unit
from compiler.real_gates.numbers import EXACT, Off, Term, counts, exact_sum, fits, span, upward
from compiler.real_gates.reach import cycles, local_rows, powers
from compiler.real_gates.settings import NativeGates

SIGMOID_BEND = 0.2785
"""max x·sigmoid(−x), the error of x·sigmoid(x) against ReLU."""
ROUNDS = 4
CAUTION = 1 + 1e-9
"""For the roundings of exp and of this arithmetic itself."""
MOST_GROWTH = 700.0
MOST_MARGIN = mpq(10**6)


class _Layer:
    """The errors of one layer's typed units."""

    def __init__(self, typed: Typed, below: Sequence[Off], gates: NativeGates, tanhs: int) -> None:
        self.typed, self.below, self.gates, self.tanhs = typed, below, gates, tanhs
        self.fmt = gates.format
        self.unit_roundoff = upward(self.fmt.roundoff)
        self.least = float(self.fmt.smallest_subnormal) / 2 or float(self.fmt.smallest_subnormal)
        self.offs = [EXACT] * len(typed.units)

    def terms(self, form: Affine, own: Callable[[int], bool] = lambda _: True) -> list[Term]:
        """The terms of a form; of those that read this layer the chosen ones."""
        held = self.typed.below.held
        found = [Term(w, held[j].scale, held[j].extent, self.below[j]) for j, w in form.reads.items()]
        for j, w in form.own.items():
            if own(j):
                unit = self.typed.units[j]
                extent = ranges.hull(unit.extent, ranges.constant(unit.start))
                found.append(Term(w / unit.scale, unit.scale, extent, self.offs[j]))
        return found

    def gamma(self, count: int) -> float:
        """The relative error of ``count`` roundings."""
        total = count * self.unit_roundoff
        return total / (1 - total) if total < 1 else math.inf

    def rounding(self, form: Affine, factor: mpq, result: Range = REAL, near: mpq | None = None) -> float:
        """The rounding errors of ``factor`` times a form, in units of its value; 0 where it is exact.

        Args:
            form: the pre-activation.
            factor: its scale.
            result: where the form's exact value is known to lie.
            near: if only values of at most this magnitude matter: with P − N = p, all sums are
                at most |p| + min(P, N).

        Returns:
            inf where a weight or a partial sum may overflow.
        """
        terms, size = self.terms(form), abs(factor)
        sums, slack = span(form.bias, terms, result), sum(term.slack for term in terms)
        peak = max(sums)
        if not slack and exact_sum(form.bias, terms, factor, peak, self.fmt):
            return 0.0
        gamma = self.gamma(len(terms) + 4)
        if not max(gamma, slack) < math.inf:
            return math.inf
        reached = (peak + mpq(slack)) * (1 + mpq(gamma))
        if size * max([abs(term.weight) for term in terms] + [reached]) > self.fmt.largest:
            return math.inf
        if near is not None:
            peak = min(peak, near + min(sums))
        flows = len(terms) + 4 + sum(upward(t.scale * (t.extent.magnitude or ZERO)) for t in terms)
        return gamma * (upward(peak) + slack) + flows * self.least / upward(size)

    def inherited(self, form: Affine, own: Callable[[int], bool] = lambda _: True) -> float:
        """What the errors of the units that it reads add up to."""
        terms = self.terms(form, own)
        return sum((t.off.error * upward(abs(t.weight) * t.scale) for t in terms if t.off.error), 0.0)

    def tail(self, switch: Switch) -> float:
        """Sigmoid's distance from 0 or 1 at worst; inf where the threshold may be crossed."""
        argument, nearest = switch.argument, switch.gap / 2  # the farther p is, the less its roundings matter
        off = self.inherited(argument) + self.rounding(argument, switch.slope, switch.extent, nearest)
        if not off < math.inf:
            return math.inf
        margin = switch.slope * (switch.gap / 2 - mpq(off))
        return math.exp(-float(min(margin, MOST_MARGIN))) * CAUTION if margin > 0 else math.inf

    def bend(self, unit: Unit, size: mpq) -> float:
        """What tanh takes away from ε·v, |v| ≤ ``size``, in units of v; 0 within the identity."""
        if self.gates.within_identity(unit.scale * size):
            return 0.0
        x = upward(unit.scale * size)
        return self.tanhs * (x**3 / 3 + self.unit_roundoff * x) * _per(unit)

    def update(self, number: int) -> float:
        """The error of one unit, given those of the layer so far."""
        unit = self.typed.units[number]
        match unit.role:
            case "flag":
                return self._flag(unit)
            case "linear":
                passed = (self.step(unit) + self.inherited(unit.form)) * self._beyond()
                return self.capped(unit, max(passed, self.started(unit)))
            case "sum":
                return self._sum(unit)
            case "switched":
                return self._switched(number, unit)
            case _:
                assert_never(unit.role)

    def _beyond(self) -> float:
        """The roundings of an error that brings a value out of the identity."""
        return 1 + 3 * self.tanhs * self.unit_roundoff

    def step(self, unit: Unit) -> float:
        """The error that a value gains in one step."""
        known = REAL if unit.role in {"sum", "switched"} else unit.extent
        bent = unit.size if unit.role == "sum" and self.tanhs == 2 else _largest(unit)
        return (
            self.rounding(unit.form, unit.scale, known) + self.bend(unit, bent) + self._closed(_largest(unit))
        )

    def started(self, unit: Unit) -> float:
        """What rounding the value before the first token costs."""
        if fits(unit.scale * unit.start, self.fmt):
            return 0.0
        return upward(self.fmt.roundoff * abs(unit.start)) + self.least * _per(unit)

    def capped(self, unit: Unit, error: float) -> float:
        """An error no larger than what tanh, of at most 1, can be off."""
        return min(error, upward(_largest(unit)) + _per(unit)) if error < math.inf else error

    def _closed(self, size: mpq) -> float:
        """What sigmoid(−L) lets through."""
        leak = math.exp(-float(self.gates.saturation))
        return 0.0 if leak < self.least else leak * upward(size)

    def _flag(self, unit: Unit) -> float:
        assert unit.switch is not None
        tail = self.tail(unit.switch)
        if tail == math.inf:
            return tail
        opened = 0.0 if tail <= self.unit_roundoff / 2 else tail + self.unit_roundoff
        shut = 0.0 if tail < self.least else tail * (1 + self.unit_roundoff) + self.least
        if shut and self.tanhs == 1:  # the GRU's flag is tanh(sigmoid · push)
            push = float(self.gates.push)
            shut = min(push * shut * (1 + 4 * self.unit_roundoff) + self.least, 1.0)
        return max(opened, shut) + self._closed(ONE)

    def _sum(self, unit: Unit) -> float:
        inherited = self.inherited(unit.form)
        gain = inherited + self.step(unit)
        if self.tanhs == 1 and unit.switch is not None:
            clean = not gain and self._sums_exactly(unit) and fits(unit.scale * unit.start, self.fmt)
            gain += self._leaky_sum(unit, unit.switch, inherited, clean=clean)
        if gain or not self._sums_exactly(unit):
            gain += self.unit_roundoff * upward(_largest(unit)) + self.least * _per(unit)
        total = self.started(unit) + self.gates.length * gain
        rounds = 1 if self.tanhs == 2 else 8  # of an error, a step: h' itself, its tanh, its gates
        total *= 1 if not total else self._compounded(self.gates.length * rounds * self.unit_roundoff)
        return self.capped(unit, (total + self.bend(unit, _largest(unit))) * self._beyond())

    def _leaky_sum(self, unit: Unit, switch: Switch, inherited: float, *, clean: bool) -> float:
        """What a step of the GRU's sum, (1 − z)·n + z·h', loses while z is neither 0 nor 1.

        Args:
            unit: the sum.
            switch: shuts z, by rows of the opposite sign.
            inherited: the increment's error.
            clean: all else is exact; then n ≥ h' ≥ 0 takes in a z·h' of under half its last digit.
        """
        u, tail = self.unit_roundoff, min(self.tail(switch), 1.0)
        leak = tail * (1 + u) + self.least
        if tail <= u / 2 and self._vanishes(tail, unit):
            return 0.0
        if clean and unit.start >= 0 and leak * (1 + u) < u / 2:
            return 0.0
        rounded = 4 * u * upward(_largest(unit)) + 3 * self.least * _per(unit)
        return tail * (upward(unit.size) + inherited) + rounded

    def _vanishes(self, tail: float, unit: Unit) -> bool:
        """Whether a gate that is so far from 0 lets nothing of what the unit holds through."""
        let = (tail * (1 + self.unit_roundoff) + self.least) * upward(unit.scale * _largest(unit))
        return tail < self.least or let < self.least

    def _compounded(self, exponent: float) -> float:
        """How much errors grow that are rounded themselves: (1 + x)^T ≤ exp(T x)."""
        return math.exp(exponent) if exponent < MOST_GROWTH else math.inf

    def _sums_exactly(self, unit: Unit) -> bool:
        """Whether a sum's every value is a number of the format."""
        if unit.extent.step is None:
            return False
        quantum = rational_gcd(rational_gcd(unit.extent.step, unit.extent.offset), unit.start)
        return counts(unit.scale * quantum, unit.scale * _largest(unit), self.fmt)

    def _switched(self, number: int, unit: Unit) -> float:
        """With g = sigmoid, g·v; in the GRU (1 − z)·v + z·p' less tanh(z·p'), p' what it holds."""
        assert unit.switch is not None
        carried = (self.inherited(unit.form) + self.step(unit)) * self._beyond()
        inside = upward(_largest(unit))
        through = min(upward(unit.size) + carried, _per(unit))
        pair = self.tanhs == 1
        least = 3 * self.least * _per(unit)
        if not unit.switch.gap:
            switch = unit.switch
            leak = (1 + pair) * SIGMOID_BEND * CAUTION / float(switch.slope)
            crossed = self.rounding(switch.argument, switch.slope, switch.extent)
            rounded = (3 + pair) * self.unit_roundoff * inside + least + self.least * through
            error = carried + crossed + leak + rounded
            return self._held(number, unit, error, leak, through) if pair else error
        tail = self.tail(unit.switch)
        if tail == math.inf:
            return tail
        u = self.unit_roundoff
        opened = 0.0 if tail <= u / 2 else (tail + 3 * u) * inside
        let = 0.0 if tail < self.least else (tail * (1 + u) + self.least) * through + least
        if not pair:
            return carried + max(opened, let)
        # p' is held while the gate is shut; open, p takes in z·p', or rounds it away, and g is z·p'
        leak = 0.0 if tail <= u / 2 else 2 * tail * through
        if not self._vanishes(tail, unit):
            opened += (tail * (1 + u) + self.least) * inside + least
        return self._held(number, unit, carried + max(opened, leak), leak, through)

    def _held(self, number: int, unit: Unit, error: float, leak: float, through: float) -> float:
        """The error of the GRU's pair, whose first cell takes in what leaks, for T tokens."""
        if not leak:
            return error
        drift = min(self.gates.length * leak, through)
        held = min(upward(_largest(unit)) + drift, _per(unit))
        if not error < math.inf:
            return error
        error += self.bend(unit, mpq(held)) + 3 * self.unit_roundoff * held
        self.offs[number] = Off(error, error + drift)
        return error

    def settle(self, number: int) -> None:
        """Give one unit its error."""
        self.offs[number] = EXACT
        error = self.update(number)
        self.offs[number] = Off(error, max(error, self.offs[number].spread))


def _per(unit: Unit) -> float:
    """1/ε."""
    return upward(1 / unit.scale)


def _largest(unit: Unit) -> mpq:
    """The largest |value| that a unit carries, its start included."""
    return max(unit.extent.magnitude or ZERO, abs(unit.start))


def layer_errors(typed: Typed, below: Sequence[Off], gates: NativeGates, *, tanhs: int) -> list[Off]:
    """Per typed unit, a bound of |what it carries − the exact value| over the prompt.

    Args:
        typed: the layer.
        below: the errors of the cells it reads, in units of the value that they carry.
        gates: format and length.
        tanhs: how many tanh a value passes on its way through a cell.
    """
    layer = _Layer(typed, below, gates, tanhs)
    own = Matrix.from_rows(len(typed.units), [unit.form.own for unit in typed.units])
    for members in cycles(own):
        if len(members) == 1 and members[0] not in typed.units[members[0]].form.own:
            layer.settle(members[0])
        else:
            _settle_cycle(layer, members, own)
    return layer.offs


def _settle_cycle(layer: _Layer, members: Sequence[int], own: Matrix) -> None:
    """Units that feed each other: a fixpoint, what the flags are off by and what the others are."""
    flags = [unit for unit in members if layer.typed.units[unit].role == "flag"]
    values = [unit for unit in members if layer.typed.units[unit].role != "flag"]
    for unit in members:
        layer.offs[unit] = EXACT
    for _ in range(ROUNDS):
        before = [layer.offs[unit].error for unit in members]
        if values:
            _settle_loop(layer, values, local_rows(own, values))
        for unit in flags:
            error = layer.update(unit)
            layer.offs[unit] = Off(error, error)
        if [layer.offs[unit].error for unit in members] == before:
            return
    for unit in members:
        layer.offs[unit] = Off(math.inf, math.inf)


def _settle_loop(layer: _Layer, members: Sequence[int], rows: Sequence[dict[int, mpq]]) -> None:
    """Values fed back through h: each step's error goes on through the powers of the matrix.

    An error e is rounded too: e_t ≤ E + ‖A^k‖·κ·Σ e_s with κ a few roundings, so e ≤ E / (1 − κ·Σ‖A^k‖)
    and e ≤ E·(1 + κ·max‖A^k‖)^T, E what it is without.
    """
    units, inside = [layer.typed.units[unit] for unit in members], set(members)

    def gained() -> float:
        return max(layer.inherited(unit.form, lambda j: j not in inside) + layer.step(unit) for unit in units)

    def give(errors: Sequence[float]) -> None:
        for unit, error in zip(members, errors, strict=True):
            layer.offs[unit] = Off(error, error)

    started = max(layer.started(unit) for unit in units)
    give([started] * len(members))
    step = gained()
    if step:  # off the lattice of exact values, every sum is rounded
        give([max(step, started)] * len(members))
        step = gained()
    bound = powers(rows, layer.gates.length)
    if not step and not started:
        give([0.0] * len(members))
        return
    if bound is None:
        give([math.inf] * len(members))
        return
    forced = upward(bound.total) * step + upward(bound.largest) * started
    norm = upward(max(sum((abs(w) for w in row.values()), ZERO) for row in rows))
    count = max(len(unit.form.reads) + len(unit.form.own) for unit in units) + 4
    kappa = (layer.gamma(count) + 3 * layer.tanhs * layer.unit_roundoff) * (1 + norm)
    grown = forced * layer._compounded(layer.gates.length * kappa * upward(bound.largest))  # noqa: SLF001
    closed = kappa * upward(bound.total)
    if closed < 1:
        grown = min(grown, forced / (1 - closed))
    give([layer.capped(unit, grown) for unit in units])


def output_errors(
    readout: Sequence[Affine],
    known: Sequence[Range],
    below: Below,
    errors: Sequence[Off],
    gates: NativeGates,
) -> list[float]:
    """Per output, the bound of its error."""
    nothing = Typed(units=(), values=(), below=below)
    layer = _Layer(nothing, errors, gates, 0)
    return [
        layer.inherited(form) + layer.rounding(form, ONE, extent)
        for form, extent in zip(readout, known, strict=True)
    ]


def token_error(extent: Range, fmt: Format) -> Off:
    """What rounding a token's entry to the format costs; inf where it overflows."""
    size = extent.magnitude or ZERO
    quantum = rational_gcd(extent.step, extent.offset) if extent.step is not None else None
    if counts(quantum, size, fmt):
        return EXACT
    error = upward(fmt.roundoff * size) + upward(fmt.smallest_subnormal) / 2
    return Off(error, error) if size <= fmt.largest else Off(math.inf, math.inf)
