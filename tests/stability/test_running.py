"""The public ways to run a model: shapes, engines, streams and errors."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq

from compiler import compile_program, load_program
from compiler.errors import ConfigError, TokenError
from compiler.exact import Matrix
from compiler.model import Layer, Model
from stability.engines.base import Status
from stability.engines.scalar import ScalarEngine
from stability.formats import FLOAT32, parse_format
from stability.running import execute, run, stream
from tests.stability.models import random_model, random_tokens, same

MODEL = random_model(np.random.default_rng(1), layers=5, graph=True)
TOKENS = random_tokens(np.random.default_rng(2), (3, 11, 2))


def counter(weight: mpq | int = 1, size: int = 5) -> Model:
    """A few units that each count tokens, modulo nothing, with a leak."""
    layer = Layer(
        kind="state", inputs=(0,), size=size, weight_ih=Matrix.from_rows(1, [{0: mpq(weight)}] * size),
        weight_hh=Matrix.from_rows(size, [{i: mpq(1, 2)} for i in range(size)]), bias=(mpq(0),) * size,
    )  # fmt: skip
    return Model(
        target="test", name="counter", input_dim=1, output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=Matrix.from_rows(size, [{i: mpq(1) for i in range(size)}]), readout_bias=(mpq(0),),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "mpmath20"])
def test_outputs_have_the_shape_of_the_tokens_and_the_numbers_of_the_format(name: str) -> None:
    """(T, dim) gives (T, out), (B, T, dim) gives (B, T, out)."""
    batch, single = run(MODEL, TOKENS, name), run(MODEL, TOKENS[1], name)
    assert batch.shape == (3, 11, MODEL.output_dim)
    assert single.shape == (11, MODEL.output_dim)
    assert batch.dtype == (getattr(parse_format(name), "dtype", None) or object)
    assert (single == batch[1]).all()


@pytest.mark.parametrize("shape", [(0, 2), (0, 4, 2), (4, 0, 2)])
@pytest.mark.parametrize("name", ["float16", "mpmath20"])
def test_empty_prompts_give_empty_outputs(shape: tuple[int, ...], name: str) -> None:
    """No tokens, no outputs, no error."""
    result = execute(MODEL, np.zeros(shape), name, keep=[1])
    assert result.outputs.shape == (*shape[:-1], MODEL.output_dim)
    assert result.status.shape == shape[:-1]
    assert result.wires[1].shape == (*shape[:-1], MODEL.layers[0].size)


def test_an_engine_is_chosen_by_name_or_given() -> None:
    """``scalar`` and a ScalarEngine do the same; unknown names list the choices."""
    assert same(run(MODEL, TOKENS, engine="scalar"), run(MODEL, TOKENS, FLOAT32, engine=ScalarEngine()))
    with pytest.raises(ConfigError, match=r"unknown engine 'abacus' .one of native, scalar, mpmath"):
        run(MODEL, TOKENS, engine="abacus")
    with pytest.raises(ConfigError, match="unknown format or policy 'float8'"):
        run(MODEL, TOKENS, "float8")
    with pytest.raises(ConfigError, match="'native' cannot run mpmath50"):
        run(MODEL, TOKENS, "mpmath50", engine="native")
    with pytest.raises(ConfigError, match="chunk=0"):
        run(MODEL, TOKENS, chunk=0)


def test_wires_can_be_kept_and_must_exist() -> None:
    """Wire 0 is the rounded tokens; a wire beyond the last layer is refused."""
    kept = execute(MODEL, TOKENS, "float16", keep=[0, 5]).wires
    assert same(kept[0], TOKENS.astype(np.float16) + np.float16(0))
    assert kept[5].shape == (3, 11, MODEL.layers[4].size)
    for wire in (6, -1):
        with pytest.raises(ConfigError, match=rf"no wire {wire} .0 .tokens. to 5"):
            execute(MODEL, TOKENS, keep=[wire])


@pytest.mark.parametrize("name", ["float16", "mpmath20"])
def test_a_stream_equals_one_run(name: str) -> None:
    """Pieces of any length, empty ones included, continue where the last one ended."""
    whole = execute(MODEL, TOKENS, name, keep=[2])
    pieces = list(
        stream(MODEL, [TOKENS[:, :4], TOKENS[:, 4:4], TOKENS[:, 4:5], TOKENS[:, 5:]], name, keep=[2])
    )
    assert (np.concatenate([piece.outputs for piece in pieces], axis=1) == whole.outputs).all()
    assert (np.concatenate([piece.wires[2] for piece in pieces], axis=1) == whole.wires[2]).all()
    assert np.array_equal(np.concatenate([piece.status for piece in pieces], axis=1), whole.status)


def test_a_stream_s_pieces_belong_to_the_same_sequences() -> None:
    """A piece with another number of sequences is refused, and so are wrong tokens."""
    with pytest.raises(TokenError, match="a piece of 1 sequences after pieces of 3"):
        list(stream(MODEL, [TOKENS, TOKENS[0]]))
    with pytest.raises(TokenError, match="has 3 entries"):
        list(stream(MODEL, [np.zeros((4, 3))]))


def test_memory_does_not_grow_with_the_prompt() -> None:
    """A stream of 200,000 tokens never holds more than a few pieces."""

    def pieces() -> Iterator[npt.NDArray[Any]]:
        for _ in range(100):
            yield np.ones((2000, 1), dtype=np.int64)

    last = None
    next(iter(stream(counter(), pieces(), "float16")))
    tracemalloc.start()
    for result in stream(counter(), pieces(), "float16"):
        last = result.outputs[-1, 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last == np.float16(10)
    assert peak < 2_000_000


def test_weights_that_overflow_are_reported_not_raised() -> None:
    """Layer, unit, role and exact value of each constant that is infinite in the format."""
    model = counter(weight=70000, size=2)
    result = execute(model, [[0], [1]], "float16")
    assert [(w.layer, w.unit, w.role, w.value) for w in result.weight_overflow] == [
        (0, 0, "weight_ih", 70000), (0, 1, "weight_ih", 70000),
    ]  # fmt: skip
    assert result.status.tolist() == [Status.NAN, Status.NAN]  # 0·∞
    assert execute(model, [[0]], "float32").weight_overflow == ()
    assert execute(model, [[0]], "mpmath20").weight_overflow == ()


def test_a_program_runs_node_by_node() -> None:
    """A program in place of a model is its ``uncompiled`` target."""
    program = load_program("majority")
    tokens = [[1], [0], [0], [1], [1]]
    model = compile_program(program, target="uncompiled")
    assert same(run(program, tokens, "float16"), run(model, tokens, "float16"))
    assert run(program, tokens, "float16")[:, 0].tolist() == [1, 0, 0, 0, 1]
