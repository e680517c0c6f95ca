"""Exact numbers as arrays that any language reads: float64, and what float64 leaves over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.exact import ZERO, Matrix
from compiler.model import Layer
from stability.measures import to_float

Array = npt.NDArray[Any]

DENSE_ENTRIES = 1 << 16
"""A matrix of more entries is stored by its non-zero ones."""
LOW = "_low"


class Arrays:
    """The arrays of a case under construction.

    Attributes:
        found: the arrays by name.
        rounded: the names of those that float64 does not hold exactly; each has a
            companion, the name with ``_low``, and their sum holds 106 bits.
    """

    def __init__(self) -> None:
        self.found: dict[str, Array] = {}
        self.rounded: list[str] = []

    def put(self, name: str, values: Iterable[mpq], shape: Sequence[int]) -> None:
        """Store exact numbers.

        Raises:
            ConfigError: one of them is beyond the range of float64.
        """
        high, low = double_double(values, name)
        self.found[name] = high.reshape(shape)
        if low.any():
            self.found[name + LOW] = low.reshape(shape)
            self.rounded.append(name)

    def put_matrix(self, name: str, matrix: Matrix) -> None:
        """Store a matrix, dense if it is small."""
        if matrix.height * matrix.width <= DENSE_ENTRIES:
            flat = [ZERO] * (matrix.height * matrix.width)
            for i, j, value in matrix.entries():
                flat[i * matrix.width + j] = value
            self.put(name, flat, matrix.shape)
            return
        entries = list(matrix.entries())
        self.found[f"{name}/shape"] = np.array(matrix.shape, dtype=np.int64)
        self.found[f"{name}/rows"] = np.array([i for i, _, _ in entries], dtype=np.int64)
        self.found[f"{name}/columns"] = np.array([j for _, j, _ in entries], dtype=np.int64)
        self.put(f"{name}/values", (value for _, _, value in entries), [len(entries)])

    def put_layer(self, number: int, layer: Layer) -> None:
        """Store a layer's constants; what its kind does not use is 0."""
        prefix, nothing = f"layer{number}/", (ZERO,) * layer.size
        self.put_matrix(prefix + "weight_ih", layer.weight_ih)
        self.put_matrix(prefix + "weight_hh", layer.weight_hh)
        self.put(prefix + "bias", layer.bias, [len(layer.bias)])
        self.put(prefix + "initial", layer.initial or nothing, [layer.size])
        self.put(prefix + "initial_cell", layer.initial_cell or nothing, [layer.size])
        if layer.activation == "native" and layer.kind == "gru":
            self.put(prefix + "bias_hn", layer.bias_hn or nothing, [layer.size])

    def put_text(self, name: str, text: str) -> None:
        """Store text as its UTF-8 bytes, which need no notion of text on the other side."""
        self.found[name] = np.frombuffer(text.encode(), dtype=np.uint8)


def double_double(
    values: Iterable[mpq], name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Numbers as high + low: the nearest float64, and the float64 nearest to what is left.

    Raises:
        ConfigError: a number is beyond the range of float64.
    """
    known: dict[mpq, tuple[float, float]] = {}
    pairs = []
    for value in values:
        pair = known.get(value)
        if pair is None:
            high = to_float(value)
            if not np.isfinite(high):
                raise ConfigError.single(
                    f"{name} holds a value beyond the range of float64",
                    hint="take a shorter prompt, or smaller mu and lam",
                )
            pair = known[value] = (high, to_float(value - mpq(high)))
        pairs.append(pair)
    both = np.array(pairs, dtype=np.float64).reshape(len(pairs), 2)
    return both[:, 0].copy(), both[:, 1].copy()


def little_endian(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays in C order and little-endian, as the README promises."""
    return {
        name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }
