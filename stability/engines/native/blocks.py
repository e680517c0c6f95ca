"""The compiled way of a chunk of tokens through the register file, block after block.

:func:`run` is the only function that is kept on disk.  numba keeps it as long as this file
and what the function closes over stay the same, and so it closes over a number of all the
files that it is made of.
"""
# numba's intrinsics and overloads are called with arguments that no annotation describes:
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,call-arg"
# mypy: disable-error-code="var-annotated,redundant-expr"
# ruff: noqa: ARG001

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from stability.engines.native import soft_kernels
from stability.engines.native.kernels import run_block
from stability.engines.native.locking import kept


@njit
def _load(regs, entries, tokens, first, count, width, status):
    """Lay a block of tokens into its registers, and note what is not finite."""
    for d in range(len(entries)):
        place = entries[d]
        for b in range(width):
            for t in range(count):
                value = tokens[b, first + t, d]
                regs[place + t * width + b] = value
                off = value - value
                if off != off:  # noqa: PLR0124 -- nan
                    found = np.uint8(2) if value != value else np.uint8(1)  # noqa: PLR0124 -- nan
                    status[t * width + b] = max(status[t * width + b], found)


@njit
def _store(regs, exits, outputs, first, count, width):
    """Take a block's outputs out of their registers."""
    for d in range(len(exits)):
        place = exits[d]
        for b in range(width):
            for t in range(count):
                outputs[b, first + t, d] = regs[place + t * width + b]


@njit
def _carry(regs, carried, columns):
    """What precedes the next block: the last columns of this one and of its past."""
    for r in range(len(carried)):
        place = carried[r, 0]
        for c in range(place, place + carried[r, 1]):
            regs[c] = regs[c + columns]


@njit
def _accumulate(status, seen, width):
    """Make a block's status sticky; returns whether anything but 0 is in it."""
    zero = np.uint64(0)
    worst = np.uint8(0)
    for t in range(zero, np.uint64(len(status)), width):
        for b in range(width):
            seen[b] = max(seen[b], status[t + b])
            status[t + b] = seen[b]
    for b in range(width):
        worst = max(worst, seen[b])
    return worst > 0


def _advance(regs, table, biases, offsets, weights, groups, count, width, mark, status, watched, past):
    """A block by the operations of the processor, or by integers; compiled code only."""
    raise NotImplementedError


@overload(_advance)
def _chosen(regs, table, biases, offsets, weights, groups, count, width, mark, status, watched, past):
    def fast(regs, table, biases, offsets, weights, groups, count, width, mark, status, watched, past):
        run_block(regs, table, biases, offsets, weights, groups, count, width, mark, status, watched, past)

    def soft(regs, table, biases, offsets, weights, groups, count, width, mark, status, watched, past):
        soft_kernels.run_block(
            regs, table, biases, offsets, weights, groups, count, width, mark, status, watched, past
        )

    return soft if soft_kernels.is_soft(mark) else fast


NOT_COMPILED = {"carriers.py", "delays.py", "engine.py", "locking.py", "lowering.py", "marks.py"}


def sources_version() -> int:
    """A number that is another one whenever a source file of the kernels has changed."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in NOT_COMPILED:
            digest.update(path.read_bytes())
    return 1 + int.from_bytes(digest.digest()[:4], "big")


def _compiled(version: int) -> Any:
    @kept()
    def run(
        regs,
        table,
        biases,
        offsets,
        weights,
        groups,
        ports,
        tokens,
        outputs,
        room,
        width,
        mark,
        status,
        seen,
        past,
    ):
        """Advance ``width`` sequences over all ``tokens``, block after block.

        Args:
            regs: the registers, flat; the steps before the first token are in place.
            table: see :func:`run_block`, as for all that is not listed here.
            biases: see there.
            offsets: see there.
            weights: see there.
            groups: see there.
            ports: where column 0 is of the token's entries and of the outputs; and, of registers that
                live from step to step, where their past begins and how many columns it has.
            tokens: (width, steps, entries).
            outputs: (width, steps, outputs); written.
            room: how many steps the registers hold.
            width: sequences side by side.
            mark: which rounding.
            status: steps·width, all zero; becomes the sticky status.
            seen: width; the status of each sequence so far; updated.
            past: see there; with columns for all of ``tokens``.

        Returns:
            Whether any status is not 0.
        """
        entries, exits, carried = ports
        held, terms, starts, slots, reach, begun, kernel = past
        first, steps = np.uint64(0), np.uint64(tokens.shape[1])
        dirty = version == 0  # never: but the cache knows compiled functions by what they refer to
        while first < steps:
            count = min(room, steps - first)
            columns = count * width
            here = status[first * width : (first + count) * width]
            watched = False
            for b in range(width):
                watched |= seen[b] != 2
            _load(regs, entries, tokens, first, count, width, here)
            now = (held, terms, starts, slots, reach, begun + first * width, kernel)
            _advance(regs, table, biases, offsets, weights, groups, count, width, mark, here, watched, now)
            _store(regs, exits, outputs, first, count, width)
            _carry(regs, carried, columns)
            dirty |= _accumulate(here, seen, width)
            first += count
        return dirty

    return run


run = _compiled(sources_version())
