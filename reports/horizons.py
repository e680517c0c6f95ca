"""How long models stay right, and by which law their errors grow, over the seeds of a store.

A run of T tokens without a wrong one has a horizon beyond T (censored on the right): medians are
those of Kaplan and Meier, their intervals order statistics (:mod:`stability.noise_horizons`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports.tables import titled
from reports.text import plain
from stability.drift import Progress
from stability.growth import Growth, growth_of
from stability.noise_horizons import failure_chance, median_horizon

GROUP = ("title", "label", "conditional", "target", "format", "length")
"""What the runs of a group have in common; they differ in their prompts."""
SEED = 0
"""Of the bootstrap: the same store gives the same report."""
RIGHT, WRONG, FAILED = "right", "wrong", "failed"


def horizon_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per group of runs.

    Args:
        cells: from :func:`reports.tables.cells_of`, with the column ``beyond`` (whether a
            threshold of the experiment is broken).

    Returns:
        The columns :data:`GROUP`; ``gated``; ``runs`` and ``refused`` (cells that could not run);
        ``failed`` (runs with a wrong token), ``median``, ``low``, ``high`` (Int64, missing beyond the
        length), ``coverage`` of the interval, ``chance_low`` and ``chance_high`` of failing within
        the length; ``wrong_share`` (mean), ``bits_end`` (median), ``bits_min`` (least);
        ``first_bad`` (earliest step that is not finite), ``overflow`` (weights that become
        infinite, most), ``beyond`` (runs), ``error`` and ``outcome``.
    """
    rows = [
        dict(zip(GROUP, key, strict=True)) | _summed(part)
        for key, part in titled(cells).groupby(list(GROUP), sort=False, dropna=False)
    ]
    columns = [*GROUP, *_summed(cells.iloc[:0])]
    whole = ("median", "low", "high", "first_bad", "overflow")
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(whole, "Int64"))


def _summed(part: pd.DataFrame) -> dict[str, Any]:
    ran = part[~part["failed"].astype(bool)]
    found: dict[str, Any] = {
        "gated": bool(part["gated"].any()),
        "runs": len(ran),
        "refused": len(part) - len(ran),
        "failed": int(ran["wrong"].sum()),
        **dict.fromkeys(("median", "low", "high")),
        **dict.fromkeys(("coverage", "chance_low", "chance_high"), np.nan),
        "wrong_share": float(ran["wrong_share"].mean()) if len(ran) else np.nan,
        "bits_end": float(ran["bits_end"].median()) if len(ran) else np.nan,
        "bits_min": float(ran["bits_min"].min()) if len(ran) else np.nan,
        "first_bad": ran["first_bad"].min() if ran["first_bad"].notna().any() else None,
        "overflow": int(ran["weight_overflow"].fillna(0).max()) if len(ran) else None,
        "beyond": int(ran["beyond"].sum()),
        "error": ""
        if len(ran) == len(part)
        else plain(part.loc[part["failed"].astype(bool), "error"].iloc[0]),
        "outcome": FAILED if ran.empty else WRONG if ran["wrong"].any() else RIGHT,
    }
    if len(ran):
        median = median_horizon([None if pd.isna(each) else int(each) for each in ran["horizon"]])
        low, high = failure_chance(median.failed, median.runs)
        found |= {"median": median.value, "low": median.low, "high": median.high}
        found |= {"coverage": median.coverage, "chance_low": low, "chance_high": high}
    return found


def longest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of every program the rows with its longest prompts."""
    return rows[rows["length"] == rows.groupby("title")["length"].transform("max")]


def law_table(frame: pd.DataFrame, progress: Progress | None = None) -> pd.DataFrame:
    """The law by which the output's error grows, one row per group of runs that ran.

    Models with the same outputs share one fit.

    Args:
        frame: a drift frame that :func:`reports.tables.named` has named.
        progress: called with (done, total, what) after every group.

    Returns:
        The columns :data:`GROUP`, ``law``, ``estimate``, ``low``, ``high`` (the exponent of the
        number of tokens, or the rate of an exponential, with its 95 % interval) and ``text``.
    """
    ran = titled(frame[frame["step"].notna()])
    known: dict[tuple[object, ...], Growth] = {}
    rows = []
    groups = ran.groupby(list(GROUP), sort=False)
    for done, (key, part) in enumerate(groups, start=1):
        group = dict(zip(GROUP, key, strict=True))
        outputs = part.drop_duplicates("seed").sort_values("seed")["output_hash"].fillna("")
        same = (*(group[name] for name in GROUP if name != "target"), *outputs)
        if "" in set(outputs) or same not in known:
            known[same] = growth_of(part, generator=np.random.default_rng(SEED))
        law = known[same]
        rows.append(
            group
            | {"law": law.law, "estimate": law.estimate, "low": law.low, "high": law.high, "text": law.text}
        )
        if progress is not None:
            progress(done, groups.ngroups, "laws of growth")
    return pd.DataFrame(rows, columns=[*GROUP, "law", "estimate", "low", "high", "text"])
