"""``dictionary_exact``: the map of ``dictionary``, computed with small integers only.

Tokens, oracle and decoder are those of :mod:`compiler.programs.dictionary`.  No value
exceeds the larger of n and V in size, and none grows with the prompt, so a format
that holds these integers computes it without rounding, at any length: the control that
tells errors of an engine apart from errors of a construction.
"""

from __future__ import annotations

import numpy as np
from gmpy2 import mpq

from compiler.programs import dictionary
from compiler.programs.base import Array, LibraryProgram, Parameters
from compiler.programs.dictionary import AnswerAt, decode, oracle

DEFAULTS = {"n": 3, "V": 26}


def prompt(
    generator: np.random.Generator,
    length: int,
    parameters: Parameters,
    *,
    answer_at: AnswerAt | int = "early",
) -> Array:
    """The same random dictionary as :func:`compiler.programs.dictionary.prompt`, of any length.

    Raises:
        ConfigError: a length below 1, an ``answer_at`` that names no pair, or more
            than one pair where V^n = 1.
    """
    unbounded = {**parameters, "max_length": mpq(max(1, length))}
    return dictionary.prompt(generator, length, unbounded, answer_at=answer_at)


PROGRAM = LibraryProgram(
    name="dictionary_exact",
    summary="the dictionary with small integers only: exact in every format, at any length",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    defaults=DEFAULTS,
)
