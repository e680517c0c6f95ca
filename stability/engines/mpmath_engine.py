"""Arbitrary precision: the values of mpmath numbers, by plain integer arithmetic.

A value is man·2^exp with an integer ``man``.  Every dot product is exact (products,
alignment, sum) and is rounded once, to nearest, ties to even, at the working precision;
so is every elementwise product, sigmoid and tanh.  No term can be lost, however far exponents lie apart,
and there is no overflow.  Dyadic constants are exact, others are rounded once.

Operations without feedback through time run over a block of columns (steps × sequences)
at once: a register's block shares one exponent, so that a dot product is a chain of
integer additions.  The rest, and blocks whose exponents lie too far apart to share one,
run column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import mul, rshift
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq, mpz
from mpmath import MPContext
from mpmath.libmp import MPZ, from_man_exp

from compiler.errors import ConfigError
from compiler.model import Model
from stability.activations import Function, activated_scaled
from stability.engines import sums
from stability.engines.base import Segment, Session
from stability.engines.mpmath_blocks import Block, aligned, joined, plus
from stability.engines.operations import UNIT, Activation, Affine, Cell, Convolution, Operation, Product, Sum
from stability.engines.plan import Plan, build_plan
from stability.engines.schedule import Group
from stability.engines.sums import (
    ONE,
    ZERO,
    Row,
    Scaled,
    Source,
    Values,
    constant,
    dot,
    nearest,
    scaled,
)
from stability.formats import MpmathFormat
from stability.policy import AnyPolicy

COLUMNS = 256  # steps × sequences that one pass advances


class MpmathEngine:
    """Executes plans at any number of digits; the outputs are ``mpf`` objects."""

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`."""
        if not isinstance(fmt, MpmathFormat):
            raise ConfigError.single(
                f"engine 'mpmath' cannot run {fmt.name}", hint="mpmath50, or mpmath(dps=…) for other digits"
            )
        return _MpmathSession(build_plan(model, fmt, keep), fmt)


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """An affine operation with scaled constants: (register, man, exp, delayed) per term."""

    out: int
    bias: Scaled
    terms: tuple[tuple[int, mpz, int, bool], ...]
    activation: Activation


@dataclass(frozen=True, slots=True, eq=False)
class _Filter:
    """A convolution with scaled constants: per lag (register, man, exp)."""

    out: int
    bias: Scaled
    lags: tuple[tuple[tuple[int, mpz, int], ...], ...]
    period: int
    registers: tuple[int, ...]

    def weights(self, count: int) -> list[tuple[int, Values]]:
        """The weights at the first ``count`` lags, for every register (as often as a lag reads it)."""
        found: dict[tuple[int, int], Values] = {}
        for lag in range(count):
            k = lag
            if lag >= len(self.lags):
                if not self.period:
                    break
                k = len(self.lags) - self.period + (lag - len(self.lags)) % self.period
            often: dict[int, int] = {}
            for register, man, exp in self.lags[k]:
                often[register] = often.get(register, 0) + 1
                key = (register, often[register])
                mans, exps = found.setdefault(key, ([ZERO] * count, [0] * count))
                mans[lag], exps[lag] = man, exp
        return [(register, values) for (register, _), values in found.items()]


_Prepared = _Sum | Product | Cell | _Filter


class _MpmathSession:
    def __init__(self, plan: Plan, fmt: MpmathFormat) -> None:
        self._plan = plan
        self._precision = fmt.precision
        self._context = MPContext()
        self._context.dps = fmt.dps
        self._groups = [(group, [self._prepare(op) for op in group.operations]) for group in plan.groups]
        self._carry: dict[int, Block] = {}
        self._blocks: dict[int, Block] = {}
        self._width = 0
        self._seen = 0
        self._past: dict[int, Values] = {}  # what convolutions have seen, from the first token on

    def _prepare(self, operation: Operation) -> _Prepared:
        if isinstance(operation, Convolution):
            bias = constant(operation.bias, self._precision)
            lags = tuple(
                tuple((term.register, *constant(term.weight, self._precision)) for term in lag)
                for lag in operation.lags
            )
            return _Filter(operation.out, bias, lags, operation.period, operation.registers)
        if not isinstance(operation, Affine):
            assert not isinstance(operation, Sum)  # in one format nothing is converted
            return operation
        terms = tuple(
            (term.register, *constant(term.weight, self._precision), term.delayed) for term in operation.terms
        )
        bias = constant(operation.bias, self._precision)
        return _Sum(operation.out, bias, terms, operation.activation)

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        batch, steps = tokens.shape[:2]
        if not self._width:
            self._width = batch
            for register, value in self._plan.initial.items():
                man, exp = constant(value, self._precision)
                self._carry[register] = Block([man] * batch, exp, man.bit_length())
        wanted = {-1: self._plan.outputs, **self._plan.wires}
        taken = {key: np.empty((batch, steps, len(rows)), dtype=object) for key, rows in wanted.items()}
        block = max(1, COLUMNS // batch)
        for start in range(0, steps, block):
            here = slice(start, min(start + block, steps))
            self._advance(tokens[:, here])
            for key, registers in wanted.items():
                for column, register in enumerate(registers):
                    taken[key][:, here, column] = self._numbers(register)
        status = np.zeros((batch, steps), dtype=np.uint8)
        return Segment(outputs=taken.pop(-1), status=status, wires=taken)

    def _numbers(self, register: int) -> npt.NDArray[np.object_]:
        """A register's block as mpf objects, (width, steps)."""
        block = self._blocks[register]
        make, known = self._context.make_mpf, {ZERO: self._context.zero}
        values = np.empty(len(block.mans), dtype=object)
        for c, (man, exp) in enumerate(zip(block.mans, block.each(), strict=True)):
            values[c] = make(from_man_exp(MPZ(man), exp)) if man else known[ZERO]
        return values.reshape(-1, self._width).T

    def _advance(self, tokens: npt.NDArray[Any]) -> None:
        self._blocks = blocks = {}
        columns = tokens.transpose(2, 1, 0).reshape(tokens.shape[2], -1)
        for register, column in zip(self._plan.tokens, columns, strict=True):
            pairs = [scaled(mpq(value), self._precision) for value in column.tolist()]
            blocks[register] = joined([man for man, _ in pairs], [exp for _, exp in pairs])
        for group, operations in self._groups:
            self._run(group, operations, columns.shape[1])
        self._seen += columns.shape[1]
        for register in self._carry:
            self._carry[register] = self._last_step(blocks[register])

    def _last_step(self, block: Block) -> Block:
        width = self._width
        exps = None if block.exps is None else block.exps[-width:]
        mans = block.mans[-width:]
        return joined(mans, exps) if exps else Block(mans, block.exp, block.bits)

    def _run(self, group: Group[Operation], operations: list[_Prepared], count: int) -> None:
        if group.sequential:
            self._column_by_column(operations, count)
            return
        for operation in operations:
            match operation:
                case _Sum():
                    block = self._sum(operation, count)
                case Product():
                    block = self._product(operation)
                case _Filter():
                    block = self._convolution(operation, count)
                case Cell():
                    block = None  # reads its own past: never in such a group
                case _:
                    assert_never(operation)
            if block is None:
                self._column_by_column([operation], count)
            else:
                self._blocks[operation.out] = block

    def _before(self, register: int) -> Block:
        """A register's block one step earlier."""
        carry, block = self._carry[register], self._blocks[register]
        if carry.exps is None and block.exps is None and carry.exp == block.exp:
            mans = carry.mans + block.mans[: -self._width]
            return Block(mans, carry.exp, max(carry.bits, block.bits))
        return joined(carry.mans + block.mans[: -self._width], carry.each() + block.each()[: -self._width])

    def _sum(self, operation: _Sum, count: int) -> Block | None:
        """A dot product over the block; ``None`` if exponents are too far apart."""
        sources: list[tuple[Block, mpz, int]] = []
        for register, man, exp, delayed in operation.terms:
            block = self._before(register) if delayed else self._blocks[register]
            if block.exps is not None:
                return None
            if block.bits:
                sources.append((block, man, block.exp + exp))
        bias, bias_exp = operation.bias
        exps = [exp for _, _, exp in sources] + ([bias_exp] if bias else [])
        if not exps:
            return self._activated(Block([ZERO] * count, 0, 0), operation.activation)
        low = min(exps)
        if max(exps) - low > sums.FARTHEST:
            return None
        total: Iterator[mpz] | None = repeat(bias << bias_exp - low, count) if bias else None
        bits = bias.bit_length() + bias_exp - low if bias else 0
        for block, man, exp in sources:
            factor = man << exp - low
            bits = max(bits, block.bits + factor.bit_length() - (abs(factor) == 1)) + 1
            total = plus(total, block.mans, factor)
        assert total is not None
        relu = operation.activation == "relu"
        mans = [man if man > 0 else ZERO for man in total] if relu else list(total)
        return self._activated(self._round(mans, low, bits), operation.activation)

    def _product(self, operation: Product) -> Block | None:
        left, right = self._blocks[operation.left], self._blocks[operation.right]
        if operation.delayed:
            right = self._before(operation.right)
        if left.exps is not None or right.exps is not None:
            return None
        if not left.bits or not right.bits:
            return self._activated(Block([ZERO] * len(left.mans), 0, 0), operation.activation)
        mans = list(map(mul, left.mans, right.mans))
        if operation.activation == "relu":
            mans = [max(man, ZERO) for man in mans]
        block = self._round(mans, left.exp + right.exp, left.bits + right.bits)
        return self._activated(block, operation.activation)

    def _convolution(self, operation: _Filter, count: int) -> Block:
        """A convolution over the block, column by column: exact sums, each rounded once."""
        width = self._width
        end = self._seen + count
        for register in operation.registers:
            mans, exps = self._past.setdefault(register, ([], []))
            block = self._blocks[register]
            mans[self._seen :], exps[self._seen :] = block.mans, block.each()
        past = self._past | {UNIT: ([ONE] * end, [0] * end)}
        sources = [aligned(weights, past[register]) for register, weights in operation.weights(end // width)]
        values = [
            sums.short(*self._filtered(operation.bias, sources, column), self._precision)
            for column in range(self._seen, end)
        ]
        return joined([man for man, _ in values], [exp for _, exp in values])

    def _filtered(self, bias: Scaled, sources: list[tuple[Values, Values]], column: int) -> Scaled:
        """The sum of one column: every lag of every source."""
        terms = [bias]
        width = self._width
        for (mans, exps), (past, past_exps) in sources:
            backwards = slice(column, None, -width)
            if len(exps) == 1 and len(past_exps) == 1:
                terms.append((sum(map(mul, past[backwards], mans), ZERO), exps[0] + past_exps[0]))
            else:
                pairs = zip(past[backwards], past_exps[backwards], mans, exps, strict=False)
                terms += [(man * weight, exp + own) for man, exp, weight, own in pairs]
        return sums.far_sum(terms, self._precision, sums.FARTHEST)

    def _round(self, mans: list[mpz], exp: int, bits: int) -> Block:
        """Round each value to the working precision, if the bound says that it may need it."""
        if not any(mans):
            return Block(mans, 0, 0)
        precision = self._precision
        if bits <= precision:
            return Block(mans, exp, bits)
        lengths = [man.bit_length() for man in mans]
        longest = max(lengths)
        if longest > precision:
            mans = [
                man if length <= precision else nearest(man, length - precision) << length - precision
                for man, length in zip(mans, lengths, strict=True)
            ]
        together = ZERO
        for man in mans:
            together |= man
        spare = together.bit_scan1() or 0
        if spare:
            mans = list(map(rshift, mans, repeat(spare)))
        return Block(mans, exp + spare, longest + 1 - spare)

    def _activated(self, block: Block, activation: Activation) -> Block:
        """A block after its sigmoid or tanh, if that is its activation; equal values are computed once."""
        function = _smooth(activation)
        if function is None:
            return block
        pairs = list(zip(block.mans, block.each(), strict=True))
        known = {pair: activated_scaled(function, pair, self._precision) for pair in set(pairs)}
        return joined([known[pair][0] for pair in pairs], [known[pair][1] for pair in pairs])

    def _column_by_column(self, operations: list[_Prepared], count: int) -> None:
        """Operations that feed back through time, or whose exponents are far apart."""
        width, precision = self._width, self._precision
        made: dict[int, Values] = {}
        for operation in operations:
            carry = self._carry.get(operation.out)
            start: Values = ([ZERO] * width, [0] * width)
            made[operation.out] = start if carry is None else (list(carry.mans), list(carry.each()))
        rows = [
            (*made[operation.out], self._bound(operation, made), _smooth(_activation(operation)))
            for operation in operations
        ]
        for c in range(count):
            for mans, exps, row, function in rows:
                man, exp = dot(row, c, precision)
                if function is not None:
                    man, exp = activated_scaled(function, (man, exp), precision)
                mans.append(man)
                exps.append(exp)
        for register, (mans, exps) in made.items():
            self._blocks[register] = joined(mans[width:], exps[width:])

    def _bound(self, operation: _Prepared, made: dict[int, Values]) -> Row:
        """An operation with the lists that it reads, and where column 0 begins in them."""
        width = self._width

        def now(register: int) -> Source:
            if register in made:
                return (*made[register], width)
            block = self._blocks[register]
            return block.mans, block.each(), 0

        def before(register: int) -> Source:
            if register in made:
                return (*made[register], 0)
            block = self._before(register)
            return block.mans, block.each(), 0

        match operation:
            case _Sum():
                terms = [
                    (man, exp, *(before(register) if delayed else now(register)))
                    for register, man, exp, delayed in operation.terms
                ]
                return Row(operation.bias, terms, [], operation.activation == "relu")
            case Product():
                right = (before if operation.delayed else now)(operation.right)
                relu = operation.activation == "relu"
                return Row((ZERO, 0), [], [(*now(operation.left), *right)], relu=relu)
            case Cell():
                kept = (*now(operation.forget), *before(operation.out))
                new = (*now(operation.entry), *now(operation.candidate))
                return Row((ZERO, 0), [], [kept, new], relu=False)
            case _Filter():
                raise AssertionError("a convolution has no feedback")
            case _:
                assert_never(operation)


def _activation(operation: _Prepared) -> Activation:
    return operation.activation if isinstance(operation, _Sum | Product) else "none"


def _smooth(activation: Activation) -> Function | None:
    """The function that is computed after rounding; a ReLU is taken before."""
    return activation if activation == "sigmoid" or activation == "tanh" else None  # noqa: PLR1714 -- narrows
