"""PyTorch weights: the file, the stock layers it fits, and the modules that are built."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from safetensors import safe_open
from safetensors.numpy import load_file

import compiler.export
from compiler import CompileConfig, compile_program, load_program
from compiler.errors import ConfigError
from compiler.evaluate import evaluate
from compiler.export import build_torch, save_torch
from compiler.model import Kind, Model
from stability.subject import subject
from tests.stability.models import random_model

KINDS: tuple[Kind, ...] = ("linear", "relu", "state", "gate", "glu", "rnn", "lstm", "gru", "conv")
NEEDS_TORCH = "PyTorch is not installed"


def exact_run(target: str) -> tuple[Model, npt.NDArray[np.float32], list[tuple[mpq, ...]]]:
    """``dictionary_exact`` for a target without products, a prompt (T, 1, dim), and its exact outputs."""
    what = subject("dictionary_exact")
    model = compile_program(what.source, target, CompileConfig(conditional="optimized"))
    tokens = what.prompt(1, 80)
    wanted = evaluate(model, tokens.tolist())
    assert any(row[0] != 0 for row in wanted)
    return model, tokens[:, np.newaxis].astype(np.float32), wanted


def test_a_file_needs_no_pytorch_and_says_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays by name, of the format asked for, and in the metadata the wiring of the layers."""
    monkeypatch.setitem(sys.modules, "torch", None)
    model = random_model(np.random.default_rng(2), layers=30, graph=True, kinds=KINDS)
    save_torch(model, tmp_path / "m.safetensors", "float16")
    arrays = load_file(tmp_path / "m.safetensors")
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        notes = json.loads(file.metadata()["lsrl"])
    assert notes["kinds"] == [layer.kind for layer in model.layers]
    assert notes["inputs"] == [list(layer.inputs) for layer in model.layers]
    assert notes["readout_wires"] == list(model.readout_wires)
    for number, layer in enumerate(model.layers):
        name = {"rnn": "rnn.weight_hh_l0"}.get(layer.kind, "weight_hh")
        assert (f"layers.{number}.{name}" in arrays) == (layer.kind in {"state", "rnn", "lstm", "gru"})


def test_the_file_is_the_state_dict_of_the_module(tmp_path: Path) -> None:
    """Names, shapes and bits of the file are those of the module, for every kind and format."""
    pytest.importorskip("torch", reason=NEEDS_TORCH)
    model = random_model(np.random.default_rng(2), layers=30, graph=True, kinds=KINDS)
    for dtype in ("float16", "float32", "float64"):
        save_torch(model, tmp_path / "m.safetensors", dtype)
        arrays = load_file(tmp_path / "m.safetensors")
        state = {name: value.numpy() for name, value in build_torch(model, dtype).state_dict().items()}
        assert sorted(state) == sorted(arrays)
        for name, array in arrays.items():
            assert (state[name].dtype, state[name].tolist()) == (array.dtype, array.tolist())


def test_relu_rnn_runs_in_stock_layers(tmp_path: Path) -> None:
    """The tensors of each layer load, strictly, into ``nn.RNN``; a chain of them is exact."""
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    model, tokens, wanted = exact_run("relu_rnn")
    save_torch(model, tmp_path / "m.safetensors")
    weights = {name: torch.from_numpy(array) for name, array in load_file(tmp_path / "m.safetensors").items()}
    x = torch.from_numpy(tokens)
    for number, layer in enumerate(model.layers):
        prefix = f"layers.{number}.rnn."
        own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        rnn = torch.nn.RNN(x.shape[2], layer.size, nonlinearity="relu")
        rnn.load_state_dict(own)
        x, _ = rnn(x, weights[f"layers.{number}.initial"].expand(1, 1, -1))
    outputs = x @ weights["readout.weight"].T + weights["readout.bias"]
    assert [tuple(mpq(v) for v in row) for row in outputs[:, 0].tolist()] == wanted


@pytest.mark.parametrize("target", ["relu_rnn", "lstm", "gru", "linear_rnn"])
def test_a_module_continues_from_its_states(target: str) -> None:
    """Two halves with the states handed over are the whole, and the whole is exact."""
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    model, tokens, wanted = exact_run(target)
    module, given = build_torch(model), torch.from_numpy(tokens)
    with torch.no_grad():
        whole, _ = module(given)
        first, states = module(given[:25])
        second, _ = module(given[25:], states)
    assert torch.equal(torch.cat([first, second]), whole)
    assert [tuple(mpq(v) for v in row) for row in whole[:, 0].tolist()] == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_computes_its_equations(kind: Kind) -> None:
    """Random weights, float64, stacks and graphs: the exact outputs to 1e-12."""
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    for seed in range(6):
        generator = np.random.default_rng(seed)
        model = random_model(generator, layers=3, graph=seed % 2 == 0, kinds=(kind,))
        tokens = generator.integers(-8, 9, size=(5, model.input_dim)) / 4
        with torch.no_grad():
            found, _ = build_torch(model, "float64")(torch.from_numpy(tokens[:, np.newaxis]))
        wanted = np.array(
            evaluate(model, [[mpq(value) for value in row] for row in tokens.tolist()]), dtype=np.float64
        )
        assert np.abs(found[:, 0].numpy() - wanted).max() <= 1e-12 * (1 + np.abs(wanted).max())


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyTorch the module cannot be built, and the message says what to install."""
    monkeypatch.setitem(sys.modules, "compiler.export.torch_layers", None)
    monkeypatch.delattr(compiler.export, "torch_layers", raising=False)
    with pytest.raises(ConfigError, match=r"PyTorch is not installed .pip install 'lsrl-stability\[torch\]'"):
        build_torch(compile_program(load_program("majority"), "lstm"))
