"""How fast the engines are, against plain loops over the same layers in the same run.

Each benchmark puts the ratio of the plain loop's time per token to the engine's into
``extra_info`` (``pytest tests/benchmarks --benchmark-enable``); none asserts a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from mpmath import MPContext
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array

from compiler import compile_program, load_program
from compiler.exact import Matrix
from compiler.model import Layer, Model
from stability.engines.base import Engine, Segment, Session
from stability.engines.mpmath_engine import MpmathEngine
from stability.engines.native.engine import NativeEngine
from stability.formats import parse_format
from stability.running import execute

TOKENS = 3000
Advance = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def dictionary(target: str, program: str = "dictionary") -> Model:
    """A dictionary of the library with ten letters a word, default configuration."""
    return compile_program(load_program(program, n=10), target=target)


def all_values(model: Model, tokens: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """What every unit of every layer holds, (B, T, units): outputs are 0 for most of a prompt."""
    wires = range(1, len(model.layers) + 1)
    kept = execute(model, tokens, name, keep=wires).wires
    return np.concatenate([kept[wire] for wire in wires], axis=-1)


def sparse_layer(layer: Layer, batch: int, dtype: str) -> Advance:
    """One layer as one would write it first: CSR products, and what it remembers."""
    ih, hh = sparse(layer.weight_ih, dtype), sparse(layer.weight_hh, dtype)
    bias = np.array([float(b) for b in layer.bias], dtype=dtype)[:, None]
    zeros = (0.0,) * layer.size
    hidden, cell = (
        np.repeat(np.array([float(v) for v in first or zeros], dtype=dtype)[:, None], batch, axis=1)
        for first in (layer.initial, layer.initial_cell)
    )
    recurrent = layer.weight_hh.nonzeros > 0

    def advance(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        nonlocal hidden, cell
        rows: npt.NDArray[Any] = ih @ values + bias
        if recurrent:
            rows += hh @ hidden
        match layer.kind:
            case "gate":
                hidden = np.multiply(*np.split(rows, 2))
            case "lstm":
                entry, forget, candidate, out = np.split(np.maximum(rows, 0), 4)
                cell = forget * cell + entry * candidate
                hidden = out * np.maximum(cell, 0)
            case "relu" | "rnn":
                hidden = np.maximum(rows, 0)
            case _:
                hidden = rows
        return hidden

    return advance


def sparse(matrix: Matrix, dtype: str) -> Any:
    """The scipy matrix of an exact one."""
    entries = [(i, j, float(w)) for i, j, w in matrix.entries()]
    rows, columns, weights = zip(*entries, strict=True) if entries else ((), (), ())
    return csr_array((np.array(weights, dtype=dtype), (rows, columns)), shape=matrix.shape)


def sparse_loop(model: Model, batch: int, dtype: str, seen: list[Any] | None = None) -> Advance:
    """A stack, token by token and layer by layer; all values are added to ``seen``."""
    assert all(layer.inputs == (number,) for number, layer in enumerate(model.layers))
    layers = [sparse_layer(layer, batch, dtype) for layer in model.layers]
    readout = sparse(model.readout, dtype)
    bias = np.array([float(b) for b in model.readout_bias], dtype=dtype)[:, None]

    def run(tokens: npt.NDArray[Any]) -> npt.NDArray[Any]:
        outputs = np.empty((tokens.shape[1], model.output_dim, batch), dtype)
        for t in range(tokens.shape[1]):
            values = tokens[:, t].T.astype(dtype)
            for layer in layers:
                values = layer(values)
                if seen is not None:
                    seen.append(values.T)
            outputs[t] = readout @ values + bias
        return outputs.transpose(2, 0, 1)

    return run


def seconds(call: Callable[[npt.NDArray[Any]], object], tokens: npt.NDArray[Any]) -> float:
    """The best time of three calls."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call(tokens)
        times.append(time.perf_counter() - start)
    return min(times)


def letters(batch: int, steps: int) -> npt.NDArray[np.int64]:
    """Letters as tokens."""
    return np.random.default_rng(0).integers(1, 27, size=(batch, steps, 1))


def step(session: Session, tokens: npt.NDArray[Any]) -> Segment:
    """One chunk: what is timed."""
    return session.step(tokens)


def ready(
    engine: Engine, model: Model, name: str, tokens: npt.NDArray[Any]
) -> Callable[[], tuple[tuple[Session, npt.NDArray[Any]], dict[str, object]]]:
    """A maker of fresh sessions; what is compiled on first use is compiled here."""
    fmt = parse_format(name)
    engine.prepare(model, fmt).step(tokens[:, :2])
    return lambda: ((engine.prepare(model, fmt), tokens), {})


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("target", ["gated_linear_rnn", "lstm"])
@pytest.mark.parametrize("program", ["dictionary", "dictionary_exact"])
@pytest.mark.parametrize(
    ("name", "hardware"), [("float32", None), ("float64", None), ("float16", None), ("float16", False)]
)
def test_native_against_sparse_loop(
    benchmark: BenchmarkFixture, name: str, hardware: bool | None, program: str, target: str, batch: int
) -> None:
    """The native engine gives a scipy loop's outputs; the ratio of their times is recorded."""
    model, tokens = dictionary(target, program), letters(batch, TOKENS)
    engine = NativeEngine(hardware=hardware)
    segment = benchmark.pedantic(  # type: ignore[no-untyped-call]
        step, setup=ready(engine, model, name, tokens), rounds=5
    )
    dtype = "float32" if name == "float16" else name  # scipy has no float16
    few = tokens[:, :200]
    seen: list[Any] = []
    plain = sparse_loop(model, batch, dtype, seen)(few)
    if name != "float16":
        np.testing.assert_allclose(segment.outputs[:, :200], plain, atol=1e-3)
        everything = np.concatenate(seen, axis=-1).reshape(batch, 200, -1)
        np.testing.assert_allclose(all_values(model, few, name), everything, atol=1e-2)
    assert segment.status.max() == 0
    if benchmark.stats is not None:
        own = benchmark.stats.stats.min / TOKENS
        loop = seconds(sparse_loop(model, batch, dtype), few) / 200
        benchmark.extra_info.update(
            nonzeros=model.nonzeros, tokens_per_second=round(batch / own), ratio=round(loop / own, 1)
        )


def test_mpmath_against_operators(benchmark: BenchmarkFixture) -> None:
    """The mpmath engine gives what a loop of mpf operators gives, up to 45 digits; the ratio is recorded."""
    model, tokens = dictionary("linear_rnn"), letters(1, 256)
    segment = benchmark.pedantic(  # type: ignore[no-untyped-call]
        step, setup=ready(MpmathEngine(), model, "mpmath50", tokens), rounds=5
    )
    few = tokens[0, :20]
    seen: list[Any] = []
    operator_loop(model, few, seen)
    loop = seconds(lambda tokens: operator_loop(model, tokens), few) / 20
    assert len(set(seen)) > 20
    assert segment.outputs.shape == (1, 256, 1)
    for got, expected in zip(all_values(model, few, "mpmath50").flat, seen, strict=True):
        assert abs(got - expected) <= 1e-45
    if benchmark.stats is not None:
        own = benchmark.stats.stats.min / 256
        benchmark.extra_info.update(
            nonzeros=model.nonzeros, tokens_per_second=round(1 / own), ratio=round(loop / own, 1)
        )


def operator_loop(model: Model, tokens: npt.NDArray[Any], seen: list[Any] | None = None) -> list[Any]:
    """The model at 50 digits with mpf operators, one multiply-add at a time; see `sparse_loop`."""
    context = MPContext()
    context.dps = 50

    def number(value: mpq) -> Any:
        return context.mpf(int(value.numerator)) / int(value.denominator)

    def rows(matrix: Matrix) -> list[list[tuple[int, Any]]]:
        return [[(j, number(w)) for j, w in row] for row in matrix.rows]

    layers = [
        (rows(layer.weight_ih), rows(layer.weight_hh), [number(b) for b in layer.bias], layer.kind)
        for layer in model.layers
    ]
    states = [[number(v) for v in layer.initial or (mpq(0),) * layer.size] for layer in model.layers]
    readout, outputs = rows(model.readout), []
    for token in tokens:
        values = [context.mpf(int(v)) for v in token]
        for k, (ih, hh, bias, kind) in enumerate(layers):
            totals = list(bias)
            for unit, total in enumerate(totals):
                for j, weight in hh[unit]:
                    total += weight * states[k][j]  # noqa: PLW2901 -- an accumulator
                for j, weight in ih[unit]:
                    total += weight * values[j]  # noqa: PLW2901 -- an accumulator
                totals[unit] = total if kind == "state" else max(total, context.zero)
            values = states[k] = totals
            if seen is not None:
                seen.extend(values)
        outputs.append(sum((w * values[j] for j, w in readout[0]), context.zero))
    return outputs
