"""``modulo``: (number of the step + token) modulo n.

Each token is moved on, around the circle 0..n-1, by a shift that grows by one a
step: the progressive cipher of Trithemius (an alphabet with n=26).  The shift is
read off a rotation, so every output depends on how well the rotation is kept.
"""

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
    whole,
)

DEFAULTS = {"n": 7}


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """(t + x_t) mod n at step t, counted from 0."""
    modulus = whole(parameters, "n", DEFAULTS)
    values = integers(tokens, 0, modulus - 1)
    return [(mpq((step + value) % modulus),) for step, value in enumerate(values)]


def prompt(generator: np.random.Generator, length: int, parameters: Parameters) -> Array:
    """Random integers 0..n-1.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    return generator.integers(0, whole(parameters, "n", DEFAULTS), size=(length, 1), dtype=np.int64)


def decode(outputs: Array, parameters: Parameters) -> npt.NDArray[np.int64]:
    """The nearest of 0..n-1, else -1."""
    return nearest(outputs, whole(parameters, "n", DEFAULTS) - 1)


PROGRAM = LibraryProgram(
    name="modulo",
    summary="(number of the step + token) modulo n, the step's number read off a rotation",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    defaults=DEFAULTS,
)
