"""Random models of every kind of layer, wired as stacks and as graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.exact import Matrix, Vector
from compiler.model import GATES, INITIALISED, Kind, Layer, Model

KINDS: tuple[Kind, ...] = ("linear", "relu", "state", "gate", "rnn", "lstm", "gru", "conv", "glu")
WINDOW = 32
TAME: tuple[mpq, ...] = (
    mpq(1), mpq(1), mpq(1), mpq(-1), mpq(1, 2), mpq(1, 3), mpq(-2, 7), mpq(3, 4), mpq(1, 10), mpq(-9, 10),
)  # fmt: skip
WILD: tuple[mpq, ...] = (
    *TAME, mpq(1000), mpq(10) ** 10, -(mpq(10) ** 5), mpq(1, 10**7), -mpq(1, 10**9), mpq(10) ** 39,
    mpq(1, 10**44), mpq(-1, 10**320), mpq(10) ** 309, mpq(65519), mpq(33, 32768 * 64),
)  # fmt: skip
SATURATED: tuple[mpq, ...] = tuple(
    mpq(value) for value in (200, 200, 200, -200, -200, -200, 0, 0, 30, -30, 800, -800, -40)
)
SCALES: tuple[mpq, ...] = (mpq(1), mpq(1), mpq(1), mpq(256), mpq(1, 2**12), mpq(1, 2**30))


def random_model(
    rng: np.random.Generator,
    *,
    layers: int = 6,
    size: int = 4,
    input_dim: int = 2,
    output_dim: int = 2,
    density: float = 0.5,
    wild: float = 0.0,
    graph: bool = False,
    kinds: tuple[Kind, ...] = KINDS,
    native: bool = False,
) -> Model:
    """A model; ``wild`` is the share of constants that overflow, vanish or are subnormal.

    ``native``: its ``lstm`` and ``gru`` layers have sigmoid and tanh, often saturated.
    """
    built: list[Layer] = []
    sizes = [input_dim]
    for number in range(layers):
        chosen = [number]
        if graph:
            count = int(rng.integers(1, min(3, number + 1) + 1))
            chosen = [int(wire) for wire in rng.choice(number + 1, size=count)]
        width = sum(sizes[wire] for wire in chosen)
        layer = random_layer(
            rng, kinds[int(rng.integers(len(kinds)))], tuple(chosen), width, int(rng.integers(1, size + 1)),
            density, wild,
        )  # fmt: skip
        built.append(native_layer(rng, layer, wild) if native and layer.kind in {"lstm", "gru"} else layer)
        sizes.append(layer.size)
    wires = (layers,) if not graph else (layers, int(rng.integers(0, layers + 1)))
    width = sum(sizes[wire] for wire in wires)
    return Model(
        target="random",
        name="random",
        input_dim=input_dim,
        output_dim=output_dim,
        layers=tuple(built),
        readout_wires=wires,
        readout=_matrix(rng, output_dim, width, density, wild),
        readout_bias=_vector(rng, output_dim, wild),
        window=WINDOW,
    )


def random_layer(
    rng: np.random.Generator,
    kind: Kind,
    inputs: tuple[int, ...],
    width: int,
    size: int,
    density: float,
    wild: float,
) -> Layer:
    """One layer; its gates are often constant and its rows often copies, as compiled ones are."""
    height = GATES[kind] * size
    ih = _matrix(rng, height, width, density, wild)
    recurrent = kind in INITIALISED
    hh = _matrix(rng, height, size, density / 2 if recurrent else 0.0, wild)
    bias = list(_vector(rng, height, wild))
    ih_rows, hh_rows = [dict(row) for row in ih.rows], [dict(row) for row in hh.rows]
    for unit in range(size):
        if kind in {"lstm", "gate", "glu", "gru"}:
            _fold(rng, kind, unit, size, bias, ih_rows, hh_rows)
            if kind == "gru":
                _product_unit(rng, unit, size, width, bias, ih_rows, hh_rows)
        elif rng.random() < 0.3:
            ih_rows[unit], hh_rows[unit] = {int(rng.integers(width)): mpq(1)}, {}
            bias[unit] = mpq(0)
    return Layer(
        kind=kind,
        inputs=inputs,
        size=size,
        weight_ih=Matrix.from_rows(width, ih_rows),
        weight_hh=Matrix.from_rows(size, hh_rows),
        bias=tuple(bias),
        initial=_vector(rng, size, wild) if recurrent and rng.random() < 0.7 else (),
        initial_cell=_vector(rng, size, wild) if kind == "lstm" and rng.random() < 0.7 else (),
    )


def native_layer(rng: np.random.Generator, layer: Layer, wild: float) -> Layer:
    """An ``lstm`` or ``gru`` layer with real gates: saturated, scaled and ordinary ones."""
    bias = list(layer.bias)
    rows = [[dict(row) for row in matrix.rows] for matrix in (layer.weight_ih, layer.weight_hh)]
    for number in range(len(bias)):
        if not rows[0][number] and not rows[1][number] and rng.random() < 0.9:
            bias[number] = SATURATED[int(rng.integers(len(SATURATED)))]
        scale = SCALES[int(rng.integers(len(SCALES)))]
        bias[number] *= scale
        for matrix in rows:
            matrix[number] = {column: weight * scale for column, weight in matrix[number].items()}
    cell = [value if rng.random() < 0.7 else mpq(100) for value in layer.initial_cell]
    own = [mpq(20) if rng.random() < 0.3 else value for value in _vector(rng, layer.size, wild)]
    return replace(
        layer,
        activation="native",
        bias=tuple(bias),
        weight_ih=Matrix.from_rows(layer.weight_ih.width, rows[0]),
        weight_hh=Matrix.from_rows(layer.size, rows[1]),
        initial_cell=tuple(cell),
        bias_hn=tuple(own) if layer.kind == "gru" and rng.random() < 0.7 else (),
    )


def _fold(
    rng: np.random.Generator,
    kind: Kind,
    unit: int,
    size: int,
    bias: list[mpq],
    ih: list[dict[int, mpq]],
    hh: list[dict[int, mpq]],
) -> None:
    """Make some gates of a unit constant, in the patterns that compilers use."""
    patterns: list[dict[int, int]]
    if kind in {"gate", "glu"}:
        patterns = [{}, {}, {0: 1}, {1: 1}, {0: 1, 1: 1}, {0: 0}]
    elif kind == "gru":  # r, z, n
        patterns = [
            {}, {}, {0: 1}, {1: 0}, {1: -2}, {0: 1, 1: 0}, {0: 1, 1: 0}, {0: 1, 1: 0}, {1: 0, 2: 0}, {2: 0},
            {0: 0}, {0: -1, 1: 0}, {0: 2}, {1: 1}, {1: 2},
        ]  # fmt: skip
    else:  # i, f, g, o
        patterns = [
            {}, {1: 0}, {1: -3}, {1: 0, 0: 1, 2: 1}, {1: 0, 3: 1}, {1: 0, 3: 1, 0: 1}, {1: 0, 2: 1}, {1: 1},
            {1: 0, 3: 1, 2: 1}, {0: 1, 1: 0, 2: 1, 3: 1}, {0: 2, 1: 0}, {3: 0},
        ]  # fmt: skip
    for gate, value in patterns[int(rng.integers(len(patterns)))].items():
        row = gate * size + unit
        bias[row], ih[row], hh[row] = mpq(value), {}, {}


def _product_unit(
    rng: np.random.Generator,
    unit: int,
    size: int,
    width: int,
    bias: list[mpq],
    ih: list[dict[int, mpq]],
    hh: list[dict[int, mpq]],
) -> None:
    """Give a ``gru`` unit r = z, or a candidate that hands on a unit or an input, as compiled ones do."""
    update, new = size + unit, 2 * size + unit
    if rng.random() < 0.4:
        bias[unit], ih[unit], hh[unit] = bias[update], dict(ih[update]), dict(hh[update])
    draw = rng.random()
    if draw < 0.3:
        bias[new], ih[new], hh[new] = mpq(0), {}, {int(rng.integers(size)): mpq(1)}
    elif draw < 0.5:
        bias[new], ih[new], hh[new] = mpq(0), {int(rng.integers(width)): mpq(1)}, {}
    elif draw < 0.6:
        hh[new] = {}


def _constant(rng: np.random.Generator, wild: float) -> mpq:
    pool = WILD if rng.random() < wild else TAME
    return pool[int(rng.integers(len(pool)))]


def _vector(rng: np.random.Generator, size: int, wild: float) -> Vector:
    return tuple(mpq(0) if rng.random() < 0.4 else _constant(rng, wild) for _ in range(size))


def _matrix(rng: np.random.Generator, height: int, width: int, density: float, wild: float) -> Matrix:
    rows = [{j: _constant(rng, wild) for j in range(width) if rng.random() < density} for _ in range(height)]
    return Matrix.from_rows(width, rows)


def random_tokens(
    rng: np.random.Generator, shape: tuple[int, ...], *, wild: float = 0.0
) -> npt.NDArray[np.float64]:
    """Small integers and fractions; ``wild`` is the share of huge and tiny values."""
    values = rng.integers(-3, 4, size=shape) / rng.choice([1.0, 2.0, 3.0], size=shape)
    extreme = rng.choice([1e5, -7e4, 1e-6, -3e-8, 1e30, -1e38, 1e300, 1e-310, 65519.9, 65520.0], size=shape)
    return np.where(rng.random(shape) < wild, extreme, values)


def same(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> bool:
    """Equal bit for bit, nans as a class."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    word = np.dtype(f"u{left.dtype.itemsize}")
    nans = np.isnan(left) & np.isnan(right)
    return bool(np.all((left.view(word) == right.view(word)) | nans))
