"""How far values can reach within a prompt of given length.

A range that is a fixpoint over all time is unbounded for whatever accumulates.  Here the
length T bounds it: an accumulator by s0 + T·u, any other linear recurrence
s = A s' + d by sup‖A^k‖·|s0| + Σ_{k<T}‖A^k‖·|d|.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gmpy2 import isqrt, mpq

from compiler import ranges
from compiler.exact import ONE, ZERO, Matrix
from compiler.path import Path, PathLayer
from compiler.ranges import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """Bounds of the powers of a matrix in the maximum norm.

    Attributes:
        largest: of ‖A^k‖ for all k < T.
        total: of Σ_{k<T} ‖A^k‖.
    """

    largest: mpq
    total: mpq


def powers(rows: Sequence[Mapping[int, mpq]], length: int) -> Powers | None:
    """Bounds of a small square matrix's powers; None where they grow too fast to be of use.

    A nilpotent matrix ends; a row sum ρ ≤ 1 bounds every power; else ‖A‖₂² ≤ ‖AᵀA‖∞, which
    is 1 for a rotation.
    """
    size = len(rows)
    rho, ends = _norm(rows), _ends(rows)
    if rho < 1:
        return Powers(largest=ONE, total=min(1 / (1 - rho), mpq(length)))
    if rho == 1:
        return Powers(largest=ONE, total=mpq(min(size, length) if ends else length))
    if ends:
        total, largest, current = ZERO, ONE, [{i: ONE} for i in range(size)]
        while any(current):
            largest, total = max(largest, _norm(current)), total + _norm(current)
            current = _times(current, rows)
        return Powers(largest=largest, total=total)
    transposed: list[dict[int, mpq]] = [{} for _ in range(size)]
    for i, row in enumerate(rows):
        for j, value in row.items():
            transposed[j][i] = value
    excess = max(ZERO, _norm(_times(transposed, rows)) - 1)
    # (1 + x)^(T/2) ≤ 1 / (1 − T x / 2) while T x < 2
    if excess * length >= 1:
        return None
    largest = mpq(isqrt(size - 1) + 1) / (1 - excess * length / 2)
    return Powers(largest=largest, total=largest * length)


def _ends(rows: Sequence[Mapping[int, mpq]]) -> bool:
    """Whether no coordinate feeds itself, on whatever way: then some power is 0."""
    waiting = [len(row) for row in rows]
    readers: list[list[int]] = [[] for _ in rows]
    for i, row in enumerate(rows):
        for j in row:
            readers[j].append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    for i in ready:  # grows while it is walked
        for reader in readers[i]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return len(ready) == len(rows)


def _norm(rows: Sequence[Mapping[int, mpq]]) -> mpq:
    return max((sum((abs(v) for v in row.values()), ZERO) for row in rows), default=ZERO)


def _times(left: Sequence[Mapping[int, mpq]], right: Sequence[Mapping[int, mpq]]) -> list[dict[int, mpq]]:
    made: list[dict[int, mpq]] = []
    for row in left:
        total: dict[int, mpq] = {}
        for k, value in row.items():
            for j, other in right[k].items():
                total[j] = total.get(j, ZERO) + value * other
        made.append({j: value for j, value in total.items() if value})
    return made


def cycles(own: Matrix) -> list[list[int]]:
    """The coordinates grouped by what feeds itself through the others, each group after those it reads.

    Tarjan's algorithm, without recursion: a shift register is as deep as it is long.
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    open_: list[int] = []
    grouped: set[int] = set()
    found: list[list[int]] = []
    for first in range(own.height):
        walk = [] if first in order else [(first, iter(own.rows[first]))]
        while walk:
            unit, rest = walk[-1]
            if unit not in order:
                order[unit] = low[unit] = len(order)
                open_.append(unit)
            for j, _ in rest:
                if j not in order:
                    walk.append((j, iter(own.rows[j])))
                    break
                if j not in grouped:
                    low[unit] = min(low[unit], order[j])
            else:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[unit])
                if low[unit] == order[unit]:
                    place = open_.index(unit)
                    found.append(sorted(open_[place:]))
                    grouped.update(open_[place:])
                    del open_[place:]
    return found


def components(own: Matrix) -> list[list[int]]:
    """The coordinates of a state layer, grouped by what feeds what."""
    parent = list(range(own.height))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, _ in own.entries():
        parent[root(i)] = root(j)
    found: dict[int, list[int]] = {}
    for i in range(own.height):
        found.setdefault(root(i), []).append(i)
    return list(found.values())


def local_rows(own: Matrix, members: Sequence[int]) -> list[dict[int, mpq]]:
    """The rows of some coordinates within themselves, numbered from 0."""
    place = {unit: k for k, unit in enumerate(members)}
    return [{place[j]: value for j, value in own.rows[i] if j in place} for i in members]


def accumulates(own: Matrix, unit: int) -> bool:
    """Whether the coordinate is s = s' + drive."""
    return tuple(own.rows[unit]) == ((unit, ONE),)


def row_range(layer: Sequence[tuple[int, mpq]], bias: mpq, below: Sequence[Range]) -> Range:
    """The range of an affine row."""
    return ranges.affine(bias, ((value, below[j]) for j, value in layer))


def reach(path: Path, length: int) -> list[tuple[Range, ...]]:
    """The ranges of every layer's values within a prompt of ``length`` tokens."""
    below: Sequence[Range] = path.tokens
    found: list[tuple[Range, ...]] = []
    for each in path.layers:
        own = _state(each, below, length) if each.layer.kind == "state" else _memoryless(each, below)
        below = tuple(ranges.intersect(extent, known) for extent, known in zip(own, each.ranges, strict=True))
        found.append(tuple(below))
    return found


def operand_ranges(each: PathLayer, below: Sequence[Range]) -> list[tuple[Range, ...]]:
    """Per unit, the ranges of what it takes in: a ReLU's argument, or a product's two factors."""
    layer, size = each.layer, each.layer.size
    known = each.operands if layer.kind == "gate" else tuple((extent,) for extent in each.arguments)
    return [
        tuple(
            ranges.intersect(
                row_range(layer.weight_ih.rows[unit + k * size], layer.bias[unit + k * size], below), extent
            )
            for k, extent in enumerate(known[unit])
        )
        for unit in range(size)
    ]


def drive_ranges(each: PathLayer, below: Sequence[Range]) -> list[Range]:
    """Per coordinate of a state layer, the range of B x + b."""
    rows = zip(each.layer.weight_ih.rows, each.layer.bias, each.arguments, strict=True)
    return [ranges.intersect(row_range(row, bias, below), known) for row, bias, known in rows]


def _memoryless(each: PathLayer, below: Sequence[Range]) -> list[Range]:
    made = []
    for unit, operands in enumerate(operand_ranges(each, below)):
        if each.layer.kind == "gate":
            made.append(ranges.product(*operands))
        else:
            made.append(operands[0] if unit in each.passing else ranges.relu(operands[0]))
    return made


def _state(each: PathLayer, below: Sequence[Range], length: int) -> list[Range]:
    layer = each.layer
    drive = drive_ranges(each, below)
    made = list(each.ranges)
    for members in components(layer.weight_hh):
        if len(members) == 1 and not layer.weight_hh.rows[members[0]]:
            made[members[0]] = drive[members[0]]
        elif len(members) == 1 and accumulates(layer.weight_hh, members[0]):
            made[members[0]] = _accumulated(layer.initial[members[0]], drive[members[0]], length)
        else:
            bound = _recurrent(each, members, drive, length)
            for unit in members:
                made[unit] = Range(None if bound is None else -bound, bound)
    return made


def _accumulated(start: mpq, drive: Range, length: int) -> Range:
    lo = None if drive.lo is None else start + (drive.lo if drive.lo >= 0 else length * drive.lo)
    hi = None if drive.hi is None else start + (drive.hi if drive.hi <= 0 else length * drive.hi)
    return Range(lo, hi)


def _recurrent(each: PathLayer, members: Sequence[int], drive: Sequence[Range], length: int) -> mpq | None:
    sizes = [drive[unit].magnitude for unit in members]
    bound = powers(local_rows(each.layer.weight_hh, members), length)
    if bound is None or None in sizes:
        return None
    start = max(abs(each.layer.initial[unit]) for unit in members)
    return bound.largest * start + bound.total * max(size for size in sizes if size is not None)
