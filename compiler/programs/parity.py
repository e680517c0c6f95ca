"""``parity``: 1 after an odd number of 1s.

LSRL has no state that flips on a 1 and stays on a 0: a state's matrix is the same for
every token.  So the program counts, and takes the parity of the count.  With A = −1 it
counts the 1s at even steps less those at odd steps (up to sign), which has the parity
of all 1s and needs not grow with the prompt.  For k = digits − 1, …, 0 it then turns
back what goes beyond 2^k, x − 2·ReLU(x − 2^k), until 0 or 1 is left.  All values are
integers up to 2^digits, and small ones stay small.

The program is right while the two kinds of 1s differ by at most 2^digits; the oracle
refuses prompts beyond.  A format is right while it counts that far: float16 up to
2,048, bfloat16 up to 256.  The worst prompt, with a 1 at every other step, gets there
in twice as many tokens; for random bits the difference grows by √T/2 only.
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
    token_error,
    whole,
)

DEFAULTS = {"digits": 13}
FIRST_TURN = 16
GROWTH = 4
LAST_TURN = 4096
"""The difference turns at ±16, ∓64, … and from then on at ±4096 (or half the program's reach)."""
RISE, SPAN = 3, 8
"""In 8 tokens it changes by 3: 7/8 of the bits at one kind of step are 1, and 1/8 at the other."""


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """The number of 1s so far modulo 2.

    Raises:
        TokenError: a token that is not 0 or 1, or a 1 too many at one kind of step.
    """
    reach = 2 ** whole(parameters, "digits", DEFAULTS)
    odd, excess = 0, 0
    wanted = []
    for step, bit in enumerate(integers(tokens, 0, 1)):
        odd ^= bit
        excess += -bit if step % 2 else bit
        if abs(excess) > reach:
            raise token_error(
                f"token {step}: the 1s at even and at odd steps differ by more than {reach}",
                "raise the parameter digits: the program counts up to 2^digits",
            )
        wanted.append((mpq(odd),))
    return wanted


def prompt(generator: np.random.Generator, length: int, parameters: Parameters) -> Array:
    """Random bits whose 1s at even and odd steps differ ever wider, at last between ±4096.

    From about 13,000 tokens on the difference goes beyond what float16 counts; it never
    goes beyond the program's reach.  A longer prompt of the same seed starts with the
    shorter one.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    highest = max(1, min(LAST_TURN, 2 ** whole(parameters, "digits", DEFAULTS) // 2))
    upward = bool(generator.integers(2))
    level, turn = 0, min(FIRST_TURN, highest)
    stretches: list[npt.NDArray[np.int64]] = []
    covered = 0
    while covered < length:
        stretches.append(_stretch(generator, abs(turn - level), even=upward))
        covered += len(stretches[-1])
        level, turn = (
            turn,
            -turn if abs(turn) >= highest else -int(np.sign(turn)) * min(GROWTH * abs(turn), highest),
        )
        upward = not upward
    return np.concatenate(stretches)[:length, None]


def _stretch(generator: np.random.Generator, rise: int, *, even: bool) -> npt.NDArray[np.int64]:
    """Bits with ``rise`` more 1s at even steps than at odd ones, or the reverse, in random order."""
    slots = max(rise, -(-rise * SPAN // (2 * RISE)))
    fewer = (slots - rise) // 2
    bits = np.zeros((slots, 2), dtype=np.int64)
    bits[: rise + fewer, 0] = 1
    bits[:fewer, 1] = 1
    shuffled = generator.permuted(bits, axis=0)
    return (shuffled if even else shuffled[:, ::-1]).ravel()


def decode(outputs: Array, _parameters: Parameters) -> npt.NDArray[np.int64]:
    """0 or 1 (nearest), else -1."""
    return nearest(outputs, 1)


PROGRAM = LibraryProgram(
    name="parity",
    summary="1 after an odd number of 1s",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    defaults=DEFAULTS,
)
