"""The GRU of PyTorch and ONNX (linear before reset), with sigmoid and tanh, from typed units.

n = tanh(W x + b + S(r) ⊙ (U h' + b_hn)), h = (1 − S(z)) ⊙ n + S(z) ⊙ h', S the sigmoid,
L a saturating constant; z = −L, r = L unless said:

* flag: r = K(p − θ), n = tanh(S(r)·b_hn) with b_hn = 32 or more: h ∈ {0, 1};
* linear: n = tanh(ε·p), where p reads h' through U;
* sum: n = tanh(ε·u + h'); where u are steps ≥ 0 of a lattice, z = K(θ − u) holds the sum
  exactly while u = 0;
* switched, two units: p with z = K(θ − a), n = tanh(ε·v), so p = v where a is open and holds
  else; g with r = the same, n = tanh(S(r)·p'), so g = 0 where a is open and p' else.
  The next layer reads p − g.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from gmpy2 import mpq

from compiler.exact import ONE, ZERO
from compiler.model import Label, Layer
from compiler.real_gates.forms import Typed, Unit
from compiler.real_gates.settings import NativeGates
from compiler.real_gates.writing import Laid, Row, constant, laid, matrices, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One unit of the GRU: its rows r, z, n, and what else it starts with."""

    reset: Row
    update: Row
    new: Row
    start: mpq
    label: Label
    pushed: mpq = ZERO


def _closing(row: Row) -> Row:
    """The gate that is open where ``row``'s is closed."""
    return Row(
        reads={j: -w for j, w in row.reads.items()}, own={j: -w for j, w in row.own.items()}, bias=-row.bias
    )


def _cells(typed: Typed, unit: Unit, gates: NativeGates, place: list[int], here: int) -> list[_Cell]:
    """The cells of one typed unit, the first of them cell ``here``."""
    opened, closed = constant(gates.saturation), constant(-gates.saturation)
    through = row_of(typed, unit.form, unit.scale, place)
    switch = row_of(typed, unit.switch.argument, unit.switch.slope, place) if unit.switch else closed
    plain = _Cell(reset=opened, update=closed, new=through, start=unit.scale * unit.start, label=unit.label)
    match unit.role:
        case "flag":
            return [replace(plain, reset=switch, new=constant(ZERO), pushed=gates.push)]
        case "linear":
            return [plain]
        case "sum":
            fed = replace(plain, new=replace(through, own={here: ONE}))
            return [replace(fed, update=_closing(switch)) if unit.switch else fed]
        case "switched":
            holds = _closing(switch)
            label = replace(unit.label, sign=-1)
            back = replace(constant(ZERO), own={here: ONE})
            return [
                replace(plain, update=holds),
                replace(plain, reset=holds, new=back, label=label),
            ]
        case _:
            assert_never(unit.role)


def lay_out(typed: Typed, gates: NativeGates, width: int) -> Laid:
    """The GRU layer that holds the typed units, which read ``width`` units below."""
    place, count = [], 0
    for unit in typed.units:
        place.append(count)
        count += 2 if unit.role == "switched" else 1
    cells = [_cells(typed, unit, gates, place, place[k]) for k, unit in enumerate(typed.units)]
    flat = [cell for each in cells for cell in each]
    rows = [cell.reset for cell in flat] + [cell.update for cell in flat] + [cell.new for cell in flat]
    weight_ih, weight_hh, bias = matrices(rows, width, count)
    layer = Layer(
        kind="gru", activation="native", inputs=(), size=count, weight_ih=weight_ih, weight_hh=weight_hh,
        bias=bias, initial=tuple(cell.start for cell in flat), bias_hn=tuple(cell.pushed for cell in flat),
        labels=tuple(cell.label for cell in flat),
    )  # fmt: skip
    signs = (ONE, -ONE)
    units = [
        tuple((start + k, signs[k] / unit.scale) for k in range(len(each)))
        for start, unit, each in zip(place, typed.units, cells, strict=True)
    ]
    return laid(typed, layer, units)
