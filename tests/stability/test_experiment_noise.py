"""Noisy runs in a store: the rows of ``noise``, kept, resumed and named like any other cell."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from compiler import compile_program, load_program
from compiler.errors import CompileRefusal
from stability import noise_cells
from stability.cells import Bench, Member, Noise, Record
from stability.experiment import (
    STORE_COLUMNS,
    VOLATILE,
    StoreError,
    load_experiment,
    origin,
    read_noise,
    read_store,
    run_experiment,
)
from stability.experiment.origin import canonical, digest, identity
from stability.experiment.running import Outcome, run_groups
from stability.experiment.store import DamagedCellError, open_store, read_cell
from stability.experiment.work import Job, work
from stability.noise import COLUMNS, noise

TEXT = """
programs = "dictionary_exact"
targets = ["lstm", "hawk"]
configs = "stable"
conditionals = "multiplicative_optimized"
formats = "float32"
lengths = 40
seeds = [0, 1]
[noise]
sigma = 1e-2
states = ["free", "clean"]
"""
DRIFT, NOISY = 2 * 3, 2 * (2 + 1) * 2
"""Cells: two prompts of two models and the control; σ and 0, hawk has no states to be clean."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the experiment and its finished store, which no test changes."""
    place = tmp_path_factory.mktemp("noise")
    (place / "mine.toml").write_text(TEXT)
    run_experiment(load_experiment(place / "mine.toml"), place / "store", jobs=1)
    return place


def timeless(store: Path) -> pd.DataFrame:
    """The noisy runs of a store, but for when and how long."""
    return read_noise(store).drop(columns=list(VOLATILE))


def started(folder: Path, store: Path, text: str = TEXT, **options: Any) -> tuple[Outcome, list[Member]]:
    """Run an experiment, and tell which cells are computed."""
    (folder / "again.toml").write_text(text)
    computed: list[Member] = []

    def compute(bench: Bench, member: Member) -> list[Record]:
        computed.append(member)
        return noise_cells.measure(bench, member)

    groups = load_experiment(folder / "again.toml").groups()
    return run_groups(groups, store, jobs=1, **({"compute": compute} | options)), computed


def test_a_store_has_the_rows_of_noise(folder: Path) -> None:
    """The noisy runs of a store are those of ``noise``, value by value; drift is read without them."""
    frame = read_noise(folder / "store")
    assert list(frame.columns) == [*COLUMNS, *STORE_COLUMNS]
    assert len(frame) == frame["cell"].nunique() == NOISY
    assert read_store(folder / "store")["cell"].nunique() == DRIFT
    program = load_program("dictionary_exact")
    models = {name: compile_program(program, name, window=40 if name == "hawk" else None)
              for name in ("lstm", "hawk")}  # fmt: skip
    direct = pd.concat(
        [
            noise("dictionary_exact", [models[name] for name in names], sigmas=(0, 1e-2), states=states,
                  length=40, seeds=(0, 1), jobs=1)
            for states, names in (("free", ("hawk", "lstm")), ("clean", ("lstm",)))
        ]
    )  # fmt: skip
    order = ["target", "states", "sigma", "seed"]
    pd.testing.assert_frame_equal(
        frame[list(COLUMNS)].sort_values(order, ignore_index=True),
        direct.sort_values(order, ignore_index=True),
    )
    assert frame.loc[frame["sigma"] == 0, "horizon"].isna().all()
    assert frame.loc[frame["sigma"] > 0, "horizon"].notna().any()


def test_a_run_goes_on_and_grows(folder: Path, tmp_path: Path) -> None:
    """A second run computes nothing, a lost cell is computed alone, and a new σ adds its own cells."""
    store = tmp_path / "store"
    outcome, computed = started(tmp_path, store)
    assert (len(outcome.cells), len(computed)) == (DRIFT + NOISY,) * 2
    assert started(tmp_path, store)[1] == []
    lost = min((store / "noise-cells").iterdir())
    lost.unlink()
    outcome, computed = started(tmp_path, store)
    assert (outcome.found, len(computed)) == (DRIFT + NOISY - 1, 1)
    assert lost.exists()
    pd.testing.assert_frame_equal(timeless(store), timeless(folder / "store"))
    _, computed = started(tmp_path, store, TEXT.replace("1e-2", "[1e-2, 1]"))
    assert [each.noise.sigma for each in computed if each.noise] == [1.0] * (NOISY // 2)


@pytest.mark.parametrize(
    ("problem", "failure"),
    [(ZeroDivisionError("by zero"), "broken"), (CompileRefusal.single("no"), "refused")],
)
def test_a_failing_run_is_a_row(folder: Path, tmp_path: Path, problem: Exception, failure: str) -> None:
    """Whatever a noisy run raises is its error; all other rows are as ever."""

    def failing(bench: Bench, member: Member) -> list[Record]:
        if member.noise == Noise(sigma=0.01, states="clean") and bench.setup.seed == 1:
            raise problem
        return noise_cells.measure(bench, member)

    started(tmp_path, tmp_path / "store", compute=failing)
    frame = timeless(tmp_path / "store")
    (bad,) = frame[frame["failure"] != ""].to_dict("records")
    assert (bad["failure"], bad["sigma"], bad["states"], bad["seed"]) == (failure, 0.01, "clean", 1)
    assert str(problem) in bad["error"]
    good = timeless(folder / "store")
    same = good["cell"] != bad["cell"]
    pd.testing.assert_frame_equal(frame[same], good[same])


def test_what_an_architecture_refuses_is_a_row(tmp_path: Path) -> None:
    """A conditional that needs gates is refused on a model without, with noise as without."""
    text = TEXT.replace('["lstm", "hawk"]', '"relu_rnn"').replace('"clean"', '"free"')
    started(tmp_path, tmp_path / "store", text)
    frame = read_noise(tmp_path / "store")
    assert set(frame["failure"]) == {"refused"}
    assert (frame["error"] != "").all()


def test_noise_is_part_of_a_name(folder: Path) -> None:
    """Every factor of the noise gives another hash; a cell without noise has the name that it always had."""
    experiment = load_experiment(folder / "mine.toml")
    group = next(iter(experiment.without_noise.groups()))
    member = group.members[0]
    assert "noise" not in identity(group.setup, member)
    levels = [
        None, Noise(sigma=0.0), Noise(sigma=1e-3), Noise(sigma=1e-3, kind="absolute"),
        Noise(sigma=1e-3, include=("weights",)), Noise(sigma=1e-3, states="clean"),
    ]  # fmt: skip
    names = {digest(canonical(identity(group.setup, replace(member, noise=each)))) for each in levels}
    assert len(names) == len(levels)


def test_the_store_of_a_cell_says_what_it_is(folder: Path) -> None:
    """Every file holds the text of which its name is the hash, and rows of that cell alone."""
    for file in (folder / "store" / "noise-cells").iterdir():
        table, found = read_cell(file)
        noisy = found["noise"]
        assert isinstance(noisy, dict)
        row = table.to_pylist()[0]
        assert (row["sigma"], row["states"], row["cell"]) == (noisy["sigma"], noisy["states"], file.stem)


def test_rows_of_another_cell_are_damage(folder: Path, tmp_path: Path) -> None:
    """A file whose rows name another cell is left out when read, put aside and computed again."""
    store = tmp_path / "store"
    started(tmp_path, store)
    victim = min((store / "noise-cells").iterdir())
    table, found = read_cell(victim)
    records = [record | {"cell": "0" * 64} for record in table.to_pylist()]
    victim.unlink()
    noisy = replace(open_store(store), folder="noise-cells")
    with noisy.claim(victim.stem) as mine:
        assert mine is not None
        mine.finish(records, canonical(found))
    with pytest.raises(DamagedCellError, match="its rows are of another cell"):
        read_cell(victim)
    outcome, computed = started(tmp_path, store)
    assert len(computed) == len(outcome.damaged) == 1
    pd.testing.assert_frame_equal(timeless(store), timeless(folder / "store"))


def test_a_hash_of_two_texts_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that says of itself what was not asked for is put aside, were two cells ever of one hash."""
    store = tmp_path / "store"
    started(tmp_path, store)
    found = {file.stem: read_cell(file)[1] for file in (store / "noise-cells").iterdir()}
    other = json.loads(json.dumps(next(iter(found.values()))))
    monkeypatch.setattr("stability.experiment.frames.read_cell", lambda path: (read_cell(path)[0], other))
    outcome, _ = started(tmp_path, store)
    assert len(outcome.damaged) == DRIFT + NOISY - 1
    assert all("another cell with the same hash" in line for line in outcome.damaged)


def test_processes_that_disagree_on_a_cell_are_stopped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker to which the same job is another cell computes nothing, and its error can be sent back."""
    group = next(iter(load_experiment(folder / "mine.toml").groups()))
    cells = tuple(digest(canonical(identity(group.setup, each))) for each in group.members)
    store = open_store(tmp_path / "store")
    job = Job(group=group, cells=cells, store=store, owner=0, versions="", commit="")
    monkeypatch.setattr(origin, "NUMERIC_SCHEMA", origin.NUMERIC_SCHEMA + 1)
    monkeypatch.setattr("stability.experiment.work._stop_if_orphaned", lambda _owner: None)
    with pytest.raises(StoreError, match="is another one to the process that makes it") as caught:
        work(job)
    assert not any((store.path / "cells").iterdir())
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 -- our own
