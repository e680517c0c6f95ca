"""Gated against ungated models, paired, with controls.

Pairs share program, parameters, configuration, format, engine, prompt and length.  Pairs
with the same outputs at every sampled step count once and tell nothing about a direction; of the
others :mod:`stability.paired` tells the ratio of their largest errors (the fewest significant
bits of all sampled steps), its interval over programs, a signed-rank test, and the size of the effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from compiler.compiling import UNCOMPILED
from reports.statements import Statement, format_weight, listed
from reports.tables import PAIRING, architecture_of, has_window, is_product
from reports.text import plain
from stability.cells import NATIVE
from stability.drift import NO_CONDITIONAL
from stability.paired import LEVEL, Paired, holm, paired

SAME_BITS = 1.0
"""Two runs without a wrong token count as equal if their last steps differ by at most this many bits."""

TELLING = 6
"""Pairs from which on statistics are put in words: with fewer, no test comes below p = 0.05."""
SEED = 0
"""Of the bootstrap: the same frame gives the same report."""

Effect = Literal["construction", "architecture", "both", "gates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Paired cells that differ in one thing, counted.

    Attributes:
        effect: ``construction`` (the same gated models, products against sums),
            ``architecture`` (gated against ungated models under the same conditional),
            ``both`` (gated models with products against ungated models with sums),
            ``gates`` (real sigmoid and tanh against ReLU in the same gated models).
        format: number format.
        config: configuration with its step form.
        left: what the first of each pair has; ``right``: the second.
        better: pairs in which the first does better; ``worse``, ``same`` likewise.
        identical: pairs with equal outputs at every sampled step (not in ``same``).
        statistics: the errors of the pairs with different outputs.
        corrected: p-value of their signed-rank test, corrected for the number of comparisons (Holm).
        hurts: the pairs in which the first does worse, named.
    """

    effect: Effect
    format: str
    config: str
    left: str
    right: str
    better: int
    worse: int
    same: int
    identical: int
    statistics: Paired
    corrected: float = 1.0
    hurts: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """The kind of model that comes first in each pair."""
        return "real gates" if self.effect == "gates" else "gated"

    @property
    def second(self) -> str:
        """The kind of model that it is held against."""
        match self.effect:
            case "gates":
                return "ReLU gates"
            case "construction":
                return "gated"
            case "architecture" | "both":
                return "ungated"

    @property
    def pairs(self) -> int:
        """All distinct pairs."""
        return self.better + self.worse + self.same + self.identical

    @property
    def figures(self) -> tuple[str, str, str]:
        """The ratio of the errors with its interval, the effect and the corrected p, as text."""
        told = self.statistics
        if not told.pairs:
            return ("–", "–", "–")
        interval = "" if told.pairs < 2 else f" ({told.low:.2g} to {told.high:.2g})"
        return (f"{told.ratio:.2g}{interval}", f"{told.effect:+.2f}", f"{self.corrected:.2g}")


def compare(cells: pd.DataFrame) -> Iterator[Comparison]:
    """All comparisons that the cells allow; they come from :func:`reports.tables.titled`."""
    found = list(_comparisons(cells))
    tested = [k for k, each in enumerate(found) if each.statistics.pairs]
    corrected = dict(zip(tested, holm([found[k].statistics.p_value for k in tested]), strict=True))
    yield from (replace(each, corrected=corrected.get(k, 1.0)) for k, each in enumerate(found))


def _comparisons(cells: pd.DataFrame) -> Iterator[Comparison]:
    ran = cells[
        ~cells["failed"] & (cells["target"] != UNCOMPILED) & ~cells["target"].map(has_window).astype(bool)
    ]
    ran = ran.assign(product=ran["conditional"].map(is_product).astype(bool))
    real = ran["activation"].eq(NATIVE).fillna(value=False).astype(bool)
    gates = ran.assign(architecture=ran["target"].map(architecture_of))
    ran = ran[~real]
    gated, ungated = ran[ran["gated"]], ran[~ran["gated"]]
    sums, products = gated[~gated["product"]], gated[gated["product"]]
    named = products[products["conditional"] != NO_CONDITIONAL]
    pairings: tuple[tuple[Effect, pd.DataFrame, pd.DataFrame, list[str]], ...] = (
        ("construction", named, sums[sums["conditional"] != NO_CONDITIONAL], [*PAIRING, "target"]),
        ("architecture", sums, ungated, [*PAIRING, "conditional"]),
        ("both", named, ungated[ungated["conditional"] != NO_CONDITIONAL], list(PAIRING)),
        ("gates", gates[real], gates[~real], [*PAIRING, "architecture", "conditional"]),
    )
    for effect, left, right, keys in pairings:
        pairs = left.merge(right, on=keys, suffixes=("_l", "_r"))
        for each in ("conditional", "target"):
            if each in keys:
                pairs[f"{each}_l"] = pairs[f"{each}_r"] = pairs[each]
        pairs = pairs.drop_duplicates([*PAIRING, "signature_l", "signature_r"])
        group = ["format", "label_l", "conditional_l", "conditional_r"]
        for (format_name, label, one, other), part in pairs.groupby(group, sort=False):
            yield _compared(effect, str(format_name), str(label), str(one), str(other), part)


def _compared(
    effect: Effect, format_name: str, label: str, left: str, right: str, pairs: pd.DataFrame
) -> Comparison:
    outcome = [outcome_of(row) for _, row in pairs.iterrows()]
    counts = {name: outcome.count(name) for name in ("better", "worse", "same", "identical")}
    hurts = [
        str(row["title_l"])
        for (_, row), what in zip(pairs.iterrows(), outcome, strict=True)
        if what == "worse"
    ]
    differing = pairs[[what != "identical" for what in outcome]]
    statistics = paired(
        differing["bits_min_l"],
        differing["bits_min_r"],
        generator=np.random.default_rng(SEED),
        groups=list(differing["title_l"]),
    )
    return Comparison(
        effect=effect,
        format=format_name,
        config=label,
        left=left,
        right=right,
        statistics=statistics,
        hurts=tuple(dict.fromkeys(hurts)),
        better=counts["better"],
        worse=counts["worse"],
        same=counts["same"],
        identical=counts["identical"],
    )


def outcome_of(pair: pd.Series) -> str:
    """How the left cell does against the right one: wrong tokens first, then bits left."""
    if pair["signature_l"] == pair["signature_r"]:
        return "identical"
    if pair["wrong_share_l"] != pair["wrong_share_r"]:
        return "better" if pair["wrong_share_l"] < pair["wrong_share_r"] else "worse"
    gain = pair["bits_end_l"] - pair["bits_end_r"]
    if pair["wrong_share_l"] > 0 or not abs(gain) > SAME_BITS:
        return "same"
    return "better" if gain > 0 else "worse"


def said_of_gating(comparisons: Sequence[Comparison]) -> Iterator[Statement]:
    """A sentence per configuration that shows a difference; comparisons that show none share one."""
    for effect in ("construction", "architecture", "gates"):
        own = [each for each in comparisons if each.effect == effect]
        for left, right in dict.fromkeys((each.left, each.right) for each in own):
            same_kind = [each for each in own if (each.left, each.right) == (left, right)]
            alike = [each for each in same_kind if each.pairs == each.identical]
            unlike = [each for each in same_kind if each.pairs > each.identical]
            for config in dict.fromkeys(each.config for each in unlike):
                yield _said_of_difference([each for each in unlike if each.config == config])
            if alike:
                yield _said_of_identity(alike)


def _said_of_difference(parts: Sequence[Comparison]) -> Statement:
    first = parts[0]
    ordered = sorted(parts, key=lambda each: -format_weight(each.format))
    clauses = "; ".join(f"{each.format}: {_counted(each)}" for each in ordered)
    if first.effect == "construction":
        what = f"the same gated models with {plain(first.left)} instead of {plain(first.right)}"
    elif first.effect == "gates":
        what = f"the same models with real sigmoid and tanh instead of ReLU {_same_conditional(first)}"
    else:
        what = f"gated models against ungated ones {_same_conditional(first)}"
    weight = (
        90
        + max(format_weight(each.format) for each in parts)
        + (3 if any(each.worse for each in parts) else 0)
    )
    return Statement(kind="gating", text=f"{first.config}: {what}: {clauses}.", weight=weight)


def _same_conditional(each: Comparison) -> str:
    return (
        "on programs without a conditional"
        if each.left == NO_CONDITIONAL
        else f"with the same {plain(each.left)}"
    )


def _said_of_identity(alike: Sequence[Comparison]) -> Statement:
    pairs = sum(each.pairs for each in alike)
    formats: dict[str, list[str]] = {}
    for each in alike:
        formats.setdefault(each.config, []).append(each.format)
    where = "; ".join(f"{config}: {listed(names)}" for config, names in formats.items())
    if alike[0].effect == "construction":
        text = (
            f"{plain(alike[0].left)} and {plain(alike[0].right)} on the same gated models give identical "
            f"outputs in {_all(pairs)} ({where}): there the gates make no difference."
        )
        return Statement(kind="gating", text=text, weight=88)
    if alike[0].effect == "gates":
        text = (
            f"Real sigmoid and tanh give the same outputs as ReLU in the same models in {_all(pairs)} "
            f"({where})."
        )
        return Statement(kind="gating", text=text, weight=87)
    text = (
        f"Gated and ungated models {_same_conditional(alike[0])} give identical outputs in {_all(pairs)} "
        f"({where}): the architecture by itself makes no difference there."
    )
    return Statement(kind="gating", text=text, weight=96 if alike[0].left != NO_CONDITIONAL else 40)


def _all(pairs: int) -> str:
    return "the only distinct pair" if pairs == 1 else f"all {pairs} distinct pairs"


def _counted(each: Comparison) -> str:
    worse = f"worse in {each.worse}" + (f" ({listed(each.hurts, 3)})" if each.hurts else "")
    parts = [
        text
        for text, count in (
            (f"better in {each.better}", each.better),
            (worse, each.worse),
            (f"about the same in {each.same}", each.same),
            (f"identical outputs in {each.identical}", each.identical),
        )
        if count
    ]
    text = f"{', '.join(parts)} of {each.pairs} distinct pair{'s' if each.pairs != 1 else ''}"
    return f"{text} ({_measured(each)})" if each.statistics.pairs >= TELLING else text


def _measured(each: Comparison) -> str:
    """The statistics in words; a difference is said only where interval and corrected test agree."""
    told = each.statistics
    programs = f"{told.groups} program{'' if told.groups == 1 else 's'}"
    decided = each.corrected < LEVEL and not told.low <= 1 <= told.high
    verdict = "" if decided else ", undecided"
    return (
        f"largest errors × {told.ratio:.2g}, 95 % {told.low:.2g} to {told.high:.2g} over {programs}, "
        f"effect {told.effect:+.2f}, p = {each.corrected:.2g} corrected{verdict}"
    )
