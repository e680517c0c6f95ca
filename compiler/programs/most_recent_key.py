"""``most_recent_key``: the value most recently written under the queried key.

A token is (key written, value, key queried); key 0 writes nothing, and a step writes
before it asks.  The output is the value of the newest write of that key among the
last ``window`` steps, this one included, or 0.

The window is the price of linear recurrences: a state's matrix is the same for every
token, so no token can overwrite what was stored.  Shift registers hold the last
writes; of those with the queried key the newest is the one before which (in the
registers) there is no other.  All values are integers up to the largest of K, V and
``window``, so every format that holds these computes it exactly at any length.
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
    nearest,
    whole,
)
from compiler.programs.rows import integer_rows

DEFAULTS = {"K": 8, "V": 26, "window": 16}
WRITES = 0.75
"""Share of a prompt's steps that write: by default about three queries of four find their key."""


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """The newest value written under the queried key within the window, else 0.

    Raises:
        TokenError: a token that is not (0..K, 0..V, 1..K).
    """
    keys, v = whole(parameters, "K", DEFAULTS), whole(parameters, "V", DEFAULTS)
    window = whole(parameters, "window", DEFAULTS)
    stored: dict[int, tuple[int, int]] = {}
    wanted = []
    for step, (key, value, asked) in enumerate(integer_rows(tokens, [(0, keys), (0, v), (1, keys)])):
        if key:
            stored[key] = (step, value)
        since, found = stored.get(asked, (-window, 0))
        wanted.append((mpq(found if step - since < window else 0),))
    return wanted


def prompt(generator: np.random.Generator, length: int, parameters: Parameters) -> Array:
    """Random writes and queries; a step that writes nothing still has a value, which does not count.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    keys, v = whole(parameters, "K", DEFAULTS), whole(parameters, "V", DEFAULTS)
    written, asked = generator.integers(1, keys + 1, size=(2, length), dtype=np.int64)
    values = generator.integers(1, v + 1, size=length, dtype=np.int64)
    return np.column_stack([np.where(generator.random(length) < WRITES, written, 0), values, asked])


def decode(outputs: Array, parameters: Parameters) -> npt.NDArray[np.int64]:
    """The nearest of 0..V (0: nothing found), else -1."""
    return nearest(outputs, whole(parameters, "V", DEFAULTS))


PROGRAM = LibraryProgram(
    name="most_recent_key",
    summary="the value most recently written under the queried key, within a window",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    defaults=DEFAULTS,
)
