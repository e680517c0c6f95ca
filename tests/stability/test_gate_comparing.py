"""What a gate says of cells that changed: the verdicts, and how seeds are weighed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from stability.gate import Change, Verdict
from tests.stability.gates import cell, compared, gate

STRICT = """
    [rules]
    model_hash = "same"
    bits = "identical"
"""


def changes(
    tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], text: str = ""
) -> list[Change]:
    """The changes of one group of cells, one cell per seed."""
    made = [[cell({"seed": seed}, **values) for seed, values in enumerate(each)] for each in (old, new)]
    return list(compared(gate(tmp_path, text), *made).changes)


def outcome(tmp_path: Path, measure: str, old: list[float], new: list[float], text: str = "") -> str:
    """The outcome where one measure changes, seed by seed."""
    made = [
        [cell({"seed": seed}, **{measure: value}) for seed, value in enumerate(each)] for each in (old, new)
    ]
    return compared(gate(tmp_path, text), *made).outcome


def test_equal_runs_pass(tmp_path: Path) -> None:
    """Nothing is said of cells that did not change, infinities among them."""
    same = [{}, {"status": "overflow", "first_bad": 3, "abs_error": math.inf, "significant_bits": 0.0}]
    assert changes(tmp_path, same, same, STRICT) == []


@pytest.mark.parametrize(
    ("measure", "old", "new", "expected"),
    [
        ("significant_bits", [10.0], [9.0], "pass"),
        ("significant_bits", [10.0], [8.9], "regression"),
        ("significant_bits", [10.0, 10.0, 10.0], [8.0, 10.0, 10.0], "regression"),  # none became better
        ("significant_bits", [10.0, 10.0, 10.0], [8.0, 10.1, 10.0], "inconclusive"),
        ("significant_bits", [10.0, 10.0, 10.0], [8.0, 8.0, 12.0], "regression"),  # the median breaks it
        ("significant_bits", [10.0, 10.0], [8.9, 10.5], "inconclusive"),
        ("significant_bits", [10.0, 10.0], [7.0, 10.5], "regression"),
        ("significant_bits", [10.0, 10.0], [9.5, 9.5], "pass"),
        ("wrong_share", [0.1, 0.1, 0.1], [0.2, 0.1, 0.0], "inconclusive"),
        ("wrong_share", [0.1, 0.1], [0.2, 0.1], "regression"),
        ("horizon", [50, 50, 50], [40, 60, 50], "inconclusive"),
        ("abs_error", [0.0, 0.0], [0.0, 1e-9], "regression"),
    ],
)
def test_seeds_are_weighed_as_documented(
    tmp_path: Path, measure: str, old: list[float], new: list[float], expected: str
) -> None:
    """Broken by the median, or on a seed while none became better: regression; else inconclusive."""
    assert outcome(tmp_path, measure, old, new) == expected


def test_a_horizon_beyond_the_prompt_is_its_length(tmp_path: Path) -> None:
    """No wrong step counts as the prompt's length: of 100, one at 95 is within a tenth, one at 80 is not."""
    (lost,) = changes(tmp_path, [{"horizon": None}], [{"horizon": 80}])
    assert (lost.verdict, lost.measure, lost.old, lost.new) == ("regression", "horizon", "none", "step 80")
    assert changes(tmp_path, [{"horizon": None}], [{"horizon": 95}]) == []
    (gained,) = changes(tmp_path, [{"horizon": 80}], [{"horizon": None}])
    assert gained.verdict is Verdict.IMPROVED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"status": "overflow", "first_bad": 7}),
        ({}, {"status": "nan", "first_bad": 7, "abs_error": math.inf}),
        ({"status": "overflow", "first_bad": 7}, {"status": "nan", "first_bad": 7}),
        ({}, {"abs_error": math.inf}),
    ],
)
def test_new_infinities_and_nans_fail_whatever_the_rules_say(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """With every rule off, and the measure waived, what is newly not finite is a regression."""
    text = """
        [rules]
        status = "off"
        abs_error = "off"
        significant_bits = "off"
        [[waivers]]
        target = "lstm"
        measure = ["status", "abs_error"]
        reason = "r"
        expires = 9999-12-31
    """
    (found,) = changes(tmp_path, [old], [new], text)
    assert (found.verdict, found.measure) == (Verdict.REGRESSION, "finite")


def test_one_bad_seed_is_not_outvoted(tmp_path: Path) -> None:
    """A new nan on one of three seeds is a regression even where the others became better."""
    better = {"significant_bits": 11.0}
    found = changes(tmp_path, [{}, {}, {}], [{"status": "nan", "first_bad": 1}, better, better])
    assert (found[0].verdict, found[0].measure, found[0].seeds) == ("regression", "finite", (0,))


def test_a_bad_status_that_comes_earlier_is_worse(tmp_path: Path) -> None:
    """An overflow at step 5 after one at step 9 breaks the rule of the status, the other way it is better."""
    late, early = ({"status": "overflow", "first_bad": step} for step in (9, 5))
    (worse,) = changes(tmp_path, [late], [early])
    assert (worse.verdict, worse.measure, worse.old, worse.new) == (
        "regression", "status", "overflow at step 9", "overflow at step 5",
    )  # fmt: skip
    (better,) = changes(tmp_path, [early], [late])
    assert better.verdict is Verdict.IMPROVED


def test_exact_measures_break_on_any_seed(tmp_path: Path) -> None:
    """Hashes that differ on one seed are a regression each; settings show only what differs."""
    new = {"model_hash": "c" * 64, "bits": "d" * 64, "settings": "step_form=clip mu=4"}
    found = {each.measure: each for each in changes(tmp_path, [{}, {}], [{}, new], STRICT)}
    assert set(found) == {"model_hash", "bits", "settings"}
    assert all(each.seeds == (1,) and each.compared == 2 for each in found.values())
    assert (found["settings"].old, found["settings"].new) == ("mu=2", "mu=4")
    assert {each.measure for each in changes(tmp_path, [{}], [new])} == {"settings"}


def test_a_reference_that_is_no_longer_right_is_a_regression(tmp_path: Path) -> None:
    """Truth itself is under the gate: an uncertified or a wrong reference is worse than a right one."""
    for worse in ("uncertified", "wrong"):
        (found,) = changes(tmp_path, [{}], [{"reference": worse}])
        assert (found.verdict, found.measure) == ("regression", "reference")
    assert changes(tmp_path, [{}], [{"reference": "unjudged"}]) == []


def test_a_cell_that_no_longer_runs_is_a_regression(tmp_path: Path) -> None:
    """A refusal is a regression where there was none; one that is gone is told; a failure always fails."""
    (lost,) = changes(tmp_path, [{}], [{"error": "no room"}])
    assert (lost.verdict, lost.measure, lost.old, lost.new) == ("regression", "error", "it runs", "no room")
    (gained,) = changes(tmp_path, [{"error": "no room"}], [{}])
    assert gained.verdict is Verdict.IMPROVED
    assert changes(tmp_path, [{"error": "no room"}], [{"error": "still none"}]) == []
    (broken,) = changes(tmp_path, [{"error": "no room"}], [{"error": "IndexError", "unexpected": True}])
    assert broken.verdict is Verdict.REGRESSION
    new = cell({"seed": 1}, error="IndexError", unexpected=True)
    assert compared(gate(tmp_path), [], [new]).outcome == "regression"


def test_cells_and_baseline_have_to_fit(tmp_path: Path) -> None:
    """A cell without a baseline and a baseline without a cell are told apart; both are misfits."""
    found = compared(gate(tmp_path), [cell()], [cell({"seed": 1}), cell({"seed": 2})])
    assert found.outcome == "misfit"
    no_baseline, gone = found.misfits
    assert no_baseline.startswith("2 cells have no baseline: program=modulo")
    assert "seed=1" in no_baseline
    assert gone.startswith("1 cells of the baseline are not in the experiment any more: ")
    assert "seed=0" in gone


def test_an_override_that_matches_nothing_is_a_misfit(tmp_path: Path) -> None:
    """A rule that was meant for cells which do not exist is an error with its line."""
    text = '[[overrides]]\n    target = "gru"\n    horizon = "off"\n'
    found = compared(gate(tmp_path, "    " + text), [cell()], [cell()])
    assert found.misfits == (f"{tmp_path / 'gate.toml'}:4: the override for target=gru matches no cell",)


def test_waivers_cover_what_they_name_and_are_told_when_idle(tmp_path: Path) -> None:
    """A waived regression passes with its reason; waivers that match or waive nothing are noted."""
    text = "".join(
        f"""
        [[waivers]]
        program = "{program}"
        measure = "{measure}"
        reason = "because"
        expires = 9999-12-31
        """
        for program, measure in (("modulo", "horizon"), ("modulo", "abs_error"), ("parity", "horizon"))
    )
    found = compared(gate(tmp_path, text), [cell()], [cell(horizon=1)])
    assert found.outcome == "pass"
    (waived,) = found.changes
    assert (waived.verdict, waived.note) == ("waived", "because (until 9999-12-31)")
    idle, unmatched = found.notes
    assert "the waiver of abs_error for program=modulo waives nothing any more" in idle
    assert "the waiver of horizon for program=parity matches no cell" in unmatched
    both = compared(gate(tmp_path, text), [cell()], [cell(horizon=1, wrong_share=0.9)])
    assert both.outcome == "regression"


def test_outcomes_have_an_order(tmp_path: Path) -> None:
    """A regression outranks a misfit, and a misfit what is inconclusive."""
    seeds = [cell({"seed": seed}) for seed in range(3)]
    split = [cell({"seed": seed}, horizon=50 + change) for seed, change in enumerate((-20, 20, 0))]
    assert compared(gate(tmp_path), seeds, split).outcome == "inconclusive"
    stranger = cell({"seed": 9})
    assert compared(gate(tmp_path), seeds, [*split, stranger]).outcome == "misfit"
    worse = [cell({"seed": seed}, horizon=1) for seed in range(3)]
    assert compared(gate(tmp_path), seeds, [*worse, stranger]).outcome == "regression"
