"""What engines share that nobody here wrote: formats, layout, and a status from outside."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from stability.engines.base import Status, StatusArray
from stability.formats import Format
from stability.policy import AnyPolicy


def float_format(engine: str, fmt: AnyPolicy, known: Collection[str]) -> Format:
    """``fmt``, if its name is among those that an engine knows.

    Raises:
        ConfigError: it is not; says which are.
    """
    if not isinstance(fmt, Format) or fmt.name not in known:
        raise ConfigError.single(
            f"engine {engine!r} cannot run {fmt.name}", hint="one of " + ", ".join(known)
        )
    return fmt


def turned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(B, T, …) as (T, B, …) and back."""
    return np.ascontiguousarray(values.swapaxes(0, 1))


class Watch:
    """The sticky status of sequences of which only tokens and outputs are seen."""

    def __init__(self) -> None:
        self._status: StatusArray | None = None

    def see(self, *values: npt.NDArray[Any]) -> StatusArray:
        """The status after each step of a chunk; ``values`` are (B, C, …)."""
        status = np.zeros(values[0].shape[:2], dtype=np.uint8)
        for each in values:
            status[np.isinf(each).any(axis=2) & (status == Status.OK)] = Status.OVERFLOW
            status[np.isnan(each).any(axis=2)] = Status.NAN
        if self._status is not None and status.size:
            status[:, 0] = np.maximum(status[:, 0], self._status)
        status = np.maximum.accumulate(status, axis=1)
        if status.size:
            self._status = status[:, -1].copy()
        return status
