"""ReLU RNN: every layer is s_t = ReLU(A s_{t-1} + B x_t + b).

arXiv 2406.01424, equation 2 and appendix B.  A hidden unit is ≥ 0, so a signed
value v lives as the pair (v⁺, v⁻) and the next matrix reads v⁺ − v⁻; a value that
is known to keep its sign lives as one unit.  With E the encoding and D = Eᵀ the
decoding, a state layer becomes A → E A D, B → E B D_prev, b → E b and
s0 → max(0, E s0).
"""

from __future__ import annotations

from compiler.exact import ONE, ZERO, zeros
from compiler.model import Layer
from compiler.path import Path, PathLayer
from compiler.targets.base import (
    Encoding,
    Parts,
    Stack,
    Target,
    decoded,
    encode,
    refuse_gates,
    signed_labels,
    signed_rows,
    signed_vector,
)


def _layer(each: PathLayer, encoding: Encoding, below: list[Parts], width: int) -> Layer:
    path_layer, size = each.layer, len(encoding.units)
    weight_ih = decoded(signed_rows(path_layer.weight_ih, encoding), below, width)
    if path_layer.kind == "state":
        weight_hh = decoded(signed_rows(path_layer.weight_hh, encoding), list(encoding.parts), size)
        initial = tuple(max(ZERO, value) for value in signed_vector(path_layer.initial, encoding))
    else:
        weight_hh, initial = zeros(size, size), (ZERO,) * size
    return Layer(
        kind="rnn",
        inputs=path_layer.inputs,
        size=size,
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        bias=signed_vector(path_layer.bias, encoding),
        initial=initial,
        labels=signed_labels(path_layer.labels, encoding),
    )


def _build(path: Path) -> Stack:
    refuse_gates(path, "relu_rnn")
    below: list[Parts] = [((i, ONE),) for i in range(path.input_dim)]
    width, layers = path.input_dim, []
    for each in path.layers:
        encoding = encode(each)
        layers.append(_layer(each, encoding, below, width))
        below, width = list(encoding.parts), len(encoding.units)
    return Stack(
        layers=tuple(layers), readout=decoded(path.readout, below, width), readout_bias=path.readout_bias
    )


RELU_RNN = Target(
    name="relu_rnn", gated=False, build=_build, summary="ReLU recurrences, signed values as pairs"
)
