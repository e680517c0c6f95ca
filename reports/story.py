"""The summary of a store for a reader who knows neither the paper nor the suite: what, when, why, gates.

Every sentence is made from the cells; what they do not show is not said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from compiler.compiling import UNCOMPILED
from reports.gating import Comparison
from reports.statements import listed
from reports.tables import PAIRING, has_window, share_text, titled
from reports.text import plain

PART = 0.05
"""Of all pairs: what differs in fewer makes no difference worth a headline."""
_LAWS = {
    "exact": "there is no error at all",
    "bounded": "stays bounded",
    "sqrt": "grows like the square root of the number of tokens",
    "linear": "grows in proportion to the number of tokens",
    "power": "grows by another power of the number of tokens",
    "exponential": "grows exponentially",
    "inconclusive": "follows no law that can be told",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A question and its answer.

    Attributes:
        title: the question.
        lines: sentences.
    """

    title: str
    lines: tuple[str, ...]


def story(
    cells: pd.DataFrame, laws: pd.DataFrame, comparisons: Sequence[Comparison], limits: Sequence[str]
) -> list[Chapter]:
    """What a store shows, in plain words.

    Args:
        cells: from :func:`reports.tables.cells_of`, with the column ``beyond``.
        laws: from :func:`reports.horizons.law_table`.
        comparisons: from :func:`reports.gating.compare`.
        limits: the thresholds of the experiment, as text.
    """
    shown = titled(cells)
    ran = shown[~shown["failed"].astype(bool)]
    compiled = ran[ran["target"] != UNCOMPILED]
    chapters = [("What was measured", [*_measured(shown, compiled)])]
    if len(compiled):
        chapters += [
            ("What drifts?", [*_what(compiled, limits)]),
            ("When?", [*_when(compiled)]),
            ("Why?", [*_why(ran, compiled, laws)]),
            ("Do gates help?", [*_gates(comparisons, compiled)]),
        ]
    return [Chapter(title=title, lines=tuple(lines)) for title, lines in chapters if lines]


def _measured(shown: pd.DataFrame, compiled: pd.DataFrame) -> Iterable[str]:
    if shown.empty:
        yield "The store holds no finished cell: nothing was measured."
        return
    programs, targets = list(dict.fromkeys(shown["title"])), list(dict.fromkeys(compiled["target"]))
    if not targets:
        yield f"No compiled model could be run; {len(shown):,} cells were tried, of {listed(programs)}."
    else:
        yield (
            f"{_count(len(programs), 'small program')} ({listed(programs)}) {_be(programs)} turned "
            "into the weights "
            f"of recurrent networks: {listed(targets, 10)}. With exact numbers every one of these "
            "networks gives "
            "the outputs of its program, for ever. Computers round numbers, at every token a little, and the "
            "networks drift away from what they should say."
        )
        formats, seeds = list(dict.fromkeys(compiled["format"])), compiled["seed"].nunique()
        yield (
            f"Each network read {_count(seeds, 'prompt')} of up to "
            f"{int(compiled['length'].max()):,} tokens in "
            f"{listed(formats, 10)}. Its outputs were held against exact ones, and against the "
            "program itself run in "
            "the same format without any network (“uncompiled”)."
        )
    failed = int(shown["failed"].sum())
    if failed:
        reasons = shown.loc[shown["failed"].astype(bool), "error"].value_counts()
        yield f"{_count(failed, 'cell')} could not be run, most often because: {plain(reasons.index[0])}"


def _what(compiled: pd.DataFrame, limits: Sequence[str]) -> Iterable[str]:
    wrong = compiled[compiled["wrong"].astype(bool)]
    if wrong.empty:
        yield f"No run gives a wrong token: all {len(compiled):,} stay right to the end of their prompts."
    else:
        yield (
            f"{len(wrong):,} of {len(compiled):,} runs ({share_text(len(wrong) / len(compiled))}) "
            "give at least one "
            "wrong token."
        )
        yield f"By number format: {_shares(compiled, 'format')}."
        yield f"By program: {_shares(compiled, 'title')}."
        if compiled["label"].nunique() > 1:
            yield f"By configuration of the compiler: {_shares(compiled, 'label')}."
    beyond = int(compiled["beyond"].sum())
    if limits:
        yield f"By the thresholds of the experiment ({'; '.join(limits)}), {_count(beyond, 'run')} drifted."


def _shares(compiled: pd.DataFrame, column: str, most: int = 8) -> str:
    """``float16 50.0% of 100, float32 none of 100``, the worst first."""
    wrong = compiled.groupby(column, sort=False)["wrong"].agg(["sum", "size"])
    wrong = wrong.assign(share=wrong["sum"] / wrong["size"]).sort_values(
        "share", ascending=False, kind="stable"
    )
    parts = [
        f"{plain(str(name))} {share_text(float(row['share'])) if row['sum'] else 'none'} of "
        f"{int(row['size']):,}"
        for name, row in wrong.head(most).iterrows()
    ]
    return ", ".join(parts) + (f", and {len(wrong) - most} more" if len(wrong) > most else "")


def _when(compiled: pd.DataFrame) -> Iterable[str]:
    wrong = compiled[compiled["wrong"].astype(bool)]
    if len(wrong):
        horizons = wrong["horizon"].astype("int64")
        first = wrong.iloc[int(horizons.argmin())]
        after = _count(int(horizons.min()), "right token")
        yield (
            f"Of the runs that go wrong, half have done so after {int(horizons.median()):,} right "
            "tokens. The earliest "
            f"goes wrong after {after}: {_named(first)}."
        )
    fine = compiled[~compiled["wrong"].astype(bool)]
    if len(fine):
        length = int(fine["length"].max())
        yield (
            f"{_count(len(fine), 'run')} stay right to the end of their prompts, up to {length:,} "
            "tokens: their "
            "horizon lies beyond that, and how far is not known."
        )


def _named(cell: pd.Series) -> str:
    where = f"{cell['title']} on {plain(cell['target'])} in {plain(cell['format'])}"
    return f"{where}, configuration {cell['label']}"


def _why(ran: pd.DataFrame, compiled: pd.DataFrame, laws: pd.DataFrame) -> Iterable[str]:
    wrong = compiled[compiled["wrong"].astype(bool)]
    if len(wrong):
        causes = _causes(ran, wrong)
        told = {
            "constant": "a constant of the network is too large for the format and becomes infinite",
            "infinite": "a value outgrows the format and becomes infinite or undefined before the "
            "first wrong token",
            "program": "the program itself, without any network, goes wrong in that format just as soon",
            "network": "rounding in the network alone is to blame: the program itself stays right, "
            "or right for longer",
            "unknown": "the program itself was not run beside it, so that nothing can be told",
        }
        parts = [f"in {count:,}, {told[cause]}" for cause, count in causes.items() if count]
        yield f"Of the {len(wrong):,} runs with a wrong token: {'; '.join(parts)}."
    known = laws[laws["target"] != UNCOMPILED]["law"].value_counts()
    if len(known):
        exact = int(known.get("exact", 0))
        rest = [f"{_LAWS[str(law)]} in {count:,}" for law, count in known.items() if law != "exact"]
        none = f"no error at all in {exact:,}" if exact else ""
        said = "; ".join(filter(None, [none, f"it {', '.join(rest)}" if rest else ""]))
        yield f"Over {_count(int(known.sum()), 'group')} of runs, the error of the output: {said}."


def _causes(ran: pd.DataFrame, wrong: pd.DataFrame) -> dict[str, int]:
    """Every wrong run under the first cause that applies."""
    keys = ["conditional", *PAIRING]
    controls = ran[ran["target"] == UNCOMPILED].drop_duplicates(keys)
    beside = wrong.merge(
        controls[[*keys, "wrong", "horizon"]], on=keys, how="left", suffixes=("", "_control")
    )
    large = beside["weight_overflow"].fillna(0) > 0
    infinite = (beside["first_bad"] <= beside["horizon"]).fillna(value=False).astype(bool)
    unknown = beside["wrong_control"].isna()
    own = (beside["horizon_control"] <= beside["horizon"]).fillna(value=False).astype(bool)
    return {
        "constant": int(large.sum()),
        "infinite": int((~large & infinite).sum()),
        "program": int((~large & ~infinite & own).sum()),
        "network": int((~large & ~infinite & ~own & ~unknown).sum()),
        "unknown": int((~large & ~infinite & unknown).sum()),
    }


def _gates(comparisons: Sequence[Comparison], compiled: pd.DataFrame) -> Iterable[str]:
    asked = {
        "architecture": "Gated networks built with the same sums as ungated ones (the architecture alone)",
        "construction": "The same gated networks with products in place of sums (what only gates can do)",
        "gates": "The same networks with real sigmoid and tanh in place of ReLU",
    }
    for effect, what in asked.items():
        own = [each for each in comparisons if each.effect == effect]
        pairs = sum(each.pairs for each in own)
        if not pairs:
            continue
        better, worse = sum(each.better for each in own), sum(each.worse for each in own)
        identical = sum(each.identical for each in own)
        hurt = list(dict.fromkeys(name for each in own for name in each.hurts))
        where = f" (of {listed(hurt, 4)})" if hurt else ""
        yield (
            f"{what}: better in {better:,}, worse in {worse:,}{where}, identical in {identical:,} of "
            f"{_count(pairs, 'distinct pair')}. {_verdict(better, worse, pairs)}"
        )
    windowed = [name for name in dict.fromkeys(compiled["target"]) if has_window(name)]
    if windowed:
        yield (
            f"Not counted here: {listed(windowed)}, which recompute every state from a window of "
            "tokens. That they "
            "carry no error along says nothing about gates."
        )


def _verdict(better: int, worse: int, pairs: int) -> str:
    if better + worse <= PART * pairs:
        return "That makes next to no difference."
    if better >= 2 * worse:
        return "On the whole that helps." if worse else "That helps, and hurts nowhere."
    if worse >= 2 * better:
        return "On the whole that hurts." if better else "That hurts, and helps nowhere."
    return "That helps in some places and hurts in others."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _be(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"
