"""The random bits of stochastic rounding: known values, and no visible pattern."""

from __future__ import annotations

import itertools

import numpy as np

from stability.random_bits import BITS, Rounding, mix, moment_key, place_key, random_bits


def test_mix_is_the_finaliser_of_splitmix64() -> None:
    """Its published sequence for the seed 0."""
    golden = 0x9E3779B97F4A7C15
    assert [mix(n * golden % 2**64) for n in range(3)] == [
        0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F,
    ]  # fmt: skip


def test_every_number_of_the_place_and_moment_counts() -> None:
    """Neighbouring layers, units, operations, seeds, sequences and steps all have bits of their own."""
    places = [place_key(*site) for site in itertools.product(range(4), range(4), (0, 1, 2, 1 << 32))]
    moments = [moment_key(*moment) for moment in itertools.product(range(3), range(3), range(3))]
    found = [random_bits(place, moment) for place in places for moment in moments]
    assert len(set(found)) == len(found) == 64 * 27


def test_bits_are_fair_and_do_not_follow_from_their_neighbours() -> None:
    """Each bit is set half of the time, also in the xor of neighbours in time and in place."""
    place = [place_key(2, unit, Rounding.STORED) for unit in range(64)]
    moment = [moment_key(1, 0, step) for step in range(256)]
    words = np.array([[random_bits(p, m) for m in moment] for p in place], dtype=np.uint64)
    for drawn in (words, words[1:] ^ words[:-1], words[:, 1:] ^ words[:, :-1]):
        bits = (drawn[..., None] >> np.arange(BITS, dtype=np.uint64)) & np.uint64(1)
        share = bits.reshape(-1, BITS).mean(axis=0)
        assert np.abs(share - 0.5).max() < 5 * 0.5 / drawn.size**0.5


def test_operations_of_a_unit_have_different_numbers() -> None:
    """Accumulators of a window of 65,536 lags stay below the numbers of a unit's other operations."""
    assert min(Rounding) > (3 << 32) + 2**32
    assert len({Rounding.VALUE + gate for gate in range(4)} | set(Rounding)) == 4 + len(Rounding) - 1
