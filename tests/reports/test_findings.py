"""Findings on frames whose right reading is known."""

from __future__ import annotations

import pandas as pd

from reports.findings import Findings, find
from reports.gating import Comparison, compare
from reports.statements import foremost
from reports.tables import cells_of, grouped, titled
from stability import drift
from tests.reports.frames import cell, frame, usual

PRODUCTS = "multiplicative_optimized"


def texts(found: Findings, kind: str) -> list[str]:
    """The sentences of one kind."""
    return [each.text for each in found.statements if each.kind == kind]


def compared(found: Findings, effect: str) -> Comparison:
    """The only comparison of one effect."""
    (only,) = [each for each in found.comparisons if each.effect == effect]
    return only


def test_nothing_wrong_is_said_plainly() -> None:
    """A frame without a wrong token yields no finding about wrong tokens."""
    found = find(frame(*usual()))
    assert found.statements[0].text == "None of the 6 compiled runs gave a wrong token."
    assert found.breakages == ()
    assert {each.kind for each in found.statements} == {"overview", "gating"}


def test_an_empty_frame_is_reported_as_such() -> None:
    """A frame without rows has one statement and no finding."""
    found = find(frame())
    assert [each.text for each in found.statements] == ["Nothing was run."]


def test_compilation_is_blamed_only_where_the_control_is_right() -> None:
    """A compiled program that goes wrong while the uncompiled one is right is the main finding."""
    found = find(
        frame(
            cell("linear_rnn", "optimized", horizon=9),
            cell("lstm", "optimized", horizon=49),
            cell("relu_rnn", "optimized"),
            cell("uncompiled", "optimized"),
        )
    )
    (breakage,) = found.breakages
    assert (breakage.control, breakage.targets, breakage.unharmed) == (
        "right",
        ("linear_rnn", "lstm"),
        ("relu_rnn",),
    )
    assert (breakage.earliest, breakage.latest) == (9, 49)
    (text,) = texts(found, "compiled")
    assert "after 9 to 49 tokens on linear_rnn and lstm" in text
    assert "right on relu_rnn" in text
    assert "In 2 of them the uncompiled program" in found.statements[0].text


def test_a_program_that_is_wrong_itself_is_not_blamed_on_the_compiler() -> None:
    """Where the uncompiled program goes wrong as soon, there is no finding against compilation."""
    found = find(frame(cell("lstm", "optimized", horizon=9), cell("uncompiled", "optimized", horizon=9)))
    assert texts(found, "compiled") == []
    assert texts(found, "sooner") == []
    (text,) = texts(found, "program")
    assert "uncompiled toy itself goes wrong" in text
    assert "after 9 tokens" in text
    assert "In 0 of them" in found.statements[0].text


def test_a_shorter_horizon_than_the_programs_own_is_told_apart() -> None:
    """Compiled and uncompiled both go wrong, compiled sooner: its own kind of finding."""
    found = find(frame(cell("lstm", "optimized", horizon=9), cell("uncompiled", "optimized", horizon=49)))
    (text,) = texts(found, "sooner")
    assert "after 9 tokens instead of 49 on lstm" in text


def test_controls_are_paired_by_seed() -> None:
    """A control that is right on one prompt does not excuse or accuse a run on another."""
    found = find(
        frame(
            cell("lstm", "optimized", horizon=9, seed=1),
            cell("lstm", "optimized"),
            cell("uncompiled", "optimized"),
            cell("uncompiled", "optimized", horizon=9, seed=1),
        )
    )
    assert texts(found, "compiled") == []
    assert [each.control for each in found.breakages] == ["wrong"]


def test_sooner_is_judged_prompt_by_prompt() -> None:
    """A horizon is compared with that of the control on the same prompt, not with the shortest of all."""
    found = find(
        frame(
            cell("lstm", "optimized", horizon=9),
            cell("lstm", "optimized", horizon=80, seed=1),
            cell("uncompiled", "optimized", horizon=9),
            cell("uncompiled", "optimized", horizon=90, seed=1),
        )
    )
    (text,) = texts(found, "sooner")
    assert "after 80 tokens instead of 90 on lstm" in text


def test_all_targets_is_said_only_of_all() -> None:
    """Three targets of four are named, not called all."""
    wrong = [cell(target, "optimized", horizon=9) for target in ("linear_rnn", "relu_rnn", "lstm")]
    rest = cell("uncompiled", "optimized", horizon=49)
    (some,) = texts(find(frame(*wrong, cell("gated_linear_rnn", "optimized", horizon=60), rest)), "sooner")
    (every,) = texts(find(frame(*wrong, rest)), "sooner")
    assert "linear_rnn, relu_rnn and lstm" in some
    assert "all targets" in every


def test_a_missing_control_is_said() -> None:
    """Without an uncompiled run no blame is given, and the report says so."""
    found = find(frame(cell("lstm", "optimized", horizon=9)))
    assert ["no uncompiled control ran" in text for text in texts(found, "compiled")] == [True]


def test_gating_that_hurts_is_said_as_plainly() -> None:
    """Products that lose to sums on the same model count as worse and are named."""
    found = find(
        frame(
            cell("lstm", "optimized"),
            cell("lstm", PRODUCTS, horizon=49),
            cell("linear_rnn", "optimized"),
        )
    )
    construction = compared(found, "construction")
    assert (construction.better, construction.worse, construction.identical) == (0, 1, 0)
    assert construction.hurts == ("toy",)
    assert any("worse in 1 (toy) of 1 distinct pair" in text for text in texts(found, "gating"))


def test_identical_outputs_are_told_and_count_once() -> None:
    """Models with equal outputs are one pair, and the architecture is said to make no difference."""
    found = find(frame(*usual()))
    architecture = compared(found, "architecture")
    assert (architecture.identical, architecture.pairs) == (1, 1)
    assert any("architecture by itself makes no difference" in text for text in texts(found, "gating"))


def test_construction_and_architecture_are_told_apart() -> None:
    """Gates that help only through products show in the construction, not in the architecture."""
    wrong_sums = [
        cell(target, "optimized", horizon=9)
        for target in ("linear_rnn", "relu_rnn", "lstm", "gated_linear_rnn")
    ]
    products = [cell(target, PRODUCTS) for target in ("lstm", "gated_linear_rnn")]
    found = find(frame(*wrong_sums, *products, cell("uncompiled", "optimized"), cell("uncompiled", PRODUCTS)))
    assert (compared(found, "construction").better, compared(found, "construction").pairs) == (1, 1)
    assert (compared(found, "architecture").identical, compared(found, "architecture").pairs) == (1, 1)
    assert compared(found, "both").better == 1


def test_bits_decide_between_runs_without_wrong_tokens() -> None:
    """More than one bit at the end makes a difference, less does not."""
    one = find(
        frame(cell("lstm", "optimized", bits=10.0, shift=0.1), cell("lstm", PRODUCTS, bits=10.5, shift=0.2))
    )
    other = find(
        frame(cell("lstm", "optimized", bits=10.0, shift=0.1), cell("lstm", PRODUCTS, bits=20.0, shift=0.2))
    )
    assert compared(one, "construction").same == 1
    assert compared(other, "construction").better == 1


def test_cells_that_cannot_run_are_reported_and_not_judged() -> None:
    """A refusal is a finding of its own and counts neither as right nor as wrong."""
    found = find(
        frame(cell("linear_rnn", PRODUCTS, error="toy.lsrl:3:1: a product"), cell("uncompiled", PRODUCTS))
    )
    (text,) = texts(found, "failed")
    assert "could not run on linear_rnn" in text
    assert "a product" in text
    assert found.statements[0].text == "None of the 0 compiled runs gave a wrong token."


def test_overflowing_weights_and_doubtful_references_are_reported() -> None:
    """Infinite constants, uncertified references and programs unlike their oracle are each said."""
    found = find(
        frame(
            cell("lstm", "optimized", weight_overflow=2),
            cell("uncompiled", "optimized", reference="uncertified"),
            cell("linear_rnn", "optimized", reference_right=False),
        )
    )
    assert len(texts(found, "overflow")) == 1
    assert sum("could not be certified" in text for text in texts(found, "reference")) == 1
    assert sum("differs from its plain-Python oracle" in text for text in texts(found, "reference")) == 1


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    """A program's name cannot send escape sequences."""
    found = find(
        frame(
            cell("lstm", "optimized", horizon=9, program="a\x1b[31mb"),
            cell("uncompiled", "optimized", program="a\x1b[31mb"),
        )
    )
    assert all("\x1b" not in each.text for each in found.statements)


def test_no_kind_crowds_out_the_others() -> None:
    """The foremost sentences keep room for every kind, most important first."""
    breakages = [
        one
        for number in range(12)
        for one in (
            cell("lstm", "optimized", horizon=9, program=f"p{number}"),
            cell("uncompiled", "optimized", program=f"p{number}"),
        )
    ]
    broken = cell("linear_rnn", "optimized", error="refused")
    found = find(frame(*breakages, broken))
    chosen = foremost(found.statements[1:])
    assert len(chosen) == 8
    assert {each.kind for each in chosen} == {"compiled", "failed"}
    assert [each.weight for each in chosen] == sorted((each.weight for each in chosen), reverse=True)


def test_parameters_are_shown_only_where_they_tell_programs_apart() -> None:
    """One set of parameters leaves a program's bare name; two are told apart."""
    single = find(
        frame(
            cell("lstm", "optimized", horizon=9, parameters="n=3"),
            cell("uncompiled", "optimized", parameters="n=3"),
        )
    )
    several = find(
        pd.concat(
            [
                frame(
                    cell("lstm", "optimized", horizon=9, parameters=text),
                    cell("uncompiled", "optimized", parameters=text),
                )
                for text in ("n=3", "n=10")
            ],
            ignore_index=True,
        )
    )
    assert [each.program for each in single.breakages] == ["toy"]
    assert {each.program for each in several.breakages} == {"toy (n=3)", "toy (n=10)"}


def test_models_with_a_finite_window_stand_apart() -> None:
    """Hawk and Griffin are neither gated nor ungated in the summary: they keep no state that could drift."""
    frame = drift(
        ["modulo"], targets=["lstm", "hawk"], formats=["float32"], configs=["stable"], length=30, jobs=1
    )
    cells = cells_of(frame)
    groups = {(row.role, row.conditional): row.cells for row in grouped(cells)}
    assert groups["finite window", "multiplicative_optimized"] == 1
    assert groups["gated", "multiplicative_optimized"] == 1
    assert all(pair.pairs == 1 for pair in compare(titled(cells)) if pair.effect == "construction")
    alone = cells[cells["target"].isin(["hawk", "uncompiled"])]
    assert not list(compare(titled(alone)))
