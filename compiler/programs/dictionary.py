"""``dictionary``: the universal in-context map of n tokens to n tokens (arXiv 2406.01424, Listing 2).

A prompt is n query tokens, then pairs of n key and n value tokens, all integers
1..V.  From the first value token of the pair whose key equals the query on, step
t returns value token t mod n; before, and without such a pair, it returns 0.  So
whatever the number of pairs, the last n outputs spell the value.

The query's key stands in one pair only (a second one would add its value to the
first).  Other keys may come again: they never match.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.programs.base import (
    Array,
    LibraryProgram,
    Outputs,
    Parameters,
    Tokens,
    check_length,
    config_error,
    integers,
    nearest,
    token_error,
    whole,
)

DEFAULTS = {"n": 3, "V": 26, "max_length": 131072}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERS = ALPHABET + ALPHABET.lower()

CAPITALS = {
    "FRA": "Paris",
    "DEU": "Berlin",
    "ITA": "Rome",
    "ESP": "Madrid",
    "PRT": "Lisbon",
    "GBR": "London",
    "CAN": "Ottawa",
    "USA": "Washington",
    "MEX": "Mexico City",
    "BRA": "Brasília",
    "ARG": "Buenos Aires",
    "CHL": "Santiago",
    "PER": "Lima",
    "JPN": "Tokyo",
    "CHN": "Beijing",
    "IND": "New Delhi",
    "KOR": "Seoul",
    "AUS": "Canberra",
    "NZL": "Wellington",
    "EGY": "Cairo",
    "KEN": "Nairobi",
    "IRL": "Dublin",
    "NLD": "Amsterdam",
    "BEL": "Brussels",
    "CHE": "Bern",
    "AUT": "Vienna",
    "POL": "Warsaw",
    "CZE": "Prague",
    "HUN": "Budapest",
    "GRC": "Athens",
    "SWE": "Stockholm",
    "NOR": "Oslo",
    "FIN": "Helsinki",
    "DNK": "Copenhagen",
}
"""Countries (ISO 3166 alpha-3 codes) and their capitals."""

COUNTRY_PAIRS = tuple((code, capital[:3].upper()) for code, capital in CAPITALS.items())
"""The demonstration's keys and values: three letters each."""

AnswerAt = Literal["early", "late", "random"]
_PERMUTED = 1 << 20
"""Up to so many possible keys are shuffled whole; of more, keys are drawn at random."""


def encode(word: str) -> list[int]:
    """The letters of a word as integers, A = 1 … Z = 26 (either case).

    Raises:
        TokenError: another character.
    """
    places = [_LETTERS.find(letter) for letter in word]
    for letter, place in zip(word, places, strict=True):
        if place < 0:
            raise token_error(
                f"{letter!r} in {word!r} is not a letter", "write words with the letters A to Z"
            )
    return [place % len(ALPHABET) + 1 for place in places]


def spell(values: Iterable[int]) -> str:
    """Integers as letters, 1 = A … 26 = Z; ``·`` for 0 (no answer yet), ``?`` for any other."""
    return "".join("·" if v == 0 else ALPHABET[v - 1] if 1 <= v <= 26 else "?" for v in map(int, values))


def oracle(tokens: Tokens, parameters: Parameters) -> Outputs:
    """Value token (t mod n) from the start of the query's value on, else 0.

    Raises:
        TokenError: a token that is not an integer in 1..V, or the query's key in two pairs.
    """
    n = whole(parameters, "n", DEFAULTS)
    words = integers(tokens, 1, whole(parameters, "V", DEFAULTS))
    query = words[:n]
    starts = [at + n for at in range(n, len(words) - n + 1, 2 * n) if words[at : at + n] == query]
    if len(starts) > 1:
        raise token_error(
            f"the query's key stands at tokens {starts[0] - n} and {starts[1] - n}",
            "keys are unique: a repeated one adds its values",
        )
    if not starts:
        return [(mpq(0),)] * len(words)
    start = starts[0]
    return [(mpq(words[start + step % n] if step >= start else 0),) for step in range(len(words))]


def build_prompt(query: Sequence[int], pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> Array:
    """The tokens of a query and explicit (key, value) pairs, shape (n + 2n·pairs, 1).

    Raises:
        ConfigError: words of different length, or a repeated key.
    """
    words = [list(query)]
    seen: set[tuple[int, ...]] = set()
    for number, (key, value) in enumerate(pairs):
        if not len(key) == len(value) == len(words[0]):
            raise config_error(
                f"pair {number}: key and value have {len(key)} and {len(value)} tokens",
                f"the query has {len(words[0])}: give words of one length",
            )
        if tuple(key) in seen:
            raise config_error(f"pair {number}: its key stands in an earlier pair", "keys are unique")
        seen.add(tuple(key))
        words += [list(key), list(value)]
    if not words[0]:
        raise config_error("an empty query", "give a query of at least one token")
    return np.array([token for word in words for token in word], dtype=np.int64)[:, None]


def country_prompt(query: str = "CAN") -> Array:
    """The demonstration (n=3): a country's code, then codes and capitals of :data:`COUNTRY_PAIRS`."""
    return build_prompt(encode(query), [(encode(key), encode(value)) for key, value in COUNTRY_PAIRS])


def prompt(
    generator: np.random.Generator,
    length: int,
    parameters: Parameters,
    *,
    answer_at: AnswerAt | int = "early",
) -> Array:
    """A random dictionary with its query, cut to ``length`` tokens.

    Args:
        generator: the source of randomness.
        length: number of tokens.
        parameters: n, V and max_length.
        answer_at: where the query's pair stands: among the first eighth of the whole
            pairs (``early``: the answer is read out over the rest), the last eighth
            (``late``: found when the counters are large), anywhere (``random``), or
            the number of the pair.

    Keys are unique as long as there are V^n of them; in a longer prompt the keys
    that are not the query's come again.

    Raises:
        ConfigError: a length outside 1..max_length, an ``answer_at`` that names no
            pair, or more than one pair where V^n = 1.
    """
    n, v = whole(parameters, "n", DEFAULTS), whole(parameters, "V", DEFAULTS)
    _check_reach(length, whole(parameters, "max_length", DEFAULTS))
    pairs = max(1, -(-(length - n) // (2 * n)))
    answer = _answer_pair(generator, max(1, (length - n) // (2 * n)), answer_at)
    keys = _keys(generator, pairs, n, v, answer)
    values = generator.integers(1, v + 1, size=(pairs, n), dtype=np.int64)
    body = np.concatenate([keys, values], axis=1).ravel()
    return np.concatenate([keys[answer], body])[:length, None]


def _check_reach(length: int, max_length: int) -> None:
    check_length(length)
    if length > max_length:
        raise config_error(
            f"a prompt of {length} tokens for max_length={max_length}",
            f"set the parameter max_length={length}: it bounds the program's counters",
        )


def _answer_pair(generator: np.random.Generator, whole_pairs: int, answer_at: AnswerAt | int) -> int:
    eighth = max(1, whole_pairs // 8)
    match answer_at:
        case "early":
            return int(generator.integers(eighth))
        case "late":
            return whole_pairs - 1 - int(generator.integers(eighth))
        case "random":
            return int(generator.integers(whole_pairs))
        case int() if 0 <= answer_at < whole_pairs:
            return answer_at
        case _:
            raise config_error(
                f"answer_at={answer_at!r}",
                f"one of early, late, random, or a pair from 0 to {whole_pairs - 1}",
            )


def _keys(generator: np.random.Generator, pairs: int, n: int, v: int, answer: int) -> npt.NDArray[np.int64]:
    """(pairs, n) keys; row ``answer`` stands nowhere else."""
    possible = v**n
    if possible == 1 and pairs > 1:
        raise config_error(
            f"a dictionary of {pairs} pairs with n={n} and V={v}, which allow one key only",
            "raise V or shorten the prompt",
        )
    if possible > max(_PERMUTED, 4 * pairs):
        return _drawn_keys(generator, pairs, n, v)
    numbers = generator.permutation(possible)
    if pairs > possible:
        own, others = numbers[:1], numbers[1:]
        rounds = -(-(pairs - 1) // len(others))
        rest = np.concatenate([generator.permutation(others) for _ in range(rounds)])
        numbers = np.concatenate([rest[:answer], own, rest[answer:]])
    places = v ** np.arange(n - 1, -1, -1, dtype=np.int64)
    return numbers[:pairs, None] // places % v + 1


def _drawn_keys(generator: np.random.Generator, pairs: int, n: int, v: int) -> npt.NDArray[np.int64]:
    """Unique keys out of very many, in the order in which they were drawn."""
    keys = np.empty((0, n), dtype=np.int64)
    while len(keys) < pairs:
        drawn = generator.integers(1, v + 1, size=(pairs - len(keys), n), dtype=np.int64)
        keys = np.concatenate([keys, drawn])
        _, first = np.unique(keys, axis=0, return_index=True)
        keys = keys[np.sort(first)]
    return keys


def decode(outputs: Array, parameters: Parameters) -> npt.NDArray[np.int64]:
    """The nearest of 0..V (0: no answer yet), else -1."""
    return nearest(outputs, whole(parameters, "V", DEFAULTS))


PROGRAM = LibraryProgram(
    name="dictionary",
    summary="looks a word of n tokens up among the (key, value) pairs of the prompt",
    oracle=oracle,
    prompt=prompt,
    decode=decode,
    defaults=DEFAULTS,
)
