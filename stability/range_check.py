"""Checking runs: declared and inferred ranges, and types, against (nearly) exact values.

A declaration is believed when a program is compiled; a false one makes a wrong model.
Here the program is run, node by node, in mpmath at :data:`DIGITS` digits.  Every value is
held to its interval and its lattice, which say whether it is a Boolean or an integer, and to
its trend ("never falls"); every state to its kind: what it takes in besides its own past,
carried on as an accumulator, a ring or a shift register carries it, lies in the range of
its increments.  Of the first step with a violation, a declared range is reported rather
than an inferred one, with its source line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import numpy.typing as npt
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import UNCOMPILED, compile_lowered
from compiler.config import CompileConfig
from compiler.errors import Diagnostic, Span
from compiler.exact import ZERO, Vector
from compiler.lowering import Lowered, lower
from compiler.ranges import Range
from compiler.state_kinds import carried
from compiler.types import State, Types, full_text, infer_types, type_of
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
    """The first value that is not what was declared or inferred.

    Attributes:
        step: of the prompt, from 0.
        variable: its name in the program, or operation and line.
        component: which of its components.
        value: what it was, rounded to float64.
        broken: what should have held, in words that follow the value and the step.
        span: the source place.
        declared: whether the node itself carries the declaration that is broken.
        rank: of violations in one step the least is reported.
    """

    step: int
    variable: str
    component: int
    value: float
    broken: str
    span: Span | None
    declared: bool = False
    rank: int = 0

    @property
    def message(self) -> str:
        """The violation in one line."""
        return (
            f"{self.variable}, component {self.component}, is {self.value:.9g} at step {self.step}, "
            f"{self.broken}"
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
    """Run a prompt and give the first value that is not what it was taken for, or None.

    Args:
        program: a source program.
        chunks: the prompt in pieces along time, each (C, dim).
        config: the configuration whose construction is checked; default ``stable``.

    Raises:
        TokenError: as :func:`stability.run`.
    """
    lowered = lower(program, config)
    pieces = (read_tokens(chunk, program.input_dim).values[0] for chunk in chunks)
    rows = _mpmath_rows(lowered, pieces)
    return first_violation(lowered, infer_types(lowered, program), rows, slack=SLACK)


def first_violation(
    lowered: Lowered, types: Types, rows: Iterable[Sequence[Vector]], *, slack: mpq = ZERO
) -> Violation | None:
    """The first value, in given runs of all nodes, that breaks a range, a trend or a state's kind.

    Args:
        lowered: the program whose ranges are claimed.
        types: what is claimed of its values and states.
        rows: per step the value of every lowered node (:func:`compiler.interpreter.trace`).
        slack: tolerance relative to max(1, |value|); 0 for exact values.
    """
    before: Sequence[Vector] | None = None
    extents = [lowered.node_ranges(index) for index in range(len(lowered.program.nodes))]
    for step, row in enumerate(rows):
        found = [
            *_out_of_range(lowered, extents, row, step, slack),
            *_out_of_kind(types, before, row, step, slack),
            *_out_of_trend(lowered, types, before, row, step, slack),
        ]
        if found:  # a false declaration narrows what it was inferred from: name the declaration
            return min(found, key=lambda violation: violation.rank)
        before = row
    return None


def _mpmath_rows(lowered: Lowered, pieces: Iterator[npt.NDArray[Any]]) -> Iterator[list[Vector]]:
    """The value of every lowered node at every step."""
    nodes = lowered.program.nodes
    computed = [i for i, node in enumerate(nodes) if not isinstance(node, ir.Input | ir.Concat)]
    wires = dict(zip([0, *computed], range(len(computed) + 1), strict=True))  # the tokens, then one a layer
    model = compile_lowered(lowered, UNCOMPILED)
    for result in stream(model, _split(pieces), MpmathFormat(dps=DIGITS), keep=list(wires.values())):
        for step in range(len(result.status)):
            row: list[Vector] = []
            for index, node in enumerate(nodes):
                if isinstance(node, ir.Concat):
                    row.append(tuple(value for source in node.sources for value in row[source]))
                else:
                    row.append(tuple(map(_exactly, result.wires[wires[index]][step])))
            yield row


def _exactly(number: object) -> mpq:
    value = exact_value(number)
    assert value is not None, "mpmath numbers do not overflow"
    return value


def _split(pieces: Iterator[npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    """Pieces short enough that the values of all variables fit in memory."""
    for piece in pieces:
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]


def _out_of_range(
    lowered: Lowered, extents: Sequence[Sequence[Range]], row: Sequence[Vector], step: int, slack: mpq
) -> Iterator[Violation]:
    for index, (node, values) in enumerate(zip(lowered.program.nodes, row, strict=True)):
        declared = node.declared is not None
        for component, (value, extent) in enumerate(zip(values, extents[index], strict=True)):
            if not _within(value, extent, slack * max(1, abs(value))):
                yield Violation(
                    step=step,
                    variable=lowered.program.label(index),
                    component=component,
                    value=to_float(value),
                    broken=f"outside its {'declared' if declared else 'inferred'} range {extent}",
                    span=node.span,
                    declared=declared,
                    rank=0 if declared else 1,
                )


def _out_of_kind(
    types: Types, before: Sequence[Vector] | None, row: Sequence[Vector], step: int, slack: mpq
) -> Iterator[Violation]:
    """Rings that lose their 1, and states that take in something else than their increments."""
    for state in types.states:
        now = [row[state.node][i] for i in state.components]
        past = state.initial if before is None else [before[state.node][i] for i in state.components]
        if state.one_hot:
            off = [min(abs(value), abs(value - 1)) for value in now]
            worst = max(range(len(now)), key=lambda place: off[place])
            if off[worst] > slack or abs(sum(now) - 1) > len(now) * slack:
                broken = f"though a {state.kind_text}, holds a single 1 and else zeros"
                yield _state_violation(state, worst, now[worst], step, broken)
        kept = carried(state.kind, past)
        if kept is None:
            continue
        size = max(1, *map(abs, now), *map(abs, past))
        for place, extent in enumerate(state.increments):
            increment = now[place] - kept[place]
            if not _within(increment, extent, slack * size):
                broken = (
                    f"after {to_float(past[place]):.9g}: as {state.kind_text} it takes in "
                    f"{to_float(increment):.9g}, outside {full_text(type_of(extent))}"
                )
                yield _state_violation(state, place, now[place], step, broken)


def _state_violation(state: State, place: int, value: mpq, step: int, broken: str) -> Violation:
    return Violation(
        step=step,
        variable=state.name,
        component=state.components[place],
        value=to_float(value),
        broken=broken,
        span=state.span,
        rank=2,
    )


def _out_of_trend(
    lowered: Lowered,
    types: Types,
    before: Sequence[Vector] | None,
    row: Sequence[Vector],
    step: int,
    slack: mpq,
) -> Iterator[Violation]:
    for index, variable in enumerate(types.variables if before is not None else ()):
        assert before is not None
        for component, trend in enumerate(variable.trends):
            past, now = before[index][component], row[index][component]
            allowed = slack * max(1, abs(past), abs(now))
            falls, rises = now < past - allowed, now > past + allowed
            match trend:
                case "constant":
                    broken = falls or rises
                case "never falls":
                    broken = falls
                case "never rises":
                    broken = rises
                case "free":
                    broken = False
                case _:
                    assert_never(trend)
            if broken:
                yield Violation(
                    step=step,
                    variable=variable.name,
                    component=component,
                    value=to_float(now),
                    broken=f"after {to_float(past):.9g}, though it {'is ' * (trend == 'constant')}{trend}",
                    span=lowered.program.nodes[index].span,
                    rank=3,
                )


def _within(value: mpq, extent: Range, slack: mpq) -> bool:
    if extent.lo is not None and value < extent.lo - slack:
        return False
    if extent.hi is not None and value > extent.hi + slack:
        return False
    if not extent.step:  # a constant is held by its bounds, a real value has no lattice
        return True
    gap = (value - extent.offset) % extent.step
    return bool(min(gap, extent.step - gap) <= slack)
