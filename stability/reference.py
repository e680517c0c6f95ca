"""The true trajectory of a program: what every format is measured against.

The program itself (target ``uncompiled``) is run in mpmath on a ladder of precisions,
each rung twice as precise as the one before, until two rungs agree on every output
of every step to 2^-100 · max(|r|, s), s the largest magnitude of that output so far.
The rung is part of the result; a ladder that ends without agreement gives a
reference that is ``uncertified`` and says so.  Nothing is ever measured against
float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.model import Model
from stability.formats import MpmathFormat
from stability.measures import exact_value, to_float
from stability.running import execute

FIRST_RUNG = 60
LAST_RUNG = 960
AGREEMENT_BITS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """A certified trajectory.

    Attributes:
        outputs: (T, output_dim) of exact rationals: the last rung's values.
        rounded: the same as float64, for decoders.
        scale: (T, output_dim): the largest |output| so far.
        rung: ``mpmath120`` …, the last rung, or ``uncertified``.
    """

    outputs: list[tuple[mpq, ...]]
    rounded: npt.NDArray[np.float64]
    scale: list[tuple[mpq, ...]]
    rung: str

    @property
    def certified(self) -> bool:
        """Whether two rungs agreed."""
        return self.rung != UNCERTIFIED


UNCERTIFIED = "uncertified"


def reference(
    model: Model, tokens: npt.NDArray[Any], *, first_rung: int = FIRST_RUNG, last_rung: int = LAST_RUNG
) -> Reference:
    """Climb the ladder for one prompt.

    Args:
        model: the program, target ``uncompiled``.
        tokens: (T, input_dim), exact.
        first_rung: decimal digits of the first rung.
        last_rung: decimal digits after which the ladder gives up.
    """
    dps = first_rung
    before = _rung(model, tokens, dps)
    while dps < last_rung:
        dps *= 2
        after = _rung(model, tokens, dps)
        scale = _running_scale(after)
        if _agree(before, after, scale):
            return _packed(after, scale, f"mpmath{dps}")
        before = after
    return _packed(before, _running_scale(before), UNCERTIFIED)


def _rung(model: Model, tokens: npt.NDArray[Any], dps: int) -> list[tuple[mpq, ...]]:
    outputs = execute(model, tokens, MpmathFormat(dps=dps)).outputs
    rows = []
    for row in outputs:
        values = [exact_value(value) for value in row]
        assert all(value is not None for value in values), "mpmath numbers do not overflow"
        rows.append(tuple(value for value in values if value is not None))
    return rows


def _running_scale(outputs: Sequence[tuple[mpq, ...]]) -> list[tuple[mpq, ...]]:
    scale: list[tuple[mpq, ...]] = []
    for row in outputs:
        sizes = tuple(abs(value) for value in row)
        if scale:
            sizes = tuple(max(pair) for pair in zip(scale[-1], sizes, strict=True))
        scale.append(sizes)
    return scale


def _agree(
    before: Sequence[tuple[mpq, ...]], after: Sequence[tuple[mpq, ...]], scale: Sequence[tuple[mpq, ...]]
) -> bool:
    tolerance = mpq(1, 1 << AGREEMENT_BITS)
    return all(
        abs(low - high) <= tolerance * size
        for rows in zip(before, after, scale, strict=True)
        for low, high, size in zip(*rows, strict=True)
    )


def _packed(outputs: list[tuple[mpq, ...]], scale: list[tuple[mpq, ...]], rung: str) -> Reference:
    rounded = np.array([[to_float(value) for value in row] for row in outputs], dtype=np.float64)
    return Reference(outputs=outputs, rounded=rounded, scale=scale, rung=rung)
