"""Random prompts for a program: tokens within its Input's declared range."""

from __future__ import annotations

from gmpy2 import mpq
from hypothesis import strategies as st

from compiler import ir
from compiler.exact import Vector

DEFAULT_LENGTH = 8
GRID = 4
"""Real tokens are multiples of 1/4."""


def prompts(
    program: ir.Program, *, min_length: int = DEFAULT_LENGTH, max_length: int = 12
) -> st.SearchStrategy[list[Vector]]:
    """Prompts of exact tokens that the program's Input allows.

    Args:
        program: whose Input is declared.
        min_length: fewest tokens.
        max_length: most tokens.
    """
    node = program.nodes[0]
    token = st.tuples(*[_entries(node.declared or ir.Declaration())] * node.dim)
    return st.lists(token, min_size=min_length, max_size=max_length)


def _entries(declared: ir.Declaration) -> st.SearchStrategy[mpq]:
    low = declared.lo if declared.lo is not None else mpq(-2)
    high = declared.hi if declared.hi is not None else max(low, mpq(0)) + 2
    grid = 1 if declared.integer else GRID
    while -((-low * grid) // 1) > (high * grid) // 1:
        grid *= 2
    first, last = -((-low * grid) // 1), (high * grid) // 1
    return st.integers(int(first), int(last)).map(lambda whole: mpq(whole, grid))
