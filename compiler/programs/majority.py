"""``majority``: 1 while there have been more 1s than 0s (arXiv 2406.01424, Fig. 1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.programs.base import (
    Array,
    LibraryProgram,
    Outputs,
    Parameters,
    Tokens,
    check_length,
    integers,
    nearest,
)

FIRST_TURN = 16
GROWTH = 4
LAST_TURN = 4096
"""The lead turns at ±16, ∓64, … and from then on at ±4096: beyond 2048, where float16 stops counting."""
DRIFT = 0.75
"""Mean change of the lead per token between two turns, so that it moves on, though never smoothly."""


def oracle(tokens: Tokens, _parameters: Parameters) -> Outputs:
    """1 at each step up to which more tokens were 1 than 0, else 0."""
    lead = 0
    wanted = []
    for token in integers(tokens, 0, 1):
        lead += 1 if token else -1
        wanted.append((mpq(1 if lead > 0 else 0),))
    return wanted


def _turns(length: int) -> list[int]:
    """Mean lengths, in tokens, of the stretches between turns, covering ``length`` tokens."""
    stretches: list[int] = []
    level, turn, covered = 0, FIRST_TURN, 0
    while covered < length:
        stretches.append(round(abs(turn - level) / DRIFT))
        covered += stretches[-1]
        level = turn
        turn = -level * GROWTH if abs(level) < LAST_TURN else -level
    return stretches


def prompt(generator: np.random.Generator, length: int, _parameters: Parameters) -> Array:
    """Random bits whose lead swings through 0 ever wider, at last between about ±4096.

    The answer keeps changing over the whole prompt, and from about 9,000 tokens on
    the lead goes beyond what float16 counts.  A longer prompt of the same seed
    starts with the shorter one.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    upward = bool(generator.integers(2))
    stretches = _turns(length)
    rises = np.arange(len(stretches)) % 2 == (0 if upward else 1)
    chance = np.repeat(np.where(rises, (1 + DRIFT) / 2, (1 - DRIFT) / 2), stretches)[:length]
    return (generator.random(length) < chance).astype(np.int64)[:, None]


def decode(outputs: Array, _parameters: Parameters) -> npt.NDArray[np.int64]:
    """0 or 1 (nearest), else -1."""
    return nearest(outputs, 1)


PROGRAM = LibraryProgram(
    name="majority",
    summary="1 while there have been more 1s than 0s",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
)
