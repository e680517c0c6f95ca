"""Scoring on a scale that forgets: a late error is as large as it is, whatever peaked before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler import compile_program, parse_program
from stability import execute
from stability.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stability.golden import GoldenCase, Score, golden_case, read_case, save_case, score
from stability.golden.bits import RECENT, Trajectory, bits_left, recent_bits
from stability.golden.reading import StoredCase

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

LENGTH, PEAK, LATE = 400, 5, 200


def leaky(gamma: str) -> GoldenCase:
    """s = γ s + x, whose tokens are small but for one large one at step 5."""
    program = parse_program(
        f"ForEach:\n    x = Input(dim=1)\n    return LinState(x, A={gamma}, B=1, init_state=0)\n",
        file="t.lsrl",
    )
    tokens = np.random.default_rng(1).integers(1, 9, size=(LENGTH, 1)) / 64
    tokens[PEAK] = 512
    return golden_case(compile_program(program, "linear_rnn"), tokens)


def stored(made: GoldenCase, folder: Path) -> StoredCase:
    """The case as scoring sees it."""
    save_case(made, folder / "case.npz")
    return read_case(folder / "case.npz")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> StoredCase:
    """A peak of 512 that is forgotten after some hundred steps."""
    return stored(leaky("7/8"), tmp_path_factory.mktemp("case"))


def judged(case: StoredCase, fmt: Format, late: float) -> Score:
    """True outputs that are off by the factor ``late`` from step 200 on."""
    outputs = case.trajectories["reference"].high.copy()
    outputs[LATE:] *= late
    return score(case, outputs, fmt)


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32])
def test_an_error_after_a_peak_fails(case: StoredCase, fmt: Format) -> None:
    """Outputs that are 5 % off beside a peak of 512 have bits enough on the one scale only."""
    found = judged(case, fmt, 1.05)
    assert found.worst_bits >= found.min_bits
    assert found.recent_bits < 5
    assert found.recent_step >= LATE
    assert not found.passed
    (reason,) = found.reasons
    assert f"of what the last {RECENT} steps hold at step {found.recent_step}" in reason
    assert judged(case, fmt, 1.0).passed


def test_a_sound_kernel_passes_where_its_format_forgets_too(tmp_path: Path) -> None:
    """A sum that comes back to nothing keeps the rounding errors of its peak: it is held to no more."""
    program = parse_program(
        "ForEach:\n    x = Input(dim=1)\n    return LinState(x, A=1, B=1, init_state=0)\n", file="t.lsrl"
    )
    tokens = np.random.default_rng(2).integers(1, 99, size=(LENGTH, 1)) / 4096
    tokens[PEAK], tokens[PEAK + 40] = 512, -512
    model = compile_program(program, "linear_rnn")
    case = stored(golden_case(model, tokens), tmp_path)
    found = score(case, execute(model, tokens, FLOAT16, engine="scalar").outputs.astype(np.float64), FLOAT16)
    assert found.recent_bits < found.min_bits
    assert found.recent_own is not None
    assert found.recent_own == pytest.approx(found.recent_bits, abs=0.01)
    assert found.recent_min == max(0, found.recent_own - 3)
    assert found.passed


def test_the_second_scale_decides_only_against_the_reference(case: StoredCase, tmp_path: Path) -> None:
    """A case of old, or a format that no engine has, is judged on the first scale and says so."""
    made = leaky("7/8")
    arrays = dict(made.arrays)
    manifest = json.loads(arrays["manifest"].tobytes())
    assert set(manifest["recent_bits"]) >= {"float16", "float32", "float64"}
    del manifest["recent_bits"]
    arrays["manifest"] = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
    old = stored(GoldenCase(arrays=arrays, manifest=manifest), tmp_path)
    found = judged(old, FLOAT16, 1.05)
    assert (found.recent_own, found.recent_min) == (None, None)
    assert found.recent_bits == judged(case, FLOAT16, 1.05).recent_bits
    assert found.passed


def test_both_scales_agree_until_something_is_forgotten() -> None:
    """In the first 64 steps they are one; after them the second counts the last 64 only."""
    generator = np.random.default_rng(3)
    high = generator.normal(size=(300, 2)) * np.array([1.0, 2.0**20])
    high[10] = 2.0**40
    outputs = high + generator.normal(size=high.shape)
    true = Trajectory(name="x", high=high, low=np.zeros(high.shape))
    sizes = np.array([np.abs(high[max(0, t - RECENT + 1) : t + 1]).max(axis=0) for t in range(len(high))])
    wanted = np.clip(-np.log2(np.abs(outputs - high) / sizes), 0, 53)
    found = recent_bits(outputs, true, FLOAT64)
    assert np.allclose(found, wanted)
    assert np.array_equal(found[:RECENT], bits_left(outputs, true, FLOAT64)[:RECENT])
    assert (found[RECENT + 10 :] < bits_left(outputs, true, FLOAT64)[RECENT + 10 :]).any()


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_the_second_scale_is_never_the_milder_one(length: int, seed: int) -> None:
    """For any outputs, inf and nan among them, it leaves at most as many bits."""
    generator = np.random.default_rng(seed)
    special = np.array([0.0, np.inf, -np.inf, np.nan, 1.0, 1e300])
    high = np.where(generator.random((length, 1)) < 0.2, generator.choice(special, size=(length, 1)), 1.0)
    outputs = np.where(generator.random((length, 1)) < 0.2, generator.choice(special, size=(length, 1)), high)
    true = Trajectory(name="x", high=high, low=np.zeros(high.shape))
    assert (recent_bits(outputs, true, FLOAT16) <= bits_left(outputs, true, FLOAT16)).all()
