"""``linear_attention``: causal linear self-attention, unnormalised (arXiv 2309.01775).

    y_t = (Σ_{s≤t} γ^{t−s} v_s k_sᵀ) q_t,   k, v, q linear in the token x

The state S_t = γ S_{t−1} + v_t k_tᵀ is that of every linear-attention kernel.  The
matrices are examples in thirds (see the source), so floats round the state at every
step.  With γ = 1 nothing is forgotten: :func:`prompt` takes back what it wrote, so that
the true state returns to 0 again and again while the error of a float's stays.

With γ < 1 exact outputs have denominators that grow by a power of γ per step: keep
prompts to some thousand tokens where the oracle is asked.
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
    config_error,
    whole,
)
from compiler.programs.rows import integer_rows, levels

DEFAULTS = {"d": 4, "d_k": 2, "d_v": 2, "gamma": 1}
HIGHEST = 3
"""Tokens are integers from −3 to 3."""
HELD = 16
"""A prompt writes so many tokens and then takes them back."""
TOLERANCE = 0.25

Thirds = list[list[int]]


def matrices(parameters: Parameters) -> tuple[Thirds, Thirds, Thirds]:
    """Three times the key, the value and the query matrix of the program, rows of d integers.

    Raises:
        ConfigError: a dimension that is not a whole number, or d below 2.
    """
    d = whole(parameters, "d", DEFAULTS, least=2)
    keys, values = whole(parameters, "d_k", DEFAULTS), whole(parameters, "d_v", DEFAULTS)
    return (
        [[0 if j % 2 else 1 + (i + j) % 3 for j in range(d)] for i in range(keys)],
        [[1 + (2 * i + j) % 3 if j % 2 else 0 for j in range(d)] for i in range(values)],
        [[1 + (i + 2 * j) % 3 for j in range(d)] for i in range(keys)],
    )


def decay(parameters: Parameters) -> mpq:
    """γ.

    Raises:
        ConfigError: it is outside [0, 1].
    """
    gamma = mpq(parameters.get("gamma", DEFAULTS["gamma"]))
    if not 0 <= gamma <= 1:
        raise config_error(f"parameter gamma={gamma}", "gamma lies between 0 and 1")
    return gamma


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """The attention sum at every step.

    Raises:
        TokenError: a token that is not d integers from −3 to 3.
        ConfigError: a parameter out of its bounds.
    """
    to_key, to_value, to_query = (np.array(matrix, dtype=np.int64) for matrix in matrices(parameters))
    gamma = decay(parameters)
    d = to_key.shape[1]
    x = np.array(integer_rows(tokens, [(-HIGHEST, HIGHEST)] * d), dtype=np.int64).reshape(-1, d)
    written = (x @ to_value.T)[:, :, None] * (x @ to_key.T)[:, None, :]
    numerators = (_running_sum(written, gamma) * (x @ to_query.T)[:, None, :]).sum(axis=2)
    return [tuple(mpq(numerator, 27) for numerator in row) for row in numerators.tolist()]


def _running_sum(written: npt.NDArray[np.int64], gamma: mpq) -> Array:
    """Σ_{s≤t} γ^{t−s} written_s at every t, exactly."""
    if gamma == 1:
        return np.cumsum(written, axis=0)
    sums: Array = written.astype(object)
    for step in range(1, len(sums)):
        sums[step] += gamma * sums[step - 1]
    return sums


def prompt(generator: np.random.Generator, length: int, parameters: Parameters) -> Array:
    """Random tokens, each taken back within :data:`HELD` writes, cut to ``length``.

    The prompt writes HELD random tokens, then gives the same ones in another order with
    their odd entries (which make the values) negated, and so on.  With γ = 1 the true
    state is 0 after every 2·HELD tokens.  A longer prompt of the same seed starts with
    the shorter one.

    Raises:
        ConfigError: ``length`` is below 1, or d below 2.
    """
    check_length(length)
    d = whole(parameters, "d", DEFAULTS, least=2)
    turn = np.where(np.arange(d) % 2, -1, 1)
    rounds = []
    for _ in range(-(-length // (2 * HELD))):
        written = generator.integers(-HIGHEST, HIGHEST + 1, size=(HELD, d), dtype=np.int64)
        rounds += [written, generator.permutation(written) * turn]
    return np.concatenate(rounds)[:length]


def _bound(parameters: Parameters) -> float:
    """What no output of :func:`prompt` exceeds: HELD writes, read by one query."""
    reach = [HIGHEST * max(sum(row) for row in matrix) for matrix in matrices(parameters)]
    return HELD * reach[0] * reach[1] * reach[2] * whole(parameters, "d_k", DEFAULTS) / 27


def decode(outputs: Array, parameters: Parameters) -> npt.NDArray[np.int64]:
    """The outputs' level in steps of :data:`TOLERANCE`, from the lowest that a prompt can reach; else -1.

    Only to show them side by side with symbols: outputs are compared by tolerance.
    """
    return levels(outputs, _bound(parameters), TOLERANCE)


PROGRAM = LibraryProgram(
    name="linear_attention",
    summary="causal linear self-attention: a matrix state of value-key products, read by queries",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    decoded=False,
    tolerance=TOLERANCE,
    defaults=DEFAULTS,
)
