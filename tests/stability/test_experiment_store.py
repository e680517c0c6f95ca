"""A store: what it keeps, what names a cell, and what becomes of damaged or foreign files."""

from __future__ import annotations

import errno
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import CompileConfig
from compiler.errors import CompileRefusal
from compiler.selfcheck import CompilerBugError
from stability import drift
from stability.attribution import FIRST
from stability.cells import COLUMNS, Bench, Member, Record
from stability.experiment import (
    STORE_COLUMNS,
    VOLATILE,
    Interrupted,
    StoreError,
    StoreWarning,
    origin,
    read_store,
    running,
)
from stability.experiment.origin import canonical, digest, identity
from stability.experiment.running import Outcome, run_groups
from stability.experiment.store import DamagedCellError, open_store, read_cell
from stability.formats import parse_format
from stability.subject import subject
from tests.stability.experiment_driver import groups, key_of

CELLS = 18


def run(store: Path, compute: Callable[..., list[Record]] = Bench.measure, **options: Any) -> Outcome:
    """The small experiment, in this process."""
    return run_groups(groups(), store, jobs=1, compute=compute, **options)


def timeless(store: Path) -> pd.DataFrame:
    """The rows of a store, but for when and how long."""
    return read_store(store).drop(columns=list(VOLATILE))


def counting(counts: dict[str, int], bench: Bench, member: Member) -> list[Record]:
    """Compute a cell and count it."""
    key = key_of(bench, member)
    counts[key] = counts.get(key, 0) + 1
    return bench.measure(member)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the whole small experiment, which no test changes."""
    store = tmp_path_factory.mktemp("experiment") / "store"
    run(store)
    return store


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A store of the whole small experiment."""
    place = tmp_path / "copy"
    for file in finished.rglob("*"):
        if file.is_file():
            target = place / file.relative_to(finished)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return place


def files(store: Path) -> list[Path]:
    """The finished cells."""
    return sorted((store / "cells").glob("*.parquet"))


# ---------------------------------------------------------------- rows


def test_a_store_reads_as_a_drift_frame(finished: Path) -> None:
    """The rows of a store are those of ``drift``, value by value, with where they come from."""
    frame = read_store(finished)
    assert list(frame.columns) == [*COLUMNS, *STORE_COLUMNS]
    direct = drift(
        ["majority"], targets=["lstm", "relu_rnn"], formats=["float16", "float32"], configs=["stable"],
        seeds=(0, 1, 2), length=20, jobs=1,
    )  # fmt: skip
    pd.testing.assert_frame_equal(frame[list(COLUMNS)], direct)
    assert frame["cell"].nunique() == len(files(finished)) == CELLS
    assert (frame["failure"] == "").all()
    assert frame["versions"].str.contains("numpy").all()
    assert set(frame["commit"]) == {origin.commit()}
    assert frame["config_hash"].nunique() == 1
    assert pd.to_datetime(frame["computed_at"]).notna().all()


def test_states_can_be_asked_for(tmp_path: Path) -> None:
    """An experiment that asks for its states has the columns of ``drift`` that tell which drifts first."""
    asked = [
        replace(group, members=tuple(replace(each, states=True) for each in group.members))
        for group in groups()[:1]
    ]
    run_groups(asked, tmp_path / "s", jobs=1)
    frame = read_store(tmp_path / "s")
    assert list(frame.columns) == [*COLUMNS, *FIRST, *STORE_COLUMNS]
    direct = drift(
        ["majority"], targets=["lstm", "relu_rnn"], formats=["float16", "float32"], configs=["stable"],
        length=20, jobs=1, states=True,
    )  # fmt: skip
    pd.testing.assert_frame_equal(frame[[*COLUMNS, *FIRST]], direct)


def test_any_parquet_reader_reads_the_cells(finished: Path) -> None:
    """The folder of cells is a Parquet data set that needs nothing of ours."""
    assert len(pd.read_parquet(finished / "cells")) == len(read_store(finished))


def test_an_empty_store_has_an_empty_frame(tmp_path: Path) -> None:
    """A store before its first cell reads as a frame of the same columns and types."""
    open_store(tmp_path / "new")
    assert read_store(tmp_path / "new").empty
    assert list(read_store(tmp_path / "new").columns) == [*COLUMNS, *STORE_COLUMNS]


# ---------------------------------------------------------------- names


def names() -> set[str]:
    """The hashes of the small experiment's cells."""
    return {
        digest(canonical(identity(group.setup, member))) for group in groups() for member in group.members
    }


def test_everything_that_determines_a_result_is_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of any one factor gives another hash; making the same cell again gives the same."""
    setup, member = groups()[0].setup, groups()[0].members[0]

    def name(**changes: Any) -> str:
        own = {key: changes.pop(key) for key in list(changes) if key in Member.__dataclass_fields__}
        return digest(canonical(identity(replace(setup, **changes), replace(member, **own))))

    found = [
        name(),
        name(target="gru"),
        name(format=parse_format("float32")),
        name(activation="native"),
        name(order="scan"),
        name(states=True),
        name(engine="scalar"),
        name(engine="onnxruntime"),
        name(seed=7),
        name(length=21),
        name(conditional="direct"),
        name(config=CompileConfig(mu=mpq(4))),
        name(config=CompileConfig(reduce=True)),
        name(config_name="mine"),
        name(subject=replace(setup.subject, text=setup.subject.text + "\n# a comment")),
        name(subject=subject("modulo", {"n": "5"})),
        name(subject=subject("modulo")),
    ]
    assert len(set(found)) == len(found)
    assert name() == found[0]
    for function, value in (("draws", lambda: "x"), ("version_of", lambda _package: "x")):
        with monkeypatch.context() as patch:
            patch.setattr(origin, function, value)
            assert name() != found[0]
    monkeypatch.setattr(origin, "NUMERIC_SCHEMA", origin.NUMERIC_SCHEMA + 1)
    assert name() != found[0]


def test_an_engine_of_others_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of ONNX Runtime makes other cells of its engine, and of no other."""
    setup, member = groups()[0].setup, groups()[0].members[0]

    def both() -> list[str]:
        return [
            canonical(identity(setup, replace(member, engine=engine))) for engine in ("native", "onnxruntime")
        ]

    before = both()
    known = origin.version_of
    monkeypatch.setattr(
        origin, "version_of", lambda package: "9" if package == "onnxruntime" else known(package)
    )
    assert [one == other for one, other in zip(before, both(), strict=True)] == [True, False]


# ---------------------------------------------------------------- failing, stopping, going on


def test_running_again_computes_nothing(copy: Path) -> None:
    """A finished experiment is found finished, and no file is touched."""
    before = {file: file.stat().st_mtime_ns for file in files(copy)}
    counts: dict[str, int] = {}
    outcome = run(copy, functools.partial(counting, counts))
    assert (outcome.found, outcome.computed, counts) == (CELLS, 0, {})
    assert {file: file.stat().st_mtime_ns for file in files(copy)} == before


def test_an_interrupted_experiment_goes_on(finished: Path, tmp_path: Path) -> None:
    """Ctrl-C keeps what is finished and says how much; the next run computes the rest, each cell once."""
    counts: dict[str, int] = {}

    def stopping(bench: Bench, member: Member) -> list[Record]:
        if len(counts) == 7:
            raise KeyboardInterrupt
        return counting(counts, bench, member)

    with pytest.raises(Interrupted) as stop:
        run(tmp_path / "s", stopping)
    assert (stop.value.kept, stop.value.total) == (7, CELLS)
    assert len(files(tmp_path / "s")) == 7
    outcome = run(tmp_path / "s", functools.partial(counting, counts))
    assert (outcome.found, outcome.computed) == (7, CELLS - 7)
    assert set(counts.values()) == {1}
    pd.testing.assert_frame_equal(timeless(tmp_path / "s"), timeless(finished))


@pytest.mark.parametrize(
    ("problem", "failure"),
    [
        (ZeroDivisionError("by zero"), "broken"),
        (MemoryError(), "broken"),
        (OSError(errno.EMFILE, "too many files"), "broken"),
        (CompilerBugError.single("a step is wrong"), "broken"),
        (CompileRefusal.single("no gates here"), "refused"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_a_failing_cell_is_a_row_and_the_rest_go_on(
    finished: Path, tmp_path: Path, problem: Exception, failure: str
) -> None:
    """Whatever a cell raises becomes its error; the others are as ever; only what broke is retried."""

    def failing(bench: Bench, member: Member) -> list[Record]:
        if key_of(bench, member) == "1/lstm/float16":
            raise problem
        return bench.measure(member)

    run(tmp_path / "s", failing)
    frame = read_store(tmp_path / "s")
    bad = frame[frame["failure"] != ""]
    assert list(bad["failure"]) == [failure]
    assert str(problem) in bad["error"].item()
    assert bad["step"].isna().all()
    counts: dict[str, int] = {}
    compute = functools.partial(counting, counts)
    assert run(tmp_path / "s", compute).computed == 0
    assert run(tmp_path / "s", compute, retry=True).computed == (failure == "broken")
    assert list(counts) == (["1/lstm/float16"] if failure == "broken" else [])
    same = timeless(tmp_path / "s").equals(timeless(finished))
    assert same == (failure == "broken")


def test_two_runs_on_one_store_share_the_work(finished: Path, tmp_path: Path) -> None:
    """Runs at the same time compute every cell once between them, and both see all of it."""
    counts: dict[str, int] = {}
    outcomes: list[Outcome] = []
    gate = threading.Barrier(3)

    def one() -> None:
        gate.wait()
        outcomes.append(run(tmp_path / "s", functools.partial(counting, counts)))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts.values()) == [1] * CELLS
    assert [len(outcome.cells) for outcome in outcomes] == [CELLS] * 3
    pd.testing.assert_frame_equal(timeless(tmp_path / "s"), timeless(finished))


def test_a_claim_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    """A claimed cell is nobody else's until it is finished or given up."""
    store = open_store(tmp_path / "s")
    cell = "0" * 64
    with store.claim(cell) as mine:
        assert mine is not None
        with store.claim(cell) as other:
            assert other is None
        assert store.abandoned() == []
    with store.claim(cell) as again:
        assert again is not None
    assert not list((store.path / "cells").iterdir())
    store.part(cell).write_bytes(b"left behind")
    assert store.abandoned() == [cell]


@pytest.mark.parametrize("room", [0, 20_000])
def test_a_full_disk_is_one_error_and_keeps_the_rest(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Where writing fails half way, the finished cells stay, nothing half is left, and the run can go on."""
    true_write = os.write
    left = room

    def write(descriptor: int, content: bytes | memoryview) -> int:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = true_write(descriptor, bytes(content)[:left])
        left -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(StoreError, match=r"No space left.* of 18 cells are kept \(make room") as caught:
            run(tmp_path / "s")
    assert len(caught.value.diagnostics) == 1
    assert not list((tmp_path / "s" / "cells").glob("*.part"))
    kept = len(files(tmp_path / "s"))
    assert (kept > 0) == (room > 0)
    assert run(tmp_path / "s").found == kept
    pd.testing.assert_frame_equal(timeless(tmp_path / "s"), timeless(finished))


def test_progress_counts_what_was_missing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress begins at 0, ends at the number of missing cells, and never goes back."""
    monkeypatch.setattr(running, "POLL_SECONDS", 0.001)
    for file in files(copy)[:5]:
        file.unlink()
    seen: list[tuple[int, int]] = []
    run(copy, progress=lambda done, total, _what: seen.append((done, total)))
    assert seen[0] == (0, 5)
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)


# ---------------------------------------------------------------- damaged and foreign


def test_damaged_and_foreign_files_are_left_out_with_a_word(copy: Path) -> None:
    """A truncated, an empty, a renamed and a foreign file are each reported and cost no other cell."""
    every = files(copy)
    every[0].write_bytes(every[0].read_bytes()[:-200])
    every[1].write_bytes(b"")
    every[2].rename(every[2].with_name("f" * 64 + ".parquet"))
    pq.write_table(pa.table({"a": [1]}), every[3])
    (copy / "cells" / "notes.txt").write_text("mine")
    (copy / "cells" / "mine.parquet").write_bytes(every[4].read_bytes())
    told: list[str] = []
    frame = read_store(copy, complain=told.append)
    assert frame["cell"].nunique() == CELLS - 4
    assert len(told) == 6
    for word in ("damaged", "another cell", "no cell of an experiment", "notes.txt", "its name is not"):
        assert any(word in line for line in told), told
    with pytest.warns(StoreWarning, match="left out"):
        read_store(copy)


def test_damaged_cells_are_put_aside_and_computed_again(copy: Path, finished: Path) -> None:
    """Running again replaces what is damaged, keeps the damaged file, and says why."""
    broken = files(copy)[5]
    content = broken.read_bytes()[:-1]
    broken.write_bytes(content)
    counts: dict[str, int] = {}
    outcome = run(copy, functools.partial(counting, counts))
    assert (outcome.computed, sum(counts.values())) == (1, 1)
    assert broken.name in outcome.damaged[0]
    assert (copy / "damaged" / broken.name).read_bytes() == content
    pd.testing.assert_frame_equal(timeless(copy), timeless(finished))


@given(st.data())
def test_no_flipped_bit_changes_a_number(finished: Path, data: st.DataObject) -> None:
    """A cell's file with one bit flipped is refused, or reads exactly as before."""
    source = files(finished)[0]
    content = bytearray(source.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    place = finished.parent / source.name
    place.write_bytes(content)
    try:
        table, _ = read_cell(place)
    except DamagedCellError:
        return
    assert table.equals(read_cell(source)[0])


def test_cells_that_were_computed_anew_replace_the_old(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the suite only the latest rows of a cell count, and it is said how many do not."""
    monkeypatch.setattr(origin, "NUMERIC_SCHEMA", origin.NUMERIC_SCHEMA + 1)
    assert run(copy).computed == CELLS
    told: list[str] = []
    frame = read_store(copy, complain=told.append)
    assert frame["cell"].nunique() == CELLS
    assert set(frame["cell"]) == names()
    assert len(told) == 1
    assert "18 older versions" in told[0]


# ---------------------------------------------------------------- places


def test_places_that_are_no_store_are_refused(tmp_path: Path) -> None:
    """A file, a folder of other things, a store of the future and a missing one each have their message."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("x")
    (tmp_path / "future").mkdir()
    (tmp_path / "future" / "store.json").write_text('{"store": "lsrl-stability", "schema": 99}')
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "store.json").write_text("[" * 100_000)
    for name, message in (
        ("file", "is a file"),
        ("folder", "not empty, and no store"),
        ("future", "schema 99"),
        ("odd", "no store"),
        ("file/inside", "cannot write"),
    ):
        with pytest.raises(StoreError, match=message):
            run(tmp_path / name)
    for name in ("folder", "nowhere", "future"):
        with pytest.raises(StoreError):
            read_store(tmp_path / name)
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "x"
    assert len(list((tmp_path / "folder").iterdir())) == 1
