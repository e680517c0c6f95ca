"""Rational arithmetic: the numbers of the compiler's own evaluation, as long as they fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import compile_program, load_program
from compiler.errors import BudgetError, ConfigError
from compiler.evaluate import evaluate
from compiler.exact import Matrix
from compiler.model import Layer, Model
from stability.engines.exact_engine import ExactEngine
from stability.formats import EXACT, FLOAT32
from stability.running import execute
from tests.stability.models import random_model, random_tokens


@given(st.integers(0, 2**32))
def test_exact_equals_the_compiler_s_evaluation(seed: int) -> None:
    """Every kind of layer, convolutions included, however the prompt is cut up."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=int(rng.integers(1, 6)), graph=bool(rng.integers(2)))
    tokens = random_tokens(rng, (2, 7, 2))
    result = execute(model, tokens, EXACT, engine=ExactEngine(), chunk=int(rng.integers(1, 9)), keep=[0, 1])
    for prompt, outputs in zip(tokens, result.outputs, strict=True):
        assert [tuple(row) for row in outputs] == evaluate(model, prompt)
    assert not result.status.any()
    assert result.wires[0].reshape(-1).tolist() == [mpq(value) for value in tokens.reshape(-1).tolist()]
    assert result.wires[1].shape == (2, 7, model.layers[0].size)


def test_a_compiled_program_is_its_oracle() -> None:
    """Where states stay small, any length runs."""
    model = compile_program(load_program("parity"), target="lstm")
    tokens = np.random.default_rng(0).integers(0, 2, size=(1, 300, 1))
    outputs = execute(model, tokens, EXACT, engine=ExactEngine()).outputs
    assert outputs[0, :, 0].tolist() == (np.cumsum(tokens) % 2).tolist()


def growing() -> Model:
    """s = s'/3 + x/3 + 1/7: a few bits longer at every step."""
    third = Matrix.from_rows(1, [{0: mpq(1, 3)}])
    state = Layer(
        kind="state", inputs=(0,), size=1, weight_ih=third, weight_hh=third, bias=(mpq(1, 7),),
        initial=(mpq(1),),
    )  # fmt: skip
    return Model(
        target="test", name="test", input_dim=1, output_dim=1, layers=(state,), readout_wires=(1,),
        readout=third, readout_bias=(mpq(0),),
    )  # fmt: skip


def test_numbers_that_grow_past_the_budget_are_refused() -> None:
    """The step, the bits and the way out; a larger budget gets further."""
    tokens = np.ones((1, 200, 1), dtype=np.int64)
    with pytest.raises(BudgetError, match=r"step \d+: .* 1 layers take \d+ bits, .* 300 .*mpmath50"):
        execute(growing(), tokens, EXACT, engine=ExactEngine(budget=300))
    assert execute(growing(), tokens, EXACT, engine=ExactEngine(budget=3000)).outputs.shape == (1, 200, 1)


def test_what_it_cannot_run_is_refused() -> None:
    """Other formats, and functions whose values are irrational."""
    model = growing()
    with pytest.raises(ConfigError, match="'exact' cannot run float32"):
        ExactEngine().prepare(model, FLOAT32)
    layer = replace(model.layers[0], activation="native")
    with pytest.raises(ConfigError, match=r"no exact values .*mpmath50"):
        ExactEngine().prepare(replace(model, layers=(layer,)), EXACT)
