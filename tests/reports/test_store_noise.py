"""Noisy runs of a store on its page: what is drawn together, what is tabled, what could not be run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from reports.store_noise import joined, noise_failures, noise_plots, noise_table
from stability.experiment import read_noise
from stability.noise_horizons import CELL
from tests.reports.test_cli import lsrl

TEXT = """
programs = "majority"
targets = ["lstm", "gru"]
configs = ["stable", "paper"]
formats = "float32"
lengths = 20
[noise]
sigma = 0.5
kind = "absolute"
[thresholds]
wrong_share = 0.0
"""


def runs(*models: tuple[str, str], error: str = "") -> pd.DataFrame:
    """A noise frame by hand: two runs of each (target, conditional)."""
    usual = dict.fromkeys(CELL, "x") | {"activation": "relu", "length": 50, "sigma": 1e-3}
    rows = [
        usual | {"target": target, "conditional": conditional, "seed": seed, "horizon": 7 + seed,
                 "wrong_share": 0.5, "error": error}
        for target, conditional in models
        for seed in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"horizon": "Int64"})


def test_an_experiment_with_noise_has_its_section(tmp_path: Path) -> None:
    """The noisy runs of a store are on its page without any other file, those of a table beside them."""
    (tmp_path / "mine.toml").write_text(TEXT)
    shown = lsrl("experiment", "show", tmp_path / "mine.toml")
    for words in ("mine: 14 cells", "absolute on weights and biases", "0, 0.5", "free states"):
        assert words in shown.stdout
    store = tmp_path / "store"
    ran = lsrl("experiment", "run", tmp_path / "mine.toml", "-o", store, "--jobs", 1)
    assert ran.exit_code == 0, ran.output
    assert "with noise: 4 of 8 runs have a wrong token" in ran.stdout
    done = lsrl("report", store, "-o", tmp_path / "out", "--no-charts")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<section id="noise">' in page
    for config in ("stable", "paper"):
        assert (
            f"majority, {config}, float32, absolute noise on weights and biases, free states, 20 tokens"
            in page
        )
    table = read_noise(store).assign(target="relu_rnn")
    table.to_csv(store / "noise.csv", index=False)
    assert lsrl("report", store, "-o", tmp_path / "both", "--no-charts").exit_code == 0
    both = (tmp_path / "both" / "index.html").read_text(encoding="utf-8")
    assert ("relu_rnn" in page, "relu_rnn" in both) == (False, True)
    inside = lsrl("report", store, "-o", store / "noise-cells")
    assert inside.exit_code == 2
    assert "folder of the store itself" in inside.stderr


def test_one_model_is_drawn_by_conditional_and_several_apart() -> None:
    """Several conditionals of one model share a chart; with several models each has its own."""
    alone = noise_plots(runs(("lstm", "direct"), ("lstm", "optimized")))
    assert len(alone) == 1
    assert "direct" not in alone[0].title
    names = {row["model"] for rows in alone[0].spec["datasets"].values() for row in rows}
    assert names == {"direct", "optimized"}
    several = noise_plots(runs(("lstm", "direct"), ("lstm", "optimized"), ("gru", "optimized")))
    assert [("direct" in plot.title, "optimized" in plot.title) for plot in several] == [
        (True, False),
        (False, True),
    ]
    assert [plot.name for plot in several] == ["noise", "noise-2"]
    assert noise_plots(None) == []


def test_runs_of_two_tables_count_once() -> None:
    """A run that both tables have is one; without any there is nothing to show."""
    one, two = runs(("lstm", "direct")), runs(("lstm", "direct"), ("gru", "direct"))
    both = joined([one, two])
    assert both is not None
    assert len(both) == len(two)
    assert joined([one.iloc[:0], two.iloc[:0]]) is None


def test_what_could_not_be_run_is_told() -> None:
    """Reasons are lines, the most common first; such runs are in no chart and no table."""
    frame = pd.concat(
        [
            runs(("lstm", "direct")),
            runs(("gru", "direct"), ("hawk", "direct"), error="no gates\nhere"),
            *(runs(("gru", str(k)), error=f"reason {k}") for k in range(3)),
        ],
        ignore_index=True,
    )
    told = noise_failures(frame)
    assert told[0].startswith("4 runs: no gates")
    assert "\n" not in told[0]
    assert told[-1] == "2 more runs, for other reasons"
    assert set(noise_table(frame)["model"]) == {"lstm"}
    assert len(noise_plots(frame)) == 1
    assert noise_failures(None) == []


@pytest.mark.parametrize("parameters", ["", "n=3"])
def test_programs_are_told_with_their_parameters(parameters: str) -> None:
    """The title of a row has the parameters, if there are any."""
    (row,) = noise_table(runs(("lstm", "none")).assign(program="p", parameters=parameters)).to_dict("records")
    assert row["title"] == ("p (n=3)" if parameters else "p")
