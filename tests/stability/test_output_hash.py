"""The hash of all outputs: what it tells apart, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpq
from mpmath import mp

from stability.output_hash import output_hash

OK = np.zeros(3, dtype=np.uint8)


def of(*values: object, dtype: object = np.float32) -> str:
    """The hash of three steps of one output."""
    return output_hash(np.array(values, dtype=dtype).reshape(3, 1), OK)  # type: ignore[call-overload]


def test_equal_outputs_have_equal_hashes() -> None:
    """Layout in memory and byte order do not count; the payload and the sign of a nan do not either."""
    values = np.arange(6, dtype=np.float64).reshape(3, 2)
    expected = output_hash(values, OK)
    assert output_hash(np.asfortranarray(values), OK) == expected
    assert output_hash(values[::-1][::-1], OK) == expected
    nans = np.array([0x7FC00000, 0xFFC00001, 0x7F800001], dtype=np.uint32).view(np.float32).reshape(3, 1)
    assert output_hash(nans, OK) == of(np.nan, np.nan, np.nan)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_bit_tells_outputs_apart(dtype: type) -> None:
    """The next number, the sign of a zero, the type, the shape and a status each change the hash."""
    base = of(0.0, 1.0, np.inf, dtype=dtype)
    others = [
        of(0.0, np.nextafter(dtype(1), dtype(2)), np.inf, dtype=dtype),
        of(-0.0, 1.0, np.inf, dtype=dtype),
        of(0.0, 1.0, -np.inf, dtype=dtype),
        of(0.0, 1.0, np.nan, dtype=dtype),
        of(0.0, 1.0, np.inf, dtype=np.float32 if dtype is not np.float32 else np.float64),
        output_hash(np.array([[0.0, 1.0, np.inf]], dtype=dtype), OK),
        output_hash(np.array([[0.0], [1.0], [np.inf]], dtype=dtype), np.array([0, 0, 1], dtype=np.uint8)),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_numbers_of_any_precision_count_with_all_their_digits() -> None:
    """mpf and mpq objects differ in their last digit, and agree however they were made."""
    with mp.workdps(60):
        third, near = mp.mpf(1) / 3, mp.mpf(1) / 3 + mp.mpf(10) ** -59
        assert of(third, 1, 2, dtype=object) != of(near, 1, 2, dtype=object)
        assert of(mp.mpf(3) / 9, 1, 2, dtype=object) == of(third, 1, 2, dtype=object)
    assert of(mpq(1, 3), 1, 2, dtype=object) != of(mpq(10**40, 3 * 10**40 + 1), 1, 2, dtype=object)
    assert of(mpq(2, 6), 1, 2, dtype=object) == of(mpq(1, 3), 1, 2, dtype=object)
