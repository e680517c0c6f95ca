"""Two stores compared, cell by cell: what got better, what got worse, and how surely.

Cells are paired when they measure the same thing: program, parameters, configuration, form of the
conditional, model, format, order, prompt and length.  μ and λ may differ, since the compiler
chooses them, and so may engines and versions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.gating import outcome_of
from reports.horizons import SEED
from reports.tables import titled
from stability.cells import KEYS
from stability.paired import Paired, paired

OUTCOMES = ("better", "worse", "same", "identical")
GROUP = ("title", "label", "conditional", "target", "format", "length")
_CHOSEN = ("mu", "lam", "engine", "gated")
"""Keys in which two measurements of the same thing may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreComparison:
    """A store held against another.

    Attributes:
        name: of the other store, as it was given.
        pairs: cells that both have; ``left_only`` and ``right_only`` are in one of them.
        counts: pairs by outcome: ``better``, ``worse``, ``same``, ``identical`` (of the first).
        remade: pairs whose compiled models differ.
        statistics: the errors of the pairs with different outputs.
        groups: one row per group of prompts: :data:`GROUP`, ``pairs``, the four counts, and of both
            stores the median horizon (``horizon_l``, ``horizon_r``; Int64, missing where most runs have none)
            and the median of the bits left at the end (``bits_l``, ``bits_r``).
    """

    name: str
    pairs: int
    left_only: int
    right_only: int
    counts: dict[str, int]
    remade: int
    statistics: Paired
    groups: pd.DataFrame


def compare_stores(left: pd.DataFrame, right: pd.DataFrame, name: str) -> StoreComparison:
    """Hold the cells of a store against those of another.

    Args:
        left: from :func:`reports.tables.cells_of`.
        right: likewise, of the other store.
        name: how the other store is called.
    """
    keys = [each for each in KEYS if each not in _CHOSEN]
    if left.duplicated(keys).any() or right.duplicated(keys).any():
        keys.append("engine")
    left, right = left.drop_duplicates(keys, keep="last"), right.drop_duplicates(keys, keep="last")
    merged = titled(left).merge(right, on=keys, suffixes=("_l", "_r"), how="outer", indicator="side")
    pairs = merged[merged["side"] == "both"]
    pairs = pairs.assign(outcome=np.array([_outcome(pair) for _, pair in pairs.iterrows()], dtype=np.str_))
    ran = pairs[~pairs["failed_l"].astype(bool) & ~pairs["failed_r"].astype(bool)]
    differing = ran[ran["outcome"] != "identical"]
    statistics = paired(
        differing["bits_min_l"].astype("float64"),
        differing["bits_min_r"].astype("float64"),
        generator=np.random.default_rng(SEED),
        groups=list(differing["title"]),
    )
    return StoreComparison(
        name=name,
        pairs=len(pairs),
        left_only=int((merged["side"] == "left_only").sum()),
        right_only=int((merged["side"] == "right_only").sum()),
        counts={each: int((pairs["outcome"] == each).sum()) for each in OUTCOMES},
        remade=int((ran["model_hash_l"] != ran["model_hash_r"]).sum()),
        statistics=statistics,
        groups=_grouped(pairs),
    )


def _outcome(pair: pd.Series) -> str:
    """How the left cell does; one that can run is better than one that cannot."""
    if pair["failed_l"] or pair["failed_r"]:
        if pair["failed_l"] and pair["failed_r"]:
            return "identical" if pair["error_l"] == pair["error_r"] else "same"
        return "worse" if pair["failed_l"] else "better"
    return outcome_of(pair)


def _grouped(pairs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key, part in pairs.groupby(list(GROUP), sort=False):
        row = dict(zip(GROUP, key, strict=True)) | {"pairs": len(part)}
        row |= {each: int((part["outcome"] == each).sum()) for each in OUTCOMES}
        for side in ("l", "r"):
            row[f"horizon_{side}"] = _middle(part[f"horizon_{side}"])
            row[f"bits_{side}"] = float(part[f"bits_end_{side}"].astype("float64").median())
        rows.append(row)
    columns = [*GROUP, "pairs", *OUTCOMES, "horizon_l", "bits_l", "horizon_r", "bits_r"]
    return pd.DataFrame(rows, columns=columns).astype({"horizon_l": "Int64", "horizon_r": "Int64"})


def _middle(horizons: pd.Series) -> int | None:
    """The median, those beyond the prompt last."""
    known = sorted(int(each) for each in horizons.dropna())
    middle = (len(horizons) - 1) // 2
    return known[middle] if middle < len(known) else None


def said_of_comparison(found: StoreComparison) -> list[str]:
    """The comparison in sentences; what is not there is not said."""
    lone = [
        f"{count:,} cells are only in {where}"
        for count, where in ((found.left_only, "the first"), (found.right_only, "the second"))
        if count
    ]
    rest = [f"{' and '.join(lone)}."] if lone else []
    if not found.pairs:
        return ["The two stores have no cell in common.", *rest]
    counts = found.counts
    counted = (
        f"{found.pairs:,} cells are in both stores. In the first, {counts['better']:,} of them are better "
        f"than in the second, {counts['worse']:,} are worse, {counts['same']:,} about the same and "
        f"{counts['identical']:,} identical in every output."
    )
    lines = [counted]
    if found.statistics.pairs:
        lines.append(f"Over the pairs with different outputs: {found.statistics.text}.")
    if found.remade:
        lines.append(
            f"{found.remade:,} pairs have different compiled models: there the compiler has changed."
        )
    elif counts["identical"] < found.pairs:
        lines.append("The compiled models are the same in every pair: what differs is how they are run.")
    return [*lines, *rest]
