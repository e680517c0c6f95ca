"""What a compiled model computes, in exact rational arithmetic.

The equations are those of the table in :mod:`compiler.model`, taken literally:
every gate of every unit is computed, nothing is folded or skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from gmpy2 import mpq

from compiler.exact import ZERO, Vector
from compiler.model import TOKENS, Layer, Model, exact_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one layer passes from a token to the next: its output, and an ``lstm``'s cell."""

    output: Vector
    cell: Vector = ()


def evaluate(model: Model, tokens: Sequence[Sequence[object]]) -> list[Vector]:
    """Run a model over one prompt without rounding anything.

    Args:
        model: any compiled model.
        tokens: T rows of ``model.input_dim`` finite numbers, read exactly.

    Returns:
        T outputs of ``model.output_dim`` rationals.

    Raises:
        TokenError: a row of another width, or an entry that is not a finite number.
    """
    memories = [initial_memory(layer) for layer in model.layers]
    outputs: list[Vector] = []
    for token in exact_tokens(tokens, model.input_dim):
        wires: list[Vector] = [token]
        for number, layer in enumerate(model.layers):
            memories[number] = layer_step(layer, _gather(wires, layer.inputs), memories[number])
            wires.append(memories[number].output)
        outputs.append(_plus(model.readout.times(_gather(wires, model.readout_wires)), model.readout_bias))
    return outputs


def initial_memory(layer: Layer) -> Memory:
    """A layer's memory before the first token; zeros where it names none."""
    zeros = (ZERO,) * layer.size
    return Memory(output=layer.initial or zeros, cell=layer.initial_cell or zeros)


def layer_step(layer: Layer, inputs: Vector, memory: Memory) -> Memory:
    """One layer's new output (and cell) from its input and its memory."""
    rows = _plus(_plus(layer.bias, layer.weight_hh.times(memory.output)), layer.weight_ih.times(inputs))
    gates = [rows[start : start + layer.size] for start in range(0, len(rows), layer.size)]
    match layer.kind:
        case "linear" | "state":
            return Memory(output=rows)
        case "relu" | "rnn":
            return Memory(output=_relu(rows))
        case "gate":
            return Memory(output=_times(*gates))
        case "lstm":
            entry, forget, candidate, out = (_relu(gate) for gate in gates)
            cell = _plus(_times(forget, memory.cell), _times(entry, candidate))
            return Memory(output=_times(out, _relu(cell)), cell=cell)
        case _:
            assert_never(layer.kind)


def _gather(wires: Sequence[Vector], chosen: Sequence[int]) -> Vector:
    assert all(wire >= TOKENS for wire in chosen)
    return tuple(value for wire in chosen for value in wires[wire])


def _plus(left: Vector, right: Vector) -> Vector:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _times(left: Vector, right: Vector) -> Vector:
    return tuple(a * b for a, b in zip(left, right, strict=True))


def _relu(values: Vector) -> Vector:
    return tuple(mpq(max(value, ZERO)) for value in values)
