"""Reading prompts: exact, compact, and refused with a place where they are wrong."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpq

from compiler.errors import TokenError
from stability.tokens import read_tokens


@pytest.mark.parametrize(
    ("tokens", "dtype"),
    [
        ([[1, 2], [3, -4]], np.int64),
        ([["1", Decimal("2.0")], [3.0, True]], np.int64),
        ([[0.5, "0.25"], [Fraction(3, 8), mpq(1, 4)]], np.float64),
        ([[0.1, 2], [3, 4]], object),
        ([[2**63, 1], [1, "1/3"]], object),
        (np.array([[1, 2], [3, 4]], dtype=np.uint8), np.int64),
        (np.array([[0.1, 2], [3, 4]], dtype=np.float32), np.float64),
        (np.array([[2**64 - 1, 2], [3, 4]], dtype=np.uint64), object),
        (np.array([["1.5", "2"], ["3", "4"]]), np.float64),
    ],
)
def test_storage_is_exact_and_the_smallest_that_fits(tokens: Any, dtype: type) -> None:
    """int64 for integers, float64 for binary fractions, rationals for the rest."""
    batch = read_tokens(tokens, 2)
    assert batch.single
    assert batch.values.shape == (1, 2, 2)
    assert batch.values.dtype == dtype


def test_list_floats_are_decimals_and_array_floats_are_binary() -> None:
    """0.1 in a list is 1/10; in an array it is the nearest double."""
    assert read_tokens([[0.1]], 1).values[0, 0, 0] == mpq(1, 10)
    assert mpq(read_tokens(np.array([[0.1]]), 1).values[0, 0, 0].item()) == mpq(Fraction(0.1))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1, 2], [3]], "token 1 has 1 entries, the program's Input has 2"),
        ([[[1, 2]], [[3, 4, 5]]], "sequence 1, token 0 has 3 entries, the program's Input has 2"),
        (np.zeros((4, 3)), "has 3 entries, the program's Input has 2"),
        (np.zeros(4), "tokens with 1 axes"),
        (np.zeros((1, 1, 1, 2)), "tokens with 4 axes"),
        ([[1, float("nan")]], "token 0, entry 1 is nan, not a finite number"),
        ([[1, 2], [float("inf"), 2]], "token 1, entry 0 is inf, not a finite number"),
        (np.array([[[1, 2], [3, np.inf]]]), "sequence 0, token 1, entry 1 is inf"),
        ([[1, "x"]], "token 0, entry 1 is 'x', not a finite number"),
        ([[1, "NaN"]], "token 0, entry 1 is 'NaN', not a finite number"),
        ([[1, "1/0"]], "token 0, entry 1 is '1/0', not a finite number"),
        ([[1, "1e999999999"]], "token 0, entry 1 is '1e999999999'"),
        ([[1, None]], "token 0, entry 1 is None, not a finite number"),
        ([1, 2], "not a row of numbers"),
        ("12", "not a row of numbers"),
        (7, "not a row of numbers"),
        ([[[1, 2]], [[3, 4], [5, 6]]], "different lengths"),
        (np.array([[1 + 2j, 1]]), "not a finite number"),
    ],
)
def test_wrong_tokens_are_refused_with_their_place(tokens: Any, message: str) -> None:
    """One clear error that names the sequence, the token and the entry."""
    with pytest.raises(TokenError, match=message):
        read_tokens(tokens, 2)


@pytest.mark.parametrize("tokens", [[], np.zeros((0, 2)), np.zeros((3, 0, 2))])
def test_prompts_may_be_empty(tokens: Any) -> None:
    """No tokens are a prompt of length 0."""
    assert read_tokens(tokens, 2).length == 0


def test_chunks_cover_the_prompt_in_order() -> None:
    """Chunks are consecutive, of the size asked for but the last."""
    batch = read_tokens(np.arange(14).reshape(7, 2), 2)
    pieces = list(batch.chunks(3))
    assert [start for start, _ in pieces] == [0, 3, 6]
    assert np.array_equal(np.concatenate([piece for _, piece in pieces], axis=1), batch.values)
