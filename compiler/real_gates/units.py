"""Which kind of unit carries which value: encodings by type.

* ``flag``: a Boolean p as h = sigmoid(K(p − θ)) ∈ {0, 1}: saturation corrects errors for ever.
* ``linear``: h = ε·p = tanh(ε·p): a bounded value, passed on or fed back through h.
* ``sum``: s = s' + u, the accumulator of a cell that remembers; h = ε·s.
* ``switched``: h = ε·v where a gate is open, else 0: a product with a Boolean, or a ReLU,
  whose gate opens midway between the largest value ≤ 0 and the smallest above.

ε is a power of two so small that tanh is the identity after rounding; K as large as the
format lets K·w/ε be, at most what saturates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gmpy2 import mpfr, mpq

from compiler import ranges
from compiler.errors import CompileRefusal, LsrlError
from compiler.exact import ONE, ZERO
from compiler.path import PathLayer
from compiler.ranges import Range
from compiler.real_gates.forms import Affine, Below, Held, Switch, Typed, Unit
from compiler.real_gates.reach import accumulates, drive_ranges, operand_ranges
from compiler.real_gates.settings import NativeGates, power_of_two_below

LEAST_GAIN = 4
HALF = mpq(1, 2)
BOOLEAN = Range(ZERO, ONE, ONE, ZERO)


class _Builder:
    """The units of one layer under construction."""

    def __init__(self, each: PathLayer, below: Below, reach: Sequence[Range], gates: NativeGates) -> None:
        self.each, self.below, self.reach, self.gates = each, below, reach, gates
        self.operands = operand_ranges(each, below.ranges) if each.layer.kind != "state" else []
        self.drive = drive_ranges(each, below.ranges) if each.layer.kind == "state" else []
        self.read_back = {j for _, j, _ in each.layer.weight_hh.entries()}
        self.units: list[Unit] = []

    def affine(self, row: int) -> Affine:
        """A row of the path layer over the units below."""
        layer = self.each.layer
        reads: dict[int, mpq] = {}
        for column, value in layer.weight_ih.rows[row]:
            for unit, factor in self.below.parts[column]:
                reads[unit] = reads.get(unit, ZERO) + value * factor
        own = dict(layer.weight_hh.rows[row]) if layer.kind == "state" else {}
        return Affine(reads={j: w for j, w in reads.items() if w}, own=own, bias=layer.bias[row])

    def refuse(self, unit: int, what: str, hint: str) -> LsrlError:
        label = self.each.layer.labels[unit]
        return CompileRefusal.single(
            f"real gates cannot carry {label.variable}: {what}", span=label.span, hint=hint
        )

    def magnitude(self, unit: int, extent: Range, *also: mpq) -> mpq:
        """The largest |value|.

        Raises:
            CompileRefusal: it has no bound.
        """
        size = extent.magnitude
        if size is None:
            raise self.refuse(
                unit,
                f"it has no bound within {self.gates.length} tokens ({extent})",
                "declare one with Input(lo=…, hi=…) or assume(x, lo=…, hi=…)",
            )
        return max(size, *(abs(value) for value in also), ZERO)

    def epsilon(self, unit: int, extent: Range, size: mpq) -> mpq:
        """ε of a value, if the format has a window for it.

        Raises:
            CompileRefusal: its steps would be lost, or ε is below the format's range.
        """
        fmt, chosen = self.gates.format, self.gates.epsilon_of(size)
        hint = "a format with more digits, smaller declared values, or a shorter --gate-length"
        if extent.step is not None and extent.step >= 1:
            if size > extent.step * 2**fmt.precision:
                raise self.refuse(
                    unit, f"{fmt.name} does not tell its values apart up to {_short(size)}", hint
                )
            if chosen * extent.step < fmt.smallest_subnormal:
                raise self.refuse(unit, f"its steps times ε = {_short(chosen)} vanish in {fmt.name}", hint)
        elif chosen < fmt.smallest_normal:
            raise self.refuse(
                unit, f"{fmt.name} has no ε between its smallest number and the identity of tanh", hint
            )
        if chosen * size > HALF:
            raise self.refuse(
                unit,
                f"ε = {_short(chosen)} brings its values up to {_short(size)} to where tanh bends",
                "a smaller epsilon",
            )
        return chosen

    def span(self, argument: Affine) -> mpq:
        """Σ |terms|: no partial sum is larger."""
        held = sum((abs(w) * h.scale * _size(h.extent) for w, h in self._read(argument)), ZERO)
        own = sum((abs(w) * self.own_size(j) for j, w in argument.own.items()), ZERO)
        return held + own + abs(argument.bias)

    def _read(self, argument: Affine) -> list[tuple[mpq, Held]]:
        return [(w, self.below.held[j]) for j, w in argument.reads.items()]

    def own_size(self, unit: int) -> mpq:
        """The largest |value| that a state has, its start included."""
        return max(_size(self.reach[unit]), abs(self.each.layer.initial[unit]))

    def switch(self, unit: int, value: Affine, extent: Range, threshold: mpq, gap: mpq) -> Switch:
        """A saturating gate that is open where ``value`` is above ``threshold``.

        Args:
            unit: for whom.
            value: what is compared.
            extent: where it lies.
            threshold: midway between its values on either side.
            gap: how far these stand apart; 0 where the value is any real.

        Raises:
            CompileRefusal: the format leaves no gain that saturates.
        """
        fmt, argument = self.gates.format, value.scaled(ONE, -threshold)
        room = self.room(argument)
        if gap:
            slope = self.gates.ordinary_gain / gap
        else:
            slope = power_of_two_below(room / 4)
            slope = min(slope, mpq(2) ** (fmt.precision + 6))
        if slope > room:
            if self.gates.gain != "auto" and gap:
                raise self.refuse(
                    unit, f"K = {self.gates.gain} overflows {fmt.name}", "a smaller gate gain, or auto"
                )
            slope = _few_bits(room)
        if (gap and slope * gap < LEAST_GAIN) or (slope < 1 and not gap):
            raise self.refuse(
                unit,
                f"{fmt.name} has no window: weights K·w/ε overflow it at a gain K that saturates",
                "a format with a wider range, or smaller declared values",
            )
        known = ranges.affine(-threshold, [(ONE, extent)])
        return Switch(argument=argument, slope=slope, gap=gap, extent=known)

    def room(self, argument: Affine) -> mpq:
        """The largest slope at which the weights and sums of a gate stay within the format."""
        scales = [abs(w) for w in argument.reads.values()]
        scales += [abs(w) / self.own_scale(j) for j, w in argument.own.items()]
        largest = max([*scales, self.span(argument)])
        return self.gates.format.largest / largest if largest else self.gates.format.largest

    def own_scale(self, unit: int) -> mpq:
        """ε of a value of this layer, before its unit is made."""
        if self._is_flag(unit):
            return ONE
        return self.epsilon(unit, self.reach[unit], self.own_size(unit))

    def _is_flag(self, unit: int) -> bool:
        start = self.each.layer.initial[unit] if self.each.layer.kind == "state" else ZERO
        return self.reach[unit].boolean and start in {0, 1}

    def add(self, unit: Unit) -> tuple[tuple[int, mpq], ...]:
        self.units.append(unit)
        return ((len(self.units) - 1, ONE),)

    def flag(self, unit: int, switch: Switch) -> Unit:
        """A Boolean: 1 where ``switch`` is open."""
        layer = self.each.layer
        return Unit(
            role="flag", label=layer.labels[unit], extent=ranges.intersect(self.reach[unit], BOOLEAN),
            start=layer.initial[unit] if layer.kind == "state" else ZERO,
            form=switch.argument, size=ONE, switch=switch,
        )  # fmt: skip

    def boolean(self, unit: int, form: Affine) -> Unit:
        """A Boolean that ``form`` already is."""
        return self.flag(unit, self.switch(unit, form, BOOLEAN, HALF, ONE))

    def carried(self, unit: int, form: Affine, extent: Range, *, start: mpq = ZERO) -> Unit:
        """A value passed on, or fed back through h."""
        size = self.magnitude(unit, extent, start)
        scale = self.epsilon(unit, extent, size)
        label = replace(self.each.layer.labels[unit], scale=scale)
        return Unit(role="linear", label=label, extent=extent, start=start, form=form, size=size)

    def passed(self, unit: int, form: Affine, extent: Range) -> Unit:
        """A value passed on, as a flag if it is one."""
        if extent.boolean:
            return self.boolean(unit, form)
        return self.carried(unit, form, extent)

    def switched(self, unit: int, form: Affine, switch: Switch, inside: Range, outside: Range) -> Unit:
        """``form`` where ``switch`` is open, else 0; it lies ``inside`` then, and ``outside`` at any time."""
        size = self.magnitude(unit, inside)
        scale = self.epsilon(unit, inside, size)
        label = replace(self.each.layer.labels[unit], scale=scale)
        return Unit(
            role="switched", label=label, extent=ranges.hull(inside, ranges.constant(ZERO)), start=ZERO,
            form=form, size=self.magnitude(unit, outside), switch=switch,
        )  # fmt: skip

    def relu(self, unit: int) -> Unit:
        """ReLU(p)."""
        form, (argument,), extent = self.affine(unit), self.operands[unit], self.reach[unit]
        if argument.nonnegative:
            return self.passed(unit, form, ranges.intersect(extent, argument))
        if argument.nonpositive:
            return self.carried(unit, Affine(), ranges.constant(ZERO))
        below, above = _around_zero(argument, extent)
        if above is None or above == below:
            switch = self.switch(unit, form, argument, ZERO, ZERO)
            return self.switched(unit, form, switch, extent, argument)
        threshold, gap = (below + above) / 2, above - below
        if not extent.boolean and gap < 1 and gap * self.room(form) < LEAST_GAIN:
            threshold, gap = ZERO, ZERO  # too fine a lattice to switch between its values
        switch = self.switch(unit, form, argument, threshold, gap)
        if extent.boolean:
            return self.flag(unit, switch)
        return self.switched(unit, form, switch, extent, argument)

    def product(self, unit: int) -> tuple[tuple[int, mpq], ...]:
        """A product; one factor is constant or takes two values.

        Raises:
            CompileRefusal: both take more than two values.
        """
        forms = [self.affine(unit), self.affine(unit + self.each.layer.size)]
        extents = list(self.operands[unit])
        for gate, other in ((0, 1), (1, 0)):
            if extents[gate].step == 0 and extents[gate].lo is not None:
                constant = extents[gate].lo or ZERO
                return self.add(self.passed(unit, forms[other].scaled(constant), self.reach[unit]))
        if extents[0].boolean and extents[1].boolean:
            both, reach = forms[0].plus(forms[1]), ranges.affine(ZERO, [(ONE, extents[0]), (ONE, extents[1])])
            return self.add(self.flag(unit, self.switch(unit, both, reach, 3 * HALF, ONE)))
        for gate, other in ((0, 1), (1, 0)):
            if _two_valued(extents[gate]):
                return self._two_sided(unit, forms[gate], extents[gate], forms[other], extents[other])
        raise self.refuse(
            unit,
            f"a sigmoid is a gate of 0 or 1, but the factors are in {extents[0]} and {extents[1]}",
            "say that a condition is Boolean with assume(c, lo=0, hi=1, integer=true), make it one by a "
            "comparison, or compile with activation relu",
        )

    def _two_sided(
        self, unit: int, gate: Affine, extent: Range, form: Affine, inside: Range
    ) -> tuple[tuple[int, mpq], ...]:
        """gate·form for a gate of two values: one switched unit for each that is not 0."""
        lo, hi = extent.lo, extent.hi
        assert lo is not None
        assert hi is not None
        middle, parts = (lo + hi) / 2, []
        for value, side in ((hi, ONE), (lo, -ONE)):
            if value:
                facing = ranges.affine(ZERO, [(side, extent)])
                switch = self.switch(unit, gate.scaled(side), facing, side * middle, hi - lo)
                parts += [(self.add(self.switched(unit, form, switch, inside, inside))[0][0], value)]
        return tuple(parts)

    def state(self, unit: int) -> Unit:
        """A state's coordinate."""
        layer, form, extent = self.each.layer, self.affine(unit), self.reach[unit]
        if self._is_flag(unit):
            return self.boolean(unit, form)
        start = layer.initial[unit]
        if not accumulates(layer.weight_hh, unit):
            return self.carried(unit, form, extent, start=start if unit in self.read_back else ZERO)
        size = self.magnitude(unit, extent, start)
        scale = self.epsilon(unit, extent, size)
        increment = replace(form, own={})
        drive = self.drive[unit]
        switch = None
        if drive.nonnegative and drive.step:
            least = drive.smallest_positive() or ONE
            switch = self.switch(unit, increment, drive, least / 2, least)
        return Unit(
            role="sum", label=replace(layer.labels[unit], scale=scale), extent=extent, start=start,
            form=increment, size=_size(drive), switch=switch,
        )  # fmt: skip


def _size(extent: Range) -> mpq:
    return extent.magnitude or ZERO


def _short(value: mpq) -> str:
    return str(value) if value.denominator == 1 and value < 10**9 else f"{mpfr(value):.3g}"


def _few_bits(value: mpq) -> mpq:
    """``value`` cut to three significant bits, so that products with small integers stay exact."""
    unit = power_of_two_below(value) / 4
    return (value // unit) * unit


def _two_valued(extent: Range) -> bool:
    lo, hi = extent.lo, extent.hi
    return (
        lo is not None and hi is not None and extent.step is not None and lo < hi and hi - lo == extent.step
    )


def _around_zero(argument: Range, result: Range) -> tuple[mpq, mpq | None]:
    """The largest value ≤ 0 and the smallest above it; None where values come as near as they like."""
    above = ONE if result.boolean else argument.smallest_positive()
    if argument.step:
        below = argument.offset - argument.step if argument.offset else ZERO
        return below, above or None
    return ZERO, above


def type_layer(each: PathLayer, below: Below, reach: Sequence[Range], gates: NativeGates) -> Typed:
    """The typed units of a path layer.

    Args:
        each: the layer.
        below: the layer below, as it was built.
        reach: the ranges of its values within the prompt's length.
        gates: format, length, ε and K.

    Raises:
        CompileRefusal: a value without bound, a gate that is not Boolean, or no window.
    """
    builder = _Builder(each, below, reach, gates)
    values = []
    for unit in range(each.layer.size):
        if each.layer.kind == "state":
            values.append(builder.add(builder.state(unit)))
        elif each.layer.kind == "gate":
            values.append(builder.product(unit))
        elif unit in each.passing:
            values.append(builder.add(builder.passed(unit, builder.affine(unit), reach[unit])))
        else:
            values.append(builder.add(builder.relu(unit)))
    return Typed(units=tuple(builder.units), values=tuple(values), below=below)
