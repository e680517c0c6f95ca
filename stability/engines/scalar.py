"""The slow twin: one operation at a time by the literal equations, to check faster engines against.

A format that NumPy has scalars of, the same for every place, is left to NumPy; every other
policy is computed exactly and rounded by the definition.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.model import Model
from stability.engines.base import Session
from stability.engines.literal import LiteralSession
from stability.engines.numbers import Numbers, NumpyNumbers, RationalNumbers
from stability.formats import Format
from stability.policy import AnyPolicy, as_policy


class ScalarEngine:
    """Executes any policy, slowly."""

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`."""
        policy = as_policy(fmt)
        numbers: Numbers = RationalNumbers(policy)
        uniform = policy.uniform
        if isinstance(uniform, Format) and uniform.dtype is not None:
            numbers = NumpyNumbers(uniform)
        return LiteralSession(model, policy, numbers, tuple(keep))
