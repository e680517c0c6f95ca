"""Real gates: compiled programs in the sigmoid and tanh of stock LSTM and GRU.

The paper (arXiv 2406.01424, appendix C) replaces both by ReLU.  Here values have types,
which come from the program's ranges, and each type an encoding that the real functions
keep: Booleans saturate, bounded values stay where tanh is the identity after rounding.
"""

from compiler.real_gates.build import CELLS, RealGates, TypedUnit, build, check_native, decay
from compiler.real_gates.settings import NativeGates

__all__ = ["CELLS", "NativeGates", "RealGates", "TypedUnit", "build", "check_native", "decay"]
