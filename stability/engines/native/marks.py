"""What the compiled loops need to know of a policy's roundings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stability.engines.native.arithmetic import AS_IT_IS, HALF_BY_HARDWARE
from stability.engines.native.narrow import narrow_words
from stability.engines.native.soft import format_row, mode_number
from stability.engines.native.soft_kernels import SoftMark
from stability.formats import FLOAT16, FLOAT32, Format
from stability.policy import Policy
from stability.random_bits import seed_key

SMOOTH_BITS = 22
"""The longest activations that a sigmoid or tanh found in float32 registers may be rounded to."""


def fast_mark(policy: Policy, wide: Format, *, hardware: bool) -> Any:
    """The mark of a policy that ``wide`` carries (see :mod:`.arithmetic`).

    Args:
        policy: see :func:`.carriers.carries`.
        wide: float32 or float64.
        hardware: whether the processor converts to float16.
    """
    total = policy.accumulator
    assert isinstance(total, Format)
    if policy.uniform == wide:
        return AS_IT_IS
    if policy.uniform == FLOAT16 and hardware:
        return HALF_BY_HARDWARE
    # in float64 what needs no rounding is rounded to float64: one function less to compile
    arithmetic = AS_IT_IS if total == wide == FLOAT32 else _words(total, wide)
    return (arithmetic, *(_words(fmt, wide) for fmt in (policy.state, policy.activations, policy.readout)))


def soft_mark(policy: Policy, sites: npt.NDArray[np.uint64]) -> SoftMark:
    """The mark of any policy of binary formats, for :mod:`.soft_kernels`."""
    places = (policy.products, policy.accumulator, policy.state, policy.activations, policy.readout)
    rows = [format_row(fmt) for fmt in places if isinstance(fmt, Format)]
    return SoftMark(
        formats=np.array(rows),
        mode=mode_number(policy.rounding),
        sites=sites,
        seed=np.uint64(seed_key(policy.seed)),
        first=np.uint64(0),
    )


def smooth(policy: Policy, wide: Format | None) -> bool:
    """Whether the fast loops round a sigmoid or tanh as the policy says."""
    if policy.uniform is not None and policy.uniform == wide:
        return True
    fmt = policy.activations
    return wide == FLOAT32 and isinstance(fmt, Format) and fmt.precision <= SMOOTH_BITS


def _words(fmt: object, wide: Format) -> tuple[Any, ...]:
    assert isinstance(fmt, Format)
    return narrow_words(fmt, wide.storage)
