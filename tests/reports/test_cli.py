"""Every command, with good and with hostile input: exit 0, or one line for each mistake and exit 2."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from compiler import compile_program, load_model
from compiler.library import LIBRARY
from compiler.loading import load_program
from reports.cli import drift as drift_module
from reports.cli.app import app
from stability import run

LSRL = [sys.executable, "-c", "from reports.cli import main; main()"]


def lsrl(*arguments: object, stdin: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)


def refused(result: Result, *words: str, lines: int = 1) -> None:
    """A user's mistake: exit 2, one line for each on stderr, no traceback, nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    told = result.stderr.splitlines()
    assert len(told) == lines, result.stderr
    assert all(line.startswith("error: ") for line in told)
    assert all(word in result.stderr for word in words), result.stderr


def program(folder: Path, body: str) -> Path:
    """A program's file."""
    path = folder / "mine.lsrl"
    path.write_text(f"ForEach:\n{body}", encoding="utf-8")
    return path


ACCUMULATE = """    x = Input(dim=2)
    s = LinState(x, A=eye(2), B=eye(2), init_state=zeros(2, 1))
    return s
"""


def tokens(folder: Path, text: str) -> Path:
    """A CSV file."""
    path = folder / "tokens.csv"
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- programs, show


def test_programs_lists_the_library() -> None:
    """Every program of the library is listed with its parameters, as a table and as JSON."""
    shown, listed = lsrl("programs"), json.loads(lsrl("programs", "--json").stdout)
    assert [each["name"] for each in listed] == list(LIBRARY)
    assert all(name in shown.stdout for name in LIBRARY)
    assert {each["name"]: each["parameters"] for each in listed}["modulo"] == {"n": "7"}


def test_show_prints_graph_ranges_and_findings(tmp_path: Path) -> None:
    """Nodes of the source program with dim, line and range, then what fails in the format."""
    result = lsrl("show", program(tmp_path, ACCUMULATE))
    assert result.exit_code == 0
    assert "LinState" in result.stdout
    assert "no findings" in result.stdout
    counted = json.loads(lsrl("show", "dictionary", "--param", "n=2", "--length", 5000, "--json").stdout)
    assert counted["parameters"]["n"] == "2"
    assert {node["name"] for node in counted["nodes"]} >= {"input", "global_ctr", "match"}
    match = next(node for node in counted["nodes"] if node["name"] == "match")
    assert (match["operation"], match["dim"], match["range"]) == ("f_and", 1, "{0, 1}")
    assert [counted["nodes"][each]["name"] for each in match["reads"]] == ["same", "compare_mode"]
    assert match["type"] == "Boolean"
    assert any(each["kind"] == "counter" and each["line"] for each in counted["findings"])


def test_show_prints_what_states_are() -> None:
    """Each state has its kind, line and increments, as text and as JSON."""
    done = lsrl("show", "copy_delay")
    assert re.search(r"6 +latest\[0:4\] +shift register of 4 +integer, 0 to 9, at", done.stdout)
    states = json.loads(lsrl("show", "balanced", "--json").stdout)["states"]
    assert [(each["state"], each["line"], each["kind"], each["increments"]) for each in states] == [
        ("depth", 5, "accumulator", "integer, -1 to 1"),
        ("steps_below", 7, "accumulator", "Boolean"),
    ]
    assert [(each["sign"], each["trends"]) for each in states] == [
        ("either", ["free"]),
        ("nonnegative", ["never falls"]),
    ]


def test_show_reports_all_mistakes_of_a_program(tmp_path: Path) -> None:
    """Two wrong lines are two lines of error, each with its place."""
    path = program(tmp_path, "    x = Input(dim=2)\n    y = ReLU(a)\n    z = ReLU(b)\n    return x\n")
    refused(lsrl("show", path), "mine.lsrl:3", "mine.lsrl:4", lines=2)


# ---------------------------------------------------------------- compile


def test_compile_prints_sizes_and_saves_the_model(tmp_path: Path) -> None:
    """The saved model is the compiled one; --json prints nothing but JSON."""
    place = tmp_path / "model.safetensors"
    result = lsrl(
        "compile",
        "majority",
        "--target",
        "relu_rnn",
        "--config",
        "paper",
        "--mu",
        "auto",
        "-o",
        place,
        "--json",
    )
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    model = load_model(place)
    assert (shown["layers"], shown["nonzeros"]) == (len(model.layers), model.nonzeros)
    assert (shown["settings"]["step"], shown["settings"]["mu"], shown["target"]) == (
        "paper",
        "auto",
        "relu_rnn",
    )
    text = lsrl("compile", "majority", "-o", place).stdout
    assert f"{len(load_model(place).layers)} layers" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], ["unknown program", "lsrl programs"]),
        (["missing.lsrl"], ["missing.lsrl", "no such file"]),
        (["majority", "--target", "tpu"], ["unknown target 'tpu'", "lstm"]),
        (["majority", "--config", "best"], ["unknown configuration 'best'", "stable"]),
        (["majority", "--conditional", "maybe"], ["unknown conditional"]),
        (["majority", "--step", "big"], ["unknown step form"]),
        (["majority", "--complement", "none"], ["unknown complement"]),
        (["majority", "--mu", "nan"], ["mu='nan' is not a number"]),
        (["majority", "--mu", "1e999999999"], ["is not a number"]),
        (["majority", "--lam", "0"], ["not positive"]),
        (["majority", "--param", "q=1"], ["unknown parameter 'q'"]),
        (["modulo", "--param", "n"], ["has no value"]),
        (["modulo", "--param", "n=1/0"], ["not a number"]),
        (["modulo", "--param", "n=3", "--param", "n=4"], ["given twice"]),
        (
            ["dictionary", "--target", "linear_rnn", "--conditional", "multiplicative"],
            ["linear_rnn has no gates"],
        ),
    ],
)
def test_compile_refuses_in_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    """Every wrong option is one line that names it, and no file is left."""
    refused(lsrl("compile", *arguments, "-o", tmp_path / "model"), *words)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    """A folder in place of a file, a missing folder, a file in place of a folder."""
    (tmp_path / "file").write_text("")
    refused(lsrl("compile", "majority", "-o", tmp_path), "is a folder")
    refused(lsrl("compile", "majority", "-o", tmp_path / "no" / "model"), "No such file")
    refused(lsrl("drift", "majority", "-o", tmp_path / "file"), "cannot make the folder")
    refused(lsrl("drift", "majority", "-o", tmp_path / "file" / "deeper"), "cannot make the folder")
    refused(lsrl("run", "majority", "--tokens", "-", "-o", tmp_path / "no" / "out.csv"), "No such file")


# ---------------------------------------------------------------- run


@pytest.mark.parametrize("number_format", ["float16", "float32", "float64", "mpmath30"])
def test_run_streams_what_run_computes(tmp_path: Path, number_format: str) -> None:
    """The rows written are the outputs of one run over the whole prompt, bit for bit."""
    given = np.random.default_rng(1).integers(-9, 10, size=(20_000 if number_format == "float16" else 300, 2))
    path = tmp_path / "tokens.csv"
    np.savetxt(path, given, fmt="%d", delimiter=",", header="a,b", comments="")
    source, out = program(tmp_path, ACCUMULATE), tmp_path / "out.csv"
    assert lsrl("run", source, "--format", number_format, "--tokens", path, "-o", out).exit_code == 0
    head, *rows = out.read_text().splitlines()
    wanted = run(compile_program(load_program(source), "lstm"), given, number_format)
    assert head == "step,y0,y1"
    assert [int(row.split(",")[0]) for row in rows] == list(range(len(given)))
    assert [[float(value) for value in row.split(",")[1:]] for row in rows] == wanted.astype(float).tolist()


def test_run_reads_decimals_exactly(tmp_path: Path) -> None:
    """Ten times 0.1 is 1 in mpmath, because 0.1 is 1/10."""
    source = program(
        tmp_path, "    x = Input(dim=1)\n    return LinState(x, A=eye(1), B=eye(1), init_state=[[0]])\n"
    )
    result = lsrl("run", source, "--format", "mpmath40", "--tokens", tokens(tmp_path, "0.1\n" * 10))
    assert abs(float(result.stdout.splitlines()[-1].split(",")[1]) - 1) < 1e-30
    assert result.stdout.splitlines()[1].startswith("0,0.1")


def test_several_targets_share_one_table(tmp_path: Path) -> None:
    """With more than one target every step has one row per target, in order."""
    result = lsrl(
        "run", "majority", "--target", "lstm", "--target", "linear_rnn", "--tokens", "-", stdin="1\n0\n0\n"
    )
    assert result.stdout.splitlines() == [
        "step,target,y0", "0,lstm,1.0", "0,linear_rnn,1.0", "1,lstm,0.0", "1,linear_rnn,0.0", "2,lstm,0.0",
        "2,linear_rnn,0.0",
    ]  # fmt: skip


def test_a_saved_model_runs_like_its_source(tmp_path: Path) -> None:
    """Source and saved model give the same text in every format."""
    model, given = tmp_path / "m.model", tokens(tmp_path, "1\n0\n1\n1\n")
    lsrl("compile", "majority", "--target", "relu_rnn", "-o", model)
    for number_format in ("float16", "float32", "float64", "mpmath50"):
        options = ["--format", number_format, "--tokens", given]
        assert (
            lsrl("run", model, *options).stdout
            == lsrl("run", "majority", "--target", "relu_rnn", *options).stdout
        )
    refused(lsrl("run", model, "--target", "lstm", "--tokens", given), "is a compiled model")
    refused(lsrl("run", given, "--tokens", given), "tokens.csv")


def test_overflow_is_told_and_is_not_a_failure(tmp_path: Path) -> None:
    """A value that overflows is reported with its step on stderr; the exit status stays 0."""
    result = lsrl(
        "run",
        program(tmp_path, ACCUMULATE),
        "--format",
        "float16",
        "--tokens",
        tokens(tmp_path, "1,1\n60000,0\n60000,0\n"),
    )
    assert result.exit_code == 0
    assert "overflowed at step 2 in float16" in result.stderr
    assert "inf" in result.stdout.splitlines()[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n3,nan\n", ["tokens.csv:2", "'nan'"]),
        ("1\n", ["tokens.csv:1", "1 entry", "Input has 2"]),
        ("1,2\nx,2\n", ["tokens.csv:2", "'x'"]),
    ],
)
def test_wrong_tokens_are_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    """A wrong prompt names file, line and value, and leaves no output file."""
    out = tmp_path / "out.csv"
    result = lsrl("run", program(tmp_path, ACCUMULATE), "--tokens", tokens(tmp_path, text), "-o", out)
    refused(result, *words)
    assert not out.exists()
    assert not list(tmp_path.glob("*.part"))


def test_unknown_formats_and_missing_files_are_one_line(tmp_path: Path) -> None:
    """A format that does not exist and a file that does not exist."""
    refused(
        lsrl("run", "majority", "--format", "float13", "--tokens", "-"), "unknown format or policy 'float13'"
    )
    refused(lsrl("run", "majority", "--tokens", tmp_path / "none.csv"), "none.csv", "No such file")
    refused(lsrl("run", "majority", "--tokens", tmp_path), "Is a directory")


def test_usage_errors_exit_2() -> None:
    """A missing option and an unknown command are errors of usage, without a traceback."""
    for arguments in (["run", "majority"], ["fly"], ["compile"], ["show", "majority", "--length", "x"]):
        result = lsrl(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


# ---------------------------------------------------------------- drift


def test_drift_writes_a_report(tmp_path: Path) -> None:
    """Three files, a summary, lines of progress where there is no terminal; twice in one place."""
    arguments = [
        "drift",
        "majority",
        "--length",
        40,
        "--format",
        "float16",
        "--seed",
        3,
        "--jobs",
        1,
        "-o",
        tmp_path / "r",
    ]
    for _ in range(2):
        result = lsrl(*arguments)
        assert result.exit_code == 0, result.output
        assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
            "drift.parquet",
            "index.html",
            "summary.md",
        ]
    assert "Gated against ungated" in result.stdout
    assert "index.html" in result.stdout
    assert "measured 2 of 2" in result.stderr
    frame = pd.read_parquet(tmp_path / "r" / "drift.parquet")
    assert (set(frame["seed"]), set(frame["length"]), set(frame["config"])) == (
        {3},
        {40},
        {"stable", "paper"},
    )


def test_drift_takes_files_and_names(tmp_path: Path) -> None:
    """A user's own file and a library program share one report, under chosen conditionals."""
    source = program(
        tmp_path,
        "    x = Input(dim=1, lo=-1, hi=1)\n    return f_ifelse(f_larger(x, 1/2, mu=64), t=x, f=0)\n",
    )
    arguments = [
        "drift",
        source,
        "modulo",
        "--param",
        "n=3",
        "--length",
        30,
        "--format",
        "float32",
        "--jobs",
        1,
    ]
    result = lsrl(*arguments, "--conditional", "direct", "--config", "paper", "-o", tmp_path / "r")
    assert result.exit_code == 0, result.output
    frame = pd.read_parquet(tmp_path / "r" / "drift.parquet")
    assert set(frame["program"]) == {"mine", "modulo"}
    assert set(frame["conditional"]) == {"direct"}
    assert set(frame.loc[frame["program"] == "modulo", "parameters"]) == {"n=3"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "unknown program"),
        (["majority", "--target", "tpu"], "unknown target"),
        (["majority", "--format", "float13"], "unknown format or policy"),
        (["majority", "--config", "best"], "unknown configuration"),
        (["majority", "--conditional", "maybe"], "unknown conditional"),
        (["majority", "--length", "0"], "--length 0"),
        (["majority", "--seed", "-1"], "negative --seed"),
        (["majority", "--jobs", "0"], "--jobs 0"),
        (["modulo", "--param", "n=x"], "not a number"),
    ],
)
def test_drift_refuses_before_it_starts(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A wrong option is one line, and the folder is not made."""
    refused(lsrl("drift", *arguments, "-o", tmp_path / "r"), words)
    assert list(tmp_path.iterdir()) == []


def test_interruption_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends in one line and status 130."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drift_module, "measure", interrupt)
    result = lsrl("drift", "majority", "-o", tmp_path / "r")
    assert (result.exit_code, result.stderr) == (130, "error: interrupted\n")


# ---------------------------------------------------------------- as a process


def test_a_closed_pipe_is_one_line() -> None:
    """A reader that goes away ends the command with one line and status 2."""
    command = subprocess.Popen(
        [*LSRL, "run", "majority", "--tokens", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    command.stdout.close()
    _, told = command.communicate(b"1\n" * 50_000, timeout=120)
    assert command.returncode == 2
    assert told.decode().splitlines() == ["error: the output was closed before everything was written"]


def test_ctrl_c_while_waiting_for_tokens() -> None:
    """An interrupted process says so in one line, without a traceback."""
    command = subprocess.Popen(
        [*LSRL, "run", "majority", "--tokens", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdin is not None
    assert command.stdout is not None
    command.stdin.write(b"1\n" * 10_000)
    command.stdin.flush()
    assert command.stdout.readline().startswith(b"step,")
    os.kill(command.pid, signal.SIGINT)
    _, told = command.communicate(timeout=120)
    assert command.returncode == 130
    assert told.decode() == "error: interrupted\n"
