"""From a plan to the flat arrays that the kernels read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.exact import ZERO
from stability.engines.native import layout
from stability.engines.native.delays import Delays, without_copies
from stability.engines.operations import (
    NOWHERE,
    UNIT,
    Affine,
    Cell,
    Convolution,
    Operation,
    Product,
    Sum,
    Term,
)
from stability.engines.plan import Plan
from stability.engines.schedule import Group
from stability.formats import Format
from stability.policy import Policy
from stability.random_bits import unit_key
from stability.rounding import round_floats, round_rationals

PLACES = {"state": 1, "activations": 2, "readout": 3}
SMOOTH = {"sigmoid": int(layout.SIGMOID), "tanh": int(layout.TANH)}
ARGUMENT = -1
"""A register beside the plan's: what a sigmoid or tanh is taken of, while it is."""

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lowered:
    """A plan in arrays; registers are row numbers of the register file.

    Attributes:
        table: (operations, FIELDS): see the kernels.
        backs: per operation, how many steps back it reads LEFT, RIGHT and THIRD.
        biases: one per operation.
        terms: (terms, 2): which register, and how many steps back.
        weights: per term.
        groups: (groups, 3): first and last operation; how many steps at once, 0 for all.
        rows: rows of the register file.
        tokens: rows of the token's entries.
        outputs: (outputs, 2): as ``terms``.
        wires: the kept wires, likewise.
        past: as ``terms``, what rows that live from step to step hold before the first step,
            1, 2, … steps back, and ``initial``, the values.
        sites: (operations, 3): see the loops of :mod:`.soft_kernels`.
        kernels: the weights of convolutions.
    """

    table: Indices
    backs: Indices
    biases: Floats
    terms: Indices
    weights: Floats
    groups: Indices
    rows: int
    tokens: Indices
    outputs: Indices
    wires: dict[int, Indices]
    past: Indices
    initial: Floats
    sites: npt.NDArray[np.uint64]
    kernels: Kernels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernels:
    """The convolutions' inputs and weights.  Every input has a slot; slot 0 is the constant 1.

    Attributes:
        slots: how many; 1 where there are no convolutions.
        terms: per term of the plan, the slot of a convolution's input (0 for other terms).
        starts: per lag of every convolution, the first of its weights; then their number.
        sources: per weight, the slot that it multiplies.
        weights: lag after lag, convolution after convolution.
    """

    slots: int
    terms: Indices
    starts: Indices
    sources: Indices
    weights: Floats


def lower(plan: Plan, policy: Policy, carrier: np.dtype[np.floating[Any]]) -> Lowered:
    """Round a plan's constants as a policy says, held in ``carrier``, and place its registers."""
    formats = _binary(policy)
    delays = without_copies(plan, policy)
    place, rows = _places(plan, delays)
    place[ARGUMENT] = rows
    operations = [operation for group in delays.groups for operation in group.operations]

    def taps(registers: Iterable[tuple[int, int]]) -> Indices:
        found = [delays.tap(register, back) for register, back in registers]
        return np.array([(place[register], back) for register, back in found], dtype=np.int64).reshape(-1, 2)

    terms = [term for operation in operations for term in _terms(operation)]
    table = _table(operations, formats)
    alone = {group.operations[0].out for group in delays.groups if _accumulates(group, delays, formats)}
    run = 0
    for number in range(len(operations) - 1, -1, -1):
        run = run + 1 if operations[number].out in alone else 0
        if run:
            table[number, [layout.KIND, layout.COUNT]] = layout.ACCUMULATOR, run
    table[:, layout.OUT] = [place[operation.out] for operation in operations]
    factors = taps(pair for operation in operations for pair in _factors(operation)).reshape(-1, 3, 2)
    table[:, [layout.LEFT, layout.RIGHT, layout.THIRD]] = factors[:, :, 0]
    past = [(place[r], back + 1) for r, values in delays.past.items() for back in range(len(values))]
    biases = [
        operation.bias if isinstance(operation, Affine | Convolution) else ZERO for operation in operations
    ]
    return Lowered(
        table=table,
        backs=factors[:, :, 1],
        biases=_biases(biases, formats).astype(carrier),
        terms=taps((term.register, int(term.delayed)) for term in terms),
        weights=round_rationals((term.weight for term in terms), formats["weights"]).astype(carrier),
        groups=_group_ranges(delays, formats),
        rows=rows + 1,
        tokens=_indices(place[register] for register in plan.tokens),
        outputs=taps((register, 0) for register in plan.outputs),
        wires={wire: taps((r, 0) for r in registers) for wire, registers in plan.wires.items()},
        past=np.array(past, dtype=np.int64).reshape(-1, 2),
        initial=round_rationals(chain.from_iterable(delays.past.values()), formats["state"]).astype(carrier),
        sites=_sites(operations),
        kernels=_kernels(operations, formats["weights"], carrier),
    )


def _biases(values: Iterable[mpq], formats: Mapping[str, Format]) -> npt.NDArray[np.float64]:
    """Biases as accumulators begin with them."""
    weights = round_rationals(values, formats["weights"])
    return np.asarray(round_floats(weights, formats["accumulator"]) + 0.0)  # no −0


def _binary(policy: Policy) -> dict[str, Format]:
    """The formats of a policy's places."""
    return {place: fmt for place, fmt in policy.formats.items() if isinstance(fmt, Format)}


def _sites(operations: Iterable[Operation]) -> npt.NDArray[np.uint64]:
    """Where an operation's roundings stand: the key of its layer and unit, and the numbers of two of them."""
    sites = [NOWHERE if isinstance(operation, Cell) else operation.site for operation in operations]
    rows = [(unit_key(site.layer, site.unit), site.first, site.placed) for site in sites]
    return np.array(rows, dtype=np.uint64).reshape(-1, 3)


def _accumulates(group: Group[Operation], delays: Delays, formats: Mapping[str, Format]) -> bool:
    """Whether a group is one operation that adds one term to what it was one step before."""
    operation, taps = group.operations[0], delays.reads(group.operations[0])
    return (
        group.sequential
        and len(group.operations) == 1
        and isinstance(operation, Affine)
        and not operation.sticky
        and operation.activation not in SMOOTH
        and formats.get(operation.place) == formats["state"]  # what its loop rounds to
        and len(taps) == 2
        and taps[0] == (operation.out, 1)
        and taps[1][0] != operation.out
    )


def _place(operation: Operation, formats: Mapping[str, Format]) -> int:
    """What an operation's value is rounded to at last, unless that changes nothing."""
    if operation.place == "none":
        return 0
    if isinstance(operation, Sum) and operation.right is None:
        return PLACES[operation.place]
    computed = formats["products" if isinstance(operation, Product) else "accumulator"]
    return 0 if formats[operation.place].holds(computed) else PLACES[operation.place]


def _table(operations: Sequence[Operation], formats: Mapping[str, Format]) -> Indices:
    """The table of operations, registers apart."""
    table = np.zeros((len(operations), layout.FIELDS), dtype=np.int64)
    at = lags = 0
    for entry, operation in zip(table, operations, strict=True):
        match operation:
            case Affine():
                entry[layout.KIND] = layout.AFFINE
                entry[layout.STICKY] = operation.sticky
            case Convolution():
                entry[layout.KIND], entry[layout.PERIOD] = layout.CONVOLUTION, operation.period
                entry[layout.LAGS], entry[layout.COUNT] = lags, len(operation.lags)
                lags += len(operation.lags)
            case Product():
                entry[layout.KIND] = layout.PRODUCT
                entry[layout.STICKY] = operation.sticky
            case Sum():
                entry[layout.KIND], entry[layout.COUNT] = layout.SUM, 1 + (operation.right is not None)
            case Cell():
                entry[layout.KIND], entry[layout.STICKY] = layout.CELL, operation.strict
            case _:
                assert_never(operation)
        entry[layout.PLACE] = _place(operation, formats)
        if isinstance(operation, Affine | Product | Sum):
            entry[layout.RELU] = operation.activation == "relu"
            entry[layout.SMOOTH] = SMOOTH.get(operation.activation, 0)
            if operation.activation in SMOOTH:
                entry[layout.PLACE] = 0  # they round to activations by themselves
        entry[layout.FIRST] = at
        at += len(_terms(operation))
        entry[layout.LAST] = at
    return table


def _factors(operation: Operation) -> tuple[tuple[int, int], ...]:
    """What stands as LEFT, RIGHT and THIRD in the table, and how many steps back; else its own register."""
    own = (operation.out, 0)
    match operation:
        case Product():
            return (operation.left, 0), (operation.right, int(operation.delayed)), _argument(operation)
        case Affine():
            return own, own, _argument(operation)
        case Sum():
            right = operation.left if operation.right is None else operation.right
            return (operation.left, 0), (right, 0), _argument(operation)
        case Cell():
            return (operation.forget, 0), (operation.entry, 0), (operation.candidate, 0)
        case _:
            return own, own, own


def _argument(operation: Affine | Product | Sum) -> tuple[int, int]:
    """Where the value before a sigmoid or tanh is put; else the operation's own register."""
    return (ARGUMENT if operation.activation in SMOOTH else operation.out), 0


def _terms(operation: Operation) -> tuple[Term, ...]:
    """What a row of the table refers to: an accumulator's terms, a convolution's inputs."""
    match operation:
        case Affine():
            return operation.terms
        case Convolution():
            return tuple(Term(register=register, weight=ZERO) for register in operation.registers)
        case _:
            return ()


def _kernels(operations: Iterable[Operation], fmt: Format, carrier: np.dtype[np.floating[Any]]) -> Kernels:
    slots = {UNIT: 0}
    terms: list[int] = []
    lags: list[tuple[Term, ...]] = []
    for operation in operations:
        if isinstance(operation, Convolution):
            terms += [slots.setdefault(register, len(slots)) for register in operation.registers]
            lags += operation.lags
        else:
            terms += [0] * len(_terms(operation))
    weights = [term for lag in lags for term in lag]
    return Kernels(
        slots=len(slots),
        terms=_indices(terms),
        starts=np.cumsum([0, *map(len, lags)], dtype=np.int64),
        sources=_indices(slots[term.register] for term in weights),
        weights=round_rationals((term.weight for term in weights), fmt).astype(carrier),
    )


def _indices(numbers: Iterable[int]) -> Indices:
    return np.fromiter(numbers, dtype=np.int64)


def _group_ranges(delays: Delays, formats: Mapping[str, Format]) -> Indices:
    """First operation, last + 1 and steps at once; what needs no loop over time is joined."""
    ranges: list[tuple[int, int, int]] = []
    start = 0
    for group in delays.groups:
        loop = group.sequential and not _accumulates(group, delays, formats)
        steps, stop = group.steps if loop else 0, start + len(group.operations)
        if ranges and not steps and not ranges[-1][2]:
            start = ranges.pop()[0]
        ranges.append((start, stop, steps))
        start = stop
    return np.array(ranges, dtype=np.int64).reshape(len(ranges), 3)


def _places(plan: Plan, delays: Delays) -> tuple[dict[int, int], int]:
    """A row for every register; rows are used again when no later operation needs them.

    A small register file stays in the processor's nearest cache.
    """
    moments = _moments(delays)
    last_use: dict[int, float] = dict.fromkeys(plan.tokens, -1)
    for moment, operations in enumerate(moments):
        for operation in operations:
            last_use[operation.out] = moment
            last_use.update((register, moment) for register, _ in delays.reads(operation))
    kept = [*plan.outputs, *(register for wire in plan.wires.values() for register in wire)]
    last_use.update((delays.tap(register)[0], float("inf")) for register in kept)
    last_use.update((register, float("inf")) for register in delays.past)
    place = {register: row for row, register in enumerate(dict.fromkeys((*plan.tokens, *delays.past)))}
    rows = len(place)
    free: list[int] = []
    ending: dict[float, list[int]] = {}
    for register, last in last_use.items():
        ending.setdefault(last, []).append(register)
    for moment, operations in enumerate(moments):
        for operation in operations:
            if operation.out not in place:
                if not free:
                    free.append(rows)
                    rows += 1
                place[operation.out] = free.pop()
        free.extend(place[register] for register in ending.get(moment, ()))
    return place, rows


def _moments(delays: Delays) -> list[tuple[Operation, ...]]:
    """Operations that need their registers at the same time: sequential groups as a whole."""
    moments: list[tuple[Operation, ...]] = []
    for group in delays.groups:
        if group.sequential:
            moments.append(group.operations)
        else:
            moments.extend((operation,) for operation in group.operations)
    return moments
