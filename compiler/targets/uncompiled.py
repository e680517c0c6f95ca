"""The control: the program itself, node by node, as a graph of layers.

Executing it in a number format shows what the PROGRAM loses in that format; what a
compiled model loses beyond that is the construction's doing.  Every Linear,
LinState, ReLU and Multi node is one layer; Concat is wiring.
"""

from __future__ import annotations

from typing import assert_never

from compiler import ir
from compiler.exact import ONE, ZERO, Matrix, eye, zeros
from compiler.lowering import Lowered
from compiler.model import TOKENS, Label, Layer
from compiler.targets.base import Stack


def _layer(
    node: ir.Linear | ir.LinState | ir.ReLU | ir.Multi, wires: tuple[int, ...], labels: tuple[Label, ...]
) -> Layer:
    size = node.dim
    none, nil = zeros(size, size), (ZERO,) * size
    match node:
        case ir.Linear(matrix=matrix, bias=bias):
            return Layer(
                kind="linear",
                inputs=wires,
                size=size,
                weight_ih=matrix,
                weight_hh=none,
                bias=bias,
                labels=labels,
            )
        case ir.ReLU():
            return Layer(
                kind="relu",
                inputs=wires,
                size=size,
                weight_ih=eye(size),
                weight_hh=none,
                bias=nil,
                labels=labels,
            )
        case ir.LinState():
            return Layer(
                kind="state",
                inputs=wires,
                size=size,
                weight_ih=node.input_matrix,
                weight_hh=node.state_matrix,
                bias=node.bias,
                initial=node.initial,
                labels=labels,
            )
        case ir.Multi():
            both = Matrix.from_rows(2 * size, [{i: ONE} for i in range(2 * size)])
            return Layer(
                kind="gate",
                inputs=wires,
                size=size,
                weight_ih=both,
                weight_hh=zeros(2 * size, size),
                bias=nil + nil,
                labels=labels,
            )
        case _:
            assert_never(node)


def build_uncompiled(lowered: Lowered) -> tuple[Stack, tuple[int, ...]]:
    """The graph of a lowered program, and the wires that its readout reads."""
    wires: list[tuple[int, ...]] = []
    layers: list[Layer] = []
    for index, node in enumerate(lowered.program.nodes):
        match node:
            case ir.Input():
                wires.append((TOKENS,))
            case ir.Concat(sources=sources):
                wires.append(tuple(wire for source in sources for wire in wires[source]))
            case ir.Linear() | ir.LinState() | ir.ReLU() | ir.Multi():
                name = lowered.program.label(index)
                labels = tuple(Label(variable=name, component=i, span=node.span) for i in range(node.dim))
                layers.append(_layer(node, wires[node.source], labels))
                wires.append((len(layers),))
            case ir.Idiom():
                raise AssertionError("idioms are lowered before targets are built")
            case _:
                assert_never(node)
    dim = lowered.program.output_dim
    return Stack(layers=tuple(layers), readout=eye(dim), readout_bias=(ZERO,) * dim), wires[
        lowered.program.output
    ]
