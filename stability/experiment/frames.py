"""A store as a frame: every finished cell that is sound, told apart from what is not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from compiler.errors import LsrlError
from stability.attribution import FIRST
from stability.cells import COLUMNS
from stability.drift import ORDER
from stability.experiment.origin import canonical
from stability.experiment.store import (
    CELLS,
    FINISHED,
    NOISE_CELLS,
    NOISE_SCHEMA,
    NOISE_TYPES,
    PART,
    PROBE,
    ROW_SCHEMA,
    ROW_TYPES,
    STORE_COLUMNS,
    DamagedCellError,
    Store,
    check_store,
    read_cell,
)

Complain = Callable[[str], None]
NOISE_ORDER = (
    "program", "parameters", "length", "config", "conditional", "target", "activation", "format", "kind",
    "include", "states", "sigma", "seed",
)  # fmt: skip
"""Columns by which noisy runs are sorted."""
_SUPERSEDED = ("suite", "numeric_schema", "draws", "program", "engine_versions")
"""Parts of an identity in which an old cell may differ from the one that replaces it."""


class StoreWarning(UserWarning):
    """Files of a store that were left out."""


def _warn(message: str) -> None:
    warnings.warn(message, StoreWarning, stacklevel=3)


def read_store(
    path: str | Path, *, only: Collection[str] | None = None, complain: Complain = _warn
) -> pd.DataFrame:
    """All finished cells of a store, sorted, as one drift frame; noisy runs are left to :func:`read_noise`.

    Where a cell was computed again since, because the suite or the program's text has
    changed, its latest rows count.

    Args:
        path: the store.
        only: hashes of the cells that are wanted; default: all.
        complain: told of every file that is left out, one line each; by default a
            :class:`StoreWarning`.

    Returns:
        The columns of :mod:`stability.cells`, those of :data:`stability.attribution.FIRST` if any
        cell was asked for its states, then :data:`stability.experiment.store.STORE_COLUMNS`.

    Raises:
        StoreError: ``path`` is no store.
    """
    frame = _frame(_latest(Path(path), CELLS, only, complain), ROW_SCHEMA, ROW_TYPES)
    asked = FIRST if frame["first_state"].notna().any() else {}
    frame = frame[[*COLUMNS, *asked, *STORE_COLUMNS]]
    return frame.sort_values([*ORDER, "cell"], kind="stable", ignore_index=True)


def read_noise(
    path: str | Path, *, only: Collection[str] | None = None, complain: Complain = _warn
) -> pd.DataFrame:
    """All finished noisy runs of a store, as :func:`stability.noise.noise` gives them.

    Args:
        path: the store.
        only: as in :func:`read_store`.
        complain: as in :func:`read_store`.

    Returns:
        The columns of :mod:`stability.noise`, then :data:`stability.experiment.store.STORE_COLUMNS`;
        empty where no experiment asked for noise.

    Raises:
        StoreError: ``path`` is no store.
    """
    frame = _frame(_latest(Path(path), NOISE_CELLS, only, complain), NOISE_SCHEMA, NOISE_TYPES)
    return frame.sort_values([*NOISE_ORDER, "cell"], kind="stable", ignore_index=True)


def _latest(path: Path, folder: str, only: Collection[str] | None, complain: Complain) -> list[pa.Table]:
    """The cells of a folder, each in its latest version."""
    check_store(path)
    latest: dict[str, tuple[str, pa.Table]] = {}
    older = 0
    for file in _files(path / folder, only, complain):
        try:
            table, identity = read_cell(file)
        except FileNotFoundError:
            continue  # put aside by a process that works on the store
        except DamagedCellError as problem:
            complain(f"left out {problem}")
            continue
        key = canonical({name: value for name, value in identity.items() if name not in _SUPERSEDED})
        time = str(table["computed_at"][0])
        older += key in latest
        if key not in latest or latest[key][0] < time:
            latest[key] = time, table
    if older:
        complain(
            f"{path}: left out {older} older versions of cells; the suite or a program has changed since"
        )
    return [table for _, table in latest.values()]


def inspected(store: Store, wanted: Mapping[str, str]) -> Iterator[tuple[str, str | LsrlError]]:
    """Those of some cells whose files are there, each with its ``failure``, or why it cannot be used.

    Args:
        store: the folder of the cells.
        wanted: their hashes, each with the canonical text of what determines the cell.
    """
    for cell, text in wanted.items():
        try:
            table, identity = read_cell(store.finished(cell))
        except FileNotFoundError:
            continue
        except DamagedCellError as problem:
            yield cell, problem
            continue
        if canonical(identity) != text:
            place = store.finished(cell)
            yield cell, DamagedCellError.single(f"{place}: it is of another cell with the same hash")
        else:
            yield cell, str(table["failure"][0])


def _files(folder: Path, only: Collection[str] | None, complain: Complain) -> list[Path]:
    if only is not None:
        return [folder / f"{cell}{FINISHED}" for cell in sorted(only)]
    found = []
    for file in sorted(folder.glob("*")):
        if file.suffix == FINISHED:
            found.append(file)
        elif file.suffix not in {PART, PROBE}:
            complain(f"left out {file}: no cell of an experiment")
    return found


def _frame(tables: Iterable[pa.Table], schema: pa.Schema, types: Mapping[str, str]) -> pd.DataFrame:
    whole = pa.concat_tables([schema.empty_table(), *(table.replace_schema_metadata() for table in tables)])
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = whole.to_pandas(types_mapper=nullable.get)
    return frame.astype(dict(types))
