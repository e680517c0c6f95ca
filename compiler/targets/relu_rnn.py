"""ReLU RNN: every layer is s_t = ReLU(A s_{t-1} + B x_t + b).

arXiv 2406.01424, equation 2 and appendix B.  A hidden unit is ≥ 0, so a signed
value v lives as the pair (v⁺, v⁻) and the next matrix reads v⁺ − v⁻; a value that
is known to keep its sign lives as one unit.  With E the encoding and D = Eᵀ the
decoding, a state layer becomes A → E A D, B → E B D_prev, b → E b and
s0 → max(0, E s0).

Simplifications of the paper kept: no normalisation, no residual connections.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.exact import zeros
from compiler.model import Layer
from compiler.path import Path, PathLayer
from compiler.targets.base import (
    Parts,
    Stack,
    Target,
    decoded,
    encode,
    refuse_gates,
    signed_labels,
    signed_rows,
    signed_start,
    signed_vector,
    stacked,
)


def rnn_layer(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[list[Layer], list[Parts]]:
    """A ReLU or state layer of the path as a ReLU recurrence."""
    source, encoding = each.layer, encode(each)
    size = len(encoding.units)
    own = zeros(size, size)
    if source.kind == "state":
        own = decoded(signed_rows(source.weight_hh, encoding), encoding.parts, size)
    layer = Layer(
        kind="rnn",
        inputs=source.inputs,
        size=size,
        weight_ih=decoded(signed_rows(source.weight_ih, encoding), below, width),
        weight_hh=own,
        bias=signed_vector(source.bias, encoding),
        initial=signed_start(source, encoding),
        labels=signed_labels(source.labels, encoding),
    )
    return [layer], list(encoding.parts)


def _build(path: Path) -> Stack:
    refuse_gates(path, "relu_rnn")
    return stacked(path, rnn_layer)


RELU_RNN = Target(
    name="relu_rnn", gated=False, build=_build, summary="ReLU recurrences, signed values as pairs"
)
