"""The path: a stack of layers, each acting on the whole vector of the layer before.

Three kinds of layers (:mod:`compiler.model` has their equations) - ``state``,
``relu`` and ``gate`` - and a linear readout.  Every unit keeps its label and its
range, from which the targets choose their encodings.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.exact import Matrix, Vector
from compiler.model import Layer
from compiler.ranges import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class PathLayer:
    """One layer of a path.

    Attributes:
        layer: its equations and labels; reads wire k for path layer k.
        ranges: of every unit's value.
        operands: for ``gate``, of every unit's two operands.
        arguments: for ``relu``, of every unit's value before the ReLU; for ``state``, of
            what drives it, B x + b.
        passing: for ``relu``, the units that pass their argument on as it is (signed paths only).
    """

    layer: Layer
    ranges: tuple[Range, ...]
    operands: tuple[tuple[Range, Range], ...] = ()
    arguments: tuple[Range, ...] = ()
    passing: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A program in layered normal form.

    Attributes:
        input_dim: entries per token.
        tokens: the declared ranges of a token's entries.
        layers: in order.
        readout: reads the last layer; with ``readout_bias``.
        outputs: the ranges of what it gives.
    """

    input_dim: int
    tokens: tuple[Range, ...]
    layers: tuple[PathLayer, ...]
    readout: Matrix
    readout_bias: Vector
    outputs: tuple[Range, ...]

    @property
    def nonzeros(self) -> int:
        """Non-zero entries of the layers' matrices."""
        return sum(each.layer.nonzeros for each in self.layers)
