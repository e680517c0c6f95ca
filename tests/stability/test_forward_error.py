"""The derived error bound: never exceeded, 0 where nothing is rounded, and sharp enough to catch mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from gmpy2 import mpq

from compiler import compile_program
from compiler.evaluate import evaluate
from compiler.exact import Matrix
from compiler.model import Kind, Layer, Model
from stability.engines.base import Session
from stability.engines.native.engine import NativeEngine
from stability.formats import FLOAT16, FLOAT32, FLOATS, Format
from stability.forward_error import forward_error
from stability.policy import AnyPolicy
from stability.running import execute
from stability.subject import subject
from stability.verify import every_unit, verify
from tests.stability.models import random_model, random_tokens

KINDS: tuple[Kind, ...] = ("linear", "relu", "state", "gate", "glu", "rnn", "lstm", "gru", "conv")


def affine(weights: Sequence[mpq | int], bias: mpq | int = 0, kind: Kind = "linear") -> Model:
    """One unit that reads all entries of a token."""
    layer = Layer(
        kind=kind, inputs=(0,), size=1, weight_ih=Matrix.dense([weights]), weight_hh=Matrix.dense([[0]]),
        bias=(mpq(bias),),
    )  # fmt: skip
    return Model(
        target="test", name="test", input_dim=len(weights), output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=Matrix.dense([[1]]), readout_bias=(mpq(0),),
    )  # fmt: skip


@pytest.mark.parametrize("fmt", FLOATS.values(), ids=FLOATS)
@pytest.mark.parametrize("wild", [0.0, 0.05])
def test_no_engine_leaves_its_bound(fmt: Format, wild: float) -> None:
    """Every unit of random models of every kind: the scalar engine and float64 stay within their bounds."""
    finite = 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        model = every_unit(random_model(generator, layers=4, graph=bool(seed % 2), wild=wild, kinds=KINDS))
        tokens = random_tokens(generator, (1, 5, model.input_dim))
        bounds = forward_error(model, tokens, fmt)
        found = execute(model, tokens, fmt, engine="scalar").outputs
        true = evaluate(model, [[mpq(value) for value in row] for row in tokens[0].tolist()])
        for step, row in enumerate(true):
            for unit, value in enumerate(row):
                place = (0, step, unit)
                if np.isfinite(bounds.own[place]):
                    assert abs(mpq(float(bounds.value[place])) - value) <= mpq(float(bounds.own[place]))
                if np.isfinite(bounds.error[place]):
                    finite += 1
                    assert abs(mpq(float(found[place])) - value) <= mpq(float(bounds.error[place]))
    assert finite > 300


@pytest.mark.parametrize("fmt", FLOATS.values(), ids=FLOATS)
def test_the_textbook_bound_of_a_dot_product(fmt: Format) -> None:
    """Σ w·x with inexact weights: one rounding per weight, and γ_n of the sum of magnitudes."""
    weights = [mpq(1, 3), mpq(-1, 7), mpq(1, 11)]
    bound = forward_error(affine(weights), np.array([[[1, 2, 4]]]), fmt).error[0, 0, 0]
    u = float(fmt.roundoff)
    size = 1 / 3 + 2 / 7 + 4 / 11
    assert (
        3 * u * size
        <= bound
        <= (3 * u / (1 - 3 * u) + u) * (1 + u) * size * (1 + 1e-9) + 4 * float(fmt.smallest_subnormal)
    )


def test_what_is_not_rounded_has_no_error() -> None:
    """Sums of multiples of 2^g below 2^(p+g) are exact; one unit beyond, they need not be."""
    one = np.array([[[1, 1]]])
    assert forward_error(affine([1024, 1023]), one, FLOAT16).error.max() == 0
    assert forward_error(affine([mpq(1024, 64), mpq(-1023, 64)]), one, FLOAT16).error.max() == 0
    assert forward_error(affine([2046, 2]), one, FLOAT16).error.max() == 0
    assert forward_error(affine([2047, 2]), one, FLOAT16).error.max() > 0
    assert forward_error(affine([mpq(1, 3), 1]), np.array([[[0, 7]]]), FLOAT16).error.max() == 0
    assert forward_error(affine([mpq(1, 3), -1], kind="relu"), one, FLOAT16).error.max() == 0


def test_overflow_has_no_bound() -> None:
    """Magnitudes beyond the largest number, in some order, and weights that are infinite."""
    one = np.array([[[1, 1]]])
    assert np.isinf(forward_error(affine([60000, -60000]), one, FLOAT16).error).all()
    assert np.isinf(forward_error(affine([70000, 1]), 0 * one, FLOAT16).error).all()
    assert forward_error(affine([60000, -60000]), one, FLOAT32).error.max() == 0


@pytest.mark.parametrize("target", ["relu_rnn", "lstm", "gru", "linear_rnn", "uncompiled"])
def test_exact_programs_have_a_bound_of_zero(target: str) -> None:
    """Every unit of ``dictionary_exact`` is computed without rounding, already in float16."""
    what = subject("dictionary_exact")
    model = every_unit(compile_program(what.source, target))
    bounds = forward_error(model, what.prompt(0, 60)[np.newaxis], FLOAT16)
    assert bounds.error.max() == 0


class Changed:
    """The native engine, with another model or in another format than it was given."""

    def __init__(self, *, model: Model | None = None, fmt: Format | None = None) -> None:
        self._model, self._format = model, fmt

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """Start what it was told to start."""
        return NativeEngine().prepare(self._model or model, self._format or fmt, keep)


def test_a_wrong_weight_is_caught() -> None:
    """One weight of an exact program off by one unit in the last place of float32."""
    what = subject("majority")
    model = compile_program(what.source, "lstm")
    tokens = what.prompt(0, 40)[np.newaxis]
    assert verify(model, tokens).verdict == "ok"
    rows = [dict(row) for row in model.readout.rows]
    column = next(iter(rows[0]))
    rows[0][column] *= 1 + mpq(1, 2**23)
    wrong = replace(model, readout=Matrix.from_rows(model.readout.width, rows))
    found = verify(model, tokens, engine=Changed(model=wrong))
    assert (found.verdict, found.engine) == ("differs", "Changed")
    assert found.difference > found.bound


def test_a_shorter_format_inside_is_caught() -> None:
    """float16 arithmetic under the name of float32."""
    program = subject("continuous")
    model = every_unit(compile_program(program.source, "linear_rnn"))
    tokens = program.prompt(0, 30)[np.newaxis]
    assert verify(model, tokens).verdict == "ok"
    assert verify(model, tokens, engine=Changed(fmt=FLOAT16)).verdict == "differs"


def test_values_without_a_bound_leave_it_undecided() -> None:
    """10^10 is infinite in float16: nothing can be said, and it is said why."""
    wild = affine([mpq(10) ** 10, 1])
    found = verify(wild, np.array([[[1, 1]]]), "float16")
    assert (found.verdict, found.overflows, found.unbounded) == ("undecided", 1, 1)
    assert found.share == 0
