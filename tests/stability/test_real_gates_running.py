"""Models with real gates in the native engine: bounds that hold, a decay that is predicted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gmpy2 import mpq

from compiler.compiling import build_native, compile_program, settle
from compiler.config import CompileConfig
from compiler.errors import CompileRefusal
from compiler.formats import FLOAT16, FLOAT32, FLOAT64, Format
from compiler.library import LIBRARY
from compiler.lowering import lower
from compiler.real_gates import CELLS, NativeGates, decay
from compiler.text import parse_program
from stability.running import execute, run
from stability.subject import subject

LENGTH = 400
STEPS = 100_000
RING = """ForEach:
    x = Input(dim=1, lo=0, hi=1)
    return LinState(x, A=cycle(3), B=zeros(3, 1), init_state=[[3], [1], [2]])
"""
BOOLEAN_RING = RING.replace("[[3], [1], [2]]", "[[1], [0], [0]]")


@pytest.mark.parametrize("target", CELLS)
@pytest.mark.parametrize("name", LIBRARY)
def test_every_library_program_stays_inside_its_bound(name: str, target: str) -> None:
    """In float64 no output is farther from the oracle than the printed bound; refusals are refusals."""
    what = subject(name)
    gates = NativeGates(format=FLOAT64, length=LENGTH)
    program = what.source
    try:
        built = build_native(lower(program, settle(CompileConfig(), target)), target, gates)
    except CompileRefusal:
        assert name in {"linear_attention", "icl_regression"}
        return
    tokens = what.prompt(1, LENGTH)
    wanted = what.oracle(tokens)
    assert wanted is not None
    got = run(compile_program(program, target, native=gates), tokens, "float64")
    for values, true in zip(got, wanted, strict=True):
        for value, want, bound in zip(values, true, built.outputs, strict=True):
            assert bound < math.inf
            assert abs(mpq(float(value)) - want) <= bound


def ring(
    text: str, target: str, fmt: Format, epsilon: mpq | str, steps: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The three places of a ring at every step."""
    gates = NativeGates(format=fmt, length=steps, epsilon=epsilon)
    model = compile_program(parse_program(text, file="ring.lsrl"), target, native=gates)
    return np.asarray(execute(model, np.zeros((steps, 1)), fmt).outputs, dtype=np.float64)


@pytest.mark.parametrize("target", CELLS)
@pytest.mark.parametrize("epsilon", [mpq(1, 16), mpq(1, 64)])
def test_a_ring_above_the_identity_decays_as_predicted(target: str, epsilon: mpq) -> None:
    """After 100,000 steps each value is v0/√(1 + k ε² v0² t), k = 4/3 or 2/3, to two parts in a thousand."""
    values = sorted(ring(RING, target, FLOAT64, epsilon, STEPS)[-1])
    predicted = [decay(mpq(start), epsilon, STEPS, CELLS[target][1]) for start in (1, 2, 3)]
    assert values == pytest.approx(predicted, rel=2e-3)
    assert max(values) < 2


@pytest.mark.parametrize("target", CELLS)
@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32, FLOAT16], ids=lambda fmt: fmt.name)
def test_a_ring_below_the_identity_never_decays(target: str, fmt: Format) -> None:
    """With ε chosen by the compiler the ring's integers are the same after 100,000 steps."""
    values = ring(RING, target, fmt, "auto", STEPS)
    assert sorted(values[-1]) == [1, 2, 3]
    assert (np.sort(values, axis=1) == [1, 2, 3]).all()


@pytest.mark.parametrize("target", CELLS)
@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32, FLOAT16], ids=lambda fmt: fmt.name)
def test_a_boolean_ring_never_decays(target: str, fmt: Format) -> None:
    """A one-hot ring is one-hot after 100,000 steps, whatever ε is asked for."""
    values = ring(BOOLEAN_RING, target, fmt, mpq(1, 4), STEPS)
    assert (np.sort(values, axis=1) == [0, 0, 1]).all()
    assert values[-1].argmax() == STEPS % 3
