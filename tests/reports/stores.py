"""Small stores on disk, written as finished cells are, whose right reading is known."""

# columns are given by name:
# mypy: disable-error-code="arg-type"
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stability.attribution import blank_record
from stability.experiment.origin import canonical, digest
from stability.experiment.store import open_store
from tests.reports.frames import cell, usual

Rows = list[dict[str, Any]]
SAMPLE = 8
THRESHOLDS = "[thresholds]\nwrong_share = 0.0\n"


def write_store(path: Path, cells: Sequence[Rows], *, experiment: str = "") -> Path:
    """A store that holds these cells, one file each.

    Args:
        path: of the store; it may hold cells already.
        cells: the rows of each, as :mod:`tests.reports.frames` makes them.
        experiment: the text of the experiment that was run into it.
    """
    store = open_store(path)
    store.keep_experiment("planted", experiment)
    for rows in cells:
        first = rows[0]
        names = ("program", "parameters", "config", "conditional", "target", "activation", "format", "order")
        identity = canonical({name: str(first.get(name)) for name in (*names, "engine", "seed", "length")})
        own = {
            "activation": "relu", "order": "step", "output_hash": "", "cell": digest(identity),
            "config_hash": "00", "failure": "refused" if first["error"] else "", "numeric_schema": 1,
            "versions": "lsrl-stability 0", "commit": "", "computed_at": "2026-01-01T00:00:00+00:00",
            "seconds": 0.1,
        }  # fmt: skip
        with store.claim(digest(identity)) as mine:
            assert mine is not None, "cells differ in their keys"
            mine.finish([own | row for row in rows], identity)
    return path


def sample_cells(seeds: int = 3) -> list[Rows]:
    """Two formats, several prompts: float16 goes wrong after 9 tokens, float32 stays right."""
    return [
        rows
        for seed in range(seeds)
        for rows in (*usual("float16", horizon=9, seed=seed, ulp_error=1.0), *usual("float32", seed=seed))
    ]


def drifting_cells() -> list[Rows]:
    """Models of which one is told to have a state that drifts first."""
    first: dict[str, Any] = {
        "first_state": "counter", "first_state_place": "toy.lsrl:7", "first_state_step": 5,
        "first_state_local": 0.5, "first_state_law": "linear",
    }  # fmt: skip
    return [
        cell("lstm", "optimized", seed=50, **first),
        cell("linear_rnn", "optimized", seed=50, **blank_record()),
    ]
