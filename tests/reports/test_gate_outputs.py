"""What a gate found, in every form: nothing is lost, and nothing in a name can break a form."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from reports.gate_outputs import EXIT, as_json, github_lines, junit, lines, markdown, message, table
from stability.gate import Comparison, Source
from tests.stability.gates import cell, compared, gate

PLACE = Path(__file__).parents[2] / "compiler" / "programs" / "modulo.lsrl"
SOURCES = {"modulo": Source(file="modulo.lsrl", line=10, path=PLACE)}
WAIVER = """
    [[waivers]]
    measure = "abs_error"
    program = "modulo"
    reason = "see the notes"
    expires = 9999-12-31
    [[waivers]]
    measure = "horizon"
    program = "parity"
    reason = "gone"
    expires = 9999-12-31
"""


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    """One of everything: a regression, something inconclusive, waived and improved, a misfit, a note."""
    old = [cell({"seed": seed}) for seed in range(3)] + [cell({"target": "gru", "seed": 9})]
    new = [
        cell({"seed": 0}, horizon=30, wrong_share=0.5, abs_error=5.0, significant_bits=10.5),
        cell({"seed": 1}, horizon=70, wrong_share=0.5),
        cell({"seed": 2}),
    ]
    return compared(gate(tmp_path, WAIVER), old, new)


def test_a_message_names_everything(found: Comparison) -> None:
    """Program, parameters, target, policy, measure, both values, rule, seeds and line stand in one line."""
    assert message(found.changes[0], SOURCES) == (
        "modulo.lsrl:10: modulo (n=7) on lstm in float16 (stable, optimized, relu, 100 tokens): "
        "wrong_share 0.25 → 0.5, rule: rise <= 0 (seeds 0, 1 of 3)"
    )


def test_the_lines_tell_all_and_end_in_the_verdict(found: Comparison) -> None:
    """Regressions come first, then what is inconclusive, waived, improved, misfits, notes, the verdict."""
    said = lines(found, SOURCES)
    starts = [line.split(":")[0] for line in said]
    assert starts == ["regression", "inconclusive", "waived", "improved", "baseline", "note", "gate"]
    assert said[-1] == ("gate: regression: 1 regression, 1 inconclusive, 1 waived, 1 improvement, 3 cells")
    assert "it became better on seed 1" in said[1]
    assert "see the notes (until 9999-12-31)" in said[2]


def test_many_changes_are_cut(tmp_path: Path) -> None:
    """Lines stop after fifty regressions and say how many more there are; JSON has all of them."""
    old = [cell({"program": f"p{number}"}) for number in range(60)]
    new = [cell({"program": f"p{number}"}, horizon=1) for number in range(60)]
    found = compared(gate(tmp_path), old, new)
    said = lines(found, {})
    assert len(said) == 52
    assert said[50] == "regression: and 10 more (--json has all)"
    assert len(as_json(found, {})["changes"]) == 60
    commands = github_lines(found, {}, root=tmp_path, config="gate.toml")
    assert len(commands) == 10
    assert commands[-1].endswith("::51 more; the log of this step has all of them")


def test_json_holds_all_of_a_change(found: Comparison) -> None:
    """The outcome, its exit status and each change with file, line and message."""
    told = as_json(found, SOURCES)
    assert (told["outcome"], told["exit_status"], told["cells"]) == ("regression", 1, 3)
    first = told["changes"][0]
    assert {name: first[name] for name in ("verdict", "program", "target", "policy", "measure", "rule")} == {
        "verdict": "regression", "program": "modulo", "target": "lstm", "policy": "float16",
        "measure": "wrong_share", "rule": "rise <= 0",
    }  # fmt: skip
    assert (first["file"], first["line"], first["message"]) == (
        "modulo.lsrl", 10, message(found.changes[0], SOURCES),
    )  # fmt: skip
    assert len(told["misfits"]) == len(found.misfits) == 1


def test_junit_has_a_case_per_group_of_cells(found: Comparison) -> None:
    """The failing group fails with all its messages; a misfit is an error; the counts agree."""
    suite = ET.fromstring(junit(found, SOURCES))  # noqa: S314 -- our own text
    cases = suite.findall("testcase")
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["2", "1", "1"]
    assert len(cases) == 2
    (error,) = suite.iter("error")
    assert "not in the experiment any more" in (error.text or "")
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "regression"
    assert (failure.text or "").splitlines() == [message(each, SOURCES) for each in found.changes[:2]]
    (told,) = suite.iter("system-out")
    assert [line.split(":")[0] for line in (told.text or "").splitlines()] == ["waived", "improved"]


def test_annotations_stand_on_the_line_of_the_program(found: Comparison) -> None:
    """GitHub gets the program's path in the checkout and the line of its return."""
    commands = github_lines(found, SOURCES, root=PLACE.parents[2], config="ci/gate.toml")
    levels = [command.split(" ")[0] for command in commands]
    assert levels[:3] == ["::error", "::error", "::warning"]
    assert set(levels[3:]) == {"::notice"}
    assert commands[0].startswith("::error file=ci/gate.toml,title=gate%3A baseline::")
    place, _, said = commands[1].partition("::modulo.lsrl:10: ")
    assert place == (
        "::error file=compiler/programs/modulo.lsrl,line=10,title=gate%3A regression of wrong_share"
    )
    assert "wrong_share 0.25 → 0.5" in said
    elsewhere = github_lines(found, SOURCES, root=Path("/elsewhere"), config="gate.toml")
    assert "file=modulo.lsrl,line=10," in elsewhere[1]


def test_names_cannot_break_a_form(tmp_path: Path) -> None:
    """Line ends, commas, pipes, markup and control characters in names stay data."""
    name = "a\n::error::b,c:d|<b>&\x1b[31m%"
    keys = {"program": name, "parameters": ""}
    found = compared(gate(tmp_path), [cell(keys)], [cell(keys, horizon=1)])
    where = {name: Source(file=name, line=1, path=None)}
    assert all("\n" not in line and "\x1b" not in line for line in lines(found, where))
    (command,) = github_lines(found, where, root=tmp_path, config="gate.toml")
    assert "\n" not in command
    assert re.match(r"::error file=a%0A%3A%3Aerror%3A%3Ab%2Cc%3Ad", command)
    assert ET.fromstring(junit(found, where)).get("failures") == "1"  # noqa: S314 -- our own text
    (row,) = [line for line in markdown(found, where).splitlines() if "horizon" in line]
    assert len(re.split(r"(?<!\\)\|", row)) == 10
    assert "\\<b\\>" in row


def test_the_summary_has_a_table_per_verdict(found: Comparison) -> None:
    """Markdown begins with the verdict and has one row for every change."""
    text = markdown(found, SOURCES)
    assert text.startswith("### gate: regression: ")
    assert text.count("| modulo.lsrl:10 |") == len(found.changes)
    assert "**The baseline does not fit**" in text
    assert "**Notes**" in text


def test_the_table_counts_by_program_target_and_policy(found: Comparison) -> None:
    """One row for the cells of a program on a target in a policy."""
    console = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table(found))
    head, row = captured.get().splitlines()
    assert head.split() == ["program", "target", "policy", "what", "changed"]
    assert row.split()[:3] == ["modulo", "lstm", "float16"]
    assert "regression wrong_share" in row


def test_each_outcome_has_its_exit_status() -> None:
    """0 pass, 1 regression, 2 misfit, 3 inconclusive."""
    assert EXIT == {"pass": 0, "regression": 1, "misfit": 2, "inconclusive": 3}
