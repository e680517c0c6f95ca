"""Policies in the engines: the kernels equal the literal twin, and every place rounds where it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import compile_program, load_program
from compiler.exact import Matrix, zeros
from compiler.model import Kind, Layer, Model
from stability.engines.base import Status, weight_overflows
from stability.engines.constants import Constants
from stability.engines.native.carriers import carrier_of
from stability.engines.native.engine import NativeEngine
from stability.engines.registry import default_engine
from stability.formats import BINARY, FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT16, Format
from stability.policy import PLACES, AnyPolicy, Policy, as_policy, parse_policy
from stability.rounding import MODES
from stability.running import execute, run
from tests.stability.models import KINDS, random_model, random_tokens, same

FAST = [
    "bfloat16", "float8_e4m3fn", "float8_e5m2-sat", "float16-acc32", "bfloat16-state32",
    "float8_e4m3fn-acc32", "float16-acc32,readout=float8_e5m2", "tf32",
    "float32-acc64", "float64,weights=bfloat16",
]  # fmt: skip
"""Computed in float32 or float64 and rounded; equations are folded."""
LITERAL = [
    "float16,input=float32",
    "float16,state=float8_e5m2",
    "float32,state=bfloat16",
    "float64,activations=e6m9,state=e5m5-sat",
]
"""Computed likewise; equations as they stand."""
SOFT = [
    "float16,accumulator=float32", "bfloat16-acc32,products=float64", "e8m29", "float16,rounding=up",
    "float32,rounding=zero", "float8_e4m3fn,rounding=down", "float64,rounding=up", "tf32-acc32,rounding=down",
    "float16,rounding=stochastic,seed=3", "bfloat16-state32,rounding=stochastic",
    "float8_e5m2-sat-acc32,rounding=stochastic,seed=18446744073709551615",
    "float64,rounding=stochastic,seed=1",
]  # fmt: skip
"""Computed in integers."""
MIXED = ["float64,state=mpmath20", "exact,weights=float16", "mpmath30,activations=float8_e4m3fn"]
POOL: list[Format] = [
    *BINARY.values(), *(fmt.saturated() for fmt in (FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT16)),
    *(Format(name=f"e{bits}m{p - 1}", precision=p, exponent_bits=bits) for bits, p in ((6, 10), (8, 26))),
]  # fmt: skip
GATED: tuple[Kind, ...] = ("lstm", "gru", "lstm", "gru", "linear", "relu", "gate", "conv")
EXAMPLES = settings.default.max_examples // 2 if settings.default else 20


def test_policies_are_computed_as_this_file_says() -> None:
    """What a carrier of which type holds, and where equations fold."""
    for names, carried, folded in ((FAST, True, True), (LITERAL, True, False), (SOFT, False, None)):
        for name in names:
            policy = as_policy(parse_policy(name))
            assert (carrier_of(policy) is not None) == carried, name
            assert folded in (None, Constants(policy).foldable), name


def equal_to_twin(rng: np.random.Generator, policy: AnyPolicy) -> None:
    """A random model and prompt: outputs, status and all wires, in any chunks and blocks."""
    native = bool(rng.integers(2))
    wild = float(rng.choice([0.0, 0.0, 0.05, 0.3]))
    model = random_model(
        rng, layers=int(rng.integers(1, 5)), density=float(rng.choice([0.3, 0.6])), wild=wild,
        graph=bool(rng.integers(2)), native=native, kinds=GATED if native else KINDS,
    )  # fmt: skip
    shape = (int(rng.choice([1, 2, 9])), int(rng.integers(1, 9)), 2)
    tokens = random_tokens(rng, shape, wild=float(rng.choice([0.0, 0.02, 0.2])))
    everything = range(len(model.layers) + 1)
    twin = execute(model, tokens, policy, engine="scalar", keep=everything)
    for keep in ((), everything):
        engine = NativeEngine(columns=int(rng.choice([4, 33, 512])))
        fast = execute(model, tokens, policy, keep=keep, chunk=int(rng.integers(1, 10)), engine=engine)
        assert same(fast.outputs, twin.outputs)
        assert np.array_equal(fast.status, twin.status)
        assert all(same(fast.wires[wire], twin.wires[wire]) for wire in keep)


@pytest.mark.parametrize("name", [*FAST, *LITERAL, *SOFT])
def test_native_equals_the_literal_twin(name: str) -> None:
    """Random models with ReLU and real gates, with overflow, nan and subnormals: the same bits and status."""

    @settings(max_examples=EXAMPLES)
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        equal_to_twin(np.random.default_rng(seed), parse_policy(name))

    check()


@given(st.integers(0, 2**32))
def test_any_policy_equals_the_literal_twin(seed: int) -> None:
    """Formats drawn for every place, and a direction: the same bits and status."""
    rng = np.random.default_rng(seed)
    usual, wide = (POOL[int(rng.integers(len(POOL)))] for _ in range(2))
    drawn = {place: POOL[int(rng.integers(len(POOL)))] if rng.random() < 0.4 else usual for place in PLACES}
    if rng.random() < 0.5:
        drawn["products"] = drawn["accumulator"] = wide
    mode = "nearest" if rng.random() < 0.5 else MODES[int(rng.integers(len(MODES)))]
    policy = Policy(**drawn, rounding=mode, seed=int(rng.integers(2**40)) if mode == "stochastic" else 0)
    equal_to_twin(rng, policy)


@pytest.mark.parametrize("name", ["float16-acc32", "bfloat16", "tf32", "float16,rounding=stochastic,seed=3"])
def test_batch_chunk_and_block_do_not_change_a_bit(name: str) -> None:
    """A batch of 64 in any chunks and blocks, and its first sequences without the others."""
    model = random_model(np.random.default_rng(6), layers=6, graph=True)
    tokens = random_tokens(np.random.default_rng(7), (64, 23, 2))
    whole = execute(model, tokens, name)
    for columns, chunk in ((None, None), (64, 1), (1000, 10), (7, 23)):
        again = execute(model, tokens, name, engine=NativeEngine(columns=columns), chunk=chunk)
        assert same(again.outputs, whole.outputs)
        assert np.array_equal(again.status, whole.status)
    for count in (1, 5):
        assert same(execute(model, tokens[:count], name).outputs, whole.outputs[:count])


def affine(weights: list[float], *, kind: Kind = "linear", bias: float = 0, feedback: float = 0) -> Layer:
    """One unit that reads the tokens, and itself if ``feedback``."""
    return Layer(
        kind=kind, inputs=(0,), size=1, weight_ih=Matrix.dense([[mpq(w) for w in weights]]),
        weight_hh=Matrix.dense([[mpq(feedback)]]) if feedback else zeros(1, 1), bias=(mpq(bias),),
    )  # fmt: skip


def stack(*layers: Layer, readout: float = 1) -> Model:
    """Layers of one unit, the last one read out."""
    return Model(
        target="test", name="test", input_dim=layers[0].weight_ih.width, output_dim=1, layers=layers,
        readout_wires=(len(layers),), readout=Matrix.dense([[mpq(readout)]]), readout_bias=(mpq(0),),
    )  # fmt: skip


def outputs(model: Model, tokens: list[list[float]], name: str) -> list[float]:
    """Of the native engine, which must be those of the twin."""
    found = run(model, tokens, name)
    assert same(found, run(model, tokens, name, engine="scalar"))
    return [float(value) for value in found[:, 0]]


def test_what_the_accumulator_decides() -> None:
    """2048 + 1 + 1: every sum rounded to float16 loses both; in float32 the dot product is rounded once."""
    model, sums = stack(affine([1, 1], bias=2048)), [[1.0, 1.0]]
    assert outputs(model, sums, "float16") == [2048]
    assert outputs(model, sums, "float16-acc32") == [2050]
    assert outputs(model, sums, "float16,accumulator=float32") == [2050]
    assert outputs(model, sums, "float16,rounding=up") == [2052]
    assert outputs(model, sums, "float16,products=float32") == [2048]


def test_what_the_state_decides() -> None:
    """A counter stops where its state's format does; what is read of a longer one is rounded on its way."""
    counter, ones = stack(affine([1], kind="state", feedback=1)), [[1.0]] * 2051
    assert outputs(counter, ones, "float16-acc32")[-1] == 2048
    assert outputs(counter, ones, "float16-state32")[-4:] == [2048, 2048, 2050, 2052]
    assert outputs(counter, ones, "float16-state32,activations=float32,readout=float32")[-1] == 2051
    assert outputs(counter, ones, "float64,state=e5m7")[-1] == 256
    assert outputs(counter, ones, "float64,state=float8_e4m3fn-sat")[-1] == 16


@pytest.mark.parametrize("name", ["float16-state32", "float32,state=float16", "float16-acc32"])
def test_an_lstm_that_passes_on_its_candidate_rounds_it_as_one(name: str) -> None:
    """With f = 0, i = o = 1 it keeps an activation, which feeds itself: all places of the cell count."""
    rows = [{}, {}, {0: mpq(1, 7)}, {}]
    layer = Layer(
        kind="lstm", inputs=(0,), size=1, weight_ih=Matrix.from_rows(1, rows),
        weight_hh=Matrix.from_rows(1, [{}, {}, {0: mpq(1, 3)}, {}]),
        bias=(mpq(1), mpq(0), mpq(0), mpq(1)), initial=(mpq(1, 3),), initial_cell=(mpq(1, 5),),
    )  # fmt: skip
    tokens = [[float(value)] for value in range(1, 40)]
    assert len(set(outputs(stack(layer), tokens, name))) > 20


def test_a_long_state_read_into_a_short_format_overflows() -> None:
    """65520 is finite in the state and infinite where it is read, and the status says so."""
    doubling = stack(affine([1], kind="state", feedback=2))
    tokens = [[1.0]] + [[0.0]] * 20
    result = execute(doubling, tokens, "float16-state32", keep=[1])
    assert result.outputs[15:18, 0].tolist() == [32768, np.inf, np.inf]
    assert result.status.tolist() == [Status.OK] * 16 + [Status.OVERFLOW] * 5
    saturated = execute(doubling, tokens, "float16-sat-state32")
    assert saturated.outputs[15:18, 0].tolist() == [32768, 65504, 65504]
    assert not saturated.status.any()


def test_input_weights_activations_and_readout_are_rounded_once() -> None:
    """Each place by itself: 1/3 of one format in the arithmetic of another."""
    third, fine = 1 / 3, stack(affine([1]))
    half = float(np.float16(third))
    tokens = [[third]]
    assert outputs(fine, tokens, "float64,input=float16") == [half]
    assert outputs(stack(affine([third])), [[1.0]], "float64,weights=float16") == [half]
    assert outputs(fine, tokens, "float64,activations=float16") == [half]
    assert outputs(fine, tokens, "float64,readout=float16") == [half]
    assert outputs(fine, tokens, "float64,state=float16") == [third]
    kept = execute(fine, tokens, "float64,input=bfloat16,activations=float16", keep=[0, 1])
    found = [each.dtype.name for each in (kept.wires[0], kept.wires[1], kept.outputs)]
    assert found == ["float32", "float16", "float64"]


def test_directions_bracket_the_exact_value() -> None:
    """Down ≤ exact ≤ up on a long sum of positive products, zero equals down there; they differ."""
    model = stack(affine([1 / 3, 1 / 7, 1 / 11], bias=1))
    tokens = random_tokens(np.random.default_rng(1), (50, 3)) ** 2
    exact = [float(value) for value in run(model, tokens, "exact", engine="scalar")[:, 0]]
    for fmt in ("float8_e5m2", "float16", "float32"):
        found = {
            mode: np.array(outputs(model, tokens.tolist(), f"float64,accumulator={fmt},rounding={mode}"))
            for mode in ("down", "zero", "up")
        }
        assert (found["down"] <= exact).all()
        assert (found["up"] >= exact).all()
        assert (found["down"] < found["up"]).any()
        assert np.array_equal(found["down"], found["zero"])


def test_stochastic_counters_go_on_where_others_stop() -> None:
    """Beyond 2048 a float16 counter of ones stops to nearest, and on average does not stochastically."""
    counter = stack(affine([1], kind="state", feedback=1))
    tokens = np.ones((200, 6000, 1))
    counts = run(counter, tokens, "float16,rounding=stochastic,seed=1")[:, -1, 0].astype(np.float64)
    assert run(counter, tokens[:1], "float16")[0, -1, 0] == 2048
    assert abs(counts.mean() - 6000) < 5 * counts.std() / len(counts) ** 0.5
    assert counts.std() > 10


def test_seeds_and_sequences_have_bits_of_their_own() -> None:
    """Another seed, sequence or step rounds otherwise; the same ones alike."""
    model = stack(affine([1 / 3]))
    tokens = np.full((8, 100, 1), 0.7)
    first = run(model, tokens, "float16,rounding=stochastic,seed=1")
    assert same(first, run(model, tokens, "float16,rounding=stochastic,seed=1"))
    assert not same(first, run(model, tokens, "float16,rounding=stochastic,seed=2"))
    values = {tuple(row) for row in first[:, :, 0].tolist()}
    assert len(values) == 8
    assert len(set(first.reshape(-1).tolist())) == 2


def test_constants_beyond_any_place_are_found() -> None:
    """A weight of 500 in fp8, a bias beyond the accumulator, a start beyond the state."""
    model = stack(affine([500], kind="state", feedback=1, bias=70000))

    def found(name: str) -> set[str]:
        return {each.role for each in weight_overflows(model, parse_policy(name))}

    assert found("float32") == set()
    assert found("float32,weights=float8_e4m3fn") == {"weight_ih", "bias"}
    assert found("float32,weights=float8_e4m3fn-sat") == {"weight_ih", "bias"}
    assert found("float32,accumulator=float16") == {"bias"}
    assert found("mpmath50") == set()
    assert np.isnan(run(model, [[1.0]], "float8_e4m3fn")).all()


@pytest.mark.parametrize("name", MIXED)
def test_mixtures_with_unbounded_formats_are_run_slowly(name: str) -> None:
    """``scalar`` is chosen, and its outputs are near the exact ones; real gates included."""
    assert default_engine(parse_policy(name)) == "scalar"
    model = random_model(np.random.default_rng(3), layers=3)
    tokens = random_tokens(np.random.default_rng(4), (1, 4, 2))
    found, exact = run(model, tokens, name), run(model, tokens, "exact")
    assert np.abs((found - exact).astype(np.float64)).max() < 0.2
    gated = random_model(np.random.default_rng(3), layers=2, kinds=("lstm", "gru"), native=True)
    if name != "exact,weights=float16":
        near = run(gated, tokens, name).astype(np.float64) - run(gated, tokens, "float64")
        assert np.abs(near).max() < 0.3


def test_exact_is_chosen_for_exact() -> None:
    """A rational program by its oracle's numbers, as rationals."""
    model = compile_program(load_program("majority"), target="gated_linear_rnn")
    tokens = np.random.default_rng(2).integers(0, 2, (40, 1))
    found: npt.NDArray[Any] = run(model, tokens, "exact")
    assert found.dtype == object
    assert all(isinstance(value, mpq) for value in found[:, 0])
    assert found[:, 0].tolist() == run(model, tokens, "float64")[:, 0].tolist()
