"""Checking runs: every declared and inferred range against (nearly) exact values.

A declaration is believed when a program is compiled; a false one makes a wrong model.
Here the program is run, node by node, in mpmath at :data:`DIGITS` digits, and every value
is held to its interval and its lattice.  Of the first step with a
violation, a declared range is reported rather than an inferred one, with its source line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import UNCOMPILED, compile_lowered
from compiler.config import CompileConfig
from compiler.errors import Diagnostic, Span
from compiler.lowering import Lowered, lower
from compiler.ranges import Range
from stability.formats import MpmathFormat
from stability.measures import exact_value, to_float
from stability.running import stream
from stability.tokens import read_tokens

DIGITS = 60
SLACK = mpq(1, 1 << 100)
"""Tolerance relative to max(1, |value|), far above the run's own rounding."""
CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """The first value outside its range.

    Attributes:
        step: of the prompt, from 0.
        variable: its name in the program, or operation and line.
        component: which of its components.
        value: what it was, rounded to float64.
        extent: the range it should have been in.
        span: the source place.
        declared: whether the node itself carries a declaration.
    """

    step: int
    variable: str
    component: int
    value: float
    extent: Range
    span: Span | None
    declared: bool

    @property
    def message(self) -> str:
        """The violation in one line."""
        kind = "declared" if self.declared else "inferred"
        return (
            f"{self.variable}, component {self.component}, is {self.value:.9g} at step {self.step}, outside "
            f"its {kind} range {self.extent}"
        )

    @property
    def diagnostic(self) -> Diagnostic:
        """The violation with its place and the way out."""
        return Diagnostic(
            message=self.message,
            span=self.span,
            hint="correct the range in Input(…) or assume(…), or the prompt"
            if self.declared
            else "a declaration behind it is false, or the compiler is wrong: see compile --check",
        )


def find_violation(
    program: ir.Program, chunks: Iterable[object], config: CompileConfig | None = None
) -> Violation | None:
    """Run a prompt and give the first value outside its range, or None.

    Args:
        program: a source program.
        chunks: the prompt in pieces along time, each (C, dim).
        config: the configuration whose construction is checked; default ``stable``.

    Raises:
        TokenError: as :func:`stability.run`.
    """
    lowered = lower(program, config)
    model = compile_lowered(lowered, UNCOMPILED)
    computed = [
        i for i, node in enumerate(lowered.program.nodes) if not isinstance(node, ir.Input | ir.Concat)
    ]
    nodes = dict(enumerate([0, *computed]))  # wire → node: the tokens, then a layer per computing node
    pieces = (read_tokens(chunk, program.input_dim).values[0] for chunk in chunks)
    start = 0
    for result in stream(model, _split(pieces), MpmathFormat(dps=DIGITS), keep=list(nodes)):
        for step in range(len(result.status)):
            found = [
                violation
                for wire, node in nodes.items()
                if (violation := _outside(lowered, node, result.wires[wire][step], start + step))
            ]
            if found:  # a false declaration narrows what it was inferred from: name the declaration
                return min(found, key=lambda violation: not violation.declared)
        start += len(result.status)
    return None


def _split(pieces: Iterator[npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    """Pieces short enough that the values of all variables fit in memory."""
    for piece in pieces:
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]


def _outside(lowered: Lowered, index: int, values: npt.NDArray[Any], step: int) -> Violation | None:
    node = lowered.program.nodes[index]
    for component, (number, form) in enumerate(zip(values, lowered.graph.forms[index], strict=True)):
        value, extent = exact_value(number), lowered.graph.range_of(form)
        assert value is not None, "mpmath numbers do not overflow"
        if not _within(value, extent):
            return Violation(
                step=step,
                variable=lowered.program.label(index),
                component=component,
                value=to_float(value),
                extent=extent,
                span=node.span,
                declared=node.declared is not None,
            )
    return None


def _within(value: mpq, extent: Range) -> bool:
    slack = SLACK * max(1, abs(value))
    if extent.lo is not None and value < extent.lo - slack:
        return False
    if extent.hi is not None and value > extent.hi + slack:
        return False
    if not extent.step:  # a constant is held by its bounds, a real value has no lattice
        return True
    gap = (value - extent.offset) % extent.step
    return bool(min(gap, extent.step - gap) <= slack)
