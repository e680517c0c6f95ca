"""The arbitrary-precision engine, against exact rationals and against one rounding per sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from gmpy2 import mpq, mpz
from hypothesis import given
from hypothesis import strategies as st
from mpmath.libmp import from_rational

from compiler import convolution
from compiler.convolution import first_kernel
from compiler.errors import ConfigError
from compiler.evaluate import evaluate, initial_memory, layer_step
from compiler.exact import ZERO, Matrix, Vector
from compiler.model import Layer, Model, exact_tokens
from stability.engines import sums
from stability.engines.mpmath_engine import MpmathEngine
from stability.engines.sums import constant, far_sum, scaled
from stability.formats import FLOAT32, MpmathFormat, parse_format
from stability.running import execute, run
from tests.stability.models import random_model, random_tokens

BITS = MpmathFormat(dps=50).precision


def rational(number: Any) -> mpq:
    """The exact value of an mpf."""
    sign, man, exp, _ = number._mpf_
    value = mpq(man) * mpq(2) ** exp
    return -value if sign else value


def sample(seed: int, wild: float = 0.0) -> tuple[Model, list[list[mpq]]]:
    """A short random model with a few random tokens."""
    rng = np.random.default_rng(seed)
    model = random_model(
        rng, layers=int(rng.integers(1, 6)), graph=bool(rng.integers(2)), wild=wild,
        density=float(rng.choice([0.3, 0.6, 0.9])),
    )  # fmt: skip
    steps = int(rng.integers(1, 6))
    return model, [[mpq(value) for value in row] for row in random_tokens(rng, (steps, 2)).tolist()]


def largest_value(model: Model, tokens: Sequence[Sequence[mpq]]) -> mpq:
    """The largest magnitude among 1, all layers' values and cells, and the outputs."""
    memories = [initial_memory(layer) for layer in model.layers]
    largest = max([mpq(1), *(abs(value) for output in evaluate(model, tokens) for value in output)])
    for token in exact_tokens(tokens, model.input_dim):
        wires: list[Vector] = [token]
        for number, layer in enumerate(model.layers):
            inputs = tuple(value for wire in layer.inputs for value in wires[wire])
            memories[number] = layer_step(layer, inputs, memories[number])
            wires.append(memories[number].output)
            largest = max([largest, *map(abs, memories[number].output), *map(abs, memories[number].cell)])
    return largest


@given(st.integers(0, 2**32))
def test_fifty_digits_agree_with_exact_arithmetic(seed: int) -> None:
    """Within 2^-160 of the largest intermediate value, where no weight magnifies errors."""
    model, tokens = sample(seed)
    bound = largest_value(model, tokens) / mpq(2) ** 160
    for got, exact in zip(run(model, tokens, "mpmath50"), evaluate(model, tokens), strict=True):
        for number, value in zip(got, exact, strict=True):
            assert abs(rational(number) - value) <= bound


def rounded(value: mpq, bits: int) -> mpq:
    """To ``bits`` significant bits, to nearest, by mpmath itself."""
    sign, man, exp, _ = from_rational(int(value.numerator), int(value.denominator), bits, "n")
    return (-1 if sign else 1) * mpq(man) * mpq(2) ** exp


def dyadic(value: mpq) -> bool:
    """Whether the denominator is a power of two."""
    return bool(value.denominator & (value.denominator - 1) == 0)


class Rounder:
    """The layers' equations with one rounding per pre-activation and per product, in rationals."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def short(self, values: Iterable[mpq]) -> Vector:
        """Every value rounded."""
        return tuple(rounded(value, self.bits) for value in values)

    def weights(self, values: Vector) -> Vector:
        """Constants: rounded unless dyadic."""
        return tuple(value if dyadic(value) else rounded(value, self.bits) for value in values)

    def times(self, matrix: Matrix, vector: Vector) -> Vector:
        """The exact product of the matrix's constants and a vector."""
        return tuple(
            sum((self.weights((weight,))[0] * vector[j] for j, weight in row), ZERO) for row in matrix.rows
        )

    def step(self, layer: Layer, inputs: Vector, output: Vector, past: Any) -> tuple[Vector, Any]:
        """New output, and new past: a cell, or what a convolution has seen."""
        if layer.kind == "conv":
            return self.conv(layer, ((*inputs, mpq(1)), *past))
        bias = self.weights(layer.bias)
        old, new = self.times(layer.weight_hh, output), self.times(layer.weight_ih, inputs)
        if layer.kind == "gru":
            return self.gru(bias, old, new, output), past
        rows = self.short(sum(parts, ZERO) for parts in zip(bias, old, new, strict=True))
        gates = [rows[start : start + layer.size] for start in range(0, len(rows), layer.size)]
        match layer.kind:
            case "lstm":
                return self.lstm([relu(gate) for gate in gates], past)
            case "gate" | "glu":
                right = relu(gates[1]) if layer.kind == "glu" else gates[1]
                return self.short(a * b for a, b in zip(gates[0], right, strict=True)), past
            case _:
                return (relu(rows) if layer.kind in {"relu", "rnn"} else rows), past

    def conv(self, layer: Layer, seen: tuple[Vector, ...]) -> tuple[Vector, Any]:
        """All lags in one exact sum."""
        total, kernel = self.weights(layer.initial or (ZERO,) * layer.size), first_kernel(layer)
        for token in seen:
            total = tuple(a + b for a, b in zip(total, self.times(kernel, token), strict=True))
            kernel = layer.weight_hh @ kernel
        return self.short(total), seen

    def lstm(self, gates: list[Vector], cell: Vector) -> tuple[Vector, Any]:
        """The cell's two products and their sum, then the output's product."""
        entry, forget, candidate, out = gates
        kept = self.short(f * c for f, c in zip(forget, cell, strict=True))
        taken = self.short(i * g for i, g in zip(entry, candidate, strict=True))
        cell = self.short(k + t for k, t in zip(kept, taken, strict=True))
        return self.short(o * c for o, c in zip(out, relu(cell), strict=True)), cell

    def gru(self, bias: Vector, old: Vector, new: Vector, output: Vector) -> Vector:
        """From the rows' sums over h' (old) and over x (new)."""
        size = len(output)
        first = zip(bias[: 2 * size], old, new, strict=False)
        switches = relu(self.short(sum(each, ZERO) for each in first))
        fed = self.short(r * own for r, own in zip(switches[:size], self.short(old[2 * size :]), strict=True))
        last = zip(bias[2 * size :], new[2 * size :], fed, strict=True)
        candidate = relu(self.short(sum(each, ZERO) for each in last))
        opposite = self.short(1 - z for z in switches[size:])
        taken = self.short(a * n for a, n in zip(opposite, candidate, strict=True))
        kept = self.short(z * before for z, before in zip(switches[size:], output, strict=True))
        return self.short(t + k for t, k in zip(taken, kept, strict=True))


def relu(values: Vector) -> Vector:
    """max(0, x), elementwise."""
    return tuple(max(value, ZERO) for value in values)


def literal(
    model: Model, tokens: Sequence[Sequence[mpq]], bits: int, rounder: type[Rounder] = Rounder
) -> list[Vector]:
    """What a model gives at ``bits`` significant bits."""
    by = rounder(bits)
    memories: list[tuple[Vector, Any]] = []
    for layer in model.layers:
        zeros = (ZERO,) * layer.size
        cell = () if layer.kind == "conv" else by.weights(layer.initial_cell or zeros)
        memories.append((by.weights(layer.initial or zeros), cell))
    outputs = []
    for token in tokens:
        wires = [by.short(token)]
        for number, layer in enumerate(model.layers):
            inputs = tuple(value for wire in layer.inputs for value in wires[wire])
            memories[number] = by.step(layer, inputs, *memories[number])
            wires.append(memories[number][0])
        inputs = tuple(value for wire in model.readout_wires for value in wires[wire])
        ends = zip(by.times(model.readout, inputs), by.weights(model.readout_bias), strict=True)
        outputs.append(by.short(total + bias for total, bias in ends))
    return outputs


@given(st.integers(0, 2**32), st.sampled_from([1, 7, 15, 50]), st.sampled_from([0.0, 0.3]), st.booleans())
def test_one_rounding_per_dot_product(seed: int, dps: int, wild: float, near: bool) -> None:
    """Equal, bit for bit, to rationals rounded by mpmath; so is the path for far exponents."""
    model, tokens = sample(seed, wild)
    spread = sums.FARTHEST
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "FARTHEST", spread if near else 20)
        patch.setattr(convolution, "LONGEST", 1 << 20)
        result = execute(model, tokens, f"mpmath{dps}", chunk=seed % 4 + 1)
    got = [tuple(map(rational, row)) for row in result.outputs]
    assert got == literal(model, tokens, MpmathFormat(dps=dps).precision)
    assert not result.status.any()


@given(
    st.lists(st.tuples(st.integers(-(2**12), 2**12), st.integers(-200, 200)), max_size=8),
    st.integers(1, 30),
)
def test_no_term_of_a_sum_is_lost(terms: list[tuple[int, int]], bits: int) -> None:
    """With exponents far apart and with cancellation, the sum rounds as the exact sum does."""
    for extra in ([], [(-man, exp) for man, exp in terms[:3]]):
        chosen = [(mpz(man), exp) for man, exp in terms + extra]
        exact = sum((mpq(man) * mpq(2) ** exp for man, exp in chosen), ZERO)
        man, exp = far_sum(chosen, bits, farthest=16)
        assert rounded(mpq(man) * mpq(2) ** exp, bits) == rounded(exact, bits)


@given(st.fractions(), st.integers(1, 200))
def test_constants_are_exact_if_dyadic_and_else_rounded_once(value: Fraction, bits: int) -> None:
    """Rounding agrees with mpmath's division."""
    exact = mpq(value)
    for convert, expected in (
        (scaled, rounded(exact, bits)), (constant, exact if dyadic(exact) else rounded(exact, bits)),
    ):  # fmt: skip
        man, exp = convert(exact, bits)
        assert mpq(man) * mpq(2) ** exp == expected


def test_batches_chunks_and_kept_wires_give_the_same_numbers() -> None:
    """Sequences side by side, in any chunks, and with wires kept: as one by one."""
    rng = np.random.default_rng(4)
    model = random_model(rng, layers=6, graph=True)
    tokens = random_tokens(rng, (300, 4, 2))
    wires = range(len(model.layers) + 1)
    whole = execute(model, tokens, "mpmath30", chunk=3, keep=wires)
    for number in (0, 299):
        single = execute(model, tokens[number], "mpmath30", keep=wires)
        assert (single.outputs == whole.outputs[number]).all()
        assert all((single.wires[wire] == whole.wires[wire][number]).all() for wire in wires)


def test_growth_and_decay_have_no_bounds() -> None:
    """A cell that is squared at each step reaches exponents that no alignment could hold."""
    layer = Layer(
        kind="lstm", inputs=(0,), size=2,
        weight_ih=Matrix.from_rows(1, [{}] * 8),
        weight_hh=Matrix.from_rows(2, [{0: mpq(1)}, {1: mpq(1)}, {}, {}, {0: mpq(1)}, {1: mpq(1)}, {}, {}]),
        bias=(*[mpq(0)] * 4, mpq(0), mpq(0), mpq(1), mpq(1)), initial=(mpq(3), mpq(1, 3)),
    )  # fmt: skip
    model = Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=Matrix.dense([[1, 1]]), readout_bias=(mpq(0),),
    )  # fmt: skip
    outputs = run(model, [[0]] * 60, "mpmath20")[:, 0]
    context = mpmath.MPContext()
    context.dps = 20
    expected = context.mpf(2) ** 60 * context.log(3)
    assert abs(context.log(outputs[-1]) / expected - 1) < context.mpf(10) ** -17


def test_mpmath_s_own_precision_is_neither_used_nor_changed() -> None:
    """The global context keeps its digits, and does not decide ours."""
    model, tokens = sample(1)
    before = mpmath.mp.dps
    first = run(model, tokens, "mpmath50")
    with mpmath.workdps(3):
        second = run(model, tokens, "mpmath50")
    assert mpmath.mp.dps == before
    assert all(rational(a) == rational(b) for a, b in zip(first.flat, second.flat, strict=True))


def test_results_are_mpf_numbers_with_their_own_digits() -> None:
    """Printing or computing with a result uses the digits of the format."""
    model, tokens = sample(2)
    number = run(model, tokens, "mpmath(dps=40)").flat[0]
    assert number.context.dps == 40


def test_float_formats_are_refused() -> None:
    """The error names what it can run."""
    with pytest.raises(ConfigError, match=r"'mpmath' cannot run float32 .mpmath50"):
        MpmathEngine().prepare(sample(0)[0], FLOAT32)
    assert parse_format("mpmath50").precision == BITS
