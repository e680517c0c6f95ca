"""Static findings: what will go wrong in a number format, before anything runs.

Read off the ranges, lattices and constants of a lowered program: constants and
values that the format cannot hold, comparisons that do not saturate, counters
that stop when their increment falls below half an ulp, and states that grow past
what the format holds, with the step at which they do (:mod:`stability.reach`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gmpy2 import mpq, mpz

from compiler import ir
from compiler.compiling import settle
from compiler.config import CompileConfig
from compiler.errors import Diagnostic, Span
from compiler.exact import ZERO
from compiler.lowering import Lowered, lower
from compiler.ranges import Range, rational_gcd
from compiler.scalars import Form, StateGroup, affine_range
from stability.formats import AnyFormat, ExactFormat, Format
from stability.measures import to_float
from stability.policy import AnyPolicy, as_policy, parse_policy
from stability.reach import ACCUMULATOR, MOST_STATES, Extents, growth, reach_of
from stability.rounding import floor_log2

Kind = Literal["overflow", "unsaturated", "counter", "note"]
WIDER = "use a format with a wider exponent"
WIDER_STATE = "keep this state in a wider format"
TAMER = "give A a spectral radius of at most 1"
EXPANDING = 1 + 1e-9
"""A spectral radius beyond this one is growth and no rounding error."""
ASSUMED = Range(mpq(-1), mpq(1))
"""Where a value is taken to lie that has no range: what a growing state does then is worth knowing."""
BEYOND_FLOAT64 = mpq(2) ** 1024
LONGEST_NUMBER = 20
"""Characters of a fraction that is written out."""
LONGEST_EXACT = 10_000
"""Steps of a state without inputs that are followed exactly."""


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
    format: str | AnyPolicy = "float32",  # noqa: A002 -- the word that users know
    length: int = 4000,
    target: str = "lstm",
) -> list[Finding]:
    """Static findings for a program under a configuration, in source order.

    Args:
        program: a source program.
        config: the configuration; default ``stable``.
        format: the number format to check against, or a policy: constants against its weights,
            values against its activations, counters against its state or accumulator.
        length: tokens of the longest prompt.
        target: settles the conditional, where the configuration leaves it open.

    Raises:
        CompileRefusal: the configuration cannot express the program exactly.
        ConfigError: an unknown format or policy.
    """
    policy = as_policy(parse_policy(format))
    counted = min(policy.state, policy.accumulator, key=lambda fmt: fmt.precision)
    lowered = lower(program, settle(config or CompileConfig(), target))
    extents = Extents(lowered.graph, length)
    found = [
        *_overflows(lowered, policy.activations, policy.weights, extents),
        *_unranged(lowered, policy.activations, extents),
        *_notes(lowered),
        *_counters(lowered, counted, extents),
    ]
    unique = {(each.kind, each.span, each.message): each for each in found}
    return sorted(unique.values(), key=lambda each: (each.span is None, each.span or Span(file="", line=0)))


def _overflows(lowered: Lowered, fmt: AnyFormat, weights: AnyFormat, extents: Extents) -> Iterator[Finding]:
    """Constants beyond the largest finite number, and values where they first get there.

    What only passes on a value that is too large already is left out.
    """
    if not isinstance(fmt, Format) or not isinstance(weights, Format):
        return
    seen: set[Span | None] = set()
    first: list[int | None] = []  # per node, the tokens after which it is too large
    for index, node in enumerate(lowered.program.nodes):
        constant = max((abs(value) for value in _constants(node)), default=ZERO)
        first.append(_tokens_to_overflow(lowered.graph.forms[index], fmt, extents))
        tokens = first[-1]
        before = [first[source] for source in ir.sources_of(node)]
        sooner = tokens is not None and all(each is None or each > tokens for each in before)
        if node.span in seen or not (sooner or _too_large(constant, weights)):
            continue
        seen.add(node.span)
        if _too_large(constant, weights):
            what = f"the constant {_number(constant)} {_beyond(weights)}"
            yield _overflow(lowered, node, what, None)
        else:
            known = _too_large(_largest(lowered.graph.forms[index], lowered.graph.ranges), fmt)
            yield _overflow(lowered, node, _reached(lowered, index, fmt, extents), None if known else tokens)


def _tokens_to_overflow(forms: Sequence[Form], fmt: Format, extents: Extents) -> int | None:
    return extents.first(lambda known: _too_large(_largest(forms, known), fmt))


def _largest(forms: Sequence[Form], known: Sequence[Range]) -> mpq:
    """The largest magnitude of the components that have a bound."""
    sizes = [affine_range(form, known).magnitude for form in forms]
    return max((size for size in sizes if size is not None), default=ZERO)


def _reached(lowered: Lowered, index: int, fmt: Format, extents: Extents) -> str:
    factor = _growth(lowered, index)
    if factor > EXPANDING:
        return f"it grows by a factor of up to {factor:.6g} a step and {_beyond(fmt)}"
    largest = _largest(lowered.graph.forms[index], extents.after(extents.length))
    return f"a value that may reach {_number(largest)} {_beyond(fmt)}"


def _growth(lowered: Lowered, index: int) -> float:
    """By what factor a state of this node grows in a step; 0 for other nodes."""
    if not isinstance(lowered.program.nodes[index], ir.LinState):
        return 0.0
    own = {symbol for form in lowered.graph.forms[index] for symbol, _ in form.terms}
    return max((growth(group) for group in lowered.graph.groups if own & set(group.symbols)), default=0.0)


def _overflow(lowered: Lowered, node: ir.Node, what: str, tokens: int | None) -> Finding:
    grows = isinstance(node, ir.LinState) and "grows by" in what
    remedy = TAMER if grows else "compile with mu=auto and lam=auto, declare smaller ranges"
    when = f" at step {tokens - 1:,} at the earliest" if tokens is not None else ""
    return Finding(
        kind="overflow",
        message=f"{_source_name(lowered, node)}: {what}{when}",
        span=node.span,
        remedy=f"{remedy}, or {WIDER}",
        step=None if tokens is None else tokens - 1,
    )


def _unranged(lowered: Lowered, fmt: AnyFormat, extents: Extents) -> Iterator[Finding]:
    """States that grow whatever feeds them, where the range of what feeds them is not known."""
    if not isinstance(fmt, Format):
        return
    known = extents.after(extents.length)
    for group in extents.growing:
        drive = [affine_range(form, known) for form in group.drive]
        if all(each.magnitude is not None for each in drive) or len(group.rows) > MOST_STATES:
            continue
        factor = growth(group)
        if factor <= EXPANDING:
            continue
        fed = [each if each.magnitude is not None else ASSUMED for each in drive]
        tokens = reach_of(group, fed, extents.length).first_beyond(to_float(fmt.largest))
        if tokens is None:
            continue
        label = lowered.graph.labels[group.symbols[0]]
        yield Finding(
            kind="overflow",
            message=f"{label.variable}: it grows by a factor of up to {factor:.6g} a step: fed with values "
            f"up to 1 (what feeds it has no range) it {_beyond(fmt)} "
            f"at step {tokens - 1:,} at the earliest",
            span=label.span,
            remedy=f"declare the range of the Input, {TAMER}, or {WIDER}",
            step=tokens - 1,
        )


def _source_name(lowered: Lowered, node: ir.Node) -> str:
    """The variable that a lowered node's source line makes, else its operation."""
    for other in lowered.program.nodes:
        if other.name and other.span == node.span:
            return other.name
    return type(node).__name__


def _too_large(value: mpq, fmt: Format) -> bool:
    """Whether a magnitude is rounded away from the finite numbers, or down to the largest of them."""
    half_ulp = mpq(2) ** (floor_log2(fmt.largest) - fmt.precision)
    return bool(value >= fmt.largest + half_ulp)


def _beyond(fmt: Format) -> str:
    return f"{'saturates' if fmt.saturating else 'overflows'} {fmt.name} (max {_number(fmt.largest)})"


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


def _counters(lowered: Lowered, fmt: AnyFormat, extents: Extents) -> Iterator[Finding]:
    """States that live on a lattice and pass 2^p times its spacing, where the format leaves it."""
    if isinstance(fmt, ExactFormat):
        return
    for group in extents.growing:
        found = _accumulated if group.rows == ACCUMULATOR else _grown
        yield from found(lowered, group, fmt, extents)


def _accumulated(lowered: Lowered, group: StateGroup, fmt: AnyFormat, extents: Extents) -> Iterator[Finding]:
    """A sum s_t = s_{t−1} + u; its spacing is that of its increments."""
    symbol, drive = group.symbols[0], group.drive[0]
    spacing = _increment(affine_range(drive, extents.after(1)))
    limit = _limit(spacing, fmt)
    tokens = _tokens_to_pass(symbol, limit, extents)
    if tokens is None:
        return
    fastest = affine_range(drive, extents.after(tokens)).magnitude
    if fastest is not None and 0 < fastest <= limit:
        how = f"adds up to {_number(fastest)} a step"
        remedy = f"{WIDER_STATE}, or count modulo (f_modulo_counter, f_ring_counter)"
        yield _lost(lowered, symbol, how, spacing, fmt, tokens - 1, remedy)


def _increment(drive: Range) -> mpq:
    """The spacing of the sums of what lies in this range; 0 for real values."""
    if drive.step is None:
        return ZERO
    spacing = drive.step if drive.step > 0 else abs(drive.offset)
    if drive.step > 0 and drive.offset:
        spacing = min(spacing, abs(drive.offset), drive.step - drive.offset)
    return spacing


def _grown(lowered: Lowered, group: StateGroup, fmt: AnyFormat, extents: Extents) -> Iterator[Finding]:
    """Any other state; its spacing is that of its own lattice."""
    found: list[tuple[int, int, mpq]] = []
    for symbol in group.symbols:
        extent = lowered.graph.ranges[symbol]
        spacing = rational_gcd(extent.step, extent.offset) if extent.step else ZERO
        tokens = _tokens_to_pass(symbol, _limit(spacing, fmt), extents)
        if tokens is not None and tokens > 1:  # else a single input passes it
            found.append((tokens, symbol, spacing))
    if not found:
        return
    tokens, symbol, spacing = min(found)
    step = _followed(lowered, group, fmt, extents.length, tokens - 1) if _dyadic(spacing) else tokens - 1
    if step is None:
        return
    factor = growth(group)
    how = f"grows by a factor of up to {factor:.6g} a step" if factor > EXPANDING else "adds up"
    yield _lost(lowered, symbol, how, spacing, fmt, step, f"{WIDER_STATE}, or {TAMER}")


def _dyadic(value: mpq) -> bool:
    return bool(value.denominator & (value.denominator - 1) == 0)


def _limit(spacing: mpq, fmt: AnyFormat) -> mpq:
    """How far a format tells multiples of ``spacing`` apart; 0 for no spacing.

    Where it holds them exactly, up to 2^p times the power of two in ``spacing``: of the
    multiples of 3 it holds those to 2^p.
    """
    if _dyadic(spacing):
        spacing = mpq(spacing.numerator & -spacing.numerator, spacing.denominator)
    return spacing * mpq(2) ** fmt.precision


def _tokens_to_pass(symbol: int, limit: mpq, extents: Extents) -> int | None:
    def passes(known: Sequence[Range]) -> bool:
        size = known[symbol].magnitude
        return size is not None and size > limit

    return extents.first(passes) if limit else None


def _lost(
    lowered: Lowered, symbol: int, how: str, spacing: mpq, fmt: AnyFormat, step: int, remedy: str
) -> Finding:
    label = lowered.graph.labels[symbol]
    limit = _number(_limit(spacing, fmt))
    step_size = str(spacing) if len(str(spacing)) <= LONGEST_NUMBER else _number(spacing)
    exactly = "holds such sums exactly" if _dyadic(spacing) else f"tells multiples of {step_size} apart"
    return Finding(
        kind="counter",
        message=f"{label.variable} {how}: {fmt.name} {exactly} up to {limit}, which is passed at step "
        f"{step:,} at the earliest",
        span=label.span,
        remedy=remedy,
        step=step,
    )


def _followed(lowered: Lowered, group: StateGroup, fmt: AnyFormat, length: int, step: int) -> int | None:
    """The step at which a state that no input changes is first not held; ``step`` for any other.

    Powers of two pass every bound and are exact all the same; None says so.
    """
    drive = [lowered.graph.range_of(form) for form in group.drive]
    if any(each.step != 0 for each in drive) or step >= LONGEST_EXACT:
        return step
    state = group.initial
    for now in range(min(length, LONGEST_EXACT)):
        state = tuple(
            sum((value * state[j] for j, value in row), fed.offset)
            for row, fed in zip(group.rows, drive, strict=True)
        )
        if any(_significant_bits(value.numerator) > fmt.precision for value in state):
            return now
        if isinstance(fmt, Format) and max(map(abs, state)) > fmt.largest:
            return None
    return None


def _significant_bits(whole: mpz) -> int:
    """Its bits without the zeros at its end."""
    return int((whole >> (whole.bit_scan1() or 0)).bit_length())


def _number(value: mpq) -> str:
    if abs(value) > BEYOND_FLOAT64:
        return "more than 2^1024"
    if value.denominator == 1 and abs(value) < 10**7:
        return str(value.numerator)
    return f"{float(value):.6g}" if abs(value) < mpq(10) ** 300 else f"2^{value.numerator.bit_length()}"
