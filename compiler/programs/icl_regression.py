"""``icl_regression``: in-context linear regression by one gradient step (arXiv 2212.07677).

A token is (x, y): d integers from −2 to 2 and an integer from −4d to 4d.  At every step
the output is the prediction w·x for this token's x from the pairs BEFORE it, with w
one step of size η from w = 0 down the loss ½ Σ (y_i − w·x_i)²:  w = η Σ y_i x_i.  A
query is a token with y = 0, which adds nothing.

η is part of the state's input, as in a kernel that stores the weights, so floats round
the weights at every step: the error that is measured.
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

DEFAULTS = {"d": 2, "eta": mpq(1, 30)}
"""η = 1/30 is near 1/(PAIRS·E[x²]) = 1/32, where one step about finds the weights, and no binary fraction."""
HIGHEST = 2
"""Entries of x, and of the weights to be found, are integers from −2 to 2."""
PAIRS = 16
"""Pairs of each task of a prompt."""
QUERIES = 8
"""Queries (y = 0) that follow them."""
TOLERANCE = 0.01


def step_size(parameters: Parameters) -> mpq:
    """η.

    Raises:
        ConfigError: it is not positive.
    """
    eta = mpq(parameters.get("eta", DEFAULTS["eta"]))
    if eta <= 0:
        raise config_error(f"parameter eta={eta}", "eta is a positive number")
    return eta


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """The prediction of one explicit gradient step on the pairs before each token.

    Raises:
        TokenError: a token that is not d integers from −2 to 2 and one from −4d to 4d.
        ConfigError: a parameter out of its bounds.
    """
    d, eta = whole(parameters, "d", DEFAULTS), step_size(parameters)
    reach = 2 * HIGHEST * d
    descent = [0] * d  # minus the gradient of the loss at w = 0
    wanted = []
    for *x, y in integer_rows(tokens, [(-HIGHEST, HIGHEST)] * d + [(-reach, reach)]):
        wanted.append((eta * sum(g * entry for g, entry in zip(descent, x, strict=True)),))
        descent = [g + y * entry for g, entry in zip(descent, x, strict=True)]
    return wanted


def prompt(generator: np.random.Generator, length: int, parameters: Parameters) -> Array:
    """Tasks that are learnt, asked about and unlearnt, cut to ``length`` tokens.

    Each task draws weights from −2..2 and gives :data:`PAIRS` pairs (x, weights·x), then
    :data:`QUERIES` queries, then the pairs again in another order with y negated, which
    takes them back: before every task the true sum is 0, so predictions never grow while
    the error of a float's state stays.  A longer prompt of the same seed starts with the
    shorter one.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    d = whole(parameters, "d", DEFAULTS)
    undo = np.array([1] * d + [-1])
    tasks = []
    for _ in range(-(-length // (2 * PAIRS + QUERIES))):
        weights = generator.integers(-HIGHEST, HIGHEST + 1, size=d, dtype=np.int64)
        x = generator.integers(-HIGHEST, HIGHEST + 1, size=(PAIRS + QUERIES, d), dtype=np.int64)
        y = np.where(np.arange(PAIRS + QUERIES) < PAIRS, x @ weights, 0)
        task = np.column_stack([x, y])
        tasks += [task, generator.permutation(task[:PAIRS]) * undo]
    return np.concatenate(tasks)[:length]


def decode(outputs: Array, parameters: Parameters) -> npt.NDArray[np.int64]:
    """The outputs' level in steps of :data:`TOLERANCE`, from the lowest that a prompt can reach; else -1.

    Only to show them side by side with symbols: outputs are compared by tolerance.
    """
    d = whole(parameters, "d", DEFAULTS)
    bound = float(step_size(parameters)) * PAIRS * HIGHEST**4 * d**2
    return levels(outputs, bound, TOLERANCE)


PROGRAM = LibraryProgram(
    name="icl_regression",
    summary="in-context linear regression: predicts by one gradient step on the pairs so far",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    decoded=False,
    tolerance=TOLERANCE,
    defaults=DEFAULTS,
)
