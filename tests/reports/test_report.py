"""Reports of stores: what they say, what they write, and what they do with stores that are not whole."""

# frames are built from mixed values:
# mypy: disable-error-code="arg-type,index,return-value"
from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from reports.cli.app import app
from reports.comparing import compare_stores, said_of_comparison
from reports.horizons import horizon_table, law_table
from reports.packing import packed, unpacked
from reports.store_curves import POINTS, curves
from reports.store_page import render_store
from reports.store_reading import Experiments, experiments_of
from reports.store_report import StoreReport, store_report
from reports.tables import cells_of, grouped, named
from stability.experiment import read_store
from stability.noise_horizons import CELL
from tests.reports.frames import LENGTH, cell, frame, usual
from tests.reports.stores import THRESHOLDS, drifting_cells, sample_cells, write_store

HOSTILE = "<script>alert(1)</script>\"'&|`*{{7*7}}"
NOTHING = Experiments(names=(), limits=(), notes=())
LARGEST = 5_000_000
"""Bytes of a page."""


def report(*arguments: object, charts: bool = False) -> Result:
    """``lsrl report``; charts as files take most of its time."""
    given = [*arguments, *([] if charts else ["--no-charts"])]
    return CliRunner().invoke(app, ["report", *map(str, given)])


def told(cells: pd.DataFrame) -> dict[str, str]:
    """The chapters of a report by their titles."""
    return {each.title: " ".join(each.lines) for each in store_report("s", cells, NOTHING).chapters}


def plain_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Cells as a report has them, without thresholds."""
    return cells_of(named(rows)).assign(beyond=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores and the report of both."""
    place = tmp_path_factory.mktemp("stores")
    refusal = cell("gru", "multiplicative", program=HOSTILE, parameters=HOSTILE, error=f"no {HOSTILE}")
    write_store(place / "new", [*sample_cells(), *drifting_cells(), refusal], experiment=THRESHOLDS)
    write_store(place / "old", [*usual("float16", horizon=4), *usual("float32")])
    done = report(place / "new", place / "old", "-o", place / "report", charts=True)
    assert done.exit_code == 0, done.output
    (place / "printed").write_text(done.stdout, encoding="utf-8")
    return place


def test_all_files_are_written_and_whole(folder: Path) -> None:
    """Page, summary, table and every chart as SVG and PNG, and nothing half-done beside them."""
    made = sorted(path.name for path in (folder / "report").iterdir())
    assert made == ["charts", "horizons.csv", "index.html", "summary.md"]
    charts = sorted(path.name for path in (folder / "report" / "charts").iterdir())
    names = ("bits", "compared", "errors", "growth", "horizons", "right", "spread", "states")
    assert charts == sorted(f"{name}.{suffix}" for name in names for suffix in ("svg", "png"))
    for path in (folder / "report" / "charts").iterdir():
        content = path.read_bytes()
        assert content.startswith(b"<svg" if path.suffix == ".svg" else b"\x89PNG")
        assert path.suffix != ".svg" or b"undefined" not in content


def test_the_table_on_disk_has_the_horizons(folder: Path) -> None:
    """horizons.csv: three runs of each, wrong after 9 tokens in float16, never in float32."""
    table = pd.read_csv(folder / "report" / "horizons.csv")
    rows = table[
        (table["program"] == "toy") & (table["model"] == "lstm") & (table["conditional"] == "optimized")
    ]
    short = rows[rows["format"] == "float16"].iloc[0]
    assert (short["runs"], short["wrong runs"], short["horizon (median)"]) == (3, 3, 9)
    long = rows[rows["format"] == "float32"].iloc[0]
    assert long["wrong runs"] == 0
    assert pd.isna(long["horizon (median)"])


def test_hostile_names_stay_text(folder: Path) -> None:
    """No name or message opens an element, ends a script or is expanded, on the page or in Markdown."""
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert page.count("</script>") == 4
    assert "alert(1)" in page
    assert "49" not in re.findall(r"\*(\d+)", page)
    summary = (folder / "report" / "summary.md").read_text(encoding="utf-8")
    assert "alert(1)" in summary
    assert "<script>" not in summary


def test_the_page_names_nothing_outside(folder: Path) -> None:
    """Links stay within the page, and its policy forbids requests."""
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    head = page[: page.index('<script type="application/json"')]
    links = re.findall(r'(?:src|href)="([^"]*)"', head)
    assert links
    assert all(link.startswith(("#", "data:,")) for link in links)
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_every_section_that_is_linked_is_there(folder: Path) -> None:
    """Each link of the page leads to a section."""
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    anchors = re.findall(r'<a href="#([\w-]+)"', page)
    assert {"compared", "states", "laws", "runs"} <= set(anchors)
    assert all(f'<section id="{anchor}">' in page for anchor in anchors)


def test_the_terminal_gets_the_same_summary(folder: Path) -> None:
    """What, when and why, the comparison and the files; no line beyond 100 columns but paths."""
    printed = (folder / "printed").read_text(encoding="utf-8")
    for title in ("What drifts?", "When?", "Why?", "Do gates help?", "Compared with old"):
        assert f"\n{title}\n" in printed
    assert "By the thresholds of the experiment (wrong_share > 0.0), 18 runs drifted." in " ".join(
        printed.split()
    )
    assert all(len(line) <= 100 for line in printed.splitlines() if not line.startswith("/"))


def test_the_story_names_the_cause() -> None:
    """Wrong runs are put down to a constant, to infinity, to the program or to the network."""
    right = cell("uncompiled", "optimized")
    causes = {
        "a constant of the network is too large": [
            cell("lstm", "optimized", horizon=9, weight_overflow=1),
            right,
        ],
        "a value outgrows the format": [cell("lstm", "optimized", horizon=9, first_bad=9), right],
        "the program itself, without any network, goes wrong": [
            cell("lstm", "optimized", horizon=9),
            cell("uncompiled", "optimized", horizon=9),
        ],
        "rounding in the network alone is to blame": [cell("lstm", "optimized", horizon=9), right],
        "the program itself was not run beside it": [cell("lstm", "optimized", horizon=9)],
    }
    for words, cells in causes.items():
        assert f"Of the 1 runs with a wrong token: in 1, {words}" in told(frame(*cells))["Why?"]


def test_the_story_says_that_nothing_drifts() -> None:
    """Where all is right, the summary says so, and that longer prompts may tell another story."""
    chapters = told(frame(*usual()))
    assert "No run gives a wrong token: all 6 stay right" in chapters["What drifts?"]
    assert f"up to {LENGTH} tokens: their horizon lies beyond that" in chapters["When?"]
    assert "next to no difference" in chapters["Do gates help?"]


def test_horizons_over_seeds_are_censored() -> None:
    """Of three runs two of which fail, the median is the later failure and its interval has no upper end."""
    cells = plain_cells(
        frame(*(cell("lstm", "optimized", seed=k, horizon=h) for k, h in enumerate((9, None, 50))))
    )
    row = horizon_table(cells).iloc[0]
    assert (row["runs"], row["failed"], row["median"], row["low"]) == (3, 2, 50, 9)
    assert pd.isna(row["high"])
    assert row["coverage"] == 0.75


def test_real_gates_are_models_of_their_own() -> None:
    """Real gates stand beside ReLU gates, in a group of their own; the uncompiled control counts once."""
    rows = frame(
        cell("lstm", "optimized", activation="relu"),
        cell("lstm", "optimized", activation="native", horizon=9),
        cell("uncompiled", "optimized", activation="relu"),
        cell("uncompiled", "optimized", activation="native"),
    )
    cells = plain_cells(rows)
    assert list(cells["target"]) == ["lstm", "lstm (native)", "uncompiled"]
    assert [row.role for row in grouped(cells)] == ["gated control", "real gates, control", "uncompiled"]
    assert "real sigmoid and tanh in place of ReLU: better in 0, worse in 1" in told(rows)["Do gates help?"]


def test_orders_and_engines_are_formats_of_their_own() -> None:
    """The same format under another order or engine is another column."""
    rows = frame(
        cell("lstm", "optimized", order="step"),
        cell("lstm", "optimized", order="scan"),
        cell("lstm", "optimized", order="step", engine="torch"),
    )
    assert set(named(rows)["format"]) == {"float32", "float32 scan", "float32 (torch)"}


def test_equal_curves_are_kept_once_and_are_the_worst() -> None:
    """Curves that coincide share their points; a point is the worst of its seeds."""
    rows = frame(*usual(horizon=9), cell("lstm", "optimized", seed=1, bits=3.0))
    lines, found = curves(named(rows))
    assert len(lines) == len(usual())
    assert len(found) == 2
    curve = found[lines.set_index(["target", "conditional"]).loc[("lstm", "optimized"), "curve"]]
    assert (curve["token"][0], curve["bits"][0], curve["error"][0]) == (1, 3.0, 0.0)
    assert [token for token, first in zip(curve["token"], curve["first"], strict=True) if first] == [10]


def test_rows_survive_packing() -> None:
    """What the page's script unpacks is the table: words, numbers, and null for what is missing."""
    table = pd.DataFrame({"a": ["x", "y", "x"], "n": [1.5, float("nan"), float("inf")], "curve": [0, 1, 0]})
    own = [{"token": [1, 2], "bits": [3.0, None]}, {"token": [7], "bits": [0.0]}]
    text = json.loads(json.dumps(packed(table, own), allow_nan=False))
    assert text["columns"]["a"] == {"words": ["x", "y"], "codes": [0, 1, 0]}
    assert text["columns"]["n"] == {"values": [1.5, None, None]}
    assert unpacked(table, {"a": "y", "z": "?"}, own) == [
        {"a": "y", "n": None, "curve": 1, "token": 7, "bits": 0.0}
    ]
    assert [row["token"] for row in unpacked(table, {"a": "x"}, own)] == [1, 2, 1, 2]


def test_models_with_equal_outputs_share_a_law() -> None:
    """The law of an error is told for each model, and the error of none is no error."""
    laws = law_table(named(frame(*usual())))
    assert set(laws["law"]) == {"exact"}
    assert len(laws) == len(usual())


def test_two_stores_are_compared_cell_by_cell() -> None:
    """Better, worse, identical and lone cells are counted, whatever λ the compiler chose."""
    left = plain_cells(
        frame(
            cell("lstm", "optimized", horizon=50, lam="64"),
            cell("gru", "optimized", horizon=9),
            cell("linear_rnn", "optimized"),
            cell("relu_rnn", "optimized", error="refused"),
            cell("hawk", "optimized"),
        )
    )
    right = plain_cells(
        frame(
            cell("lstm", "optimized", horizon=9, lam="32"),
            cell("gru", "optimized", horizon=50),
            cell("linear_rnn", "optimized", model_hash="01"),
            cell("relu_rnn", "optimized"),
        )
    )
    found = compare_stores(left, right, "old")
    assert found.counts == {"better": 1, "worse": 2, "same": 0, "identical": 1}
    assert (found.pairs, found.left_only, found.right_only, found.remade) == (4, 1, 0, 1)
    said = " ".join(said_of_comparison(found))
    assert "1 of them are better than in the second, 2 are worse" in said
    assert "1 pairs have different compiled models" in said


def test_a_store_against_itself_is_identical(folder: Path) -> None:
    """Nothing got better or worse, and no model has changed."""
    cells = plain_cells(read_store(folder / "new"))
    found = compare_stores(cells, cells, "itself")
    assert found.counts["identical"] == found.pairs == len(cells)
    assert "no cell in common" in said_of_comparison(compare_stores(cells, cells.iloc[:0], "nothing"))[0]


def test_an_empty_store_is_reported(tmp_path: Path) -> None:
    """A store without cells gives a page that says so."""
    write_store(tmp_path / "store", [])
    done = report(tmp_path / "store", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "nothing was measured" in done.stdout
    assert "nothing was measured" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_a_store_of_failures_is_reported(tmp_path: Path) -> None:
    """Where nothing could run, the page says why."""
    write_store(tmp_path / "store", [cell("linear_rnn", "multiplicative", error="no gates here")])
    done = report(tmp_path / "store", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "No compiled model could be run; 1 cells were tried" in done.stdout
    assert "no gates here" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_damaged_cells_are_named_on_the_page(tmp_path: Path) -> None:
    """A cell that cannot be read is left out, and the page, the summary and the terminal say so."""
    store = write_store(tmp_path / "store", usual(), experiment="[thresholds]\nwrong_share = 7\n")
    broken = min((store / "cells").iterdir())
    broken.write_bytes(b"PAR1")
    done = report(store, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    for text in (
        done.stdout,
        *((tmp_path / "out" / name).read_text() for name in ("index.html", "summary.md")),
    ):
        unwrapped = "".join(text.split())  # a terminal breaks long paths
        assert broken.name[:20] in unwrapped
        assert "thresholds" in unwrapped


@pytest.mark.parametrize("content", ["", "{", "\udcff", "[thresholds]\nhorizon = 'x'\n", "thresholds = 3\n"])
def test_broken_experiments_become_notes(tmp_path: Path, content: str) -> None:
    """A file of an experiment that is wrong costs its thresholds, not the report."""
    store = write_store(tmp_path / "store", [])
    (store / "experiments" / "mine-01234567.toml").write_text(content, "utf-8", "surrogateescape")
    found = experiments_of(store)
    assert (found.names, found.notes) == (("mine",), ()) if not content else (len(found.notes) == 1)
    assert found.limits == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "-o", "out"], "no store of experiments"),
        (["store", "nowhere", "-o", "out"], "no store of experiments"),
        (["store", "-o", "store"], "a folder of the store itself"),
        (["store", "-o", "store/cells"], "a folder of the store itself"),
        (["store", "-o", "file"], "it is a file"),
        (["store", "--noise", "missing.csv", "-o", "out"], "cannot be read"),
        (["store", "--noise", "file", "-o", "out"], "cannot be read"),
        (["store", "--noise", "other.csv", "-o", "out"], "it has no column 'program'"),
        (["store", "--noise", "text.csv", "-o", "out"], "no noise table"),
    ],
)
def test_mistakes_are_one_line_each(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with the arguments is told in a line, with status 2, and leaves no report."""
    monkeypatch.chdir(tmp_path)
    write_store(Path("store"), [])
    Path("file").write_text("x")
    Path("other.csv").write_text("a,b\n1,2\n")
    columns = [*CELL, "horizon", "wrong_share", "seed", "error"]
    Path("text.csv").write_text(f"{','.join(columns)}\n{','.join('x' for _ in columns)}\n")
    done = report(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("out").exists()


def noise_table() -> pd.DataFrame:
    """Runs of a model with noise, as ``lsrl noise`` writes them."""
    keys = dict.fromkeys(CELL, "x") | {
        "program": HOSTILE,
        "target": "lstm",
        "activation": "native",
        "length": 100,
    }
    rows = [
        keys | {"sigma": sigma, "seed": seed, "horizon": horizon, "wrong_share": 0.0, "error": ""}
        for sigma, horizon in ((0.0, None), (1e-3, 7))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", ["noise.parquet", "noise.csv", "elsewhere.csv"])
def test_a_noise_table_is_shown(tmp_path: Path, name: str) -> None:
    """A table in the store, or the one that is named, gives a chart and a table of medians."""
    store = write_store(tmp_path / "store", usual())
    place = store / name
    noise_table().to_csv(place, index=False) if place.suffix == ".csv" else noise_table().to_parquet(place)
    named_one = ["--noise", place] if name.startswith("elsewhere") else []
    done = report(store, *named_one, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<section id="noise">' in page
    assert 'data-table="noise-runs"' in page
    assert "<script>alert" not in page


def test_a_second_report_replaces_the_charts_of_the_first(tmp_path: Path) -> None:
    """Charts that the new report has not are gone; files of the reader stay."""
    charts = tmp_path / "out" / "charts"
    charts.mkdir(parents=True)
    for name in ("mine.txt", "mine.svg", "states.svg", "noise-2.png"):
        (charts / name).write_text("kept")
    assert report(write_store(tmp_path / "store", usual()), "-o", tmp_path / "out").exit_code == 0
    assert {path.name for path in charts.iterdir()} == {"mine.txt", "mine.svg"}


def test_a_failed_write_leaves_the_report_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up half-way changes nothing and leaves no partial files."""
    store = write_store(tmp_path / "store", usual())
    assert report(store, "-o", tmp_path / "out").exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    assert report(store, "-o", tmp_path / "out").exit_code == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def large(cells: int) -> StoreReport:
    """A report of many models of long prompts, no two of which have the same curve."""
    steps = pd.Series([round(2 ** (k / 12)) for k in range(200)]).drop_duplicates()
    steps = steps[steps <= 100_000] - 1
    base = frame(cell("lstm", "optimized")).iloc[:1]
    one = base.loc[base.index.repeat(len(steps))].assign(
        step=steps.to_numpy(), length=100_000, horizon=pd.NA, status="ok"
    )
    parts = []
    for number in range(cells):
        growth = (steps.to_numpy() * (number + 1)) % 9973 / 9973
        parts.append(
            one.assign(
                program=f"program {number // 200}",
                format=f"float{number % 10 + 10}",
                target=f"model_{number // 10 % 20}",
                abs_error=growth,
                significant_bits=24 - 20 * growth,
                output_hash=f"{number % 5}",
            )
        )
    rows = pd.concat(parts, ignore_index=True).astype({"horizon": "Int64"})
    return store_report("large", rows, NOTHING)


def test_a_large_store_gives_a_small_page() -> None:
    """400 groups of 100,000 tokens, all different: the page keeps to its budget of points and bytes."""
    found = large(400)
    page = render_store(found)
    assert len(page.encode()) < LARGEST / 2
    bits = next(plot for plot in found.plots if plot.name == "bits")
    assert bits.source is not None
    assert 0 < sum(len(curve["token"]) for curve in bits.source.curves) <= POINTS
