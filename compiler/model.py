"""A compiled model: ordered layers with exact, named weights.

Field vocabulary follows PyTorch: ``weight_ih`` reads the layer's input,
``weight_hh`` its own previous output, ``bias`` is added to both.  A layer of
``size`` H whose kind has G gates stacks them, gate by gate, in G·H rows.

Kinds and their equations (x the input, h' the layer's previous output, σ = ReLU, as in
arXiv 2406.01424; with ``activation="native"`` the real gates below):

======== = ============================================================ ==============
kind     G equations                                                    gate order
======== = ============================================================ ==============
linear   1 h = W x + b
relu     1 h = σ(W x + b)
state    1 h = A h' + B x + b  (A = weight_hh, B = weight_ih)
gate     2 h = (Wa x + ba) ⊙ (Wb x + bb)                                a, b
rnn      1 h = σ(A h' + B x + b)
lstm     4 c = σ(f) ⊙ c' + σ(i) ⊙ σ(g), h = σ(o) ⊙ σ(c)                 i, f, g, o
gru      3 h = (1 − σ(z)) ⊙ σ(n) + σ(z) ⊙ h'                            r, z, n
conv     1 h_t = s0 + Σ_{i < t} K_i (x_{t−i}, 1)                        (below)
glu      2 h = (We x + be) ⊙ σ(Wf x + bf)                               e, f
======== = ============================================================ ==============

In ``lstm`` and ``gru`` each gate's pre-activation is W x + U h' + b, but for n of
``gru``, which is W x + b + σ(r) ⊙ (U h').  The accumulator of
every pre-activation starts at the bias, then adds the columns of ``weight_hh``
in ascending order, then those of ``weight_ih``.

For n of ``gru`` the columns of ``weight_hh`` have an accumulator of their own, which
starts at 0; its value is multiplied by σ(r) and added to the accumulator of the bias and
``weight_ih``.  h is (1 − σ(z)) times σ(n), plus σ(z) times h', in this order.  A format
rounds each of these operations.

With ``activation="native"`` the cells are those of PyTorch and ONNX, S the sigmoid:
``lstm`` has c = S(f) ⊙ c' + S(i) ⊙ tanh(g), h = S(o) ⊙ tanh(c), and ``gru`` has
h = (1 − S(z)) ⊙ tanh(n) + S(z) ⊙ h', where n is W x + b + S(r) ⊙ (U h' + bias_hn).
Orders and roundings are as above (the accumulator of U h' starts at bias_hn), and each S and
tanh is rounded once; neither of them gives −0.

``conv`` is a temporal convolution over all tokens so far, at most ``window`` of the model,
and keeps no state but its inputs.  Its kernels are structured: with A = weight_hh,
B = weight_ih, b = bias and s0 = initial, K_i = A^i [B, b + A s0 − s0], whose last column
reads a channel that is 1 from the first token on and 0 before it, and s0 is the
convolution's bias.  This is s_t = A s_{t−1} + B x_t + b.  A format rounds the entries of
K_i, not A; the accumulator starts at s0, then adds lag 0, lag 1, …, each in the order of
its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gmpy2 import mpq

from compiler.errors import Span, TokenError
from compiler.exact import ONE, Matrix, Vector, exact

Activation = Literal["relu", "native"]
Kind = Literal["linear", "relu", "state", "gate", "rnn", "lstm", "gru", "conv", "glu"]
GATES: Mapping[str, int] = {
    "linear": 1, "relu": 1, "state": 1, "gate": 2, "rnn": 1, "lstm": 4, "gru": 3, "conv": 1, "glu": 2,
}  # fmt: skip
RECURRENT: frozenset[str] = frozenset({"state", "rnn", "lstm", "gru"})
INITIALISED: frozenset[str] = RECURRENT | {"conv"}
MAX_WINDOW = 1 << 16
TOKENS = 0  # the wire of the model's own input; layer k (from 0) drives wire k + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What one unit of a layer carries.

    Attributes:
        variable: the program's variable (or operation and line).
        component: which component of it.
        sign: +1 or −1; 0 for the signed value itself.
        fresh: computed in this layer (``False``: carried through).
        span: the source place of the variable.
        scale: the unit holds ``scale`` times the value (native gates scale by a power of two).
    """

    variable: str
    component: int
    sign: int = 0
    fresh: bool = True
    span: Span | None = None
    scale: mpq = ONE


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One layer; see the module's table for its equations.

    Attributes:
        kind: which equations.
        inputs: the wires it reads, concatenated in this order (0: tokens, k+1: layer k).
        size: H, the number of its outputs.
        weight_ih: (G·H) × D.
        weight_hh: (G·H) × H; all zero for kinds without recurrence or convolution.
        bias: G·H.
        initial: h before the first token (H), for recurrent kinds and ``conv``.
        initial_cell: c before the first token (H), for ``lstm``.
        bias_hn: H, added to U h' of n before the reset gate, for native ``gru``.
        activation: ``native`` for sigmoid and tanh in ``lstm`` and ``gru``, else ``relu``.
        labels: one per unit.
    """

    kind: Kind
    inputs: tuple[int, ...]
    size: int
    weight_ih: Matrix
    weight_hh: Matrix
    bias: Vector
    initial: Vector = ()
    initial_cell: Vector = ()
    bias_hn: Vector = ()
    activation: Activation = "relu"
    labels: tuple[Label, ...] = ()

    @property
    def nonzeros(self) -> int:
        """Non-zero entries of its matrices."""
        return self.weight_ih.nonzeros + self.weight_hh.nonzeros


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A stack (or, for ``uncompiled``, a graph) of layers and a linear readout.

    Attributes:
        target: the architecture's name.
        name: the program's name.
        input_dim: entries per token.
        output_dim: entries per output.
        layers: in an order in which each reads only earlier wires.
        readout_wires: the wires that the readout reads, concatenated.
        readout: output_dim × D, and ``readout_bias``.
        settings: program parameters and compile configuration, as exact strings.
        warnings: what the compiler could not prove.
        window: the longest prompt, for models with ``conv`` layers.
    """

    target: str
    name: str
    input_dim: int
    output_dim: int
    layers: tuple[Layer, ...]
    readout_wires: tuple[int, ...]
    readout: Matrix
    readout_bias: Vector
    settings: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    window: int | None = None

    @property
    def nonzeros(self) -> int:
        """Non-zero entries of the layers' matrices (biases, initial states, readout apart)."""
        return sum(layer.nonzeros for layer in self.layers)

    @property
    def activation(self) -> Activation:
        """``native`` where a layer has real sigmoid and tanh."""
        return "native" if any(layer.activation == "native" for layer in self.layers) else "relu"

    @property
    def labels(self) -> tuple[tuple[Label, ...], ...]:
        """Per layer, what each unit carries."""
        return tuple(layer.labels for layer in self.layers)

    def wire_size(self, wire: int) -> int:
        """Number of values on a wire."""
        return self.input_dim if wire == TOKENS else self.layers[wire - 1].size


def check_window(model: Model, length: int) -> None:
    """Refuse a prompt that a model's convolutions cannot see as a whole.

    Raises:
        TokenError: names the window and the length.
    """
    if model.window is not None and length > model.window:
        raise TokenError.single(
            f"a prompt of {length} tokens is longer than the window of {model.window} tokens of this "
            f"{model.target} model",
            hint=f"compile it with a window of at least {length}, or run a target that keeps a state",
        )


def _exact_entry(value: object) -> mpq:
    """A token's entry; a NumPy float is its binary value, a Python float the decimal it prints as."""
    if hasattr(value, "dtype") and hasattr(value, "as_integer_ratio"):
        return mpq(*value.as_integer_ratio())
    return exact(value)


def exact_tokens(tokens: Sequence[Sequence[object]], dim: int) -> list[Vector]:
    """Check the width of a prompt and give it as exact rationals.

    Raises:
        TokenError: a row of another width, or an entry that is not a finite number.
    """
    rows: list[Vector] = []
    for step, row in enumerate(tokens):
        if len(row) != dim:
            raise TokenError.single(f"token {step} has {len(row)} entries, the program's Input has {dim}")
        try:
            rows.append(tuple(_exact_entry(v) for v in row))
        except (ValueError, TypeError, OverflowError) as problem:
            raise TokenError.single(f"token {step}: {problem}") from None
    return rows
