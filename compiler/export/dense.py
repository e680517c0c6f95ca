"""A model's constants as dense arrays of a floating-point type, each rounded once.

gmpy2 rounds a rational to a binary format in one step, to nearest, ties to even,
subnormal numbers included: there is no detour over float64 that could round twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.convolution import lag_matrices
from compiler.errors import CompileRefusal, ConfigError
from compiler.exact import ZERO, Matrix, Vector
from compiler.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from compiler.model import GATES, Activation, Layer, Model

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

DTYPES: Mapping[str, Format] = {fmt.name: fmt for fmt in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}
"""Formats of exported weights; arrays of bfloat16, which NumPy has not, are float32 arrays of its values."""
LARGEST_FILE = (1 << 31) - (1 << 20)
"""Bytes of dense weights; an ONNX file ends at 2 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseLayer:
    """A layer of :mod:`compiler.model` with G gates, H units and D inputs, as arrays.

    Attributes:
        kind: which equations.
        activation: ``native`` or ``relu``.
        inputs: the wires it reads.
        size: H.
        weight_ih: (G, H, D).
        weight_hh: (G, H, H).
        bias: (G, H).
        initial: (H,), zeros where the layer names none.
        initial_cell: (H,), likewise.
        bias_hn: (H,), likewise.
        kernel: (L, H, D + 1), the kernels of a ``conv`` for lags 0 to L − 1 (those beyond are
            zero or beyond the window); L is 0 for other kinds.
    """

    kind: str
    activation: Activation
    inputs: tuple[int, ...]
    size: int
    weight_ih: Floats
    weight_hh: Floats
    bias: Floats
    initial: Floats
    initial_cell: Floats
    bias_hn: Floats
    kernel: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseModel:
    """A model's layers and readout as arrays of one type.

    Attributes:
        source: the model.
        dtype: a name of :data:`DTYPES`.
        layers: in the model's order.
        readout: (output_dim, D).
        readout_bias: (output_dim,).
    """

    source: Model
    dtype: str
    layers: tuple[DenseLayer, ...]
    readout: Floats
    readout_bias: Floats


def dense_model(
    model: Model, dtype: str, kinds: Iterable[str], form: str, *, infinities: bool = False
) -> DenseModel:
    """Round a model to ``dtype``.

    Args:
        model: any compiled model.
        dtype: a name of :data:`DTYPES`.
        kinds: the kinds of layers that the export has equations for.
        form: the export's name, for messages.
        infinities: let constants that are too large for ``dtype`` become infinite.

    Raises:
        ConfigError: an unknown ``dtype``.
        CompileRefusal: a kind of layer that is not exported, a constant that is infinite
            in ``dtype``, or more dense weights than a file holds.
    """
    if dtype not in DTYPES:
        raise ConfigError.single(f"cannot export {dtype!r}", hint="one of " + ", ".join(DTYPES))
    _check_kinds(model, frozenset(kinds), form)
    lags = [lag_matrices(layer, model.window, DTYPES[dtype].precision) for layer in model.layers]
    _check_entries(model, dtype, lags)
    rounded = _Rounding(dtype, infinities=infinities)
    layers = tuple(
        _dense_layer(layer, number, kernels, rounded)
        for number, (layer, kernels) in enumerate(zip(model.layers, lags, strict=True))
    )
    return DenseModel(
        source=model,
        dtype=dtype,
        layers=layers,
        readout=rounded.matrix(model.readout, "the readout"),
        readout_bias=rounded.vector(model.readout_bias, "the readout"),
    )


def _dense_layer(layer: Layer, number: int, kernels: list[Matrix], rounded: _Rounding) -> DenseLayer:
    place = f"layer {number} ({layer.kind})"
    gates, zeros = GATES[layer.kind], (ZERO,) * layer.size
    return DenseLayer(
        kind=layer.kind,
        activation=layer.activation,
        inputs=layer.inputs,
        size=layer.size,
        weight_ih=rounded.matrix(layer.weight_ih, place).reshape(gates, layer.size, layer.weight_ih.width),
        weight_hh=rounded.matrix(layer.weight_hh, place).reshape(gates, layer.size, layer.size),
        bias=rounded.vector(layer.bias, place).reshape(gates, layer.size),
        initial=rounded.vector(layer.initial or zeros, place),
        initial_cell=rounded.vector(layer.initial_cell or zeros, place),
        bias_hn=rounded.vector(layer.bias_hn or zeros, place),
        kernel=np.array([rounded.matrix(kernel, place) for kernel in kernels], dtype=rounded.dtype),
    )


class _Rounding:
    """Rounds constants to one format, remembering those it has seen."""

    def __init__(self, dtype: str, *, infinities: bool) -> None:
        fmt = DTYPES[dtype]
        self.dtype = fmt.storage
        self._name = dtype
        lowest = fmt.min_exponent - fmt.precision + 2
        self._context = gmpy2.context(
            precision=fmt.precision, emax=fmt.max_exponent + 1, emin=lowest, subnormalize=True
        )
        self._infinities = infinities
        self._known: dict[mpq, float] = {}

    def number(self, value: mpq, place: str) -> float:
        rounded = self._known.get(value)
        if rounded is None:
            # + 0.0: what is rounded to −0 is +0, as everywhere here
            rounded = float(gmpy2.mpfr(value, 0, self._context)) + 0.0
            if not np.isfinite(rounded) and not self._infinities:
                shown = str(value) if len(str(value)) < 30 else f"{gmpy2.mpfr(value):.5g}"
                raise CompileRefusal.single(
                    f"the constant {shown} of {place} is infinite in {self._name}",
                    hint="export a wider format, or compile with a smaller lam or mu or for this format",
                )
            self._known[value] = rounded
        return rounded

    def vector(self, values: Vector, place: str) -> Floats:
        return np.array([self.number(value, place) for value in values], dtype=self.dtype)

    def matrix(self, matrix: Matrix, place: str) -> Floats:
        array = np.zeros(matrix.shape, dtype=self.dtype)
        for i, j, value in matrix.entries():
            array[i, j] = self.number(value, place)
        return array


def _check_kinds(model: Model, kinds: frozenset[str], form: str) -> None:
    for number, layer in enumerate(model.layers):
        if layer.kind not in kinds:
            raise CompileRefusal.single(
                f"{form} has no layer like layer {number} of {model.target}, which is of kind {layer.kind!r}",
                hint="choose another target, such as relu_rnn, lstm or gru",
            )


def _check_entries(model: Model, dtype: str, lags: Iterable[list[Matrix]]) -> None:
    entries = sum(kernel.height * kernel.width for kernels in lags for kernel in kernels)
    entries += model.readout.height * model.readout.width + sum(
        matrix.height * matrix.width
        for layer in model.layers
        for matrix in (layer.weight_ih, layer.weight_hh)
    )
    check_size(model, dtype, entries)


def check_size(model: Model, dtype: str, entries: int) -> None:
    """Refuse more weights than a file holds.

    Raises:
        CompileRefusal: names the size.
    """
    size = entries * (2 if dtype == BFLOAT16.name else DTYPES[dtype].storage.itemsize)
    if size > LARGEST_FILE:
        raise CompileRefusal.single(
            f"{model.target} as dense matrices in {dtype} takes {size >> 20:,} MiB",
            hint="a file holds 2 GiB: set smaller parameters, or a shorter format",
        )
