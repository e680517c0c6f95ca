"""Linear RNN and gated Linear RNN: the path itself.

arXiv 2406.01424, equations 3 and 4: a layer is s_t = A s_{t-1} + B x_t + b and
y_t = φ(s_t), or y_t = γ(x_t) ⊙ φ(s_t), with φ and γ ReLU networks.  Each ``state``
layer of the path with the ``relu`` (and ``gate``) layers after it is one such
layer, so the weights are those of the path.

Simplifications of the paper kept: no normalisation, no residual connections.
"""

from __future__ import annotations

from compiler.path import Path
from compiler.targets.base import Stack, Target, refuse_gates


def _as_is(path: Path) -> Stack:
    layers = tuple(each.layer for each in path.layers)
    return Stack(layers=layers, readout=path.readout, readout_bias=path.readout_bias)


def _ungated(path: Path) -> Stack:
    refuse_gates(path, "linear_rnn")
    return _as_is(path)


LINEAR_RNN = Target(
    name="linear_rnn",
    gated=False,
    build=_ungated,
    summary="linear recurrences and ReLU networks between them",
)
GATED_LINEAR_RNN = Target(
    name="gated_linear_rnn",
    gated=True,
    build=_as_is,
    summary="linear recurrences, ReLU networks and products",
)
