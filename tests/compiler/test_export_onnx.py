"""The ONNX graph: valid, of standard operators, and right in ONNX's own reference implementation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq

from compiler import CompileConfig, compile_program, load_program
from compiler.errors import ConfigError
from compiler.evaluate import evaluate
from compiler.export import onnx_file, save_onnx, to_onnx
from compiler.model import Kind, Model
from tests.stability.models import random_model

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
from onnx.reference import ReferenceEvaluator  # noqa: E402 -- after the check that it is there

KINDS: tuple[Kind, ...] = ("linear", "relu", "state", "gate", "glu", "rnn", "lstm", "gru")


def exact_outputs(model: Model, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The exact outputs for (T, B, dim) tokens, rounded to float64."""
    columns = [
        evaluate(model, [[mpq(value) for value in row] for row in tokens[:, b].tolist()])
        for b in range(tokens.shape[1])
    ]
    return np.array(columns, dtype=np.float64).swapaxes(0, 1)


@pytest.mark.parametrize("kind", ["linear", "relu", "state", "gate", "glu"])
@pytest.mark.parametrize("graph", [False, True])
def test_the_graph_computes_the_model(kind: Kind, graph: bool) -> None:
    """In ONNX's reference implementation, in float64, for any T and B, stacks and graphs alike.

    That implementation knows no Relu in RNN, LSTM and GRU; those are
    judged by ONNX Runtime in tests/stability/test_third_party.py.
    """
    for seed in range(6):
        generator = np.random.default_rng(seed)
        model = random_model(generator, layers=3, graph=graph, kinds=(kind,))
        tokens = generator.integers(-8, 9, size=(5, 2, model.input_dim)) / 4
        made = to_onnx(model, "float64")
        onnx.checker.check_model(made, full_check=True)
        evaluator: Any = ReferenceEvaluator(made)
        (found,) = evaluator.run(None, {"tokens": tokens})
        wanted = exact_outputs(model, tokens)
        assert np.abs(found - wanted).max() <= 1e-12 * (1 + np.abs(wanted).max())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_kind_is_valid_with_and_without_states(dtype: str) -> None:
    """The checker accepts the graph with its shapes; states are inputs with defaults, and outputs."""
    model = random_model(np.random.default_rng(2), layers=30, graph=True, kinds=KINDS)
    assert {layer.kind for layer in model.layers} == set(KINDS)
    plain = to_onnx(model, dtype)
    onnx.checker.check_model(plain, full_check=True)
    assert [each.name for each in plain.graph.input] == ["tokens"]
    assert [each.name for each in plain.graph.output] == ["outputs"]
    stateful = to_onnx(model, dtype, states=True, wires=[0, 3])
    onnx.checker.check_model(stateful, full_check=True)
    states = {each.name.partition(".")[2] for each in stateful.graph.input if each.name != "tokens"}
    after = {each.name.partition(".")[2] for each in stateful.graph.output if each.name.startswith("next.")}
    recurrent = {
        str(k) for k, layer in enumerate(model.layers) if layer.kind in {"state", "rnn", "lstm", "gru"}
    }
    cells = {f"{k}.cell" for k, layer in enumerate(model.layers) if layer.kind == "lstm"}
    assert states == after == recurrent | cells
    defaults = {each.name for each in stateful.graph.initializer}
    assert {f"state.{name}" for name in states} <= defaults


@pytest.mark.parametrize(
    ("target", "operator", "activations"), [("relu_rnn", "RNN", 1), ("lstm", "LSTM", 3), ("gru", "GRU", 2)]
)
def test_targets_become_standard_operators(target: str, operator: str, activations: int) -> None:
    """One operator per layer with Relu everywhere, and nothing of a domain of ours."""
    program = load_program("dictionary_exact")
    model = compile_program(program, target, CompileConfig(conditional="optimized"))
    made = to_onnx(model)
    layers = [node for node in made.graph.node if node.op_type == operator]
    assert len(layers) == len(model.layers)
    for node in layers:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert attributes["activations"] == [b"Relu"] * activations
        assert attributes.get("linear_before_reset", 0) == (1 if operator == "GRU" else 0)
    assert {node.domain for node in made.graph.node} == {""}
    assert [each.domain for each in made.opset_import] == [""]
    notes = {each.key: each.value for each in made.metadata_props}
    assert (notes["program"], notes["target"], notes["layout"]) == ("dictionary_exact", target, "T,B,dim")


def test_the_file_is_the_graph(tmp_path: Path) -> None:
    """Saving twice gives the same bytes, and loading gives the graph back."""
    model = compile_program(load_program("majority"), "lstm")
    save_onnx(model, tmp_path / "m.onnx")
    content = (tmp_path / "m.onnx").read_bytes()
    assert content == onnx_file(model)
    assert onnx.load(tmp_path / "m.onnx") == to_onnx(model)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnx the export says what to install."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"onnx is not installed .pip install 'lsrl-stability\[onnx\]'"):
        to_onnx(compile_program(load_program("majority"), "lstm"))
