"""What docs/measures.md says of the command line is true: its commands print what stands below them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "measures.md").read_text(encoding="utf-8")
TOLD = re.findall(
    r"^```sh\n(?P<command>[^\n]+)\n```\n<!-- tells -->\n```text\n(?P<told>.*?)^```$",
    PAGE,
    flags=re.MULTILINE | re.DOTALL,
)


def test_every_command_is_one_of_these() -> None:
    """Each block of commands stands above what it tells."""
    assert len(TOLD) == PAGE.count("```sh") == 2


@pytest.mark.parametrize(("command", "told"), TOLD, ids=["margins", "budget"])
def test_commands_tell_what_is_said(
    command: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command, run on the page's program and tokens, prints these lines, blanks apart."""
    source = re.search(r'^SOURCE = """(.*?)^"""$', PAGE, flags=re.MULTILINE | re.DOTALL)
    assert source is not None
    (tmp_path / "late.lsrl").write_text(source[1], encoding="utf-8")
    (tmp_path / "late.csv").write_text("0\n" * 4000, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    done = CliRunner().invoke(app, arguments)
    assert (program, done.exit_code) == ("lsrl", 0), done.output
    printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in told.splitlines():
        assert " ".join(line.split()) in printed
