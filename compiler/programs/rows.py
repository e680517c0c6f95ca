"""Tokens of several integers, and outputs that are measured rather than decoded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from compiler.programs.base import UNREADABLE, Array, Tokens, floats, token_error

Bounds = Sequence[tuple[int, int]]


def integer_rows(tokens: Tokens, bounds: Bounds) -> list[tuple[int, ...]]:
    """The tokens of a program that reads several integers per step.

    Args:
        tokens: one row per step.
        bounds: (lo, hi) of every entry.

    Raises:
        TokenError: a token of another width, or an entry that is not an integer or out of bounds.
    """
    listed = (
        tokens.tolist() if isinstance(tokens, np.ndarray) else tokens
    )  # its own integers are slow to read
    rows = []
    for step, token in enumerate(listed):
        if len(token) != len(bounds):
            raise token_error(f"token {step} has {len(token)} entries, expected {len(bounds)}")
        row = tuple(int(entry) for entry in token)
        for place, (entry, value, (lo, hi)) in enumerate(zip(token, row, bounds, strict=True)):
            if value != entry or not lo <= value <= hi:
                raise token_error(
                    f"token {step}, entry {place} is {entry}", f"it is a whole number from {lo} to {hi}"
                )
        rows.append(row)
    return rows


def levels(outputs: Array, bound: float, step: float) -> npt.NDArray[np.int64]:
    """The outputs' level above −``bound`` in units of ``step``; -1 beyond ±``bound``.

    Only to show them side by side with symbols: such outputs are compared by tolerance.
    """
    values = floats(outputs)
    readable = np.abs(values) <= bound
    above = np.rint((np.where(readable, values, 0.0) + bound) / step)
    near = np.where(readable, above, UNREADABLE).astype(np.int64)
    return near[..., 0] if near.shape[-1] == 1 else near
