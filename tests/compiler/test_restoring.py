"""Outputs that are read from Booleans: exact although what they stand for is a little off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq

from compiler import compile_program, interpret, load_program, parse_program
from compiler.errors import ConfigError
from compiler.exact import Matrix
from compiler.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from compiler.ir import Program
from compiler.model import Model
from compiler.real_gates import NativeGates
from stability.subject import subject
from tests.compiler.native_twin import run
from tests.compiler.test_export_native import by_the_equations

TARGETS = ("lstm", "gru")


def integers(body: str, *, lo: int = -3, hi: int = 3) -> Program:
    """A program over one integer token."""
    head = f"ForEach:\n    x = Input(dim=1, lo={lo}, hi={hi}, integer=true)\n"
    return parse_program(head + f"    return {body}\n")


def gates(steps: int = 64, fmt: Format = FLOAT32) -> NativeGates:
    """For prompts of a thousand tokens."""
    return NativeGates(format=fmt, length=1000, restore=steps)


def noisy(model: Model, generator: np.random.Generator) -> Model:
    """All weights but those of the last layer off by a thousandth or so."""

    def shaken(matrix: Matrix) -> Matrix:
        rows = [
            {j: w * (1 + mpq(int(generator.integers(-999, 1000)), 10**6)) for j, w in row}
            for row in matrix.rows
        ]
        return Matrix.from_rows(matrix.width, rows)

    layers = [
        replace(layer, weight_ih=shaken(layer.weight_ih), weight_hh=shaken(layer.weight_hh))
        for layer in model.layers[:-1]
    ]
    return replace(model, layers=(*layers, model.layers[-1]))


@pytest.mark.parametrize("target", TARGETS)
def test_noise_below_half_a_step_leaves_no_trace(target: str) -> None:
    """With noisy weights the outputs of ``dictionary_exact`` are off, and restored they are not."""
    what = subject("dictionary_exact")
    tokens = what.prompt(1, 120)
    oracle = what.oracle(tokens)
    assert oracle is not None
    wanted = np.array(oracle, dtype=np.float64)
    given = tokens[:, np.newaxis].astype(np.float64)
    errors = {}
    for steps in (0, 64):
        model = compile_program(what.source, target, native=gates(steps, FLOAT64))
        errors[steps] = _error(noisy(model, np.random.default_rng(4)), given, wanted)
    assert errors[0] > 1e-3
    assert errors[64] <= 1e-12


def _error(model: Model, tokens: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> float:
    return float(np.abs(by_the_equations(model, tokens)[:, 0] - wanted).max())


@pytest.mark.parametrize("fmt", [FLOAT32, BFLOAT16, FLOAT16, FLOAT64], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("body", ["2*x - 7", "ReLU(x)", "Concat(3*ReLU(x), 1 - x)", "x/2 + 1/4"])
def test_restored_outputs_are_the_programs(body: str, target: str, fmt: Format) -> None:
    """Lattices of any step and offset, below zero too, one output or several."""
    program = integers(body)
    model = compile_program(program, target, native=gates(fmt=fmt))
    tokens = [(mpq(value),) for value in (3, -3, 0, 1, -2, 2, -1)]
    for found, wanted in zip(run(model, fmt, tokens), interpret(program, tokens), strict=True):
        assert all(abs(a - b) <= mpq(1, 10**6) for a, b in zip(found, wanted, strict=True))
    plain = compile_program(program, target, native=gates(0, fmt=fmt))
    assert len(model.layers) == len(plain.layers) + 1
    assert {label.variable for label in model.layers[-1].labels} != set()
    assert all(label.scale == 1 for label in model.layers[-1].labels)


@pytest.mark.parametrize(
    ("program", "steps"),
    [
        (integers("ReLU(x)"), 2), (integers("f_larger(x, 0.5)"), 64), (load_program("continuous"), 64),
        (integers("LinState(x, A=[[1]], B=[[1]], init_state=[[0]])", lo=0), 64), (integers("0*x"), 64),
    ],
    ids=["more steps", "Boolean", "real", "grows with the prompt", "constant"],
)  # fmt: skip
def test_nothing_is_restored_where_it_cannot_or_need_not(program: Program, steps: int) -> None:
    """The layers are those without it."""
    for target in TARGETS:
        model = compile_program(program, target, native=gates(steps))
        plain = compile_program(program, target, native=gates(0))
        assert [layer.size for layer in model.layers] == [layer.size for layer in plain.layers]


def test_a_format_without_room_restores_nothing() -> None:
    """In float16 the weights of steep flags on values of small ε overflow."""
    source = subject("dictionary_exact").source
    layers = {
        steps: len(compile_program(source, "lstm", native=gates(steps, FLOAT16)).layers) for steps in (0, 64)
    }
    assert layers[0] == layers[64]


def test_steps_are_counted_and_settled() -> None:
    """A negative number is refused; a positive one stands in the model's settings."""
    with pytest.raises(ConfigError, match=r"restore=-1 .a number of steps, such as 64; 0: never"):
        gates(-1)
    assert gates(64).settings()["restore"] == "64"
    assert "restore" not in gates(0).settings()
