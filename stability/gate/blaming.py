"""Which named state of a program drifts first in a cell that got worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler.errors import LsrlError
from stability.cells import IN_STEPS, Bench
from stability.experiment import Experiment
from stability.gate.comparing import FINITE, Comparison, Verdict
from stability.gate.rules import NUMBERS
from stability.grid import Group

MOST = 3
"""Groups of cells that are looked into: each is run once more."""


def with_first_drifts(comparison: Comparison, experiment: Experiment, most: int = MOST) -> Comparison:
    """A comparison whose first regressions of numbers name the state that drifts first, and its line.

    Args:
        comparison: of a fresh run of ``experiment``.
        experiment: of the gate.
        most: how many groups of cells are looked into.
    """
    blamed: dict[object, str] = {}
    changes = []
    for change in comparison.changes:
        wanted = change.verdict is Verdict.REGRESSION and change.measure in {*NUMBERS, "status", FINITE}
        if wanted and change.group not in blamed and len(blamed) < most:
            blamed[change.group] = first_drift(experiment, change.keys, change.seeds[0])
        text = blamed.get(change.group, "") if wanted else ""
        note = "; ".join(part for part in (change.note, text) if part)
        changes.append(replace(change, note=note) if text else change)
    return replace(comparison, changes=tuple(changes))


def first_drift(experiment: Experiment, keys: Mapping[str, Any], seed: int) -> str:
    """One clause on the state that drifts first in a cell; empty where none does or none is known.

    Args:
        experiment: that has the cell.
        keys: of the cell, without its seed.
        seed: of its prompt.
    """
    if keys["order"] != IN_STEPS:
        return ""  # states are known in steps alone
    for group in experiment.groups():
        if group.setup.seed != seed or not _has(group, keys):
            continue
        bench = Bench(group.setup)
        for member in group.members:
            try:
                mine = bench.keys(member)
                if all(mine[name] == value for name, value in keys.items()):
                    first: Sequence[Any] = bench.states(member)[:1]
                    return f"first to drift: {first[0].text}" if first and first[0].first is not None else ""
            except LsrlError:
                return ""
    return ""


def _has(group: Group, keys: Mapping[str, Any]) -> bool:
    """Whether a cell may be one of a group, by what is known without lowering anything."""
    setup = group.setup
    known = (setup.subject.name, setup.subject.parameter_text, setup.config_name, setup.conditional)
    wanted = tuple(keys[name] for name in ("program", "parameters", "config", "conditional"))
    return known == wanted and setup.length == keys["length"]
