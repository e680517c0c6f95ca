"""The committed corpus: every case holds, every drift is the same to the last bit, and bugs are seen."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from compiler.errors import CompileRefusal
from stability.corpus import DRIFT, Drift, Entry, drift_of, entries, entry_files, keep, replay
from stability.corpus import replaying as replayed
from tests.stability.plants import PLANTS, Plant

CORPUS = Path(__file__).parents[1] / "corpus"
FILES = entry_files(CORPUS)
KEPT = dict(entries(CORPUS))
DRIFTS = [entry for entry in KEPT.values() if entry.drift is not None]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_kept_case_is_as_it_was(path: Path) -> None:
    """A property holds; a drift has the same error and the same first wrong step, bit for bit."""
    entry = KEPT[path]
    assert replay(entry) == ()
    if entry.drift is not None:
        assert drift_of(entry.case) == entry.drift


def test_the_corpus_has_something_of_everything() -> None:
    """A case for each planted bug, and drift in several formats, finite, so that it can grow."""
    counts = Counter(entry.prop for entry in KEPT.values())
    assert counts.keys() >= {prop for _, prop, _ in PLANTS} | {DRIFT}
    assert counts[DRIFT] >= 8
    assert all(0 < each.drift.error < math.inf for each in DRIFTS if each.drift is not None)
    assert len({each.case.policy for each in DRIFTS}) >= 3
    assert {each.drift.horizon is None for each in DRIFTS if each.drift is not None} == {True, False}


def test_files_are_what_keeping_writes(tmp_path: Path) -> None:
    """Each file has the name and the text that keeping its case gives: nothing in it goes unread."""
    for path, entry in KEPT.items():
        again = keep(entry, tmp_path)
        assert (again.name, again.read_bytes()) == (path.name, path.read_bytes())


@pytest.mark.parametrize(("plant", "prop", "_profile"), PLANTS)
def test_a_planted_bug_is_seen_by_a_replay(plant: Callable[[], Plant], prop: str, _profile: str) -> None:
    """Each of the eight bugs breaks a kept case, with a message."""
    kept = [entry for entry in KEPT.values() if entry.prop == prop]
    with plant():
        found = [each for entry in kept for each in replay(entry)]
    assert found
    assert all(each.worse and each.measure == prop and each.new for each in found)


def changed(entry: Entry, **numbers: float | None) -> Entry:
    """An entry that remembers another drift."""
    assert entry.drift is not None
    return replace(entry, drift=replace(entry.drift, **numbers))  # type: ignore[arg-type]


def verdicts(entry: Entry) -> dict[str, bool]:
    """What differs in a replay, and whether it is worse."""
    return {each.measure: each.worse for each in replay(entry)}


def test_a_drift_may_lose_one_bit_and_no_step() -> None:
    """Up to twice the error holds, more is worse, less than half is better; so with steps."""
    late = next(each for each in DRIFTS if each.drift is not None and each.drift.horizon)
    assert late.drift is not None
    assert late.drift.horizon is not None
    error = late.drift.error
    assert verdicts(changed(late, error=error / 2)) == {}
    assert verdicts(changed(late, error=error / 2.01)) == {"relative_error": True}
    assert verdicts(changed(late, error=0.0)) == {"relative_error": True}
    assert verdicts(changed(late, error=error * 2)) == {}
    assert verdicts(changed(late, error=math.inf)) == {"relative_error": False}
    assert verdicts(changed(late, horizon=None)) == {"first_wrong_step": True}
    assert verdicts(changed(late, horizon=late.drift.horizon + 1)) == {"first_wrong_step": True}
    assert verdicts(changed(late, horizon=late.drift.horizon - 1)) == {"first_wrong_step": False}


def test_a_new_infinity_is_worse() -> None:
    """An error that was finite and is not any more is worse; one that stays infinite is not."""
    entry = DRIFTS[0]
    with mock.patch.object(replayed, "drift_of", return_value=Drift(error=math.inf, horizon=0)):
        assert verdicts(entry)["relative_error"]
        assert verdicts(changed(entry, error=math.inf, horizon=0)) == {}


def test_a_case_that_cannot_be_run_any_more_is_told() -> None:
    """Refused or ended by any exception, a drift is worse; a refused property says nothing, which is told."""

    def refuse(*_: object) -> None:
        raise CompileRefusal.single("no room")

    drift, prop = DRIFTS[0], next(each for each in KEPT.values() if each.prop == "twin")
    with mock.patch("stability.corpus.drifting.compile_program", refuse):
        (told,) = replay(drift)
    assert (told.measure, told.worse, told.new) == ("runs", True, "it is refused")
    with mock.patch("stability.corpus.drifting.execute", side_effect=IndexError("broken")):
        (told,) = replay(drift)
    assert told.new == "IndexError: broken"
    with mock.patch("stability.corpus.properties.compile_program", refuse):
        (told,) = replay(prop)
    assert told.new == "it says nothing any more: it is refused"


def test_a_replay_does_not_need_hypothesis() -> None:
    """Gate and replay work where the optional package is not installed; drawing asks for it."""
    script = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from stability.gate import load_gate, with_corpus\n"
        "from reports.cli.app import app\n"
        f"app(['fuzz', '--replay', {str(FILES[0])!r}], standalone_mode=False)\n"
        "app(['fuzz', '--examples', '1'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.endswith(": holds\n")
    assert (done.returncode, "the package hypothesis is not installed" in done.stderr) == (2, True)
