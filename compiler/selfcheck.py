"""The compiler checking itself: each step of one compilation against the one before.

On random prompts within the Input's declared range, the lowered program, its path and
the target's weights are run in exact rationals.  Any difference is a bug of the
compiler, and is reported as one with the step that made it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from gmpy2 import mpq

from compiler import ir
from compiler.errors import BudgetError, LsrlError
from compiler.evaluate import evaluate
from compiler.exact import Vector
from compiler.interpreter import trace
from compiler.lowering import Lowered
from compiler.model import Model
from compiler.path import Path

PROMPT = 12
"""Tokens per prompt: a rotation's rationals gain 512 bits a step."""
GRID = 8
"""Real tokens are multiples of 1/8."""


class CompilerBugError(LsrlError):
    """A step of the compiler changed what the program computes."""


def random_prompts(node: ir.Node, count: int, seed: int) -> list[list[Vector]]:
    """Prompts of exact tokens within an Input's declared range."""
    draw = random.Random(seed)  # noqa: S311 -- test inputs, not secrets
    declared = node.declared or ir.Declaration()
    low = declared.lo if declared.lo is not None else (declared.hi if declared.hi is not None else mpq(0)) - 3
    high = declared.hi if declared.hi is not None else low + 6
    grid = 1 if declared.integer else GRID
    while -((-low * grid) // 1) > (high * grid) // 1:
        grid *= 2  # a narrow range holds no multiple of 1/8
    first, last = int(-((-low * grid) // 1)), int((high * grid) // 1)
    return [
        [tuple(mpq(draw.randint(first, last), grid) for _ in range(node.dim)) for _ in range(PROMPT)]
        for _ in range(count)
    ]


def path_model(path: Path, output_dim: int) -> Model:
    """The path itself as a model, to be run."""
    return Model(
        target="path",
        name="path",
        input_dim=path.input_dim,
        output_dim=output_dim,
        layers=tuple(each.layer for each in path.layers),
        readout_wires=(len(path.layers),),
        readout=path.readout,
        readout_bias=path.readout_bias,
    )


def _promised_outputs(program: ir.Program, tokens: Sequence[Vector]) -> list[Vector]:
    """The exact outputs up to the first step at which a declaration of the author's is false.

    From there on a compiled model owes nothing: it was made believing the declaration.
    """
    outputs: list[Vector] = []
    declared = [(index, node.declared) for index, node in enumerate(program.nodes) if node.declared]
    for values in trace(program, tokens):
        if not all(_keeps(said, value) for index, said in declared for value in values[index]):
            break
        outputs.append(values[program.output])
    return outputs


def _keeps(said: ir.Declaration, value: mpq) -> bool:
    below = said.lo is not None and value < said.lo
    above = said.hi is not None and value > said.hi
    return not (below or above or (said.integer and value.denominator != 1))


def check_compilation(
    lowered: Lowered, stages: Sequence[tuple[str, Model]], *, prompts: int, seed: int = 0
) -> None:
    """Hold every stage to the lowered program.

    Args:
        lowered: the program over the six operations.
        stages: (name, model) in the order in which they were made.
        prompts: how many random prompts to run.
        seed: of the prompts.

    Raises:
        CompilerBugError: a stage gives another output; names it, the step and both values.
    """
    program = lowered.program
    for tokens in random_prompts(program.nodes[0], prompts, seed):
        try:
            wanted = _promised_outputs(program, tokens)
        except BudgetError:
            return  # rationals outgrow the budget: exact arithmetic cannot judge this program
        for name, model in stages:
            for step, (got, want) in enumerate(
                zip(evaluate(model, tokens[: len(wanted)]), wanted, strict=True)
            ):
                if got != want:
                    raise CompilerBugError.single(
                        f"compiler bug: after {name} the output at step {step} of a random prompt differs "
                        f"by up to {float(max(abs(a - b) for a, b in zip(got, want, strict=True))):.6g}",
                        hint=f"please report it with the program and seed {seed}",
                    )
