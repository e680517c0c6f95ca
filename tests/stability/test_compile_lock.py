"""Kernels compiled by several processes at once are the right ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from stability.engines.native.locking import alone

CHILD = """
import sys
import numpy as np
from compiler import compile_program, load_program
from stability import run
model = compile_program(load_program("majority"), "linear_rnn")
outputs = run(model, np.array([[1], [0], [0], [1], [1]]), sys.argv[1])
assert outputs[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 1.0], outputs
"""


def test_processes_that_compile_at_once_do_not_mix_up_their_kernels(tmp_path: Path) -> None:
    """With an empty cache shared by processes that need different formats, all results are right, twice."""
    for _ in range(2):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, name],
                env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in ("float32", "float64")
        ]
        for child in children:
            _, errors = child.communicate(timeout=300)
            assert child.returncode == 0, errors


def test_the_lock_lets_one_in_at_a_time() -> None:
    """While one holds the lock, another waits for it."""
    order: list[str] = []
    entered = threading.Event()

    def second() -> None:
        entered.wait()
        with alone():
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with alone():
        entered.set()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
