"""The regression gate: a fresh run of an experiment against a baseline that was reviewed.

>>> from stability.gate import compare, fresh_cells, load_gate, read_baseline
"""

from stability.gate.baseline import BaselineError, read_baseline, write_baseline
from stability.gate.cell import GateCell
from stability.gate.comparing import Change, Comparison, Verdict, compare
from stability.gate.configuration import GateConfig, load_gate
from stability.gate.kept import with_corpus
from stability.gate.measuring import FreshRunError, Source, fresh_cells, sources

__all__ = [
    "BaselineError", "Change", "Comparison", "FreshRunError", "GateCell", "GateConfig", "Source", "Verdict",
    "compare", "fresh_cells", "load_gate", "read_baseline", "sources", "with_corpus",
    "write_baseline",
]  # fmt: skip
