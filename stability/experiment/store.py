"""Finished cells on disk: one Parquet file each, complete or not there at all.

Layout of a store::

    store.json               what this folder is
    experiments/NAME-….toml  every experiment that was run into it
    cells/HASH.parquet       a finished cell; HASH is of everything that determines it
    cells/HASH.part          a cell that a process is computing right now
    noise-cells/…            the same for noisy runs, whose rows have other columns
    damaged/HASH.parquet     what was found broken, put aside and computed again

A process claims a cell by a lock on its ``.part`` file (``flock``, which the system
takes back when a process dies, however it dies), computes it, writes into that very
file, syncs it and renames it.  So any number of processes may work on one store: no
cell is computed by two of them, and a file under its final name is whole.  Where there
is no ``flock`` (Windows) one process at a time has to do.

Rows are those of :mod:`stability.cells`, with :data:`stability.attribution.FIRST` (null where
the experiment does not ask for ``states``), and with the columns :data:`STORE_COLUMNS`.
Rows of noisy runs are those of :mod:`stability.noise`, with the same :data:`STORE_COLUMNS`:

``cell``            the content hash, as in the file's name
``config_hash``     hash of the compile configuration
``failure``         empty; ``refused`` for what cannot be compiled or run, ``broken`` for what
                    failed unexpectedly, ``died`` for what took its process down; see ``error``
``numeric_schema``  of the suite that computed it
``versions``        of the suite, Python and the packages that compute
``commit``          of the suite, where it ran from a checkout
``computed_at``     UTC
``seconds``         the cell took, without what it shares with others
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compiler.errors import LsrlError
from stability import noise
from stability.attribution import FIRST
from stability.cells import COLUMNS, TYPES, Record
from stability.experiment.origin import canonical, digest

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

SCHEMA = 1
MARKER, CELLS, NOISE_CELLS, EXPERIMENTS, DAMAGED = (
    "store.json", "cells", "noise-cells", "experiments", "damaged"
)  # fmt: skip
FINISHED, PART, PROBE = ".parquet", ".part", ".probe"
STORE_COLUMNS = (
    "cell", "config_hash", "failure", "numeric_schema", "versions", "commit", "computed_at", "seconds",
)  # fmt: skip
VOLATILE = ("computed_at", "seconds")
"""Columns in which two runs of the same cells differ."""

_ARROW = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "boolean": pa.bool_(),
}
_STORE_TYPES = {"numeric_schema": "int64", "seconds": "float64"}
ROW_TYPES = TYPES | {name: kind for name, kind in FIRST.items() if kind != "str"} | _STORE_TYPES
NOISE_TYPES = noise.TYPES | _STORE_TYPES


def _schema(columns: Iterable[str], types: Mapping[str, str]) -> pa.Schema:
    return pa.schema(
        [(name, _ARROW[types[name].lower()] if name in types else pa.string()) for name in columns]
    )


ROW_SCHEMA = _schema((*COLUMNS, *FIRST, *STORE_COLUMNS), ROW_TYPES)
NOISE_SCHEMA = _schema((*noise.COLUMNS, *STORE_COLUMNS), NOISE_TYPES)
SCHEMAS = {CELLS: ROW_SCHEMA, NOISE_CELLS: NOISE_SCHEMA}
"""The columns of the cells in each folder."""
_IDENTITY = b"lsrl.identity"
_HARMLESS = {CELLS, NOISE_CELLS, EXPERIMENTS, "lost+found"}
_HASH = re.compile(r"[0-9a-f]{64}")


class StoreError(LsrlError):
    """A store that cannot be made, written or read."""


class DamagedCellError(LsrlError):
    """A file among the cells that is damaged, or that is no cell of this suite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A folder of finished cells; see the module for its layout.

    Attributes:
        path: of the store.
        folder: of its cells: one of :data:`SCHEMAS`.
    """

    path: Path
    folder: str = CELLS

    def finished(self, cell: str) -> Path:
        """Where a finished cell is."""
        return self.path / self.folder / f"{cell}{FINISHED}"

    def part(self, cell: str) -> Path:
        """Where a cell is while it is being computed."""
        return self.path / self.folder / f"{cell}{PART}"

    def has(self, cell: str) -> bool:
        """Whether a cell is finished."""
        return self.finished(cell).exists()

    @contextlib.contextmanager
    def claim(self, cell: str, *, wait: bool = False) -> Iterator[Claim | None]:
        """Make a cell one's own; ``None`` if it is finished, or claimed by another process.

        Args:
            cell: its hash.
            wait: wait for the other process instead, which finishes the cell or dies.
        """
        descriptor = self._claimed(cell, wait=wait)
        if descriptor is None:
            yield None
            return
        mine = Claim(store=self, cell=cell, descriptor=descriptor)
        try:
            yield mine
        finally:
            if not self.has(cell):
                self.part(cell).unlink(missing_ok=True)
            os.close(descriptor)

    def _claimed(self, cell: str, *, wait: bool) -> int | None:
        part = self.part(cell)
        while not self.has(cell):
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            mine = False
            try:
                if not _locked(descriptor, wait=wait):
                    return None
                # While we waited, the file may have been finished, or given up, under our hands.
                mine = _is_file(part, descriptor)
                if mine and self.has(cell):
                    part.unlink()
                    mine = False
                if mine:
                    return descriptor
            finally:
                if not mine:
                    os.close(descriptor)
        return None

    def abandoned(self) -> list[str]:
        """Cells that were being computed by processes which died; they are given up."""
        found = []
        for part in sorted(each for folder in SCHEMAS for each in (self.path / folder).glob(f"*{PART}")):
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
                try:
                    if _locked(descriptor, wait=False) and _is_file(part, descriptor):
                        part.unlink()
                        found.append(part.name.removesuffix(PART))
                finally:
                    os.close(descriptor)
        return found

    def keep_experiment(self, name: str, text: str) -> None:
        """Remember what was run."""
        if text:
            _write_whole(self.path / EXPERIMENTS / f"{name}-{digest(text)[:8]}.toml", text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A cell that this process alone computes."""

    store: Store
    cell: str
    descriptor: int

    def finish(self, records: Sequence[Record], identity: str) -> None:
        """Write the rows of the cell; after that it is finished, whatever happens.

        Args:
            records: the rows, with the columns of the store's folder (:data:`SCHEMAS`).
            identity: the canonical text of which ``cell`` is the hash.

        Raises:
            OSError: the disk is full or the like; nothing is left behind.
        """
        assert digest(identity) == self.cell, "a cell is named by what determines it"
        content = _content(records, identity, SCHEMAS[self.store.folder])
        os.ftruncate(self.descriptor, 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        _write_all(self.descriptor, content)
        os.fsync(self.descriptor)
        self.store.part(self.cell).replace(self.store.finished(self.cell))
        _sync_folder(self.store.path / self.store.folder)


def open_store(path: str | Path) -> Store:
    """A store to write to; made if there is nothing yet.

    Raises:
        StoreError: the place is a file, a folder of something else, a store of another
            version, or it cannot be written.
    """
    place = Path(path)
    try:
        if place.exists() and not place.is_dir():
            raise StoreError.single(f"{place} is a file", hint="choose another place with -o")
        place.mkdir(parents=True, exist_ok=True)
        # looked for before the marker, which another run may write at this moment
        strangers = any(each.name not in _HARMLESS and each.name[0] != "." for each in place.iterdir())
        if not (place / MARKER).exists():
            if strangers:
                raise StoreError.single(
                    f"{place} is not empty, and no store", hint="choose an empty or a new folder with -o"
                )
            _write_whole(place / MARKER, canonical({"store": "lsrl-stability", "schema": SCHEMA}).encode())
        check_store(place)
        for name in (*SCHEMAS, EXPERIMENTS):
            (place / name).mkdir(exist_ok=True)
        probe = place / CELLS / f"{_unique()}{PROBE}"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise StoreError.single(
            f"cannot write the store {place}: {problem.strerror or problem}",
            hint="choose another place with -o",
        ) from None
    return Store(path=place)


def check_store(path: Path) -> None:
    """Refuse what is no store of this version.

    Raises:
        StoreError: it is not.
    """
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        marker = None
    if not isinstance(marker, dict) or marker.get("store") != "lsrl-stability":
        raise StoreError.single(
            f"{path} is no store of experiments", hint="make one with: lsrl experiment run NAME -o STORE"
        )
    if marker.get("schema") != SCHEMA:
        raise StoreError.single(
            f"{path} is a store of schema {str(marker.get('schema'))[:20]}, this version reads {SCHEMA}",
            hint="use the version of lsrl-stability that wrote it",
        )


def read_cell(path: Path) -> tuple[pa.Table, dict[str, object]]:
    """The rows of a finished cell, and what it is.

    Raises:
        DamagedCellError: the file cannot be read, is damaged, or is no cell.
        FileNotFoundError: there is no such file.
    """
    name = path.name.removesuffix(FINISHED)
    if not _HASH.fullmatch(name):
        raise DamagedCellError.single(f"{path}: its name is not that of a cell", hint="move it elsewhere")
    try:
        with path.open("rb") as stream:
            content = pa.BufferReader(stream.read())
        file = pq.ParquetFile(content, page_checksum_verification=True)
        table = file.read(use_threads=False)
        identity = (file.metadata.metadata or {}).get(_IDENTITY, b"").decode()
        found = json.loads(identity) if identity else None
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, RecursionError, MemoryError) as problem:
        reason = str(problem).split("\n")[0][:100]
        raise DamagedCellError.single(f"{path}: damaged: {reason}", hint="run the experiment again") from None
    if not isinstance(found, dict):
        raise DamagedCellError.single(f"{path}: no cell of an experiment", hint="move it elsewhere")
    if digest(identity) != name:
        raise DamagedCellError.single(f"{path}: it holds another cell than its name says")
    if not table.schema.equals(SCHEMAS.get(path.parent.name, ROW_SCHEMA)) or not table.num_rows:
        raise DamagedCellError.single(f"{path}: its columns are not those of this version")
    if table["cell"].unique().to_pylist() != [name]:
        raise DamagedCellError.single(f"{path}: its rows are of another cell than its name says")
    for column in table.column_names:
        if table[column].null_count and _needed(column):
            raise DamagedCellError.single(f"{path}: damaged: it has a row without {column!r}")
    return table, found


def _needed(column: str) -> bool:
    """Whether every row of a cell has a value there: texts, and numbers that are never unknown."""
    kind = (ROW_TYPES | NOISE_TYPES).get(column)
    return column not in FIRST if kind is None else kind in {"int64", "bool"}


def _content(records: Sequence[Record], identity: str, schema: pa.Schema) -> bytes:
    """A small file: plain types, no statistics, no compression, a checksum on every page."""
    table = pa.Table.from_pylist(list(records), schema=schema)
    buffer = io.BytesIO()
    with pq.ParquetWriter(
        buffer, schema, compression="none", write_statistics=False, store_schema=False,
        write_page_checksum=True,
    ) as writer:  # fmt: skip
        writer.write_table(table)
        writer.add_key_value_metadata({_IDENTITY: identity})
    return buffer.getvalue()


def _locked(descriptor: int, *, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to the file that is open."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_whole(path: Path, content: bytes) -> None:
    """A small file that is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{_unique()}")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _unique() -> str:
    return uuid.uuid4().hex


def _sync_folder(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
