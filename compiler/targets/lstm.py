"""LSTM with σ = ReLU in gates and activations (arXiv 2406.01424, appendix C).

f = σ(W_f x + U_f h' + b_f), i, o and g alike; c = f ⊙ c' + i ⊙ g; h = o ⊙ σ(c).
Rows are stacked in PyTorch's gate order: i, f, g, o.

* ReLU and state layers: f = 0, i = 1, g = 1 by their biases, so c = 1 and o carries
  the layer, signed values as pairs.
* Gate layers: f = 0, o = 1, i = σ(a), g = σ(v): one unit per product of signed
  halves, so one unit where both signs are known, two where one is, else four.

Simplifications of the paper kept: ReLU for sigmoid and tanh, no normalisation, no
residual connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gmpy2 import mpq

from compiler.exact import ONE, ZERO, Matrix, Vector, vstack, zeros
from compiler.model import Label, Layer
from compiler.path import Path, PathLayer
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

Gate = tuple[Matrix, Vector]


def _cell(gates: dict[str, Gate], own: Matrix, initial: Vector, labels: Sequence[Label]) -> Layer:
    """Assemble the rows of i, f, g, o; a gate left out is 0 (f) or 1 (the others)."""
    size, width = own.height, next(iter(gates.values()))[0].width
    rows, bias = [], []
    for name in ("i", "f", "g", "o"):
        default = (zeros(size, width), ((ZERO if name == "f" else ONE),) * size)
        matrix, constant = gates.get(name, default)
        rows.append(matrix)
        bias.append(constant)
    return Layer(
        kind="lstm",
        inputs=(),
        size=size,
        weight_ih=vstack(rows),
        weight_hh=vstack([zeros(3 * size, size), own]),
        bias=tuple(value for part in bias for value in part),
        initial=initial,
        initial_cell=(ZERO,) * size,
        labels=tuple(labels),
    )


def _through_output_gate(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[Layer, list[Parts]]:
    """A ReLU or state layer, carried by o."""
    source, encoding = each.layer, encode(each)
    size = len(encoding.units)
    gate = (
        decoded(signed_rows(source.weight_ih, encoding), below, width),
        signed_vector(source.bias, encoding),
    )
    own = zeros(size, size)
    if source.kind == "state":
        own = decoded(signed_rows(source.weight_hh, encoding), encoding.parts, size)
    labels = signed_labels(source.labels, encoding)
    return _cell({"o": gate}, own, signed_start(source, encoding), labels), list(encoding.parts)


def _products(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[Layer, list[Parts]]:
    """A gate layer: i = σ(±a), g = σ(±v); a stands in row `value`, v in row `half + value`."""
    source, half = each.layer, each.layer.size
    rows: dict[str, list[dict[int, mpq]]] = {"i": [], "g": []}
    bias: dict[str, list[mpq]] = {"i": [], "g": []}
    labels: list[Label] = []
    parts: list[Parts] = []
    for value in range(half):
        own: list[tuple[int, mpq]] = []
        left, right = (range_signs(operand) for operand in each.operands[value])
        for signs in ((one, other) for one in left for other in right):
            own.append((len(labels), mpq(signs[0] * signs[1])))
            labels.append(replace(source.labels[value], sign=signs[0] * signs[1]))
            for gate, row, sign in zip(("i", "g"), (value, half + value), signs, strict=True):
                rows[gate].append({j: sign * w for j, w in source.weight_ih.rows[row]})
                bias[gate].append(sign * source.bias[row])
        parts.append(tuple(own))
    gates = {
        gate: (decoded(Matrix.from_rows(source.weight_ih.width, rows[gate]), below, width), tuple(bias[gate]))
        for gate in rows
    }
    size = len(labels)
    return _cell(gates, zeros(size, size), (ZERO,) * size, labels), parts


def _lower(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[list[Layer], list[Parts]]:
    make = _products if each.layer.kind == "gate" else _through_output_gate
    layer, parts = make(each, below, width)
    return [layer], parts


def _build(path: Path) -> Stack:
    return stacked(path, _lower)


LSTM = Target(name="lstm", gated=True, build=_build, summary="LSTM cells with ReLU gates and activations")
