"""Gated RNN: ReLU recurrences, and layers that multiply two affine maps of their input.

arXiv 2406.01424, section 2: s_t = σ(A s_{t-1} + B x_t + b), y_t = γ(x_t) ⊙ φ(s_t).  ReLU and
state layers of the path are those of :mod:`compiler.targets.relu_rnn` (signed values as
pairs); gate layers are the path's own, reading v⁺ − v⁻.

Simplifications of the paper kept: γ and φ of a gate layer are affine, no normalisation,
no residual connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compiler.exact import ONE, zeros
from compiler.model import Layer
from compiler.path import Path, PathLayer
from compiler.targets.base import Parts, Stack, Target, decoded, stacked
from compiler.targets.relu_rnn import rnn_layer


def _lower(each: PathLayer, below: Sequence[Parts], width: int) -> tuple[list[Layer], list[Parts]]:
    if each.layer.kind != "gate":
        return rnn_layer(each, below, width)
    size = each.layer.size
    layer = replace(
        each.layer,
        weight_ih=decoded(each.layer.weight_ih, below, width),
        weight_hh=zeros(2 * size, size),
    )
    return [layer], [((unit, ONE),) for unit in range(size)]


def _build(path: Path) -> Stack:
    return stacked(path, _lower)


GATED_RNN = Target(
    name="gated_rnn",
    gated=True,
    build=_build,
    summary="ReLU recurrences and products, signed values as pairs",
)
