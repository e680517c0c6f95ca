"""The syntax tree of an LSRL text: what the parser makes and the evaluator reads.

Chains of operators are flat tuples, so the depth of a tree is bounded by the
depth of its brackets.  ``at`` is (line, column), both counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

from gmpy2 import mpq

Position = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """An exact constant."""

    at: Position
    value: mpq


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """``true`` or ``false``."""

    at: Position
    value: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name that is read."""

    at: Position
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf:
    """``[a, b, …]``."""

    at: Position
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """``for name in start..stop`` or ``for name in start``, with its ``if`` conditions."""

    at: Position
    name: str
    start: Expression
    stop: Expression | None
    conditions: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comprehension:
    """``[item for … in … if …]``."""

    at: Position
    item: Expression
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator and its right operand in a chain."""

    at: Position
    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Operators of one precedence, applied from left to right."""

    at: Position
    first: Expression
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``a < b <= c``: every neighbouring pair holds."""

    at: Position
    first: Expression
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """``a ** b ** c``, applied from right to left."""

    at: Position
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixed:
    """A run of ``+``/``-`` or of ``not`` before an operand, as their number of flips."""

    at: Position
    kind: Literal["sign", "not"]
    odd: bool
    operand: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Logic:
    """``a and b and c`` or ``a or b or c``."""

    at: Position
    operator: Literal["and", "or"]
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditional:
    """``a if c else b if d else e``: (value, condition) pairs and the last resort."""

    at: Position
    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """``name(a, b, key=c)``."""

    at: Position
    name: str
    positional: tuple[Expression, ...]
    keywords: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """``[i]`` after a value."""

    at: Position
    index: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """``[a:b]`` after a value."""

    at: Position
    start: Expression | None
    stop: Expression | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """``.T`` after a value."""

    at: Position
    name: str


Trailer = Index | Slice | Attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Postfix:
    """A value followed by indices, slices and ``.T``."""

    at: Position
    base: Expression
    trailers: tuple[Trailer, ...]


Expression = (
    Number
    | Truth
    | Name
    | ListOf
    | Comprehension
    | Chain
    | Comparison
    | Power
    | Prefixed
    | Logic
    | Conditional
    | Call
    | Postfix
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """``param name = default``."""

    at: Position
    name: str
    value: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """``name = value``."""

    at: Position
    name: str
    value: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """``return value``."""

    at: Position
    value: Expression


Statement = Assign | Return


@dataclass(frozen=True, slots=True, kw_only=True)
class Formal:
    """A parameter of a function, with its default."""

    at: Position
    name: str
    default: Expression | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """``def name(formals): body``."""

    at: Position
    name: str
    formals: tuple[Formal, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEach:
    """The block that handles one token."""

    at: Position
    body: tuple[Statement, ...]


Item = Param | Assign | Return | Definition | ForEach
Module = tuple[Item, ...]


def children(expression: Expression) -> Iterator[Expression]:
    """The direct operands of an expression (for a comprehension, without its item and clauses)."""
    match expression:
        case Number() | Truth() | Name() | Comprehension():
            return
        case ListOf(items=items) | Power(operands=items) | Logic(operands=items):
            yield from items
        case Chain(first=first, steps=steps) | Comparison(first=first, steps=steps):
            yield first
            yield from (step.operand for step in steps)
        case Prefixed(operand=operand):
            yield operand
        case Conditional(branches=branches, otherwise=otherwise):
            for value, condition in branches:
                yield value
                yield condition
            yield otherwise
        case Call(positional=positional, keywords=keywords):
            yield from positional
            yield from (value for _, value in keywords)
        case Postfix(base=base, trailers=trailers):
            yield base
            for trailer in trailers:
                yield from _trailer_children(trailer)
        case _:
            assert_never(expression)


def _trailer_children(trailer: Trailer) -> Iterator[Expression]:
    match trailer:
        case Index(index=index):
            yield index
        case Slice(start=start, stop=stop):
            if start is not None:
                yield start
            if stop is not None:
                yield stop
        case Attribute():
            return
        case _:
            assert_never(trailer)


def names_read(expression: Expression) -> Iterator[Name | Call]:
    """Every free name and every call inside ``expression`` (names of its own loops are not free)."""
    pending: list[tuple[Expression, frozenset[str]]] = [(expression, frozenset())]
    while pending:
        current, bound = pending.pop()
        if isinstance(current, Name):
            if current.name not in bound:
                yield current
            continue
        if isinstance(current, Comprehension):
            inner = bound
            for clause in current.clauses:
                sources = [clause.start] if clause.stop is None else [clause.start, clause.stop]
                pending.extend((source, inner) for source in sources)
                inner = inner | {clause.name}
                pending.extend((condition, inner) for condition in clause.conditions)
            pending.append((current.item, inner))
            continue
        if isinstance(current, Call):
            yield current
        pending.extend((child, bound) for child in children(current))
