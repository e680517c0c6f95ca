"""Registers that only repeat another one, some steps later, are not computed.

A unit of a shift register is the unit before it, one step late; the last of n units is the
first one, n steps back, as long as the register file holds that many steps.  A ring of n
units is one unit that reads itself n steps back, and so advances n steps at a time.

No bit changes, non-finite values and the status included: an accumulator that starts at +0
and takes 1·x is x, if x is never −0; so is its ReLU, if x is never negative.  What precedes
the first step must be finite, and the same for all that become one register.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gmpy2 import mpq

from compiler.exact import ZERO
from stability.engines.constants import Constants
from stability.engines.operations import Affine, Cell, Operation, Product, reads
from stability.engines.plan import Plan
from stability.engines.schedule import Group, schedule
from stability.policy import AnyPolicy, as_policy

LONGEST = 64
"""Steps back; beyond, a register of its own is cheaper than a long past."""

Tap = tuple[int, int]
"""A register, and how many steps back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """A plan without its copies.

    Attributes:
        groups: the operations that are left.
        taps: where the value of a register that has no operation is found.
        past: registers that live from step to step, with their values 1, 2, … steps before
            the first one.
    """

    groups: tuple[Group[Operation], ...]
    taps: Mapping[int, Tap]
    past: Mapping[int, tuple[mpq, ...]]

    def tap(self, register: int, back: int = 0) -> Tap:
        """Where the value that ``register`` had ``back`` steps before is found."""
        while register in self.taps:
            register, further = self.taps[register]
            back += further
        return register, back

    def reads(self, operation: Operation) -> tuple[Tap, ...]:
        """The registers an operation reads, and how many steps back."""
        return tuple(self.tap(register, back) for register, back in reads(operation))


def without_copies(plan: Plan, policy: AnyPolicy) -> Delays:
    """Find the operations of a plan that copy, and leave them out."""
    finder = _Finder(plan, Constants(as_policy(policy)))
    left = Delays(groups=(), taps=finder.taps, past=finder.finished())
    groups: list[Group[Operation]] = []
    for group in plan.groups:
        operations = tuple(operation for operation in group.operations if operation.out not in left.taps)
        if group.sequential:
            groups += schedule(operations, left.reads)
        elif operations:
            groups.append(Group(sequential=False, operations=operations))
    return replace(left, groups=tuple(groups))


class _Finder:
    """Joins registers, copy by copy; ``past``: what must precede the first step, per tap."""

    def __init__(self, plan: Plan, constants: Constants) -> None:
        self._plan, self._finite = plan, constants.finite
        operations = [operation for group in plan.groups for operation in group.operations]
        recalled = {register for operation in operations for register, back in reads(operation) if back}
        self._sticky = {each.out for each in operations if isinstance(each, Affine | Product) and each.sticky}
        self._sticky |= {each.out for each in operations if isinstance(each, Cell) and each.strict}
        self._settled = self._always_finite(operations)
        self.taps: dict[int, Tap] = {}
        self._past = {
            register: {1: value} for register, value in plan.initial.items() if register in recalled
        }
        for operation in operations:
            if isinstance(operation, Affine) and self._copies(operation):
                (term,) = operation.terms
                self._join(operation.out, self._resolved(term.register, int(term.delayed)))

    def finished(self) -> dict[int, tuple[mpq, ...]]:
        """What precedes the first step, 1, 2, … steps back."""
        for register in self._sticky - self.taps.keys():
            self._past.setdefault(register, {}).setdefault(1, self._plan.initial.get(register, ZERO))
        return {
            register: tuple(values.get(back, ZERO) for back in range(1, max(values) + 1))
            for register, values in self._past.items()
            if values
        }

    def _start(self, register: int) -> mpq:
        return self._plan.initial.get(register, ZERO)

    def _always_finite(self, operations: Iterable[Operation]) -> set[int]:
        """Registers that only ever hold constants: a ring of values that nothing feeds, and its copies."""
        rows = {each.out: each for each in operations if isinstance(each, Affine) and self._finite(each.bias)}
        found = {
            out
            for out, row in rows.items()
            if not row.terms or (row.bias == 0 and len(row.terms) == 1 and row.terms[0].weight == 1)
        }
        lost = True
        while lost:
            lost = False
            for out in sorted(found):
                for term in rows[out].terms:
                    if term.register not in found or (
                        term.delayed and not self._finite(self._start(term.register))
                    ):
                        found.discard(out)
                        lost = True
        return found

    def _copies(self, operation: Affine) -> bool:
        """Whether every value, from the first step on, is that of the only term."""
        if operation.bias != 0 or len(operation.terms) != 1:
            return False
        (term,) = operation.terms
        register, before = term.register, self._start(term.register) if term.delayed else ZERO
        return (
            term.weight == 1
            and operation.out in self._plan.copies
            and register not in self._plan.signed_zero
            and operation.activation in {"none", "relu"}
            and (operation.activation == "none" or (register in self._plan.never_negative and before >= 0))
            and (not operation.sticky or register in self._sticky or register in self._settled)
            and self._finite(before)
            and self._finite(self._start(operation.out))
        )

    def _resolved(self, register: int, back: int) -> Tap:
        while register in self.taps:
            register, further = self.taps[register]
            back += further
        return register, back

    def _join(self, out: int, source: Tap) -> None:
        """Make ``out`` a tap of ``source``, unless both need different pasts, or too long a one."""
        register, back = source
        own, other = self._past.get(out, {}), self._past.get(register, {})
        moved = {earlier + back: value for earlier, value in own.items()}
        if register == out or max((back, *moved)) > LONGEST:
            return
        if any(other.get(earlier, value) != value for earlier, value in moved.items()):
            return
        self.taps[out] = source
        self._past.pop(out, None)
        if moved:
            self._past[register] = {**other, **moved}
