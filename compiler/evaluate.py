"""What a compiled model computes, in exact rational arithmetic.

The equations are those of the table in :mod:`compiler.model`, taken literally:
every gate of every unit is computed, nothing is folded or skipped.  Layers with real gates
have no rational values and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from gmpy2 import mpq

from compiler.convolution import first_kernel
from compiler.errors import ConfigError
from compiler.exact import ONE, ZERO, Vector
from compiler.model import TOKENS, Layer, Model, check_window, exact_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one layer passes from a token to the next.

    Attributes:
        output: its output.
        cell: an ``lstm``'s cell.
        seen: all inputs of a ``conv`` so far, the last one first.
    """

    output: Vector
    cell: Vector = ()
    seen: tuple[Vector, ...] = ()


def evaluate(model: Model, tokens: Sequence[Sequence[object]], *, reset_before: bool = False) -> list[Vector]:
    """Run a model over one prompt without rounding anything.

    Args:
        model: any compiled model.
        tokens: T rows of ``model.input_dim`` finite numbers, read exactly.
        reset_before: read ``gru`` layers by Cho's convention, n = W x + b + U (σ(r) ⊙ h'),
            in place of PyTorch's, n = W x + b + σ(r) ⊙ (U h').

    Returns:
        T outputs of ``model.output_dim`` rationals.

    Raises:
        TokenError: a row of another width, an entry that is not a finite number, or a prompt
            longer than the model's window.
        ConfigError: a layer has sigmoid and tanh.
    """
    check_window(model, len(tokens))
    memories = [initial_memory(layer) for layer in model.layers]
    outputs: list[Vector] = []
    for token in exact_tokens(tokens, model.input_dim):
        wires: list[Vector] = [token]
        for number, layer in enumerate(model.layers):
            memories[number] = layer_step(
                layer, _gather(wires, layer.inputs), memories[number], reset_before=reset_before
            )
            wires.append(memories[number].output)
        outputs.append(_plus(model.readout.times(_gather(wires, model.readout_wires)), model.readout_bias))
    return outputs


def initial_memory(layer: Layer) -> Memory:
    """A layer's memory before the first token; zeros where it names none.

    Raises:
        ConfigError: the layer has sigmoid and tanh.
    """
    if layer.activation == "native":
        raise ConfigError.single(
            f"{layer.kind} layers with sigmoid and tanh have no rational values",
            hint="run the model in arbitrary precision, such as mpmath50, or compile it with ReLU gates",
        )
    zeros = (ZERO,) * layer.size
    return Memory(output=layer.initial or zeros, cell=layer.initial_cell or zeros)


def layer_step(layer: Layer, inputs: Vector, memory: Memory, *, reset_before: bool = False) -> Memory:
    """One layer's new output (and cell) from its input and its memory."""
    if layer.kind == "gru":
        return Memory(output=_gru(layer, inputs, memory.output, reset_before=reset_before))
    if layer.kind == "conv":
        seen = (inputs, *memory.seen)
        return Memory(output=_convolution(layer, seen), seen=seen)
    rows = _plus(_plus(layer.bias, layer.weight_hh.times(memory.output)), layer.weight_ih.times(inputs))
    gates = [rows[start : start + layer.size] for start in range(0, len(rows), layer.size)]
    match layer.kind:
        case "linear" | "state":
            output = rows
        case "relu" | "rnn":
            output = _relu(rows)
        case "gate":
            output = _times(*gates)
        case "glu":
            output = _times(gates[0], _relu(gates[1]))
        case "lstm":
            entry, forget, candidate, out = (_relu(gate) for gate in gates)
            cell = _plus(_times(forget, memory.cell), _times(entry, candidate))
            return Memory(output=_times(out, _relu(cell)), cell=cell)
        case _:
            assert_never(layer.kind)
    return Memory(output=output)


def _gru(layer: Layer, inputs: Vector, before: Vector, *, reset_before: bool) -> Vector:
    size = layer.size
    entry = _plus(layer.weight_ih.times(inputs), layer.bias)
    own = layer.weight_hh.times(before)
    reset = _relu(_plus(entry[:size], own[:size]))
    update = _relu(_plus(entry[size : 2 * size], own[size : 2 * size]))
    if reset_before:
        fed = layer.weight_hh.times(_times(reset, before))[2 * size :]
    else:
        fed = _times(reset, own[2 * size :])
    candidate = _relu(_plus(entry[2 * size :], fed))
    kept = _times(update, before)
    return tuple((1 - z) * n + k for z, n, k in zip(update, candidate, kept, strict=True))


def _convolution(layer: Layer, seen: Sequence[Vector]) -> Vector:
    total, kernel = layer.initial or (ZERO,) * layer.size, first_kernel(layer)
    for inputs in seen:
        total = _plus(total, kernel.times((*inputs, ONE)))
        kernel = layer.weight_hh @ kernel
    return total


def _gather(wires: Sequence[Vector], chosen: Sequence[int]) -> Vector:
    assert all(wire >= TOKENS for wire in chosen)
    return tuple(value for wire in chosen for value in wires[wire])


def _plus(left: Vector, right: Vector) -> Vector:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _times(left: Vector, right: Vector) -> Vector:
    return tuple(a * b for a, b in zip(left, right, strict=True))


def _relu(values: Vector) -> Vector:
    return tuple(mpq(max(value, ZERO)) for value in values)
