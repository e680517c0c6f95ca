"""``lsrl golden`` and ``lsrl score``: exit 0, 1 or 2, and one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from compiler import compile_program, load_program
from reports.cli.app import app
from stability import run
from stability.golden import SPECIAL, read_case


def lsrl(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(each) for each in arguments])


def refused(result: Result, *words: str) -> None:
    """Exit 2, one line on stderr, nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


def made(folder: Path, *arguments: object) -> Path:
    """A case."""
    place = folder / "case.npz"
    result = lsrl("golden", *arguments, "-o", place)
    assert result.exit_code == 0, result.output
    return place


def outputs(folder: Path, values: Any) -> Path:
    """A file of outputs."""
    np.save(folder / "out.npy", values)
    return folder / "out.npy"


@pytest.mark.parametrize("fmt", ["float16", "float32", "float64"])
def test_our_own_outputs_pass(fmt: str, tmp_path: Path) -> None:
    """What our engine computes from the same weights and tokens passes in every format."""
    case = made(tmp_path, "dictionary_exact", "--param", "n=2", "--target", "relu_rnn", "--length", 80)
    model = compile_program(load_program("dictionary_exact", n=2), target="relu_rnn")
    with np.load(case, allow_pickle=False) as opened:
        out = outputs(tmp_path, run(model, opened["tokens"], fmt))
    result = lsrl("score", case, out, "--format", fmt)
    assert result.exit_code == 0, result.output
    assert "PASS" in result.stdout
    assert "horizon > 80" in result.stdout
    found = json.loads(lsrl("score", case, out, "--format", fmt, "--json").stdout)
    assert (found["passed"], found["horizon"], found["first_bad"], found["reasons"]) == (True, None, None, [])


def test_a_failure_exits_with_1_and_names_its_reasons(tmp_path: Path) -> None:
    """A wrong output, an inf and lost bits are each named, with their step."""
    case = made(tmp_path, "majority", "--length", 30)
    with np.load(case) as opened:
        values = opened["reference/outputs"].copy()
    values[7] += 1
    values[9] = np.inf
    result = lsrl("score", case, outputs(tmp_path, values), "--format", "float32")
    assert result.exit_code == 1
    assert "horizon 7 " in result.stdout
    assert "overflow from step 9" in result.stdout
    for words in (
        "FAIL: overflow at step 9",
        "FAIL: 0.0 bits left at step 7",
        "FAIL: a wrong output at step 7",
    ):
        assert words in result.stdout
    found = json.loads(lsrl("score", case, outputs(tmp_path, values), "--format", "float32", "--json").stdout)
    assert len(found["reasons"]) == 3


def test_options_of_the_verdict(tmp_path: Path) -> None:
    """--min-bits and --against change it; outputs that a format does not hold are noted."""
    case = made(tmp_path, "--case", "state16")
    out = outputs(tmp_path, read_case(case).trajectories["state-float32"].high)
    assert lsrl("score", case, out, "--format", "float32").exit_code == 0
    short = lsrl("score", case, out, "--format", "bfloat16")
    assert short.exit_code == 1
    assert "state-float32 8.0" in short.stdout
    assert "bfloat16 does not hold" in short.stdout
    assert lsrl("score", case, out, "--format", "bfloat16", "--min-bits", 2).exit_code == 0
    assert lsrl("score", case, out, "--format", "bfloat16", "--against", "reference").exit_code == 0
    refused(lsrl("score", case, out, "--format", "bfloat16", "--against", "x"), "state-bfloat16")
    refused(lsrl("score", case, out, "--format", "bfloat16", "--min-bits", 9), "0 to 8")
    refused(lsrl("score", case, out, "--format", "float8"), "one of float16, bfloat16")


def test_bfloat16_bits_are_scored(tmp_path: Path) -> None:
    """A gate of 1 in bfloat16, given as its bits, passes; one unit in the last place fails."""
    case = made(tmp_path, "--case", "gate-one", "--length", 50)
    bits = (read_case(case).trajectories["reference"].high.astype(np.float32).view(np.uint32) >> 16).astype(
        np.uint16
    )
    assert lsrl("score", case, outputs(tmp_path, bits[None]), "--format", "bfloat16").exit_code == 0
    bits[49] += 1
    failed = lsrl("score", case, outputs(tmp_path, bits), "--format", "bfloat16")
    assert failed.exit_code == 1
    assert "not equal to the reference at step 49" in failed.stdout


@pytest.mark.parametrize("name", SPECIAL)
def test_every_special_case_is_made_by_name(name: str, tmp_path: Path) -> None:
    """--json tells what is in it, and nothing else is printed."""
    result = lsrl("golden", "--case", name, "--seed", 4, "-o", tmp_path / "case.npz", "--json")
    shown = json.loads(result.stdout)
    assert (shown["case"], shown["seed"], shown["length"]) == (name, 4, 256)
    assert shown["rung"].startswith("mpmath")
    assert set(shown["trajectories"]) == set(read_case(tmp_path / "case.npz").trajectories)


def test_a_users_program_has_cases_too(tmp_path: Path) -> None:
    """Prompts come from its declared range; parameters and configuration are recorded."""
    program = tmp_path / "mine.lsrl"
    program.write_text(
        "param g = 1/2\nForEach:\n    x = Input(dim=1, lo=-1, hi=1)\n"
        "    s = LinState(x, A=[[g]], B=[[1]], init_state=[[0]])\n    return ReLU(s)\n"
    )
    result = lsrl(
        "golden", program, "--param", "g=1/3", "-o", tmp_path / "case.npz", "--json", "--config", "paper"
    )
    shown = json.loads(result.stdout)
    assert (shown["settings"]["param g"], shown["settings"]["step"]) == ("1/3", "paper")
    assert any("weight" in name for name in shown["rounded"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a program or a --case"),
        (("majority", "--case", "decay"), "name a program or a --case"),
        (("--case", "gate-two"), "gate-one"),
        (("nothing",), "unknown program"),
        (("majority", "--target", "transformer"), "unknown target"),
        (("majority", "--param", "n=3"), "n"),
        (("linear_attention", "--target", "relu_rnn"), "no gates"),
        (("--case", "decay", "--param", "gamma=2"), "no decay"),
        (("--case", "state16", "--length", "5"), "at least"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """Exit 2, and no file, not even a part of one."""
    refused(lsrl("golden", *arguments, "-o", tmp_path / "case.npz"), words)
    assert list(tmp_path.iterdir()) == []


def test_states_and_recent_bits_are_told(tmp_path: Path) -> None:
    """Two scales, the states and the cells each have their line; a late error fails by the second scale."""
    case = made(tmp_path, "linear_attention", "--length", 150)
    with np.load(case) as opened:
        given = {
            name.removeprefix("reference/"): opened[name]
            for name in opened.files
            if name.startswith(("reference/outputs", "reference/layer", "reference/cell"))
            and not name.endswith("_low")
        }
    np.savez(tmp_path / "out.npz", **given)
    done = lsrl("score", case, tmp_path / "out.npz", "--format", "float32")
    assert done.exit_code == 0, done.output
    for words in (
        "bits left of what the last 64 steps hold: 24.0 at worst (step 0); our engine leaves ",
        "states of 3: 24.0 bits left at worst (layer0 unit 0, step 0)",
        "cells of 3: 24.0 bits left at worst (cell_layer0 unit 0, step 0)",
        "PASS: at least 12 bits left at every step, and 12 of what recent ones hold",
    ):
        assert words in done.stdout
    given["cell_layer2"][100] *= 1.1
    np.savez(tmp_path / "out.npz", **given)
    failed = lsrl("score", case, tmp_path / "out.npz", "--format", "float32")
    assert failed.exit_code == 1
    assert "bits left of cell_layer2 at step 100, unit " in failed.stdout
    shown = json.loads(lsrl("score", case, tmp_path / "out.npz", "--format", "float32", "--json").stdout)
    assert {each["name"] for each in shown["states"]} == set(given) - {"outputs"}
    assert shown["recent_min"] == 12


def test_missing_and_damaged_files_are_one_line(tmp_path: Path) -> None:
    """A case or outputs that are not there, or are something else."""
    case = made(tmp_path, "--case", "decay", "--length", 16)
    out = outputs(tmp_path, np.zeros((16, 1)))
    refused(lsrl("score", tmp_path / "no.npz", out, "--format", "float16"), "no.npz")
    refused(lsrl("score", case, tmp_path / "no.npy", "--format", "float16"), "no.npy")
    refused(lsrl("score", out, out, "--format", "float16"), "not a golden case")
    refused(lsrl("score", case, case, "--format", "float16"), "an .npz without the array 'outputs'")
    refused(lsrl("score", tmp_path, out, "--format", "float16"), "directory")
    case.write_bytes(case.read_bytes()[:900])
    refused(lsrl("score", case, out, "--format", "float16"), "damaged")


def test_bfloat16_runs(tmp_path: Path) -> None:
    """``lsrl run`` in bfloat16 gives the outputs of a program that it holds exactly."""
    tokens = tmp_path / "tokens.csv"
    tokens.write_text("1\n0\n1\n")
    done = lsrl("run", "majority", "--tokens", tokens, "--format", "bfloat16")
    assert done.output.splitlines() == ["step,y0", "0,1.0", "1,0.0", "2,1.0"]
