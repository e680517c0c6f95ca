"""How fast rounding is: layers in policies, against scipy's CSR products in float32 in the same run.

Each benchmark puts the ratio of the engine's time to scipy's into ``extra_info``
(``pytest tests/benchmarks --benchmark-enable``); none asserts a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from pytest_benchmark.fixture import BenchmarkFixture

from compiler.exact import Matrix, zeros
from compiler.model import Layer, Model
from stability.engines.native.engine import NativeEngine
from stability.policy import parse_policy
from tests.benchmarks.test_kernel_speed import seconds, sparse, step

UNITS, NONZEROS, LAYERS, BATCH, STEPS = 300, 3000, 4, 64, 100
POLICIES = (
    "float16", "float16-acc32", "bfloat16", "bfloat16-acc32", "float8_e4m3fn-acc32", "tf32", "float32",
)  # fmt: skip


def matrix(rng: np.random.Generator, width: int) -> Matrix:
    """As many entries in each row, multiples of 1/256 that no layer lets overflow."""
    per_row = min(width, NONZEROS // UNITS)
    rows = [
        {int(j): mpq(int(rng.integers(1, 65)) * int(rng.choice([-1, 1])), 256) for j in chosen}
        for chosen in (rng.choice(width, per_row, replace=False) for _ in range(UNITS))
    ]
    return Matrix.from_rows(width, rows)


@cache
def deep_model() -> Model:
    """Layers of 300 × 300 with 3,000 non-zeros each, on top of one that spreads a token over all units."""
    rng = np.random.default_rng(0)
    layers = tuple(
        Layer(
            kind="linear", inputs=(number,), size=UNITS, weight_ih=matrix(rng, UNITS if number else 1),
            weight_hh=zeros(UNITS, UNITS), bias=(mpq(1, 8),) * UNITS,
        )
        for number in range(LAYERS + 1)
    )  # fmt: skip
    return Model(
        target="benchmark", name="benchmark", input_dim=1, output_dim=1, layers=layers,
        readout_wires=(LAYERS + 1,), readout=Matrix.from_rows(UNITS, [{0: mpq(1)}]), readout_bias=(mpq(0),),
    )  # fmt: skip


def products(model: Model) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """Only scipy's products, step by step and layer by layer; no bias, no copies."""
    matrices = [sparse(layer.weight_ih, "float32") for layer in model.layers]

    def run(tokens: npt.NDArray[Any]) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = tokens[0]
        for each in tokens:
            values = each
            for layer in matrices:
                values = layer @ values
        return values

    return run


@pytest.mark.parametrize("name", POLICIES)
def test_policies_against_sparse_products(benchmark: BenchmarkFixture, name: str) -> None:
    """A policy gives what float64 gives, to its precision; the ratio of its time to scipy's is recorded."""
    model, policy = deep_model(), parse_policy(name)
    rng = np.random.default_rng(1)
    tokens = rng.integers(-64, 65, size=(BATCH, STEPS, 1)) / 64
    engine = NativeEngine()
    warm = engine.prepare(model, policy)
    warm.step(tokens[:, :2])

    def fresh() -> tuple[tuple[Any, npt.NDArray[Any]], dict[str, object]]:
        return (engine.prepare(model, policy), tokens), {}

    segment = benchmark.pedantic(step, setup=fresh, rounds=7)  # type: ignore[no-untyped-call]
    true = engine.prepare(model, parse_policy("float64")).step(tokens).outputs
    allowed = {"float8": 0.5, "bfloat": 0.05, "float1": 0.01, "tf32": 0.01}.get(name[:6], 1e-4)
    assert np.abs(segment.outputs.astype(np.float64) - true).max() < allowed
    if benchmark.stats is not None:
        columns = np.ascontiguousarray(tokens.transpose(1, 2, 0).astype(np.float32))
        multiplied = STEPS * BATCH * model.nonzeros
        rival = seconds(products(model), columns)
        own = benchmark.stats.stats.min
        benchmark.extra_info.update(
            nanoseconds_per_product=round(own / multiplied * 1e9, 3), ratio=round(own / rival, 2)
        )
