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
    """

    layer: Layer
    ranges: tuple[Range, ...]
    operands: tuple[tuple[Range, Range], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A program in layered normal form."""

    input_dim: int
    layers: tuple[PathLayer, ...]
    readout: Matrix
    readout_bias: Vector

    @property
    def nonzeros(self) -> int:
        """Non-zero entries of the layers' matrices."""
        return sum(each.layer.nonzeros for each in self.layers)
