"""``lsrl fuzz``: what is found is told, kept and replayed; what is asked for is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reports.cli.app import app
from stability import fuzz
from tests.stability.plants import lost_bias


def lsrl(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, ["fuzz", *map(str, arguments)])


def test_a_finding_is_told_kept_and_replayed(tmp_path: Path) -> None:
    """Status 1, the counts, the program as LSRL, and a file that shows the bug while it is there."""
    with lost_bias():
        done = lsrl("--profile", "affine", "--property", "exact", "--seed", 3, "--corpus", tmp_path)
        assert done.exit_code == 1
        assert re.search(r"^exact: [0-9]+ cases in ", done.stdout, flags=re.MULTILINE)
        assert re.search(r" cases judged in [0-9.]+ s, 1 found$", done.stdout, flags=re.MULTILINE)
        assert "exact: gated_rnn differs from the program at step " in done.stderr
        (path,) = tmp_path.iterdir()
        assert f"again: lsrl fuzz --replay {path}\n" in done.stderr
        again = lsrl("--replay", path)
        assert (again.exit_code, "worse: exact holds → gated_rnn differs" in again.stdout) == (1, True)
    assert lsrl("--replay", path).exit_code == 0


def test_time_is_shared_by_all_that_is_hunted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--time`` alone, every property of every profile has its share of what is left, without end."""
    shares: list[float] = []

    def idle(*_: object, seconds: float, examples: int, **__: object) -> fuzz.Hunt:
        shares.append(seconds)
        assert examples >= 10**6
        return fuzz.Hunt(examples=1, discarded=0, seconds=0.5, finding=None)

    monkeypatch.setattr(fuzz, "hunt", idle)
    done = lsrl("--property", "text", "--property", "file", "--time", 600)
    turns = 2 * len(fuzz.PROFILES)
    assert (done.exit_code, len(shares)) == (0, turns)
    assert all(share <= 600 / (turns - place) for place, share in enumerate(shares))
    assert shares == sorted(shares)
    assert f"file: {turns // 2} cases in {turns / 4:.1f} s (2 a second), 0 discarded" in done.stdout


def test_drift_that_is_hunted_can_be_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``--drift --corpus`` keeps, of one target and one policy, is as it was when replayed."""
    monkeypatch.chdir(tmp_path)
    made = lsrl(
        "--drift", "--profile", "affine", "--examples", "20", "--target", "linear_rnn",
        "--policy", "float16", "--corpus", "found",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert " on linear_rnn in float16, " in made.stdout
    done = lsrl("--replay", "found")
    assert (done.exit_code, done.stdout.count("\n"), ": as it was: " in done.stdout) == (0, 1, True)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--target", "transformer", "unknown target 'transformer'"), ("--policy", "float17", "float17")],
)
def test_what_is_not_known_is_refused(option: str, value: str, words: str) -> None:
    """An unknown target or policy is one clear error."""
    done = lsrl(option, value)
    assert (done.exit_code, words in done.stderr) == (2, True)
