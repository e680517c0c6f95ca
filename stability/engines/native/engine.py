"""The fast engine: float16 (every operation rounded), float32 and float64, compiled by numba."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from compiler.model import Model
from stability.engines.base import Segment, Session, Status, StatusArray
from stability.engines.native import kernels
from stability.engines.native.locking import compiling
from stability.engines.native.lowering import Lowered, lower
from stability.engines.plan import build_plan
from stability.formats import FLOAT16, FLOAT32, FLOAT64, AnyFormat, Format
from stability.rounding import FloatArray, round_array

FORMATS = (FLOAT16, FLOAT32, FLOAT64)
CACHE = 1 << 19  # values of all registers: wide passes pay until they leave the last cache
NARROWEST, WIDEST = 1024, 4096  # steps × sequences that one pass over the operations advances


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

    def prepare(self, model: Model, fmt: AnyFormat, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`."""
        if fmt not in FORMATS or not isinstance(fmt, Format):
            choices = ", ".join(known.name for known in FORMATS)
            raise ConfigError.single(f"engine 'native' cannot run {fmt.name}", hint=f"one of {choices}")
        require_subnormals()
        carrier: np.dtype[np.floating[Any]] = np.dtype(np.float64) if fmt == FLOAT64 else np.dtype(np.float32)
        mark: np.integer[Any] = kernels.AS_IT_IS
        if fmt == FLOAT16:
            mark = kernels.HALF_BY_HARDWARE if self._hardware else kernels.HALF_BY_BITS
        code = lower(build_plan(model, fmt, keep), fmt, carrier)
        columns = self._columns or min(max(NARROWEST, CACHE // max(1, code.rows)), WIDEST)
        return _NativeSession(code, fmt, carrier, mark, columns)


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


_compiled: set[object] = set()
"""Which signatures this process has compiled or loaded already."""


def _call(kernel: Any, arguments: tuple[Any, ...], signature: object) -> None:
    if signature in _compiled:
        kernel(*arguments)
        return
    with compiling():
        kernel(*arguments)
    _compiled.add(signature)


class _NativeSession:
    def __init__(
        self,
        code: Lowered,
        fmt: Format,
        carrier: np.dtype[np.floating[Any]],
        mark: np.integer[Any],
        columns: int,
    ) -> None:
        self._code, self._format, self._carrier, self._mark = code, fmt, carrier, mark
        self._columns = columns
        self._lanes: list[_Lane] = []

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        rounded = round_array(tokens, self._format).astype(self._carrier, copy=False)
        batch, steps = rounded.shape[:2]
        if not self._lanes:
            starts = range(0, batch, self._columns)
            self._lanes = [
                _Lane(self._code, self._carrier, self._mark, slice(start, min(start + self._columns, batch)))
                for start in starts
            ]
        wanted = {-1: self._code.outputs, **self._code.wires}
        taken = {
            key: np.empty((batch, steps, len(rows)), dtype=self._format.dtype) for key, rows in wanted.items()
        }
        status: StatusArray = np.zeros((batch, steps), dtype=np.uint8)
        with np.errstate(over="ignore", under="ignore"):
            for lane in self._lanes:
                block = max(1, self._columns // lane.width)
                for start in range(0, steps, block):
                    here = slice(start, min(start + block, steps))
                    status[lane.sequences, here] = lane.advance(rounded[lane.sequences, here])
                    for key, rows in wanted.items():
                        taken[key][lane.sequences, here] = lane.take(rows, here.stop - here.start)
        return Segment(outputs=taken.pop(-1), status=status, wires=taken)


class _Lane:
    """Some sequences of a batch, side by side in one register file."""

    def __init__(
        self, code: Lowered, carrier: np.dtype[np.floating[Any]], mark: np.integer[Any], sequences: slice
    ) -> None:
        self._code, self._mark, self.sequences = code, mark, sequences
        self.width: int = sequences.stop - sequences.start
        self._carrier = carrier
        self._status = np.zeros(self.width, dtype=np.uint8)
        self._steps = 0
        self._seen = 0
        self._past: FloatArray = np.ones((code.kernels.slots, 0), dtype=carrier)
        self._carry = np.repeat(code.initial[:, np.newaxis], self.width, axis=1)

    def _make_room(self, steps: int) -> None:
        """Registers for a block of ``steps``; what lives from step to step moves along."""
        self._steps = steps
        stride = (steps + 1) * self.width
        self._registers = np.zeros((self._code.rows, stride), dtype=self._carrier)
        table = self._code.table.copy()
        registers = [kernels.OUT, kernels.LEFT, kernels.RIGHT, kernels.THIRD]
        table[:, registers] = table[:, registers] * stride + self.width
        table[:, kernels.RIGHT] -= table[:, kernels.DELAYED] * self.width
        self._table = table.astype(np.uint64)
        now = self._code.registers * stride + self.width
        self._offsets = (now - self._code.delayed * self.width).astype(np.uint64)

    def _make_past(self, steps: int) -> tuple[Any, ...]:
        """Room for the inputs of convolutions, all of them so far and ``steps`` more."""
        code, needed = self._code.kernels, (self._seen + steps) * self.width
        if len(code.weights) and needed > self._past.shape[1]:
            grown = np.ones((code.slots, max(needed, 2 * self._past.shape[1])), dtype=self._carrier)
            grown[:, : self._past.shape[1]] = self._past
            self._past = grown
        return (
            self._past.reshape(-1), code.terms.astype(np.uint64), code.starts.astype(np.uint64),
            code.sources.astype(np.uint64), np.uint64(self._past.shape[1]),
            np.uint64(self._seen * self.width), code.weights,
        )  # fmt: skip

    def advance(self, tokens: FloatArray) -> StatusArray:
        """Run a block; returns its sticky status (width, steps)."""
        steps = tokens.shape[1]
        if steps > self._steps:
            self._make_room(steps)
        code, registers, width = self._code, self._registers, self.width
        end = (steps + 1) * width
        past = self._make_past(steps)
        registers[code.carried, :width] = self._carry
        registers[code.tokens, width:end] = tokens.transpose(2, 1, 0).reshape(len(code.tokens), steps * width)
        status = np.zeros(steps * width, dtype=np.uint8)
        watched = bool((self._status != Status.NAN).any())
        if not np.isfinite(tokens).all():
            status[np.isinf(tokens).any(axis=2).T.reshape(-1)] = Status.OVERFLOW
        arguments = (
            registers.reshape(-1), self._table, code.biases, self._offsets, code.weights,
            code.groups.astype(np.uint64), np.uint64(steps), np.uint64(width), self._mark, status, watched,
            past,
        )  # fmt: skip
        _call(kernels.run_block, arguments, (self._carrier, type(self._mark)))
        self._seen += steps
        self._carry = registers[code.carried, end - width : end]
        by_step = np.maximum(status.reshape(steps, width), self._status)
        np.maximum.accumulate(by_step, axis=0, out=by_step)
        self._status = by_step[-1].copy()
        return by_step.T

    def take(self, rows: npt.NDArray[np.int64], steps: int) -> FloatArray:
        """Registers of the block just run, (width, steps, len(rows))."""
        block = self._registers[rows, self.width : (steps + 1) * self.width]
        return block.reshape(len(rows), steps, self.width).transpose(2, 1, 0)
