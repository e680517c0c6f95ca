"""What docs/gate.md says is true: its file, its commands, its test and its tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.cli.app import app
from reports.gate_outputs import EXIT
from stability.gate.rules import DEFAULTS, MEASURES, choices
from stability.gate.selecting import ALIASES, SELECTORS

PAGE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")

pytest_plugins = ["pytester"]


def fence(language: str) -> str:
    """The page's only block of code in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def rows(name: str) -> list[list[str]]:
    """The cells of a marked table."""
    lines = PAGE.split(f"<!-- table-{name} -->\n")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_has_no_other_code() -> None:
    """Every block of the page is one of those that are run here."""
    assert re.findall(r"^```(\w+)$", PAGE, flags=re.MULTILINE) == ["sh", "toml", "py"]


def test_the_commands_and_the_test_do_what_is_said(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command writes the baseline, with which the others and the test of the page pass."""
    monkeypatch.delenv("CI", raising=False)
    (pytester.path / "gate.toml").write_text(fence("toml"), encoding="utf-8")
    for line in fence("sh").splitlines():
        program, *arguments = shlex.split(line)
        done = CliRunner().invoke(app, arguments)
        assert (program, done.exit_code) == ("lsrl", 0), done.output
    assert {each.name for each in pytester.path.iterdir()} >= {"gate.json", "gate.xml", "gate.md"}
    assert "note: " in done.stdout  # the waiver waives nothing
    pytester.makepyfile(fence("py"))
    ran = pytester.runpytest_subprocess(
        "-p", "no:lsrl_precision_gate", "-p", "reports.pytest_plugin", "-p", "no:xdist"
    )
    ran.assert_outcomes(passed=1)


def test_the_rules_are_listed() -> None:
    """The table has every measure in order, with the rules that it takes and its default."""
    found = rows("rules")
    assert [row[0] for row in found] == [f"`{measure}`" for measure in MEASURES]
    for row, measure in zip(found, MEASURES, strict=True):
        assert re.findall(r"`([^`]+)`", row[2]) == list(choices(measure))
        assert row[3] == f"`{DEFAULTS[measure]}`"


def test_statuses_and_selectors_are_listed() -> None:
    """Every exit status has its row, and every selector is named."""
    assert [int(row[0]) for row in rows("status")] == sorted(EXIT.values())
    for name in (*SELECTORS, *ALIASES):
        assert f"`{name}`" in PAGE
