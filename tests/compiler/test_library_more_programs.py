"""What each of the further library programs computes, and where number formats fail it."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.compiling import compile_program
from compiler.config import CompileConfig
from compiler.errors import TokenError
from compiler.interpreter import interpret, trace
from compiler.library import LIBRARY
from compiler.loading import load_program
from compiler.lowering import lower
from compiler.programs import dictionary_exact, icl_regression, linear_attention, most_recent_key
from compiler.programs.base import floats
from compiler.programs.dictionary import COUNTRY_PAIRS, build_prompt, country_prompt, decode, encode, spell
from stability import run

Row = tuple[int, ...]


def wanted_symbols(name: str, tokens: npt.NDArray[np.int64], params: dict[str, mpq]) -> npt.NDArray[np.int64]:
    """The oracle's outputs, decoded."""
    entry = LIBRARY[name]
    return entry.decode(floats(np.array(entry.oracle(tokens, params), dtype=object)), params)


def first_wrong(name: str, target: str, tokens: npt.NDArray[np.int64], format_name: str) -> int | None:
    """The first step at which a compiled program's decoded output is wrong."""
    outputs = run(compile_program(load_program(name), target), tokens, format_name)
    wrong = LIBRARY[name].decode(outputs, {}) != wanted_symbols(name, tokens, {})
    return int(np.argmax(wrong)) if wrong.any() else None


# ---------------------------------------------------------------- dictionary_exact


def test_the_exact_dictionary_answers_canada_with_ottawa() -> None:
    """On the country prompt it ends with OTT, and an unknown country gets no answer."""
    program = load_program("dictionary_exact", n=3)
    answer = np.array(interpret(program, country_prompt("CAN").tolist())[-3:], dtype=object)
    assert spell(decode(answer, {}).tolist()) == "OTT"
    unknown = build_prompt(encode("XYZ"), [(encode(k), encode(v)) for k, v in COUNTRY_PAIRS[:5]])
    assert set(interpret(program, unknown.tolist())) == {(mpq(0),)}


@pytest.mark.parametrize("n", [1, 2, 4])
def test_both_dictionaries_are_one_map(n: int) -> None:
    """``dictionary`` and ``dictionary_exact`` give the same outputs on the same prompt."""
    tokens = LIBRARY["dictionary"].prompt(np.random.default_rng(n), 30 * n, {"n": mpq(n)}).tolist()
    inexact, exact = (
        interpret(load_program(name, n=n), tokens) for name in ("dictionary", "dictionary_exact")
    )
    assert inexact == exact


@pytest.mark.parametrize(("n", "most", "layers"), [(3, 180, 17), (10, 520, 17), (100, 4800, 17)])
def test_the_exact_dictionary_is_small(n: int, most: int, layers: int) -> None:
    """Its path grows linearly in n, with and without gates."""
    program = load_program("dictionary_exact", n=n)
    for target, conditional in (
        ("gated_linear_rnn", "multiplicative_optimized"),
        ("linear_rnn", "optimized"),
    ):
        model = compile_program(program, target, CompileConfig(conditional=conditional))  # type: ignore[arg-type]
        assert model.nonzeros <= most
        assert len(model.layers) <= layers


@pytest.mark.parametrize("conditional", ["optimized", "multiplicative_optimized"])
@pytest.mark.parametrize("config", ["stable", "paper"])
def test_every_value_of_the_exact_dictionary_is_a_small_integer(config: str, conditional: str) -> None:
    """No node goes beyond V, even where the configuration says λ = 10^10: λ is V."""
    program = load_program("dictionary_exact", n=3, V=9)
    tokens = LIBRARY["dictionary_exact"].prompt(np.random.default_rng(0), 60, {"V": mpq(9)}).tolist()
    chosen = CompileConfig.named(config).with_conditional(conditional)  # type: ignore[arg-type]
    steps = trace(lower(program, chosen).program, [tuple(mpq(entry) for entry in token) for token in tokens])
    values = [entry for step in steps for node in step for entry in node]
    assert max(values) == 9
    assert min(values) >= -9
    assert all(value.denominator == 1 for value in values)


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("target", ["lstm", "gated_linear_rnn", "relu_rnn", "linear_rnn"])
def test_the_exact_dictionary_holds_in_float16(n: int, target: str) -> None:
    """No wrong token in 100,000, gated and ungated; keys come again many times."""
    params = {"n": mpq(n)}
    tokens = LIBRARY["dictionary_exact"].prompt(np.random.default_rng(1), 100_000, params)
    outputs = run(compile_program(load_program("dictionary_exact", n=n), target), tokens, "float16")
    wanted = wanted_symbols("dictionary_exact", tokens, params)
    assert wanted.any()
    assert np.array_equal(outputs[:, 0].astype(np.int64), wanted)


def test_the_exact_dictionarys_prompts_have_no_longest() -> None:
    """A million tokens need no parameter; other keys come again, the query's stands once, where asked."""
    tokens = dictionary_exact.prompt(np.random.default_rng(0), 10**6, {}, answer_at="late")
    pairs = tokens[3:-1, 0][: (10**6 - 3) // 6 * 6].reshape(-1, 6)
    matches = np.flatnonzero((pairs[:, :3] == tokens[:3, 0]).all(axis=1))
    assert len(tokens) == 10**6
    assert len(np.unique(pairs[:, :3], axis=0)) < len(pairs) / 2
    assert len(matches) == 1
    assert matches[0] >= len(pairs) * 7 // 8


# ---------------------------------------------------------------- linear_attention


def attention(tokens: list[list[int]], params: dict[str, mpq]) -> list[tuple[mpq, ...]]:
    """Σ_{s≤t} γ^{t−s} v_s (k_s·q_t), term by term."""
    scaled = linear_attention.matrices(params)
    keys, values, queries = (
        [[sum(mpq(a, 3) * x for a, x in zip(own, token, strict=True)) for own in matrix] for token in tokens]
        for matrix in scaled
    )
    gamma = params.get("gamma", mpq(1))
    wanted = []
    for t, query in enumerate(queries):
        weights = [
            gamma ** (t - s) * sum(k * q for k, q in zip(keys[s], query, strict=True)) for s in range(t + 1)
        ]
        wanted.append(
            tuple(sum(w * values[s][i] for s, w in enumerate(weights)) for i in range(len(values[0])))
        )
    return wanted


@settings(deadline=None, max_examples=25)
@given(choices=st.data(), gamma=st.sampled_from([mpq(1), mpq(1, 2), mpq(9, 10), mpq(0)]))
def test_attention_is_the_sum_over_the_past(choices: st.DataObject, gamma: mpq) -> None:
    """For any tokens and any decay, program and oracle equal the sum written out term by term."""
    d, d_k, d_v = (choices.draw(st.integers(least, 4)) for least in (2, 1, 1))
    tokens = choices.draw(
        st.lists(st.lists(st.integers(-3, 3), min_size=d, max_size=d), min_size=1, max_size=8)
    )
    params = {"d": mpq(d), "d_k": mpq(d_k), "d_v": mpq(d_v), "gamma": gamma}
    wanted = attention(tokens, params)
    assert LIBRARY["linear_attention"].oracle(tokens, params) == wanted
    assert interpret(load_program("linear_attention", **params), tokens) == wanted


def test_attention_prompts_take_back_what_they_wrote() -> None:
    """After every 32 tokens the state is 0: the same token gives the same output as at the start."""
    tokens = LIBRARY["linear_attention"].prompt(np.random.default_rng(3), 32 * 40, {})
    probe = np.array([[1, 2, 3, -1]])
    probed = np.concatenate(
        [np.concatenate([part, probe, probe * [1, -1, 1, -1]]) for part in np.split(tokens, 40)]
    )
    wanted = LIBRARY["linear_attention"].oracle(probed, {})
    alone = LIBRARY["linear_attention"].oracle(probe, {})
    assert {wanted[at] for at in range(32, len(probed), 34)} == set(alone)
    assert len(set(wanted)) > 500


@pytest.mark.parametrize("target", ["gated_linear_rnn", "lstm"])
def test_attentions_state_drifts_by_format(target: str) -> None:
    """Float16 leaves the tolerance within 1,000 tokens; float64 stays inside, its error growing."""
    entry = LIBRARY["linear_attention"]
    tokens = entry.prompt(np.random.default_rng(1), 4_000, {})
    true = floats(np.array(entry.oracle(tokens, {}), dtype=object))
    model = compile_program(load_program("linear_attention"), target)
    errors = {
        f: np.abs(run(model, tokens, f).astype(np.float64) - true).max(axis=1) for f in ("float16", "float64")
    }
    assert errors["float16"][:1000].max() > entry.tolerance
    assert errors["float64"].max() < 1e-9
    assert errors["float64"][-500:].max() > 2 * errors["float64"][:100].max()


# ---------------------------------------------------------------- icl_regression


def loss(weights: list[mpq], pairs: list[tuple[Row, int]]) -> mpq:
    """½ Σ (y − w·x)²."""
    return sum((y - sum(w * e for w, e in zip(weights, x, strict=True))) ** 2 for x, y in pairs) * mpq(1, 2)


def gradient_step(pairs: list[tuple[Row, int]], d: int, eta: mpq) -> list[mpq]:
    """One step down from w = 0; central differences of a quadratic are its gradient exactly."""
    unit = [[mpq(int(i == j)) for j in range(d)] for i in range(d)]
    return [-eta * (loss(row, pairs) - loss([-entry for entry in row], pairs)) / 2 for row in unit]


@settings(deadline=None, max_examples=25)
@given(choices=st.data(), d=st.integers(1, 3), eta=st.sampled_from([mpq(1), mpq(1, 30), mpq(2, 7)]))
def test_regression_takes_one_gradient_step(choices: st.DataObject, d: int, eta: mpq) -> None:
    """For any pairs the prediction is that of one explicit step on the loss of the pairs before."""
    x = st.tuples(*[st.integers(-2, 2)] * d)
    pairs = choices.draw(st.lists(st.tuples(x, st.integers(-4 * d, 4 * d)), min_size=1, max_size=7))
    tokens = [[*each, y] for each, y in pairs]
    wanted = []
    for step, (asked, _) in enumerate(pairs):
        weights = gradient_step(pairs[:step], d, eta)
        wanted.append((sum(w * e for w, e in zip(weights, asked, strict=True)),))
    params = {"d": mpq(d), "eta": eta}
    assert LIBRARY["icl_regression"].oracle(tokens, params) == wanted
    assert interpret(load_program("icl_regression", **params), tokens) == wanted


@pytest.mark.parametrize("weights", [(2, -1), (0, 1), (-2, -2)])
def test_one_step_finds_the_weights_of_orthogonal_pairs(weights: Row) -> None:
    """Shown all signs of x, with η the inverse of their number, queries are answered exactly."""
    inputs = list(itertools.product((-1, 1), repeat=2))
    pairs = [[*x, sum(w * e for w, e in zip(weights, x, strict=True))] for x in inputs]
    queries = [[*x, 0] for x in itertools.product(range(-2, 3), repeat=2)]
    outputs = interpret(load_program("icl_regression", eta="1/4"), pairs + queries)
    for query, (answer,) in zip(queries, outputs[4:], strict=True):
        assert answer == sum(w * e for w, e in zip(weights, query, strict=False))


def test_regression_prompts_teach_a_task_and_take_it_back() -> None:
    """Queries come near the task's true answers, and after each task nothing is left of it."""
    task = 2 * icl_regression.PAIRS + icl_regression.QUERIES
    tokens = LIBRARY["icl_regression"].prompt(np.random.default_rng(0), 200 * task, {})
    predicted = floats(np.array(LIBRARY["icl_regression"].oracle(tokens, {}), dtype=object))[:, 0]
    assert not predicted[::task].any()
    rounds = tokens.reshape(200, task, 3)
    assert not (rounds[:, :, :2] * rounds[:, :, 2:]).sum(axis=1).any()
    asked = slice(icl_regression.PAIRS, icl_regression.PAIRS + icl_regression.QUERIES)
    assert not rounds[:, asked, 2].any()
    weights = np.stack([np.linalg.lstsq(r[:16, :2], r[:16, 2], rcond=None)[0] for r in rounds.astype(float)])
    answers = np.einsum("tqi,ti->tq", rounds[:, asked, :2], weights)
    assert np.corrcoef(answers.ravel(), predicted.reshape(200, task)[:, asked].ravel())[0, 1] > 0.9


# ---------------------------------------------------------------- parity and balanced


@settings(deadline=None, max_examples=40)
@given(bits=st.lists(st.integers(0, 1), min_size=1, max_size=40))
def test_parity_flips_on_every_one(bits: list[int]) -> None:
    """The program says whether the number of ones so far is odd."""
    outputs = interpret(load_program("parity", digits=5), [[bit] for bit in bits])
    assert outputs == [(mpq(sum(bits[: step + 1]) % 2),) for step in range(len(bits))]


@pytest.mark.parametrize("digits", [1, 2, 3, 5])
def test_parity_is_right_up_to_its_reach(digits: int) -> None:
    """With ones at even steps only the program is right up to 2^digits of them; then the oracle refuses."""
    params = {"digits": mpq(digits)}
    worst = [[1], [0]] * 2**digits
    assert interpret(load_program("parity", digits=digits), worst) == LIBRARY["parity"].oracle(worst, params)
    with pytest.raises(TokenError, match=f"token {len(worst)}.*more than {2**digits}"):
        LIBRARY["parity"].oracle([*worst, [1]], params)
    long = LIBRARY["parity"].prompt(np.random.default_rng(0), 3_000, params)
    assert len(set(LIBRARY["parity"].oracle(long, params))) == 2


@pytest.mark.parametrize("target", ["linear_rnn", "lstm"])
def test_parity_fails_where_float16_stops_counting(target: str) -> None:
    """The first wrong answer comes right after the difference passes 2048; float32 has none."""
    tokens = LIBRARY["parity"].prompt(np.random.default_rng(2), 30_000, {})
    signs = 1 - 2 * (np.arange(len(tokens)) % 2)
    beyond = int(np.argmax(np.abs(np.cumsum(tokens[:, 0] * signs)) > 2048))
    assert beyond > 0
    horizon = first_wrong("parity", target, tokens, "float16")
    assert horizon is not None
    assert beyond <= horizon < beyond + 20
    assert first_wrong("parity", target, tokens, "float32") is None


@settings(deadline=None, max_examples=60)
@given(brackets=st.text(alphabet="()x", min_size=1, max_size=30))
def test_balanced_reads_brackets(brackets: str) -> None:
    """The program says 1 exactly where deleting pairs "()" leaves nothing of the brackets so far."""
    outputs = interpret(load_program("balanced"), [[{"(": 1, ")": -1, "x": 0}[each]] for each in brackets])
    for step, (value,) in enumerate(outputs):
        left = brackets[: step + 1].replace("x", "")
        while "()" in left:
            left = left.replace("()", "")
        assert value == (0 if left else 1)


def test_a_bracket_closed_too_early_is_never_forgiven() -> None:
    """After depth −1 the answer stays 0, whatever follows."""
    outputs = interpret(load_program("balanced"), [[token] for token in (1, -1, -1, 1, 1, -1, 1, -1)])
    assert [int(value) for (value,) in outputs] == [0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_bracket_prompts_go_deep_and_come_back(seed: int) -> None:
    """A long prompt is never closed too early, goes beyond 2048 again and again, and returns to 0 often."""
    depth = np.cumsum(LIBRARY["balanced"].prompt(np.random.default_rng(seed), 100_000, {})[:, 0])
    assert depth.min() == 0
    assert 4_000 < depth.max() < 4_200
    deep = depth > 2048
    assert np.count_nonzero(deep[1:] & ~deep[:-1]) >= 4
    assert deep[:9_000].any()
    assert np.mean(depth == 0) > 0.01


@pytest.mark.parametrize("target", ["linear_rnn", "lstm"])
def test_balanced_fails_where_float16_stops_counting(target: str) -> None:
    """After its first excursion beyond 2048 float16 never finds balance again; float32 always does."""
    tokens = LIBRARY["balanced"].prompt(np.random.default_rng(0), 40_000, {})
    depth = np.cumsum(tokens[:, 0])
    beyond = int(np.argmax(depth > 2048))
    back = beyond + int(np.argmax(depth[beyond:] == 0))
    horizon = first_wrong("balanced", target, tokens, "float16")
    assert horizon is not None
    assert 0 < beyond < horizon <= back
    assert first_wrong("balanced", target, tokens, "float32") is None
    outputs = run(compile_program(load_program("balanced"), target), tokens, "float16")
    assert not outputs[back:].any()


# ---------------------------------------------------------------- most_recent_key


@settings(deadline=None, max_examples=40)
@given(
    tokens=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=14
    ),
    window=st.integers(1, 6),
)
def test_the_newest_write_within_the_window_is_read(tokens: list[Row], window: int) -> None:
    """The program gives the value of the last write of the queried key among the last ``window`` steps."""
    wanted = []
    for step, (_, _, asked) in enumerate(tokens):
        recent = tokens[max(0, step + 1 - window) : step + 1]
        found = [value for key, value, _ in recent if key == asked]
        wanted.append((mpq(found[-1] if found else 0),))
    params = {"K": mpq(3), "V": mpq(5), "window": mpq(window)}
    assert interpret(load_program("most_recent_key", **params), tokens) == wanted
    assert most_recent_key.oracle(tokens, params) == wanted


def test_older_writes_are_forgotten() -> None:
    """A write is read up to window − 1 steps later, and no more."""
    tokens = [[1, 7, 2], [0, 9, 1], [0, 9, 1], [0, 9, 1]]
    outputs = interpret(load_program("most_recent_key", window=3), tokens)
    assert [int(value) for (value,) in outputs] == [0, 7, 7, 0]


@pytest.mark.parametrize("target", ["linear_rnn", "lstm"])
def test_most_recent_key_holds_in_float16(target: str) -> None:
    """All its values are small integers: no wrong token in 50,000."""
    tokens = LIBRARY["most_recent_key"].prompt(np.random.default_rng(0), 50_000, {})
    assert first_wrong("most_recent_key", target, tokens, "float16") is None


def test_most_queries_of_a_prompt_find_their_key() -> None:
    """By default more than half of the queries find a value, and some find none."""
    symbols = wanted_symbols(
        "most_recent_key", LIBRARY["most_recent_key"].prompt(np.random.default_rng(0), 5_000, {}), {}
    )
    assert 0.5 < np.mean(symbols > 0) < 0.95
