"""Engines that nobody here wrote run our models: ONNX Runtime and PyTorch."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler.export
from compiler import CompileConfig, compile_program
from compiler.compiling import TARGET_NAMES
from compiler.errors import CompileRefusal, ConfigError, TokenError
from compiler.ir import Program
from compiler.model import Kind, Model
from stability.engines.base import Status
from stability.engines.registry import find_engine
from stability.formats import FLOAT32
from stability.fuzz import programs, prompts
from stability.running import execute, run, stream
from stability.subject import subject
from stability.tokens import read_tokens
from stability.verify import Exact, every_unit, verify
from tests.stability.models import random_model, random_tokens

KINDS: tuple[Kind, ...] = ("linear", "relu", "state", "gate", "glu", "rnn", "lstm", "gru")
WINDOWED = ("hawk", "griffin")
PACKAGES = {"onnxruntime": ("onnx", "onnxruntime"), "torch": ("torch",)}
ENGINES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            any(find_spec(each) is None for each in packages),
            reason=f"{' and '.join(packages)} not installed",
        ),
    )
    for name, packages in PACKAGES.items()
]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each of the engines that is installed."""
    return str(request.param)


@pytest.mark.parametrize(("target", "n"), [(t, n) for t in ("relu_rnn", "lstm", "gru") for n in (3, 10)])
def test_the_exact_dictionary_is_exact(engine: str, target: str, n: int) -> None:
    """Every unit in float32 is its exact value, and the derived bound says it has to be."""
    what = subject("dictionary_exact", {"n": str(n)})
    model = every_unit(compile_program(what.source, target))
    found = verify(model, what.prompt(0, 60 if n == 3 else 40)[np.newaxis], engine=engine)
    assert (found.difference, found.bound, found.verdict) == (0, 0, "ok")


@pytest.mark.parametrize("target", ["relu_rnn", "lstm", "gru"])
def test_the_dictionary_answers_right_in_float32(engine: str, target: str) -> None:
    """``dictionary`` without products: the outputs are exact, as those of ``native`` are."""
    what = subject("dictionary", {"n": "3"})
    model = compile_program(what.source, target, CompileConfig(conditional="optimized"))
    prompt = what.prompt(1, 150)
    wanted = what.oracle(prompt)
    assert wanted is not None
    outputs = run(model, prompt, engine=engine)
    assert outputs.dtype == np.float32
    assert outputs.tolist() == [[float(value) for value in row] for row in wanted]
    assert any(value != 0 for row in wanted for value in row)


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_every_target_is_within_its_bound(engine: str, target: str) -> None:
    """A program with real numbers and a state, as every architecture and as the bare graph."""
    what = subject("continuous")
    model = every_unit(compiled(what.source, target))
    tokens = np.stack([what.prompt(seed, 25) for seed in (0, 1)])
    if engine == "onnxruntime" and target in WINDOWED:
        with pytest.raises(CompileRefusal, match=f"ONNX export has no layer like layer 0 of {target}"):
            verify(model, tokens, engine=engine)
        return
    found = verify(model, tokens, engine=engine)
    assert found.verdict == "ok"
    assert 0 < found.difference <= found.bound


def compiled(program: Program, target: str) -> Model:
    """A model without products of conditionals; with room for 25 tokens where it has a window."""
    window = 25 if target in WINDOWED else None
    return compile_program(program, target, CompileConfig(conditional="optimized"), window=window)


@pytest.mark.parametrize("target", WINDOWED)
def test_finite_windows_are_exact_in_pieces(target: str) -> None:
    """PyTorch's convolution carries what later tokens read; a longer prompt is refused."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    what = subject("dictionary_exact")
    model = every_unit(compiled(what.source, target))
    prompt = what.prompt(0, 25)
    assert verify(model, prompt[np.newaxis], engine="torch").difference == 0
    pieces = stream(model, [prompt[:7], prompt[7:8], prompt[8:]], engine="torch")
    joined = np.concatenate([piece.outputs for piece in pieces])
    assert (joined == run(model, prompt, engine="torch")).all()
    with pytest.raises(TokenError, match="longer than the window of 25"):
        run(model, what.prompt(0, 26), engine="torch")


@pytest.mark.parametrize("seed", range(12))
def test_random_models_are_within_the_bound(engine: str, seed: int) -> None:
    """Every unit of random layers of every kind, in every format that the engine has."""
    generator = np.random.default_rng(seed)
    model = every_unit(random_model(generator, layers=5, graph=bool(seed % 2), kinds=KINDS))
    exact = Exact(model, random_tokens(generator, (2, 6, model.input_dim)))
    formats = ("float16", "float32", "float64") if engine == "torch" else ("float16", "float32")
    for name in formats:
        assert exact.compare(name, engine).verdict != "differs"
    assert exact.compare("float32", engine).verdict == "ok"


@settings(max_examples=20)
@given(st.data(), st.sampled_from(["relu_rnn", "lstm", "gru", "gated_linear_rnn"]))
def test_random_programs_are_within_the_bound(data: st.DataObject, target: str) -> None:
    """Drawn programs and prompts, compiled, through every engine that is installed."""
    profile = "stateful" if target == "relu_rnn" else "gated"
    program: Program = data.draw(programs(profile))
    prompt = data.draw(prompts(program))
    try:
        model = compile_program(program, target)
    except CompileRefusal:  # an unbounded gate operand, which gru cannot carry
        return
    exact = Exact(model, read_tokens([list(token) for token in prompt], program.input_dim).values)
    for name, packages in PACKAGES.items():
        if all(find_spec(each) for each in packages):
            assert exact.compare("float32", name).verdict != "differs"


def test_a_stream_carries_the_states(engine: str) -> None:
    """Pieces of any length, for several sequences, are the whole; wires and status too."""
    for seed in range(4):
        generator = np.random.default_rng(seed)
        model = random_model(generator, layers=5, graph=True, kinds=KINDS)
        tokens = generator.integers(-4, 5, size=(3, 9, model.input_dim))
        whole = execute(model, tokens, engine=engine, keep=[0, 3])
        parts = [tokens[:, :2], tokens[:, 2:3], tokens[:, 3:]]
        pieces = list(stream(model, parts, engine=engine, keep=[0, 3]))
        for name in ("outputs", "status"):
            joined = np.concatenate([getattr(piece, name) for piece in pieces], axis=1)
            assert np.allclose(joined, getattr(whole, name), rtol=1e-5, atol=1e-5)
        for wire in (0, 3):
            joined = np.concatenate([piece.wires[wire] for piece in pieces], axis=1)
            assert joined.shape == whole.wires[wire].shape == (3, 9, model.wire_size(wire))
            assert np.allclose(joined, whole.wires[wire], rtol=1e-5, atol=1e-5)


def test_overflow_is_seen_at_the_output_and_stays(engine: str) -> None:
    """A sum that becomes infinite is a status from that step on, in later pieces too."""
    model = compile_program(accumulator(), "linear_rnn")
    tokens = np.full((1, 4, 1), 2**126, dtype=object)
    pieces = list(stream(model, [tokens[:, :2], tokens[:, 2:], 0 * tokens[:, :1]], engine=engine))
    status = np.concatenate([piece.status[0] for piece in pieces])
    assert status.tolist() == [Status.OK] * 3 + [Status.OVERFLOW] * 2
    with_nan = execute(model, [[2.0**127], [2.0**127], [-(2.0**127)]], "float32", engine=engine)
    assert with_nan.status.tolist() == [Status.OK, Status.OVERFLOW, Status.OVERFLOW]


def accumulator() -> Program:
    """s = s' + x."""
    from compiler import parse_program

    return parse_program(
        "ForEach:\n    x = Input(dim=1)\n    return LinState(x, A=eye(1), B=eye(1), init_state=[[0]])\n"
    )


def test_weights_may_overflow_in_an_engine(engine: str) -> None:
    """A model with an infinite weight runs, as in ``native``, and is reported."""
    model = tiny(10**6)
    result = execute(model, [[1]], "float16", engine=engine)
    assert len(result.weight_overflow) == 1
    assert result.status.tolist() == [Status.OVERFLOW]


def tiny(weight: int) -> Model:
    """y = weight·x, carried by a ReLU."""
    from compiler import parse_program

    text = f"ForEach:\n    x = Input(dim=1, lo=0)\n    return Linear(ReLU(x), A=[[{weight}]])\n"
    return compile_program(parse_program(text), "linear_rnn")


def test_formats_are_checked(engine: str) -> None:
    """mpmath is refused by name, as every engine does."""
    with pytest.raises(ConfigError, match=f"engine '{engine}' cannot run mpmath50 .one of float16"):
        run(tiny(1), [[1]], "mpmath50", engine=engine)


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
@pytest.mark.parametrize("target", ["relu_rnn", "lstm", "gru"])
def test_kernels_that_onnx_runtime_lacks_are_refused(target: str, capfd: pytest.CaptureFixture[str]) -> None:
    """RNN, LSTM and GRU in float64: one line that names the way out, and nothing on stderr."""
    what = subject("majority")
    model = compile_program(what.source, target)
    with pytest.raises(ConfigError, match=rf"cannot run {target} in float64: .*take float32") as caught:
        run(model, [[1]], "float64", engine="onnxruntime")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_missing_packages_are_named_with_their_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each engine says what to install; nothing else of the project needs these packages."""
    for module in ("onnxruntime", "compiler.export.torch_layers"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr(compiler.export, "torch_layers", raising=False)
    with pytest.raises(ConfigError, match=r"onnxruntime is not installed .*lsrl-stability\[onnx\]"):
        run(tiny(1), [[1]], engine="onnxruntime")
    with pytest.raises(ConfigError, match=r"PyTorch is not installed .*lsrl-stability\[torch\]"):
        run(tiny(1), [[1]], engine="torch")


def test_cuda_runs_or_is_refused() -> None:
    """On a CUDA device the outputs are within the bound; without one the engine says so."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="'torch-cuda' found no CUDA device"):
            find_engine("torch-cuda", FLOAT32).prepare(tiny(1), FLOAT32)
        pytest.skip("no CUDA device")
    what = subject("continuous")
    for target in TARGET_NAMES:
        model = compiled(what.source, target)
        tokens = np.stack([what.prompt(seed, 25) for seed in (0, 1)])
        assert verify(model, tokens, engine="torch-cuda").verdict == "ok"
