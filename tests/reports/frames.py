"""Synthetic drift frames whose right reading is known."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stability.cells import COLUMNS, TYPES

LENGTH = 100
STEPS = (0, 1, 9, 49, 99)
PRECISION = {"float16": 11.0, "float32": 24.0, "float64": 53.0}
GATED = {"lstm", "gated_linear_rnn"}


def cell(
    target: str,
    conditional: str,
    number_format: str = "float32",
    *,
    horizon: int | None = None,
    share: float | None = None,
    bits: float | None = None,
    shift: float = 0.0,
    error: str = "",
    **changes: Any,
) -> list[dict[str, Any]]:
    """The rows of one cell: right to the end, or wrong from ``horizon`` on."""
    keys: dict[str, Any] = {
        "program": "toy",
        "parameters": "",
        "config": "paper",
        "step_form": "paper",
        "conditional": conditional,
        "complement": "direct",
        "mu": "1000",
        "lam": "10000000000",
        "target": target,
        "gated": target in GATED,
        "format": number_format,
        "engine": "native",
        "seed": 0,
        "length": LENGTH,
    }
    if share is None:
        share = 0.0 if horizon is None else (LENGTH - horizon) / LENGTH
    results = {
        "layers": 3,
        "units": 7,
        "nonzeros": 20,
        "model_hash": "00",
        "weight_overflow": 0,
        "wrong_share": share,
        "horizon": horizon,
        "first_bad": None,
        "reference": "mpmath120",
        "reference_right": True,
        "error": error,
    }
    left = PRECISION[number_format] if bits is None else bits
    if error:
        empty = dict.fromkeys(results, None) | {"error": error, "reference": "", "model_hash": ""}
        return [keys | empty | {"status": ""} | changes]
    rows = []
    for step in STEPS:
        wrong = horizon is not None and step >= horizon
        value = 1.0 + shift + (1.0 if wrong else 0.0)
        rows.append(
            keys
            | results
            | {
                "step": step,
                "reference_value": 1.0,
                "value": value,
                "abs_error": abs(value - 1.0),
                "rel_error": abs(value - 1.0),
                "ulp_error": 0.0,
                "significant_bits": 0.0 if wrong else left,
                "status": "ok",
                "wrong": wrong,
            }
            | changes
        )
    return rows


def frame(*cells: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame of these cells, with the columns and types of a measured one."""
    rows = [dict.fromkeys(COLUMNS) | row for rows in cells for row in rows]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(TYPES)


def usual(number_format: str = "float32", **changes: Any) -> list[list[dict[str, Any]]]:
    """All targets right, under the conditionals that a default grid has."""
    pairs = [
        ("linear_rnn", "optimized"),
        ("relu_rnn", "optimized"),
        ("lstm", "optimized"),
        ("gated_linear_rnn", "optimized"),
        ("uncompiled", "optimized"),
        ("lstm", "multiplicative_optimized"),
        ("gated_linear_rnn", "multiplicative_optimized"),
        ("uncompiled", "multiplicative_optimized"),
    ]
    return [cell(target, conditional, number_format, **changes) for target, conditional in pairs]
