"""Further library programs: sources, oracles, prompts and targets agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import ir
from compiler.compiling import TARGETS, compile_program
from compiler.config import CompileConfig
from compiler.errors import CompileRefusal, ConfigError, LsrlError, TokenError
from compiler.evaluate import evaluate
from compiler.interpreter import interpret
from compiler.library import LIBRARY
from compiler.loading import load_program
from compiler.programs.base import floats
from compiler.programs.rows import integer_rows, levels

Settings = Mapping[str, int | str]

CASES: list[tuple[str, Settings, int]] = [
    ("dictionary_exact", {"n": 1}, 60),
    ("dictionary_exact", {"n": 2, "V": 3}, 41),
    ("dictionary_exact", {}, 60),
    ("dictionary_exact", {"n": 5, "V": 2}, 71),
    ("linear_attention", {}, 80),
    ("linear_attention", {"d": 2, "d_k": 1, "d_v": 1}, 40),
    ("linear_attention", {"d": 5, "d_k": 3, "d_v": 2, "gamma": "9/10"}, 40),
    ("linear_attention", {"d": 3, "d_k": 2, "d_v": 4, "gamma": 0}, 40),
    ("icl_regression", {}, 90),
    ("icl_regression", {"d": 1, "eta": "1/7"}, 50),
    ("icl_regression", {"d": 4}, 50),
    ("parity", {}, 120),
    ("parity", {"digits": 1}, 40),
    ("parity", {"digits": 4}, 300),
    ("balanced", {}, 200),
    ("most_recent_key", {}, 80),
    ("most_recent_key", {"K": 1, "V": 1, "window": 1}, 20),
    ("most_recent_key", {"K": 30, "V": 5, "window": 7}, 60),
]
PRODUCTS = ("linear_attention", "icl_regression")
"""Programs that multiply two values themselves, whatever the conditional."""


def rationals(params: Settings) -> dict[str, mpq]:
    """Parameters as the library takes them."""
    return {name: mpq(value) for name, value in params.items()}


@pytest.mark.parametrize(("name", "params", "length"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_program_computes_its_oracle(name: str, params: Settings, length: int, seed: int) -> None:
    """Run in rational arithmetic, a program gives exactly its oracle's output."""
    tokens = LIBRARY[name].prompt(np.random.default_rng(seed), length, rationals(params)).tolist()
    wanted = LIBRARY[name].oracle(tokens, rationals(params))
    assert interpret(load_program(name, **params), tokens) == wanted
    assert (
        LIBRARY[name].oracle([[mpq(entry) for entry in token] for token in tokens], rationals(params))
        == wanted
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("config", ["stable", "paper"])
@pytest.mark.parametrize(("name", "params", "length"), CASES)
def test_targets_compute_the_oracle(
    name: str, params: Settings, length: int, config: str, target: str
) -> None:
    """Every target gives exactly the oracle's output, or has no gates for the program's products."""
    program, chosen = load_program(name, **params), CompileConfig.named(config)
    tokens = LIBRARY[name].prompt(np.random.default_rng(9), min(length, 24), rationals(params)).tolist()
    if name in PRODUCTS and not TARGETS[target].gated:
        with pytest.raises(CompileRefusal, match=rf"{name}\.lsrl:\d+.*is a product.*use a gated target"):
            compile_program(program, target, chosen)
    else:
        model = compile_program(program, target, chosen)
        assert evaluate(model, tokens) == LIBRARY[name].oracle(tokens, rationals(params))


@pytest.mark.parametrize(("name", "params", "length"), CASES)
def test_prompts_keep_to_the_declared_range(name: str, params: Settings, length: int) -> None:
    """Prompts are integers within the range that the program's Input declares."""
    entry = load_program(name, **params).nodes[0]
    assert isinstance(entry, ir.Input)
    assert entry.declared is not None
    assert entry.declared.integer
    assert entry.declared.lo is not None
    assert entry.declared.hi is not None
    tokens = LIBRARY[name].prompt(np.random.default_rng(5), 20 * length, rationals(params))
    assert tokens.dtype == np.int64
    assert tokens.shape == (20 * length, entry.dim)
    assert entry.declared.lo <= tokens.min()
    assert tokens.max() <= entry.declared.hi


@pytest.mark.parametrize(("name", "params", "length"), CASES)
def test_the_oracles_outputs_are_readable(name: str, params: Settings, length: int) -> None:
    """Decoding exact outputs never gives -1, and loses nothing where the program is decoded."""
    program, chosen = LIBRARY[name], rationals(params)
    wanted = program.oracle(program.prompt(np.random.default_rng(2), 10 * length, chosen), chosen)
    symbols = program.decode(np.array(wanted, dtype=object), chosen)
    assert symbols.min() >= 0
    assert len(np.unique(symbols)) > 1
    if program.decoded:
        assert symbols.tolist() == [int(value) for (value,) in wanted]
    else:
        assert program.tolerance > 0
        assert symbols.reshape(len(wanted), -1).shape[1] == len(wanted[0])


@pytest.mark.parametrize("name", ["linear_attention", "icl_regression", "parity", "balanced"])
def test_a_longer_prompt_starts_with_the_shorter(name: str) -> None:
    """Runs of one seed at two lengths can be compared step by step."""
    short, long = (LIBRARY[name].prompt(np.random.default_rng(4), n, {}) for n in (777, 9_000))
    assert short.tolist() == long[:777].tolist()


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("dictionary_exact", [0]), ("dictionary_exact", [27]), ("linear_attention", [0, 4, 0, 0]),
        ("linear_attention", [0, 0, 0]), ("linear_attention", [0, 0, mpq(1, 2), 0]),
        ("icl_regression", [3, 0, 0]), ("icl_regression", [0, 0, 9]), ("icl_regression", [0, 0]),
        ("parity", [2]), ("parity", [-1]), ("balanced", [2]), ("balanced", [1, 1]),
        ("most_recent_key", [9, 1, 1]), ("most_recent_key", [1, 27, 1]), ("most_recent_key", [1, 1, 0]),
    ],
)  # fmt: skip
def test_oracles_refuse_tokens_that_the_program_does_not_read(name: str, token: list[mpq | int]) -> None:
    """A token outside the alphabet or of another width is a TokenError that names its step."""
    with pytest.raises(TokenError, match="token 0"):
        LIBRARY[name].oracle([token], {})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dictionary_exact", {"n": mpq(0)}), ("linear_attention", {"d": mpq(1)}),
        ("linear_attention", {"gamma": mpq(3, 2)}), ("linear_attention", {"d_v": mpq(1, 2)}),
        ("icl_regression", {"d": mpq(0)}), ("icl_regression", {"eta": mpq(0)}),
        ("parity", {"digits": mpq(0)}), ("most_recent_key", {"window": mpq(0)}),
    ],
)  # fmt: skip
def test_parameters_out_of_bounds_are_refused(name: str, params: dict[str, mpq]) -> None:
    """A parameter that the program cannot have is one error that names it."""
    with pytest.raises(LsrlError, match=f"parameter {next(iter(params))}="):
        LIBRARY[name].oracle([], params)


@pytest.mark.parametrize("name", ["dictionary_exact", "linear_attention", "icl_regression", "parity",
                                  "balanced", "most_recent_key"])  # fmt: skip
def test_no_tokens_are_a_prompt_without_outputs(name: str) -> None:
    """The oracle of nothing is nothing; a generator refuses to make it."""
    assert LIBRARY[name].oracle([], {}) == []
    with pytest.raises(ConfigError, match="at least 1"):
        LIBRARY[name].prompt(np.random.default_rng(0), 0, {})


# ---------------------------------------------------------------- rows and levels


@given(rows=st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), max_size=8))
def test_rows_of_integers_are_read_whatever_their_type(rows: list[tuple[int, int]]) -> None:
    """Python integers, numpy integers and rationals give the same rows."""
    bounds = [(-3, 3), (0, 9)]
    assert integer_rows(rows, bounds) == rows
    assert integer_rows(np.array(rows, dtype=np.int64).reshape(-1, 2), bounds) == rows
    assert integer_rows([[mpq(a), mpq(b)] for a, b in rows], bounds) == rows


@pytest.mark.parametrize(
    ("row", "message"),
    [([1], "has 1 entries, expected 2"), ([1, 10], "entry 1 is 10"), ([mpq(1, 3), 0], "entry 0 is 1/3")],
)
def test_other_rows_are_refused(row: list[mpq | int], message: str) -> None:
    """The error names the step and the entry."""
    with pytest.raises(TokenError, match=f"token 1.*{message}"):
        integer_rows([[0, 0], row], [(-3, 3), (0, 9)])


@settings(max_examples=60)
@given(value=st.floats(allow_nan=True, allow_infinity=True))
def test_a_level_is_within_half_a_step(value: float) -> None:
    """A value within the bound lies half a step from its level at most; others have none."""
    level = int(levels(np.array([[value]]), 4.0, 0.25)[0])
    if abs(value) <= 4:
        assert abs(level * 0.25 - 4 - value) <= 0.125
    else:
        assert level == -1


def test_levels_keep_the_components_of_an_output() -> None:
    """(steps, 2) stays (steps, 2), of exact numbers as of floats."""
    outputs = np.array([[mpq(1, 4), mpq(-4)], [mpq(10), mpq(0)]], dtype=object)
    assert levels(outputs, 4.0, 0.25).tolist() == [[17, 0], [-1, 16]]
    assert levels(floats(outputs), 4.0, 0.25).tolist() == [[17, 0], [-1, 16]]
