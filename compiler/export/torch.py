"""Compiled models as PyTorch weights: a file without pickle, and modules that read it.

A file is safetensors, its tensors named as in the module that :func:`build_torch` makes:

============ =========================================================================
kind         tensors of ``layers.K`` (G gates stacked in H·G rows, see compiler.model)
============ =========================================================================
linear, relu ``weight`` (H, D), ``bias`` (H)
gate, glu    ``weight`` (2H, D), ``bias`` (2H)
rnn          ``rnn.weight_ih_l0``, ``rnn.weight_hh_l0``, ``rnn.bias_ih_l0``,
             ``rnn.bias_hh_l0`` (zeros): those of a stock ``torch.nn.RNN``; ``initial`` (H)
state        ``weight_ih`` (H, D), ``weight_hh`` (H, H), ``bias`` (H), ``initial`` (H)
lstm         ``weight_ih`` (4H, D), ``weight_hh`` (4H, H), ``bias`` (4H), ``initial`` (H),
             ``initial_cell`` (H)
gru          ``weight_ih`` (3H, D), ``weight_hh`` (3H, H), ``bias`` (3H), ``initial`` (H)
conv         ``kernel`` (L, H, D + 1): per lag a matrix, whose last column reads a channel that
             is 1 from the first token on and 0 before; ``bias`` (H)
lstm, gru    ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``: those of a stock
with real    ``torch.nn.LSTM`` or ``torch.nn.GRU``; ``h0`` (1, 1, H) and, of an LSTM, ``c0``
gates        likewise, which such a module takes for one sequence
============ =========================================================================

and ``readout.weight``, ``readout.bias``.  The file's metadata (``lsrl``, JSON) say
which layer is of which kind and what it reads.  Writing a file needs no PyTorch.

A model with real gates has a second form, ``stacked``: one stock module of all L layers.
Its tensors are ``weight_ih_lK`` … of layer K, ``h0`` and ``c0`` (L, 1, H) and the readout.
H is the size of the largest layer (see :mod:`compiler.export.stock`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from compiler.errors import ConfigError
from compiler.export.dense import DenseLayer, DenseModel, dense_model
from compiler.export.stock import Arrays, check_stack, stacked_arrays, stock_arrays
from compiler.formats import BFLOAT16
from compiler.model import Model

if TYPE_CHECKING:
    from compiler.export.torch_layers import CompiledModel

KINDS = ("linear", "relu", "gate", "glu", "state", "rnn", "lstm", "gru", "conv")


def build_torch(model: Model, dtype: str = "float32", *, infinities: bool = False) -> CompiledModel:
    """A model as a ``torch.nn.Module``, on the CPU.

    Args:
        model: a compiled model; the graph of ``uncompiled`` is exported as it stands.
        dtype: ``float16``, ``bfloat16``, ``float32`` or ``float64``; weights are rounded to it once.
        infinities: let constants that are too large for ``dtype`` become infinite.

    Returns:
        A module from tokens (T, B, input_dim) to (outputs (T, B, output_dim), states), whose
        second argument takes the states up again (see
        :class:`compiler.export.torch_layers.CompiledModel`).

    Raises:
        ConfigError: PyTorch is missing, or an unknown ``dtype``.
        CompileRefusal: see :func:`compiler.export.dense.dense_model`.
    """
    layers = _layers_module()
    dense = dense_model(model, dtype, KINDS, "PyTorch export", infinities=infinities)
    built: CompiledModel = layers.build(_description(dense), dtype, torch_arrays(dense))
    return built


def torch_file(model: Model, dtype: str = "float32", *, stacked: bool = False) -> bytes:
    """The content of a safetensors file of a model's weights (see the module for its names).

    Args:
        model: a compiled model.
        dtype: as in :func:`build_torch`.
        stacked: all layers as one stock module, for models with real gates.

    Raises:
        ConfigError: an unknown ``dtype``.
        CompileRefusal: see :func:`compiler.export.dense.dense_model`; or ``stacked`` for a
            model without real gates.
    """
    dense = dense_model(model, dtype, KINDS, "PyTorch export")
    if stacked:
        check_stack(model, dtype)
    arrays = stacked_arrays(dense) if stacked else torch_arrays(dense)
    description = _description(dense) | ({"stacked": True} if stacked else {})
    metadata = {"format": "pt", "lsrl": json.dumps(description, ensure_ascii=False)}
    return _saved(arrays, metadata, dtype)


def save_torch(model: Model, path: str | Path, dtype: str = "float32", *, stacked: bool = False) -> None:
    """Write a model's weights as a safetensors file (see :func:`torch_file`)."""
    Path(path).write_bytes(torch_file(model, dtype, stacked=stacked))


def _saved(arrays: Arrays, metadata: dict[str, str], dtype: str) -> bytes:
    """A safetensors file; bfloat16, which NumPy has not, goes in as the upper halves of float32."""
    if dtype != BFLOAT16.name:
        content: bytes = save(arrays, metadata=metadata)
        return content
    halves = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in arrays.items()}
    content = save(halves, metadata=metadata)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for name in arrays:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def torch_arrays(dense: DenseModel) -> Arrays:
    """The tensors of a model by name."""
    arrays: Arrays = {"readout.weight": dense.readout, "readout.bias": dense.readout_bias}
    for number, layer in enumerate(dense.layers):
        for name, array in _layer_arrays(layer).items():
            arrays[f"layers.{number}.{name}"] = np.ascontiguousarray(array)
    return arrays


def _layer_arrays(layer: DenseLayer) -> Arrays:
    if layer.activation == "native":
        return stock_arrays(layer)
    rows = len(layer.bias) * layer.size
    ih, bias = layer.weight_ih.reshape(rows, -1), layer.bias.reshape(rows)
    hh = layer.weight_hh.reshape(rows, layer.size)
    match layer.kind:
        case "linear" | "relu" | "gate" | "glu":
            return {"weight": ih, "bias": bias}
        case "rnn":
            return {
                "rnn.weight_ih_l0": ih,
                "rnn.weight_hh_l0": hh,
                "rnn.bias_ih_l0": bias,
                "rnn.bias_hh_l0": np.zeros_like(bias),
                "initial": layer.initial,
            }
        case "conv":
            return {"kernel": layer.kernel.reshape(-1, layer.size, ih.shape[1] + 1), "bias": layer.initial}
        case _:
            named = {"weight_ih": ih, "weight_hh": hh, "bias": bias, "initial": layer.initial}
            return named | ({"initial_cell": layer.initial_cell} if layer.kind == "lstm" else {})


def _description(dense: DenseModel) -> dict[str, Any]:
    """What a file says besides its tensors."""
    model = dense.source
    return {
        "program": model.name,
        "target": model.target,
        "input_dim": model.input_dim,
        "output_dim": model.output_dim,
        "window": model.window,
        "kinds": [layer.kind for layer in dense.layers],
        "activations": [layer.activation for layer in dense.layers],
        "inputs": [list(layer.inputs) for layer in dense.layers],
        "readout_wires": list(model.readout_wires),
        "settings": dict(model.settings),
    }


def _layers_module() -> Any:
    try:
        from compiler.export import torch_layers  # noqa: PLC0415 -- optional and heavy
    except ImportError:
        raise ConfigError.single(
            "PyTorch is not installed", hint="pip install 'lsrl-stability[torch]'"
        ) from None
    return torch_layers
