"""Which named state drifts first, over the seeds of a store."""

from __future__ import annotations

import pandas as pd

from reports.horizons import GROUP
from reports.tables import titled
from reports.text import plain
from stability.attribution import FIRST

COLUMNS = ("variable", "place", "step", "local", "law", "runs", "drifted")


def state_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per group of runs that were asked for their states.

    Args:
        frame: a drift frame that :func:`reports.tables.named` has named.

    Returns:
        The columns :data:`reports.horizons.GROUP`; the ``variable`` that drifts first of all seeds
        (empty where none does), its ``place`` in the source, its ``step``, the share of its error
        made in that step (``local``) and the ``law`` of its error; how many ``runs`` were asked
        and in how many some state ``drifted``.  Empty where the frame does not tell.
    """
    if not set(FIRST) <= set(frame.columns):
        return pd.DataFrame(columns=[*GROUP, *COLUMNS])
    asked = titled(frame[frame["step"].notna() & frame["first_state"].notna()])
    cells = asked.drop_duplicates([*GROUP, "seed", "engine"])
    rows = []
    for key, part in cells.groupby(list(GROUP), sort=False):
        drifted = part[part["first_state"] != ""].sort_values("first_state_step", kind="stable")
        row: dict[str, object] = dict(zip(GROUP, key, strict=True))
        row |= dict.fromkeys(COLUMNS, "") | {"step": None, "local": None}
        row |= {"runs": len(part), "drifted": len(drifted)}
        if len(drifted):
            first = drifted.iloc[0]
            row |= {
                "variable": plain(first["first_state"]),
                "place": plain(first["first_state_place"]),
                "step": int(first["first_state_step"]),
                "local": None if pd.isna(first["first_state_local"]) else float(first["first_state_local"]),
                "law": plain(first["first_state_law"]),
            }
        rows.append(row)
    table = pd.DataFrame(rows, columns=[*GROUP, *COLUMNS])
    return table.astype({"step": "Int64", "local": "float64"})
