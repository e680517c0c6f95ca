"""The true trajectory of a program: what every format is measured against.

The program itself (target ``uncompiled``) is run in mpmath on a ladder of precisions,
each rung twice as precise as the one before, until two rungs agree on every output
of every step to 2^-100 · max(|r|, s), s the largest magnitude of that output so far.
The rung is part of the result; a ladder that ends without agreement gives a
reference that is ``uncertified`` and says so.  Nothing is ever measured against
float64.

The values inside a model can be asked for too.  They are certified on their own: s is
then the largest magnitude on the whole wire so far, since a unit that is 0 in truth may
hold the rounding errors of its neighbours.  The cells of a layer count as a wire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.model import Model
from stability.cell_states import Cells, cell_wires
from stability.formats import MpmathFormat
from stability.measures import exact_value, to_float
from stability.running import CHUNK, stream

UNCERTIFIED = "uncertified"
FIRST_RUNG = 60
LAST_RUNG = 960
AGREEMENT_BITS = 100
TOLERANCE = mpq(1, 1 << AGREEMENT_BITS)
KEPT_VALUES = 1 << 18  # values of kept wires that one piece of a prompt holds in memory
LEAST_EXPONENT = -(1 << 16)
"""What is smaller than 2 to this power is 0: a shut gate is, in truth, as little as 2^-10^10."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """A certified trajectory.

    Attributes:
        outputs: (T, output_dim) of exact rationals: the last rung's values.
        rounded: the same as float64, for decoders.
        scale: (T, output_dim): the largest |output| so far.
        rung: ``mpmath120`` …, the last rung, or ``uncertified``.
        wires: the wires that were asked for: their values at the steps that were asked for.
        cells: per number of an ``lstm`` layer, its cells at the same steps, if they were asked for.
        wires_rung: the rung at which the wires and cells agreed too, or ``uncertified``.
    """

    outputs: list[tuple[mpq, ...]]
    rounded: npt.NDArray[np.float64]
    scale: list[tuple[mpq, ...]]
    rung: str
    wires: Mapping[int, Sequence[tuple[mpq, ...]]] = field(default_factory=dict)
    cells: Mapping[int, Sequence[tuple[mpq, ...]]] = field(default_factory=dict)
    wires_rung: str = UNCERTIFIED

    @property
    def certified(self) -> bool:
        """Whether two rungs agreed."""
        return self.rung != UNCERTIFIED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rung:
    """One run: all outputs, and the kept wires at the kept steps; wire −1 − k: the cells of layer k."""

    name: str
    outputs: list[tuple[mpq, ...]]
    wires: Mapping[int, list[tuple[mpq, ...]]]


def reference(
    model: Model,
    tokens: npt.NDArray[Any],
    *,
    first_rung: int = FIRST_RUNG,
    last_rung: int = LAST_RUNG,
    keep: Sequence[int] = (),
    steps: npt.NDArray[np.int64] | None = None,
    cells: bool = False,
    vanishing: bool = False,
) -> Reference:
    """Climb the ladder for one prompt.

    Args:
        model: the program, target ``uncompiled``; or any model, to judge what runs its weights.
        tokens: (T, input_dim), exact.
        first_rung: decimal digits of the first rung.
        last_rung: decimal digits after which the ladder gives up.
        keep: wires (0: tokens, k + 1: layer k) whose values are wanted.
        steps: the steps, ascending, at which they are wanted; default: all.
        cells: whether the cells of ``lstm`` layers are wanted too.
        vanishing: take as 0 what shrinks by 2^-100 from one rung to the next.  In a compiled
            model a 0 may be the sum of terms that cancel; at every precision it is the
            rounding error of that precision, and never agrees relative to itself.
    """
    wanted = np.arange(len(tokens)) if steps is None else steps
    dps = first_rung
    before, found = _rung(model, tokens, dps, keep, wanted, cells=cells), None
    while dps < last_rung:
        dps *= 2
        after = _rung(model, tokens, dps, keep, wanted, cells=cells)
        true = _without_vanishing(before, after) if vanishing else after
        if found is None and _agree(before.outputs, true.outputs, _running_scale(true.outputs), vanishing):
            found = after.name
        if found is not None and all(
            _agree(before.wires[wire], true.wires[wire], _wire_scale(true.wires[wire]), vanishing)
            for wire in true.wires
        ):
            return _packed(true, found, after.name)
        before = after
    return _packed(before, found or UNCERTIFIED, UNCERTIFIED)


def _rung(
    model: Model,
    tokens: npt.NDArray[Any],
    dps: int,
    keep: Sequence[int],
    steps: npt.NDArray[np.int64],
    *,
    cells: bool,
) -> _Rung:
    fmt, follower = MpmathFormat(dps=dps), Cells(model, dps) if cells else None
    needed = {*keep, *cell_wires(model)} if cells else set(keep)
    kept = sum(model.wire_size(wire) for wire in needed)
    size = max(1, min(CHUNK, KEPT_VALUES // max(1, kept)))
    outputs: list[tuple[mpq, ...]] = []
    wires: dict[int, list[tuple[mpq, ...]]] = {wire: [] for wire in keep}
    pieces = (tokens[start : start + size] for start in range(0, len(tokens), size))
    for number, piece in enumerate(stream(model, pieces, fmt, keep=sorted(needed))):
        outputs.extend(_exact_rows(piece.outputs))
        here = steps[(steps >= number * size) & (steps < (number + 1) * size)] - number * size
        for wire in keep:
            wires[wire].extend(_exact_rows(piece.wires[wire][here]))
        for layer, values in follower.advance(piece.wires, here.tolist()).items() if follower else ():
            wires.setdefault(-1 - layer, []).extend(_exact_rows(values))
    return _Rung(name=fmt.name, outputs=outputs, wires=wires)


def _exact_rows(values: npt.NDArray[Any]) -> Iterator[tuple[mpq, ...]]:
    for row in values:
        exact = [mpq(0) if _vanishes(value) else exact_value(value) for value in row]
        assert all(value is not None for value in exact), "mpmath numbers do not overflow"
        yield tuple(value for value in exact if value is not None)


def _vanishes(value: Any) -> bool:
    _, mantissa, exponent, bits = value._mpf_
    return bool(mantissa and exponent + bits < LEAST_EXPONENT)


def _running_scale(outputs: Sequence[tuple[mpq, ...]]) -> list[tuple[mpq, ...]]:
    scale: list[tuple[mpq, ...]] = []
    for row in outputs:
        sizes = tuple(abs(value) for value in row)
        if scale:
            sizes = tuple(max(pair) for pair in zip(scale[-1], sizes, strict=True))
        scale.append(sizes)
    return scale


def _without_vanishing(before: _Rung, after: _Rung) -> _Rung:
    def kept(low: Sequence[tuple[mpq, ...]], high: Sequence[tuple[mpq, ...]]) -> list[tuple[mpq, ...]]:
        return [
            tuple(b if abs(b) > TOLERANCE * abs(a) else mpq(0) for a, b in zip(*rows, strict=True))
            for rows in zip(low, high, strict=True)
        ]

    return _Rung(
        name=after.name,
        outputs=kept(before.outputs, after.outputs),
        wires={wire: kept(before.wires[wire], values) for wire, values in after.wires.items()},
    )


def _agree(
    before: Sequence[tuple[mpq, ...]],
    after: Sequence[tuple[mpq, ...]],
    scale: Sequence[tuple[mpq, ...]],
    vanishing: bool,
) -> bool:
    return all(
        (vanishing and not high) or abs(low - high) <= TOLERANCE * size
        for rows in zip(before, after, scale, strict=True)
        for low, high, size in zip(*rows, strict=True)
    )


def _wire_scale(values: Sequence[tuple[mpq, ...]]) -> list[tuple[mpq, ...]]:
    scale, largest = [], mpq(0)
    for row in values:
        largest = max(largest, *(abs(value) for value in row))
        scale.append((largest,) * len(row))
    return scale


def _packed(last: _Rung, rung: str, wires_rung: str) -> Reference:
    rounded = np.array([[to_float(value) for value in row] for row in last.outputs], dtype=np.float64)
    return Reference(
        outputs=last.outputs,
        rounded=rounded,
        scale=_running_scale(last.outputs),
        rung=rung,
        wires={wire: values for wire, values in last.wires.items() if wire >= 0},
        cells={-1 - wire: values for wire, values in last.wires.items() if wire < 0},
        wires_rung=wires_rung,
    )
