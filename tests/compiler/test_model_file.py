"""Model files hold exact weights, and a damaged one ends in one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from compiler import compile_program, load_model, model_hash, save_model
from compiler.config import CompileConfig
from compiler.errors import ModelFileError
from compiler.expr import Input, LinState
from compiler.loading import load_program
from compiler.model import Model
from compiler.model_file import _digest


def same(left: Model, right: Model) -> bool:
    """Whether two models agree in everything that a file holds."""
    return model_hash(left) == model_hash(right) and all(
        (a.weight_ih, a.weight_hh, a.bias, a.initial, a.initial_cell, a.labels, a.inputs, a.kind)
        == (b.weight_ih, b.weight_hh, b.bias, b.initial, b.initial_cell, b.labels, b.inputs, b.kind)
        for a, b in zip(left.layers, right.layers, strict=True)
    )


@pytest.mark.parametrize("target", ["linear_rnn", "relu_rnn", "lstm", "gated_linear_rnn", "uncompiled"])
def test_a_saved_model_is_the_model(target: str, tmp_path: Path) -> None:
    """Saving and loading give back every weight, label and setting exactly, irrational constants included."""
    config = CompileConfig(conditional="optimized", step="paper", mu=mpq(1, 3))
    model = compile_program(load_program("modulo"), target, config)
    digest = save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert digest == model_hash(loaded)
    assert same(model, loaded)
    assert loaded.settings["mu"] == "1/3"
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small model file."""
    x = Input(1, lo=0, hi=1)
    model = compile_program(LinState(x, [["1/3"]], [[2]], init_state=[1]).program("small"), "relu_rnn")
    path = tmp_path_factory.mktemp("model") / "small"
    save_model(model, path)
    return path.read_bytes()


def forged(content: bytes, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """A model file with changed tensors or manifest and a hash that fits them."""
    tensors = dict(load(content))
    size = int.from_bytes(content[:8], "little")
    manifest = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["manifest"])
    change(tensors, manifest)
    digest = _digest(tensors, manifest)
    return save(tensors, metadata={"manifest": json.dumps(manifest, sort_keys=True), "hash": digest})


def headed(header: bytes) -> bytes:
    """A file that begins with this header."""
    return len(header).to_bytes(8, "little") + header


def setter(key: str, value: object) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """A change of one field of the manifest."""
    return lambda _tensors, manifest: manifest.__setitem__(key, value)


def tensor(name: str, values: list[int]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """A change of one tensor."""
    return lambda tensors, _manifest: tensors.__setitem__(name, np.array(values, dtype=np.int64))


FORGERIES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], None], str]] = {
    "schema": (setter("schema", 99), "schema 99"),
    "nan": (setter("values", ["nan"] * 9), "not an exact finite number"),
    "infinite": (setter("values", ["1/0"] * 9), "divides by zero"),
    "huge exponent": (setter("values", ["1*2^99999999999"] * 9), "out of bounds"),
    "no values": (setter("values", []), "out of bounds"),
    "dimension": (setter("input_dim", 0), "input_dim=0"),
    "boolean dimension": (setter("output_dim", True), "output_dim"),
    "wire": (setter("readout_wires", [7]), "wire"),
    "kind": (lambda _t, m: m["layers"][0].__setitem__("kind", "transformer"), "unknown kind"),
    "size": (lambda _t, m: m["layers"][0].__setitem__("size", 5), "entries, expected|does not split|labels"),
    "label": (lambda _t, m: m["layers"][0].__setitem__("labels", [[1]]), "label"),
    "column": (tensor("layer0.weight_ih.columns", [4]), "out of bounds"),
    "missing tensor": (lambda t, _m: t.pop("readout_bias"), "missing"),
    "rows": (tensor("layer0.weight_ih.rows", [0, 0, 0]), "does not split"),
    "settings": (setter("settings", {"a": 1}), "not all text"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    """A file whose hash fits but whose content is wrong is refused in one line that names the file."""
    change, message = FORGERIES[name]
    path = tmp_path / "forged"
    path.write_bytes(forged(content, change))
    with pytest.raises(ModelFileError, match=message) as refused:
        load_model(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c[:-8], "damaged"),
        (lambda c: c[:100], "truncated: its header claims"),
        (lambda c: (2**31).to_bytes(8, "little") + c[8:], "claims"),
        (lambda c: c[:-1] + bytes([c[-1] ^ 1]), "hash"),
        (lambda c: c[:40] + b"\xff" + c[41:], "damaged: its header cannot be read"),
        (lambda c: headed(b'{"__metadata__":{"manifest":1,"hash":2}}'), "its header is not that of a model"),
    ],
)
def test_damaged_files_are_refused(
    damage: Callable[[bytes], bytes], message: str, content: bytes, tmp_path: Path
) -> None:
    """Truncation, a false header and a flipped bit each give one line."""
    path = tmp_path / "damaged"
    path.write_bytes(damage(content))
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (b"", " (it is empty)"),
        (b"abc", ""),
        (b"ForEach:\n    x = Input(dim=1)\n    return x\n", ""),
        (b"PK\x03\x04" + bytes(5000), ""),
        (b"[" * 4000, ""),
        (headed(b"[" * 3996), ""),
        (headed(b"{}"), " (it is a safetensors file of something else)"),
        (
            save({"weight": np.zeros(3)}, metadata={"hash": "x"}),
            " (it is a safetensors file of something else)",
        ),
    ],
    ids=["empty", "short", "program", "zip", "brackets", "nested", "no tensors", "other weights"],
)
def test_a_file_of_something_else_is_no_damaged_model(found: bytes, what: str, tmp_path: Path) -> None:
    """What never was a model file is called that, and the way to get one is named."""
    path = tmp_path / "something"
    path.write_bytes(found)
    with pytest.raises(ModelFileError) as refused:
        load_model(path)
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.message == f"{path}: not a model file of lsrl-stability{what}"
    assert "lsrl compile PROGRAM -o MODEL" in (diagnostic.hint or "")


def test_a_missing_file_is_an_error_of_the_file(tmp_path: Path) -> None:
    """A path that is not there is named."""
    with pytest.raises(ModelFileError, match="nowhere"):
        load_model(tmp_path / "nowhere")


@settings(max_examples=150)
@given(data=st.data())
def test_flipped_bytes_never_escape(
    data: st.DataObject, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any change of a few bytes gives our error or (in an unread place) the same model."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(bytes(changed))
    try:
        loaded = load_model(path)
    except ModelFileError:
        return
    original = tmp_path_factory.getbasetemp() / "original"
    original.write_bytes(content)
    assert same(loaded, load_model(original))
