"""Griffin: as Hawk, with local attention in place of every third temporal block.

arXiv 2406.01424, appendix E; see :mod:`compiler.targets.hawk`.  Temporal blocks 3, 6, 9, …
are local multi-query attention with a window of 1: the softmax over a single key is 1, so
the block is its value and output projections, here their product, the identity - a layer
of kind ``linear``.  Such a block cannot carry anything through time: a state layer that
would fall on one is moved up by an identity layer.

A compiled Griffin has a finite window and keeps no state between tokens; a longer prompt
is refused.  Its lack of drift is no finding.

Simplifications of the paper kept: those of Hawk, no rotary embedding, one head.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.exact import ZERO, eye
from compiler.path import Path
from compiler.targets.base import Stack, Target
from compiler.targets.hawk import Blocks, Wire, finished, mlp_block, tokens_wire

PERIOD = 3
"""Every third temporal block is attention."""


def _attention(blocks: Blocks, below: Wire) -> None:
    width = below.width
    labels = [
        replace(label, variable=f"{label.variable} (attention, window 1)") for label in below.passed().labels
    ]
    blocks.add("linear", eye(width), (ZERO,) * width, labels)


def _build(path: Path) -> Stack:
    blocks, below = Blocks(), tokens_wire(path)
    number = 0
    for each in path.layers:
        number += 1
        if each.layer.kind == "state" and number % PERIOD == 0:
            _attention(blocks, below)
            below = below.passed()
            blocks.passing_mlp(below.labels)
            number += 1
        if each.layer.kind == "state":
            blocks.state(each.layer, below)
        elif number % PERIOD == 0:
            _attention(blocks, below)
        else:
            blocks.passing_convolution(below)
        below = mlp_block(blocks, each, below)
    return finished(blocks, path, below)


GRIFFIN = Target(
    name="griffin",
    gated=True,
    build=_build,
    summary="Hawk with local attention as every third temporal block",
    windowed=True,
)
