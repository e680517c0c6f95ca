"""What a compilation to real gates chose and proved, in a few lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gmpy2 import mpq

from compiler.exact import ZERO, Matrix
from compiler.real_gates.build import RealGates, TypedUnit, decay
from compiler.real_gates.reach import cycles

ROLE_NAMES = {
    "flag": "Boolean (saturated)",
    "linear": "passed on or fed back through h",
    "sum": "accumulator",
    "switched": "gated",
}


def describe(built: RealGates) -> list[str]:
    """Encodings, ε and K, leaks, decay and the error bound, a line each."""
    gates = built.gates
    return [
        f"real gates for {gates.format.name}, prompts of up to {gates.length:,} tokens",
        _encodings(built),
        _epsilon(built),
        _gain(built),
        _decay(built),
        _bound(built),
    ]


def _encodings(built: RealGates) -> str:
    counts = {role: len(built.of_role(role)) for role in ("flag", "linear", "sum", "switched")}
    said = ", ".join(f"{count} {ROLE_NAMES[role]}" for role, count in counts.items() if count)
    return f"values: {said}"


def _epsilon(built: RealGates) -> str:
    scales = [each.unit.scale for each in built.of_role("linear", "sum", "switched")]
    if not scales:
        return "ε: none needed, every value is Boolean"
    return f"ε: {_between(scales)}; tanh is the identity after rounding up to |x| = {_identity(built):.3g}"


def _identity(built: RealGates) -> float:
    return math.sqrt(2.0 ** -(built.gates.format.precision + 1))


def _gain(built: RealGates) -> str:
    switches = [each.unit.switch for each in built.of_role("flag", "switched") if each.unit.switch]
    gains = [switch.slope * switch.gap for switch in switches if switch.gap]
    real = [switch.slope for switch in switches if not switch.gap]
    parts = []
    if gains:
        leak = math.exp(-float(min(gains)) / 2)
        parts.append(f"K: {_between(gains)}; sigmoid of a shut gate is at most {leak:.3g} before rounding")
    if real:
        parts.append(
            f"ReLUs of reals: slope {_between(real)}, off by at most {0.2785 / float(min(real)):.3g}"
        )
    return "; ".join(parts) or "K: no gates"


def _decay(built: RealGates) -> str:
    """The decay law of what is fed back through h: in the GRU accumulators as well."""
    looped = [each for layer in built.layers for each in _looped(layer)]
    if built.tanhs == 1:
        looped += built.of_role("sum")
    above = [each for each in looped if not _within(built, each)]
    if not looped:
        return "decay: nothing is fed back through tanh"
    if not above:
        return "decay: none, all that is fed back stays where tanh is the identity after rounding"
    worst = max(above, key=lambda each: each.unit.scale * _largest(each))
    left = decay(_largest(worst), worst.unit.scale, built.gates.length, built.tanhs)
    return (
        f"decay: v0/√(1 + {2 * built.tanhs}/3·ε²·v0²·t); {worst.unit.label.variable} falls from "
        f"{float(_largest(worst)):g} to {left:.6g} in {built.gates.length:,} tokens"
        + (" that change it" if worst.unit.switch else "")
    )


def _within(built: RealGates, each: TypedUnit) -> bool:
    return built.gates.within_identity(each.unit.scale * _largest(each))


def _largest(each: TypedUnit) -> mpq:
    return max(each.unit.extent.magnitude or ZERO, abs(each.unit.start))


def _looped(layer: Sequence[TypedUnit]) -> list[TypedUnit]:
    """The values that come back to themselves; those of a shift register leave it."""
    own = Matrix.from_rows(len(layer), [each.unit.form.own for each in layer])
    return [
        layer[unit]
        for members in cycles(own)
        for unit in members
        if layer[unit].unit.role == "linear" and (len(members) > 1 or unit in layer[unit].unit.form.own)
    ]


def _bound(built: RealGates) -> str:
    worst = max(built.outputs, default=0.0)
    if worst == 0:
        return "error bound: 0, every output is exact"
    if worst < math.inf:
        return f"error bound: {worst:.3g} on every output"
    first = next((each for layer in built.layers for each in layer if each.error == math.inf), None)
    if first is None:
        return f"error bound: none proved; tokens or outputs may overflow {built.gates.format.name}"
    label = first.unit.label
    place = f" ({label.span.file}:{label.span.line})" if label.span else ""
    if first.unit.switch is None:
        return f"error bound: none proved; {label.variable}{place} may overflow, or its errors grow too fast"
    return (
        f"error bound: none proved; what {label.variable}{place} reads may be off by enough to cross its "
        "threshold within this length"
    )


def _between(values: Iterable[mpq]) -> str:
    ordered = sorted(set(values))
    low, high = _short(ordered[0]), _short(ordered[-1])
    return low if low == high else f"{low} to {high}"


def _short(value: mpq) -> str:
    if value.denominator & (value.denominator - 1) == 0 and value.numerator == 1 and value.denominator > 1:
        return f"2^-{value.denominator.bit_length() - 1}"
    return f"{float(value):g}"
