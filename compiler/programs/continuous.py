"""``continuous``: universal in-context approximation of f: [0,1]^d_in → R^d_out.

After arXiv 2406.01424, Listing 1.  The first token is (query, zeros), every other one
a cell of a grid with N cells a side: (δ, its d_in lower corners, the d_out values),
δ = 1/N.  The output adds up the values of the cells with lower < query ≤ lower + δ.
For a function of Lipschitz constant L and its values at the cells' centres, the
output is off by at most δ·L·√d_in/2 once the query's cell has been read.

The program itself compares by ramps of width 1/μ: it is right for queries that lie
at least 1/μ above the lower corners of their cell, and gives less or nothing for
others (and for a query at 0).  The oracle has no ramps; :func:`prompt` keeps the
query far enough inside its cell for every μ ≥ 900.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.programs.base import (
    UNREADABLE,
    Array,
    LibraryProgram,
    Outputs,
    Parameters,
    Tokens,
    check_length,
    config_error,
    floats,
    rational,
    token_error,
    whole,
)

DEFAULTS = {"d_in": 2, "d_out": 2}
TOLERANCE = 1e-3
MOST_CELLS = 225
"""Cells of a prompt's grid, at most (or 2^d_in): δ ≥ 1/225 leaves a query at 1/4 of its cell 1/900."""
FUNCTIONS = 8
"""A long prompt walks through so many functions, again and again."""
STEEPNESS = mpq(3, 2)
"""The functions of :func:`prompt` have the Lipschitz constant STEEPNESS/√d_in, so the bound is 3δ/4."""

Function = Callable[[Sequence[mpq]], Sequence[mpq]]


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """The running sum of the values of those cells that hold the query.

    Raises:
        TokenError: a token that is not of width 1 + d_in + d_out.
    """
    d_in, d_out = whole(parameters, "d_in", DEFAULTS), whole(parameters, "d_out", DEFAULTS)
    query: list[mpq] = []
    total = [mpq(0)] * d_out
    wanted = []
    for step, token in enumerate(tokens):
        if len(token) != 1 + d_in + d_out:
            raise token_error(f"token {step} has {len(token)} entries, expected {1 + d_in + d_out}")
        entries = [rational(entry) for entry in token]
        if step == 0:
            query = entries[:d_in]
        else:
            width, lower, value = entries[0], entries[1 : 1 + d_in], entries[1 + d_in :]
            if all(low < q <= low + width for low, q in zip(lower, query, strict=True)):
                total = [a + b for a, b in zip(total, value, strict=True)]
        wanted.append(tuple(total))
    return wanted


def centres(cells: int, d_in: int) -> list[tuple[mpq, ...]]:
    """The centres of the cells^d_in cells, the last coordinate fastest."""
    return [
        tuple(mpq(2 * i + 1, 2 * cells) for i in place)
        for place in itertools.product(range(cells), repeat=d_in)
    ]


def build_prompt(query: Sequence[mpq], cells: int, function: Function) -> Array:
    """The query and the whole grid of ``cells`` a side for one function, in the grid's order.

    Returns:
        (1 + cells^d_in, 1 + d_in + d_out) exact tokens.

    Raises:
        ConfigError: an empty query, or ``cells`` below 1.
    """
    if not query or cells < 1:
        raise config_error(
            f"a grid of {cells} cells a side in {len(query)} dimensions",
            "give a query of at least one entry and at least one cell",
        )
    middles = centres(cells, len(query))
    values = _table([function], middles)[0]
    return _tokens(query, cells, middles, values)


def _tokens(query: Sequence[mpq], cells: int, middles: Sequence[Sequence[mpq]], values: Array) -> Array:
    """The query token, then one token for each cell."""
    d_in, d_out = len(query), values.shape[1]
    tokens = np.full((1 + len(middles), 1 + d_in + d_out), mpq(0), dtype=object)
    tokens[0, :d_in] = query
    tokens[1:, 0] = mpq(1, cells)
    half = mpq(1, 2 * cells)
    tokens[1:, 1 : 1 + d_in] = [[middle - half for middle in place] for place in middles]
    tokens[1:, 1 + d_in :] = values
    return tokens


def _table(functions: Sequence[Function], middles: Sequence[Sequence[mpq]]) -> Array:
    """Values by function, cell and output component."""
    return np.array([[list(function(place)) for place in middles] for function in functions], dtype=object)


def prompt(generator: np.random.Generator, length: int, parameters: Parameters) -> Array:
    """A query and the cells of random smooth functions, cut to ``length`` tokens.

    The grid is the finest one that fits into the length, with at most
    :data:`MOST_CELLS` cells (or 2^d_in).  A first pass gives the cells of one
    function in random order; while tokens are left, each further pass, in an order
    of its own, gives what must be ADDED to get the values of the next function.  So
    the output is the sum of ever more terms and stays in [-1, 1].

    Raises:
        ConfigError: ``length`` is below 1.
    """
    check_length(length)
    d_in, d_out = whole(parameters, "d_in", DEFAULTS), whole(parameters, "d_out", DEFAULTS)
    cells = _side(d_in, max(1, length - 1))
    middles = centres(cells, d_in)
    half = mpq(1, 2 * cells)
    place = middles[int(generator.integers(len(middles)))]
    query = [middle + half * mpq(int(generator.integers(-50, 51)), 100) for middle in place]
    values = _table([_smooth(generator, d_in, d_out) for _ in range(FUNCTIONS)], middles)
    changes = np.concatenate([values - np.roll(values, 1, axis=0), values[:1]])
    passes = -(-(length - 1) // len(middles))
    order = generator.permuted(np.tile(np.arange(len(middles)), (passes, 1)), axis=1).ravel()[: length - 1]
    number = np.repeat(np.arange(passes), len(middles))[: length - 1]
    which = np.where(number == 0, FUNCTIONS, number % FUNCTIONS)
    tokens = _tokens(query, cells, middles, values[0])
    drawn = np.concatenate([tokens[:1], tokens[1:][order]])
    drawn[1:, 1 + d_in :] = changes[which, order]
    return drawn


def _side(d_in: int, room: int) -> int:
    """The most cells a side such that the grid has at most ``room`` cells and is not too fine."""
    most = min(room, max(MOST_CELLS, 2**d_in))
    side = 1
    while (side + 1) ** d_in <= most:
        side += 1
    return side


def _smooth(generator: np.random.Generator, d_in: int, d_out: int) -> Function:
    """Give c + Σ a_i u_i + Σ b_i u_i u_{i-1}, u = x − 1/2, coefficients in hundredths over d_in.

    |c| ≤ 1/4, |a_i| ≤ 1/(2·d_in) and |b_i| ≤ 1/d_in, so |f| ≤ 3/4 and no component of
    its gradient exceeds 3/(2·d_in).
    """
    offsets = [mpq(int(c), 100) for c in generator.integers(-25, 26, size=d_out)]
    slopes = [
        [mpq(int(a), 100 * d_in) for a in row] for row in generator.integers(-50, 51, size=(d_out, d_in))
    ]
    bends = [
        [mpq(int(b), 100 * d_in) for b in row] for row in generator.integers(-100, 101, size=(d_out, d_in))
    ]

    def function(x: Sequence[mpq]) -> list[mpq]:
        u = [entry - mpq(1, 2) for entry in x]
        return [
            c
            + sum(a * u[i] for i, a in enumerate(own))
            + sum(b * u[i] * u[i - 1] for i, b in enumerate(bend))
            for c, own, bend in zip(offsets, slopes, bends, strict=True)
        ]

    return function


def error_bound(cells: int) -> Fraction:
    """How far the output can be from the function of :func:`prompt` at the query: δ·L·√d_in/2."""
    return Fraction(int(STEEPNESS.numerator), int(STEEPNESS.denominator)) / (2 * cells)


def decode(outputs: Array, _parameters: Parameters) -> npt.NDArray[np.int64]:
    """The outputs' level above -1 in steps of :data:`TOLERANCE`; -1 outside [-1, 1].

    Only to show them side by side with symbols: outputs are compared by tolerance.
    """
    values = floats(outputs)
    readable = np.abs(values) <= 1
    levels = np.rint((np.where(readable, values, 0.0) + 1) / TOLERANCE)
    near = np.where(readable, levels, UNREADABLE).astype(np.int64)
    return near[..., 0] if near.shape[-1] == 1 else near


PROGRAM = LibraryProgram(
    name="continuous",
    summary="approximates a function given by its values on a grid, at the query",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    decoded=False,
    tolerance=TOLERANCE,
    defaults=DEFAULTS,
)
