"""What docs/fuzzing.md says is true: its commands and its tables; its script runs with those of all pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.cli.app import app
from stability.fuzz import PROFILES, PROPERTIES

PAGE = (Path(__file__).parents[2] / "docs" / "fuzzing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def rows(name: str) -> list[list[str]]:
    """The cells of a marked table."""
    lines = PAGE.split(f"<!-- table-{name} -->\n")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_has_no_other_code() -> None:
    """Every block of the page is one that is run, here or with the scripts of all pages."""
    assert [name for name, _ in BLOCKS] == ["sh", "python", "text"]


def test_the_commands_find_nothing_and_keep_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends with status 0; what the drift hunt keeps is as it was when it is replayed."""
    monkeypatch.chdir(tmp_path)
    for line in BLOCKS[0][1].splitlines():
        program, *arguments = shlex.split(line)
        done = CliRunner().invoke(app, arguments)
        assert (program, done.exit_code) == ("lsrl", 0), done.output
    assert len(list((tmp_path / "corpus").iterdir())) == 1
    assert ": as it was: relative error " in done.stdout


def test_profiles_and_properties_are_listed() -> None:
    """The tables have every profile, and every property with what it says of itself."""
    assert [row[0] for row in rows("profiles")] == [f"`{name}`" for name in PROFILES]
    assert rows("properties") == [[f"`{name}`", each.summary] for name, each in PROPERTIES.items()]
