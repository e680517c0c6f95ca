"""A baseline's file: what is written is read, and a hostile one is one clear error."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stability.gate import BaselineError, GateCell, read_baseline, write_baseline
from stability.gate.cell import REFERENCES
from tests.stability.gates import KEYS, cell

HASHES = st.integers(0, 2**256 - 1).map("{:064x}".format)
SIZES = st.floats(0, allow_nan=False)


@st.composite
def cells(draw: st.DrawFn) -> GateCell:
    """Cells that ran, and cells that were refused."""
    keys = {"program": draw(st.text(max_size=20)), "seed": draw(st.integers(0, 2**63 - 1))}
    if draw(st.booleans()):
        return GateCell(keys={**KEYS, **keys}, error=draw(st.text(min_size=1, max_size=30)))
    first_bad = draw(st.none() | st.integers(0, 99))
    status = "ok" if first_bad is None else draw(st.sampled_from(["overflow", "nan"]))
    return cell(
        keys, model_hash=draw(HASHES), bits=draw(HASHES), status=status, first_bad=first_bad,
        reference=draw(st.sampled_from(REFERENCES)), horizon=draw(st.none() | st.integers(0, 99)),
        significant_bits=draw(st.floats(0, 53)), wrong_share=draw(st.floats(0, 1)), abs_error=draw(SIZES),
    )  # fmt: skip


@given(st.lists(cells(), max_size=5, unique_by=lambda each: each.key), st.randoms(use_true_random=False))
def test_what_is_written_is_read(made: list[GateCell], chance: Any) -> None:
    """A baseline gives back its cells to the last bit, and its text does not depend on their order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gate.json"
        write_baseline(path, made)
        text = path.read_text(encoding="utf-8")
        assert read_baseline(path) == {each.key: _without_settings(each) for each in made}
        chance.shuffle(made)
        write_baseline(path, made)
        assert path.read_text(encoding="utf-8") == text
        assert text.count("\n") == max(len(made), 1) + 2  # one line each
        assert [each.name for each in Path(folder).iterdir()] == ["gate.json"]


def _without_settings(each: GateCell) -> GateCell:
    return GateCell(keys=each.keys, error=each.error) if each.error else each


def test_a_baseline_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full, the old baseline is there and nothing lies beside it."""
    path = tmp_path / "gate.json"
    write_baseline(path, [cell()])
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_baseline(path, [cell({"seed": 1})])
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["gate.json"]


def record(**changes: Any) -> dict[str, Any]:
    """A cell as it stands in a file."""
    good: dict[str, Any] = {
        **KEYS, "settings": "mu=2", "model_hash": "a" * 64, "reference": "right", "status": "ok",
        "first_bad": None, "significant_bits": 10.2, "horizon": 5, "wrong_share": 0.5, "abs_error": "inf",
        "bits": "b" * 64,
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not ...}


def file(folder: Path, content: object) -> Path:
    """A baseline with some content."""
    path = folder / "gate.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def whole(*records: object) -> dict[str, object]:
    """A baseline around records."""
    return {"baseline": "lsrl-gate", "schema": 1, "cells": list(records)}


def test_the_hand_written_cell_is_sound(tmp_path: Path) -> None:
    """The record that the tests below spoil is read."""
    (found,) = read_baseline(file(tmp_path, whole(record()))).values()
    assert (found.abs_error, found.finite) == (float("inf"), False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1), ("seed", 2**63), ("seed", True), ("seed", "0"), ("seed", 1.0), ("length", 0),
        ("length", 10**9), ("program", 3), ("program", None), ("program", "x" * 50_000), ("settings", []),
        ("model_hash", "a" * 63), ("model_hash", "A" * 64), ("bits", None), ("status", "fine"),
        ("status", ["ok"]), ("reference", "maybe"), ("first_bad", 100), ("first_bad", -1), ("first_bad", 3),
        ("horizon", 100), ("horizon", 1.5), ("significant_bits", -0.1), ("significant_bits", "10"),
        ("significant_bits", 10**400), ("wrong_share", 1.1), ("wrong_share", True), ("abs_error", -1),
        ("abs_error", "nan"), ("abs_error", 10**400), ("abs_error", None), ("bits", ...), ("seed", ...),
        ("status", "nan"), ("extra", 1), ("error", "both"),
    ],
)  # fmt: skip
def test_a_value_that_no_cell_has_is_refused(tmp_path: Path, name: str, value: object) -> None:
    """A value of another kind or out of bounds is one error that names file, cell and value."""
    with pytest.raises(BaselineError) as caught:
        read_baseline(file(tmp_path, whole(record(seed=7), record(**{name: value}))))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'gate.json'}: cells[1]")
    assert len(line) < 400


@pytest.mark.parametrize(
    "content",
    [
        "", "[", "[]", "3", "{}", '{"baseline": "other", "schema": 1, "cells": []}', "[" * 100_000,
        '{"baseline": "lsrl-gate", "schema": 2, "cells": []}', '{"cells": [], "cells": []}',
        '{"baseline": "lsrl-gate", "schema": true, "cells": []}', '{"baseline": "lsrl-gate", "cells": []}',
        '{"baseline": "lsrl-gate", "schema": 1, "cells": {}}', whole(3), whole([]), whole(None),
        '{"baseline": "lsrl-gate", "schema": 1, "cells": [], "more": 1}', whole(record(), record()),
        '{"baseline": "lsrl-gate", "schema": 1, "cells": [NaN]}', "9" * 10_000,
        '{"baseline": "lsrl-gate", "schema": 1, "cells": [{"error": 1, "error": 2}]}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, content: object) -> None:
    """Other JSON, broken JSON, duplicates, nan and depth are one clear line."""
    with pytest.raises(BaselineError) as caught:
        read_baseline(file(tmp_path, content))
    (line,) = str(caught.value).splitlines()
    assert str(tmp_path / "gate.json") in line
    assert "--update" in line


def test_a_file_that_is_too_large_or_missing_or_no_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are looked at before anything is parsed; folders, bytes and missing files are named."""
    path = file(tmp_path, whole())
    path.write_bytes(b'\xff{"baseline"')
    with pytest.raises(BaselineError, match="it cannot be read"):
        read_baseline(path)
    monkeypatch.setattr("stability.gate.baseline.MAX_BYTES", 5)
    with pytest.raises(BaselineError, match="more than 5 bytes"):
        read_baseline(path)
    with pytest.raises(BaselineError, match="cannot read the baseline"):
        read_baseline(tmp_path)
    with pytest.raises(BaselineError, match="there is no baseline"):
        read_baseline(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*record(), "error"]), JSON)
def test_no_value_ends_in_another_exception(name: str, value: object) -> None:
    """Whatever a field holds, the cell is read or refused by an error of ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = file(Path(folder), whole(record(**{name: value})))
        refusal = None
        try:
            found = read_baseline(path)
        except BaselineError as problem:
            refusal = problem
        assert len(found) == 1 if refusal is None else str(path) in str(refusal)
