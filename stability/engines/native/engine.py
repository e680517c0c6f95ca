"""The fast engine: any policy of binary formats, compiled by numba."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from compiler.model import Model
from stability.engines.base import Segment, Session, StatusArray
from stability.engines.constants import Constants
from stability.engines.literal_plan import literal_plan
from stability.engines.native import blocks, layout
from stability.engines.native.carriers import carrier_of
from stability.engines.native.lowering import Indices, Lowered, lower
from stability.engines.native.marks import fast_mark, smooth, soft_mark
from stability.engines.native.soft_kernels import SoftMark
from stability.engines.plan import build_plan
from stability.formats import FLOAT32, AnyFormat, Format
from stability.policy import AnyPolicy, Policy, as_policy, wire_type
from stability.rounding import FloatArray, round_array

CACHE = 1 << 19  # values of all registers: wide passes pay until they leave the last cache
NARROWEST, WIDEST = 1024, 4096  # steps × sequences that one pass over the operations advances
LONGEST = 1024  # steps that one pass advances
SPACE = 80  # values between registers: rows a power of two apart would share few lines of the cache
PIECE = 1 << 20  # values that one call of the kernels returns


def half_in_hardware() -> bool:
    """Whether compiled code may convert to float16 and back with the processor's instructions."""
    asked = (getattr(numba.config, name, None) for name in ("CPU_NAME", "CPU_FEATURES"))
    told = any(value is not None for value in asked)
    return not told and bool(llvm.get_host_cpu_features().get("f16c", False))


class NativeEngine:
    """Executes plans with the kernels; the same bits for any batch, chunk and block.

    Args:
        columns: how many steps × sequences one pass advances; ``None``: by the model's size.
        hardware: convert to float16 by the processor's instructions; ``None``: if it can.
    """

    def __init__(self, *, columns: int | None = None, hardware: bool | None = None) -> None:
        self._columns = columns
        self._hardware = half_in_hardware() if hardware is None else hardware

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`."""
        policy = as_policy(fmt)
        if not policy.binary:
            raise ConfigError.single(
                f"engine 'native' cannot run {fmt.name}",
                hint="it runs binary formats, as float16, float32, float64, and policies of them",
            )
        require_subnormals()
        wide = carrier_of(policy)
        if model.activation == "native" and not smooth(policy, wide):
            wide = None
        foldable = Constants(policy).foldable and wide is not None
        plan = (build_plan if foldable else literal_plan)(model, policy, keep)
        carrier = np.dtype(np.float64) if wide is None else wide.storage
        code = lower(plan, policy, carrier)
        columns = self._columns or min(max(NARROWEST, CACHE // max(1, code.rows)), WIDEST)
        if wide is None:
            mark = soft_mark(policy, code.sites)
        else:
            mark = fast_mark(policy, wide, hardware=self._hardware)
        return _NativeSession(code, policy, carrier, mark, columns)


def subnormals_flushed() -> bool:
    """Whether this thread computes 0 where a subnormal number is right."""
    tiny = np.array(
        [float(FLOAT32.smallest_subnormal), 2 * float(FLOAT32.smallest_normal) / 3], dtype=np.float32
    )
    return not bool(np.all(tiny * np.float32(1) + np.float32(0) != 0))


def require_subnormals() -> None:
    """Refuse to compute where the processor flushes subnormal numbers to zero.

    Raises:
        ConfigError: flush-to-zero is on in this thread.
    """
    if subnormals_flushed():
        raise ConfigError.single(
            "this process flushes subnormal numbers to zero",
            hint="a library built with -ffast-math has been loaded; load this one in a process without it",
        )


class _NativeSession:
    def __init__(
        self,
        code: Lowered,
        policy: Policy,
        carrier: np.dtype[np.floating[Any]],
        mark: Any,
        columns: int,
    ) -> None:
        self._code, self._policy, self._carrier, self._mark = code, policy, carrier, mark
        self._columns = columns
        self._lanes: list[_Lane] = []

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        rounded = round_array(tokens, _binary(self._policy.input)).astype(self._carrier, copy=False)
        batch, steps = rounded.shape[:2]
        if not self._lanes:
            cuts = [*range(0, batch, self._columns), batch]
            self._lanes = [
                _Lane(self._code, self._carrier, self._mark, self._columns, slice(start, stop))
                for start, stop in pairwise(cuts)
            ]
        wanted = {-1: self._code.outputs, **self._code.wires}
        taken = {
            key: np.empty((batch, steps, len(taps)), dtype=wire_type(self._policy, key))
            for key, taps in wanted.items()
        }
        status: StatusArray = np.zeros((batch, steps), dtype=np.uint8)
        values = sum(len(taps) for taps in wanted.values())
        with np.errstate(over="ignore", under="ignore"):
            for lane in self._lanes:
                piece = max(self._columns, PIECE // max(1, values)) // lane.width
                for start in range(0, steps, piece):
                    here = lane.sequences, slice(start, min(start + piece, steps))
                    outputs, found = lane.advance(rounded[here])
                    if found is not None:
                        status[here] = found
                    at = 0
                    for key, taps in wanted.items():
                        taken[key][here] = outputs[:, :, at : at + len(taps)]
                        at += len(taps)
        return Segment(outputs=taken.pop(-1), status=status, wires=taken)


def _binary(fmt: AnyFormat) -> Format:
    assert isinstance(fmt, Format)
    return fmt


class _Lane:
    """Some sequences of a batch, side by side in one register file."""

    def __init__(
        self,
        code: Lowered,
        carrier: np.dtype[np.floating[Any]],
        mark: Any,
        columns: int,
        sequences: slice,
    ) -> None:
        self._code, self._mark, self.sequences = code, mark, sequences
        if isinstance(mark, SoftMark):
            self._mark = mark._replace(first=np.uint64(sequences.start))
        self.width: int = sequences.stop - sequences.start
        self._carrier = carrier
        self._seen = np.zeros(self.width, dtype=np.uint8)
        self._begun = 0
        self._past: FloatArray = np.ones((code.kernels.slots, 0), dtype=carrier)
        self._room = min(columns // self.width, LONGEST)
        self._make_room()

    def _make_room(self) -> None:
        """Lay out the registers, each with its past before column 0, and what refers to them."""
        code, width = self._code, self.width
        depths = np.bincount(code.past[:, 0], minlength=code.rows)
        ends = np.cumsum((depths + self._room) * width + SPACE)
        columns = ends - self._room * width - SPACE
        self._registers = np.zeros(int(ends[-1]), dtype=self._carrier)
        before = columns[code.past[:, 0]] - code.past[:, 1] * width
        self._registers[before[:, np.newaxis] + np.arange(width)] = code.initial[:, np.newaxis]

        def places(taps: Indices) -> npt.NDArray[np.uint64]:
            found: npt.NDArray[np.uint64] = (columns[taps[..., 0]] - taps[..., 1] * width).astype(np.uint64)
            return found

        table = code.table.copy()
        table[:, layout.OUT] = columns[table[:, layout.OUT]]
        factors = [layout.LEFT, layout.RIGHT, layout.THIRD]
        table[:, factors] = columns[table[:, factors]] - code.backs * width
        carried = np.stack([columns - depths * width, depths * width], axis=1)[depths > 0]
        self._operations = (
            table.astype(np.uint64), code.biases, places(code.terms), code.weights,
            code.groups.astype(np.uint64),
        )  # fmt: skip
        self._ports = (
            columns[code.tokens].astype(np.uint64),
            places(np.concatenate([code.outputs, *code.wires.values()])),
            carried.astype(np.uint64),
        )

    def _make_past(self, steps: int) -> tuple[Any, ...]:
        """Room for the inputs of convolutions, all of them so far and ``steps`` more."""
        code, needed = self._code.kernels, (self._begun + steps) * self.width
        if len(code.weights) and needed > self._past.shape[1]:
            grown = np.ones((code.slots, max(needed, 2 * self._past.shape[1])), dtype=self._carrier)
            grown[:, : self._past.shape[1]] = self._past
            self._past = grown
        return (
            self._past.reshape(-1), code.terms.astype(np.uint64), code.starts.astype(np.uint64),
            code.sources.astype(np.uint64), np.uint64(self._past.shape[1]),
            np.uint64(self._begun * self.width), code.weights,
        )  # fmt: skip

    def advance(self, tokens: FloatArray) -> tuple[FloatArray, StatusArray | None]:
        """Run over ``tokens``; returns outputs and wires, and the status unless all is well."""
        steps = tokens.shape[1]
        outputs = np.empty((self.width, steps, len(self._ports[1])), dtype=self._carrier)
        status = np.zeros(steps * self.width, dtype=np.uint8)
        dirty = blocks.run(
            self._registers, *self._operations, self._ports, np.ascontiguousarray(tokens), outputs,
            np.uint64(self._room), np.uint64(self.width), self._mark, status, self._seen,
            self._make_past(steps),
        )  # fmt: skip
        self._begun += steps
        return outputs, status.reshape(steps, self.width).T if dirty else None
