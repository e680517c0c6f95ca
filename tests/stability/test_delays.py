"""Copies, rings and accumulators in the native engine: fewer operations, the same bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler.exact import Matrix
from compiler.model import Kind, Layer, Model
from stability.engines.native.delays import LONGEST, without_copies
from stability.engines.native.engine import NativeEngine
from stability.engines.plan import build_plan
from stability.formats import FLOAT32
from stability.running import execute
from tests.stability.models import same

NAMES = ["float16", "float32", "float64"]
Rows = list[dict[int, mpq]]
Tokens = npt.NDArray[np.float64]


def stack(*layers: Layer) -> Model:
    """One token entry, layers in a row, and all units of the last one as outputs."""
    size = layers[-1].size
    return Model(
        target="test", name="test", input_dim=1, output_dim=size, layers=layers, readout_wires=(len(layers),),
        readout=Matrix.from_rows(size, [{i: mpq(1)} for i in range(size)]), readout_bias=(mpq(0),) * size,
    )  # fmt: skip


def layer(kind: Kind, number: int, entry: Rows, own: Rows, initial: list[int], width: int = 1) -> Layer:
    """A layer of ``len(entry)`` units without bias that reads the wire ``number``."""
    size = len(initial)
    return Layer(
        kind=kind, inputs=(number,), size=size, weight_ih=Matrix.from_rows(width, entry),
        weight_hh=Matrix.from_rows(size, own), bias=(mpq(0),) * len(entry),
        initial=tuple(mpq(value) for value in initial),
    )  # fmt: skip


def shift(kind: Kind, initial: list[int], *, ring: bool, backwards: bool = False) -> Layer:
    """Unit i is unit i − 1 one step late; the first is the token, or the last one in a ring."""
    size = len(initial)
    order = range(size - 1, -1, -1) if backwards else range(size)
    rows = {new: ({old: mpq(1)} if ring or i else {}) for i, (new, old) in enumerate(_pairs(list(order)))}
    first = next(iter(order))
    entry: Rows = [{0: mpq(1)} if unit == first and not ring else {} for unit in range(size)]
    return layer(kind, 0, entry, [rows[unit] for unit in range(size)], initial)


def _pairs(order: list[int]) -> list[tuple[int, int]]:
    return list(zip(order, [order[-1], *order[:-1]], strict=True))


def operations(model: Model) -> int:
    """How many operations the engine runs; a readout that copies has none."""
    found = without_copies(build_plan(model, FLOAT32), FLOAT32)
    return sum(len(group.operations) for group in found.groups)


def equals_twin(model: Model, tokens: Tokens, name: str) -> None:
    """Outputs, all wires and status, for several blocks and chunks."""
    keep = range(len(model.layers) + 1)
    twin = execute(model, tokens, name, engine="scalar", keep=keep)
    for columns, chunk in ((None, None), (len(tokens), 2), (7 * len(tokens), 5)):
        fast = execute(model, tokens, name, engine=NativeEngine(columns=columns), chunk=chunk, keep=keep)
        assert same(fast.outputs, twin.outputs)
        assert np.array_equal(fast.status, twin.status)
        assert all(same(fast.wires[wire], twin.wires[wire]) for wire in keep)


def prompt(rng: np.random.Generator, batch: int, steps: int, *, wild: float = 0.0) -> Tokens:
    """Small integers of both signs, with some that overflow every format but float64."""
    tokens = rng.integers(-3, 4, size=(batch, steps, 1)).astype(np.float64)
    tokens[rng.random(tokens.shape) < wild] = 1e300
    return tokens


@pytest.mark.parametrize("backwards", [False, True])
def test_a_ring_is_one_operation_that_advances_many_steps(backwards: bool) -> None:
    """Ten units that hand values round are one unit that reads itself ten steps back."""
    model = stack(shift("rnn", [1, *[0] * 9], ring=True, backwards=backwards))
    found = without_copies(build_plan(model, FLOAT32), FLOAT32)
    loops = [group for group in found.groups if group.sequential]
    assert [(len(group.operations), group.steps) for group in loops] == [(1, 10)]
    equals_twin(model, prompt(np.random.default_rng(0), 2, 31), "float16")


def test_a_shift_register_is_no_operation() -> None:
    """All its units are the token, some steps back, up to a longest past."""
    assert operations(stack(shift("state", [5] * 20, ring=False))) == 0
    assert operations(stack(shift("state", [5] * (LONGEST + 6), ring=False))) == 1
    equals_twin(
        stack(shift("state", list(range(70)), ring=False)), prompt(np.random.default_rng(1), 2, 90), "float32"
    )


def test_relu_of_a_negative_value_is_no_copy() -> None:
    """A ReLU shift register of tokens keeps its first unit, and those whose first value it would change."""
    assert operations(stack(shift("rnn", [0, 0, 0], ring=False))) == 1
    assert operations(stack(shift("rnn", [0, -1, 0], ring=False))) == 2
    equals_twin(
        stack(shift("rnn", [0, -1, 0], ring=False)), prompt(np.random.default_rng(2), 2, 9), "float32"
    )


def test_copies_that_started_with_different_values_stay_apart() -> None:
    """Two units that copy the same unit, one with another first value, and a reader of both."""
    own: Rows = [{}, {0: mpq(1)}, {0: mpq(1)}, {1: mpq(1)}, {2: mpq(1)}]
    model = stack(layer("state", 0, [{0: mpq(1)}, {}, {}, {}, {}], own, [1, 2, 3, 4, 5]))
    assert operations(model) == 1
    equals_twin(model, prompt(np.random.default_rng(3), 2, 9), "float64")


@pytest.mark.parametrize("name", NAMES)
def test_random_copies_equal_the_scalar_twin(name: str) -> None:
    """Layers of copies, sums and rings with any first values, tame and with overflow: the same bits."""

    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        layers, width = [], 1
        for number in range(int(rng.integers(1, 4))):
            size = int(rng.integers(2, 7))
            kind: Kind = ("rnn", "state", "relu", "linear")[int(rng.integers(4))]
            entry: Rows = [{} for _ in range(size)]
            own: Rows = [{} for _ in range(size)]
            for unit in range(size):
                if kind in ("rnn", "state") and rng.random() < 0.7:
                    own[unit] = {int(rng.integers(size)): mpq(1)}
                if not own[unit] or rng.random() < 0.2:
                    entry[unit] = {int(rng.integers(width)): mpq(int(rng.choice([1, 1, 1, -1])))}
            starts = rng.integers(-1, 3, size=size).tolist() if kind in ("rnn", "state") else [0] * size
            if rng.random() < 0.1 and kind in ("rnn", "state"):
                starts[0] = 10**310
            layers.append(layer(kind, number, entry, own, starts, width))
            width = size
        tokens = prompt(
            rng, int(rng.choice([1, 3])), int(rng.integers(1, 24)), wild=float(rng.choice([0, 0.05]))
        )
        equals_twin(stack(*layers), tokens, name)

    check()


@pytest.mark.parametrize("wild", [0.0, 0.01])
@pytest.mark.parametrize("batch", [1, 3, 12, 16, 32, 64])
def test_accumulators_equal_the_scalar_twin_at_every_width(batch: int, wild: float) -> None:
    """Six of them, linear and ReLU, each width by its own loop: the same bits, overflow included."""
    rng = np.random.default_rng(batch)
    for kind in ("rnn", "state"):
        entry: Rows = [{0: mpq(int(w))} for w in rng.integers(1, 4, size=6)]
        own: Rows = [{unit: mpq(int(w), 4)} for unit, w in enumerate(rng.integers(-5, 6, size=6))]
        model = stack(layer(kind, 0, entry, own, [0, 1, 2, -1, 0, 3]))
        equals_twin(model, prompt(rng, batch, 16, wild=wild), "float16")


def test_accumulators_that_read_each_other_advance_step_by_step() -> None:
    """Two sums, each fed by the other's last value: the same bits in a wide batch and a narrow one."""
    own: Rows = [{0: mpq(1), 1: mpq(-1, 2)}, {0: mpq(1, 2), 1: mpq(1)}]
    model = stack(layer("state", 0, [{0: mpq(1)}, {}], own, [0, 1]))
    lean = stack(layer("rnn", 0, [{}, {}], [{0: mpq(1), 1: mpq(1)}, {1: mpq(1), 0: mpq(1)}], [0, 1]))
    for batch in (1, 9, 16):
        for either in (model, lean):
            equals_twin(either, prompt(np.random.default_rng(5), batch, 20), "float16")
