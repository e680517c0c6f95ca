"""``lsrl verify``, and the exports of ``lsrl compile``."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from compiler.model_file import load_model
from reports.cli import verify as command
from stability.engines import registry
from stability.engines.native.engine import NativeEngine
from stability.formats import FLOAT16
from stability.verify import model_prompts
from tests.reports.test_cli import lsrl, refused
from tests.stability.test_forward_error import Changed

INSTALLED = [name for name, needs in command.PACKAGES.items() if all(find_spec(each) for each in needs)]


def test_verify_compares_every_installed_engine(tmp_path: Path) -> None:
    """A program and its saved model give the same table, one line per engine, and status 0."""
    options = ["--length", 30, "--prompts", 2, "--seed", 4]
    result = lsrl("verify", "majority", "--target", "gru", *options)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "majority as gru: 2 prompts of 30 tokens, exact values from mpmath120"
    assert [line.split() for line in lines[2:]] == [[name, "float32", "0", "0", "ok"] for name in INSTALLED]
    lsrl("compile", "majority", "--target", "gru", "-o", tmp_path / "m")
    assert lsrl("verify", tmp_path / "m", *options).stdout == result.stdout


def test_verify_as_json() -> None:
    """Numbers, places and verdicts, with every unit compared."""
    result = lsrl(
        "verify", "continuous", "--target", "linear_rnn", "--units", "--engine", "scalar",
        "--engine", "native",
        "--length", 20, "--prompts", 1, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert (shown["target"], shown["prompts"], shown["length"]) == ("linear_rnn", 1, 20)
    assert [each["engine"] for each in shown["engines"]] == ["scalar", "native"]
    for each in shown["engines"]:
        assert 0 < each["difference"] <= each["bound"]
        assert each["place"].startswith("layer ")
        assert each["verdict"] == "ok"


def test_an_engine_that_differs_is_told_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that computes in float16 while it says float32: status 1, with the place."""
    monkeypatch.setitem(registry.ENGINES, "scalar", lambda: Changed(fmt=FLOAT16))
    result = lsrl("verify", "continuous", "--engine", "scalar", "--length", 20, "--prompts", 1)
    assert result.exit_code == 1
    assert "differs" in result.stdout
    assert "scalar: beyond the bound at prompt 0, step " in result.stdout


def test_values_without_a_bound_are_undecided(tmp_path: Path) -> None:
    """A constant that is infinite in float16: status 3, and the reason."""
    source = tmp_path / "big.lsrl"
    source.write_text("ForEach:\n    x = Input(dim=1)\n    return Linear(x, A=[[1e6]])\n")
    result = lsrl("verify", source, "--engine", "native", "--format", "float16", "--length", 3, "--json")
    assert result.exit_code == 3
    (found,) = json.loads(result.stdout)["engines"]
    assert (found["verdict"], found["unbounded"], found["overflows"]) == ("undecided", 12, 1)
    assert found["bound"] is None
    shown = lsrl("verify", source, "--engine", "native", "--format", "float16", "--length", 3).stdout
    assert "native: 1 constants of the model are infinite in float16" in shown


@pytest.mark.skipif("onnxruntime" not in INSTALLED, reason="onnx and onnxruntime are not installed")
def test_an_engine_without_the_format_is_left_out_or_refused() -> None:
    """By default it is named with its reason; asked for by name, it is an error."""
    arguments = ["verify", "majority", "--format", "float64", "--length", 5]
    result = lsrl(*arguments)
    assert result.exit_code == 0, result.output
    assert "onnxruntime was left out: ONNX Runtime cannot run lstm in float64" in result.stdout
    refused(lsrl(*arguments, "--engine", "onnxruntime"), "cannot run lstm in float64")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "unknown program"),
        (["majority", "--engine", "abacus"], "no engine 'abacus' to verify (one of native"),
        (["majority", "--engine", "mpmath"], "no engine 'mpmath' to verify"),
        (["majority", "--format", "mpmath50"], "no error bound in mpmath50"),
        (["majority", "--format", "float13"], "unknown format"),
        (["majority", "--target", "tpu"], "unknown target"),
        (["majority", "--length", "0"], "--length 0"),
        (["majority", "--prompts", "0"], "--prompts 0"),
        (["majority", "--seed", "-1"], "negative --seed"),
    ],
)
def test_verify_refuses_in_one_line(arguments: list[str], words: str) -> None:
    """Every wrong option is one line, and status 2."""
    refused(lsrl("verify", *arguments), words)


def test_a_model_has_its_target(tmp_path: Path) -> None:
    """--target and --param belong to programs."""
    lsrl("compile", "majority", "-o", tmp_path / "m")
    refused(lsrl("verify", tmp_path / "m", "--target", "lstm"), "is a compiled model")


def test_prompts_of_a_model_without_a_program(tmp_path: Path) -> None:
    """A library program's model gets its prompts; another one multiples of 1/64, even under that name."""
    lsrl("compile", "modulo", "--param", "n=5", "-o", tmp_path / "m")
    model = load_model(tmp_path / "m")
    drawn = model_prompts(model, prompts=2, length=9, seed=1)
    assert drawn.shape == (2, 9, model.input_dim)
    assert drawn.dtype == np.int64
    (tmp_path / "modulo.lsrl").write_text("ForEach:\n    x = Input(dim=3)\n    return x\n")
    lsrl("compile", tmp_path / "modulo.lsrl", "-o", tmp_path / "m")
    other = model_prompts(load_model(tmp_path / "m"), prompts=2, length=9, seed=1)
    assert other.shape == (2, 9, 3)
    assert (other * 64 == np.rint(other * 64)).all()
    assert np.abs(other).max() <= 1
    assert np.unique(other).size > 20


# ---------------------------------------------------------------- lsrl compile --onnx --torch


@pytest.mark.skipif(find_spec("onnx") is None, reason="onnx is not installed")
def test_compile_writes_exports(tmp_path: Path) -> None:
    """The files stand beside the model, rounded to the format asked for, and are named."""
    import onnx

    model, graph, weights = (tmp_path / name for name in ("m", "m.onnx", "m.safetensors"))
    files = ["-o", model, "--onnx", graph, "--torch", weights, "--export-format", "float16"]
    result = lsrl("compile", "majority", *files)
    assert result.exit_code == 0, result.output
    assert f"{graph}  weights rounded to float16" in result.stdout.splitlines()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.onnx", "m.safetensors"]
    onnx.checker.check_model(onnx.load(graph), full_check=True)
    assert {array.dtype for array in load_file(weights).values()} == {np.dtype(np.float16)}
    listed = json.loads(lsrl("compile", "majority", *files, "--json").stdout)
    assert listed["exports"] == [str(graph), str(weights)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--torch", "{folder}/w", "--export-format", "int8"], "cannot export 'int8'"),
        (["--torch", "{folder}/no/w"], "No such file"),
        (["--torch", "{folder}/m"], "two of the files to write are the same"),
        (["--torch", "{folder}/w", "--export-format", "float16", "--lam", "1e10"], "infinite in float16"),
    ],
)
def test_compile_refuses_exports_before_it_writes(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A refused export leaves no file, not even the model."""
    given = [each.format(folder=tmp_path) for each in arguments]
    refused(lsrl("compile", "dictionary", "--conditional", "direct", "-o", tmp_path / "m", *given), words)
    assert list(tmp_path.iterdir()) == []


def test_the_native_engine_is_always_compared() -> None:
    """``native`` needs no package."""
    assert "native" in INSTALLED
    assert registry.ENGINES["native"] is NativeEngine
