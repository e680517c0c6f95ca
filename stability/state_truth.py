"""The true values of the states of a program: its certified reference, kept step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import UNCOMPILED, compile_lowered
from compiler.lowering import Lowered
from compiler.scalars import Form, StateSymbol
from stability.measures import sample_steps, to_float
from stability.reference import UNCERTIFIED, Reference, reference

Floats = npt.NDArray[np.float64]

DENSE = 1 << 18
"""State values up to which every step is looked at; else a sample."""
PER_OCTAVE = 48


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateTruth:
    """The true values of all states of a program over one prompt.

    Attributes:
        reference: the program's certified outputs (and states).
        tokens: (T, input_dim), exact.
        symbols: the scalar symbols of the states, ascending; n of them.
        steps: (K,) the steps that are known, ascending.
        exact: K rows of n rationals.
        high: (K, n) the same rounded to float64; ``low``: what that leaves, rounded likewise.
        scale: (K, n) the largest size of each so far.
    """

    reference: Reference
    tokens: npt.NDArray[Any]
    symbols: tuple[int, ...]
    steps: npt.NDArray[np.int64]
    exact: tuple[tuple[mpq, ...], ...]
    high: Floats
    low: Floats
    scale: Floats

    @property
    def certified(self) -> bool:
        """Whether two precisions agreed on every state."""
        return self.reference.wires_rung != UNCERTIFIED


def state_truth(
    lowered: Lowered, tokens: npt.NDArray[Any], *, steps: npt.NDArray[np.int64] | None = None
) -> StateTruth:
    """Run a program in mpmath and keep its states.

    Args:
        lowered: the program.
        tokens: (T, input_dim), exact.
        steps: at which states are wanted, ascending; default: all, or for long prompts a
            sample with 48 steps an octave and the step before each.
    """
    homes = state_homes(lowered)
    wires = list(dict.fromkeys(wire for wire, _ in homes.values()))
    wanted = _steps(len(tokens), len(homes)) if steps is None else steps
    model = compile_lowered(lowered, UNCOMPILED)
    found = reference(model, tokens, keep=wires, steps=wanted)
    rows = tuple(
        tuple(found.wires[wire][k][component] for wire, component in homes.values())
        for k in range(len(wanted))
    )
    shape = (len(wanted), len(homes))
    high = np.array([[to_float(value) for value in row] for row in rows]).reshape(shape)
    pairs = [list(zip(row, near, strict=True)) for row, near in zip(rows, high, strict=True)]
    low = np.array([[to_float(value - mpq(near)) for value, near in row] for row in pairs]).reshape(shape)
    return StateTruth(
        reference=found,
        tokens=tokens,
        symbols=tuple(homes),
        steps=wanted,
        exact=rows,
        high=high,
        low=low,
        scale=np.maximum.accumulate(np.abs(high), axis=0),
    )


def _steps(length: int, states: int) -> npt.NDArray[np.int64]:
    if length * states <= DENSE:
        return np.arange(length)
    chosen = sample_steps(length, PER_OCTAVE)
    return np.unique(np.concatenate([chosen, np.maximum(chosen - 1, 0)]))


def state_homes(lowered: Lowered) -> dict[int, tuple[int, int]]:
    """For each state symbol, where the uncompiled program computes it: (wire, component)."""
    homes: dict[int, tuple[int, int]] = {}
    wire = 0
    for index, node in enumerate(lowered.program.nodes):
        if isinstance(node, ir.Input | ir.Concat):
            continue
        wire += 1
        if isinstance(node, ir.LinState):
            for component, form in enumerate(lowered.graph.forms[index]):
                symbol = _state_of(form, lowered)
                if symbol is not None:
                    homes.setdefault(symbol, (wire, component))
    return dict(sorted(homes.items()))


def _state_of(form: Form, lowered: Lowered) -> int | None:
    if form.shift or len(form.terms) != 1 or form.terms[0][1] != 1:
        return None
    symbol = form.terms[0][0]
    return symbol if isinstance(lowered.graph.symbols[symbol], StateSymbol) else None
