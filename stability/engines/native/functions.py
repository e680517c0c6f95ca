"""Sigmoid and tanh of whole arrays, by the code that the kernels use."""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np

from stability.activations import Function
from stability.engines.native.activations import activate_columns, carefully
from stability.engines.native.arithmetic import AS_IT_IS
from stability.engines.native.blocks import sources_version
from stability.engines.native.locking import kept
from stability.rounding import FloatArray


def _compiled(version: int) -> Any:
    @kept()
    def run(registers, count, block, tanh, mark, doubt):
        """The first ``count`` values through the function into the next ``count`` ones."""
        start = count - count
        while start < count and version != 0:  # always: see blocks.run
            stop = min(start + block, count)
            if doubt > 0:
                for c in range(start, stop):
                    registers[count + c] = carefully(registers[c], tanh, mark, doubt)
            else:
                activate_columns(registers, count - count, count, start, stop, tanh, mark)
            start = stop

    return run


run = _compiled(sources_version())


def activate(
    values: FloatArray,
    function: Function,
    mark: Any = AS_IT_IS,
    *,
    block: int = 4096,
    doubt: float = 0.0,
) -> FloatArray:
    """A function of every value, rounded once.

    Args:
        values: float32 or float64, one axis; values of the format that ``mark`` names.
        function: which one.
        mark: which rounding.
        block: columns at a time.
        doubt: more than 0 leaves out the quick step; more than 1 also widens the bound of the error
            of the careful one, so that more is left to the definition.

    Returns:
        The same type and length.
    """
    count = len(values)
    registers = np.concatenate([values, np.empty_like(values)])
    run(registers, np.uint64(count), np.uint64(block), function == "tanh", mark, float(doubt))
    assert registers[:count].tobytes() == values.tobytes()
    return registers[count:]
