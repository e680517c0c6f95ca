"""Layers with real gates as the tensors of stock ``torch.nn.LSTM`` and ``torch.nn.GRU``.

One module per layer, or one module of all layers, which then have one width: the units
that a layer lacks have weights, biases and initial states of 0.  They stay at 0, since
S(0)·0 + S(0)·tanh(0) = 0 in both cells, S the sigmoid, and no other unit reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.errors import CompileRefusal
from compiler.export.dense import DenseLayer, DenseModel, check_size
from compiler.model import GATES, Model

Arrays = dict[str, npt.NDArray[Any]]


def stock_arrays(layer: DenseLayer) -> Arrays:
    """The tensors of one module, by PyTorch's names, with h0 and (for an LSTM) c0, each (1, 1, H)."""
    return _arrays(layer, layer.size, layer.weight_ih.shape[2], 0)


def stacked_arrays(dense: DenseModel) -> Arrays:
    """The tensors of one module of all L layers, with h0 and c0, each (L, 1, H), and the readout."""
    size = max(layer.size for layer in dense.layers)
    arrays: Arrays = {
        "readout.weight": _padded(dense.readout, len(dense.readout), size),
        "readout.bias": dense.readout_bias,
    }
    for number, layer in enumerate(dense.layers):
        width = size if number else layer.weight_ih.shape[2]
        for name, array in _arrays(layer, size, width, number).items():
            before = arrays.get(name)
            arrays[name] = array if before is None else np.concatenate([before, array])
    return arrays


def check_stack(model: Model, dtype: str) -> None:
    """Refuse a model whose layers are not those of one stock module.

    Raises:
        CompileRefusal: ReLU gates, no layers, or a stack beyond what a file holds.
    """
    layers = model.layers
    if not layers or any(layer.activation != "native" or layer.kind != layers[0].kind for layer in layers):
        raise CompileRefusal.single(
            f"a stacked module has the layers of an LSTM or GRU with real gates, not of {model.target}",
            hint="--target lstm or gru with --activation native",
        )
    assert [layer.inputs for layer in layers] == [(wire,) for wire in range(len(layers))]
    size = max(layer.size for layer in layers)
    columns = model.input_dim + size * (2 * len(layers) - 1)
    check_size(model, dtype, GATES[layers[0].kind] * size * columns + model.output_dim * size)


def _arrays(layer: DenseLayer, size: int, width: int, number: int) -> Arrays:
    """One layer of ``size`` units that reads ``width``, as layer ``number`` of a module."""
    gates = len(layer.bias)
    own = np.zeros_like(layer.bias)
    if layer.kind == "gru":
        own[-1] = layer.bias_hn  # PyTorch's order is r, z, n
    arrays = {
        f"weight_ih_l{number}": _padded(layer.weight_ih, gates, size, width).reshape(-1, width),
        f"weight_hh_l{number}": _padded(layer.weight_hh, gates, size, size).reshape(-1, size),
        f"bias_ih_l{number}": _padded(layer.bias, gates, size).reshape(-1),
        f"bias_hh_l{number}": _padded(own, gates, size).reshape(-1),
        "h0": _padded(layer.initial, size).reshape(1, 1, size),
    }
    if layer.kind == "lstm":
        arrays["c0"] = _padded(layer.initial_cell, size).reshape(1, 1, size)
    return arrays


def _padded(array: npt.NDArray[Any], *shape: int) -> npt.NDArray[Any]:
    """``array`` with zeros at the ends of its axes."""
    return np.pad(array, [(0, wanted - length) for length, wanted in zip(array.shape, shape, strict=True)])
