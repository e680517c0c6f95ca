"""Rounding of exported weights, and what an export refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import CompileRefusal, ConfigError
from compiler.exact import Matrix, cycle, diag, eye, ones, rotation, shift, zeros
from compiler.export import dense
from compiler.export.dense import DTYPES, dense_model
from compiler.model import GATES, Kind, Layer, Model
from stability.engines.convolution import lag_kernels
from stability.rounding import round_rational
from tests.stability.models import random_model

KINDS: tuple[Kind, ...] = ("linear", "relu", "state", "gate", "glu", "rnn", "lstm", "gru")


def one_constant(value: mpq) -> Model:
    """A model without layers whose readout is one constant."""
    return Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(), readout_wires=(0,),
        readout=Matrix.dense([[value]]), readout_bias=(mpq(0),),
    )  # fmt: skip


def rationals() -> st.SearchStrategy[mpq]:
    """Rationals of every size, many next to the middle of two floating-point numbers."""
    odd = st.integers(-(2**26), 2**26).map(lambda whole: 2 * whole + 1)
    exponents = st.integers(-1200, 1100)
    middles = st.tuples(odd, exponents, st.integers(-1, 1)).map(
        lambda parts: mpq(parts[0]) * mpq(2) ** parts[1] + parts[2] * mpq(1, 10**400)
    )
    return middles | st.fractions().map(mpq)


@given(rationals(), st.sampled_from(sorted(DTYPES)))
def test_weights_are_rounded_once(value: mpq, dtype: str) -> None:
    """The export's rounding (MPFR's) is that of the engines, subnormals and infinities included."""
    made = dense_model(one_constant(value), dtype, KINDS, "export", infinities=True)
    fmt = DTYPES[dtype]
    assert made.readout.dtype == np.dtype("float32" if dtype == "bfloat16" else dtype)
    wanted = np.array([[round_rational(value, fmt)]], dtype=made.readout.dtype)
    assert made.readout.tobytes() == wanted.tobytes()


def test_arrays_hold_every_constant_at_its_place() -> None:
    """Gate g of unit u stands at [g, u], for all kinds; absent initial states are zeros."""
    model = random_model(np.random.default_rng(3), layers=40, graph=True, kinds=KINDS)
    made = dense_model(model, "float64", KINDS, "export")
    assert {layer.kind for layer in made.layers} == set(KINDS)
    for layer, arrays in zip(model.layers, made.layers, strict=True):
        assert arrays.weight_ih.shape == (GATES[layer.kind], layer.size, layer.weight_ih.width)
        for matrix, array in ((layer.weight_ih, arrays.weight_ih), (layer.weight_hh, arrays.weight_hh)):
            assert np.count_nonzero(array) == matrix.nonzeros
            for i, j, value in matrix.entries():
                gate, unit = divmod(i, layer.size)
                assert array[gate, unit, j] == float(value)
        assert arrays.bias.reshape(-1).tolist() == [float(value) for value in layer.bias]
        assert arrays.initial.tolist() == ([float(v) for v in layer.initial] or [0.0] * layer.size)
        assert arrays.initial_cell.tolist() == ([float(v) for v in layer.initial_cell] or [0.0] * layer.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "powers", [shift(3), cycle(3), diag([mpq(9, 10), mpq(1, 3), mpq(0)]), rotation(mpq(1, 7)), eye(2)],
    ids=["shift", "cycle", "decay", "rotation", "accumulator"],
)  # fmt: skip
def test_exported_kernels_are_those_of_the_engines(powers: Matrix, dtype: str) -> None:
    """Lag by lag a convolution's exported kernel is, bit for bit, what an engine computes with."""
    size, window = powers.height, 150
    layer = Layer(
        kind="conv", inputs=(0,), size=size, weight_ih=eye(size), weight_hh=powers,
        bias=(mpq(1, 3),) * size, initial=(mpq(1, 5),) * size,
    )  # fmt: skip
    model = replace(
        one_constant(mpq(1)), input_dim=size, layers=(layer,), window=window, readout_wires=(1,),
        readout=ones(1, size),
    )  # fmt: skip
    (exported,) = dense_model(model, dtype, ("conv",), "export").layers
    fmt = DTYPES[dtype]
    wanted = np.zeros((window, size, size + 1))
    for unit, kernel in enumerate(lag_kernels(layer, window, fmt)):
        for lag in range(window):
            for column, weight in kernel.at(lag):
                wanted[lag, unit, column] = round_rational(weight, fmt)
    assert exported.kernel.tolist() == wanted[: len(exported.kernel)].tolist()
    assert not wanted[len(exported.kernel) :].any()


def test_infinite_weights_are_refused_unless_asked_for() -> None:
    """A constant beyond the format is named with its place; on demand it is an infinity."""
    model = one_constant(mpq(10) ** 39)
    with pytest.raises(CompileRefusal, match=r"of the readout is infinite in float32 .export a wider format"):
        dense_model(model, "float32", KINDS, "export")
    made = dense_model(model, "float32", KINDS, "export", infinities=True)
    assert np.isinf(made.readout).all()
    assert np.isfinite(dense_model(model, "float64", KINDS, "export").readout).all()


def test_what_cannot_be_exported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown formats, kinds of layers without equations, and files beyond their size."""
    model = random_model(np.random.default_rng(1), kinds=("lstm",))
    with pytest.raises(ConfigError, match=r"cannot export 'int8' .one of float16, bfloat16, float32"):
        dense_model(model, "int8", KINDS, "export")
    with pytest.raises(CompileRefusal, match=r"no layer like layer 0 of random, .* kind 'lstm'"):
        dense_model(model, "float32", ("relu",), "PyTorch export")
    monkeypatch.setattr(dense, "LARGEST_FILE", 1000)
    wide = Layer(
        kind="relu", inputs=(0,), size=10, weight_ih=zeros(10, 40), weight_hh=zeros(10, 10),
        bias=(mpq(0),) * 10,
    )  # fmt: skip
    with pytest.raises(CompileRefusal, match="as dense matrices in float32 takes 0 MiB"):
        dense_model(replace(model, input_dim=40, layers=(wide,)), "float32", KINDS, "export")
