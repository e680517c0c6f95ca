"""One process at a time compiles kernels.

numba's on-disk cache is an index of signatures and numbered files.  Two processes that
compile different signatures of one function at the same moment can leave an index that
names the other's file, and a third process then runs the wrong machine code without a
word.  So every first call of a signature, which reads and writes that cache, holds a lock
between processes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

CACHED = fcntl is not None
"""Whether kernels may be kept on disk: only where processes can be kept apart."""


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Hold the lock between processes while a kernel may be compiled, loaded or saved."""
    if fcntl is None:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"lsrl-stability-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
