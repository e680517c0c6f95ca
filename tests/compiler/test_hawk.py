"""Hawk and Griffin: recurrences unrolled into convolutions over a finite window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import assume, given
from hypothesis import strategies as st

from compiler import compile_program, ir, load_model, load_program, save_model
from compiler.compiling import DEFAULT_WINDOW, TARGETS
from compiler.errors import ConfigError, ModelFileError, TokenError
from compiler.evaluate import evaluate
from compiler.exact import Matrix, Vector, cycle, eye, rotation, shift
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU
from compiler.interpreter import interpret
from compiler.library import LIBRARY
from compiler.model import Layer
from stability import run
from stability.engines.convolution import lag_kernels
from stability.engines.native.engine import NativeEngine
from stability.engines.operations import Convolution
from stability.engines.plan import build_plan
from stability.formats import FLOAT16, FLOAT32, FLOAT64
from stability.fuzz import programs, prompts
from stability.running import execute, stream
from tests.stability.models import same

WINDOWED = [name for name, target in TARGETS.items() if target.windowed]
VALUES = st.sampled_from([mpq(text) for text in ("0", "0", "1", "-1", "1/2", "-2/3", "2", "3/7")])


def matrices(height: int, width: int) -> st.SearchStrategy[Matrix]:
    """Small exact matrices."""
    row = st.lists(VALUES, min_size=width, max_size=width)
    return st.lists(row, min_size=height, max_size=height).map(Matrix.dense)


@st.composite
def recurrences(draw: st.DrawFn) -> tuple[ir.Program, list[Vector]]:
    """A program that is one state with random A, B, b, s0, and a prompt."""
    size, dim = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    vectors = st.lists(VALUES, min_size=size, max_size=size)
    state = LinState(
        Input(dim), draw(matrices(size, size)), draw(matrices(size, dim)), draw(vectors), draw(vectors)
    )
    program = state.program("state")
    return program, draw(prompts(program))


@given(recurrences(), st.sampled_from(WINDOWED))
def test_a_convolution_equals_its_recurrence(case: tuple[ir.Program, list[Vector]], target: str) -> None:
    """For random A, B, b, s0, up to the window's last token, as rationals."""
    program, tokens = case
    model = compile_program(program, target, window=len(tokens))
    assert [layer.kind for layer in model.layers] == ["conv", "glu"] * (len(model.layers) // 2)
    assert evaluate(model, tokens) == interpret(program, tokens)


@given(recurrences())
def test_neither_bias_nor_initial_state_may_be_left_out(case: tuple[ir.Program, list[Vector]]) -> None:
    """The paper's kernels alone give the response to the input: the constant channel is the rest."""
    program, tokens = case
    state = program.nodes[1]
    assert isinstance(state, ir.LinState)
    assume(all(state.state_matrix.rows))  # a coordinate that forgets is no convolution
    wanted = interpret(program, tokens)
    silent = interpret(program, [(mpq(0),) * len(token) for token in tokens])
    model = compile_program(program, "hawk")
    layers = tuple(
        replace(layer, bias=(mpq(0),) * len(layer.bias), initial=(mpq(0),) * len(layer.initial))
        if layer.kind == "conv"
        else layer
        for layer in model.layers
    )
    assume(any(any(row) for row in silent))
    bare = evaluate(replace(model, layers=layers), tokens)
    assert bare != wanted
    sums = [tuple(a + b for a, b in zip(*rows, strict=True)) for rows in zip(bare, silent, strict=True)]
    assert sums == wanted


@pytest.mark.parametrize("target", WINDOWED)
@pytest.mark.parametrize("profile", ["stateful", "gated"])
def test_random_programs_are_exact(profile: str, target: str) -> None:
    """Any program compiles, products of operands without a bound included, and gives the same rationals."""

    @given(st.data())
    def check(data: st.DataObject) -> None:
        program = data.draw(programs(profile))
        tokens = data.draw(prompts(program))
        model = compile_program(program, target, window=len(tokens))
        assert evaluate(model, tokens) == interpret(program, tokens)

    check()


@pytest.mark.parametrize("target", WINDOWED)
@pytest.mark.parametrize("format_name", ["float16", "float32", "mpmath30"])
def test_a_prompt_one_longer_than_the_window_is_refused(target: str, format_name: str) -> None:
    """Whole, in a stream of chunks, and exactly: the error names window and length, nothing is cut off."""
    program = load_program("copy_delay", k=2)
    model = compile_program(program, target, window=10)
    tokens = LIBRARY["copy_delay"].prompt(np.random.default_rng(0), 11, dict(program.parameters))
    message = "prompt of 11 tokens is longer than the window of 10 tokens.*window of at least 11"
    with pytest.raises(TokenError, match=message):
        run(model, tokens, format_name)
    with pytest.raises(TokenError, match=message):
        evaluate(model, tokens.tolist())
    assert len(run(model, tokens[:10], format_name)) == 10
    pieces = stream(model, [tokens[:4], tokens[4:10], tokens[10:]], format_name)
    streamed = np.concatenate([next(pieces).outputs, next(pieces).outputs])
    assert np.array_equal(streamed, run(model, tokens[:10], format_name))
    with pytest.raises(TokenError, match=message):
        next(pieces)


def test_the_window_is_chosen_when_compiling() -> None:
    """4096 tokens unless said; other targets have none, and it has bounds."""
    program = load_program("majority")
    assert compile_program(program, "hawk").window == DEFAULT_WINDOW == 4096
    assert compile_program(program, "griffin", window=7).window == 7
    assert compile_program(program, "lstm").window is None
    with pytest.raises(ConfigError, match=r"lstm has no window .targets with one: hawk, griffin"):
        compile_program(program, "lstm", window=7)
    with pytest.raises(ConfigError, match="window=0"):
        compile_program(program, "hawk", window=0)


def conv(A: Matrix, *, bias: list[int] | None = None, start: list[int] | None = None) -> Layer:
    """A convolution with the powers of ``A`` as kernels, each unit fed by its own input."""
    size = A.height
    return Layer(
        kind="conv", inputs=(0,), size=size, weight_ih=eye(size), weight_hh=A,
        bias=tuple(mpq(v) for v in bias or [0] * size), initial=tuple(mpq(v) for v in start or [0] * size),
    )  # fmt: skip


def test_each_distinct_kernel_is_stored_once() -> None:
    """A shift vanishes, a ring comes again, an accumulator is one kernel, a carried value has one lag."""
    stored = {
        name: [(len(kernel.lags), kernel.period) for kernel in lag_kernels(conv(A), 4096, FLOAT32)]
        for name, A in {
            "shift": shift(3), "ring": cycle(5), "accumulator": eye(2), "carried": Matrix.from_rows(1, [{}]),
        }.items()
    }  # fmt: skip
    assert stored == {
        "shift": [(1, 0), (2, 0), (3, 0)],
        "ring": [(5, 5)] * 5,
        "accumulator": [(1, 1)] * 2,
        "carried": [(1, 0)],
    }


def test_blocks_of_a_layer_have_their_own_periods() -> None:
    """Two rings of 4 and 5 in one layer are stored as 4 and 5 kernels, not as 20."""
    rows = [{(i - 1) % 4: mpq(1)} for i in range(4)] + [{4 + (i - 1) % 5: mpq(1)} for i in range(5)]
    kernels = lag_kernels(conv(Matrix.from_rows(9, rows)), 4096, FLOAT32)
    assert [kernel.period for kernel in kernels] == [4] * 4 + [5] * 5


@given(matrices(3, 3), st.lists(st.integers(-2, 2), min_size=3, max_size=3), st.integers(1, 12))
def test_stored_kernels_are_the_powers(A: Matrix, start: list[int], window: int) -> None:
    """At every lag of the window, each unit's row is that of A^i [B, b + A s0 − s0]."""
    layer = conv(A, bias=[1, 0, -1], start=start)
    kernels = lag_kernels(layer, window, FLOAT64)
    moved = A.times(layer.initial)
    constant = [b + m - s for b, m, s in zip(layer.bias, moved, layer.initial, strict=True)]
    power = Matrix.dense([[*(int(i == j) for j in range(3)), constant[i]] for i in range(3)])
    for lag in range(window):
        assert tuple(kernel.at(lag) for kernel in kernels) == power.rows
        power = A @ power


def test_long_powers_are_rounded_once_from_guarded_bits() -> None:
    """A rotation by an irrational sine: after 90 lags still far closer than half an ulp of float64."""
    A = rotation(mpq(1, 7))
    kernels = lag_kernels(conv(A), 100, FLOAT64)
    power = eye(2)
    for lag in range(90):
        for unit, kernel in enumerate(kernels):
            for (column, weight), (true_column, true) in zip(kernel.at(lag), power.rows[unit], strict=True):
                assert column == true_column
                assert abs(weight - true) <= mpq(2) ** -110
                assert lag < 8 or weight.numerator.bit_length() <= 53 + 64 + 7
        power = A @ power


def test_only_states_are_convolved() -> None:
    """Identity convolutions, carried values and identity MLPs cost the engine nothing."""
    model = compile_program(load_program("dictionary_exact", n=3), "hawk")
    plain = compile_program(load_program("dictionary_exact", n=3), "gated_linear_rnn")
    operations = [op for group in build_plan(model, FLOAT32).groups for op in group.operations]
    path = [op for group in build_plan(plain, FLOAT32).groups for op in group.operations]
    assert 0 < sum(isinstance(op, Convolution) for op in operations) < 40
    assert len(operations) <= len(path) + 3


@pytest.mark.parametrize("target", WINDOWED)
@pytest.mark.parametrize("format_name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["dictionary", "dictionary_exact", "continuous", "modulo"])
def test_compiled_programs_equal_the_scalar_twin(name: str, format_name: str, target: str) -> None:
    """Bit for bit, also batch by batch, chunk by chunk, and from a file of other block sizes."""
    program = load_program(name)
    entry, parameters = LIBRARY[name], dict(program.parameters)
    batch = np.stack([entry.prompt(np.random.default_rng(k), 40, parameters) for k in range(3)])
    model = compile_program(program, target, window=40)
    twin = execute(model, batch, format_name, engine="scalar")
    for columns, chunk in ((None, None), (16, 7)):
        fast = execute(model, batch, format_name, engine=NativeEngine(columns=columns), chunk=chunk)
        assert same(fast.outputs, twin.outputs)
        assert np.array_equal(fast.status, twin.status)


def test_a_long_prompt_gives_the_oracles_answers() -> None:
    """2,000 tokens of the exact dictionary in float16, all of it in the window."""
    program = load_program("dictionary_exact", n=3)
    entry, parameters = LIBRARY["dictionary_exact"], dict(program.parameters)
    tokens = entry.prompt(np.random.default_rng(0), 2000, parameters)
    wanted = np.array(entry.oracle(tokens.tolist(), parameters), dtype=np.float64)
    for target in WINDOWED:
        model = compile_program(program, target, window=2000)
        assert np.array_equal(run(model, tokens, "float16"), wanted)


def test_every_third_temporal_block_of_griffin_is_attention() -> None:
    """Blocks 3, 6, … are linear identities, labelled; a state that would fall on one comes a block later."""
    x = Input(1)
    value = x
    for _ in range(7):  # states only: a ReLU between them keeps them apart
        value = LinState(ReLU(value), [[1]], [[1]], [1], [2])
    program = Concat(value, x).program("states")
    model = compile_program(program, "griffin")
    temporal, channel = model.layers[::2], model.layers[1::2]
    assert [layer.kind for layer in temporal] == ["conv", "conv", "linear"] * (len(temporal) // 3) + [
        "conv"
    ] * (len(temporal) % 3)
    assert {layer.kind for layer in channel} == {"glu"}
    for layer in temporal[2::3]:
        assert layer.weight_ih == eye(layer.size)
        assert all("attention, window 1" in label.variable for label in layer.labels)
    assert len(model.layers) > len(compile_program(program, "hawk").layers)
    tokens = [[mpq(k, 3)] for k in (1, -2, 5, 0, 4)]
    assert evaluate(model, tokens) == interpret(program, tokens)


def test_products_take_one_unit_where_a_sign_is_known() -> None:
    """a ≥ 0 or a ≤ 0: one unit; else v·σ(a) − v·σ(−a), two."""
    for lo, hi, units in ((0, None, 1), (None, 0, 1), (None, None, 2)):
        x = Input(2)
        bounded = Linear(x, [[1, 0]])
        gate = ReLU(bounded) if lo == 0 else -ReLU(-bounded) if hi == 0 else bounded
        program = Multi(Concat(x[1], gate)).program("product")
        model = compile_program(program, "hawk")
        assert model.layers[-1].size == units
        tokens = [(mpq(a), mpq(b)) for a, b in ((2, "3"), (-1, "5/2"), (-1, "-1/3"), (7, "0"))]
        assert evaluate(model, tokens) == interpret(program, tokens)


def test_the_window_is_part_of_a_model_file(tmp_path: Path) -> None:
    """Kinds and window come back, with the same bits; convolutions without a window are refused."""
    model = compile_program(load_program("continuous"), "griffin", window=33)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.window == 33
    assert [layer.kind for layer in loaded.layers] == [layer.kind for layer in model.layers]
    tokens = np.random.default_rng(0).uniform(-1, 1, (33, model.input_dim))
    assert same(run(loaded, tokens), run(model, tokens))
    save_model(replace(model, window=None), tmp_path / "open")
    with pytest.raises(ModelFileError, match="convolutions, but no window"):
        load_model(tmp_path / "open")
    save_model(replace(model, window=0), tmp_path / "none")
    with pytest.raises(ModelFileError, match="window=0 is out of bounds"):
        load_model(tmp_path / "none")


def test_a_kernel_beyond_the_format_is_a_weight_overflow() -> None:
    """2^i overflows float16 from lag 16 on; the engine says which unit."""
    program = LinState(Input(1), [[2]], [[1]], 0, 0).program("doubling")
    result = execute(compile_program(program, "hawk", window=20), [[0]] * 20, FLOAT16)
    assert {(each.layer, each.role) for each in result.weight_overflow} == {(0, "kernel")}
    assert len(result.weight_overflow) == 4
    assert result.status.argmax() == 16
