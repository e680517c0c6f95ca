"""The order of a layer's operations: what may run over many steps at once, what may not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class _Writes(Protocol):
    @property
    def out(self) -> int: ...


Op = TypeVar("Op", bound=_Writes)
Reads = Callable[[Op], tuple[tuple[int, ...], bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Generic[Op]):
    """Operations that run in their order.

    Attributes:
        sequential: all of them step by step; else one after the other, each over a block.
        operations: in an order in which each reads only earlier ones of the same step.
    """

    sequential: bool
    operations: tuple[Op, ...]


def schedule(operations: Sequence[Op], reads: Reads[Op]) -> list[Group[Op]]:
    """Group a layer's operations.

    Operations that need each other's or their own earlier value are sequential; all that
    are ready at the same time form one group.

    Args:
        operations: each reads, of the same step, only registers that earlier ones write.
        reads: the registers of an operation, and whether it reads its own earlier value.
    """
    writer = {operation.out: number for number, operation in enumerate(operations)}
    needs = [
        sorted({writer[register] for register in reads(operation)[0] if register in writer} - {number})
        for number, operation in enumerate(operations)
    ]
    components = _components(needs)
    home = {number: k for k, component in enumerate(components) for number in component}
    waiting = [
        {home[need] for number in component for need in needs[number]} - {k}
        for k, component in enumerate(components)
    ]
    loops = [len(component) > 1 or reads(operations[component[0]])[1] for component in components]
    groups: list[Group[Op]] = []
    for chosen in _waves(waiting, loops):
        numbers = (
            sorted(number for k in chosen for number in components[k])
            if loops[chosen[0]]
            else [number for k in chosen for number in components[k]]
        )
        groups.append(
            Group(sequential=loops[chosen[0]], operations=tuple(operations[number] for number in numbers))
        )
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
