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

from gmpy2 import mpq

from compiler.exact import ONE, ZERO, Matrix, Vector, vstack, zeros
from compiler.model import Label, Layer
from compiler.path import Path, PathLayer
from compiler.ranges import Range
from compiler.targets.base import (
    Parts,
    Stack,
    Target,
    decoded,
    encode,
    signed_labels,
    signed_rows,
    signed_vector,
)

Gate = tuple[Matrix, Vector]


def _stacked(
    number: int,
    size: int,
    gates: dict[str, Gate],
    own: Matrix | None,
    initial: Vector,
    labels: Sequence[Label],
) -> Layer:
    """Assemble the rows of i, f, g, o; a gate left out is 0 (f) or 1 (the others)."""
    width = next(iter(gates.values()))[0].width
    rows, bias = [], []
    for name in ("i", "f", "g", "o"):
        default = (zeros(size, width), ((ZERO if name == "f" else ONE),) * size)
        matrix, constant = gates.get(name, default)
        rows.append(matrix)
        bias.append(constant)
    hidden = [zeros(size, size)] * 3 + [own if own is not None else zeros(size, size)]
    return Layer(
        kind="lstm",
        inputs=(number - 1,),
        size=size,
        weight_ih=vstack(rows),
        weight_hh=vstack(hidden),
        bias=tuple(value for part in bias for value in part),
        initial=initial,
        initial_cell=(ZERO,) * size,
        labels=tuple(labels),
    )


def _through_output_gate(
    each: PathLayer, number: int, below: Sequence[Parts], width: int
) -> tuple[Layer, list[Parts]]:
    """A ReLU or state layer, carried by o."""
    path_layer, encoding = each.layer, encode(each)
    size = len(encoding.units)
    gate = (
        decoded(signed_rows(path_layer.weight_ih, encoding), below, width),
        signed_vector(path_layer.bias, encoding),
    )
    own, initial = None, (ZERO,) * size
    if path_layer.kind == "state":
        own = decoded(signed_rows(path_layer.weight_hh, encoding), encoding.parts, size)
        initial = tuple(max(ZERO, value) for value in signed_vector(path_layer.initial, encoding))
    labels = signed_labels(path_layer.labels, encoding)
    return _stacked(number, size, {"o": gate}, own, initial, labels), list(encoding.parts)


def _signs(operand: Range) -> tuple[int, ...]:
    if operand.nonnegative:
        return (1,)
    return (-1,) if operand.nonpositive else (1, -1)


def _products(each: PathLayer, number: int, below: Sequence[Parts], width: int) -> tuple[Layer, list[Parts]]:
    """A gate layer: i = σ(±a), g = σ(±v)."""
    path_layer = each.layer
    half = path_layer.size
    rows: dict[str, list[dict[int, mpq]]] = {"i": [], "g": []}
    bias: dict[str, list[mpq]] = {"i": [], "g": []}
    labels: list[Label] = []
    parts: list[Parts] = []
    for value in range(half):
        left, right = each.operands[value]
        own: list[tuple[int, mpq]] = []
        for sign_left in _signs(left):
            for sign_right in _signs(right):
                own.append((len(labels), mpq(sign_left * sign_right)))
                # the path's operands: a in row `value`, v in row `half + value`
                for gate, row, sign in (("i", value, sign_left), ("g", half + value, sign_right)):
                    rows[gate].append({j: sign * w for j, w in path_layer.weight_ih.rows[row]})
                    bias[gate].append(sign * path_layer.bias[row])
                label = path_layer.labels[value]
                labels.append(
                    Label(
                        variable=label.variable,
                        component=label.component,
                        sign=sign_left * sign_right,
                        fresh=label.fresh,
                        span=label.span,
                    )
                )
        parts.append(tuple(own))
    gates = {
        gate: (
            decoded(Matrix.from_rows(path_layer.weight_ih.width, rows[gate]), below, width),
            tuple(bias[gate]),
        )
        for gate in rows
    }
    return _stacked(number, len(labels), gates, None, (ZERO,) * len(labels), labels), parts


def _build(path: Path) -> Stack:
    below: list[Parts] = [((i, ONE),) for i in range(path.input_dim)]
    width, layers = path.input_dim, []
    for number, each in enumerate(path.layers, start=1):
        make = _products if each.layer.kind == "gate" else _through_output_gate
        layer, below = make(each, number, below, width)
        layers.append(layer)
        width = layer.size
    return Stack(
        layers=tuple(layers), readout=decoded(path.readout, below, width), readout_bias=path.readout_bias
    )


LSTM = Target(name="lstm", gated=True, build=_build, summary="LSTM cells with ReLU gates and activations")
