"""``lsrl noise``: what it prints and writes, what it refuses, and that its page of the docs is true."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from reports.cli.app import app
from reports.noise_chart import horizon_chart, published_chart
from reports.noise_report import print_noise, sigma_text, write_noise
from reports.plots import COLOURS, NATIVE_COLOURS
from stability.noise import COLUMNS
from stability.noise_paper import CONDITIONALS, SIGMAS

PAGE = Path(__file__).parents[2] / "docs" / "noise.md"
SMALL = ("majority", "--length", 30, "--seeds", 2, "--jobs", 1)


def noise(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["noise", *map(str, arguments)])


def runs(horizons: dict[tuple[str, str, float], list[int | None]], error: str = "") -> pd.DataFrame:
    """A noise frame by hand: (target, activation, σ) → the horizons of its runs."""
    rows = [
        dict.fromkeys(COLUMNS, "x")
        | {"target": target, "activation": activation, "sigma": sigma, "seed": seed, "length": 1000}
        | {"horizon": horizon, "wrong_share": float(horizon is not None), "error": error}
        for (target, activation, sigma), found in horizons.items()
        for seed, horizon in enumerate(found)
    ]
    return pd.DataFrame(rows).astype({"horizon": "Int64"})


HORIZONS: dict[tuple[str, str, float], list[int | None]] = {
    ("lstm", "relu", 0.0): [None, None, None],
    ("lstm", "relu", 1e-3): [12, 0, None],
    ("lstm", "native", 1e-3): [None, None, None],
}


def printed(frame: pd.DataFrame) -> str:
    """What the terminal shows."""
    console = Console(width=100, file=io.StringIO())
    print_noise(console, frame)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_has_a_row_for_every_model_and_size(tmp_path: Path) -> None:
    """The usual targets, LSTM and GRU with real gates too, and σ, 0 among them; every run is in the file."""
    result = noise(*SMALL, "--sigma", "1e-3,0.5", "-o", tmp_path / "runs.csv")
    assert result.exit_code == 0, result.stderr
    frame = pd.read_csv(tmp_path / "runs.csv", keep_default_na=True)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 7 * 3 * 2
    assert result.stdout.splitlines()[0].startswith("majority: relative Gaussian noise on weights and biases")
    assert set(frame["target"][frame["activation"] == "native"]) == {"lstm", "gru"}
    for target in frame["target"].unique():
        assert len(re.findall(rf"^{target}  ", result.stdout, re.MULTILINE)) == 1
    assert len(re.findall(r" \d of 2 ", result.stdout)) == 7 * 3
    assert (tmp_path / "runs.svg").read_text(encoding="utf-8").startswith("<svg")
    assert {path.name for path in tmp_path.iterdir()} == {"runs.csv", "runs.svg"}


def test_a_folder_gets_every_kind_of_file(tmp_path: Path) -> None:
    """Tables that agree, and the chart as a page that needs no network, as SVG and as PNG."""
    result = noise(*SMALL, "--target", "gru", "--states", "clean", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == [
        "noise.csv", "noise.html", "noise.parquet", "noise.png", "noise.svg",
    ]  # fmt: skip
    table, frame = pd.read_csv(folder / "noise.csv"), pd.read_parquet(folder / "noise.parquet")
    assert table["wrong_share"].tolist() == frame["wrong_share"].tolist()
    assert set(frame["states"]) == {"clean"}
    page = (folder / "noise.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page)
    assert (folder / "noise.png").read_bytes().startswith(b"\x89PNG")
    assert all(str(folder / name.name) in result.stdout for name in folder.iterdir())


def test_a_program_with_products_leaves_ungated_targets_out() -> None:
    """Of the usual targets those run that take the program; a named one has to."""
    result = noise("linear_attention", *SMALL[1:], "--sigma", "1e-3")
    assert result.exit_code == 0, result.stderr
    assert "linear_rnn was left out: " in result.stderr
    assert "relu_rnn was left out: " in result.stderr
    assert re.search(r"^lstm ", result.stdout, re.MULTILINE)
    named = noise("linear_attention", *SMALL[1:], "--target", "relu_rnn")
    assert named.exit_code == 2
    assert named.stdout == ""


def test_a_window_is_as_long_as_the_prompt() -> None:
    """Hawk runs freely over any length, and a run with clean states is told as one that cannot be."""
    free = noise(*SMALL, "--target", "hawk", "--sigma", "1e-3")
    assert free.exit_code == 0, free.stderr
    assert "hawk " in free.stdout
    both = noise(*SMALL, "--target", "hawk", "--target", "gru", "--sigma", "1e-3", "--states", "clean")
    assert both.exit_code == 0
    assert "hawk could not run: hawk keeps no state" in both.stdout
    alone = noise(*SMALL, "--target", "hawk", "--states", "clean")
    assert alone.exit_code == 2
    assert alone.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "unknown program"),
        (["majority", "--target", "tpu"], "unknown target 'tpu'"),
        (["majority", "--sigma", "big"], "--sigma 'big' is not a number"),
        (["majority", "--sigma", "1e-3,-1"], "sigma=-1.0"),
        (["majority", "--sigma", "nan"], "sigma=nan"),
        (["majority", "--sigma", ",".join(map(str, range(200)))], "201 sizes of noise"),
        (["majority", "--kind", "loud"], "unknown kind of noise 'loud'"),
        (["majority", "--include", "weights,gates"], "unknown part 'gates'"),
        (["majority", "--states", "dirty"], "unknown --states 'dirty'"),
        (["majority", "--states", "clean", "--format", "mpmath20"], "no teacher-forced run in mpmath20"),
        (["majority", "--format", "float13"], "unknown format or policy 'float13'"),
        (["majority", "--length", "0"], "--length 0"),
        (["majority", "--seeds", "0"], "--seeds 0"),
        (["majority", "--seeds", "100000"], "--seeds 100000"),
        (["majority", "--jobs", "0"], "--jobs 0"),
        (["majority", "--engine", "abacus"], "unknown engine 'abacus'"),
        (["majority", "--config", "best"], "unknown configuration 'best'"),
        (["majority", "--param", "q=1"], "unknown parameter 'q'"),
        (["dictionary", "--param", "max_length=10", "--length", "20"], "max_length=10"),
        (["majority", "-o", "runs.xlsx"], "no table is written as .xlsx"),
        (["majority", "-o", "nowhere/runs.csv"], "No such file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 2, one line on stderr that names the value, and no file is left."""
    monkeypatch.chdir(tmp_path)
    result = noise(*arguments)
    assert result.exit_code == 2, result.output
    told = [line for line in result.stderr.splitlines() if not line.startswith("measured ")]
    assert len(told) == 1
    assert told[0].startswith("error: ")
    assert words in told[0]
    assert list(tmp_path.iterdir()) == []


def test_censored_runs_are_not_called_right_for_ever() -> None:
    """A median beyond the prompt is “> T”, and what no failing run means is stated."""
    text = printed(runs(HORIZONS))
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    assert ["lstm", "0", "0 of 3", "> 1,000", "> 1,000", "0%"] in rows
    assert ["1e-3", "2 of 3", "12", "0 to > 1,000", "100%"] in rows
    assert ["lstm (native)", "1e-3", "0 of 3", "> 1,000", "> 1,000", "0%"] in rows
    assert "medians of 3 runs; such intervals hold the true median 75 times in 100" in text
    assert "where no run failed: at most 71 of 100 such runs do (95 % confidence)" in text


def test_one_run_has_no_interval() -> None:
    """The remark about intervals is not made of a single run."""
    text = printed(runs({("gru", "relu", 1e-3): [7]}))
    assert "one run of each: no interval" in text
    assert "where no run failed" not in text


def test_only_refusals_leave_no_table() -> None:
    """Runs that could not be made are told once each."""
    text = printed(runs({("gru", "relu", 1e-3): [None, None]}, error="no such thing"))
    assert text.splitlines()[1:] == ["gru could not run: no such thing"]


@pytest.mark.parametrize(
    ("sigma", "text"), [(0, "0"), (1e-5, "1e-5"), (2.5e-4, "2.5e-4"), (0.01, "0.01"), (3, "3")]
)
def test_sizes_are_written_short(sigma: float, text: str) -> None:
    """Small ones as powers of ten."""
    assert sigma_text(sigma) == text


def test_the_chart_shows_every_run() -> None:
    """A point for each run, from 1, unhurt ones at the end; real gates have a colour of their own."""
    spec = horizon_chart(runs(HORIZONS)).to_dict()
    points = next(rows for rows in spec["datasets"].values() if "seed" in rows[0])
    shown = [
        (row["token"], row["outcome"]) for row in points if (row["model"], row["noise"]) == ("lstm", "1e-3")
    ]
    assert sorted(shown) == [(1, "first wrong token"), (13, "first wrong token"), (1000, "none wrong")]
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == {
        "lstm": COLOURS["lstm"], "lstm (native)": NATIVE_COLOURS["lstm"],
    }  # fmt: skip


def test_a_chart_without_runs_is_drawn(tmp_path: Path) -> None:
    """Where every run was refused there is an empty chart, and the table of refusals."""
    frame = runs({("gru", "relu", 1e-3): [None]}, error="no such thing")
    write_noise(frame, [tmp_path / "a.csv", tmp_path / "a.svg"])
    assert (tmp_path / "a.svg").stat().st_size > 0
    assert pd.read_csv(tmp_path / "a.csv")["error"].tolist() == ["no such thing"]


def test_published_medians_stand_beside_ours() -> None:
    """One panel per program, a colour per source, the published first; an overflow stays on the chart."""
    keys = [(p, c, s) for p in ("continuous", "dictionary") for c in CONDITIONALS for s in SIGMAS]
    table = pd.DataFrame(keys, columns=["program", "conditional", "sigma"])
    table = table.assign(median=table.index + 1.0, low=0.5, high=np.inf)
    table = table.assign(published=2.0, published_low=1.0, published_high=3.0)
    chart = published_chart({"ours": table, "changed": table})
    assert isinstance(chart, alt.VConcatChart)
    spec = chart.to_dict()
    assert len(spec["vconcat"]) == 2
    rows = [row for found in spec["datasets"].values() for row in found]
    assert {row["source"] for row in rows} == {"the paper", "ours", "changed"}
    assert sum(row["source"] == "ours" for row in rows) == len(keys)
    assert all(np.isfinite(row["high"]) for row in rows)


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of docs/noise.md succeeds and leaves the files that it names."""
    commands = re.findall(r"^\$ lsrl noise (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    for command in commands:
        result = noise(*shlex.split(command), "--jobs", 1)
        assert result.exit_code == 0, result.stderr
    assert (tmp_path / "noise" / "noise.html").is_file()
    assert (tmp_path / "clean.svg").is_file()
