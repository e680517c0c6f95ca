"""The plugin: its fixture and its option pass, fail and skip tests as the gate says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reports.pytest_plugin import PrecisionGate
from stability.gate import fresh_cells, load_gate, write_baseline

pytest_plugins = ["pytester"]

CONFIG = """
baseline = "NAME.json"
[experiment]
programs = "majority"
targets = "lstm"
configs = "stable"
formats = "float32"
lengths = 10
"""
PLUGIN = ("-p", "no:lsrl_precision_gate", "-p", "reports.pytest_plugin")
"""The plugin, whether or not it is installed."""
TESTS = """
    def test_default(precision_gate):
        assert precision_gate().cells == 2
        assert precision_gate() is precision_gate("good.toml")  # one run

    def test_worse(precision_gate):
        precision_gate("worse.toml")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two gates, one that passes and one that fails."""
    place = tmp_path_factory.mktemp("gates")
    for name in ("good", "worse"):
        (place / f"{name}.toml").write_text(CONFIG.replace("NAME", name), encoding="utf-8")
    config = load_gate(place / "good.toml")
    write_baseline(config.baseline, fresh_cells(config.experiment, jobs=1))
    whole = json.loads((place / "good.json").read_text(encoding="utf-8"))
    for cell in whole["cells"]:
        cell["significant_bits"] = 30
    (place / "worse.json").write_text(json.dumps(whole), encoding="utf-8")
    return place


def test_the_option_and_the_fixture_pass_and_fail_with_the_gate(
    pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option adds a test and is the fixture's default; a failing gate gives its messages and no stack."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")  # one process: this one
    for file in folder.iterdir():
        (pytester.path / file.name).write_bytes(file.read_bytes())
    pytester.makepyfile(TESTS)
    # a process of its own: what is run in this one forgets its imports, which numba does not survive
    done = pytester.runpytest_subprocess(*PLUGIN, "-p", "no:xdist", "-v", "--precision-gate", "good.toml")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["good.toml::precision-gate PASSED*"])
    done.stdout.fnmatch_lines(["regression: majority.lsrl:*significant_bits 30 → 24, rule: drop <= 1.0*"])
    done.stdout.no_fnmatch_line("*Traceback*")


def test_a_gate_is_called_as_a_function(folder: Path) -> None:
    """It returns what was found, or ends the test: failed with the messages, or skipped without a path."""
    gate = PrecisionGate(folder, None)
    assert gate("good.toml", jobs=1).outcome == "pass"
    with pytest.raises(pytest.fail.Exception, match=r"regression: majority\.lsrl:"):
        gate("worse.toml", jobs=1)
    with pytest.raises(pytest.skip.Exception, match="run pytest with --precision-gate CONFIG"):
        gate()
    assert PrecisionGate(folder, folder / "good.toml")(jobs=1).cells == 2


def test_without_a_configuration_the_test_is_skipped(pytester: pytest.Pytester) -> None:
    """No option and no path: the test says what to do."""
    pytester.makepyfile("def test_gate(precision_gate):\n    precision_gate()")
    done = pytester.runpytest_inprocess(*PLUGIN, "-p", "no:xdist", "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*no gate was named: run pytest with --precision-gate CONFIG*"])


def test_a_wrong_configuration_fails_with_its_message(pytester: pytest.Pytester) -> None:
    """What is wrong with the file is the message, alone."""
    done = pytester.runpytest_inprocess(*PLUGIN, "-p", "no:xdist", "--precision-gate", "gate.txt")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*gate.txt' is no gate's configuration*"])
    done.stdout.no_fnmatch_line("*Traceback*")


def test_the_plugin_costs_nothing_where_it_is_not_used() -> None:
    """Loading it imports nothing of this project but itself."""
    code = (
        "import sys, reports.pytest_plugin; "
        "print(sorted(name for name in sys.modules if name.split('.')[0] in "
        "{'stability', 'compiler', 'reports', 'numpy', 'numba'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['reports', 'reports.pytest_plugin']\n"
