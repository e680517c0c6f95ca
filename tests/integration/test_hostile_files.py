"""Every kind of file that a user can feed, damaged in every way: read, or refused in words, and soon.

With ``HYPOTHESIS_PROFILE=thorough`` all of this takes about ten minutes.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from compiler.errors import LsrlError
from reports.cli import gate as gate_command
from reports.cli.app import app
from stability.experiment import read_store
from stability.experiment.store import CELLS
from tests.integration.hostile import (
    HUGE,
    Content,
    damaged,
    watched,
)
from tests.integration.hostile_kinds import KINDS, Kind

EXAMPLES = settings().max_examples // 2
"""Of files that are read fast; slower ones get a share."""
Made = tuple[Kind, Path, bytes]


@pytest.fixture(scope="module", params=KINDS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Kind, Path, bytes]:
    """A kind, the path of its file, and what a right one holds."""
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    kind.make(folder)
    path = folder / kind.file if kind.file else folder / "store" / CELLS / (folder / "name").read_text()
    return kind, path, path.read_bytes()


def hammer(strategy: st.SearchStrategy[bytes], examples: float, check: Callable[[bytes], None]) -> None:
    """Check that many contents."""

    @settings(max_examples=max(1, int(examples)), phases=[Phase.generate])
    @given(strategy.map(Content))
    def run(content: bytes) -> None:
        check(content)

    run()


def survives(kind: Kind, path: Path, content: bytes) -> None:
    """A content is read, or refused by an error of ours, in bounded time."""
    path.write_bytes(content)
    with watched(), contextlib.suppress(LsrlError, OSError):
        kind.read(path)


def test_right_files_are_read(made: Made) -> None:
    """What the other tests damage is right: it is read without an error."""
    kind, path, content = made
    path.write_bytes(content)
    kind.read(path)


def test_damaged_bytes_are_read_or_refused(made: Made) -> None:
    """Bytes changed, cut off, doubled or swapped never end in another exception, nor in a hang."""
    kind, path, content = made
    hammer(damaged(content), EXAMPLES * kind.share, lambda each: survives(kind, path, each))


def test_what_looks_right_is_read_or_refused(made: Made) -> None:
    """Nor do words, keys and values of the right form that mean something else."""
    kind, path, content = made
    hammer(kind.draw(content), EXAMPLES * kind.share, lambda each: survives(kind, path, each))


def test_the_command_line_ends_in_a_status(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through ``lsrl`` each ends with status 0 to 3 and without a traceback."""
    kind, path, content = made
    monkeypatch.setattr(gate_command, "fresh_cells", lambda *_, **__: [])

    def check(each: bytes) -> None:
        path.write_bytes(each)
        with watched():
            done = CliRunner().invoke(app, kind.command(path))
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        assert done.exit_code in {0, 1, 2, 3}
        assert "Traceback" not in done.output

    hammer(st.one_of(damaged(content), kind.draw(content)), EXAMPLES * kind.share / 10, check)


def _without_length(content: bytes) -> bytes:
    """A cell whose rows have no length."""
    file = pq.ParquetFile(io.BytesIO(content))
    table, made = file.read(), io.BytesIO()
    place = table.column_names.index("length")
    table = table.set_column(place, "length", pa.nulls(table.num_rows, type=pa.int64()))
    with pq.ParquetWriter(made, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        own = {key: each for key, each in file.metadata.metadata.items() if key.startswith(b"lsrl")}
        writer.add_key_value_metadata(own)
    return made.getvalue()


FOUND: Mapping[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a fraction of thousands of digits": ("tokens", lambda _: f"1/{HUGE}".encode(), "of 5,002 characters"),
    "a NUL in the header of an array": (
        "array",
        lambda each: each.replace(b" ", b"\0(", 1),
        "not a .npy array",
    ),
    "a power of ten as a token": (
        "entry",
        lambda each: re.sub(rb'\["[^"]*"', b'["1e999999999"', each, count=1),
        "fractions as texts",
    ),
    "no length in a cell": ("cell", _without_length, "a row without 'length'"),
}
"""What fuzzing found once: its kind, how a right file becomes one, and what is said of it."""


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_once_is_refused_in_words(what: str, tmp_path: Path) -> None:
    """Each finding of this fuzzing is now refused, or left out, with its reason."""
    name, spoil, words = FOUND[what]
    kind = KINDS[name]
    kind.make(tmp_path)
    path = tmp_path / kind.file if kind.file else tmp_path / "store" / CELLS / (tmp_path / "name").read_text()
    path.write_bytes(spoil(path.read_bytes()))
    if name == "cell":
        told: list[str] = []
        read_store(tmp_path / "store", complain=told.append)
        assert words in told[0]
        return
    with watched(), pytest.raises(LsrlError, match=words):
        kind.read(path)
