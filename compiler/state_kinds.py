"""What a linear recurrence s_t = A s_{t−1} + u_t is, read off A.

The coordinates of a state fall into *parts*: the strongly connected components of A's
pattern, whose coordinates feed back into one another.  A part has a kind.  A chain in which
every coordinate hands its value to the next one, and none feeds back, is a part as a whole:
a shift register.  What a part is fed, u_t, holds all that is not its own past: B x + b, and
the past of other parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias, assert_never

from gmpy2 import mpq

from compiler.exact import IRRATIONAL_BITS, ONE, ZERO, cos_pi, sin_pi

Rows: TypeAlias = tuple[tuple[tuple[int, mpq], ...], ...]
LONGEST_TURN = 20_000
"""Largest denominator of an angle that is told as a fraction of π."""
ROUNDED_ONCE = mpq(1, 1 << (IRRATIONAL_BITS - 8))
"""How far c² + s² may be from 1 where c and s were rounded."""
SHORTEST_NUMBER = 12


def short(value: mpq) -> str:
    """A number as text: exact where that is short, else six digits."""
    exact = str(value)
    return exact if len(exact) <= SHORTEST_NUMBER else f"{float(value):.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulator:
    """s = s' + u."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternating:
    """s = −s' + u."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """s = γ s' + u with 0 < |γ| < 1."""

    factor: mpq


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """s = γ s' + u with |γ| > 1."""

    factor: mpq


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """A is one n-cycle: cell i hands its value to cell i + 1, the last one to the first."""

    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftRegister:
    """Cell i hands its value to cell i + 1, the last one drops it."""

    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A point of the plane that turns by an angle.

    Attributes:
        cosine: of the angle, as it stands in A.
        sine: likewise; s_0 = cosine·s_0' − sine·s_1'.
    """

    cosine: mpq
    sine: mpq

    @property
    def turn(self) -> mpq | None:
        """The angle in units of π, in (−1, 1], where it is a fraction of π; else None."""
        angle = math.atan2(float(self.sine), float(self.cosine)) / math.pi
        near = mpq(Fraction(angle).limit_denominator(LONGEST_TURN))
        return near if (cos_pi(near), sin_pi(near)) == (self.cosine, self.sine) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """A coordinate without a past of its own: it reads other parts' past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """Any other part: a linear recurrence of so many coordinates."""

    size: int


Kind: TypeAlias = (
    Accumulator | Alternating | Decay | Growth | Ring | ShiftRegister | Rotation | Delay | Recurrence
)


def kind_text(kind: Kind) -> str:  # noqa: PLR0911 -- one each
    """The kind in the field's terms."""
    match kind:
        case Accumulator() | Alternating() | Delay():
            return type(kind).__name__.lower()
        case Decay(factor=factor):
            return f"decay {short(factor)}"
        case Growth(factor=factor):
            return f"growth {short(factor)}"
        case Ring(cells=cells):
            return f"ring of {cells}"
        case ShiftRegister(cells=cells):
            return f"shift register of {cells}"
        case Rotation(turn=turn, cosine=cosine, sine=sine):
            if turn is None:
                return f"rotation by {math.atan2(float(sine), float(cosine)):.6g} rad"
            over = f"/{turn.denominator}" if turn.denominator != 1 else ""
            times = {1: "", -1: "−"}.get(int(turn.numerator), str(turn.numerator).replace("-", "−"))
            return f"rotation by {times}π{over}"
        case Recurrence(size=size):
            return f"linear recurrence of {size}"
        case _:
            assert_never(kind)


def carried(kind: Kind, before: Sequence[mpq]) -> tuple[mpq, ...] | None:  # noqa: PLR0911 -- one each
    """What a part of this kind keeps of its own past; None where the kind does not say.

    Args:
        kind: of the part.
        before: s_{t−1} in the part's order (for rings and registers: in which values move).
    """
    match kind:
        case Accumulator():
            return (before[0],)
        case Alternating():
            return (-before[0],)
        case Decay(factor=factor) | Growth(factor=factor):
            return (factor * before[0],)
        case Ring():
            return (before[-1], *before[:-1])
        case ShiftRegister():
            return (ZERO, *before[:-1])
        case Rotation(cosine=cosine, sine=sine):
            return (cosine * before[0] - sine * before[1], sine * before[0] + cosine * before[1])
        case Delay():
            return (ZERO,)
        case Recurrence():
            return None
        case _:
            assert_never(kind)


def parts(rows: Rows) -> Iterator[tuple[tuple[int, ...], Kind]]:
    """The parts of a state with their kinds, by least coordinate of what is connected.

    Args:
        rows: A, sparse, one row per coordinate.

    Yields:
        (coordinates, kind): for rings and registers in the order in which values move, else
        ascending.  Coordinates that neither read nor are read are no state and are left out.
    """
    strong = {each[0]: each for each in _strong(rows)}
    for members in _connected(rows):
        if len(members) == 1 and not rows[members[0]]:
            continue
        chain = _chain(members, rows)
        if chain is not None:
            yield chain, ShiftRegister(cells=len(chain))
            continue
        yield from (_named(strong[i], rows) for i in members if i in strong)


def _connected(rows: Rows) -> list[list[int]]:
    """The connected components of A's pattern, each ascending."""
    beside: list[set[int]] = [set() for _ in rows]
    for i, row in enumerate(rows):
        for j, _ in row:
            beside[i].add(j)
            beside[j].add(i)
    found: list[list[int]] = []
    seen: set[int] = set()
    for root in range(len(rows)):
        if root in seen:
            continue
        members, waiting = {root}, [root]
        while waiting:
            new = beside[waiting.pop()] - members
            members |= new
            waiting.extend(new)
        seen |= members
        found.append(sorted(members))
    return found


def _named(members: Sequence[int], rows: Rows) -> tuple[tuple[int, ...], Kind]:
    if len(members) == 1:
        return (members[0],), _single(dict(rows[members[0]]).get(members[0], ZERO))
    inside = set(members)
    own = {i: {j: value for j, value in rows[i] if j in inside} for i in members}
    if all(list(row.values()) == [ONE] for row in own.values()):
        return _cycle(own), Ring(cells=len(members))
    if len(members) == 2:
        i, j = sorted(members)
        (c, minus_s), (s, d) = ([own[a].get(b, ZERO) for b in (i, j)] for a in (i, j))
        if c == d and s == -minus_s and abs(c * c + s * s - 1) <= ROUNDED_ONCE:
            return (i, j), Rotation(cosine=c, sine=s)
    return tuple(sorted(members)), Recurrence(size=len(members))


def _single(factor: mpq) -> Kind:
    if factor == 0:
        return Delay()
    if abs(factor) == 1:
        return Accumulator() if factor > 0 else Alternating()
    return Decay(factor=factor) if abs(factor) < 1 else Growth(factor=factor)


def _cycle(own: dict[int, dict[int, mpq]]) -> tuple[int, ...]:
    """The order of a strongly connected permutation, from its first coordinate.

    One that is strongly connected, with one entry a row, is a single cycle.
    """
    (first, *_) = sorted(own)
    against = [first]
    while (source := next(iter(own[against[-1]]))) != first:
        against.append(source)
    return (first, *reversed(against[1:]))


def _chain(members: Sequence[int], rows: Rows) -> tuple[int, ...] | None:
    """Connected coordinates in the order in which values move, if A is a shift; else None."""
    own = {i: rows[i] for i in members}
    if len(own) < 2 or any(len(row) > 1 or (row and row[0][1] != 1) for row in own.values()):
        return None
    following = {row[0][0]: i for i, row in own.items() if row}
    heads = [i for i, row in own.items() if not row]
    if len(heads) != 1 or len(following) != len(own) - 1:  # a ring, or a value that goes two ways
        return None
    order = [heads[0]]
    while order[-1] in following:
        order.append(following[order[-1]])
    return tuple(order)


def _strong(rows: Rows) -> list[list[int]]:
    """Strongly connected components (Tarjan's algorithm without recursion), by least coordinate."""
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    stack: list[int] = []
    found: list[list[int]] = []
    done: set[int] = set()
    for root in range(len(rows)):
        if root in number:
            continue
        number[root] = lowest[root] = len(number)
        stack.append(root)
        path = [(root, iter(rows[root]))]
        while path:
            here, rest = path[-1]
            for there, _ in rest:
                if there not in number:
                    number[there] = lowest[there] = len(number)
                    stack.append(there)
                    path.append((there, iter(rows[there])))
                    break
                if there not in done:
                    lowest[here] = min(lowest[here], number[there])
            else:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[here])
                if lowest[here] == number[here]:
                    cut = stack.index(here)
                    found.append(sorted(stack[cut:]))
                    done.update(stack[cut:])
                    del stack[cut:]
    return sorted(found)
