"""The native engine against ONNX Runtime on the exported same model, interleaved, one thread.

The ratio of the best times is put into ``extra_info`` (``pytest tests/benchmarks
--benchmark-enable``); no test asserts a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from compiler import CompileConfig, compile_program, load_program
from compiler.library import LIBRARY
from stability.engines.native.engine import NativeEngine
from stability.formats import FLOAT32

TOKENS = 3000
ROUNDS = 5


def interleaved(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """The best times of two calls that take turns."""
    best = [float("inf")] * 2
    for _ in range(ROUNDS):
        for index, call in enumerate((one, other)):
            start = time.perf_counter()
            call()
            best[index] = min(best[index], time.perf_counter() - start)
    return best[0], best[1]


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("name", ["dictionary", "dictionary_exact"])
def test_native_against_onnxruntime(benchmark: BenchmarkFixture, name: str, batch: int) -> None:
    """On the LSTM weights of n = 10 both engines give the same answers; the ratio is recorded."""
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    from compiler.export.onnx import onnx_file

    program = load_program(name, n=10)
    model = compile_program(program, "lstm", CompileConfig(conditional="multiplicative_optimized"))
    prompt = LIBRARY[name].prompt(np.random.default_rng(1), TOKENS, dict(program.parameters))
    tokens = np.repeat(prompt[np.newaxis], batch, axis=0)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(onnx_file(model), options, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: np.ascontiguousarray(tokens.transpose(1, 0, 2).astype(np.float32))}
    engine = NativeEngine()

    def native() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        outputs: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (
            engine.prepare(model, FLOAT32).step(tokens).outputs
        )
        return outputs

    theirs = session.run(None, fed)[0].transpose(1, 0, 2)
    ours = benchmark.pedantic(native, rounds=2)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(ours, theirs, atol=0.0 if name == "dictionary_exact" else 1e-3)
    assert ours.any()
    if benchmark.stats is not None:
        prepared = [engine.prepare(model, FLOAT32) for _ in range(ROUNDS)]
        own, other = interleaved(lambda: prepared.pop().step(tokens), lambda: session.run(None, fed))
        benchmark.extra_info.update(
            tokens_per_second=round(batch * TOKENS / own),
            theirs=round(batch * TOKENS / other),
            ratio=round(other / own, 1),
        )
