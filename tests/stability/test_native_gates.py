"""Sigmoid and tanh in the layers: fast engines equal the literal cells, non-finite values included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import add, mul
from typing import Any

import mpmath
import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import example, given
from hypothesis import strategies as st

from compiler.errors import ConfigError
from compiler.evaluate import evaluate
from compiler.exact import ZERO, Matrix, Vector, zeros
from compiler.model import Kind, Layer, Model
from stability.activations import Function
from stability.engines.base import Status
from stability.engines.native.engine import NativeEngine, half_in_hardware
from stability.engines.plan import build_plan
from stability.formats import FLOAT16, FLOAT32, FLOAT64, Format, MpmathFormat
from stability.running import execute
from tests.stability.models import random_model, random_tokens, same
from tests.stability.test_mpmath_engine import Rounder, literal, rational

NAMES = ["float16", "float32", "float64"]
GATED: tuple[Kind, ...] = ("lstm", "gru", "lstm", "gru", "linear", "relu", "gate")
CONVERSIONS = [False, True] if half_in_hardware() else [False]
S = 200


def equal_to_twin(seed: int, name: str) -> None:
    """One random model and prompt: outputs, status and all wires, in any chunks and blocks."""
    rng = np.random.default_rng(seed)
    wild = float(rng.choice([0.0, 0.0, 0.05, 0.3]))
    model = random_model(
        rng, layers=int(rng.integers(1, 4)), density=float(rng.choice([0.3, 0.6, 0.9])), wild=wild,
        graph=bool(rng.integers(2)), kinds=GATED, native=True,
    )  # fmt: skip
    shape = (int(rng.choice([1, 2, 9])), int(rng.integers(1, 9)), model.input_dim)
    tokens = random_tokens(rng, shape, wild=float(rng.choice([0.0, 0.02, 0.2])))
    everything = range(len(model.layers) + 1)
    twin = execute(model, tokens, name, engine="scalar", keep=everything)
    for hardware in CONVERSIONS if name == "float16" else [False]:
        for keep in ((), everything):
            engine = NativeEngine(hardware=hardware, columns=int(rng.choice([4, 33, 512])))
            fast = execute(model, tokens, name, keep=keep, chunk=int(rng.integers(1, 12)), engine=engine)
            assert same(fast.outputs, twin.outputs)
            assert np.array_equal(fast.status, twin.status)
            assert all(same(fast.wires[wire], twin.wires[wire]) for wire in keep)


@pytest.mark.parametrize("name", NAMES)
def test_native_equals_the_scalar_twin(name: str) -> None:
    """Random stacks with real gates, saturated and ordinary, with overflow and nan: the same bits."""

    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        equal_to_twin(seed, name)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_batch_chunk_and_block_do_not_change_a_bit(name: str) -> None:
    """Batch 64 equals 64 prompts one by one, in any chunks and blocks."""
    model = random_model(np.random.default_rng(6), layers=5, graph=True, kinds=GATED, native=True)
    tokens = random_tokens(np.random.default_rng(7), (64, 23, 2))
    whole = execute(model, tokens, name)
    for columns, chunk in ((None, None), (64, 1), (1000, 10), (7, 23)):
        again = execute(model, tokens, name, engine=NativeEngine(columns=columns), chunk=chunk)
        assert same(again.outputs, whole.outputs)
        assert np.array_equal(again.status, whole.status)
    for number in (0, 1, 63):
        single = execute(model, tokens[number], name)
        assert same(single.outputs, whole.outputs[number])
        assert np.array_equal(single.status, whole.status[number])


PROMPTS: tuple[list[list[float]], ...] = (
    [[0], [1], [-3], [0.25]], [[1], [1e6], [1], [0]], [[1e300], [-1e300], [0]],
)  # fmt: skip
Gate = int | None
"""A gate's constant bias; ``None``: it reads the token."""


def unit(kind: Kind, gates: list[Gate], *, cell: int = 0, own: int = 0, weight: int = 2) -> Model:
    """One unit with real gates; they stand in the order of the layer's kind."""
    layer = Layer(
        kind=kind, inputs=(0,), size=1, activation="native",
        weight_ih=Matrix.from_rows(1, [{0: mpq(weight)} if gate is None else {} for gate in gates]),
        weight_hh=zeros(len(gates), 1), bias=tuple(mpq(gate or 0) for gate in gates),
        initial_cell=(mpq(cell),) if kind == "lstm" else (), bias_hn=(mpq(own),) if own else (),
    )  # fmt: skip
    return Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=Matrix.dense([[2]]), readout_bias=(mpq(0),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        # σ(o)·tanh(tanh(g)): a ReLU or a bypass
        (unit("lstm", [S, -S, None, None]), ["Affine sigmoid", "Affine tanh", "Affine tanh", "Product none"]),
        # tanh(σ(i)·tanh(g)): a gate
        (unit("lstm", [None, -S, None, S]), ["Affine sigmoid", "Affine tanh", "Product tanh"]),
        # σ(o): a Boolean
        (unit("lstm", [-S, S, 0, None], cell=100), ["Affine sigmoid"]),
        (unit("lstm", [0, S, 0, None], cell=100), ["Affine sigmoid"]),
        # tanh(c): an accumulator, whose constant gates are registers
        (
            unit("lstm", [S, S, None, S]),
            ["Affine none", "Affine none", "Affine tanh", "Affine tanh", "Cell none"],
        ),
        # tanh(n), and tanh(σ(r)·bias_hn): a Boolean
        (unit("gru", [S, -S, None]), ["Affine tanh"]),
        (unit("gru", [None, -S, 0], own=20), ["Affine none", "Affine sigmoid", "Product tanh"]),
    ],
)  # fmt: skip
def test_gates_that_are_exactly_0_or_1_are_not_computed(model: Model, kinds: list[str]) -> None:
    """In float16 and float32, where sigmoid(−200) is 0; the bits are those of the literal cell."""
    for fmt in (FLOAT16, FLOAT32):
        assert operations_named(model, fmt) == kinds
    for name in NAMES:
        for tokens in PROMPTS:
            assert equals_twin(model, tokens, name)


def operations_named(model: Model, fmt: Format | MpmathFormat) -> list[str]:
    """What is computed, the readout apart: kinds of operations and their activations, sorted."""
    found = [operation for group in build_plan(model, fmt).groups for operation in group.operations][:-1]
    return sorted(f"{type(each).__name__} {getattr(each, 'activation', 'none')}" for each in found)


def equals_twin(model: Model, tokens: list[list[float]], name: str) -> bool:
    """Outputs and status of both engines, bit for bit."""
    fast, twin = execute(model, tokens, name), execute(model, tokens, name, engine="scalar")
    return same(fast.outputs, twin.outputs) and np.array_equal(fast.status, twin.status)


def test_a_gate_that_is_only_almost_0_is_computed() -> None:
    """In float64 and in 50 digits sigmoid(−200) is 1.4e-87: a cell of 100 is still there after one step."""
    model = unit("lstm", [S, -S, 0, S], cell=100)
    kept = 2 * np.exp(-200.0) * 100
    for fmt in (FLOAT64, MpmathFormat(dps=50)):
        assert "Cell none" in operations_named(model, fmt)
        first, second = execute(model, [[0], [0]], fmt).outputs[:, 0]
        assert float(first) == pytest.approx(kept, rel=1e-14)
        assert float(second) == pytest.approx(kept * np.exp(-200.0), rel=1e-14)
    assert execute(model, [[0]], "float32").outputs[0, 0] == 0


@pytest.mark.parametrize(("name", "weight"), [("float16", 30000), ("float32", 10**38)])
def test_an_infinity_that_a_sigmoid_hides_still_counts(name: str, weight: int) -> None:
    """Pre-activations of ±∞ give 1 and 0, and the sequence is marked from that step on."""
    model = unit("lstm", [-S, S, 0, None], cell=100, weight=weight)
    tokens: list[list[float]] = [[0], [5], [-5], [0]]
    result = execute(model, tokens, name)
    assert result.outputs[:, 0].tolist() == [1, 2, 0, 1]
    assert result.status.tolist() == [Status.OK, *[Status.OVERFLOW] * 3]
    assert equals_twin(model, tokens, name)


def test_nan_stays_in_a_cell_whose_forget_gate_is_zero() -> None:
    """0·nan is nan: the folded unit keeps what the literal cell would do, from nan in either gate."""
    layer = Layer(
        kind="lstm", inputs=(0,), size=1, activation="native",
        weight_ih=Matrix.dense([[0, 0], [0, 0], [1000, -1000], [0, 0]]), weight_hh=zeros(4, 1),
        bias=(mpq(S), mpq(-S), mpq(0), mpq(S)),
    )  # fmt: skip
    model = replace(unit("lstm", [S, -S, None, S]), layers=(layer,), input_dim=2)
    tokens: list[list[float]] = [[1, 1], [100, 1], [100, 100], [1, 1]]
    result = execute(model, tokens, "float16")
    assert result.status.tolist() == [Status.OK, Status.OVERFLOW, Status.NAN, Status.NAN]
    assert np.isnan(result.outputs[2:]).all()
    assert equals_twin(model, tokens, "float16")


class RealRounder(Rounder):
    """The cells with sigmoid and tanh, each rounded once."""

    def smooth(self, function: Function, values: Iterable[mpq]) -> Vector:
        """The function by mpmath with many more digits."""
        context = mpmath.MPContext()
        context.prec = 4 * self.bits + 400
        return self.short(real(context, function, value) for value in values)

    def step(self, layer: Layer, inputs: Vector, output: Vector, past: Any) -> tuple[Vector, Any]:
        """New output and cell."""
        if layer.activation == "relu":
            return super().step(layer, inputs, output, past)
        size, bias = layer.size, self.weights(layer.bias)
        old, new = self.times(layer.weight_hh, output), self.times(layer.weight_ih, inputs)
        rows = [sum(parts, ZERO) for parts in zip(bias, old, new, strict=True)]
        sigmoid = [self.smooth("sigmoid", self.short(rows[k * size : (k + 1) * size])) for k in range(2)]
        if layer.kind == "lstm":
            entry, forget = sigmoid
            candidate = self.smooth("tanh", self.short(rows[2 * size : 3 * size]))
            out = self.smooth("sigmoid", self.short(rows[3 * size :]))
            taken = self.by(entry, candidate)
            cell = self.short(map(add, self.by(forget, past), taken))
            return self.by(out, self.smooth("tanh", cell)), cell
        reset, update = sigmoid
        own = self.short(map(add, old[2 * size :], self.weights(layer.bias_hn or (ZERO,) * size)))
        ends = zip(bias[2 * size :], new[2 * size :], self.by(reset, own), strict=True)
        candidate = self.smooth("tanh", self.short(sum(parts, ZERO) for parts in ends))
        taken = self.by(self.short(1 - z for z in update), candidate)
        return self.short(map(add, taken, self.by(update, output))), past

    def by(self, left: Vector, right: Vector) -> Vector:
        """The product, rounded."""
        return self.short(map(mul, left, right))


def real(context: Any, function: Function, value: mpq) -> mpq:
    """A function of a rational in an mpmath context, as a rational."""
    x = context.mpf(int(value.numerator)) / int(value.denominator)
    return rational(context.tanh(x) if function == "tanh" else 1 / (1 + context.exp(-x)))


@given(st.integers(0, 2**32), st.sampled_from([1, 15, 50, 100]))
@example(seed=3, dps=50)
def test_arbitrary_precision_rounds_each_value_once(seed: int, dps: int) -> None:
    """Equal, bit for bit, to rationals and functions of more digits, all rounded by mpmath."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=int(rng.integers(1, 4)), kinds=("lstm", "gru"), native=True)
    tokens = [[mpq(value) for value in row] for row in random_tokens(rng, (4, 2)).tolist()]
    result = execute(model, tokens, f"mpmath{dps}", chunk=seed % 4 + 1)
    expected = literal(model, tokens, MpmathFormat(dps=dps).precision, RealRounder)
    assert [tuple(map(rational, row)) for row in result.outputs] == expected


def test_fifty_digits_agree_with_a_loop_in_mpmath() -> None:
    """An ordinary loop over mpf numbers, in whatever order it sums, ends within 1e-45."""
    rng = np.random.default_rng(11)
    model = random_model(rng, layers=2, kinds=("lstm",), native=True)
    tokens = random_tokens(rng, (12, 2))
    context = mpmath.MPContext()
    context.dps = 60

    def number(value: mpq) -> Any:
        return context.mpf(int(value.numerator)) / int(value.denominator)

    def affine(matrix: Matrix, values: list[Any], start: list[Any]) -> list[Any]:
        return [
            total + sum(number(w) * values[j] for j, w in row)
            for total, row in zip(start, matrix.rows, strict=True)
        ]

    def sigmoid(value: Any) -> Any:
        return 1 / (1 + context.exp(-value))

    hidden = [[number(v) for v in layer.initial or (ZERO,) * layer.size] for layer in model.layers]
    cells = [[number(v) for v in layer.initial_cell or (ZERO,) * layer.size] for layer in model.layers]
    found = execute(model, tokens, "mpmath50").outputs
    for token, outputs in zip(tokens, found, strict=True):
        values = [context.mpf(value) for value in token]
        for k, layer in enumerate(model.layers):
            rows = affine(
                layer.weight_ih, values, affine(layer.weight_hh, hidden[k], [*map(number, layer.bias)])
            )
            i, f, g, o = (rows[n * layer.size : (n + 1) * layer.size] for n in range(4))
            gates = zip(f, cells[k], i, g, strict=True)
            cells[k] = [sigmoid(a) * c + sigmoid(b) * context.tanh(d) for a, c, b, d in gates]
            hidden[k] = values = [sigmoid(a) * context.tanh(c) for a, c in zip(o, cells[k], strict=True)]
        expected = affine(model.readout, values, [*map(number, model.readout_bias)])
        assert all(abs(a - b) < context.mpf(10) ** -45 for a, b in zip(outputs, expected, strict=True))


def test_there_is_no_rational_evaluation() -> None:
    """The refusal says what runs instead."""
    with pytest.raises(
        ConfigError, match=r"lstm layers with sigmoid and tanh have no rational values .*mpmath50"
    ):
        evaluate(unit("lstm", [S, -S, None, S]), [[1]])
