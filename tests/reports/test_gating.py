"""Statistics of gated against ungated models: paired, corrected, and plain about what is undecided."""

from __future__ import annotations

from typing import Any

import pytest

from reports.findings import Findings, find
from reports.gating import Comparison
from tests.reports.frames import cell, frame

PRODUCTS = "multiplicative_optimized"


def pairs(gains: list[float], **changes: Any) -> list[list[dict[str, Any]]]:
    """LSTM cells with sums that keep 10 bits, and with products that keep so many more; a prompt each."""
    return [
        rows
        for seed, gain in enumerate(gains)
        for rows in (
            cell("lstm", "optimized", bits=10.0, shift=0.1, seed=seed, **changes),
            cell("lstm", PRODUCTS, bits=10.0 + gain, shift=0.2, seed=seed, **changes),
        )
    ]


def construction(found: Findings) -> Comparison:
    """The comparison of products with sums."""
    (each,) = [each for each in found.comparisons if each.effect == "construction"]
    return each


def said(found: Findings) -> str:
    """All sentences about gates."""
    return " ".join(each.text for each in found.statements if each.kind == "gating")


def test_paired_errors_are_told_with_interval_test_and_effect() -> None:
    """Eight pairs that gain two to four bits: the ratio, its interval, the effect and p are in the words."""
    found = find(frame(*pairs([2.0, 4.0, 3.0, 2.0, 4.0, 3.0, 3.5, 2.5])))
    told = construction(found)
    assert told.statistics.ratio == pytest.approx(0.125)
    assert told.statistics.low < 0.125 < told.statistics.high < 0.25
    assert (told.statistics.effect, told.corrected) == (1.0, 2 / 2**8)
    assert "largest errors × 0.12, 95 % 0.0" in said(found)
    assert "over 1 program, effect +1.00, p = 0.0078 corrected)" in said(found)


def test_gates_that_lose_bits_are_said_to() -> None:
    """Where products are the worse, the ratio is above 1 and the pairs count as worse."""
    told = construction(find(frame(*pairs([-2.0] * 8))))
    assert (told.worse, told.statistics.ratio, told.statistics.effect) == (8, 4.0, -1.0)


def test_what_goes_both_ways_is_undecided() -> None:
    """Gains and losses of the same size are no effect, and the sentence says that it is undecided."""
    found = find(frame(*pairs([2.0, -2.0, 3.0, -3.0, 1.5, -1.5])))
    assert construction(found).statistics.effect == 0.0
    assert "undecided" in said(found)


def test_few_pairs_get_counts_and_no_statistics() -> None:
    """With five pairs no test can speak: the words keep to the counts, the figures are still there."""
    found = find(frame(*pairs([2.0] * 5)))
    assert "largest errors" not in said(found)
    assert construction(found).figures == ("0.25 (0.25 to 0.25)", "+1.00", "0.062")


def test_identical_outputs_are_no_evidence() -> None:
    """Pairs with the same outputs count as identical and stay out of the statistics."""
    same = [cell("lstm", conditional, seed=9) for conditional in ("optimized", PRODUCTS)]
    told = construction(find(frame(*pairs([2.0] * 6), *same)))
    assert (told.identical, told.statistics.pairs) == (1, 6)
    alone = construction(find(frame(*same)))
    assert (alone.statistics.pairs, alone.corrected, alone.figures) == (0, 1.0, ("–", "–", "–"))


def test_p_values_are_corrected_for_their_number() -> None:
    """Two formats are two tests: each p-value is doubled (Holm), and the smaller one no less."""
    found = find(frame(*pairs([2.0] * 6), *pairs([2.0] * 8, number_format="float16")))
    told = {each.format: each for each in found.comparisons if each.effect == "construction"}
    assert told["float16"].corrected == pytest.approx(2 * told["float16"].statistics.p_value)
    assert told["float32"].corrected == pytest.approx(told["float32"].statistics.p_value)


def test_the_same_frame_gives_the_same_statistics() -> None:
    """The bootstrap is seeded: a report can be made again."""
    rows = frame(*pairs([1.0, 2.0, 4.0, -1.0, 0.5, 3.0]))
    assert find(rows).comparisons == find(rows).comparisons
