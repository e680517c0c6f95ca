"""GRU with σ = ReLU in gates and activations (arXiv 2406.01424, appendix C.3, corrected).

z = σ(W_z x + U_z h' + b_z), r = σ(W_r x + U_r h' + b_r), n = σ(W_n x + b_n + r ⊙ (U_n h')),
h = (1 − z) ⊙ n + z ⊙ h', rows stacked in PyTorch's gate order: r, z, n.

* ReLU and state layers: z = 0, r = 1, so h = n.
* Gate layers: with 1 − z = a the cell gives a·v + (1 − a)·h'.  The paper drops the second
  term, which is right at the first token only.  Here two units carry each product of
  a ∈ [0, 1] with one sign of v:  p has z = σ(1 − a), n = σ(v), so p = a·v + (1 − a)·p';
  g has z = 0, n = r·p' through U, so g = (1 − a)·p'.  The next matrix reads p − g = a·v.
  r = σ(1 − a) on BOTH units, which makes it right wherever the reset gate stands
  (r ⊙ (U h') as above, or U (r ⊙ h')).  At a ∈ {0, 1} it is exact in every format.

The gate must lie in [0, 1]: the operand whose range says so is taken; else one bounded by
M, a power of two, scaled by 1/M and its partner by M; a signed one first goes through a
ReLU layer that splits it.  With neither operand bounded the program is refused.

Simplifications of the paper kept: ReLU for sigmoid and tanh, no normalisation, no
residual connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gmpy2 import mpq

from compiler.errors import CompileRefusal
from compiler.exact import ONE, ZERO, Matrix, Vector, next_power_of_two, vstack, zeros
from compiler.model import Label, Layer
from compiler.path import Path, PathLayer
from compiler.ranges import Range
from compiler.targets.base import (
    Parts,
    Stack,
    Target,
    decoded,
    encode,
    range_signs,
    signed_labels,
    signed_rows,
    signed_start,
    signed_vector,
    stacked,
)

Row = dict[int, mpq]


@dataclass(frozen=True, slots=True)
class _Affine:
    """An affine form over the units of the layer below: row · units + bias."""

    row: Row
    bias: mpq

    def scaled(self, factor: mpq) -> _Affine:
        return _Affine({j: factor * w for j, w in self.row.items()}, factor * self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """One value of a gate layer as gate · partner, gate ∈ [−M, M].

    Attributes:
        gate: form and range of the operand that becomes 1 − z.
        partner: form and range of the other one.
        bound: M, a power of two; 0 where the gate is the constant 1.
        split: the operands are already sums of ±units that are ≥ 0, one per sign.
    """

    gate: tuple[_Affine, Range]
    partner: tuple[_Affine, Range]
    bound: mpq
    label: Label
    split: bool = False

    @property
    def splits(self) -> bool:
        """Whether the gate can have either sign."""
        return len(range_signs(self.gate[1])) == 2


def _layer(
    number_of: int,
    inputs: tuple[int, ...],
    width: int,
    rows: list[dict[str, _Affine]],
    own: Matrix,
    start: Vector,
    labels: Sequence[Label],
) -> Layer:
    """Assemble r, z, n; what is left out is r = 1, z = 0."""
    defaults = {"r": _Affine({}, ONE), "z": _Affine({}, ZERO), "n": _Affine({}, ZERO)}
    forms = [unit.get(gate, defaults[gate]) for gate in ("r", "z", "n") for unit in rows]
    return Layer(
        kind="gru", inputs=inputs, size=number_of, weight_ih=Matrix.from_rows(width, [f.row for f in forms]),
        weight_hh=vstack([zeros(2 * number_of, number_of), own]), bias=tuple(f.bias for f in forms),
        initial=start, labels=tuple(labels),
    )  # fmt: skip


def _forms(matrix: Matrix, bias: Vector) -> list[_Affine]:
    return [_Affine(dict(row), b) for row, b in zip(matrix.rows, bias, strict=True)]


def _plain(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[Layer, list[Parts]]:
    """A ReLU or state layer: h = n."""
    source, encoding = each.layer, encode(each)
    size = len(encoding.units)
    entry = _forms(
        decoded(signed_rows(source.weight_ih, encoding), below, width), signed_vector(source.bias, encoding)
    )
    own = zeros(size, size)
    if source.kind == "state":
        own = decoded(signed_rows(source.weight_hh, encoding), encoding.parts, size)
    layer = _layer(
        size,
        source.inputs,
        width,
        [{"n": form} for form in entry],
        own,
        signed_start(source, encoding),
        signed_labels(source.labels, encoding),
    )
    return layer, list(encoding.parts)


def _choose(each: PathLayer, value: int, forms: Sequence[_Affine]) -> _Product:
    """Which operand becomes the gate.

    Raises:
        CompileRefusal: neither operand has a bound.
    """
    ranges, label = each.operands[value], each.layer.labels[value]
    options = []
    for gate, partner in ((0, 1), (1, 0)):
        size = ranges[gate].magnitude
        if size is None:
            continue
        constant = ranges[gate].lo == ranges[gate].hi == 1
        unit = size <= 1
        rank = (
            not constant,
            not (unit and ranges[gate].nonnegative),
            len(range_signs(ranges[gate])),
            not unit,
            size,
        )
        options.append((rank, gate, partner, ZERO if constant else next_power_of_two(max(size, ONE))))
    if not options:
        raise CompileRefusal.single(
            f"gru needs a bounded factor, but neither factor of {label.variable} has a known bound",
            span=label.span,
            hint="bound one of them with assume(x, lo=…, hi=…)",
        )
    _, gate, partner, bound = min(options)
    return _Product(
        gate=(forms[gate], ranges[gate]), partner=(forms[partner], ranges[partner]), bound=bound, label=label
    )


def _split(products: list[_Product], inputs: tuple[int, ...], width: int) -> tuple[Layer, list[_Product]]:
    """A ReLU layer that separates the signs of every operand, and the products over it."""
    rows: list[dict[str, _Affine]] = []
    labels: list[Label] = []

    def through(form: _Affine, extent: Range, label: Label) -> _Affine:
        read: Row = {}
        for sign in range_signs(extent):
            read[len(rows)] = mpq(sign)
            rows.append({"n": form.scaled(mpq(sign))})
            labels.append(replace(label, sign=sign, fresh=False))
        return _Affine(read, ZERO)

    moved = []
    for each in products:
        gate = (through(each.gate[0], each.gate[1], each.label), each.gate[1]) if each.bound else each.gate
        partner = (through(*each.partner, each.label), each.partner[1])
        moved.append(replace(each, gate=gate, partner=partner, split=True))
    layer = _layer(len(rows), inputs, width, rows, zeros(len(rows), len(rows)), (ZERO,) * len(rows), labels)
    return layer, moved


def _halves(operand: tuple[_Affine, Range], *, split: bool) -> list[tuple[int, _Affine]]:
    """An operand's signed parts as (sign, form whose ReLU it is).  After a split each unit is one part."""
    form, extent = operand
    if split:
        return [(int(factor), _Affine({unit: ONE}, ZERO)) for unit, factor in sorted(form.row.items())]
    return [(sign, form.scaled(mpq(sign))) for sign in range_signs(extent)]


def _product_units(
    products: Sequence[_Product], inputs: tuple[int, ...], width: int
) -> tuple[Layer, list[Parts]]:
    rows: list[dict[str, _Affine]] = []
    own: list[Row] = []
    labels: list[Label] = []
    parts: list[Parts] = []

    def unit(gates: dict[str, _Affine], back: Row, label: Label, sign: int) -> int:
        rows.append(gates)
        own.append(back)
        labels.append(replace(label, sign=sign))
        return len(rows) - 1

    for each in products:
        read: list[tuple[int, mpq]] = []
        for side, value in _halves(each.partner, split=each.split):
            if not each.bound:
                read.append((unit({"n": value}, {}, each.label, side), mpq(side)))
                continue
            for sign, gate in _halves(each.gate, split=each.split):
                opposite = gate.scaled(-1 / each.bound)
                keep = _Affine(opposite.row, opposite.bias + 1)  # σ(1 − a)
                p = unit({"r": keep, "z": keep, "n": value.scaled(each.bound)}, {}, each.label, sign * side)
                g = unit({"r": keep}, {p: ONE}, each.label, -sign * side)
                read += [(p, mpq(sign * side)), (g, mpq(-sign * side))]
        parts.append(tuple(read))
    size = len(rows)
    return _layer(size, inputs, width, rows, Matrix.from_rows(size, own), (ZERO,) * size, labels), parts


def _products(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[list[Layer], list[Parts]]:
    source = each.layer
    forms = _forms(decoded(source.weight_ih, below, width), source.bias)
    chosen = [
        _choose(each, value, (forms[value], forms[source.size + value])) for value in range(source.size)
    ]
    if not any(product.bound and product.splits for product in chosen):
        layer, parts = _product_units(chosen, source.inputs, width)
        return [layer], parts
    first, moved = _split(chosen, source.inputs, width)
    layer, parts = _product_units(moved, source.inputs, first.size)
    return [first, layer], parts


def _lower(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[list[Layer], list[Parts]]:
    if each.layer.kind == "gate":
        return _products(each, below, width)
    layer, parts = _plain(each, below, width)
    return [layer], parts


def _build(path: Path) -> Stack:
    return stacked(path, _lower)


GRU = Target(name="gru", gated=True, build=_build, summary="GRU cells with ReLU gates and activations")
