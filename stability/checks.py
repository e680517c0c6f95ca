"""Static findings: what will go wrong in a number format, before anything runs.

Read off the ranges, lattices and constants of a lowered program: constants and
values that the format cannot hold, comparisons that do not saturate, and counters
that stop when their increment falls below half an ulp.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gmpy2 import mpq

from compiler import ir
from compiler.compiling import settle
from compiler.config import CompileConfig
from compiler.errors import Diagnostic, Span
from compiler.exact import ZERO
from compiler.lowering import Lowered, lower
from compiler.ranges import Range
from compiler.scalars import StateGroup, affine_range
from stability.formats import AnyFormat, Format, parse_format
from stability.rounding import round_rational

Kind = Literal["overflow", "unsaturated", "counter", "note"]
ACCUMULATOR = (((0, mpq(1)),),)
"""The recurrence s_t = s_{t−1} + u of one coordinate."""
WIDER = "use a format with a wider exponent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One static finding.

    Attributes:
        kind: ``overflow``, ``unsaturated``, ``counter`` or ``note``.
        message: what will happen, with numbers.
        span: the source place.
        remedy: the way out.
        step: the first step (0-based) at which it is predicted to show, where known.
    """

    kind: Kind
    message: str
    span: Span | None
    remedy: str
    step: int | None = None

    @property
    def diagnostic(self) -> Diagnostic:
        """The finding as a diagnostic that prints in one line."""
        return Diagnostic(message=self.message, span=self.span, hint=self.remedy or None)


def check(
    program: ir.Program,
    config: CompileConfig | None = None,
    *,
    format: str | AnyFormat = "float32",  # noqa: A002 -- the word that users know
    length: int = 4000,
    target: str = "lstm",
) -> list[Finding]:
    """Static findings for a program under a configuration, in source order.

    Args:
        program: a source program.
        config: the configuration; default ``stable``.
        format: the number format to check against.
        length: tokens of the longest prompt.
        target: settles the conditional, where the configuration leaves it open.

    Raises:
        CompileRefusal: the configuration cannot express the program exactly.
        ConfigError: an unknown format.
    """
    fmt = parse_format(format)
    lowered = lower(program, settle(config or CompileConfig(), target))
    found = [*_overflows(lowered, fmt, length), *_notes(lowered), *_counters(lowered, fmt, length)]
    unique = {(each.kind, each.span, each.message): each for each in found}
    return sorted(unique.values(), key=lambda each: (each.span is None, each.span or Span(file="", line=0)))


def _overflows(lowered: Lowered, fmt: AnyFormat, length: int) -> Iterator[Finding]:
    """Constants beyond the largest finite number, and values where they first get there.

    What only passes on a value that is too large already is left out.
    """
    if not isinstance(fmt, Format):
        return
    extents = lowered.graph.refined(_reaches(lowered, length))
    seen: set[Span | None] = set()
    too_large: list[bool] = []
    for index, node in enumerate(lowered.program.nodes):
        constant = max((abs(value) for value in _constants(node)), default=ZERO)
        sizes = [affine_range(form, extents).magnitude for form in lowered.graph.forms[index]]
        largest = max((size for size in sizes if size is not None), default=ZERO)
        too_large.append(_infinite(largest, fmt))
        inherited = any(too_large[source] for source in ir.sources_of(node))
        if _infinite(constant, fmt):
            what = f"the constant {_number(constant)}"
        elif too_large[-1] and not inherited:
            what = f"a value that may reach {_number(largest)}"
        else:
            continue
        if node.span in seen:
            continue
        seen.add(node.span)
        yield Finding(
            kind="overflow",
            message=f"{_source_name(lowered, node)}: {what} overflows {fmt.name} "
            f"(max {_number(fmt.largest)})",
            span=node.span,
            remedy=f"compile with mu=auto and lam=auto, declare smaller ranges, or {WIDER}",
        )


def _reaches(lowered: Lowered, length: int) -> dict[int, Range]:
    """How far accumulators can come in a prompt of ``length`` tokens."""
    reaches: dict[int, Range] = {}
    for group in lowered.graph.groups:
        fastest = lowered.graph.range_of(group.drive[0]).magnitude
        if group.rows == ACCUMULATOR and fastest is not None:
            reach = abs(group.initial[0]) + fastest * length
            reaches[group.symbols[0]] = Range(-reach, reach)
    return reaches


def _source_name(lowered: Lowered, node: ir.Node) -> str:
    """The variable that a lowered node's source line makes, else its operation."""
    for other in lowered.program.nodes:
        if other.name and other.span == node.span:
            return other.name
    return type(node).__name__


def _infinite(value: mpq, fmt: Format) -> bool:
    return round_rational(value, fmt) == float("inf")


def _constants(node: ir.Node) -> Iterator[mpq]:
    match node:
        case ir.Linear(matrix=matrix, bias=bias):
            yield from (value for _, _, value in matrix.entries())
            yield from bias
        case ir.LinState():
            for matrix in (node.state_matrix, node.input_matrix):
                yield from (value for _, _, value in matrix.entries())
            yield from (*node.bias, *node.initial)
        case _:
            return


def _notes(lowered: Lowered) -> Iterator[Finding]:
    for note in lowered.notes:
        kind: Kind = "unsaturated" if note.kind == "unsaturated" else "note"
        finding = note.finding
        yield Finding(kind=kind, message=finding.message, span=finding.span, remedy=finding.hint or "")


def _counters(lowered: Lowered, fmt: AnyFormat, length: int) -> Iterator[Finding]:
    """Accumulators s_t = s_{t−1} + u that pass 2^p times the spacing of their increments."""
    for group in lowered.graph.groups:
        if group.rows != ACCUMULATOR:
            continue
        limit, fastest = _accumulation(lowered, group, fmt)
        if limit is None or fastest is None or not 0 < fastest <= limit:
            continue
        held = lowered.graph.ranges[group.symbols[0]].magnitude
        start = abs(group.initial[0])
        reach = start + fastest * length
        if held is not None:
            reach = min(reach, held)
        if reach <= limit:
            continue
        step = max(0, int((limit - start) / fastest))
        label = lowered.graph.labels[group.symbols[0]]
        yield Finding(
            kind="counter",
            message=f"{label.variable} adds up to {_number(fastest)} a step: {fmt.name} holds such sums "
            f"exactly up to {_number(limit)}, which is reached at step {step} at the earliest",
            span=label.span,
            remedy="keep this state in a wider format, or count modulo (f_modulo_counter, f_ring_counter)",
            step=step,
        )


def _accumulation(lowered: Lowered, group: StateGroup, fmt: AnyFormat) -> tuple[mpq | None, mpq | None]:
    """(largest exact sum, largest increment) of an accumulator; None where unknown."""
    drive = lowered.graph.range_of(group.drive[0])
    if drive.step is None:
        return None, None
    spacing = drive.step if drive.step > 0 else abs(drive.offset)
    if drive.step > 0 and drive.offset:
        spacing = min(spacing, abs(drive.offset), drive.step - drive.offset)
    return spacing * mpq(2) ** fmt.precision, drive.magnitude


def _number(value: mpq) -> str:
    if value.denominator == 1 and abs(value) < 10**7:
        return str(value.numerator)
    return f"{float(value):.6g}" if abs(value) < mpq(10) ** 300 else f"2^{value.numerator.bit_length()}"
