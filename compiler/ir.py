"""The intermediate representation: a program as an immutable, acyclic tuple of nodes.

A node reads only nodes that stand before it, so a :class:`Program` is acyclic by
construction.  The six operations of LSRL (arXiv 2406.01424, section 3) are
:class:`Input`, :class:`Linear`, :class:`ReLU`, :class:`LinState`,
:class:`Concat` and :class:`Multi`.  A *source* program may also hold
:class:`Idiom` nodes: calls of the standard library whose expansion depends on
the compilation's configuration (see :mod:`compiler.lowering`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from gmpy2 import mpq

from compiler.errors import Span
from compiler.exact import Matrix, Vector

OptionValue: TypeAlias = mpq | bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What the author states of every component of a value (``None``: nothing)."""

    lo: mpq | None = None
    hi: mpq | None = None
    integer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """What every node has.

    Attributes:
        dim: number of components of the node's value.
        span: the source place that made it (not part of equality).
        name: the variable it was assigned to, if any (not part of equality).
        declared: the author's range, if any.
    """

    dim: int
    span: Span | None = field(default=None, compare=False)
    name: str | None = field(default=None, compare=False)
    declared: Declaration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(_Node):
    """The token of this step, x_t."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(_Node):
    """A x + b."""

    source: int
    matrix: Matrix
    bias: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class ReLU(_Node):
    """max(0, x), elementwise."""

    source: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinState(_Node):
    """s_t = A s_{t-1} + B x + b; its value is the new state s_t."""

    source: int
    state_matrix: Matrix
    input_matrix: Matrix
    bias: Vector
    initial: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(_Node):
    """Its sources, stacked."""

    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Multi(_Node):
    """First half times second half, elementwise."""

    source: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idiom(_Node):
    """A call of the standard library, expanded by :func:`compiler.lowering.lower`.

    Attributes:
        kind: the idiom's name, such as ``f_step``.
        sources: its variable arguments, in order.
        options: its constant arguments by name, sorted by name.
    """

    kind: str
    sources: tuple[int, ...]
    options: tuple[tuple[str, OptionValue], ...] = ()


Node: TypeAlias = Input | Linear | ReLU | LinState | Concat | Multi | Idiom


def sources_of(node: Node) -> tuple[int, ...]:
    """The indices of the nodes that ``node`` reads."""
    match node:
        case Input():
            return ()
        case Linear(source=source) | ReLU(source=source) | LinState(source=source) | Multi(source=source):
            return (source,)
        case Concat(sources=sources) | Idiom(sources=sources):
            return sources
        case _:
            assert_never(node)


def renumbered(node: Node, place: Mapping[int, int]) -> Node:
    """The node with its sources renamed by ``place``."""
    match node:
        case Input():
            return node
        case Linear(source=source) | ReLU(source=source) | LinState(source=source) | Multi(source=source):
            return replace(node, source=place[source])
        case Concat(sources=sources) | Idiom(sources=sources):
            return replace(node, sources=tuple(place[source] for source in sources))
        case _:
            assert_never(node)


def node_label(node: Node, index: int) -> str:
    """What to call a node: its variable, else its operation and line."""
    if node.name:
        return node.name
    kind = node.kind if isinstance(node, Idiom) else type(node).__name__
    return f"{kind}@{node.span.line}" if node.span else f"{kind}#{index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An LSRL program: what happens to ONE token and to the recurrent states.

    Attributes:
        nodes: in an order in which each node reads only earlier ones; node 0 is the Input.
        output: index of the returned node.
        name: what reports call it (not part of equality).
        parameters: the values of its ``param`` declarations, by name.
    """

    nodes: tuple[Node, ...]
    output: int
    name: str = field(default="program", compare=False)
    parameters: tuple[tuple[str, mpq], ...] = ()

    @property
    def input_dim(self) -> int:
        """Number of entries of a token."""
        return self.nodes[0].dim

    @property
    def output_dim(self) -> int:
        """Number of entries of an output."""
        return self.nodes[self.output].dim

    def label(self, index: int) -> str:
        """What to call a node: its variable, else its operation and line."""
        return node_label(self.nodes[index], index)

    def named(self) -> Iterator[tuple[str, int]]:
        """The named variables as (name, node index), in order; a later one of a name wins."""
        latest = {node.name: index for index, node in enumerate(self.nodes) if node.name}
        yield from latest.items()
