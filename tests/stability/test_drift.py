"""The drift frame is tidy, reproducible, and its judgements are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gmpy2 import mpq

from compiler import CompileConfig
from compiler.errors import ConfigError, ProgramError
from stability import drift
from stability.drift import COLUMNS, KEYS
from stability.subject import subject


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A small grid over two programs."""
    return drift(["majority", "modulo"], length=60, jobs=1)


def test_the_frame_is_tidy(frame: pd.DataFrame) -> None:
    """One row per cell and step, the documented columns, no cell missing."""
    assert list(frame.columns) == list(COLUMNS)
    assert not frame.duplicated([*KEYS, "step"]).any()
    cells = frame[list(KEYS)].drop_duplicates()
    by_program = cells.groupby("program").size()
    # majority has no conditional: 9 targets; modulo: 2 ungated and 6 gated under 'optimized',
    # 6 gated under their own, and the control under both; each in 2 configurations × 3 formats
    assert by_program.to_dict() == {"majority": 9 * 6, "modulo": 16 * 6}


def test_references_are_right(frame: pd.DataFrame) -> None:
    """Library programs agree with their plain-Python oracles."""
    assert frame["reference_right"].all()
    assert frame["reference"].str.startswith("mpmath").all()


def test_the_control_is_always_there(frame: pd.DataFrame) -> None:
    """Every compiled cell has an uncompiled one of the same configuration, conditional and format."""
    groups = frame.groupby(["program", "config", "conditional", "format"])["target"]
    assert groups.apply(lambda targets: "uncompiled" in set(targets)).all()


def test_float64_is_right_under_the_stable_configuration(frame: pd.DataFrame) -> None:
    """With saturating steps nothing is wrong in float64."""
    stable = frame[(frame["config"] == "stable") & (frame["format"] == "float64")]
    assert (stable["wrong_share"] == 0).all()
    assert stable["horizon"].isna().all()


def test_float16_overflow_is_a_status(frame: pd.DataFrame) -> None:
    """The paper's λ is infinite in float16: its cells overflow from the start and lose every bit."""
    cells = frame[
        (frame["program"] == "modulo") & (frame["config"] == "paper") & (frame["format"] == "float16")
    ]
    ungated = cells[cells["target"] == "relu_rnn"]
    assert (ungated["weight_overflow"] > 0).all()
    assert (ungated["first_bad"] == 0).all()
    assert set(ungated["status"]) <= {"overflow", "nan"}
    assert (ungated["horizon"] == 0).all()


def test_two_runs_and_two_processes_give_the_same_frame(frame: pd.DataFrame) -> None:
    """A grid is a function of its arguments, whatever the number of processes."""
    again = drift(["majority", "modulo"], length=60, jobs=2)
    pd.testing.assert_frame_equal(frame, again)


def test_progress_is_reported() -> None:
    """Progress starts at 0 and ends at the number of tasks."""
    seen: list[tuple[int, int]] = []
    drift(
        ["copy_delay"], length=10, formats=["float32"], jobs=1,
        progress=lambda done, total, _what: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_conditionals_are_a_factor() -> None:
    """Asked for a conditional, every target runs it; those that cannot say why."""
    found = drift(
        ["modulo"], targets=["relu_rnn", "lstm"], conditionals=["multiplicative"], formats=["float32"],
        configs=["stable"], length=10, jobs=1,
    )  # fmt: skip
    errors = found.groupby("target")["error"].first()
    assert "no gates" in errors["relu_rnn"]
    assert errors["lstm"] == ""
    refused = found[found["target"] == "relu_rnn"]
    assert len(refused) == 1
    assert refused["step"].isna().all()


def test_configurations_of_ones_own() -> None:
    """A configuration is called by the nearest named one and every factor that differs from it."""
    own = [
        CompileConfig(),
        CompileConfig(step="paper", conditional="direct"),
        CompileConfig(mu=mpq(16), reduce=True),
        replace(CompileConfig.named("paper"), lam=mpq(1, 3)),
    ]
    frames = drift(
        ["majority"], targets=["lstm"], formats=["float32"], length=10, jobs=1, configs=own
    )  # fmt: skip
    titles = ["stable", "stable step=paper", "stable mu=16 reduce=on", "paper lam=1/3"]
    assert set(frames["config"]) == set(titles)


def test_the_engine_is_an_argument() -> None:
    """Any engine can be measured: the slow twin gives the bits of the kernels."""
    one, other = (
        drift(["modulo"], targets=["lstm"], formats=["float16"], length=40, engine=name, jobs=1)
        for name in (None, "scalar")
    )
    assert set(one["engine"]) == {"native"}
    assert set(other["engine"]) == {"scalar"}
    pd.testing.assert_frame_equal(one.drop(columns="engine"), other.drop(columns="engine"))


def test_mpmath_is_a_format_under_test() -> None:
    """mpmath at few digits loses digits like any other format."""
    found = drift(["modulo"], targets=["lstm"], formats=["mpmath8"], configs=["stable"], length=40, jobs=1)
    assert set(found["engine"]) == {"mpmath"}
    assert (found["wrong_share"] == 0).all()


def test_a_program_of_ones_own(tmp_path: Path) -> None:
    """A file without oracle or decoder is judged by its own reference."""
    source = tmp_path / "leak.lsrl"
    source.write_text(
        "param decay = 99/100\nForEach:\n    x = Input(dim=2, lo=0, hi=1)\n"
        "    return LinState(x, A=[[decay]], B=[[1, 1]], init_state=[[0]])\n"
    )
    found = drift(
        [str(source)], targets=["relu_rnn"], formats=["float16"], configs=["stable"], length=50, jobs=1
    )
    assert set(found["program"]) == {"leak"}
    assert found["reference_right"].isna().all()
    assert found["significant_bits"].between(5, 11).all()
    assert found["significant_bits"].min() < 11


def test_prompts_of_ones_own_programs_keep_to_the_declared_range(tmp_path: Path) -> None:
    """Tokens of a user's program are drawn inside its Input's range, the same for the same seed."""
    for declared, lo, hi in (
        ("lo=-3, hi=5, integer=true", -3, 5),
        ("hi=1", -1, 1),
        ("lo=0", 0, 2),
        ("dim=1", -1, 1),
    ):
        text = declared if declared.startswith("dim") else f"dim=1, {declared}"
        path = tmp_path / "p.lsrl"
        path.write_text(f"ForEach:\n    x = Input({text})\n    return ReLU(x)\n")
        what = subject(str(path))
        tokens = what.prompt(3, 200)
        assert tokens.shape == (200, 1)
        assert tokens.min() >= lo
        assert tokens.max() <= hi
        assert np.array_equal(tokens, what.prompt(3, 200))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"programs": ["no_such"]}, "no_such"),
        ({"targets": ["transformer"]}, "unknown target"),
        ({"formats": ["float12"]}, "float12"),
        ({"configs": ["fast"]}, "unknown configuration"),
        ({"conditionals": ["maybe"]}, "unknown conditional"),
        ({"engine": "steam"}, "unknown engine"),
        ({"length": 0}, "0 tokens"),
        ({"parameters": {"m": "3"}}, "no program here has a parameter 'm'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(arguments: dict[str, object], message: str) -> None:
    """A grid is checked whole before its first cell."""
    with pytest.raises((ConfigError, ProgramError), match=message):
        drift(**arguments)  # type: ignore[arg-type]
