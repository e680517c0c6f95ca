"""Prompts from files: exact, in blocks, and refused with file, line and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import TokenError
from reports.cli.token_files import TokenFile


def read(path: Path, dim: int, size: int = 3) -> list[list[mpq]]:
    """All tokens of a file, as rationals."""
    blocks = TokenFile(name=path.name, path=path, dim=dim).blocks(size)
    return [[mpq(*_ratio(value)) for value in row] for block in blocks for row in block.tolist()]


def _ratio(value: float | mpq) -> tuple[int, int]:
    if isinstance(value, float):
        return value.as_integer_ratio()
    exact = mpq(value)
    return int(exact.numerator), int(exact.denominator)


def written(folder: Path, text: str) -> Path:
    """A CSV file with this text."""
    path = folder / "tokens.csv"
    path.write_bytes(text.encode())
    return path


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=7)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.integers(-(10**20), 10**20), DECIMALS), min_size=1, max_size=12),
    size=st.integers(1, 5),
)
def test_decimals_are_read_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, object]], size: int
) -> None:
    """Whatever is written as a decimal is read as that rational, in blocks of any size."""
    text = "".join(f"{whole},{decimal}\n" for whole, decimal in rows)
    path = written(tmp_path_factory.mktemp("csv"), text)
    assert read(path, 2, size) == [[mpq(whole), mpq(str(decimal))] for whole, decimal in rows]


@pytest.mark.parametrize(
    "text",
    [
        "0.1,2\n3,4\n",
        "a,b\n0.1,2\n3,4",
        "\ufeffa,b\r\n0.1,2\r\n3,4\r\n",
        "  1e-1 , +2\n3.,4.0\n\n\n",
        "1/10,2\n3,4\n",
    ],
)
def test_layouts_of_csv(tmp_path: Path, text: str) -> None:
    """A header, a byte-order mark, Windows line ends, spaces and empty lines at the end change nothing."""
    assert read(written(tmp_path, text), 2) == [[mpq(1, 10), mpq(2)], [mpq(3), mpq(4)]]


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("1,2\n3,nan\n", "tokens.csv:2", "'nan'"),
        ("a,b\n1,2\n3,inf\n", "tokens.csv:3", "'inf'"),
        ("nan,1\n", "tokens.csv:1", "'nan'"),
        ("1,2\n1,x\n", "tokens.csv:2", "'x'"),
        ("1,2\n1,\n", "tokens.csv:2", "''"),
        ("1,2\n1,1e999999999\n", "tokens.csv:2", "'1e999999999'"),
        ("1,2\n1,2,3\n", "tokens.csv:2", "3 entries"),
        ("1,2\n1\n", "tokens.csv:2", "1 entry"),
        ("a,b,c\n1,2\n", "tokens.csv:1", "3 entries"),
        ("1,2\n\n3,4\n", "tokens.csv:2", "empty"),
        ("1,2\n1,1_000\n", "tokens.csv:2", "'1_000'"),
        ("1,2\n1,1/0\n", "tokens.csv:2", "'1/0'"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, text: str, place: str, value: str) -> None:
    """A wrong row is one error that names file, line and value."""
    with pytest.raises(TokenError) as caught:
        read(written(tmp_path, text), 2)
    (diagnostic,) = caught.value.diagnostics
    assert str(diagnostic).startswith(place)
    assert value in diagnostic.message


def test_binary_and_endless_lines_are_refused(tmp_path: Path) -> None:
    """A file that is not text, or has one endless line, is refused without being read whole."""
    path = tmp_path / "tokens.csv"
    path.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(TokenError, match="UTF-8"):
        read(path, 1)
    path.write_bytes(b"1" * (3 << 20))
    with pytest.raises(TokenError, match="more than"):
        read(path, 1)


def test_numpy_files_keep_their_binary_values(tmp_path: Path) -> None:
    """A .npy file gives its values bit for bit, in blocks."""
    path = tmp_path / "tokens.npy"
    values = np.array([[0.1, 2.0], [3.0, -4.5], [1e-320, 7.0], [1.0, 1.0]])
    np.save(path, values)
    blocks = list(TokenFile(name="t", path=path, dim=2).blocks(3))
    assert [len(block) for block in blocks] == [3, 1]
    assert np.array_equal(np.concatenate(blocks), values)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[1.0], [np.nan]]), "row 1, entry 0 is nan"),
        (np.array([[1.0], [np.inf]]), "row 1, entry 0 is inf"),
        (np.ones((4, 2)), "2 entries"),
        (np.ones(4), r"shape \(4,\)"),
        (np.ones((2, 4, 1)), "shape"),
        (np.array([["a"]]), "real numbers"),
        (np.array([[1j]]), "real numbers"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, array: npt.NDArray[Any], words: str) -> None:
    """An array of another shape or kind, or with a value that is not finite, is one error."""
    path = tmp_path / "tokens.npy"
    np.save(path, array)
    with pytest.raises(TokenError, match=words):
        read(path, 1)


@pytest.mark.parametrize("content", [b"", b"1,2\n", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{}"])
def test_files_that_are_no_arrays_are_refused(tmp_path: Path, content: bytes) -> None:
    """A damaged .npy file is an error of the user's, whatever is wrong with it; nothing is unpickled."""
    path = tmp_path / "tokens.npy"
    path.write_bytes(content)
    with pytest.raises(TokenError, match="not a"):
        read(path, 1)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    """An array of objects would need unpickling."""
    path = tmp_path / "tokens.npy"
    np.save(path, np.array([[object]], dtype=object), allow_pickle=True)
    with pytest.raises(TokenError, match="not a"):
        read(path, 1)
