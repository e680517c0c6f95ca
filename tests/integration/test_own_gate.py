"""The project gates itself: nothing that it promises may change unseen."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from reports.cli.app import app

CONFIG = Path(__file__).parents[1] / "baselines" / "gate.toml"


def test_the_committed_baseline_holds() -> None:
    """Every output bit, every model and every measure is that of the baseline, and every kept case holds.

    If a change was meant: ``lsrl gate tests/baselines/gate.toml --update``, and review its diff.
    """
    done = CliRunner().invoke(app, ["gate", str(CONFIG), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert re.fullmatch(r"gate: pass: [1-9]\d+ cells, [1-9]\d+ kept cases\n", done.stdout)
