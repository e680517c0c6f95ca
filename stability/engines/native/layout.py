"""The table of operations that the compiled loops read: its columns, and the kinds of operations."""

from __future__ import annotations

import numpy as np

ONE, TWO, FOUR = np.uint64(1), np.uint64(2), np.uint64(4)
# kinds of operations
AFFINE, PRODUCT, CELL, CONVOLUTION, ACCUMULATOR = ONE, TWO, np.uint64(3), FOUR, np.uint64(5)
SUM = np.uint64(6)
# columns of the table of operations
KIND, OUT, RELU, STICKY, FIRST, LAST, LEFT, RIGHT, THIRD, LAGS, COUNT, PERIOD, SMOOTH, PLACE = range(14)
FIELDS = 14
SIGMOID, TANH = ONE, TWO  # what SMOOTH says, if anything; THIRD is then the place of the argument
