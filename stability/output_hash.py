"""One hash of everything that a run gave out: two runs have it in common only if every bit is the same."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from stability.engines.base import StatusArray


def output_hash(outputs: npt.NDArray[Any], status: StatusArray) -> str:
    """SHA-256 of the shape, the type and the bits of all outputs, and of the status of every step.

    The sign of a zero counts; the payload of a nan does not, since processors make different ones.

    Args:
        outputs: (T, output_dim), floats of any width, or ``mpf`` or ``mpq`` objects.
        status: (T,), see :class:`stability.engines.base.Status`.
    """
    content = hashlib.sha256(f"{outputs.shape} {outputs.dtype.name}\n".encode())
    if outputs.dtype == object:
        for value in outputs.ravel():
            content.update(f"{_text(value)}\n".encode())
    else:
        canonical = np.where(np.isnan(outputs), np.array(np.nan, dtype=outputs.dtype), outputs)
        content.update(canonical.astype(outputs.dtype.newbyteorder("<")).tobytes())
    content.update(np.ascontiguousarray(status, dtype=np.uint8).tobytes())
    return content.hexdigest()


def _text(value: Any) -> str:
    """A number of unlimited precision, exactly; the parts of an ``mpf`` are those of its normal form."""
    parts = getattr(value, "_mpf_", None)
    return str(value) if parts is None else " ".join(str(int(part)) for part in parts)
