"""How badly a case drifts: what directed search makes large."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from compiler.compiling import compile_program
from compiler.errors import BudgetError, CompileRefusal, ConfigError, TokenError
from compiler.interpreter import interpret
from stability.corpus.case import Case
from stability.policy import parse_policy
from stability.running import execute

TOLERANCE = 1e-3
"""A step is wrong when its output is off by more than this share of the largest value so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What a run did.

    Attributes:
        error: the largest error of an output, relative to the largest exact value so far.
        horizon: the first step that is wrong; None where none is.
    """

    error: float
    horizon: int | None

    @property
    def badness(self) -> float:
        """Bits of error, and more the earlier the first wrong step is."""
        bits = 60.0 if not math.isfinite(self.error) else max(-60.0, math.log2(max(self.error, 2.0**-60)))
        return bits - (0 if self.horizon is None else self.horizon)


def drift_of(case: Case) -> Drift | None:
    """The drift of a case's own target and policy; None where there is nothing to measure."""
    try:
        model = compile_program(case.program, case.target)
        wanted = interpret(case.program, case.tokens)
        tokens = np.empty((len(case.tokens), case.program.input_dim), dtype=object)
        tokens[...] = [list(token) for token in case.tokens]
        ran = execute(model, tokens, parse_policy(case.policy))
        true = np.array([[float(value) for value in row] for row in wanted])
        outputs = np.asarray(ran.outputs, dtype=np.float64)
    except (CompileRefusal, BudgetError, ConfigError, TokenError, OverflowError):  # the last: beyond float64
        return None
    size = np.maximum(np.maximum.accumulate(np.abs(true), axis=0), 2.0**-30)
    with np.errstate(invalid="ignore", over="ignore"):
        relative = (np.abs(outputs - true) / size).max(axis=1)
    relative = np.where(np.isnan(relative), np.inf, relative)
    wrong = np.flatnonzero(relative > TOLERANCE)
    return Drift(error=float(relative.max()), horizon=int(wrong[0]) if len(wrong) else None)
