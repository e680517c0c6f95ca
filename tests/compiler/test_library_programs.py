"""The program library: sources, oracles, prompts and decoders agree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import ir
from compiler.config import COMPLEMENTS, CONDITIONALS, STEPS, CompileConfig
from compiler.errors import ConfigError, LsrlError, TokenError
from compiler.interpreter import interpret
from compiler.library import LIBRARY, library_program
from compiler.loading import load_program
from compiler.lowering import lower
from compiler.programs.base import nearest

Settings = Mapping[str, int]

CASES: list[tuple[str, Settings, int]] = [
    ("majority", {}, 200),
    ("copy_delay", {}, 40),
    ("copy_delay", {"k": 1}, 20),
    ("copy_delay", {"k": 12}, 60),
    ("modulo", {"n": 1}, 8),
    ("modulo", {"n": 2}, 20),
    ("modulo", {}, 30),
    ("modulo", {"n": 26}, 40),
    ("dictionary", {"n": 1}, 60),
    ("dictionary", {"n": 2, "V": 3}, 41),
    ("dictionary", {}, 40),
    ("dictionary", {"n": 5, "V": 2}, 51),
    ("continuous", {}, 30),
    ("continuous", {"d_in": 1, "d_out": 1}, 40),
    ("continuous", {"d_in": 3, "d_out": 1}, 60),
]
SHORT: dict[str, int] = {"majority": 60, "copy_delay": 12, "modulo": 16, "dictionary": 22, "continuous": 12}


def rationals(params: Settings) -> dict[str, mpq]:
    """Parameters as the library takes them."""
    return {name: mpq(value) for name, value in params.items()}


@pytest.mark.parametrize(("name", "params", "length"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_oracle_is_the_programs_exact_output(name: str, params: Settings, length: int, seed: int) -> None:
    """A program run in exact rationals gives its oracle's output at every step."""
    program = load_program(name, **params)
    tokens = library_program(name).prompt(np.random.default_rng(seed), length, rationals(params)).tolist()
    assert interpret(program, tokens) == library_program(name).oracle(tokens, rationals(params))


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("conditional", CONDITIONALS)
def test_every_construction_gives_the_oracles_output(name: str, step: str, conditional: str) -> None:
    """Step form, conditional, complement, μ and λ change nothing in exact arithmetic."""
    program = load_program(name)
    tokens = LIBRARY[name].prompt(np.random.default_rng(3), SHORT.get(name, 16), {}).tolist()
    wanted = LIBRARY[name].oracle(tokens, {})
    for complement, scales in itertools.product(COMPLEMENTS, ({}, {"mu": mpq(1000), "lam": mpq(10**10)})):
        config = CompileConfig(step=step, conditional=conditional, complement=complement, **scales)  # type: ignore[arg-type]
        assert interpret(program, tokens, config) == wanted, (complement, scales)


@pytest.mark.parametrize("name", LIBRARY)
def test_defaults_are_those_of_the_source(name: str) -> None:
    """The parameters that a library program knows, and their defaults, stand in its source."""
    assert dict(load_program(name).parameters) == rationals(LIBRARY[name].defaults)
    assert LIBRARY[name].name == name
    assert LIBRARY[name].summary


@pytest.mark.parametrize("name", LIBRARY)
def test_comparisons_saturate_by_default(name: str) -> None:
    """Under ``stable`` every comparison of integers saturates, and only ``continuous`` has ramps."""
    kinds = {note.kind for note in lower(load_program(name)).notes}
    assert kinds == ({"ramp"} if name == "continuous" else set())


@pytest.mark.parametrize(("name", "params", "length"), CASES)
def test_prompts_keep_to_the_declared_range(name: str, params: Settings, length: int) -> None:
    """Every entry of a prompt lies in the range that the program's Input declares."""
    entry = load_program(name, **params).nodes[0]
    assert isinstance(entry, ir.Input)
    assert entry.declared is not None
    tokens = LIBRARY[name].prompt(np.random.default_rng(5), 20 * length, rationals(params))
    assert tokens.shape == (20 * length, entry.dim)
    assert entry.declared.lo is not None
    assert entry.declared.hi is not None
    assert entry.declared.lo <= tokens.min()
    assert tokens.max() <= entry.declared.hi
    assert entry.declared.integer == (tokens.dtype == np.int64)


@pytest.mark.parametrize("name", LIBRARY)
def test_prompts_reach_a_million_tokens(name: str) -> None:
    """A prompt has exactly the length asked for, from 1 to a million, and its answers never stop changing."""
    params = {"max_length": mpq(10**6)}
    for length in (1, 2, 3, 17, 10**6):
        tokens = LIBRARY[name].prompt(np.random.default_rng(0), length, params)
        assert len(tokens) == length
    wanted = LIBRARY[name].oracle(tokens[:300_000], params)
    assert len(set(wanted[-50_000:])) > 1


@pytest.mark.parametrize("name", LIBRARY)
def test_prompts_depend_on_the_seed_alone(name: str) -> None:
    """One seed gives one prompt; another seed gives another."""
    first, again, other = (LIBRARY[name].prompt(np.random.default_rng(seed), 400, {}) for seed in (7, 7, 8))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize(("name", "params", "length"), CASES)
def test_the_oracles_outputs_are_readable(name: str, params: Settings, length: int) -> None:
    """Decoding exact outputs loses nothing: no -1, and integers where the program is decoded."""
    chosen = rationals(params)
    program = LIBRARY[name]
    wanted = program.oracle(program.prompt(np.random.default_rng(2), length, chosen), chosen)
    symbols = program.decode(np.array(wanted, dtype=object), chosen)
    assert symbols.dtype == np.int64
    assert symbols.min() >= 0
    assert symbols.shape == ((length,) if len(wanted[0]) == 1 else (length, len(wanted[0])))
    if program.decoded:
        assert symbols.tolist() == [int(value) for (value,) in wanted]
    else:
        assert program.tolerance > 0


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, object])
def test_decoders_survive_what_is_not_a_number(name: str, kind: type) -> None:
    """inf, nan and values far outside decode to -1, whatever the number type."""
    width = load_program(name).output_dim
    column: np.ndarray = np.array([np.inf, -np.inf, np.nan, 30_000.0, -30_000.0, 0.0], dtype=kind)
    symbols = LIBRARY[name].decode(np.repeat(column[:, None], width, axis=1), {}).reshape(6, width)
    assert (symbols[:5] == -1).all()
    assert (symbols[5] >= 0).all()


def test_decoders_survive_numbers_beyond_float64() -> None:
    """An exact value that no float64 holds decodes to -1."""
    far = np.array([[mpq(10) ** 400], [-(mpq(10) ** 400)], [mpq(1)]], dtype=object)
    assert LIBRARY["majority"].decode(far, {}).tolist() == [-1, -1, 1]


def test_decoders_keep_the_shape_of_a_batch() -> None:
    """(batch, steps, 1) decodes to (batch, steps)."""
    assert LIBRARY["copy_delay"].decode(np.zeros((4, 6, 1)), {}).shape == (4, 6)


@given(value=st.floats(allow_nan=True, allow_infinity=True), highest=st.integers(0, 30))
def test_a_value_reads_as_its_nearest_symbol(value: float, highest: int) -> None:
    """A decoded value is within 1/2 of the output; -1 only where no symbol is."""
    symbol = int(nearest(np.array([[value]]), highest)[0])
    if symbol >= 0:
        assert abs(value - symbol) <= 0.5
        assert symbol <= highest
    else:
        assert not -0.5 < value < highest + 0.5


def test_an_unknown_program_is_refused_with_the_known_names() -> None:
    """The error for an unknown name lists the library."""
    with pytest.raises(ConfigError) as caught:
        library_program("majorty")
    assert all(name in str(caught.value) for name in LIBRARY)


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("length", [0, -3])
def test_a_prompt_without_tokens_is_refused(name: str, length: int) -> None:
    """A length below 1 is one clear error."""
    with pytest.raises(ConfigError, match="at least 1"):
        LIBRARY[name].prompt(np.random.default_rng(0), length, {})


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("majority", [[2]]), ("majority", [[0, 1]]), ("copy_delay", [[10]]), ("copy_delay", [[mpq(1, 2)]]),
        ("modulo", [[7]]), ("modulo", [[-1]]), ("dictionary", [[0]]), ("dictionary", [[27]]),
        ("continuous", [[0, 0, 0, 0]]),
    ],
)  # fmt: skip
def test_oracles_refuse_tokens_that_the_program_does_not_read(
    name: str, tokens: list[list[mpq | int]]
) -> None:
    """A token outside the alphabet or of another width is a TokenError."""
    with pytest.raises(TokenError, match="token 0"):
        LIBRARY[name].oracle(tokens, {})


@pytest.mark.parametrize(
    ("name", "params"),
    [("modulo", {"n": mpq(0)}), ("dictionary", {"n": mpq(3, 2)}), ("copy_delay", {"k": mpq(-1)})],
)
def test_parameters_are_whole_numbers(name: str, params: dict[str, mpq]) -> None:
    """A fractional, zero or negative parameter is one error that names it."""
    with pytest.raises(LsrlError, match=f"parameter {next(iter(params))}="):
        LIBRARY[name].oracle([], params)


# ---------------------------------------------------------------- majority


@pytest.mark.parametrize("seed", range(6))
def test_majoritys_lead_outgrows_float16_and_comes_back(seed: int) -> None:
    """In a long prompt the lead goes beyond 2048 on both sides, and the answer keeps changing."""
    tokens = LIBRARY["majority"].prompt(np.random.default_rng(seed), 100_000, {})
    lead = np.cumsum(2 * tokens[:, 0] - 1)
    assert lead.max() > 2 * 2048 - 300
    assert lead.min() < -2 * 2048 + 300
    ahead = lead > 0
    assert len(np.flatnonzero(ahead[1:] != ahead[:-1])) >= 10
    assert np.abs(lead[:10_000]).max() > 2048
    assert 0.25 < ahead.mean() < 0.75


def test_a_longer_majority_prompt_starts_with_the_shorter() -> None:
    """Runs of one seed at two lengths can be compared step by step."""
    short, long = (LIBRARY["majority"].prompt(np.random.default_rng(4), n, {}) for n in (777, 20_000))
    assert short.tolist() == long[:777].tolist()


@settings(deadline=None, max_examples=30)
@given(bits=st.lists(st.integers(0, 1), min_size=1, max_size=40))
def test_majority_compares_the_counts(bits: list[int]) -> None:
    """The program says 1 exactly when the ones so far outnumber the zeros."""
    outputs = interpret(load_program("majority"), [[bit] for bit in bits])
    for step, (value,) in enumerate(outputs):
        seen = bits[: step + 1]
        assert value == (1 if seen.count(1) > seen.count(0) else 0)


# ---------------------------------------------------------------- copy_delay and modulo


def test_copy_delay_without_delay_is_the_identity() -> None:
    """Delay 0 returns each token as it comes."""
    tokens = [[digit] for digit in (3, 1, 4, 1, 5, 9)]
    assert interpret(load_program("copy_delay", k=0), tokens) == [(mpq(t),) for (t,) in tokens]


def test_modulo_with_26_letters_is_trithemius_cipher() -> None:
    """Zeros come out as 0, 1, 2, …: each letter is moved one place further than the one before."""
    outputs = interpret(load_program("modulo", n=26), [[0]] * 30)
    assert [int(value) for (value,) in outputs] == [step % 26 for step in range(30)]
