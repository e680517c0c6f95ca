"""Error over steps of a whole store, small enough for a page: worst seeds, few points, equal curves once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports.horizons import longest
from reports.tables import titled

KEYS = ["program", "config", "format", "target", "conditional"]
PARTS = ("token", "bits", "error", "first")
POINTS = 60_000
"""Of all curves together: about a megabyte and a half."""
DENSITIES = (6, 3, 2, 1)
"""Points per doubling of the tokens, the most that fit are taken."""

Curve = dict[str, list[Any]]


def curves(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Curve]]:
    """The curves of every program, construction, model and format.

    Each point stands for a stretch of tokens and is the worst of all its samples and seeds: its fewest
    significant bits, and its largest absolute error.

    Args:
        frame: a drift frame that :func:`reports.tables.named` has named.

    Returns:
        One row per line with the columns :data:`KEYS` and ``curve``, the place of its curve; the curves, as
        columns :data:`PARTS`: ``token`` (from 1), ``bits``, ``error`` (None where it is not
        finite) and ``first`` (1 at the first wrong token of any seed, else 0).
    """
    ran = longest(titled(frame[frame["step"].notna()]))
    rows = pd.DataFrame(
        {
            "program": ran["title"],
            "config": ran["label"],
            **{name: ran[name] for name in ("format", "target", "conditional", "seed", "horizon")},
            "token": ran["step"].astype("int64") + 1,
            "bits": ran["significant_bits"],
            "error": ran["abs_error"].where(np.isfinite(ran["abs_error"].astype("float64"))),
        }
    )
    rows["first"] = rows.groupby(KEYS, sort=False)["horizon"].transform("min").add(1).eq(rows["token"])
    rows["first"] = rows["first"].fillna(value=False).astype("int64")
    for density in DENSITIES:
        lines, found = _drawn(rows, density)
        if sum(len(curve["token"]) for curve in found) <= POINTS:
            break
    return lines, found


def _drawn(rows: pd.DataFrame, density: int) -> tuple[pd.DataFrame, list[Curve]]:
    stretch = np.floor(np.log2(rows["token"]) * density).astype("int64")
    worst = (
        rows.assign(stretch=stretch)
        .groupby([*KEYS, "first", "stretch"], sort=False)
        .agg(token=("token", "max"), bits=("bits", "min"), error=("error", "max"))
        .reset_index()
        .sort_values([*KEYS, "token"], kind="stable")
    )
    lines, found = [], list[Curve]()
    known: dict[bytes, int] = {}
    for key, part in worst.groupby(KEYS, sort=False):
        kept = part[~_inner(part)]
        curve: Curve = {
            "token": kept["token"].tolist(),
            "bits": [None if pd.isna(value) else round(value, 1) for value in kept["bits"].tolist()],
            "error": [None if pd.isna(value) else float(f"{value:.3g}") for value in kept["error"].tolist()],
            "first": kept["first"].tolist(),
        }
        content = repr(list(curve.values())).encode()
        if content not in known:
            known[content] = len(found)
            found.append(curve)
        lines.append(dict(zip(KEYS, key, strict=True)) | {"curve": known[content]})
    return pd.DataFrame(lines, columns=[*KEYS, "curve"]), found


def _inner(part: pd.DataFrame) -> pd.Series[bool]:
    """Points within a stretch of equal bits and errors: the line is the same without them."""
    same = part["first"].eq(0)
    for name in ("bits", "error"):
        values = part[name].fillna(-1.0)
        same &= values.eq(values.shift()) & values.eq(values.shift(-1))
    return same
