"""The random bits of stochastic rounding: a hash of where and when a number is rounded.

With mix the finaliser of SplitMix64 and all sums modulo 2^64,

    place  = mix(mix(mix(layer) + unit) + operation)
    moment = mix(mix(mix(seed xor SALT) + sequence) + step)
    bits   = the upper 32 bits of mix(place xor moment)

So the bits of one rounding depend on nothing else: not on the batch around a sequence,
not on how a prompt is cut into chunks, not on the order in which units are computed.
``layer`` counts from 0, the readout coming after the last one; ``sequence`` is the place
in the batch and ``step`` the token's; :class:`Rounding` numbers a unit's operations.
"""

from __future__ import annotations

from enum import IntEnum

BITS = 32
GATE = 1 << 32
"""From the numbers of one accumulator of a unit to those of the next."""
WORD = (1 << 64) - 1
SALT = 0xD1B54A32D192ED03  # else a place would be the moment of the same numbers, and cancel it


class Rounding(IntEnum):
    """The numbers of a unit's operations, other than those of its accumulators.

    In the accumulator of gate g, the product of term k has the number g · GATE + 2 k, and
    the sum that follows it the next one; terms count from 0, those of ``weight_hh``
    first, and in a convolution from the first term of lag 0.  U h' + bias_hn of a ``gru`` is
    numbered as a gate 3, and σ(r) ⊙ that is the last term of the accumulator of n.
    """

    VALUE = 1 << 40
    """Gate g after its activation: VALUE + g."""
    KEPT = (1 << 40) + 16
    """f · c' of an ``lstm``, z · h' of a ``gru``."""
    ENTERED = (1 << 40) + 17
    """i · g of an ``lstm``, (1 − z) · n of a ``gru``."""
    MEMORY = (1 << 40) + 18
    """The sum of both."""
    STORED = (1 << 40) + 19
    """h as it is kept for the next step."""
    STORED_CELL = (1 << 40) + 20
    """c of an ``lstm`` likewise."""
    EXPOSED = (1 << 40) + 21
    """c of an ``lstm`` after its activation."""
    PRODUCT = (1 << 40) + 22
    """The product of a gate layer; o · σ(c) of an ``lstm``."""
    OUTPUT = (1 << 40) + 23
    """What other layers read."""
    COMPLEMENT = (1 << 40) + 24
    """(−1) · z of a ``gru``; 1 plus that has the next number."""


def mix(word: int) -> int:
    """The finaliser of SplitMix64: a bijection of 64-bit words that scatters them."""
    word = (word + 0x9E3779B97F4A7C15) & WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)


def unit_key(layer: int, unit: int) -> int:
    """The part of a place that all roundings of a unit share."""
    return mix((mix(layer) + unit) & WORD)


def place_key(layer: int, unit: int, operation: int) -> int:
    """Where a number is rounded."""
    return mix((unit_key(layer, unit) + operation) & WORD)


def seed_key(seed: int) -> int:
    """The part of a moment that a whole run shares."""
    return mix(seed ^ SALT)


def moment_key(seed: int, sequence: int, step: int) -> int:
    """When, and in which sequence."""
    return mix((mix((seed_key(seed) + sequence) & WORD) + step) & WORD)


def random_bits(place: int, moment: int) -> int:
    """The :data:`BITS` bits of one rounding."""
    return mix(place ^ moment) >> (64 - BITS)
