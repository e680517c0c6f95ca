"""Stock LSTM and GRU of PyTorch and ONNX Runtime run compiled programs: who computes is not ours.

The long runs belong to the profile ``thorough``; they print what they measured (``-s`` shows it):

    HYPOTHESIS_PROFILE=thorough python -m pytest -s tests/stability/test_real_gates_outside.py -k long
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import pytest

from compiler import compile_program, load_program
from compiler.errors import ConfigError, TokenError
from compiler.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from compiler.model import Model
from compiler.real_gates import NativeGates
from stability.running import execute, run, stream
from stability.subject import Subject, subject
from stability.verify import Exact, promise, verify

FORMATS = (FLOAT16, BFLOAT16, FLOAT32)
CHUNK = 4096
NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
NEEDS_ONNX = pytest.mark.skipif(
    any(find_spec(each) is None for each in ("onnx", "onnxruntime")), reason="onnx, onnxruntime not installed"
)
LONG = [
    *(("lstm", FLOAT32, n, 1_000_000) for n in (3, 10)),
    *(("lstm", fmt, n, 100_000) for fmt in (FLOAT16, BFLOAT16) for n in (3, 10)),
    *(("gru", fmt, n, 100_000) for fmt in (FLOAT32, BFLOAT16, FLOAT16) for n in (3, 10)),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: matrices as small as these only wait for each other on several."""
    if find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dictionary(n: int) -> Subject:
    """``dictionary_exact`` with words of n tokens."""
    return subject("dictionary_exact", {"n": str(n)})


def real(what: Subject, target: str, fmt: Format, length: int) -> Model:
    """The program with real gates for a format and a length."""
    return compile_program(what.source, target, native=NativeGates(format=fmt, length=length))


def answers(what: Subject, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """What plain Python computes for one prompt."""
    wanted = what.oracle(tokens)
    assert wanted is not None
    return np.array(wanted, dtype=np.float64)


@NEEDS_TORCH
@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("target", ["lstm", "gru"])
def test_stock_modules_of_pytorch_are_exact(target: str, fmt: Format, n: int) -> None:
    """Several dictionaries and queries side by side: every output of every token is the right integer."""
    what = dictionary(n)
    prompts = np.stack([what.prompt(seed, 500) for seed in range(4)])
    wanted = np.stack([answers(what, prompt) for prompt in prompts])
    assert all(each.any() for each in wanted)
    found = execute(real(what, target, fmt, 500), prompts, fmt, engine="torch")
    assert not found.status.any()
    assert not found.weight_overflow
    assert np.array_equal(found.outputs.astype(np.float64), wanted)


@NEEDS_TORCH
@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "thorough", reason="long: profile thorough")
@pytest.mark.parametrize(
    ("target", "fmt", "n", "length"), LONG, ids=lambda v: v.name if isinstance(v, Format) else str(v)
)
def test_long_prompts_are_exact_in_pytorch(target: str, fmt: Format, n: int, length: int) -> None:
    """One prompt of up to a million tokens, in pieces: no wrong token, error 0, on one thread."""
    what = dictionary(n)
    model = real(what, target, fmt, length)
    tokens = what.prompt(1, length)
    pieces = [tokens[start : start + CHUNK] for start in range(0, length, CHUNK)]
    start = time.process_time()
    outputs = np.concatenate([each.outputs for each in stream(model, pieces, fmt, engine="torch")])
    seconds = time.process_time() - start
    error = np.abs(outputs.astype(np.float64) - answers(what, tokens))
    sizes = [layer.size for layer in model.layers]
    sys.stdout.write(
        f"\ndictionary_exact n={n} {target} {fmt.name}: {length} tokens, "
        f"{int((error >= 0.5).any(axis=1).sum())} wrong, largest error {error.max():g}, "
        f"{sum(sizes)} units in {len(sizes)} layers ({', '.join(map(str, sizes))}), "
        f"{seconds / length * 1e6:.1f} us of CPU time a token\n"
    )
    assert not error.any()


@NEEDS_ONNX
@pytest.mark.parametrize("target", ["lstm", "gru"])
@pytest.mark.parametrize("n", [3, 10])
def test_onnx_runtime_is_right_over_20000_tokens(target: str, n: int) -> None:
    """Default activations, float32: no wrong token; the error is that of its tanh, and does not grow.

    Its tanh takes 2^-23 of a small value away, and rounds it: twice 2^-23 at most for each of
    the (at most two) tanh of a layer.
    """
    what, length = dictionary(n), 20_000
    model = real(what, target, FLOAT32, length)
    tokens = what.prompt(1, length)
    wanted = answers(what, tokens)
    outputs = run(model, tokens, engine="onnxruntime").astype(np.float64)
    assert np.array_equal(np.round(outputs), wanted)
    lost = 2 * len(model.layers) * 2 * 2.0**-23
    assert np.abs(outputs - wanted).max() <= 26 * lost


@NEEDS_ONNX
@pytest.mark.parametrize("n", [3, 10])
def test_onnx_runtime_is_exact_where_outputs_are_restored(n: int) -> None:
    """LSTM, 20,000 tokens: read from Booleans, whose gates are 0 and 1 there too, the error is 0."""
    what, length = dictionary(n), 20_000
    gates = NativeGates(format=FLOAT32, length=length, restore=26)
    model = compile_program(what.source, "lstm", native=gates)
    tokens = what.prompt(1, length)
    outputs = run(model, tokens, engine="onnxruntime").astype(np.float64)
    assert np.array_equal(outputs, answers(what, tokens))


@NEEDS_TORCH
@pytest.mark.parametrize("target", ["lstm", "gru"])
def test_an_engine_is_held_to_the_program(target: str) -> None:
    """Exact values of the program and the bound of its gates, also where the bound is not 0."""
    for name, fmt in (("dictionary_exact", BFLOAT16), ("majority", FLOAT64), ("continuous", FLOAT64)):
        what = subject(name)
        gates = NativeGates(format=fmt, length=60)
        kept = promise(what.source, target, gates)
        model = compile_program(what.source, target, native=gates)
        tokens = np.stack([what.prompt(seed, 60) for seed in (0, 1)])
        found = verify(model, tokens, fmt, engine="torch", kept=kept)
        assert (found.verdict, found.format) == ("ok", fmt.name)
        assert found.bound == max(kept.bounds) or found.difference == 0
        assert (name == "continuous") == (found.difference > 0)


@NEEDS_TORCH
def test_a_wrong_constant_of_a_stock_module_is_caught() -> None:
    """A bias that is lost differs from the program by more than the bound."""
    from dataclasses import replace

    what = dictionary(3)
    gates = NativeGates(length=60)
    model = compile_program(what.source, "gru", native=gates)
    first = replace(model.layers[0], bias_hn=(model.layers[0].bias_hn[0] * 0,) * model.layers[0].size)
    broken = replace(model, layers=(first, *model.layers[1:]))
    tokens = what.prompt(0, 60)[np.newaxis]
    exact = Exact(broken, tokens, promise(what.source, "gru", gates))
    assert exact.compare("float32", "torch").verdict == "differs"


def test_a_promise_has_its_format_and_its_length() -> None:
    """Without the program, in another format or beyond the length nothing is claimed."""
    what = dictionary(3)
    gates = NativeGates(format=FLOAT32, length=50)
    model, kept = compile_program(what.source, "lstm", native=gates), promise(what.source, "lstm", gates)
    tokens = what.prompt(0, 50)[np.newaxis]
    with pytest.raises(ConfigError, match=r"dictionary_exact has real gates.*name the program instead"):
        Exact(model, tokens)
    with pytest.raises(ConfigError, match=r"no error bound in float16: the gates are made for float32"):
        Exact(model, tokens, kept).compare("float16", "torch")
    with pytest.raises(TokenError, match="a prompt of 51 tokens, and gates that are made for 50"):
        Exact(model, what.prompt(0, 51)[np.newaxis], kept)


def test_constants_of_real_gates_may_overflow() -> None:
    """A saturating bias of the candidate counts among the constants that a format cannot hold."""
    from dataclasses import replace

    from stability.engines.base import weight_overflows

    model = compile_program(load_program("majority"), "gru", native=NativeGates(length=100))
    layer = model.layers[0]
    large = replace(layer, bias_hn=(layer.bias_hn[0] + 10**6, *layer.bias_hn[1:]))
    found = weight_overflows(replace(model, layers=(large, *model.layers[1:])), FLOAT16)
    assert ("bias_hn", 0) in {(each.role, each.unit) for each in found}
