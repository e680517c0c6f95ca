"""The LSTM of PyTorch and ONNX, with sigmoid and tanh, from typed units.

c = S(f) ⊙ c' + S(i) ⊙ tanh(g), h = S(o) ⊙ tanh(c), S the sigmoid, L a saturating constant:

* flag: i = −L, f = L, c0 = 100, so that tanh(c) = 1 for ever, and o = K(p − θ): h ∈ {0, 1};
* linear: i = o = L, f = −L, g = ε·p: h = tanh(tanh(ε·p)), where p may read h';
* sum: i = f = o = L, g = ε·u, c0 = ε·s0: the cell adds up;
* switched: f = −L, o = L, i = K(a − θ), g = ε·v.
"""

from __future__ import annotations

from typing import assert_never

from gmpy2 import mpq

from compiler.exact import ZERO
from compiler.model import Layer
from compiler.real_gates.forms import Typed, Unit
from compiler.real_gates.settings import NativeGates
from compiler.real_gates.writing import Laid, Row, constant, laid, matrices, row_of


def _gates(typed: Typed, unit: Unit, opened: Row, closed: Row, place: range) -> tuple[Row, Row, Row, Row]:
    """The rows i, f, g, o of one unit."""
    through = row_of(typed, unit.form, unit.scale, place)
    match unit.role:
        case "flag":
            assert unit.switch is not None
            switch = row_of(typed, unit.switch.argument, unit.switch.slope, place)
            return closed, opened, constant(ZERO), switch
        case "linear":
            return opened, closed, through, opened
        case "sum":
            return opened, opened, through, opened
        case "switched":
            assert unit.switch is not None
            return row_of(typed, unit.switch.argument, unit.switch.slope, place), closed, through, opened
        case _:
            assert_never(unit.role)


def _cell(unit: Unit, gates: NativeGates) -> mpq:
    """The cell before the first token."""
    if unit.role == "flag":
        return gates.loaded
    return unit.scale * unit.start if unit.role == "sum" else ZERO


def lay_out(typed: Typed, gates: NativeGates, width: int) -> Laid:
    """The LSTM layer that holds the typed units, which read ``width`` units below."""
    size = len(typed.units)
    opened, closed = constant(gates.saturation), constant(-gates.saturation)
    by_unit = [_gates(typed, unit, opened, closed, range(size)) for unit in typed.units]
    stacked = [row for gate in zip(*by_unit, strict=True) for row in gate]
    weight_ih, weight_hh, bias = matrices(stacked, width, size)
    layer = Layer(
        kind="lstm", activation="native", inputs=(), size=size, weight_ih=weight_ih, weight_hh=weight_hh,
        bias=bias, initial=tuple(unit.scale * unit.start for unit in typed.units),
        initial_cell=tuple(_cell(unit, gates) for unit in typed.units),
        labels=tuple(unit.label for unit in typed.units),
    )  # fmt: skip
    return laid(typed, layer, [((k, 1 / unit.scale),) for k, unit in enumerate(typed.units)])
