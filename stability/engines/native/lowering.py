"""From a plan to the flat arrays that the kernels read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from compiler.exact import ZERO
from stability.engines.native import kernels
from stability.engines.operations import UNIT, Affine, Cell, Convolution, Operation, Product, Term, sources
from stability.engines.plan import Plan
from stability.formats import Format
from stability.rounding import round_rational, round_rationals

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lowered:
    """A plan in arrays; registers are row numbers of the register file.

    Attributes:
        table: (operations, FIELDS): see the kernels.
        biases: one per operation.
        registers: per term, which register.
        delayed: per term, 1 if its value of the step before.
        weights: per term.
        groups: (groups, 3): first and last operation, 1 if sequential.
        rows: rows of the register file.
        tokens, outputs: rows of the token's entries and of the outputs.
        wires: rows of the kept wires.
        carried: rows that live from step to step, and ``initial``, their first values.
        kernels: the weights of convolutions.
    """

    table: Indices
    biases: Floats
    registers: Indices
    delayed: Indices
    weights: Floats
    groups: Indices
    rows: int
    tokens: Indices
    outputs: Indices
    wires: dict[int, Indices]
    carried: Indices
    initial: Floats
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


def lower(plan: Plan, fmt: Format, carrier: np.dtype[np.floating[Any]]) -> Lowered:
    """Round a plan's constants to ``fmt``, held in ``carrier``, and place its registers."""
    place, rows = _places(plan)
    operations = [operation for group in plan.groups for operation in group.operations]
    table = np.zeros((len(operations), kernels.FIELDS), dtype=np.int64)
    biases = np.zeros(len(operations), dtype=carrier)
    terms = [term for operation in operations for term in _terms(operation)]
    at = lags = 0
    for number, operation in enumerate(operations):
        entry = table[number]
        entry[kernels.OUT] = place[operation.out]
        match operation:
            case Affine():
                entry[kernels.KIND], entry[kernels.RELU], entry[kernels.STICKY] = (
                    kernels.AFFINE,
                    operation.relu,
                    operation.sticky,
                )
                entry[kernels.FIRST], entry[kernels.LAST] = at, at + len(operation.terms)
                at += len(operation.terms)
                biases[number] = round_rational(operation.bias, fmt)
            case Convolution():
                entry[kernels.KIND], entry[kernels.PERIOD] = kernels.CONVOLUTION, operation.period
                entry[kernels.FIRST], entry[kernels.LAST] = at, at + len(operation.registers)
                entry[kernels.LAGS], entry[kernels.COUNT] = lags, len(operation.lags)
                at, lags = at + len(operation.registers), lags + len(operation.lags)
                biases[number] = round_rational(operation.bias, fmt)
            case Product():
                entry[kernels.KIND], entry[kernels.STICKY] = kernels.PRODUCT, operation.sticky
                entry[kernels.RELU], entry[kernels.DELAYED] = operation.relu, operation.delayed
                entry[kernels.LEFT], entry[kernels.RIGHT] = place[operation.left], place[operation.right]
            case Cell():
                entry[kernels.KIND], entry[kernels.STICKY] = kernels.CELL, operation.strict
                entry[kernels.LEFT] = place[operation.forget]
                entry[kernels.RIGHT], entry[kernels.THIRD] = (
                    place[operation.entry],
                    place[operation.candidate],
                )
            case _:
                assert_never(operation)
    return Lowered(
        table=table,
        biases=biases,
        registers=_indices(place[term.register] for term in terms),
        delayed=_indices(int(term.delayed) for term in terms),
        weights=round_rationals((term.weight for term in terms), fmt).astype(carrier),
        groups=_group_ranges(plan),
        rows=rows,
        tokens=_indices(place[register] for register in plan.tokens),
        outputs=_indices(place[register] for register in plan.outputs),
        wires={wire: _indices(place[r] for r in registers) for wire, registers in plan.wires.items()},
        carried=_indices(place[register] for register in plan.initial),
        initial=round_rationals(plan.initial.values(), fmt).astype(carrier),
        kernels=_kernels(operations, fmt, carrier),
    )


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


def _group_ranges(plan: Plan) -> Indices:
    ranges = []
    start = 0
    for group in plan.groups:
        ranges.append((start, start + len(group.operations), int(group.sequential)))
        start += len(group.operations)
    return np.array(ranges, dtype=np.int64).reshape(len(ranges), 3)


def _places(plan: Plan) -> tuple[dict[int, int], int]:
    """A row for every register; rows are used again when no later operation needs them.

    A small register file stays in the processor's nearest cache.
    """
    moments = _moments(plan)
    last_use: dict[int, float] = dict.fromkeys(plan.tokens, -1)
    for moment, operations in enumerate(moments):
        for operation in operations:
            last_use[operation.out] = moment
            last_use.update(dict.fromkeys(sources(operation), moment))
    kept = [register for wire in plan.wires.values() for register in wire]
    last_use.update(dict.fromkeys((*plan.outputs, *kept, *plan.initial), float("inf")))
    place = {register: row for row, register in enumerate((*plan.tokens, *plan.initial))}
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


def _moments(plan: Plan) -> list[tuple[Operation, ...]]:
    """Operations that need their registers at the same time: sequential groups as a whole."""
    moments: list[tuple[Operation, ...]] = []
    for group in plan.groups:
        if group.sequential:
            moments.append(group.operations)
        else:
            moments.extend((operation,) for operation in group.operations)
    return moments
