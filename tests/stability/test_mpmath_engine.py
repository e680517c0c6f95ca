"""The arbitrary-precision engine, against exact rationals and against one rounding per sum."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from gmpy2 import mpq, mpz
from hypothesis import given
from hypothesis import strategies as st
from mpmath.libmp import from_rational

from compiler.errors import ConfigError
from compiler.evaluate import evaluate, initial_memory, layer_step
from compiler.exact import ZERO, Matrix, Vector
from compiler.model import GATES, Layer, Model, exact_tokens
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


def literal(model: Model, tokens: Sequence[Sequence[mpq]], bits: int) -> list[Vector]:
    """The equations with one rounding per pre-activation and per product, in rationals."""

    def weights(values: Vector) -> Vector:
        return tuple(value if dyadic(value) else rounded(value, bits) for value in values)

    def matrix(exact: Matrix) -> Matrix:
        return Matrix.from_rows(
            exact.width,
            [
                dict(zip([j for j, _ in row], weights(tuple(w for _, w in row)), strict=True))
                for row in exact.rows
            ],
        )

    def short(values: Sequence[mpq]) -> Vector:
        return tuple(rounded(value, bits) for value in values)

    def step(layer: Layer, inputs: Vector, output: Vector, cell: Vector) -> tuple[Vector, Vector]:
        old, new = matrix(layer.weight_hh).times(output), matrix(layer.weight_ih).times(inputs)
        rows = short([sum(parts, ZERO) for parts in zip(weights(layer.bias), old, new, strict=True)])
        gates = [rows[unit :: layer.size] for unit in range(layer.size)]
        relu = layer.kind in {"relu", "rnn", "lstm"}
        gates = [tuple(max(value, ZERO) for value in unit) if relu else unit for unit in gates]
        if GATES[layer.kind] < 4:
            return short([unit[0] * unit[-1] if len(unit) == 2 else unit[0] for unit in gates]), cell
        cell = tuple(
            rounded(rounded(f * c, bits) + rounded(i * g, bits), bits)
            for (i, f, g, _), c in zip(gates, cell, strict=True)
        )
        return short([unit[3] * max(c, ZERO) for unit, c in zip(gates, cell, strict=True)]), cell

    memories = [(weights(m.output), weights(m.cell)) for m in map(initial_memory, model.layers)]
    outputs = []
    for token in tokens:
        wires = [short(token)]
        for number, layer in enumerate(model.layers):
            inputs = tuple(value for wire in layer.inputs for value in wires[wire])
            memories[number] = step(layer, inputs, *memories[number])
            wires.append(memories[number][0])
        inputs = tuple(value for wire in model.readout_wires for value in wires[wire])
        sums = zip(matrix(model.readout).times(inputs), weights(model.readout_bias), strict=True)
        outputs.append(short([total + bias for total, bias in sums]))
    return outputs


@given(st.integers(0, 2**32), st.sampled_from([1, 7, 15, 50]), st.sampled_from([0.0, 0.3]), st.booleans())
def test_one_rounding_per_dot_product(seed: int, dps: int, wild: float, near: bool) -> None:
    """Equal, bit for bit, to rationals rounded by mpmath; so is the path for far exponents."""
    model, tokens = sample(seed, wild)
    spread = sums.FARTHEST
    sums.FARTHEST = spread if near else 20
    try:
        result = execute(model, tokens, f"mpmath{dps}", chunk=seed % 4 + 1)
    finally:
        sums.FARTHEST = spread
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
