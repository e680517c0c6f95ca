"""The fast engine equals its slow twin bit for bit, however the work is cut up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import CompileConfig, compile_program, load_program
from compiler.config import Conditional
from compiler.errors import ConfigError
from compiler.exact import Matrix, zeros
from compiler.expr import Concat, Input, Multi, ReLU
from compiler.model import Kind, Layer, Model
from stability.engines.base import Status
from stability.engines.native import blocks, layout
from stability.engines.native import engine as native_engine
from stability.engines.native.engine import NativeEngine, half_in_hardware
from stability.engines.native.marks import fast_mark
from stability.engines.operations import Affine, Cell, Product
from stability.engines.plan import build_plan
from stability.formats import FLOAT16, FLOAT32, parse_format
from stability.policy import as_policy
from stability.running import execute
from tests.stability.models import random_model, random_tokens, same

NAMES = ["float16", "float32", "float64"]
COPYING: tuple[Kind, ...] = ("linear", "relu", "state", "rnn")
NO_PAST = (
    np.ones(0, np.float32), np.zeros(0, np.uint64), np.zeros(1, np.uint64), np.zeros(0, np.uint64),
    np.uint64(0), np.uint64(0), np.zeros(0, np.float32),
)  # fmt: skip
CONVERSIONS = [False, True] if half_in_hardware() else [False]


def equal_to_twin(seed: int, name: str) -> None:
    """One random model and prompt: outputs, status and all wires, by every kind of conversion."""
    rng = np.random.default_rng(seed)
    model = random_model(
        rng,
        layers=int(rng.integers(1, 8)),
        density=float(rng.choice([0.3, 0.6, 0.9])),
        wild=float(rng.choice([0.0, 0.0, 0.05, 0.3])),
        graph=bool(rng.integers(2)),
    )
    shape = (int(rng.choice([1, 2, 9])), int(rng.integers(1, 20)), model.input_dim)
    tokens = random_tokens(rng, shape, wild=float(rng.choice([0.0, 0.02, 0.2])))
    everything = range(len(model.layers) + 1)
    twin = execute(model, tokens, name, engine="scalar", keep=everything)
    for hardware in CONVERSIONS if name == "float16" else [False]:
        for keep in ((), everything):
            fast = execute(
                model, tokens, name, keep=keep, chunk=int(rng.integers(1, 25)),
                engine=NativeEngine(hardware=hardware, columns=int(rng.choice([4, 33, 512]))),
            )  # fmt: skip
            assert same(fast.outputs, twin.outputs)
            assert np.array_equal(fast.status, twin.status)
            assert all(same(fast.wires[wire], twin.wires[wire]) for wire in keep)


@pytest.mark.parametrize("name", NAMES)
def test_native_equals_the_scalar_twin(name: str) -> None:
    """Random models of all kinds, tame and with overflow, nan and subnormals: the same bits."""

    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        equal_to_twin(seed, name)

    check()


@pytest.mark.parametrize("wild", [0.0, 0.2])
@pytest.mark.parametrize("name", NAMES)
def test_batch_chunk_and_block_do_not_change_a_bit(name: str, wild: float) -> None:
    """Batch 64 equals 64 prompts one by one, in any chunks and blocks, and twice."""
    rng = np.random.default_rng(3)
    model = random_model(rng, layers=7, graph=True, wild=wild)
    tokens = random_tokens(rng, (64, 23, 2), wild=wild / 10)
    whole = execute(model, tokens, name)
    for columns, chunk in ((None, None), (64, 1), (1000, 10), (7, 23)):
        again = execute(model, tokens, name, engine=NativeEngine(columns=columns), chunk=chunk)
        assert same(again.outputs, whole.outputs)
        assert np.array_equal(again.status, whole.status)
    for number in (0, 1, 63):
        single = execute(model, tokens[number], name)
        assert same(single.outputs, whole.outputs[number])
        assert np.array_equal(single.status, whole.status[number])


@pytest.mark.parametrize("name", NAMES)
def test_overflow_in_one_sequence_leaves_the_others_alone(name: str) -> None:
    """A batch mate that overflows changes neither values nor status of its neighbours."""
    rng = np.random.default_rng(8)
    model = random_model(rng, layers=6)
    tokens = random_tokens(rng, (16, 12, 2))
    clean = execute(model, tokens, name)
    tokens[5, 3] = 1e300
    hit = execute(model, tokens, name)
    others = np.arange(16) != 5
    assert same(hit.outputs[others], clean.outputs[others])
    assert np.array_equal(hit.status[others], clean.status[others])
    if name != "float64":
        assert (hit.status[5, 3:] >= Status.OVERFLOW).all()
    assert same(hit.outputs[5, :3], clean.outputs[5, :3])


def chain(*, kind: str = "relu", weight: mpq | int = 1, bias: mpq | int = 0) -> Model:
    """One unit that reads one token entry."""
    layer = Layer(
        kind=kind, inputs=(0,), size=1, weight_ih=Matrix.from_rows(1, [{0: mpq(weight)}]),  # type: ignore[arg-type]
        weight_hh=zeros(1, 1), bias=(mpq(bias),),
    )  # fmt: skip
    return Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=Matrix.dense([[1]]), readout_bias=(mpq(0),),
    )  # fmt: skip


def test_an_infinity_that_relu_hides_still_counts() -> None:
    """−∞ becomes 0 in the ReLU, and the sequence is marked from that step on."""
    result = execute(chain(weight=-1000), [[1], [100], [0]], "float16")
    assert result.outputs[:, 0].tolist() == [0, 0, 0]
    assert result.status.tolist() == [Status.OK, Status.OVERFLOW, Status.OVERFLOW]


def test_a_token_beyond_the_format_counts() -> None:
    """65520 rounds to an infinity of float16."""
    result = execute(chain(kind="linear"), [[65519], [65520]], "float16")
    assert result.status.tolist() == [Status.OK, Status.OVERFLOW]
    assert result.outputs[:, 0].tolist() == [65504, np.inf]


def test_every_operation_is_rounded_in_float16() -> None:
    """2048 + 1 + 1 stays 2048, which a float32 accumulator would not give."""
    layer = Layer(
        kind="linear", inputs=(0,), size=1, weight_ih=Matrix.dense([[1, 1, 1]]), weight_hh=zeros(1, 1),
        bias=(mpq(0),),
    )  # fmt: skip
    model = Model(
        target="test", name="test", input_dim=3, output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=Matrix.dense([[1]]), readout_bias=(mpq(0),),
    )  # fmt: skip
    assert execute(model, [[2048, 1, 1], [1, 1, 2048]], "float16").outputs[:, 0].tolist() == [2048, 2050]


@pytest.mark.parametrize("hardware", CONVERSIONS)
def test_both_conversions_to_float16_agree_with_numpy(hardware: bool) -> None:
    """Every float32 exponent, ties and specials: one product with 1 is one rounding."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, size=200_000, dtype=np.uint32)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    words[: 3 * 2**16 : 3] = halves.view(np.uint32) + np.uint32(0x1000)  # ties of normal values
    values = words.view(np.float32)
    registers = np.concatenate([values, np.ones_like(values), np.zeros_like(values)])
    count = len(values)
    table = np.zeros((1, layout.FIELDS), dtype=np.uint64)
    table[0, [layout.KIND, layout.OUT, layout.RIGHT]] = layout.PRODUCT, 2 * count, count
    mark = fast_mark(as_policy(FLOAT16), FLOAT32, hardware=hardware)
    nowhere = np.zeros(0, np.uint64)
    blocks.run(
        registers, table, np.zeros(1, np.float32), nowhere, np.zeros(0, np.float32),
        np.array([[0, 1, 0]], dtype=np.uint64), (nowhere, nowhere, np.zeros((0, 2), np.uint64)),
        np.zeros((count, 1, 0), np.float32), np.zeros((count, 1, 0), np.float32), np.uint64(1),
        np.uint64(count), mark, np.zeros(count, np.uint8), np.zeros(count, np.uint8), NO_PAST,
    )  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        assert same(registers[2 * count :], values.astype(np.float16).astype(np.float32))


def test_formats_it_does_not_know_are_refused() -> None:
    """The error names what it can run."""
    with pytest.raises(ConfigError, match=r"'native' cannot run mpmath50 .it runs binary formats"):
        NativeEngine().prepare(chain(), parse_format("mpmath50"))


def test_flush_to_zero_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that flushes subnormals cannot give the right bits, and says so."""
    assert not native_engine.subnormals_flushed()
    monkeypatch.setattr(native_engine, "subnormals_flushed", lambda: True)
    with pytest.raises(ConfigError, match="flushes subnormal numbers"):
        NativeEngine().prepare(chain(), FLOAT32)


def lstm(gates: list[int | None]) -> Model:
    """An ``lstm`` unit; ``None`` gates read the token, others are constant (order i, f, g, o)."""
    layer = Layer(
        kind="lstm", inputs=(0,), size=1,
        weight_ih=Matrix.from_rows(1, [{0: mpq(2)} if gate is None else {} for gate in gates]),
        weight_hh=zeros(4, 1), bias=tuple(mpq(gate or 0) for gate in gates),
    )  # fmt: skip
    return Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=Matrix.dense([[2]]), readout_bias=(mpq(0),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gates", "kinds"),
    [
        ([1, 0, 1, None], [Affine]),
        ([1, -1, None, 1], [Affine]),
        ([None, 0, None, 1], [Affine, Affine, Product]),
        ([None, 1, None, None], [Affine, Affine, Affine, Affine, Cell, Affine, Product]),
    ],
)
def test_constant_gates_are_not_computed(gates: list[int | None], kinds: list[type]) -> None:
    """With f ≡ 0, i ≡ 1, g ≡ 1 leaves σ(o); f ≡ 0, o ≡ 1 leaves σ(i)·σ(g); else all four gates are there."""
    plan = build_plan(lstm(gates), FLOAT16)
    operations = [operation for group in plan.groups for operation in group.operations]
    built = [type(operation) for operation in operations[:-1]]  # the last is the readout
    assert sorted(built, key=str) == sorted(kinds, key=str)


def test_an_overflowed_cell_stays_nan_although_its_gate_is_zero() -> None:
    """0·∞ = nan: the folded unit keeps what the literal cell would do."""
    for tokens in ([[1], [40000], [1], [1]], [[1], [1], [300], [1]]):
        for gates in ([None, 0, None, 1], [1, 0, None, 1], [1, 0, 1, None]):
            assert equals_twin(lstm(gates), tokens)


def test_copies_take_no_operation() -> None:
    """A linear copy, and a ReLU copy of what is never negative, are the register itself."""
    copies = tuple(
        Layer(
            kind=kind,
            inputs=(number + 1,),
            size=1,
            weight_ih=Matrix.dense([[1]]),
            weight_hh=zeros(1, 1),
            bias=(mpq(0),),
        )
        for number, kind in enumerate(COPYING)
    )
    base = chain(weight=3)
    model = Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(*base.layers, *copies),
        readout_wires=(5,), readout=base.readout, readout_bias=base.readout_bias,
    )  # fmt: skip
    plan = build_plan(model, FLOAT32)
    assert sum(len(group.operations) for group in plan.groups) == 1
    assert execute(model, [[2], [-2]], "float32").outputs[:, 0].tolist() == [6, 0]


def test_gru_gates_are_folded() -> None:
    """z ≡ 0 and r ≡ 1 leave σ(n); of a product, p is one cell, and g one product with the same r."""
    x = Input(2, lo=0, hi=1)
    model = compile_program(Multi(Concat(ReLU(x[0]), x[1])).program("product"), "gru")
    assert len(model.layers) == 2
    plan = build_plan(model, FLOAT16)
    operations = [operation for group in plan.groups for operation in group.operations][:-1]
    assert [type(operation) for operation in operations] == [Affine, Affine, Affine, Affine, Cell, Product]
    assert next(operation for operation in operations if isinstance(operation, Product)).delayed
    tokens = [[0.5, 0.25], [1, 0.7], [0, 0.3], [0.1, 0.9], [1e5, 1], [1, 1]]
    for name in NAMES:
        fast, twin = execute(model, tokens, name), execute(model, tokens, name, engine="scalar")
        assert same(fast.outputs, twin.outputs)
        assert np.array_equal(fast.status, twin.status)


@pytest.mark.parametrize("start", [3, -3])
def test_a_gru_gate_beyond_the_format_gives_nan(start: int) -> None:
    """r·(U h') with U = 0 is ∞·0 there, although (1 − z)·n + z·h' alone can be an infinity."""
    layer = Layer(
        kind="gru", inputs=(0,), size=1,
        weight_ih=Matrix.from_rows(1, [{0: mpq(1)}, {0: mpq(1)}, {0: mpq(1)}]), weight_hh=zeros(3, 1),
        bias=(mpq(0),) * 3, initial=(mpq(start),),
    )  # fmt: skip
    model = replace(chain(), layers=(layer,))
    assert equals_twin(model, [[10**6], [1]])
    assert np.isnan(execute(model, [[10**6], [1]], "float16").outputs).all()


def test_a_shift_register_needs_no_loop_over_time() -> None:
    """Units that only hand values on run over a block at once; feedback makes a loop."""
    size = 5
    shift = Layer(
        kind="state", inputs=(0,), size=size,
        weight_ih=Matrix.from_rows(1, [{0: mpq(1)}] + [{}] * (size - 1)),
        weight_hh=Matrix.from_rows(size, [{}] + [{i: mpq(1)} for i in range(size - 1)]),
        bias=(mpq(0),) * size, initial=tuple(mpq(10 + i) for i in range(size)),
    )  # fmt: skip
    model = Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(shift,), readout_wires=(1,),
        readout=Matrix.from_rows(size, [{size - 1: mpq(1)}]), readout_bias=(mpq(0),),
    )  # fmt: skip
    assert not any(group.sequential for group in build_plan(model, FLOAT32).groups)
    tokens = [[t] for t in range(1, 9)]
    for chunk in (1, 3, 100):
        outputs = execute(model, tokens, "float32", chunk=chunk).outputs[:, 0]
        assert outputs.tolist() == [13, 12, 11, 10, 1, 2, 3, 4]


@pytest.mark.parametrize("target", ["linear_rnn", "lstm", "gru", "uncompiled"])
@pytest.mark.parametrize("name", NAMES)
def test_compiled_programs_equal_the_scalar_twin(target: str, name: str) -> None:
    """A real program's folds, copies and loops: the same bits, with step forms that overflow too."""
    program = load_program("dictionary", n=2)
    tokens = np.random.default_rng(0).integers(1, 27, size=(2, 30, 1))
    for configuration in ("stable", "paper"):
        conditional: Conditional = "multiplicative_optimized" if target == "gru" else "optimized"
        config = CompileConfig.named(configuration).with_conditional(conditional)
        model = compile_program(program, target=target, config=config)
        everything = range(len(model.layers) + 1)
        twin = execute(model, tokens, name, engine="scalar", keep=everything)
        fast = execute(model, tokens, name)
        assert same(fast.outputs, twin.outputs)
        assert np.array_equal(fast.status, twin.status)
        kept = execute(model, tokens, name, keep=everything).wires
        assert all(same(kept[wire], twin.wires[wire]) for wire in everything)


def equals_twin(model: Model, tokens: list[list[int]], name: str = "float16") -> bool:
    """Outputs and status of both engines, bit for bit."""
    fast, twin = execute(model, tokens, name), execute(model, tokens, name, engine="scalar")
    return same(fast.outputs, twin.outputs) and np.array_equal(fast.status, twin.status)


def test_a_copy_of_a_negative_zero_is_a_positive_one() -> None:
    """A product can be −0, and an accumulator that copies it cannot: no alias there."""
    product = Layer(
        kind="gate", inputs=(0,), size=1, weight_ih=Matrix.dense([[-1, 0], [0, 1]]), weight_hh=zeros(2, 1),
        bias=(mpq(0),) * 2,
    )  # fmt: skip
    copy = Layer(
        kind="linear",
        inputs=(1,),
        size=1,
        weight_ih=Matrix.dense([[1]]),
        weight_hh=zeros(1, 1),
        bias=(mpq(0),),
    )
    model = Model(
        target="test", name="test", input_dim=2, output_dim=1, layers=(product, copy), readout_wires=(2,),
        readout=Matrix.dense([[1]]), readout_bias=(mpq(0),),
    )  # fmt: skip
    result = execute(model, [[1, 0]], "float32", keep=[1, 2])
    assert np.signbit(result.wires[1][0, 0])
    assert not np.signbit(result.wires[2][0, 0])
    assert equals_twin(model, [[1, 0], [2, 3]])


@pytest.mark.parametrize("field", ["initial", "initial_cell"])
def test_a_cell_that_starts_beyond_the_format_is_computed_literally(field: str) -> None:
    """0·∞ at the first step is nan, also where the forget gate is zero."""
    for gates in ([1, 0, 1, None], [None, 0, None, 1], [1, 0, None, 1]):
        plain = lstm(gates)
        layer = replace(plain.layers[0], **{field: (mpq(10**6),)})  # type: ignore[arg-type]
        assert equals_twin(replace(plain, layers=(layer,)), [[1], [2], [3]])
