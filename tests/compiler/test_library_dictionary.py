"""The dictionary: its demonstration, its prompts and what its oracle holds to."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpq
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import ConfigError, TokenError
from compiler.interpreter import interpret
from compiler.loading import load_program
from compiler.programs.dictionary import (
    CAPITALS,
    COUNTRY_PAIRS,
    build_prompt,
    country_prompt,
    decode,
    encode,
    oracle,
    prompt,
    spell,
)


def answer_of(outputs: list[tuple[mpq, ...]], n: int) -> list[int]:
    """The last n outputs, decoded."""
    return [int(symbol) for symbol in decode(np.array(outputs[-n:], dtype=object), {})]


def words_of(tokens: np.ndarray, n: int) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """The query, the whole keys and the values (the last may be cut) of a prompt."""
    flat = tokens[:, 0].tolist()
    starts = range(n, len(flat) - n + 1, 2 * n)
    return flat[:n], [flat[at : at + n] for at in starts], [flat[at + n : at + 2 * n] for at in starts]


def test_the_demonstration_answers_canada_with_ottawa() -> None:
    """The program itself, run exactly on the country prompt, answers CAN with OTT."""
    tokens = country_prompt("CAN").tolist()
    outputs = interpret(load_program("dictionary", n=3), tokens)
    assert spell(answer_of(outputs, 3)) == "OTT"
    assert outputs == oracle(tokens, {})


@pytest.mark.parametrize(("country", "capital"), COUNTRY_PAIRS)
def test_every_country_is_answered_by_its_capital(country: str, capital: str) -> None:
    """The oracle's last three outputs spell the capital of whichever country is asked for."""
    assert spell(answer_of(oracle(country_prompt(country), {}), 3)) == capital
    assert CAPITALS[country].upper().startswith(capital)


def test_the_demonstration_has_at_least_25_pairs_of_three_letters() -> None:
    """Keys and values are three letters A to Z each, and no key comes twice."""
    assert len(COUNTRY_PAIRS) >= 25
    assert all(len(encode(key)) == len(encode(value)) == 3 for key, value in COUNTRY_PAIRS)
    assert len({key for key, _ in COUNTRY_PAIRS}) == len(COUNTRY_PAIRS)
    assert country_prompt().shape == (3 + 6 * len(COUNTRY_PAIRS), 1)


def test_an_unknown_country_gets_no_answer() -> None:
    """Without the query's key the output stays 0, in the program as in the oracle."""
    tokens = build_prompt(encode("XYZ"), [(encode(k), encode(v)) for k, v in COUNTRY_PAIRS[:5]]).tolist()
    wanted = oracle(tokens, {})
    assert spell(answer_of(wanted, 3)) == "···"
    assert interpret(load_program("dictionary"), tokens) == wanted


@given(word=st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
def test_spelling_undoes_encoding(word: str) -> None:
    """Letters and the integers 1..26 stand for each other."""
    assert spell(encode(word)) == word
    assert encode(word.lower()) == encode(word)


@pytest.mark.parametrize("word", ["A1", "É", "A B", "ß"])
def test_only_letters_are_encoded(word: str) -> None:
    """Any other character is an error that shows the word."""
    with pytest.raises(TokenError, match="is not a letter"):
        encode(word)


def test_what_is_no_letter_is_shown_as_such() -> None:
    """0 reads as no answer yet, an unreadable output as a question mark."""
    assert spell([0, 1, 26, 27, -1]) == "·AZ??"


@settings(deadline=None, max_examples=25)
@given(choices=st.data(), n=st.integers(1, 4))
def test_the_last_outputs_spell_the_querys_value(choices: st.DataObject, n: int) -> None:
    """For any unique keys, the program ends with the value of the key that equals the query."""
    word = st.lists(st.integers(1, 3), min_size=n, max_size=n).map(tuple)
    keys = choices.draw(st.lists(word, min_size=1, max_size=3, unique=True))
    values = [choices.draw(word) for _ in keys]
    asked = choices.draw(st.integers(0, len(keys) - 1))
    tokens = build_prompt(keys[asked], zip(keys, values, strict=True)).tolist()
    outputs = interpret(load_program("dictionary", n=n, V=3), tokens)
    assert answer_of(outputs, n) == list(values[asked])
    assert outputs == oracle(tokens, {"n": mpq(n), "V": mpq(3)})


@pytest.mark.parametrize(
    ("n", "v", "length"), [(3, 26, 4_000), (1, 26, 53), (2, 3, 37), (10, 26, 3_000), (20, 2, 900)]
)
@pytest.mark.parametrize("answer_at", ["early", "late", "random", 0])
def test_keys_are_unique_and_the_querys_stands_where_asked(
    n: int, v: int, length: int, answer_at: str | int
) -> None:
    """While there are keys enough no key comes twice, and the query's pair is in its part."""
    chosen = {"n": mpq(n), "V": mpq(v)}
    for seed in range(3):
        tokens = prompt(np.random.default_rng(seed), length, chosen, answer_at=answer_at)  # type: ignore[arg-type]
        query, keys, values = words_of(tokens, n)
        assert len({tuple(key) for key in keys}) == len(keys)
        found, pairs = keys.index(query), (length - n) // (2 * n)
        eighth = max(1, pairs // 8)
        match answer_at:
            case "early":
                assert found < eighth
            case "late":
                assert pairs - eighth <= found < pairs
            case "random":
                assert found < pairs
            case _:
                assert found == answer_at
        assert answer_of(oracle(tokens, chosen), n) == [values[found][(length - n + i) % n] for i in range(n)]


@pytest.mark.parametrize("answer_at", ["early", "late", "random"])
def test_where_keys_run_out_only_others_than_the_querys_come_again(answer_at: str) -> None:
    """A prompt with more pairs than keys still has its query's key once, and the program reads it."""
    chosen = {"n": mpq(1), "V": mpq(4)}
    tokens = prompt(np.random.default_rng(1), 61, chosen, answer_at=answer_at)  # type: ignore[arg-type]
    query, keys, _ = words_of(tokens, 1)
    assert keys.count(query) == 1
    assert len(keys) == 30
    assert {key[0] for key in keys} == {1, 2, 3, 4}
    assert interpret(load_program("dictionary", n=1, V=4), tokens.tolist()) == oracle(tokens, chosen)


def test_one_possible_key_makes_no_dictionary() -> None:
    """With n = V = 1 a second pair would repeat the query's key: refused, one pair is not."""
    chosen = {"n": mpq(1), "V": mpq(1)}
    assert prompt(np.random.default_rng(0), 3, chosen).tolist() == [[1], [1], [1]]
    with pytest.raises(ConfigError, match="one key only"):
        prompt(np.random.default_rng(0), 5, chosen)


def test_a_prompt_beyond_the_declared_counters_is_refused() -> None:
    """max_length bounds the program's counters; the error says how to raise it."""
    with pytest.raises(ConfigError, match="max_length=131073"):
        prompt(np.random.default_rng(0), 131_073, {})
    assert len(prompt(np.random.default_rng(0), 131_073, {"max_length": mpq(131_073)})) == 131_073


@pytest.mark.parametrize("answer_at", ["middle", -1, 6])
def test_an_answer_that_stands_nowhere_is_refused(answer_at: str | int) -> None:
    """answer_at names a part of the prompt or one of its whole pairs."""
    with pytest.raises(ConfigError, match="early, late, random"):
        prompt(np.random.default_rng(0), 40, {}, answer_at=answer_at)  # type: ignore[arg-type]


def test_the_oracle_refuses_a_repeated_key_of_the_query() -> None:
    """Where the program would add two values, the oracle has no answer; other keys may repeat."""
    once = [[1], [1], [5], [2], [6], [2], [7]]
    assert oracle(once, {"n": mpq(1)})[-1] == (mpq(5),)
    with pytest.raises(TokenError, match="tokens 1 and 7"):
        oracle([*once, [1], [8]], {"n": mpq(1)})


def test_a_prompt_is_built_from_words_of_one_length_with_unique_keys() -> None:
    """Words of two lengths, a repeated key and an empty query are each one error."""
    with pytest.raises(ConfigError, match="pair 0"):
        build_prompt([1, 2], [([1, 2], [3])])
    with pytest.raises(ConfigError, match="pair 1"):
        build_prompt([1], [([1], [3]), ([1], [4])])
    with pytest.raises(ConfigError, match="empty query"):
        build_prompt([], [])
