"""Evaluation orders of linear recurrences: the same model, other roundings.

A kernel for h_t = A h_{t−1} + B x_t + b need not go step by step.  Each order here is a
rewriting of the model into one that is equal to it as rationals, so every engine and every
policy runs it, and its roundings are those of the order:

* ``step``: as compiled;
* ``chunked(k)``: k tokens at once; h_{t+i} = A^{i+1} h_{t−1} + Σ_{m ≤ i} A^{i−m} (B x_{t+m} + b),
  the powers of A rounded as weights;
* ``scan(k)``: within k tokens the associative scan of Hillis and Steele, log2 k levels
  u_i ← u_i + A^{2^j} u_{i−2^j}, begun at u = B x + b; then h_{t+i} = u_i + A^{i+1} h_{t−1};
* ``convolution``: h_t = s0 + Σ_i A^i (B x_{t−i} + b + A s0 − s0) over the whole prompt.

A chunk is one token of k·dim entries for the rewritten model; layers without memory are
repeated k times, block by block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import ConfigError, LsrlError
from compiler.exact import ONE, ZERO, Matrix, Vector, eye
from compiler.model import GATES, MAX_WINDOW, TOKENS, Layer, Model
from stability.policy import AnyPolicy
from stability.running import Execution, execute

Kind = Literal["step", "chunked", "scan", "convolution"]
MAX_CHUNK = 4096
MAX_ENTRIES = 20_000_000
"""Non-zero entries that a rewriting may have: the powers of a dense A fill up."""
USUAL_CHUNK = 64
ORDER_CHOICES = ("step", f"chunked({USUAL_CHUNK})", f"scan({USUAL_CHUNK})", "convolution")

_NAME = re.compile(r"(step|convolution|chunked|scan)(?:\(([0-9]{1,6})\))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order of evaluation.

    Attributes:
        kind: see the module.
        chunk: k, tokens at once; 1 for ``step`` and ``convolution``.
    """

    kind: Kind = "step"
    chunk: int = 1

    @property
    def name(self) -> str:
        """As :func:`parse_order` reads it."""
        return self.kind if self.kind in {"step", "convolution"} else f"{self.kind}({self.chunk})"


STEP = Order()


def parse_order(name: str | Order) -> Order:
    """The order of that name; ``chunked`` and ``scan`` alone mean 64 tokens at once.

    Raises:
        ConfigError: an unknown name or a chunk out of bounds, with the choices.
    """
    if isinstance(name, Order):
        return name
    found = _NAME.fullmatch(str(name).strip())
    if found is None or (found[2] and found[1] in {"step", "convolution"}):
        raise ConfigError.single(f"unknown order {name!r}", hint="one of " + ", ".join(ORDER_CHOICES))
    if found[1] in {"step", "convolution"}:
        return Order(kind="step" if found[1] == "step" else "convolution")
    chunk = int(found[2] or USUAL_CHUNK)
    if not 1 <= chunk <= MAX_CHUNK:
        raise ConfigError.single(f"order {name!r}", hint=f"1 to {MAX_CHUNK} tokens at once")
    return Order(kind="chunked" if found[1] == "chunked" else "scan", chunk=chunk)


def reordered(model: Model, order: Order, *, length: int) -> Model:
    """The model that computes in another order; see the module for its tokens.

    Args:
        model: whose recurrences are linear.
        order: what it is rewritten to.
        length: of the prompt, which a convolution sees as a whole.

    Raises:
        ConfigError: the model has recurrences that are not linear, a prompt beyond the longest
            convolution, or more entries than fit.
    """
    if order.kind == "step":
        return model
    for layer in model.layers:
        if layer.kind in {"rnn", "lstm", "gru", "conv"}:
            raise ConfigError.single(
                f"order {order.name} is for linear recurrences, but {model.target} has a layer of kind "
                f"{layer.kind}",
                hint="targets linear_rnn, gated_linear_rnn and uncompiled, or order step",
            )
    if order.kind == "convolution":
        return _convolved(model, length)
    if order.chunk * model.nonzeros > MAX_ENTRIES:
        raise _too_large(model, order)
    made = _Chunks(model, order)
    return replace(
        model,
        input_dim=order.chunk * model.input_dim,
        output_dim=order.chunk * model.output_dim,
        layers=tuple(made.layers),
        readout_wires=tuple(made.wires[wire] for wire in model.readout_wires),
        readout=made.over(model.readout, model.readout_wires),
        readout_bias=model.readout_bias * order.chunk,
        settings={**model.settings, "order": order.name},
    )


def _convolved(model: Model, length: int) -> Model:
    if length > MAX_WINDOW:
        raise ConfigError.single(
            f"order convolution over {length} tokens",
            hint=f"prompts of up to {MAX_WINDOW}, or order chunked(64)",
        )
    layers = tuple(replace(layer, kind="conv") if layer.kind == "state" else layer for layer in model.layers)
    return replace(
        model, layers=layers, window=max(1, length), settings={**model.settings, "order": "convolution"}
    )


class _Chunks:
    """The layers of a model, k tokens at once: unit u of step i of a chunk is unit i·size + u."""

    def __init__(self, model: Model, order: Order) -> None:
        self.model, self.order, self.chunk = model, order, order.chunk
        self.layers: list[Layer] = []
        self.wires = [TOKENS]
        self.entries = 0
        for layer in model.layers:
            if layer.kind == "state":
                self._state(layer)
            else:
                self._add(self._repeated(layer))
            self.wires.append(len(self.layers))

    def _add(self, layer: Layer) -> None:
        self.entries += layer.nonzeros
        if self.entries > MAX_ENTRIES:
            raise _too_large(self.model, self.order)
        self.layers.append(layer)

    def places(self, wires: Sequence[int], step: int) -> list[int]:
        """Where the columns of a layer's input stand at one step of a chunk."""
        found, start = list[int](), 0
        for wire in wires:
            size = self.model.wire_size(wire)
            found += range(start + step * size, start + (step + 1) * size)
            start += self.chunk * size
        return found

    def over(self, matrix: Matrix, wires: Sequence[int]) -> Matrix:
        """A matrix over some wires, once for every step."""
        width = self.chunk * sum(self.model.wire_size(wire) for wire in wires)
        rows = []
        for step in range(self.chunk):
            places = self.places(wires, step)
            rows += [{places[j]: value for j, value in row} for row in matrix.rows]
        return Matrix.from_rows(width, rows)

    def _inputs(self, layer: Layer) -> tuple[int, ...]:
        return tuple(self.wires[wire] for wire in layer.inputs)

    def _repeated(self, layer: Layer) -> Layer:
        """A layer without memory; its gates stay stacked gate by gate."""
        size, gates = layer.size, GATES[layer.kind]
        whole = self.over(layer.weight_ih, layer.inputs)
        order = [step * gates * size + gate * size + unit
                 for gate in range(gates) for step in range(self.chunk) for unit in range(size)]  # fmt: skip
        rows = tuple(whole.rows[row] for row in order)
        bias = tuple(layer.bias[row % (gates * size)] for row in order)
        return replace(
            layer, inputs=self._inputs(layer), size=self.chunk * size, weight_ih=replace(whole, rows=rows),
            weight_hh=_none(gates * self.chunk * size, self.chunk * size), bias=bias,
            labels=layer.labels * self.chunk,
        )  # fmt: skip

    def _state(self, layer: Layer) -> None:
        powers = list(_powers(layer.weight_hh, self.chunk + 1))
        if self.order.kind == "chunked":
            self._add(self._closed(layer, powers))
            return
        fed = replace(layer, kind="linear", weight_hh=_none(layer.size, layer.size), initial=(), labels=())
        self._add(self._repeated(fed))
        reach = 1
        while reach < self.chunk:
            self._add(self._level(layer, powers[reach], reach))
            reach *= 2
        whole = self.chunk * layer.size
        self._add(self._carried(layer, powers, len(self.layers), eye(whole), (ZERO,) * whole))

    def _closed(self, layer: Layer, powers: Sequence[Matrix]) -> Layer:
        """All steps of a chunk from its tokens and the chunk before."""
        products = [power @ layer.weight_ih for power in powers[: self.chunk]]
        constants = [power.times(layer.bias) for power in powers[: self.chunk]]
        rows, bias = list[dict[int, mpq]](), list[mpq]()
        running = (ZERO,) * layer.size
        for step in range(self.chunk):
            places = [self.places(layer.inputs, before) for before in range(step + 1)]
            running = tuple(a + b for a, b in zip(running, constants[step], strict=True))
            bias += running
            for unit in range(layer.size):
                rows.append(
                    {places[before][j]: value for before in range(step + 1)
                     for j, value in products[step - before].rows[unit]}
                )  # fmt: skip
        width = self.chunk * layer.weight_ih.width
        made = self._carried(layer, powers, TOKENS, Matrix.from_rows(width, rows), tuple(bias))
        return replace(made, inputs=self._inputs(layer))

    def _carried(self, layer: Layer, powers: Sequence[Matrix], wire: int, fed: Matrix, bias: Vector) -> Layer:
        """A state layer whose steps all read the last step of the chunk before, through A^{i+1}."""
        size, last = layer.size, (self.chunk - 1) * layer.size
        own = [
            {last + j: value for j, value in row}
            for step in range(self.chunk)
            for row in powers[step + 1].rows
        ]
        return Layer(
            kind="state", inputs=(wire,), size=self.chunk * size, weight_ih=fed,
            weight_hh=Matrix.from_rows(self.chunk * size, own), bias=bias,
            initial=(ZERO,) * last + (layer.initial or (ZERO,) * size), labels=layer.labels * self.chunk,
        )  # fmt: skip

    def _level(self, layer: Layer, power: Matrix, reach: int) -> Layer:
        """One level of the scan: every step takes in the sum that ends ``reach`` steps before it."""
        size = layer.size
        rows: list[dict[int, mpq]] = []
        for step in range(self.chunk):
            for unit in range(size):
                row = {step * size + unit: ONE}
                if step >= reach:
                    row |= {(step - reach) * size + j: value for j, value in power.rows[unit]}
                rows.append(row)
        whole = self.chunk * size
        return Layer(
            kind="linear", inputs=(len(self.layers),), size=whole, weight_ih=Matrix.from_rows(whole, rows),
            weight_hh=_none(whole, whole), bias=(ZERO,) * whole,
        )  # fmt: skip


def _too_large(model: Model, order: Order) -> LsrlError:
    return ConfigError.single(
        f"order {order.name} of {model.name} needs more than {MAX_ENTRIES:,} weights", hint="a smaller chunk"
    )


def _none(height: int, width: int) -> Matrix:
    return Matrix.from_rows(width, [{} for _ in range(height)])


def _powers(matrix: Matrix, count: int) -> Iterator[Matrix]:
    """I, A, A², and so on."""
    power = eye(matrix.height)
    for _ in range(count):
        yield power
        power = power @ matrix


def chunked_tokens(tokens: npt.NDArray[Any], order: Order) -> npt.NDArray[Any]:
    """A prompt (…, T, dim) as the rewritten model takes it: (…, ⌈T/k⌉, k·dim), its last token repeated."""
    k = order.chunk
    if k == 1 or not tokens.shape[-2]:
        return tokens
    missing = -tokens.shape[-2] % k
    padded = np.concatenate([tokens, np.repeat(tokens[..., -1:, :], missing, axis=-2)], axis=-2)
    return padded.reshape(*tokens.shape[:-2], padded.shape[-2] // k, k * tokens.shape[-1])


def single_steps(values: npt.NDArray[Any], order: Order, length: int) -> npt.NDArray[Any]:
    """Outputs (…, ⌈T/k⌉, k·dim) of the rewritten model, or statuses (…, ⌈T/k⌉), step by step again."""
    k = order.chunk
    if k == 1:
        return values
    if values.dtype == np.uint8:
        return np.repeat(values, k, axis=-1)[..., :length]
    return values.reshape(*values.shape[:-2], -1, values.shape[-1] // k)[..., :length, :]


def execute_in_order(
    model: Model,
    tokens: npt.NDArray[Any],
    policy: str | AnyPolicy,
    order: Order,
    *,
    engine: str | None = None,
) -> Execution:
    """Run a model over one prompt (T, dim) in an order of evaluation.

    Returns:
        As :func:`stability.running.execute`, step by step; a status holds for its whole chunk.

    Raises:
        ConfigError: as :func:`reordered` and :func:`stability.running.execute`.
        TokenError: as :func:`stability.running.execute`.
    """
    made = reordered(model, order, length=len(tokens))
    ran = execute(made, chunked_tokens(tokens, order), policy, engine=engine)
    return replace(
        ran,
        outputs=single_steps(ran.outputs, order, len(tokens)),
        status=single_steps(ran.status, order, len(tokens)),
    )
