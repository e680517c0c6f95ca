"""Evaluation orders: equal as rationals, and different in their roundings."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler import ir
from compiler.compiling import compile_program
from compiler.errors import CompileRefusal, ConfigError
from compiler.evaluate import evaluate
from compiler.exact import Vector
from compiler.loading import load_program
from stability import orders
from stability.fuzz import programs, prompts
from stability.orders import Order, chunked_tokens, parse_order, reordered, single_steps
from stability.running import execute

ORDERS = ("chunked(1)", "chunked(2)", "chunked(5)", "scan(2)", "scan(5)", "scan(8)", "convolution")


def in_order(program: ir.Program, target: str, name: str, tokens: list[Vector]) -> list[Vector]:
    """The exact outputs of a program in an order of evaluation."""
    order = parse_order(name)
    model = reordered(compile_program(program, target), order, length=len(tokens))
    table = np.empty((len(tokens), program.input_dim), dtype=object)
    table[...] = [list(token) for token in tokens]
    values = evaluate(model, chunked_tokens(table, order).tolist())
    flat = np.empty((len(values), model.output_dim), dtype=object)
    flat[...] = [list(row) for row in values]
    return [tuple(row) for row in single_steps(flat, order, len(tokens)).tolist()]


@given(st.data())
def test_every_order_equals_the_recurrence(data: st.DataObject) -> None:
    """Random programs give the very rationals of their steps in chunks, scans and convolutions."""
    program = data.draw(programs(data.draw(st.sampled_from(["affine", "stateful", "gated"]))))
    tokens = data.draw(prompts(program))
    target = data.draw(st.sampled_from(["linear_rnn", "gated_linear_rnn", "uncompiled"]))
    name = data.draw(st.sampled_from(ORDERS))
    try:
        wanted = evaluate(compile_program(program, target), tokens)
    except CompileRefusal:
        return
    assert in_order(program, target, name, tokens) == wanted


def test_orders_round_differently() -> None:
    """A decaying state in float16 has other errors in each order, all of them small."""
    program = load_program("linear_attention", gamma="9/10")
    generator = np.random.default_rng(0)
    tokens = generator.integers(-1, 2, size=(200, program.input_dim))
    model = compile_program(program, "gated_linear_rnn")
    true = execute(model, tokens, "float64").outputs
    seen = set()
    for name in ("step", "chunked(16)", "scan(16)", "convolution"):
        order = parse_order(name)
        made = reordered(model, order, length=len(tokens))
        ran = execute(made, chunked_tokens(tokens, order), "float16")
        outputs = single_steps(ran.outputs, order, len(tokens))
        assert outputs.shape == true.shape
        assert single_steps(ran.status, order, len(tokens)).shape == (200,)
        assert np.abs(outputs - true).max() < 0.05 * np.abs(true).max()
        seen.add(outputs.tobytes())
    assert len(seen) == 4


@pytest.mark.parametrize("name", ["steps", "chunked(0)", "scan(99999)", "step(3)", "convolution(2)", ""])
def test_unknown_orders_are_refused(name: str) -> None:
    """Names that are no order, and chunks out of bounds, are one clear error."""
    with pytest.raises(ConfigError):
        parse_order(name)


def test_names_are_read_back() -> None:
    """An order's name is read as that order; a bare name means chunks of 64."""
    for name in ("step", "chunked(7)", "scan(64)", "convolution"):
        assert parse_order(name).name == name
    assert parse_order("scan") == Order(kind="scan", chunk=64)


def test_only_linear_recurrences_have_an_order() -> None:
    """Cells with ReLU are refused by their target's name; so are prompts beyond a convolution."""
    with pytest.raises(ConfigError, match="lstm has a layer of kind lstm"):
        reordered(compile_program(load_program("majority"), "lstm"), parse_order("scan"), length=8)
    linear = compile_program(load_program("majority"), "linear_rnn")
    with pytest.raises(ConfigError, match="convolution over 100000 tokens"):
        reordered(linear, parse_order("convolution"), length=100_000)
    wide = compile_program(load_program("dictionary_exact", n=100), "gated_linear_rnn")
    with mock.patch.object(orders, "MAX_ENTRIES", 10**6), pytest.raises(ConfigError, match="smaller chunk"):
        reordered(wide, parse_order("chunked(4096)"), length=8)


def test_the_last_chunk_is_filled_up() -> None:
    """A prompt that is no multiple of the chunk keeps its length and its order."""
    tokens, order = np.arange(14).reshape(7, 2), parse_order("chunked(3)")
    assert chunked_tokens(tokens, order).shape == (3, 6)
    assert (single_steps(chunked_tokens(tokens, order), order, 7) == tokens).all()
