"""A gate with a corpus: kept cases are judged beside the cells, and what got worse fails in every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from reports.cli.app import app
from reports.gate_outputs import github_lines, junit, lines, markdown
from stability.gate import compare, load_gate, sources, with_corpus
from stability.gate.comparing import Comparison
from stability.gate.configuration import GateConfig
from tests.stability.plants import lost_bias

CORPUS = Path(__file__).parents[1] / "corpus"
CONFIG = """\
baseline = "gate.json"
corpus = "kept"
[experiment]
programs = "majority"
targets = "lstm"
configs = "stable"
formats = "float16"
lengths = 20
"""


def lsrl(*arguments: object) -> Result:
    """A command, in this process."""
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gate, and a corpus of two of the committed cases: one of the property exact, one of drift."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "gate.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "kept").mkdir()
    for file in (exact_file(), next(CORPUS.glob("drift-*.json"))):
        (tmp_path / "kept" / file.name).write_bytes(file.read_bytes())
    return tmp_path


def exact_file() -> Path:
    """The committed case that a lost bias breaks."""
    return next(
        path
        for path in CORPUS.glob("exact-*.json")
        if "gated_rnn differs" in path.read_text(encoding="utf-8")
    )


def spoil(folder: Path, **numbers: Any) -> str:
    """Let the kept drift have been another; the name of its file."""
    (path,) = (folder / "kept").glob("drift-*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    record["drift"] |= numbers
    path.write_text(json.dumps(record), encoding="utf-8")
    return path.name


def judged(folder: Path) -> tuple[GateConfig, Comparison]:
    """A gate whose cells are not measured, only its corpus."""
    config = load_gate(folder / "gate.toml")
    return config, with_corpus(compare(config, {}, []), config.corpus)


def test_a_gate_whose_cases_hold_passes_and_counts_them(folder: Path) -> None:
    """Status 0 with the number of cases, in the line and in JSON; --update leaves the cases alone."""
    before = {path.name: path.read_bytes() for path in (folder / "kept").iterdir()}
    assert lsrl("gate", "gate.toml", "--jobs", "1", "--update").exit_code == 0
    done = lsrl("gate", "gate.toml", "--jobs", "1")
    assert (done.exit_code, done.stdout) == (0, "gate: pass: 2 cells, 2 kept cases\n")
    told = json.loads(lsrl("gate", "gate.toml", "--jobs", "1", "--json").stdout)
    assert (told["outcome"], told["kept"], told["changes"]) == ("pass", 2, [])
    assert {path.name: path.read_bytes() for path in (folder / "kept").iterdir()} == before


def test_a_broken_property_is_a_regression_with_all_it_takes_to_see_it(folder: Path) -> None:
    """File, target, policy, property, what differs and how to see it stand in one line; status 1."""
    name = exact_file().name
    assert lsrl("gate", "gate.toml", "--jobs", "1", "--update").exit_code == 0
    with lost_bias():
        done = lsrl("gate", "gate.toml", "--jobs", "1", "--github")
    assert done.exit_code == 1
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("regression: ")]
    case = json.loads(exact_file().read_text(encoding="utf-8"))
    assert line.startswith(f"regression: {name}:1: {name} on {case['target']} in {case['policy']} (")
    assert "exact holds → gated_rnn differs from the program at step 0" in line
    assert line.endswith(f"rule: it has to hold; again: lsrl fuzz --replay kept/{name}")
    assert f"::error file=kept/{name},line=1,title=gate%3A regression of exact::" in done.stdout


@pytest.mark.parametrize(
    ("numbers", "measure"),
    [({"error": 1e-30}, "relative_error"), ({"error": 0, "horizon": None}, "relative_error")],
)
def test_a_drift_that_got_worse_is_in_every_form(folder: Path, numbers: dict[str, Any], measure: str) -> None:
    """Lines, Markdown, annotations and JUnit name the file and the measure; the outcome is a regression."""
    name = spoil(folder, **numbers)
    config, found = judged(folder)
    where = sources(config.experiment, config.corpus)
    assert found.outcome == "regression"
    said = lines(found, where)
    assert said[0].startswith(f"regression: {name}:1: {name} on ")
    assert f"{measure} " in said[0]
    assert "rule: no more than one bit worse; again: " in said[0]
    counted = f"{len(found.changes)} regression{'s' * (len(found.changes) > 1)}"
    assert said[-1] == f"gate: regression: {counted}, 0 cells, 2 kept cases"
    assert github_lines(found, where, root=folder, config="gate.toml")[0].startswith(
        f"::error file=kept/{name},line=1,"
    )
    suite = ET.fromstring(junit(found, where))  # noqa: S314 -- our own text
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert f"| {measure} |".replace("_", "\\_") in markdown(found, where)


def test_a_drift_that_got_better_is_told_and_passes(folder: Path) -> None:
    """An error of less than half is an improvement, which does not fail."""
    spoil(folder, error="inf")
    _, found = judged(folder)
    assert [change.verdict for change in found.changes] == ["improved"]
    assert found.outcome == "pass"


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        ('"none"', "corpus = 'none': there is no such folder, or no case in it"),
        ('""', "corpus = '': there is no such folder"),
        ('"a\\u0000b"', "there is no such folder"),
        ("3", "corpus = 3: it has to be a string"),
        ('"."', "gate.json: has no \"schema\": 2"),
    ],
)  # fmt: skip
def test_a_wrong_corpus_is_reported_with_all_else(folder: Path, corpus: str, words: str) -> None:
    """Status 2 before anything is measured, with the line, beside the other mistakes of the file."""
    (folder / "gate.json").write_text("{}", encoding="utf-8")
    text = CONFIG.replace('"kept"', corpus) + "[rules]\nbits = 3\n"
    (folder / "gate.toml").write_text(text, encoding="utf-8")
    done = lsrl("gate", "gate.toml")
    assert done.exit_code == 2
    told = done.stderr.splitlines()
    assert len(told) == 2
    assert told[0].startswith("error: gate.toml:2:1: corpus")
    assert words in told[0]
    assert "rules.bits = 3" in told[1]


def test_every_wrong_entry_is_named(folder: Path) -> None:
    """Each file of the corpus that is damaged is a mistake of its own."""
    for number in range(3):
        (folder / "kept" / f"bad{number}.json").write_text("[" * number, encoding="utf-8")
    told = lsrl("gate", "gate.toml").stderr.splitlines()
    assert [f"bad{number}.json: is not JSON" in line for number, line in enumerate(told)] == [True] * 3


def test_replay_tells_what_is_worse_and_what_is_better(folder: Path) -> None:
    """``lsrl fuzz --replay``: status 0 and the numbers, 1 with old and new where it got worse."""
    done = lsrl("fuzz", "--replay", "kept")
    assert done.exit_code == 0
    assert ": as it was: relative error " in done.stdout
    spoil(folder, error="inf")
    done = lsrl("fuzz", "--replay", "kept")
    assert (done.exit_code, ": better: relative_error inf → " in done.stdout) == (0, True)
    spoil(folder, error=0)
    done = lsrl("fuzz", "--replay", "kept")
    assert (done.exit_code, ": worse: relative_error 0 → " in done.stdout) == (1, True)
