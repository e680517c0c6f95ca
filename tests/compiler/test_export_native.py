"""Layers with real gates as stock modules of PyTorch and standard operators of ONNX."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from safetensors import safe_open
from safetensors.numpy import load_file

from compiler import compile_program, load_program
from compiler.errors import CompileRefusal, ConfigError
from compiler.exact import eye
from compiler.export import build_torch, dense, save_torch, to_onnx, torch_file
from compiler.export.dense import DTYPES, dense_model
from compiler.model import Kind, Layer, Model
from compiler.real_gates import NativeGates
from tests.stability.models import random_model

CELLS: tuple[Kind, ...] = ("lstm", "gru")
NEEDS_TORCH = "PyTorch is not installed"
STOCK = ("weight_ih_l{}", "weight_hh_l{}", "bias_ih_l{}", "bias_hh_l{}")


def native(kind: Kind, seed: int, *, layers: int = 3) -> Model:
    """A stack of random cells with real gates, of several sizes and started anywhere."""
    generator = np.random.default_rng(seed)
    model = random_model(generator, layers=layers, size=5, kinds=(kind,))
    return replace(model, target=kind, layers=tuple(_real(layer, generator) for layer in model.layers))


def _real(layer: Layer, generator: np.random.Generator) -> Layer:
    def drawn() -> tuple[mpq, ...]:
        return tuple(mpq(int(value), 8) for value in generator.integers(-8, 9, size=layer.size))

    if layer.kind == "gru":
        return replace(layer, activation="native", initial=drawn(), bias_hn=drawn())
    return replace(layer, activation="native", initial=drawn(), initial_cell=drawn())


def tokens_of(model: Model) -> npt.NDArray[np.float64]:
    """(T, B, dim) of small fractions."""
    drawn = np.random.default_rng(7).integers(-8, 9, size=(6, 2, model.input_dim))
    return np.asarray(drawn / 4)


def by_the_equations(model: Model, tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Outputs (T, B, dim) in float64, written down from the table of :mod:`compiler.model`."""
    made = dense_model(model, "float64", CELLS, "test")
    x = tokens
    for layer in made.layers:
        h, c = (np.tile(start, (x.shape[1], 1)) for start in (layer.initial, layer.initial_cell))
        outputs = []
        for token in x:
            fed = [token @ weight.T + bias for weight, bias in zip(layer.weight_ih, layer.bias, strict=True)]
            own = [h @ weight.T for weight in layer.weight_hh]
            if layer.kind == "lstm":
                i, f, g, o = (a + b for a, b in zip(fed, own, strict=True))
                c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
                h = _sigmoid(o) * np.tanh(c)
            else:
                r, z = _sigmoid(fed[0] + own[0]), _sigmoid(fed[1] + own[1])
                h = (1 - z) * np.tanh(fed[2] + r * (own[2] + layer.bias_hn)) + z * h
            outputs.append(h)
        x = np.array(outputs)
    return np.asarray(x @ made.readout.T + made.readout_bias)


def _sigmoid(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


@pytest.mark.parametrize("kind", CELLS)
def test_layers_become_stock_modules_that_compute_the_equations(kind: Kind) -> None:
    """``nn.LSTM`` and ``nn.GRU`` themselves, no subclass, agree to 1e-12 in float64; halves are the whole."""
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    for seed in range(8):
        model = native(kind, seed)
        module, tokens = build_torch(model, "float64"), tokens_of(model)
        assert {type(layer) for layer in module.layers} == {torch.nn.LSTM if kind == "lstm" else torch.nn.GRU}
        with torch.no_grad():
            found, _ = module(torch.from_numpy(tokens))
            first, states = module(torch.from_numpy(tokens[:2]))
            second, _ = module(torch.from_numpy(tokens[2:]), states)
        assert np.abs(found.numpy() - by_the_equations(model, tokens)).max() <= 1e-12
        assert torch.equal(torch.cat([first, second]), found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", CELLS)
def test_the_file_is_the_state_dict_in_every_format(kind: Kind, dtype: str, tmp_path: Path) -> None:
    """Names, types and values; a layer without its start loads strictly into a stock module."""
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    from safetensors.torch import load_file as load_tensors

    model = native(kind, 3)
    save_torch(model, tmp_path / "m.safetensors", dtype)
    weights, state = load_tensors(tmp_path / "m.safetensors"), build_torch(model, dtype).state_dict()
    assert sorted(weights) == sorted(state)
    for name, tensor in weights.items():
        assert tensor.dtype == getattr(torch, dtype)
        assert torch.equal(tensor, state[name])
    own = {
        name.removeprefix("layers.1."): tensor
        for name, tensor in weights.items()
        if name.startswith("layers.1.") and name[-2:] not in {"h0", "c0"}
    }
    cell = torch.nn.LSTM if kind == "lstm" else torch.nn.GRU
    cell(model.layers[0].size, model.layers[1].size).load_state_dict(own)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", CELLS)
def test_one_stacked_module_equals_the_chain(kind: Kind, dtype: str) -> None:
    """Padded with zeros to one width: the same outputs, and the padding's units stay exactly 0."""
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    from safetensors.torch import load

    for seed in range(6):
        model = native(kind, seed, layers=4)
        tokens = torch.from_numpy(tokens_of(model)).to(getattr(torch, dtype))
        weights = load(torch_file(model, dtype, stacked=True))
        starts = [
            weights.pop(name).expand(-1, 2, -1).contiguous() for name in ("h0", "c0") if name in weights
        ]
        readout = weights.pop("readout.weight"), weights.pop("readout.bias")
        cell = torch.nn.LSTM if kind == "lstm" else torch.nn.GRU
        rnn = cell(model.input_dim, starts[0].shape[2], num_layers=4, dtype=tokens.dtype)
        rnn.load_state_dict(weights)
        with torch.no_grad():
            values, last = rnn(tokens, tuple(starts) if kind == "lstm" else starts[0])
            outputs = torch.nn.functional.linear(values, *readout)
            wanted, _ = build_torch(model, dtype)(tokens)
        allowed = 64 * float(DTYPES[dtype].roundoff)  # a longer sum may be added up in another order
        assert torch.allclose(outputs, wanted, rtol=allowed, atol=allowed)
        for tensor in last if kind == "lstm" else [last]:
            for number, layer in enumerate(model.layers):
                assert not tensor[number, :, layer.size :].any()


def test_a_stack_is_padded_without_pytorch(tmp_path: Path) -> None:
    """L layers of the largest size, zeros beyond each layer's own, and a note in the metadata."""
    model = native("gru", 5)
    save_torch(model, tmp_path / "m.safetensors", stacked=True)
    arrays = load_file(tmp_path / "m.safetensors")
    size = max(layer.size for layer in model.layers)
    names = {name.format(k) for name in STOCK for k in range(3)}
    assert set(arrays) == names | {"h0", "readout.weight", "readout.bias"}
    assert arrays["h0"].shape == (3, 1, size)
    chain = dense_model(model, "float32", CELLS, "test")
    for number, layer in enumerate(chain.layers):
        hh = arrays[f"weight_hh_l{number}"].reshape(3, size, size)
        assert np.array_equal(hh[:, : layer.size, : layer.size], layer.weight_hh)
        assert np.count_nonzero(hh) == np.count_nonzero(layer.weight_hh)
        own = arrays[f"bias_hh_l{number}"].reshape(3, size)
        assert np.array_equal(own[2, : layer.size], layer.bias_hn)
        assert not own[:2].any()
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        assert json.loads(file.metadata()["lsrl"])["stacked"] is True


def test_what_cannot_be_stacked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """ReLU gates, a model without layers, and a stack that no file holds."""
    plain = compile_program(load_program("majority"), "lstm")
    with pytest.raises(CompileRefusal, match=r"with real gates, not of lstm .--target lstm or gru"):
        torch_file(plain, stacked=True)
    model = native("lstm", 1)
    bare = replace(model, layers=(), readout_wires=(0,), readout=eye(2))
    with pytest.raises(CompileRefusal, match="a stacked module has the layers of an LSTM or GRU"):
        torch_file(bare, stacked=True)
    with pytest.raises(ConfigError, match="cannot export 'int8'"):
        torch_file(model, "int8", stacked=True)
    entries = model.readout.height * model.readout.width + sum(
        matrix.height * matrix.width
        for layer in model.layers
        for matrix in (layer.weight_ih, layer.weight_hh)
    )
    monkeypatch.setattr(dense, "LARGEST_FILE", 2 * entries)
    assert torch_file(model, "bfloat16")
    with pytest.raises(CompileRefusal, match="as dense matrices in bfloat16 takes 0 MiB"):
        torch_file(model, "bfloat16", stacked=True)


@pytest.mark.parametrize("kind", CELLS)
def test_onnx_has_standard_operators_with_default_activations(kind: Kind) -> None:
    """No ``activations`` attribute; ONNX's reference implementation agrees to 1e-12 in float64."""
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    for seed in range(6):
        model = native(kind, seed)
        made = to_onnx(model, "float64")
        onnx.checker.check_model(made, full_check=True)
        nodes = [node for node in made.graph.node if node.op_type == kind.upper()]
        assert len(nodes) == len(model.layers)
        wanted_names = {"hidden_size"} | ({"linear_before_reset"} if kind == "gru" else set())
        for node in nodes:
            assert {each.name for each in node.attribute} == wanted_names
        evaluator: Any = ReferenceEvaluator(made)
        tokens = tokens_of(model)
        (found,) = evaluator.run(None, {"tokens": tokens})
        assert np.abs(found - by_the_equations(model, tokens)).max() <= 1e-12


def test_onnx_has_no_bfloat16() -> None:
    """Its recurrent operators have no such type; the message names the ways out."""
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    model = compile_program(load_program("majority"), "lstm", native=NativeGates(length=100))
    with pytest.raises(ConfigError, match=r"no ONNX export in bfloat16.*float32, or export to PyTorch"):
        to_onnx(model, "bfloat16")
