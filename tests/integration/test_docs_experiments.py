"""What docs/experiments.md says is true: its file, its commands, its script and its table of keys."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.cli.app import app
from stability.experiment import STORE_COLUMNS, Thresholds, load_experiment
from stability.experiment.checking import NOISE, NOISE_AXES, TOP

PAGE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")


def fence(language: str) -> str:
    """The page's only block of code in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_page_has_no_other_code() -> None:
    """Every block of the page is one of those that are run here."""
    assert re.findall(r"^```(\w+)$", PAGE, flags=re.MULTILINE) == ["sh", "toml", "py", "text"]


def test_the_commands_and_the_script_do_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run the file into a store, and the script prints what stands below it."""
    (tmp_path / "mine.toml").write_text(fence("toml"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for line in fence("sh").splitlines():
        program, *arguments = shlex.split(line)
        done = CliRunner().invoke(app, arguments)
        assert (program, done.exit_code) == ("lsrl", 0), done.output
    assert f"{load_experiment('mine.toml').size} cells, 0 of them finished before" in done.stdout
    (tmp_path / "script.py").write_text(fence("py"), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "script.py"], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == (fence("text"), "")


def test_every_key_is_in_the_table() -> None:
    """The table has the keys of an experiment and no other; thresholds and columns are all named."""
    for table, keys in (("keys", TOP), ("noise", NOISE)):
        rows = PAGE.split(f"<!-- table-{table} -->\n")[1].split("\n\n")[0].splitlines()[2:]
        assert sorted(row.split("`")[1] for row in rows) == sorted(keys)
    axes = PAGE.split("Any other key is an axis: ")[1].split(".")[0]
    assert re.findall(r"`(\w+)`", axes) == list(NOISE_AXES)
    for name in (*Thresholds.__dataclass_fields__, *STORE_COLUMNS):
        assert f"`{name}`" in PAGE
