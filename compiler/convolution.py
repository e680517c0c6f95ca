"""The structured kernels of ``conv`` layers: K_i = A^i K_0."""

from __future__ import annotations

from compiler.exact import ZERO, Matrix, hstack
from compiler.model import Layer


def first_kernel(layer: Layer) -> Matrix:
    """K_0 = [B, b + A s0 − s0], H × (D + 1); its last column reads the constant 1."""
    start = layer.initial or (ZERO,) * layer.size
    moved = layer.weight_hh.times(start)
    constant = [b + after - before for b, after, before in zip(layer.bias, moved, start, strict=True)]
    return hstack([layer.weight_ih, Matrix.from_rows(1, [{0: value} for value in constant])])
