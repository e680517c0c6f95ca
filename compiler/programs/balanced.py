"""``balanced``: whether the brackets so far are balanced.

Tokens are 1 (opens), −1 (closes) and 0 (any other character); the output is 1 where
the depth is 0 and has never been below 0.  The depth is an accumulator, so a format
is right as long as it counts up to the depth that a prompt reaches; one bracket lost
there makes every later answer wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

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

RUN = 8
"""Slopes are made of runs of 8 brackets, 7 one way and 1 the other, in random order."""
FIRST_HEIGHT, GROWTH, LAST_HEIGHT = 2, 4, 683
"""Runs up the tall mountains: 2, 8, 32, 128, 512 and from then on 683, about 4,100 deep."""
FOOTHILLS = 16
"""Small mountains after a tall one, and as many again as half its runs."""


def oracle(tokens: Tokens, _parameters: Parameters) -> Outputs:
    """1 at each step at which the depth is 0 and has never been below 0, else 0."""
    depth, lowest = 0, 0
    wanted = []
    for token in integers(tokens, -1, 1):
        depth += token
        lowest = min(lowest, depth)
        wanted.append((mpq(1 if depth == lowest == 0 else 0),))
    return wanted


def _heights(generator: np.random.Generator) -> Iterator[int]:
    """Runs up of one mountain after the other, without end."""
    tall = FIRST_HEIGHT
    while True:
        yield tall
        yield from generator.integers(0, 3, size=FOOTHILLS + tall // 2).tolist()
        tall = min(GROWTH * tall, LAST_HEIGHT)


def _mountain(generator: np.random.Generator, runs: int) -> npt.NDArray[np.int64]:
    """A bracket that is closed at last, and within it ``runs`` runs up and as many down.

    A run goes at most one below where it starts or ends, so the depth never falls below 0.
    """
    up = np.tile(np.where(np.arange(RUN) == 0, -1, 1), (runs, 1))
    slopes = generator.permuted(np.concatenate([up, -up]), axis=1)
    return np.concatenate([[1], slopes.ravel(), [-1]])


def prompt(generator: np.random.Generator, length: int, _parameters: Parameters) -> Array:
    """Brackets that never close too early, in mountains that return to depth 0, cut to ``length``.

    Tall mountains grow until they are about 4,100 deep; from about 8,000 tokens on they go
    beyond the 2,048 that float16 counts.  Small ones between them keep the answer changing.
    A longer prompt of the
    same seed starts with the shorter one.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    parts: list[npt.NDArray[np.int64]] = []
    reached = 0
    for runs in _heights(generator):
        parts.append(_mountain(generator, runs))
        reached += len(parts[-1])
        if reached >= length:
            break
    return np.concatenate(parts)[:length, None]


def decode(outputs: Array, _parameters: Parameters) -> npt.NDArray[np.int64]:
    """0 or 1 (nearest), else -1."""
    return nearest(outputs, 1)


PROGRAM = LibraryProgram(
    name="balanced",
    summary="1 while the brackets so far are balanced",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
)
