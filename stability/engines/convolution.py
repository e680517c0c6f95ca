"""The kernels of ``conv`` layers (:mod:`compiler.convolution`) in a number format."""

from __future__ import annotations

from compiler.convolution import LagKernel
from compiler.convolution import lag_kernels as kernels_of
from compiler.model import Layer
from stability.formats import AnyFormat, MpmathFormat

__all__ = ["LagKernel", "lag_kernels"]


def lag_kernels(layer: Layer, window: int, fmt: AnyFormat) -> tuple[LagKernel, ...]:
    """The kernels of a layer's units for lags 0 to ``window`` − 1.

    Args:
        layer: of kind ``conv``.
        window: T.
        fmt: decides how many bits long powers keep; short ones are exact.
    """
    # mpmath takes a dyadic rational as it is; floats are rounded to their format anyway.
    keep = fmt.precision if isinstance(fmt, MpmathFormat) else None
    return kernels_of(layer, window, fmt.precision, keep=keep)
