"""Kernels on disk, which several processes share.

numba's on-disk cache is an index of signatures and numbered files.  Two processes that save
different signatures of one function at the same moment can leave an index that names the
other's file, and a third process then runs the wrong machine code without a word.  So the
cache is read and written under a lock between processes; they compile side by side.
"""
# numba has no annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the lock between processes."""
    path = Path(tempfile.gettempdir()) / f"lsrl-stability-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class _SharedCache(FunctionCache):
    """numba's cache of a function, one process at a time."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with alone():
            return super().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        with alone():
            super().save_overload(sig, data)


def kept(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(**options)``, and on disk where processes can be kept apart."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        if fcntl is not None:
            dispatcher._cache = _SharedCache(function)  # noqa: SLF001 -- what njit(cache=True) sets
        return dispatcher

    return decorate
