"""GRU: products by gates in [0, 1], exact wherever the reset gate stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import assume, given
from hypothesis import strategies as st

from compiler import compile_program, ir, load_program
from compiler.errors import CompileRefusal
from compiler.evaluate import evaluate
from compiler.exact import Matrix, Vector
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU
from compiler.expr import assume as declare
from compiler.interpreter import interpret
from compiler.library import LIBRARY
from compiler.model import Layer, Model
from stability import run
from stability.fuzz import prompts

BOUNDS = [(0, 1), (-1, 1), (0, 3), (-2, 1), (-5, 0)]
CONSTANTS = st.sampled_from([mpq(text) for text in ("1", "-1", "1/2", "-1/3", "2/7", "0", "3", "-3/4")])
Case = tuple[ir.Program, list[Vector]]


@st.composite
def gated(draw: st.DrawFn) -> Case:
    """A chain of products by bounded fractional gates, with states and ReLUs between, and a prompt."""
    lo, hi = draw(st.sampled_from(BOUNDS))
    x = Input(2, lo=lo, hi=hi)
    value = x[1]
    for _ in range(draw(st.integers(1, 3))):
        gate = Linear(x, Matrix.dense([[draw(CONSTANTS), draw(CONSTANTS)]]), [draw(CONSTANTS)])
        operands = (gate, value) if draw(st.booleans()) else (value, gate)
        value = Multi(Concat(*operands))
        match draw(st.sampled_from(["state", "relu", "neither"])):
            case "state":
                parts = ([[draw(CONSTANTS)]], [[draw(CONSTANTS)]], [draw(CONSTANTS)], [draw(CONSTANTS)])
                value = LinState(value, *parts)
            case "relu":
                value = Linear(ReLU(value), [[draw(CONSTANTS)]], [draw(CONSTANTS)])
            case _:
                pass
    program = Concat(value, value + x[0]).program("drawn")
    return program, draw(prompts(program))


def compiled(program: ir.Program) -> Model:
    """The program as a GRU; refusals are no example."""
    try:
        return compile_program(program, "gru")
    except CompileRefusal as refusal:
        assert "has a known bound" in str(refusal)  # noqa: PT017 -- the reason of an assumption
        assume(False)
        raise


@given(gated())
def test_exact_in_both_conventions_of_the_reset_gate(case: Case) -> None:
    """Fractional gates: the interpreter's rationals, with r before and after the recurrent product."""
    program, tokens = case
    model, wanted = compiled(program), interpret(program, tokens)
    assume(len(set(wanted)) > 1)
    assert evaluate(model, tokens) == wanted
    assert evaluate(model, tokens, reset_before=True) == wanted


def without_correction(model: Model) -> Model:
    """The paper's construction: units that carry (1 − a)·p' are silent."""

    def silent(layer: Layer) -> Layer:
        size = layer.size
        rows = list(layer.weight_hh.rows)
        for unit in range(size):
            if layer.weight_ih.rows[unit]:  # r is no constant
                rows[2 * size + unit] = ()
        return replace(layer, weight_hh=replace(layer.weight_hh, rows=tuple(rows)))

    return replace(model, layers=tuple(silent(layer) for layer in model.layers))


def product(lo: int = 0, hi: int = 1) -> ir.Program:
    """A bounded gate times a value."""
    x = Input(2, lo=lo, hi=hi)
    return Multi(x).program("product")


def test_the_papers_construction_is_wrong_from_the_second_token_on() -> None:
    """Without the unit that takes (1 − a)·h' away, only the first product is right."""
    tokens = [["1/2", 1], ["1/2", 1], ["1/4", 0]]
    model = compile_program(product(), "gru")
    assert evaluate(model, tokens) == [(mpq(1, 2),), (mpq(1, 2),), (0,)]
    spoiled = evaluate(without_correction(model), tokens)
    assert spoiled == [(mpq(1, 2),), (mpq(3, 4),), (mpq(9, 16),)]


@given(gated())
def test_the_papers_construction_is_right_at_the_first_token(case: Case) -> None:
    """There is nothing to take away yet, whatever the program: the planted fault is the cause."""
    program, tokens = case
    model = compiled(program)
    assert evaluate(without_correction(model), tokens[:1]) == interpret(program, tokens[:1])


@pytest.mark.parametrize("format_name", ["float16", "float32"])
def test_gates_at_zero_and_one_are_exact(format_name: str) -> None:
    """p is v or the old p, and g takes exactly that away: a·v without an error in any bit."""
    x = Input(2)
    program = Multi(Concat(declare(x[0], lo=0, hi=1, integer=True), x[1])).program("product")
    rng = np.random.default_rng(1)
    values = (rng.standard_normal(2000) * 10.0 ** rng.integers(-7, 4, 2000)).astype(format_name)
    gates = rng.integers(0, 2, 2000).astype(format_name)
    outputs = run(compile_program(program, "gru"), np.stack([gates, values], axis=1), format_name)
    assert np.array_equal(outputs[:, 0], gates * values)


def test_library_programs_with_boolean_gates_are_exact_in_float16() -> None:
    """All gates of `dictionary_exact` are 0 or 1: no error at all in 3,000 tokens."""
    program = load_program("dictionary_exact", n=4)
    entry, parameters = LIBRARY["dictionary_exact"], dict(program.parameters)
    tokens = entry.prompt(np.random.default_rng(2), 3000, parameters)
    wanted = np.array(entry.oracle(tokens.tolist(), parameters), dtype=np.float64)
    assert wanted.any()
    assert np.array_equal(run(compile_program(program, "gru"), tokens, "float16"), wanted)


def test_an_operand_without_a_bound_is_refused(tmp_path: Path) -> None:
    """The refusal names the line of the product, and `assume` as the way out, which works."""
    source = "ForEach:\n    x = Input(2)\n    {gate}\n    y = Multi(Concat(gate, x[1]))\n    return y\n"
    path = tmp_path / "open.lsrl"
    path.write_text(source.format(gate="gate = x[0]"))
    with pytest.raises(CompileRefusal, match=r"open.lsrl:4:.*neither factor.*assume\(x, lo=…, hi=…\)"):
        compile_program(load_program(path), "gru")
    path.write_text(source.format(gate="gate = assume(x[0], lo=-4, hi=3)"))
    model = compile_program(load_program(path), "gru")
    assert evaluate(model, [[3, -7], [-4, "1/3"]]) == [(-21,), (mpq(-4, 3),)]


def test_signed_operands_are_split_by_a_layer_of_relus() -> None:
    """A gate in [−1, 1] takes two layers, ReLUs ≥ 0 and the products over them; one in [0, 1] takes one."""
    plain, split = (compile_program(product(lo), "gru") for lo in (0, -1))
    assert len(plain.layers) == 1
    assert [label.sign for label in split.layers[0].labels] == [1, -1, 1, -1]
    assert split.layers[0].weight_hh.nonzeros == 0
    assert len(split.layers) == 2
    assert all(len(row) <= 1 for row in split.layers[1].weight_ih.rows)
    assert evaluate(split, [["-1/3", "1/2"], [1, -1], ["1/4", 1]]) == [(mpq(-1, 6),), (-1,), (mpq(1, 4),)]


def test_an_operand_beyond_one_is_scaled_by_a_power_of_two() -> None:
    """With a in [0, 3], z = 1 − a/4 and the partner counts four times."""
    x = Input(2)
    program = Multi(Concat(declare(x[0], lo=0, hi=3), declare(x[1], lo=0))).program("product")
    model = compile_program(program, "gru")
    (layer,) = model.layers
    assert layer.weight_ih.rows[layer.size] == ((0, mpq(-1, 4)),)
    assert layer.weight_ih.rows[2 * layer.size] == ((1, mpq(4)),)
    tokens: list[list[object]] = [[3, 5], ["3/7", 2], [0, 9]]
    assert evaluate(model, tokens) == [(15,), (mpq(6, 7),), (0,)]
    assert evaluate(model, tokens, reset_before=True) == evaluate(model, tokens)
