"""Compiled models as ONNX graphs of standard operators.

======= ======================================================================
kind    operators
======= ======================================================================
linear  MatMul, Add
relu    MatMul, Add, Relu
gate    MatMul, Add (twice), Mul
glu     MatMul, Add (twice), Relu, Mul
state   MatMul, Add, then Scan with the body MatMul, Add
rnn     RNN, ``activations=["Relu"]``
lstm    LSTM, ``activations=["Relu", "Relu", "Relu"]``
gru     GRU, ``activations=["Relu", "Relu"]``, ``linear_before_reset=1``
======= ======================================================================

With real gates LSTM and GRU have no ``activations``: the defaults are sigmoid and tanh.

The input ``tokens`` is (T, B, input_dim), the output ``outputs`` (T, B, output_dim);
T and B are free.  Initial states are constants of the graph.  ONNX stacks gates in
another order than :mod:`compiler.model`: LSTM i, o, f, g and GRU z, r, n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from compiler.export.dense import DenseLayer, dense_model
from compiler.formats import BFLOAT16
from compiler.model import Model

if TYPE_CHECKING:
    from onnx import ModelProto

KINDS = ("linear", "relu", "gate", "glu", "state", "rnn", "lstm", "gru")
OPSET, IR_VERSION = 17, 8
"""Old enough for any runtime of the last years, and all that these operators need."""
TOKENS_NAME, OUTPUTS_NAME = "tokens", "outputs"

_OPERATORS: Mapping[str, tuple[str, tuple[int, ...], Mapping[str, Any]]] = {
    "rnn": ("RNN", (0,), {}),
    "lstm": ("LSTM", (0, 3, 1, 2), {}),  # ours i, f, g, o → i, o, f, g
    "gru": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),  # ours r, z, n → z, r, n
}
_ACTIVATIONS: Mapping[str, int] = {"rnn": 1, "lstm": 3, "gru": 2}


def to_onnx(
    model: Model,
    dtype: str = "float32",
    *,
    states: bool = False,
    wires: Sequence[int] = (),
    infinities: bool = False,
) -> ModelProto:
    """A model as an ONNX graph.

    Args:
        model: a compiled model; the graph of ``uncompiled`` is exported as it stands.
        dtype: ``float32``, ``float16`` or ``float64``; weights are rounded to it once.
        states: add inputs ``state.K`` (and ``state.K.cell``) and outputs ``next.K``
            (``next.K.cell``) of (1, B, H) for each recurrent layer K, so that a prompt can
            be run in pieces; an input that is left out is the model's initial state.
        wires: wires (0: tokens, K + 1: layer K) to give out too, as ``wire.N``.
        infinities: let constants that are too large for ``dtype`` become infinite.

    Raises:
        ConfigError: the package onnx is missing, or an unknown ``dtype``.
        CompileRefusal: see :func:`compiler.export.dense.dense_model`.
    """
    if dtype == BFLOAT16.name:
        raise ConfigError.single(
            "no ONNX export in bfloat16: RNN, LSTM and GRU have none", hint="float32, or export to PyTorch"
        )
    dense = dense_model(model, dtype, KINDS, "ONNX export", infinities=infinities)
    graph = _Graph(np.dtype(dtype), states=states)
    graph.constant("batch_shape.ends", np.array([1], dtype=np.int64))
    graph.node("Shape", [TOKENS_NAME], "batch", start=1, end=2)
    graph.node("Concat", ["batch_shape.ends", "batch", "batch_shape.ends"], "batch_shape", axis=0)
    names = [TOKENS_NAME]
    for number, layer in enumerate(dense.layers):
        source = graph.joined(f"layer.{number}.input", [names[wire] for wire in layer.inputs])
        names.append(graph.layer(layer, number, source))
    last = graph.joined("readout.input", [names[wire] for wire in model.readout_wires])
    graph.affine("readout", last, dense.readout, dense.readout_bias, OUTPUTS_NAME)
    for wire in wires:
        graph.node("Identity", [names[wire]], f"wire.{wire}")
        graph.outputs.append((f"wire.{wire}", ["T", "B", model.wire_size(wire)]))
    return graph.finish(model)


def onnx_file(model: Model, dtype: str = "float32", *, states: bool = False) -> bytes:
    """The content of a model's ONNX file (see :func:`to_onnx`)."""
    content: bytes = to_onnx(model, dtype, states=states).SerializeToString(deterministic=True)
    return content


def save_onnx(model: Model, path: str | Path, dtype: str = "float32", *, states: bool = False) -> None:
    """Write a model as an ONNX file (see :func:`to_onnx`)."""
    Path(path).write_bytes(onnx_file(model, dtype, states=states))


def _onnx() -> Any:
    try:
        import onnx  # noqa: PLC0415 -- optional
    except ImportError:
        raise ConfigError.single(
            "the package onnx is not installed", hint="pip install 'lsrl-stability[onnx]'"
        ) from None
    return onnx


class _Graph:
    """Nodes, constants, inputs and outputs under construction."""

    def __init__(self, dtype: np.dtype[np.floating[Any]], *, states: bool) -> None:
        self._onnx = _onnx()
        self._states = states
        self._element = self._onnx.helper.np_dtype_to_tensor_dtype(dtype)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[tuple[str, list[str | int]]] = []
        self.outputs: list[tuple[str, list[str | int]]] = []

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """A tensor of the file."""
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(
        self, operator: str, inputs: Sequence[str], output: str | Sequence[str], **attributes: Any
    ) -> None:
        """One operator."""
        outputs = [output] if isinstance(output, str) else list(output)
        name = next(name for name in outputs if name)
        self._nodes.append(
            self._onnx.helper.make_node(operator, list(inputs), outputs, name=name, **attributes)
        )

    def joined(self, name: str, sources: Sequence[str]) -> str:
        """Several wires side by side."""
        if len(sources) == 1:
            return sources[0]
        self.node("Concat", sources, name, axis=2)
        return name

    def affine(self, name: str, source: str, weight: Any, bias: Any, output: str) -> str:
        """W x + b for each token."""
        self.constant(f"{name}.weight", weight.T)
        self.constant(f"{name}.bias", bias)
        self.node("MatMul", [source, f"{name}.weight"], f"{name}.product")
        self.node("Add", [f"{name}.product", f"{name}.bias"], output)
        return output

    def layer(self, layer: DenseLayer, number: int, source: str) -> str:
        """The name of a layer's output."""
        name = f"layer.{number}"
        weights, biases = layer.weight_ih, layer.bias
        match layer.kind:
            case "linear":
                return self.affine(name, source, weights[0], biases[0], name)
            case "relu":
                self.affine(name, source, weights[0], biases[0], f"{name}.sum")
                self.node("Relu", [f"{name}.sum"], name)
            case "gate" | "glu":
                for part, weight, bias in zip("ab", weights, biases, strict=True):
                    self.affine(f"{name}.{part}", source, weight, bias, f"{name}.{part}")
                right = f"{name}.b"
                if layer.kind == "glu":
                    right = f"{name}.b.relu"
                    self.node("Relu", [f"{name}.b"], right)
                self.node("Mul", [f"{name}.a", right], name)
            case "state":
                self._scan(layer, number, source)
            case _:
                self._recurrence(layer, number, source)
        return name

    def _recurrence(self, layer: DenseLayer, number: int, source: str) -> None:
        """RNN, LSTM or GRU."""
        name = f"layer.{number}"
        operator, order, attributes = _OPERATORS[layer.kind]
        rows = (1, len(order) * layer.size, -1)
        gates = list(order)
        own = np.zeros_like(layer.bias)
        own[-1] = layer.bias_hn
        bias = np.concatenate([layer.bias[gates].reshape(-1), own.reshape(-1)])
        inputs = [
            source,
            self.constant(f"{name}.weight_ih", layer.weight_ih[gates].reshape(rows)),
            self.constant(f"{name}.weight_hh", layer.weight_hh[gates].reshape(rows)),
            self.constant(f"{name}.bias", bias[np.newaxis]),
            "",  # all sequences have the full length
            self._start(f"{number}", layer.initial),
        ]
        outputs = [f"{name}.directions", self._end(f"{number}", layer.size)]
        if layer.kind == "lstm":
            inputs.append(self._start(f"{number}.cell", layer.initial_cell))
            outputs.append(self._end(f"{number}.cell", layer.size))
        if layer.activation == "relu":
            attributes = {**attributes, "activations": ["Relu"] * _ACTIVATIONS[layer.kind]}
        self.node(operator, inputs, outputs, hidden_size=layer.size, **attributes)
        self._drop_axis(f"{name}.directions", name, axis=1)

    def _scan(self, layer: DenseLayer, number: int, source: str) -> None:
        """State layer, h = A h' + (B x + b): the sum in brackets for all tokens at once."""
        name, helper = f"layer.{number}", self._onnx.helper
        fed = self.affine(name, source, layer.weight_ih[0], layer.bias[0], f"{name}.fed")
        own = self.constant(f"{name}.weight_hh", layer.weight_hh[0].T)
        self._drop_axis(self._start(f"{number}", layer.initial), f"{name}.initial", axis=0)
        shape = ["B", layer.size]
        value = {part: f"{name}.scan.{part}" for part in ("before", "fed", "own", "after", "output")}
        infos = {
            part: helper.make_tensor_value_info(each, self._element, shape) for part, each in value.items()
        }
        body = helper.make_graph(
            [
                helper.make_node("MatMul", [value["before"], own], [value["own"]]),
                helper.make_node("Add", [value["own"], value["fed"]], [value["after"]]),
                helper.make_node("Identity", [value["after"]], [value["output"]]),
            ],
            f"{name}.scan",
            [infos["before"], infos["fed"]],
            [infos["after"], infos["output"]],
        )
        self.node("Scan", [f"{name}.initial", fed], [f"{name}.last", name], body=body, num_scan_inputs=1)
        end = self._end(f"{number}", layer.size)
        if end:
            self.node("Unsqueeze", [f"{name}.last", self._axis(0)], end)

    def _axis(self, axis: int) -> str:
        name = f"axis.{axis}"
        if all(each.name != name for each in self._constants):
            self.constant(name, np.array([axis], dtype=np.int64))
        return name

    def _drop_axis(self, source: str, output: str, *, axis: int) -> None:
        self.node("Squeeze", [source, self._axis(axis)], output)

    def _start(self, state: str, initial: Any) -> str:
        """A layer's state before the first token, (1, B, H)."""
        name = self.constant(f"state.{state}", initial.reshape(1, 1, -1))
        if self._states:
            self._inputs.append((name, [1, f"state.{state}.B", len(initial)]))
        self.node("Expand", [name, "batch_shape"], f"{name}.batch")
        return f"{name}.batch"

    def _end(self, state: str, size: int) -> str:
        """The name of a layer's state after the last token; empty if nobody wants it."""
        if not self._states:
            return ""
        self.outputs.append((f"next.{state}", [1, "B", size]))
        return f"next.{state}"

    def finish(self, model: Model) -> ModelProto:
        """The model's file."""
        helper = self._onnx.helper
        inputs = [(TOKENS_NAME, ["T", "B", model.input_dim]), *self._inputs]
        outputs = [(OUTPUTS_NAME, ["T", "B", model.output_dim]), *self.outputs]
        infos = [
            [helper.make_tensor_value_info(name, self._element, shape) for name, shape in places]
            for places in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, model.name, *infos, initializer=self._constants)
        made: ModelProto = helper.make_model(
            graph,
            producer_name="lsrl-stability",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        settings = {"program": model.name, "target": model.target, "layout": "T,B,dim"} | dict(model.settings)
        helper.set_model_props(made, settings)
        return made
