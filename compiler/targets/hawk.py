"""Hawk: gated blocks whose only reach in time is a convolution over a finite window.

arXiv 2406.01424, appendix E.  One Hawk layer is a recurrent block, then an MLP block:

* Recurrent block: x → temporal convolution over the last T inputs with full matrices →
  RG-LRU → ⊙ a gate branch.  With a_t = 0 and i_t = 1 the RG-LRU passes its input on, and
  the gate branch is 1: what is left is the convolution, a layer of kind ``conv``.
* MLP block: (We h + be) ⊙ σ(Wf h + bf), a layer of kind ``glu``.

Each layer of the path is one Hawk layer:

* State: the recurrence s_t = A s_{t-1} + B x + b unrolled into kernels K_i = A^i B.  The
  paper leaves out b and s0; here a channel that is 1 from the first token on has the
  kernel A^i b + A^{i+1} s0 − A^i s0, and s0 is the convolution's bias.  The MLP block is
  the identity (f = 1), which keeps signed values.
* ReLU: the convolution is the identity (K_0 = I), e = 1, and f carries the layer.
* Gate: the identity, then e = v and f = a; a signed factor a takes two units, since
  a·v = v·σ(a) − v·σ(−a).

A compiled Hawk has a finite window and keeps no state between tokens; a longer prompt is
refused.  Its lack of drift is no finding.

Simplifications of the paper kept: no normalisation, no residual connections, ReLU for
GeLU, no short convolution besides the long one, and an RG-LRU that is passed through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from gmpy2 import mpq

from compiler.exact import ONE, ZERO, Matrix, Vector, eye, vstack, zeros
from compiler.model import Kind, Label, Layer
from compiler.path import Path, PathLayer
from compiler.targets.base import Parts, Stack, Target, decoded, range_signs


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What stands between two blocks.

    Attributes:
        labels: one per unit.
        parts: how the values of the path layer below stand in the units.
    """

    labels: tuple[Label, ...]
    parts: tuple[Parts, ...]

    @property
    def width(self) -> int:
        """Number of units."""
        return len(self.labels)

    def passed(self) -> Wire:
        """The same, carried through another block."""
        return replace(self, labels=tuple(replace(label, fresh=False) for label in self.labels))


@dataclass(slots=True)
class Blocks:
    """The layers of a Hawk or Griffin under construction."""

    layers: list[Layer] = field(default_factory=list)

    def add(self, kind: Kind, weights: Matrix, bias: Vector, labels: Iterable[Label]) -> None:
        """A layer without a past, on top of the last one."""
        held = tuple(labels)
        self.layers.append(
            Layer(
                kind=kind,
                inputs=(len(self.layers),),
                size=len(held),
                weight_ih=weights,
                weight_hh=zeros(weights.height, len(held)),
                bias=bias,
                initial=(ZERO,) * len(held) if kind == "conv" else (),
                labels=held,
            )
        )

    def state(self, source: Layer, below: Wire) -> None:
        """The convolution of a state layer."""
        self.layers.append(
            replace(
                source,
                kind="conv",
                inputs=(len(self.layers),),
                weight_ih=decoded(source.weight_ih, below.parts, below.width),
            )
        )

    def passing_convolution(self, below: Wire) -> None:
        """The convolution with K_0 = I."""
        width = below.width
        self.add("conv", eye(width), (ZERO,) * width, below.passed().labels)

    def passing_mlp(self, labels: Sequence[Label]) -> None:
        """The MLP block that hands its input on: e = x, f = 1."""
        width = len(labels)
        self.add("glu", vstack([eye(width), zeros(width, width)]), (ZERO,) * width + (ONE,) * width, labels)

    def relu(self, source: Layer, below: Wire) -> None:
        """The MLP block of a ReLU layer: e = 1, f carries it."""
        weights = decoded(source.weight_ih, below.parts, below.width)
        ones = (ONE,) * source.size
        self.add("glu", vstack([zeros(source.size, below.width), weights]), ones + source.bias, source.labels)

    def product(self, each: PathLayer, below: Wire) -> tuple[Parts, ...]:
        """The MLP block of a gate layer; returns how its products stand in the units."""
        source = each.layer
        weights = decoded(source.weight_ih, below.parts, below.width)
        values: list[int] = []
        gates: list[tuple[int, int]] = []
        labels: list[Label] = []
        parts: list[Parts] = []
        for index in range(source.size):
            rows = (index, source.size + index)
            gate, signs = _gate_of(each, index)
            start = len(values)
            for sign in signs:
                values.append(rows[1 - gate])
                gates.append((rows[gate], sign))
                labels.append(replace(source.labels[index], sign=sign if len(signs) == 2 else 0))
            parts.append(tuple((start + k, mpq(sign)) for k, sign in enumerate(signs)))
        rows_e = [dict(weights.rows[row]) for row in values]
        rows_f = [{j: sign * w for j, w in weights.rows[row]} for row, sign in gates]
        bias = [source.bias[row] for row in values] + [sign * source.bias[row] for row, sign in gates]
        self.add("glu", Matrix.from_rows(below.width, rows_e + rows_f), tuple(bias), labels)
        return tuple(parts)


def _gate_of(each: PathLayer, index: int) -> tuple[int, tuple[int, ...]]:
    """Which factor goes through the ReLU (one whose sign is known, if any), and its signs."""
    signs = [range_signs(extent) for extent in each.operands[index]]
    constant = [extent.lo is not None and extent.lo == extent.hi for extent in each.operands[index]]
    gate = min((0, 1), key=lambda side: (len(signs[side]), signs[side] != (1,), not constant[side]))
    return gate, signs[gate]


def tokens_wire(path: Path) -> Wire:
    """The tokens as a wire."""
    return Wire(
        labels=tuple(Label(variable="input", component=i, fresh=False) for i in range(path.input_dim)),
        parts=tuple(((i, ONE),) for i in range(path.input_dim)),
    )


def mlp_block(blocks: Blocks, each: PathLayer, below: Wire) -> Wire:
    """The MLP block of a path layer, after its temporal block."""
    source = each.layer
    parts: tuple[Parts, ...] = tuple(((unit, ONE),) for unit in range(source.size))
    if source.kind == "gate":
        parts = blocks.product(each, below)
    elif source.kind == "relu":
        blocks.relu(source, below)
    else:
        blocks.passing_mlp([replace(label, fresh=False) for label in source.labels])
    return Wire(labels=blocks.layers[-1].labels, parts=parts)


def finished(blocks: Blocks, path: Path, below: Wire) -> Stack:
    """The layers with the path's readout."""
    return Stack(
        layers=tuple(blocks.layers),
        readout=decoded(path.readout, below.parts, below.width),
        readout_bias=path.readout_bias,
    )


def _build(path: Path) -> Stack:
    blocks, below = Blocks(), tokens_wire(path)
    for each in path.layers:
        if each.layer.kind == "state":
            blocks.state(each.layer, below)
        else:
            blocks.passing_convolution(below)
        below = mlp_block(blocks, each, below)
    return finished(blocks, path, below)


HAWK = Target(
    name="hawk",
    gated=True,
    build=_build,
    summary="convolutions over a finite window and gated MLP blocks",
    windowed=True,
)
