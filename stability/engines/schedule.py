"""The order of a layer's operations: what may run over many steps at once, what may not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class _Writes(Protocol):
    @property
    def out(self) -> int: ...


Op = TypeVar("Op", bound=_Writes)
Reads = Callable[[Op], tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Generic[Op]):
    """Operations that run in their order.

    Attributes:
        sequential: all of them for some steps, then for the next ones; else one after the other,
            each over a block.
        operations: in an order in which each reads only earlier ones of the same step.
        steps: how many steps at once a sequential group may advance: what an operation reads
            of a later one, or of itself, is at least as far back.
    """

    sequential: bool
    operations: tuple[Op, ...]
    steps: int = 1


def schedule(operations: Sequence[Op], reads: Reads[Op]) -> list[Group[Op]]:
    """Group a layer's operations.

    Operations that need each other's or their own earlier value are sequential, each such
    loop for itself; all others that are ready at the same time form one group.

    Args:
        operations: each reads, of the same step, only registers that earlier ones write.
        reads: the registers of an operation, each with how many steps back it reads it.
    """
    writer = {operation.out: number for number, operation in enumerate(operations)}
    needs = [
        [(writer[register], back) for register, back in reads(operation) if register in writer]
        for operation in operations
    ]
    others = [sorted({need for need, _ in found} - {number}) for number, found in enumerate(needs)]
    components = _components(others)
    home = {number: k for k, component in enumerate(components) for number in component}
    waiting = [
        {home[need] for number in component for need in others[number]} - {k}
        for k, component in enumerate(components)
    ]
    backs = [
        [back for number in component for need, back in needs[number] if need >= number and home[need] == k]
        for k, component in enumerate(components)
    ]
    loops = [bool(found) for found in backs]
    groups: list[Group[Op]] = []
    for wave in _waves(waiting, loops):
        if not loops[wave[0]]:
            chosen = tuple(operations[number] for k in wave for number in components[k])
            groups.append(Group(sequential=False, operations=chosen))
            continue
        for k in wave:
            chosen = tuple(operations[number] for number in components[k])
            groups.append(Group(sequential=True, operations=chosen, steps=min(backs[k])))
    return groups


def _waves(waiting: Sequence[set[int]], loops: Sequence[bool]) -> list[list[int]]:
    """Components in an order that meets their needs, alternating between the two kinds."""
    done: set[int] = set()
    left = list(range(len(waiting)))
    waves: list[list[int]] = []
    looping = False
    while left:
        wave: list[int] = []
        for k in left:  # left is in topological order, so one pass finds all of this kind
            if loops[k] == looping and waiting[k] <= done:
                wave.append(k)
                done.add(k)
        if wave:
            waves.append(wave)
            left = [k for k in left if k not in done]
        looping = not looping
    return waves


def _components(needs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Strongly connected components (Tarjan), each after those it needs; no recursion."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(needs)):
        if root in order:
            continue
        path = [(root, iter(needs[root]))]
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack.add(root)
        while path:
            node, rest = path[-1]
            for need in rest:
                if need not in order:
                    order[need] = low[need] = len(order)
                    stack.append(need)
                    on_stack.add(need)
                    path.append((need, iter(needs[need])))
                    break
                if need in on_stack:
                    low[node] = min(low[node], order[need])
            else:
                path.pop()
                if path:
                    parent = path[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == order[node]:
                    found.append(_popped(stack, on_stack, node))
    return found


def _popped(stack: list[int], on_stack: set[int], root: int) -> list[int]:
    """The component on top of Tarjan's stack, taken off it."""
    start = stack.index(root)
    component = stack[start:]
    del stack[start:]
    on_stack.difference_update(component)
    return sorted(component)
