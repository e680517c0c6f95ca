"""The reference ladder certifies, or says that it could not."""

from __future__ import annotations

import numpy as np
from gmpy2 import mpq

from compiler import CompileConfig, compile_program, interpret, load_program
from compiler.expr import Input, LinState
from compiler.library import LIBRARY
from stability.reference import AGREEMENT_BITS, reference


def test_the_reference_agrees_with_exact_rationals() -> None:
    """A certified reference is within 2^-100 of the interpreter's rationals."""
    program = load_program("modulo", n=5)
    tokens = LIBRARY["modulo"].prompt(np.random.default_rng(1), 20, dict(program.parameters))
    for name in ("stable", "paper"):
        config = CompileConfig.named(name)
        found = reference(compile_program(program, "uncompiled", config), tokens)
        assert found.certified
        for got, wanted in zip(found.outputs, interpret(program, tokens.tolist(), config), strict=True):
            assert abs(got[0] - wanted[0]) <= mpq(1, 1 << AGREEMENT_BITS) * max(1, abs(wanted[0]))


def test_an_unstable_program_is_uncertified() -> None:
    """Where errors grow faster than the ladder climbs, the reference says so."""
    x = Input(1)
    program = LinState(x, [[1000]], [["1/3"]], init_state=["1/3"]).program()
    shrinking = LinState(x, [[1000]], [[1]], init_state=[0])
    cancelled = (shrinking - LinState(x, [[1000]], [["1/3"]], init_state=[0]) * 3).program()
    tokens = np.ones((90, 1), dtype=np.int64)
    assert reference(compile_program(program, "uncompiled"), tokens).certified
    found = reference(compile_program(cancelled, "uncompiled"), tokens, first_rung=10, last_rung=40)
    assert found.rung == "uncertified"
    assert not found.certified


def test_the_scale_is_the_largest_magnitude_so_far() -> None:
    """The running scale never falls."""
    x = Input(1, lo=-9, hi=9, integer=True)
    found = reference(compile_program(x.program(), "uncompiled"), np.array([[1], [-5], [2]]))
    assert [row[0] for row in found.scale] == [1, 5, 5]
    assert found.rounded[:, 0].tolist() == [1.0, -5.0, 2.0]
