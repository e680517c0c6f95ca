"""The layers of a compiled model as PyTorch modules (imported only where PyTorch is).

Each takes (T, B, D) and a state, and gives (T, B, H) and the state after the last
token; σ = ReLU.  A layer with real gates is a stock ``nn.LSTM`` or ``nn.GRU``, whose
initial state stands in its buffers h0 and c0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

State = tuple[Tensor, ...]


Step = Callable[[Tensor, Tensor, State], State]
"""(W x + b of all gates, U h', the state) → the state, whose first tensor is h."""


def _state_step(fed: Tensor, own: Tensor, _state: State) -> State:
    return (fed + own,)


def _lstm_step(fed: Tensor, own: Tensor, state: State) -> State:
    entry, forget, candidate, out = torch.relu(fed + own).chunk(4, dim=-1)
    cell = forget * state[1] + entry * candidate
    return out * torch.relu(cell), cell


def _gru_step(fed: Tensor, own: Tensor, state: State) -> State:
    reset_fed, update_fed, candidate_fed = fed.chunk(3, dim=-1)
    reset_own, update_own, candidate_own = own.chunk(3, dim=-1)
    reset = torch.relu(reset_fed + reset_own)
    update = torch.relu(update_fed + update_own)
    candidate = torch.relu(candidate_fed + reset * candidate_own)
    return ((1 - update) * candidate + update * state[0],)


_STEPS: Mapping[str, Step] = {"state": _state_step, "lstm": _lstm_step, "gru": _gru_step}


class Recurrence(nn.Module):
    """state, lstm and gru: one token after the other, by the equations of :mod:`compiler.model`."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor

    def __init__(self, kind: str, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._step = _STEPS[kind]
        for name, array in arrays.items():
            if name.startswith("initial"):
                self.register_buffer(name, torch.empty_like(array))
            else:
                self.register_parameter(name, nn.Parameter(torch.empty_like(array)))

    def start(self, batch: int) -> State:
        """The state before the first token: h, and c of an lstm, each (B, H)."""
        return tuple(initial.expand(batch, -1) for initial in self.buffers())

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """All tokens, one after the other."""
        outputs = []
        for fed in functional.linear(x, self.weight_ih, self.bias):
            state = self._step(fed, state[0] @ self.weight_hh.T, state)
            outputs.append(state[0])
        return torch.stack(outputs), state


class RnnLayer(nn.Module):
    """h = σ(A h' + B x + b): a stock ``nn.RNN`` and its initial state."""

    initial: Tensor

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        size, width = arrays["rnn.weight_ih_l0"].shape
        self.rnn = nn.RNN(width, size, nonlinearity="relu", dtype=arrays["initial"].dtype)
        self.register_buffer("initial", torch.empty_like(arrays["initial"]))

    def start(self, batch: int) -> State:
        """The state before the first token: (B, H)."""
        return (self.initial.expand(batch, -1),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """All tokens in one call of the RNN."""
        outputs, last = self.rnn(x, state[0].unsqueeze(0).contiguous())
        return outputs, (last.squeeze(0),)


class Convolution(nn.Module):
    """conv: h_t = s0 + Σ K_i (x_{t−i}, 1) over the lags i since the first token.

    Its state is the inputs that later tokens still read, (L − 1, B, D + 1).
    """

    kernel: Tensor
    bias: Tensor

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_parameter(name, nn.Parameter(torch.empty_like(array)))

    def start(self, batch: int) -> State:
        """Nothing seen: zeros, in the channel of ones too."""
        lags, _, width = self.kernel.shape
        return (self.kernel.new_zeros((max(lags - 1, 0), batch, width)),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """A sum of matrix products, lag by lag."""
        seen = torch.cat([state[0], torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)])
        outputs = self.bias.expand(*x.shape[:2], -1)
        before = len(state[0])
        for lag, kernel in enumerate(self.kernel):
            outputs = outputs + seen[before - lag : before - lag + len(x)] @ kernel.T
        return outputs, (seen[len(seen) - before :],)


class Pointwise(nn.Module):
    """linear, relu, gate and glu: layers without memory."""

    weight: Tensor
    bias: Tensor

    def __init__(self, kind: str, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.kind = kind
        for name, array in arrays.items():
            self.register_parameter(name, nn.Parameter(torch.empty_like(array)))

    def start(self, _batch: int) -> State:
        """Nothing."""
        return ()

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See :mod:`compiler.model`."""
        sums = functional.linear(x, self.weight, self.bias)
        if self.kind == "relu":
            return torch.relu(sums), state
        if self.kind in {"gate", "glu"}:
            left, right = sums.chunk(2, dim=-1)
            return left * (right if self.kind == "gate" else torch.relu(right)), state
        return sums, state


Stock: TypeAlias = nn.LSTM | nn.GRU
Layer: TypeAlias = RnnLayer | Recurrence | Convolution | Pointwise | Stock


def stock(kind: str, arrays: Mapping[str, Tensor]) -> Stock:
    """A stock module with its initial state, h0 and for an LSTM c0, each (1, 1, H), as buffers."""
    weights = arrays["weight_ih_l0"]
    width, size = weights.shape[1], arrays["weight_hh_l0"].shape[1]
    made: Stock = (nn.LSTM if kind == "lstm" else nn.GRU)(width, size, dtype=weights.dtype)
    for name in _starts(made):
        made.register_buffer(name, torch.empty_like(arrays[name]))
    return made


def _starts(layer: Stock) -> tuple[str, ...]:
    return ("h0", "c0") if isinstance(layer, nn.LSTM) else ("h0",)


def _start(layer: Layer, batch: int) -> State:
    """A layer's state before the first token; of a stock module (1, B, H) each."""
    if isinstance(layer, nn.LSTM | nn.GRU):
        return tuple(getattr(layer, name).expand(1, batch, -1).contiguous() for name in _starts(layer))
    before: State = layer.start(batch)
    return before


def _advance(layer: Layer, x: Tensor, state: State) -> tuple[Tensor, State]:
    """All tokens through a layer."""
    if isinstance(layer, nn.LSTM):
        return cast(tuple[Tensor, State], layer(x, state))
    if isinstance(layer, nn.GRU):
        values, last = layer(x, state[0])
        return values, (last,)
    return cast(tuple[Tensor, State], layer(x, state))


class CompiledModel(nn.Module):
    """A compiled model; see :func:`compiler.export.torch.build_torch`.

    Attributes:
        inputs: per layer, the wires it reads (0: tokens, k + 1: layer k).
        readout_wires: the wires that the readout reads.
    """

    def __init__(
        self, layers: Sequence[Layer], inputs: Sequence[Sequence[int]], readout_wires: Sequence[int],
        readout: Tensor,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.inputs = [tuple(wires) for wires in inputs]
        self.readout_wires = tuple(readout_wires)
        height, width = readout.shape
        self.readout = nn.Linear(width, height, dtype=readout.dtype)

    def forward(self, tokens: Tensor, states: Sequence[State] | None = None) -> tuple[Tensor, list[State]]:
        """Run over tokens (T, B, input_dim), T ≥ 1.

        Args:
            tokens: of the model's dtype.
            states: what an earlier call gave; by default the initial states.

        Returns:
            Outputs (T, B, output_dim), and the states after the last token.
        """
        wires, states = self.wires(tokens, states)
        return self.read(wires), states

    def read(self, wires: Sequence[Tensor]) -> Tensor:
        """The outputs (T, B, output_dim) from the values of all wires."""
        outputs: Tensor = self.readout(_joined(wires, self.readout_wires))
        return outputs

    def wires(
        self, tokens: Tensor, states: Sequence[State] | None = None
    ) -> tuple[list[Tensor], list[State]]:
        """The values of all wires, each (T, B, size), and the states after the last token."""
        wires, after = [tokens], list[State]()
        for number, (module, inputs) in enumerate(zip(self.layers, self.inputs, strict=True)):
            layer = cast(Layer, module)
            before = _start(layer, tokens.shape[1]) if states is None else states[number]
            values, state = _advance(layer, _joined(wires, inputs), before)
            wires.append(values)
            after.append(state)
        return wires, after


def _joined(wires: Sequence[Tensor], chosen: Sequence[int]) -> Tensor:
    return wires[chosen[0]] if len(chosen) == 1 else torch.cat([wires[wire] for wire in chosen], dim=-1)


def _layer(kind: str, activation: str, arrays: Mapping[str, Tensor]) -> Layer:
    if activation == "native":
        return stock(kind, arrays)
    if kind == "rnn":
        return RnnLayer(arrays)
    if kind == "conv":
        return Convolution(arrays)
    return Recurrence(kind, arrays) if kind in _STEPS else Pointwise(kind, arrays)


def build(
    description: Mapping[str, Any], dtype: str, arrays: Mapping[str, npt.NDArray[Any]]
) -> CompiledModel:
    """The module whose state dict is ``arrays``, in ``dtype``."""
    own_type = getattr(torch, dtype)
    tensors = {name: torch.from_numpy(array).to(own_type) for name, array in arrays.items()}
    layers = []
    for number, (kind, activation) in enumerate(
        zip(description["kinds"], description["activations"], strict=True)
    ):
        prefix = f"layers.{number}."
        own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
        layers.append(_layer(kind, activation, own))
    made = CompiledModel(
        layers, description["inputs"], description["readout_wires"], tensors["readout.weight"]
    )
    made.load_state_dict(tensors)
    made.eval()
    return made
