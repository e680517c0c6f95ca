"""Gates to test with: cells made by hand, and configurations in a folder."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stability.gate import Comparison, GateCell, GateConfig, compare, load_gate

KEYS: Mapping[str, Any] = {
    "program": "modulo", "parameters": "n=7", "config": "stable", "conditional": "optimized",
    "target": "lstm", "activation": "relu", "format": "float16", "order": "step", "engine": "native",
    "length": 100, "seed": 0,
}  # fmt: skip
HEAD = """
    experiment = "quick"
    baseline = "gate.json"
"""


def cell(keys: Mapping[str, Any] | None = None, **values: Any) -> GateCell:
    """A cell that is right in all respects but those that are named."""
    usual: dict[str, Any] = {
        "settings": "step_form=clip mu=2",
        "model_hash": "a" * 64,
        "bits": "b" * 64,
        "significant_bits": 10.2,
        "wrong_share": 0.25,
        "horizon": 50,
        "abs_error": 0.5,
    }
    return GateCell(keys={**KEYS, **(keys or {})}, **(usual | values))


def gate(folder: Path, text: str = "", head: str = HEAD) -> GateConfig:
    """The gate that a configuration describes."""
    path = folder / "gate.toml"
    path.write_text(textwrap.dedent(head + text), encoding="utf-8")
    return load_gate(path)


def compared(config: GateConfig, old: list[GateCell], new: list[GateCell]) -> Comparison:
    """A comparison of cells."""
    return compare(config, {each.key: each for each in old}, new)
