"""From a source program with idioms to the six operations, under a configuration.

Lowering and scalarisation go together: an expansion asks for the ranges of its
arguments (``optimized`` drops a branch that is never negative, ``auto`` picks μ
and λ), and ranges are known for the nodes recorded so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler import ir, ranges
from compiler.config import CompileConfig, Conditional
from compiler.errors import CompileRefusal, Diagnostic, Span
from compiler.exact import ONE, ZERO
from compiler.expr import Concat, Recorder, Variable
from compiler.idioms import EXPANSIONS, OPPOSITES
from compiler.ranges import Range
from compiler.scalars import ScalarGraph, combine

DEFAULT_CONDITIONAL: Conditional = "multiplicative_optimized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something worth knowing about a construction.

    Attributes:
        kind: ``ramp``, ``unsaturated``, ``range`` or ``lambda``.
        finding: message, place and way out.
    """

    kind: str
    finding: Diagnostic


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A program over the six operations, with its scalar graph.

    Attributes:
        program: nodes without idioms.
        graph: forms and ranges; ``graph.forms[i]`` are those of node i.
        config: the configuration, its conditional settled.
        origin: for each source node, the lowered node that carries its value.
        notes: what could not be shown, in source order, each once.
    """

    program: ir.Program
    graph: ScalarGraph
    config: CompileConfig
    origin: tuple[int, ...]
    notes: tuple[Note, ...]

    def node_ranges(self, index: int) -> list[Range]:
        """The range of every component of lowered node ``index``."""
        return [self.graph.range_of(form) for form in self.graph.forms[index]]


def lower(program: ir.Program, config: CompileConfig | None = None) -> Lowered:
    """Expand every idiom of ``program``.

    Raises:
        CompileRefusal: a construction that the configuration cannot make exact,
            such as ``lam=auto`` for a branch without bound.
    """
    config = config or CompileConfig()
    if config.conditional is None:
        config = config.with_conditional(DEFAULT_CONDITIONAL)
    return _Lowering(program, config).result()


class _Lowering:
    """One lowering under way; the :class:`compiler.idioms.Context` of the expansions."""

    def __init__(self, program: ir.Program, config: CompileConfig) -> None:
        self.source = program
        self.config = config
        self.recorder = Recorder(locate=self._span)
        self.graph = ScalarGraph(reduce=config.reduce)
        self.variables: list[Variable] = []
        self.notes: dict[Note, None] = {}
        self._bounds: dict[int, list[Range]] = {}
        self._current: ir.Node = program.nodes[0]
        self._opposites: dict[int, Variable] = {}

    def result(self) -> Lowered:
        for node in self.source.nodes:
            self._current = node
            variable = self._lower(node)
            if node.name:
                variable.named(node.name)
            self.variables.append(variable)
        output = self.variables[self.source.output].index
        self._sync(len(self.recorder.nodes))
        lowered = replace(self.source, nodes=tuple(self.recorder.nodes), output=output)
        return Lowered(
            program=lowered,
            graph=self.graph,
            config=self.config,
            origin=tuple(variable.index for variable in self.variables),
            notes=tuple(self.notes),
        )

    def _span(self) -> Span | None:
        return self._current.span

    def _lower(self, node: ir.Node) -> Variable:
        match node:
            case ir.Idiom(kind=kind, sources=sources, options=options):
                arguments = [self.variables[source] for source in sources]
                return self._expand(kind, arguments, dict(options))
            case ir.Concat(sources=sources):
                return Concat([self.variables[source] for source in sources])
            case ir.Input():
                self.recorder.nodes.append(replace(node, name=None))
            case ir.Linear() | ir.ReLU() | ir.LinState() | ir.Multi():
                moved = replace(node, source=self.variables[node.source].index, name=None)
                self.recorder.nodes.append(moved)
        return Variable(self.recorder, len(self.recorder.nodes) - 1)

    def _expand(
        self, kind: str, arguments: Sequence[Variable], options: dict[str, ir.OptionValue]
    ) -> Variable:
        return EXPANSIONS[kind](self, arguments, options)

    # -- the Context of the expansions

    def _sync(self, upto: int) -> None:
        for index in range(len(self.graph.forms), upto):
            self.graph.extend(self.recorder.nodes[index], self._bounds.get(index))

    def ranges(self, x: Variable) -> list[Range]:
        """The range of every component of ``x``."""
        self._sync(x.index + 1)
        return [self.graph.range_of(form) for form in self.graph.forms[x.index]]

    def declare(self, x: Variable, bounds: Sequence[Range]) -> Variable:
        """``x`` with ranges that a theorem gives."""
        assert x.index >= len(self.graph.forms), "a range is declared before it is asked for"
        known = self._bounds.get(x.index)
        self._bounds[x.index] = (
            [ranges.intersect(a, b) for a, b in zip(known, bounds, strict=True)] if known else list(bounds)
        )
        return x

    def note(self, kind: str, message: str, hint: str | None = None) -> None:
        """Record a finding at the call under expansion."""
        self.notes[
            Note(kind=kind, finding=Diagnostic(message=message, span=self._current.span, hint=hint))
        ] = None

    def refuse(self, message: str, hint: str) -> Exception:
        """The refusal to compile the call under expansion."""
        return CompileRefusal.single(message, span=self._current.span, hint=hint)

    def complement(self, position: int) -> Variable | None:
        """1 − c of an argument of the current call, from the opposite idiom (or None)."""
        if self.config.complement != "direct":
            return None
        node = self._current
        assert isinstance(node, ir.Idiom)
        return self._opposite(node.sources[position])

    def complements_exactly(self, position: int) -> bool:
        """Whether the complement of an argument of the current call is 1 − c for every value."""
        if self.config.complement != "direct":
            return True
        node = self._current
        assert isinstance(node, ir.Idiom)
        return self._is_exact_opposite(node.sources[position])

    def _is_exact_opposite(self, index: int) -> bool:
        node = self.source.nodes[index]
        if not isinstance(node, ir.Idiom) or node.kind not in OPPOSITES:
            return True  # 1 − c itself, or x for f_not(x)
        if not all(extent.boolean for extent in self.ranges(self.variables[index])):
            return False
        if node.kind in {"f_and", "f_or"}:
            return all(
                self._is_exact_opposite(source)
                and all(extent.boolean for extent in self.ranges(self.variables[source]))
                for source in node.sources
            )
        return all(self._decides(node, extent) for extent in self._differences(node))

    def _differences(self, node: ir.Idiom) -> list[Range]:
        """The ranges of x − y of a comparison's arguments."""
        x, y = (self.variables[source] for source in node.sources)
        self._sync(max(x.index, y.index) + 1)
        forms = zip(self.graph.forms[x.index], self.graph.forms[y.index], strict=True)
        return [self.graph.range_of(combine(ZERO, [(ONE, a), (-ONE, b)])) for a, b in forms]

    def _decides(self, node: ir.Idiom, difference: Range) -> bool:
        """Whether both comparisons of ``difference`` saturate and exactly one of them holds."""
        if difference.step is None:
            return False
        mu = dict(node.options).get("mu", self.config.mu)
        gaps = [difference.smallest_positive(), ranges.affine(ZERO, [(-ONE, difference)]).smallest_positive()]
        saturated = mu == "auto" or all(gap is None or gap == 0 or gap * mu >= 1 for gap in gaps)
        equality = node.kind in {"f_eq", "f_neq"}
        return saturated and (equality or not difference.may_be_zero)

    def _opposite(self, index: int) -> Variable | None:
        found = self._opposites.get(index)
        if found is None:
            found = self._build_opposite(index)
            if found is not None:
                self._opposites[index] = found
        return found

    def _build_opposite(self, index: int) -> Variable | None:
        node = self.source.nodes[index]
        if not isinstance(node, ir.Idiom):
            return None
        if node.kind == "f_not":
            return self.variables[node.sources[0]]
        if node.kind not in OPPOSITES:
            return None
        kind, complemented = OPPOSITES[node.kind]
        arguments = [self.variables[source] for source in node.sources]
        if complemented:
            arguments = [self._opposite(source) or 1 - self.variables[source] for source in node.sources]
        return self._expand(kind, arguments, dict(node.options))
