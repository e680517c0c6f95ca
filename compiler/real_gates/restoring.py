"""Outputs read from Booleans alone, which no error below half a step reaches.

An output on the lattice lo, lo + s, …, hi is lo + s·Σ_k [y > lo + (k − ½)s], k from 1 to
(hi − lo)/s.  Each term is a flag of one more layer, saturated at 0 or 1.  So what is a
little off, because an engine's tanh(x) is not x for small x or because weights are noisy,
comes out exact as long as y is less than s/2 off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpq

from compiler import ranges
from compiler.exact import ONE, ZERO, Matrix, Vector
from compiler.model import Label
from compiler.ranges import Range
from compiler.real_gates.forms import Affine, Below, Switch, Typed, Unit
from compiler.real_gates.settings import NativeGates

LEAST_GAIN = 64
"""K of a flag: sigmoid(−32) = 1.3e-14."""
HALF = mpq(1, 2)
BOOLEAN = Range(ZERO, ONE, ONE, ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """One more layer.

    Attributes:
        typed: its flags.
        readout: the outputs over them.
        readout_bias: what the outputs are where all flags are 0.
    """

    typed: Typed
    readout: Matrix
    readout_bias: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ladder:
    """The values an output can have: ``first``, then so many ``count`` steps of ``step``."""

    first: mpq
    step: mpq
    count: int


def restored(
    forms: Sequence[Affine], outputs: Sequence[Range], below: Below, gates: NativeGates
) -> Restored | None:
    """A layer of flags for the outputs, and the readout over it.

    Args:
        forms: the outputs over the units of the last layer.
        outputs: their ranges.
        below: the last layer.
        gates: the format, and how many steps the outputs may have together (``restore``).

    Returns:
        None where the outputs have no bounded lattice, or more steps, or no steps; where they
        read nothing but Booleans; and where the format has no gain that saturates.
    """
    ladders = [_ladder(extent) for extent in outputs]
    known = [ladder for ladder in ladders if ladder is not None]
    if len(known) < len(ladders) or not 0 < sum(ladder.count for ladder in known) <= gates.restore:
        return None
    if all(below.held[unit].extent.boolean for form in forms for unit in form.reads):
        return None
    units: list[Unit] = []
    rows: list[dict[int, mpq]] = []
    for number, (form, extent, ladder) in enumerate(zip(forms, outputs, known, strict=True)):
        slope = _slope(form, ladder, below, gates)
        if slope is None:
            return None
        rows.append({len(units) + k: ladder.step for k in range(ladder.count)})
        units += [_flag(form, extent, ladder, k, number, slope) for k in range(ladder.count)]
    return Restored(
        typed=Typed(units=tuple(units), values=tuple(((k, ONE),) for k in range(len(units))), below=below),
        readout=Matrix.from_rows(len(units), rows),
        readout_bias=tuple(ladder.first for ladder in known),
    )


def _ladder(extent: Range) -> _Ladder | None:
    if extent.lo is None or extent.hi is None or extent.step is None:
        return None
    if not extent.step:
        return _Ladder(first=extent.offset, step=ZERO, count=0)
    first = extent.offset + extent.step * -((extent.offset - extent.lo) // extent.step)
    return _Ladder(first=first, step=extent.step, count=int((extent.hi - first) // extent.step))


def _slope(form: Affine, ladder: _Ladder, below: Below, gates: NativeGates) -> mpq | None:
    """K over the step; less where weights would overflow the format, None where too little is left."""
    held = [(abs(w), below.held[unit]) for unit, w in form.reads.items()]
    span = sum((w * each.scale * (each.extent.magnitude or ZERO) for w, each in held), ZERO)
    top = abs(ladder.first) + ladder.step * ladder.count
    largest = max([w for w, _ in held] + [span + abs(form.bias) + top, ONE])
    gain = min(gates.ordinary_gain, gates.format.largest / largest * ladder.step)
    if ladder.count and gain < LEAST_GAIN:
        return None
    return mpq(int(gain)) / ladder.step if ladder.count else ZERO


def _flag(form: Affine, extent: Range, ladder: _Ladder, rung: int, number: int, slope: mpq) -> Unit:
    """1 where the output is above the middle between two of its values."""
    threshold = ladder.first + (rung + HALF) * ladder.step
    value = form.scaled(ONE, -threshold)
    switch = Switch(
        argument=value, slope=slope, gap=ladder.step, extent=ranges.affine(-threshold, [(ONE, extent)])
    )
    label = Label(variable=f"output ≥ {threshold + HALF * ladder.step}", component=number)
    return Unit(role="flag", label=label, extent=BOOLEAN, start=ZERO, form=value, size=ONE, switch=switch)
