"""The table of docs/real-gates.md: which library programs real gates carry, and how well.

``python -m tests.integration.real_gates_table`` prints it.
"""

from __future__ import annotations

import math

from compiler.compiling import build_native, settle
from compiler.config import CompileConfig
from compiler.errors import CompileRefusal
from compiler.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from compiler.library import LIBRARY
from compiler.loading import load_program
from compiler.lowering import lower
from compiler.real_gates import NativeGates

LENGTH = 10_000
FORMATS = (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)
REASONS = {
    "a sigmoid is a gate": "refused: a factor is not Boolean",
    "does not tell its values apart": "refused: too many digits",
    "has no window": "refused: no window for K",
    "vanish in": "refused: no window for ε",
    "has no bound": "refused: no bound",
    "has no ε": "refused: no window for ε",
}


def cell(name: str, fmt: Format) -> str:
    """Bound or refusal, for the LSTM and, where it differs, the GRU."""
    found = dict.fromkeys(_judged(name, target, fmt) for target in ("lstm", "gru"))
    return " / ".join(found)


def _judged(name: str, target: str, fmt: Format) -> str:
    program = lower(load_program(name), settle(CompileConfig(), target))
    try:
        worst = max(build_native(program, target, NativeGates(format=fmt, length=LENGTH)).outputs)
    except CompileRefusal as refusal:
        return next(said for words, said in REASONS.items() if words in str(refusal))
    if worst == 0:
        return "0"
    return "not proved" if worst == math.inf else f"{worst:.0e}"


def table() -> str:
    """The table in Markdown."""
    lines = ["| program | " + " | ".join(fmt.name for fmt in FORMATS) + " |", "|---" * 5 + "|"]
    lines += [f"| `{name}` | " + " | ".join(cell(name, fmt) for fmt in FORMATS) + " |" for name in LIBRARY]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201 -- this is what it is for
