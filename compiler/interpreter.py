"""The oracle: a program run directly in exact rationals, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from compiler import ir
from compiler.config import CompileConfig
from compiler.errors import BudgetError
from compiler.exact import ZERO, Vector
from compiler.lowering import lower
from compiler.model import exact_tokens

BIT_BUDGET = 1 << 20
"""Longest numerator or denominator, in bits, before exact arithmetic gives up."""


def interpret(
    program: ir.Program, tokens: Sequence[Sequence[object]], config: CompileConfig | None = None
) -> list[Vector]:
    """The program's exact output at every step of a prompt.

    Args:
        program: any program; its idioms are expanded under ``config`` (default ``stable``).
        tokens: T rows of ``program.input_dim`` numbers (floats are read as their decimals).
        config: the compilation's configuration.

    Raises:
        TokenError: a token of the wrong width or not finite.
        BudgetError: a value outgrew the bit budget (rotations gain 512 bits a step).
    """
    lowered = lower(program, config).program
    return [values[lowered.output] for values in trace(lowered, exact_tokens(tokens, program.input_dim))]


def trace(program: ir.Program, tokens: Sequence[Vector]) -> Iterator[list[Vector]]:
    """The value of every node at every step, for a program without idioms."""
    states = {i: node.initial for i, node in enumerate(program.nodes) if isinstance(node, ir.LinState)}
    for step, token in enumerate(tokens):
        values: list[Vector] = []
        for index, node in enumerate(program.nodes):
            values.append(_value(node, index, token, values, states))
            if isinstance(node, ir.Multi):  # squares of squares outgrow memory within one step
                _check_budget(program, {index: values[-1]}, step)
        _check_budget(program, states, step)
        yield values


def _value(
    node: ir.Node, index: int, token: Vector, values: list[Vector], states: dict[int, Vector]
) -> Vector:
    match node:
        case ir.Input():
            return token
        case ir.Linear(source=source, matrix=matrix, bias=bias):
            return tuple(a + b for a, b in zip(matrix.times(values[source]), bias, strict=True))
        case ir.ReLU(source=source):
            return tuple(max(v, ZERO) for v in values[source])
        case ir.Concat(sources=sources):
            return tuple(v for source in sources for v in values[source])
        case ir.Multi(source=source, dim=dim):
            both = values[source]
            return tuple(both[i] * both[dim + i] for i in range(dim))
        case ir.LinState(source=source, state_matrix=own, input_matrix=entry, bias=bias):
            kept, fed = own.times(states[index]), entry.times(values[source])
            states[index] = tuple(a + u + b for a, u, b in zip(kept, fed, bias, strict=True))
            return states[index]
        case ir.Idiom():
            raise AssertionError("idioms are lowered before a program is run")
        case _:
            assert_never(node)


def _check_budget(program: ir.Program, states: dict[int, Vector], step: int) -> None:
    for index, state in states.items():
        for value in state:
            bits = max(value.numerator.bit_length(), value.denominator.bit_length())
            if bits > BIT_BUDGET:
                raise BudgetError.single(
                    f"{program.label(index)} needs {bits} bits at step {step}",
                    span=program.nodes[index].span,
                    hint="run it in mpmath instead: the reference ladder certifies its digits",
                )
