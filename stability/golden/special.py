"""Cases that real bug reports describe, by name.

Each is a small program beside this file, a prompt that brings the fault out, and where
a kernel's arithmetic is part of the question, what that arithmetic gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import check_target, compile_program
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.exact import ONE, ZERO, Number
from compiler.text import parse_program
from stability.formats import BFLOAT16, FLOAT16, FLOAT32, Format
from stability.golden.case import Expectation, GoldenCase, Judge, golden_case, window_for
from stability.rounding import round_rational

Tokens = npt.NDArray[Any]
Parameters = Mapping[str, mpq]
Expected = Mapping[str, Expectation]
SHORTS = (FLOAT16, BFLOAT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialCase:
    """One of them.

    Attributes:
        name: on the command line.
        summary: what goes wrong in kernels that fail it.
        target: the architecture unless the user names one.
        prompt: (generator, length) → (length, dim) tokens that all formats hold exactly.
        expected: (tokens, parameters) → what stated arithmetics give.
        exact: whether outputs must equal the reference exactly.
        shortest: the fewest tokens that bring the fault out.
    """

    name: str
    summary: str
    target: str
    prompt: Callable[[np.random.Generator, int], Tokens]
    expected: Callable[[Tokens, Parameters], Expected] = lambda _tokens, _parameters: {}
    exact: bool = False
    shortest: int = 1


def special_program(name: str, parameters: Mapping[str, Number] | None = None) -> ir.Program:
    """The program of a special case.

    Raises:
        ConfigError: no such case, an unknown parameter, or a decay outside (0, 1].
        ProgramError: a parameter that the program cannot take.
    """
    file = f"{_known(name).name.replace('-', '_')}.lsrl"
    text = (resources.files("stability") / "golden" / file).read_text(encoding="utf-8")
    program = parse_program(text, file=file, parameters=dict(parameters or {}))
    gamma = dict(program.parameters).get("gamma")
    if gamma is not None and not 0 < gamma <= 1:
        raise ConfigError.single(f"gamma={gamma} is no decay", hint="a number above 0 and at most 1")
    return program


def special_case(
    name: str,
    *,
    length: int = 256,
    seed: int = 0,
    target: str | None = None,
    config: CompileConfig | None = None,
    parameters: Mapping[str, Number] | None = None,
) -> GoldenCase:
    """A golden case of this name (see :data:`SPECIAL`).

    Args:
        name: of the case.
        length: tokens of the prompt.
        seed: of the prompt.
        target: the architecture; default: the case's own, which is the plainest.
        config: the configuration of the compilation.
        parameters: values for the program's parameters.

    Raises:
        ConfigError: an unknown name, target or parameter, or a prompt that is too short.
        CompileRefusal: the target cannot carry the program.
    """
    special = _known(name)
    if length < special.shortest:
        raise ConfigError.single(
            f"case {name} with {length} tokens", hint=f"give a length of at least {special.shortest}"
        )
    program = special_program(name, parameters)
    chosen = check_target(target or special.target)
    model = compile_program(program, chosen, config, window=window_for(chosen, length))
    tokens = special.prompt(np.random.default_rng(seed), length)
    return golden_case(
        model,
        tokens,
        judge=Judge(),
        seed=seed,
        name=name,
        exact=special.exact,
        expected=special.expected(tokens, dict(program.parameters)),
    )


def _known(name: str) -> SpecialCase:
    found = SPECIAL.get(name)
    if found is None:
        raise ConfigError.single(f"no case {name!r}", hint="one of " + ", ".join(SPECIAL))
    return found


# ---------------------------------------------------------------- prompts


def _sixty_fourths(generator: np.random.Generator, length: int) -> Tokens:
    """Multiples of 1/64 in [0, 1]."""
    return generator.integers(0, 64, endpoint=True, size=(length, 1)) / 64


def _mostly_small(generator: np.random.Generator, length: int) -> Tokens:
    """Multiples of 1/64 up to 7/64, and, one token in four, from 1/2 to 4.

    Beside a state of 256, float16 loses the small ones, and bfloat16 all below 1.
    """
    small = generator.integers(1, 7, endpoint=True, size=(length, 1)) / 64
    large = 2.0 ** generator.integers(-1, 2, endpoint=True, size=(length, 1))
    return np.where(generator.random((length, 1)) < 1 / 4, large, small)


def _past_float16(generator: np.random.Generator, length: int) -> Tokens:
    """Tokens of four bits whose sum passes 65504 near the middle."""
    unit = 2.0 ** math.ceil(math.log2(2 * 65536 / length / 8))
    return generator.integers(4, 12, endpoint=True, size=(length, 1)) * unit


def _held_value(generator: np.random.Generator, length: int) -> Tokens:
    """(value, 1), then (0, 1) for ever; the value has eight bits, as bfloat16 has."""
    tokens = np.zeros((length, 2))
    tokens[:, 1] = 1
    tokens[0, 0] = generator.integers(129, 255, endpoint=True) / 128
    return tokens


# ---------------------------------------------------------------- what an arithmetic gives


def kept_state(tokens: Tokens, storage: Format, *, gamma: mpq = ONE, start: mpq = ZERO) -> list[tuple[float]]:
    """The states s = γ s + x with float32 operations, s rounded to ``storage`` every step."""
    decay, state = round_rational(gamma, FLOAT32), round_rational(start, storage)
    states = []
    for (token,) in tokens.tolist():
        if math.isfinite(state):
            kept = round_rational(mpq(decay) * mpq(state), FLOAT32)
            added = round_rational(mpq(kept) + mpq(token), FLOAT32) if math.isfinite(kept) else kept
            state = round_rational(mpq(added), storage) if math.isfinite(added) else added
        states.append((state,))
    return states


def _states(tokens: Tokens, parameters: Parameters) -> Expected:
    return {
        f"state-{storage.name}": Expectation(
            meaning=f"float32 operations, the state rounded to {storage.name} every step",
            outputs=kept_state(tokens, storage, gamma=parameters["gamma"], start=parameters["s0"]),
            formats=(storage.name,),
        )
        for storage in (*SHORTS, FLOAT32)
    }


def _reads(tokens: Tokens, _parameters: Parameters) -> Expected:
    states = kept_state(tokens, FLOAT32)
    return {
        f"read-{short.name}": Expectation(
            meaning=f"a float32 state, each output rounded to {short.name} once",
            outputs=[(round_rational(mpq(state), short),) for (state,) in states],
            formats=(short.name,),
        )
        for short in SHORTS
    }


SPECIAL: Mapping[str, SpecialCase] = MappingProxyType(
    {
        each.name: each
        for each in (
            SpecialCase(
                name="decay",
                summary="a decay that is rounded, or placed in the update, other than in s = gamma*s + x",
                target="linear_rnn",
                prompt=_sixty_fourths,
            ),
            SpecialCase(
                name="state16",
                summary="a state kept in 16 bits, which loses small tokens, or one that was meant to be",
                target="linear_rnn",
                prompt=_mostly_small,
                expected=_states,
                shortest=192,
            ),
            SpecialCase(
                name="fp32-into-fp16",
                summary="a float32 state beyond 65504 that is read into float16 and must show as inf",
                target="linear_rnn",
                prompt=_past_float16,
                expected=_reads,
                shortest=16,
            ),
            SpecialCase(
                name="gate-one",
                summary="a gate of 1 that comes out as 0.9999, so that a value fades which must not change",
                target="gated_linear_rnn",
                prompt=_held_value,
                exact=True,
            ),
        )
    }
)
