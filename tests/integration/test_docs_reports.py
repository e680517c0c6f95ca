"""What docs/reports.md says is true: its file, its commands, its script and its lists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def fences(language: str) -> list[str]:
    """The page's blocks of code in a language, in order."""
    return [code for name, code in BLOCKS if name == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command of the page was run, in order."""
    place = tmp_path_factory.mktemp("docs")
    (place / "mine.toml").write_text(fences("toml")[0], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for line in "".join(fences("sh")).splitlines():
            program, *arguments = shlex.split(line)
            done = CliRunner().invoke(app, arguments)
            assert (program, done.exit_code) == ("lsrl", 0), done.output
    return place


def test_the_page_has_no_other_code() -> None:
    """Every block of the page is one of those that are run here."""
    assert [name for name, _ in BLOCKS] == ["sh", "toml", "sh", "sh", "py", "text"]


def test_every_file_that_is_listed_is_written(folder: Path) -> None:
    """The table of files is what the report has; without charts, the folder of them is empty."""
    listed = PAGE.split("| file |")[1].split("\n\n")[0]
    names = [name.rstrip("/") for name in re.findall(r"^\| `([^`]+)`", listed, flags=re.MULTILINE)]
    assert sorted(names) == sorted(path.name for path in (folder / "report").iterdir())
    assert any((folder / "report" / "charts").iterdir())
    assert not any((folder / "compared" / "charts").iterdir())


def test_every_section_that_is_listed_is_on_the_page(folder: Path) -> None:
    """The table of sections is the page's own navigation, noise included."""
    listed = PAGE.split("| section |")[1].split("\n\n")[0]
    names = [line.split("|")[1].strip() for line in listed.splitlines()[2:]]
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r'<a href="#[\w-]+">([^<]+)</a>', page)
    assert shown == ["Summary", *names, "About"]


def test_stores_that_hold_the_same_are_identical(folder: Path) -> None:
    """The second store of the page has the same cells, and no output differs."""
    summary = (folder / "compared" / "summary.md").read_text(encoding="utf-8")
    assert "0 of them are better than in the second, 0 are worse, 0 about the same" in summary


def test_the_script_prints_what_is_said(folder: Path) -> None:
    """The script prints exactly the text below it, without a warning."""
    (folder / "script.py").write_text(fences("py")[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (fences("text")[0], "")
