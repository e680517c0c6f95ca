"""Policies: their names, and what each name stands for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import ConfigError
from stability.formats import (
    BFLOAT16,
    EXACT,
    FLOAT8_E4M3FN,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    AnyFormat,
    Format,
    MpmathFormat,
    parse_format,
)
from stability.policy import PLACES, PRESETS, Policy, as_policy, output_format, parse_policy
from stability.rounding import MODES

FORMATS: list[AnyFormat] = [
    FLOAT16, BFLOAT16, TF32, FLOAT32, FLOAT64, FLOAT8_E4M3FN, FLOAT8_E4M3FN.saturated(), EXACT,
    MpmathFormat(dps=50), parse_format("e3m4"),
]  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_their_names(name: str) -> None:
    """A preset is read, and prints as it was written."""
    assert parse_policy(name).name == name


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_a_format_is_the_policy_of_all_places(fmt: AnyFormat) -> None:
    """By name, as itself and as a policy it is the same."""
    assert parse_policy(fmt.name) == parse_policy(fmt) == fmt
    policy = as_policy(fmt)
    assert set(policy.formats.values()) == {fmt}
    assert policy.name == fmt.name
    assert as_policy(policy) is policy
    assert policy.binary == isinstance(fmt, Format)


def test_what_the_presets_widen() -> None:
    """acc32 computes products and sums in float32; state32 keeps the state there as well."""
    policy = parse_policy("float16-acc32")
    assert isinstance(policy, Policy)
    assert {place for place in PLACES if policy.formats[place] == FLOAT32} == {"products", "accumulator"}
    assert {place for place in PLACES if policy.formats[place] == FLOAT16} == {
        "input", "weights", "state", "activations", "readout",
    }  # fmt: skip
    assert parse_policy("float16-state32") == replace(policy, state=FLOAT32)
    assert output_format(policy) == FLOAT16
    assert output_format(FLOAT64) == FLOAT64


@given(
    st.lists(st.sampled_from(FORMATS), min_size=7, max_size=7),
    st.sampled_from(MODES),
    st.integers(0, 2**64 - 1),
)
def test_every_policy_is_read_as_it_prints(formats: list[AnyFormat], mode: str, seed: int) -> None:
    """parse ∘ name is the identity; a policy of one format, to nearest, is that format."""
    policy = Policy(**dict(zip(PLACES, formats, strict=True)))  # type: ignore[arg-type]
    if policy.binary:
        policy = replace(policy, rounding=mode, seed=seed if mode == "stochastic" else 0)  # type: ignore[arg-type]
    found = parse_policy(policy.name)
    assert as_policy(found) == policy
    assert isinstance(found, Policy) == (policy.uniform is None)
    assert parse_policy(policy) is policy


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("float16,products=float32,accumulator=float32", "float16-acc32"),
        ("float64, state = e5m10", "float64,state=float16"),
        ("float16-state32,state=float16", "float16-acc32"),
        ("float16,rounding=nearest,seed=0", "float16"),
        ("float32-acc32", "float32"),
        ("float16,rounding=stochastic,seed=7", "float16,rounding=stochastic,seed=7"),
    ],
)
def test_policies_have_one_name(name: str, same: str) -> None:
    """However it was written."""
    assert parse_policy(name).name == same


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float17", "unknown format or policy 'float17' .one of float16, bfloat16, tf32"),
        ("", "unknown format or policy ''"),
        ("float16-acc8", "unknown format or policy"),
        ("mpmath50-acc32", "unknown format or policy"),
        ("float64-acc32", "float32 does not hold all values of float64 .float64-acc64, or"),
        ("bfloat16-state16", "float16 does not hold"),
        ("float16,memory=float32", "'memory=float32' in the policy .*one of input, weights, products"),
        ("float16,state", "'state' in the policy"),
        ("float16,state=float17", "unknown format 'float17'"),
        ("float16,state=float32,state=float64", "two values for state"),
        ("float16,rounding=even", "unknown rounding 'even' .one of nearest, zero, up, down, stochastic"),
        ("float16,seed=1", "rounding=stochastic has a seed"),
        ("float16,rounding=stochastic,seed=-1", "a whole number"),
        ("float16,rounding=stochastic,seed=18446744073709551616", "0 to 2"),
        ("exact,rounding=up", "exact is not rounded up .take a binary format"),
        ("float32,state=mpmath50,rounding=zero", "mpmath50 is not rounded zero"),
        ("e1m9,rounding=up", "2 to 11 exponent bits"),
    ],
)
def test_wrong_policies_are_refused_with_the_choices(name: str, message: str) -> None:
    """One line that shows the value and the way out."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_policy(name)
    assert "\n" not in str(caught.value)
