"""``copy_delay``: the token of k steps ago."""

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

DEFAULTS = {"k": 3}
HIGHEST = 9


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """The token of k steps ago; 0 on the first k steps."""
    delay = whole(parameters, "k", DEFAULTS, least=0)
    digits = integers(tokens, 0, HIGHEST)
    return [(mpq(digits[step - delay] if step >= delay else 0),) for step in range(len(digits))]


def prompt(generator: np.random.Generator, length: int, _parameters: Parameters) -> Array:
    """Random digits 0..9.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    return generator.integers(0, HIGHEST + 1, size=(length, 1), dtype=np.int64)


def decode(outputs: Array, _parameters: Parameters) -> npt.NDArray[np.int64]:
    """The nearest digit, else -1."""
    return nearest(outputs, HIGHEST)


PROGRAM = LibraryProgram(
    name="copy_delay",
    summary="the token of k steps ago (a shift register)",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    defaults=DEFAULTS,
)
