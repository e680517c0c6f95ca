"""How far the states of a program can come in a prompt of a given length.

s_t = A s_{t−1} + d_t unrolls into s_t = A^{t+1} s0 + Σ_{k≤t} A^k d_{t−k}.  Where every drive
lies in c ± r, component by component, s_t lies in A^{t+1} s0 + Σ A^k c ± Σ |A^k| r, and
comes to both ends of it where drives are independent.  So the growth that is predicted
is that of A's powers, not that of |A|: a rotation does not grow.

Everything here is float64: these are predictions, no proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.ranges import Range
from compiler.scalars import ScalarGraph, StateGroup, affine_range
from stability.measures import to_float

Floats = npt.NDArray[np.float64]

MOST_STATES = 512
"""Coordinates of a connected state that powers are computed of."""
MOST_STEPS = 1 << 17
"""Steps that are computed one by one; beyond them each block of steps doubles the one before."""
WORK = 2e9
BLOCK = 64
VANISHED = 2.0**-80
BEYOND = mpq(2) ** 1100
"""Stands for everything that float64 does not hold."""
LARGEST = float(np.finfo(np.float64).max)
ACCUMULATOR = (((0, mpq(1)),),)
"""The recurrence s_t = s_{t−1} + u of one coordinate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """What bounds a state of n coordinates, for prompts of every length.

    Attributes:
        lengths: tokens, ascending; the last bounds hold for every longer prompt that was asked for.
        low: (len(lengths), n): the smallest value that the state may have had after so many
            tokens; ``high`` the largest.
    """

    lengths: npt.NDArray[np.int64]
    low: Floats
    high: Floats

    def after(self, length: int) -> tuple[Floats, Floats]:
        """The bounds of a prompt of ``length`` tokens, for every coordinate."""
        place = min(int(np.searchsorted(self.lengths, length)), len(self.lengths) - 1)
        return self.low[place], self.high[place]

    def first_beyond(self, limit: float) -> int | None:
        """The fewest tokens after which a coordinate may be larger than ``limit``; None: never."""
        beyond = (np.maximum(-self.low, self.high) > limit).any(axis=1)
        return int(self.lengths[np.argmax(beyond)]) if beyond.any() else None


def reach(matrix: Floats, initial: Floats, low: Floats, high: Floats, length: int) -> Reach:
    """Bound s_t = A s_{t−1} + d_t.

    Args:
        matrix: A, (n, n).
        initial: s0, (n,).
        low: the least of the drive, (n,), finite.
        high: its largest, (n,).
        length: the longest prompt.
    """
    center, radius = (low + high) / 2, (high - low) / 2
    size = len(matrix)
    exact = int(max(1, min(length, MOST_STEPS, WORK // size**3)))
    with np.errstate(all="ignore"):
        walk = _Walk(matrix, initial, center, radius)
        while walk.length < exact and not walk.settled:
            walk.advance(min(BLOCK, exact - walk.length))
        while walk.length < length and not walk.settled:
            walk.double()
    return Reach(
        lengths=np.concatenate(walk.lengths),
        low=np.minimum.accumulate(np.concatenate(walk.lows)),
        high=np.maximum.accumulate(np.concatenate(walk.highs)),
    )


class _Walk:
    """The sums of :mod:`stability.reach`, block of steps by block of steps."""

    def __init__(self, matrix: Floats, initial: Floats, center: Floats, radius: Floats) -> None:
        powers = [np.eye(len(matrix))]
        while len(powers) < BLOCK:
            powers.append(_finite(matrix @ powers[-1]))
        self._block, self._matrix = np.stack(powers), matrix
        self._initial, self._center, self._radius = initial, center, radius
        self._power = powers[0]  # A^length
        self._driven, self._spread = np.zeros(len(matrix)), np.zeros(len(matrix))
        self.length = 0
        self.lengths: list[npt.NDArray[np.int64]] = []
        self.lows: list[Floats] = []
        self.highs: list[Floats] = []
        self.settled = False

    def advance(self, steps: int) -> None:
        """Go ``steps`` further, at most :data:`BLOCK`, one by one."""
        powers = _finite(self._block[:steps] @ self._power)
        driven = self._driven + np.cumsum(powers @ self._center, axis=0)
        spread = self._spread + np.cumsum(np.abs(powers) @ self._radius, axis=0)
        kept = powers @ (self._matrix @ self._initial)
        self._note(np.arange(1, steps + 1) + self.length, kept + driven, spread)
        self._power = _finite(self._matrix @ powers[-1])
        self._driven, self._spread = driven[-1], spread[-1]
        self.settled = self.settled or bool(np.abs(self._power).max() <= VANISHED)

    def double(self) -> None:
        """Go as far again: A^m takes the box of all states so far on, and m drives are added."""
        low = _finite(np.minimum(np.min([each.min(axis=0) for each in self.lows], axis=0), self._initial))
        high = _finite(np.maximum(np.max([each.max(axis=0) for each in self.highs], axis=0), self._initial))
        center = self._power @ (low / 2 + high / 2) + self._driven
        spread = np.abs(self._power) @ (high / 2 - low / 2) + self._spread
        self._note(np.array([2 * self.length]), center[np.newaxis], spread[np.newaxis])
        self._driven = _finite(self._driven + self._power @ self._driven)
        self._spread = _finite(self._spread + np.abs(self._power) @ self._spread)
        self._power = _finite(self._power @ self._power)

    def _note(self, lengths: npt.NDArray[np.int64], center: Floats, spread: Floats) -> None:
        low, high = center - spread, center + spread
        unknown = ~(np.isfinite(low) & np.isfinite(high))
        self.lengths.append(lengths)
        self.lows.append(np.where(unknown, -np.inf, low))
        self.highs.append(np.where(unknown, np.inf, high))
        self.length = int(lengths[-1])
        # nothing is learnt from going on once every coordinate is beyond float64
        self.settled = bool(unknown.any(axis=0).all())


def _finite(values: Floats) -> Floats:
    """Values without infinities, which would turn what they are multiplied with by 0 into nan."""
    return np.nan_to_num(values, nan=LARGEST, posinf=LARGEST, neginf=-LARGEST)


class Extents:
    """The range of every symbol of a program, by the length of the prompt.

    Only states without a bound of their own depend on it, and what is computed from them.

    Args:
        graph: the program's symbols.
        length: the longest prompt.
    """

    def __init__(self, graph: ScalarGraph, length: int) -> None:
        self.graph, self.length = graph, length
        self.growing = [
            group
            for group in graph.groups
            if group.rows == ACCUMULATOR or any(_open(graph.ranges[symbol]) for symbol in group.symbols)
        ]
        self._reaches: dict[int, Reach] = {}
        self._known: dict[int, list[Range]] = {}

    def after(self, length: int) -> list[Range]:
        """The range of every symbol in a prompt of ``length`` tokens."""
        if length not in self._known:
            bounds: dict[int, Range] = {}
            for group in self.growing:
                bounds |= self._bounds(group, bounds, length)
            self._known[length] = self.graph.refined(bounds)
        return self._known[length]

    def first(self, holds: Callable[[Sequence[Range]], bool]) -> int | None:
        """The fewest tokens after which ``holds`` is true of the ranges; None: never.

        Args:
            holds: true of wider ranges if it is of narrower ones.
        """
        if not holds(self.after(self.length)):
            return None
        short, long = 0, self.length
        while long - short > 1:
            middle = (short + long) // 2
            short, long = (short, middle) if holds(self.after(middle)) else (middle, long)
        return long

    def _bounds(self, group: StateGroup, bounds: Mapping[int, Range], length: int) -> dict[int, Range]:
        """The ranges of a group's coordinates; none where what drives it has no bound."""
        drive, longest = [self.graph.range_of(form) for form in group.drive], self.length
        key = group.symbols[0]
        if any(_open(each) for each in drive):  # by what grows itself, perhaps
            extents = self.graph.refined(bounds)
            drive, longest = [affine_range(form, extents) for form in group.drive], length
        if any(_open(each) for each in drive):
            return {}
        if group.rows == ACCUMULATOR:
            return {key: _summed(group.initial[0], drive[0], length)}
        if len(group.rows) > MOST_STATES:
            return {}
        if longest == length or key not in self._reaches:
            self._reaches[key] = reach_of(group, drive, longest)
        low, high = self._reaches[key].after(length)
        return {symbol: Range(_exact(low[k]), _exact(high[k])) for k, symbol in enumerate(group.symbols)}


def reach_of(group: StateGroup, drive: Sequence[Range], length: int) -> Reach:
    """:func:`reach` of a connected state whose drive is bounded."""
    lows, highs = zip(*((_float(each.lo), _float(each.hi)) for each in drive), strict=True)
    initial = np.array([to_float(value) for value in group.initial])
    return reach(state_matrix(group), initial, np.array(lows), np.array(highs), length)


def state_matrix(group: StateGroup) -> Floats:
    """A of a connected state."""
    matrix = np.zeros((len(group.rows), len(group.rows)))
    for i, row in enumerate(group.rows):
        for j, value in row:
            matrix[i, j] = to_float(value)
    return matrix


def growth(group: StateGroup) -> float:
    """The spectral radius of A: the factor by which the state grows in the long run."""
    if len(group.rows) > MOST_STATES:
        return 1.0
    return float(np.abs(np.linalg.eigvals(_finite(state_matrix(group)))).max())


def _summed(initial: mpq, drive: Range, length: int) -> Range:
    """Where s_t = s_{t−1} + d comes within ``length`` tokens, exactly."""
    assert drive.lo is not None
    assert drive.hi is not None
    return Range(initial + min(drive.lo, length * drive.lo), initial + max(drive.hi, length * drive.hi))


def _open(extent: Range) -> bool:
    return extent.magnitude is None


def _float(value: mpq | None) -> float:
    assert value is not None
    return to_float(value)


def _exact(value: float) -> mpq:
    return mpq(float(value)) if np.isfinite(value) else BEYOND if value > 0 else -BEYOND
