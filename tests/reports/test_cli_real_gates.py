"""Real gates on the command line: exports to stock modules, and engines held to the program."""

from __future__ import annotations

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.reports.test_cli import lsrl, refused

PAGE = (Path(__file__).parents[2] / "docs" / "real-gates.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("lsrl ")]
NATIVE = ("--activation", "native", "--gate-length", 100)
NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends with status 0 and leaves the files that it names."""
    words = shlex.split(command)
    for option, package in (("torch", "torch"), ("--onnx", "onnx")):
        if option in words and find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    result = lsrl(*words[1:])
    assert result.exit_code == 0, result.output
    for word in words:
        assert "." not in word or (tmp_path / word).stat().st_size > 0


def test_the_page_has_its_commands() -> None:
    """The check above finds them."""
    assert {command.split()[1] for command in COMMANDS} >= {"compile", "verify"}


def test_weights_are_exported_in_the_format_of_the_gates(tmp_path: Path) -> None:
    """A file for a module per layer and one for a single module, unless another format is named."""
    names = [tmp_path / name for name in ("m", "chain", "stack")]
    files = ["-o", names[0], "--torch", names[1], "--torch-stacked", names[2]]
    for extra, dtype in (
        ((), "BF16"), (("--export-format", "float64"), "F64"), (("--gate-format", "float32"), "F32"),
    ):  # fmt: skip
        base = () if "--gate-format" in extra else ("--gate-format", "bfloat16")
        result = lsrl("compile", "parity", "--target", "gru", *NATIVE, *base, *extra, *files, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["exports"] == [str(name) for name in names[1:]]
        for name, first in ((names[1], "layers.0.weight_hh_l0"), (names[2], "weight_hh_l0")):
            with safe_open(name, "np") as file:
                assert file.get_slice(first).get_dtype() == dtype


def test_a_stack_is_for_real_gates(tmp_path: Path) -> None:
    """ReLU gates are refused before any file is written."""
    result = lsrl("compile", "parity", "-o", tmp_path / "m", "--torch-stacked", tmp_path / "s")
    refused(
        result, "a stacked module has the layers of an LSTM or GRU with real gates, not of lstm (--target "
    )
    assert list(tmp_path.iterdir()) == []


@NEEDS_TORCH
def test_engines_are_held_to_the_program() -> None:
    """The outputs of stock modules are exact, and so is their bound; noise in a format is within it."""
    result = lsrl("verify", "parity", "--target", "lstm", "--activation", "native", "--engine", "torch",
                  "--length", 30, "--format", "bfloat16")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[2].split() == ["torch", "bfloat16", "0", "0", "ok"]


def test_what_verify_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Units, a saved model whose program is not at hand, and prompts beyond the gates' length."""
    lsrl("compile", "parity", *NATIVE, "-o", tmp_path / "m")
    refused(lsrl("verify", tmp_path / "m"), "it is held to its program, which is not in the model")
    units = lsrl("verify", "parity", "--activation", "native", "--units")
    refused(units, "--units of real gates have no exact values (leave out --units)")
    longer = lsrl("verify", "parity", *NATIVE, "--length", 200)
    refused(
        longer, "a prompt of 200 tokens, and gates that are made for 100 (a longer --gate-length, or none"
    )


def test_restored_outputs_on_the_command_line(tmp_path: Path) -> None:
    """``--restore`` adds one layer, stands in the settings, and needs real gates."""
    found = [
        json.loads(
            lsrl("compile", "dictionary_exact", *NATIVE, *extra, "-o", tmp_path / "m", "--json").stdout
        )
        for extra in ((), ("--restore", 26))
    ]
    assert found[1]["layers"] == found[0]["layers"] + 1
    assert found[1]["units"] == found[0]["units"] + 26
    assert found[1]["settings"]["restore"] == "26"
    plain = lsrl("compile", "parity", "--restore", 26, "-o", tmp_path / "m")
    refused(plain, "--restore is for real gates (add --activation native)")
