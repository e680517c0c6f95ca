"""Run compiled models in any number format and measure how they drift.

>>> from stability import run, drift
"""

from stability.drift import drift
from stability.running import execute, run, stream

__all__ = ["drift", "execute", "run", "stream"]
