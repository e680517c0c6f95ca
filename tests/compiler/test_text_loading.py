"""Loading programs by name and by path."""

from __future__ import annotations

from pathlib import Path

import pytest
from gmpy2 import mpq

from compiler.errors import ConfigError, ProgramError
from compiler.loading import library_names, load_program

TINY = "param k = 1\nForEach:\n    x = Input(dim=1)\n    return x * k\n"


def test_library_names_load_with_parameters() -> None:
    """Every name of the library gives a program of that name; parameters reach it."""
    assert {"majority", "continuous", "dictionary", "copy_delay", "modulo"} <= set(library_names())
    assert [load_program(name).name for name in library_names()] == list(library_names())
    assert dict(load_program("dictionary", n=5).parameters)["n"] == 5


def test_files_load_by_path(tmp_path: Path) -> None:
    """A .lsrl file is read, named by its stem, and takes exact parameters."""
    file = tmp_path / "tiny.lsrl"
    file.write_text(TINY, encoding="utf-8")
    program = load_program(file, k="1/3")
    assert (program.name, program.parameters) == ("tiny", (("k", mpq(1, 3)),))
    assert load_program(str(file)) == load_program(file)


def test_unknown_names_come_with_close_ones() -> None:
    """A misspelt name is a ConfigError that offers the near ones and the list's command."""
    with pytest.raises(ConfigError, match=r"did you mean majority .*lsrl programs"):
        load_program("majorty")
    with pytest.raises(ConfigError, match="unknown program"):
        load_program("README.md")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        (b"#" * 1_000_001, "1,000,001 bytes, more than 1,000,000"),
        (b"ForEach:\n    return y\n", "unknown name 'y'"),
    ],
    ids=["encoding", "size", "mistake"],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    """What is wrong with a file is a ProgramError whose span names the file."""
    file = tmp_path / "bad.lsrl"
    file.write_bytes(content)
    with pytest.raises(ProgramError, match=says) as caught:
        load_program(file)
    span = caught.value.diagnostics[0].span
    assert span is not None
    assert span.file.endswith("bad.lsrl")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    """No file, a folder, or an impossible path: one ProgramError each."""
    (tmp_path / "folder.lsrl").mkdir()
    for path in (
        tmp_path / "none.lsrl",
        tmp_path / "folder.lsrl",
        "a\0b.lsrl",
        tmp_path / ("x" * 300 + ".lsrl"),
    ):
        with pytest.raises(ProgramError, match=r"no such file|cannot read"):
            load_program(path)
