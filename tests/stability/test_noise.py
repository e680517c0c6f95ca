"""The noise frame is tidy and reproducible, and its judgements are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from compiler import CompileConfig, compile_program, load_program
from compiler.errors import ConfigError
from compiler.model import Model
from stability.noise import COLUMNS, configuration_of, early_prompt, noise
from stability.noise_weights import perturb
from stability.running import execute
from stability.subject import subject

TARGETS = ("linear_rnn", "relu_rnn", "gated_linear_rnn", "lstm", "gru")
LENGTH = 300


def models(program: str, targets: tuple[str, ...] = TARGETS) -> list[Model]:
    """A program compiled for several targets."""
    return [compile_program(load_program(program), target) for target in targets]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A small measurement, run freely."""
    return noise(
        "dictionary_exact", models("dictionary_exact"), sigmas=(0, 1e-6, 1e-2), length=LENGTH, seeds=(0, 4),
        jobs=1,
    )  # fmt: skip


def test_the_frame_is_tidy(frame: pd.DataFrame) -> None:
    """The documented columns, one row per model, σ and seed, none missing."""
    assert list(frame.columns) == list(COLUMNS)
    assert not frame.duplicated(["target", "sigma", "seed"]).any()
    assert len(frame) == len(TARGETS) * 3 * 2
    told = frame[
        ["program", "parameters", "format", "config", "kind", "include", "states", "length", "error"]
    ]
    assert told.drop_duplicates().values.tolist() == [
        ["dictionary_exact", "V=26 n=3", "float32", "stable", "relative", "weights+biases", "free", 300, ""]
    ]
    gated = frame["target"].isin(["gated_linear_rnn", "lstm", "gru"])
    assert (frame.loc[gated, "conditional"] == "multiplicative_optimized").all()
    assert (frame.loc[~gated, "conditional"] == "optimized").all()


def test_a_program_of_integers_stands_a_little_noise_and_not_more(frame: pd.DataFrame) -> None:
    """None and 1e-6 leave every token right, and the largest error tells how close it was."""
    for sigma in (0, 1e-6, 1e-2):
        part = frame[frame["sigma"] == sigma]
        assert part["horizon"].isna().all() == (sigma < 1e-2)
        assert (part["wrong_share"] > 0).all() == (sigma == 1e-2)
    assert (frame.loc[frame["sigma"] == 0, "max_abs_error"] == 0).all()
    assert frame.loc[frame["sigma"] == 1e-6, "max_abs_error"].between(1e-9, 0.5).all()
    assert (frame.loc[frame["sigma"] == 1e-2, "max_abs_error"] > 0.5).all()


def test_a_horizon_is_the_first_wrong_step(frame: pd.DataFrame) -> None:
    """Run by hand, a noisy model's outputs are first wrong where the frame says."""
    what = subject("dictionary_exact")
    for (target, seed), part in frame[frame["sigma"] == 1e-2].groupby(["target", "seed"]):
        noisy = perturb(models("dictionary_exact", (str(target),))[0], 1e-2, seed=int(str(seed)))
        tokens = early_prompt(what, int(str(seed)), LENGTH)
        outputs = execute(noisy, tokens, "float32").outputs[:, 0].astype(np.float64)
        wanted = [float(row[0]) for row in what.oracle(tokens) or ()]
        wrong = ~(np.abs(outputs - wanted) < 0.5)
        row = part.iloc[0]
        assert (row["horizon"], row["wrong_share"]) == (np.argmax(wrong), wrong.mean())
        assert row["max_abs_error"] == np.nan_to_num(np.abs(outputs - wanted), nan=np.inf).max()


def test_a_measurement_repeats(frame: pd.DataFrame) -> None:
    """The same call gives the same frame, in one process or two, and a part of it the same rows."""
    again = noise(
        "dictionary_exact", models("dictionary_exact", ("gru",)), sigmas=(1e-2, 0), length=LENGTH, seeds=(4,),
        jobs=2,
    )  # fmt: skip
    kept = frame[(frame["target"] == "gru") & (frame["seed"] == 4) & (frame["sigma"] != 1e-6)]
    pd.testing.assert_frame_equal(again[::-1].reset_index(drop=True), kept.reset_index(drop=True))


def test_clean_states_stop_errors_from_adding_up(frame: pd.DataFrame) -> None:
    """With clean states every target is right at noise that ruins it in a free run."""
    forced = noise(
        "dictionary_exact", models("dictionary_exact"), sigmas=(1e-3,), states="clean", length=2000,
        seeds=(0, 1), jobs=1,
    )  # fmt: skip
    free = noise(
        "dictionary_exact", models("dictionary_exact"), sigmas=(1e-3,), length=2000, seeds=(0, 1), jobs=1
    )
    assert set(forced["states"]) == {"clean"}
    assert forced["horizon"].isna().all()
    assert free["horizon"].notna().all()
    assert (forced["max_abs_error"] > 0).all()


def test_a_run_that_cannot_be_made_is_a_row() -> None:
    """A target without states refuses clean ones; the others run on."""
    program = load_program("majority")
    kept = [compile_program(program, "hawk", window=20), compile_program(program, "lstm")]
    found = noise("majority", kept, sigmas=(0, 1e-3), states="clean", length=20, seeds=(0,), jobs=1)
    assert list(found["error"] != "") == [True, True, False, False]
    assert found["error"][0].startswith("hawk keeps no state")
    assert found["wrong_share"].isna().tolist() == [True, True, False, False]


def test_a_program_without_an_oracle_is_held_to_its_reference(tmp_path: Path) -> None:
    """A user's own program is right without noise and wrong with a lot; a finite window runs too."""
    path = tmp_path / "mine.lsrl"
    path.write_text(
        "ForEach:\n    x = Input(dim=1, lo=0, hi=3, integer=true)\n"
        "    return LinState(x, A=[[0.5]], B=eye(1), init_state=[[1]])\n"
    )
    program = load_program(str(path))
    kept = [compile_program(program, "relu_rnn"), compile_program(program, "hawk", window=40)]
    found = noise(subject(str(path)), kept, sigmas=(0, 0.2), length=40, seeds=(0,), jobs=1)
    assert list(found["wrong_share"] == 0) == [True, False, True, False]
    assert set(found["conditional"]) == {"none"}
    assert set(found["error"]) == {""}


def test_an_inf_or_nan_inside_is_noted() -> None:
    """Noise that makes a state explode ends in an infinite error and a first bad step."""
    found = noise(
        "dictionary", models("dictionary", ("linear_rnn",)), sigmas=(0.3,), length=LENGTH, seeds=(1,),
        format="float16", jobs=1,
    )  # fmt: skip
    assert found["first_bad"].notna().all()
    assert np.isinf(found["max_abs_error"]).all()


@pytest.mark.parametrize("name", ["dictionary", "dictionary_exact"])
def test_early_prompts_ask_for_the_first_pair(name: str) -> None:
    """A dictionary's answer can be read from the first value on; other prompts are the usual ones."""
    what = subject(name)
    tokens = early_prompt(what, 3, 50)
    assert tokens[3:6].tolist() == tokens[:3].tolist()
    assert early_prompt(subject("majority"), 3, 50).tolist() == subject("majority").prompt(3, 50).tolist()


def test_models_tell_their_configuration() -> None:
    """The named configurations are known again, whatever the conditional; others are custom."""
    program = load_program("modulo")
    for name in ("stable", "paper"):
        assert configuration_of(compile_program(program, "lstm", name)) == name
    mixed = CompileConfig(mu=64, conditional="direct")
    assert configuration_of(compile_program(program, "lstm", mixed)) == "custom"


def test_progress_counts_runs() -> None:
    """It is told of every run, and of all of them before the first."""
    told: list[tuple[int, int]] = []
    noise(
        "majority", models("majority", ("lstm", "gru")), sigmas=(0,), length=5, seeds=(0, 1), jobs=1,
        progress=lambda done, total, _what: told.append((done, total)),
    )  # fmt: skip
    assert told == [(done, 4) for done in range(5)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigmas": (-1,)}, "sigma=-1"),
        ({"sigmas": ()}, "no sigma"),
        ({"kind": "loud"}, "unknown kind"),
        ({"include": ("gates",)}, "unknown part 'gates'"),
        ({"include": ()}, "noise on nothing"),
        ({"states": "dirty"}, "unknown states 'dirty'"),
        ({"states": "clean", "format": "mpmath30"}, "no teacher-forced run in mpmath30"),
        ({"states": "clean", "engine": "native"}, "engine 'native' with clean states"),
        ({"engine": "abacus"}, "unknown engine 'abacus'"),
        ({"format": "float13"}, "unknown format or policy 'float13'"),
        ({"length": 0}, "a prompt of 0 tokens"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (0, -1)}, "seeds"),
        ({"models": ()}, "noise on no model"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], words: str) -> None:
    """Each is one message, before anything runs."""
    arguments: dict[str, Any] = {"models": models("majority", ("lstm",)), "length": 5} | changes
    with pytest.raises(ConfigError, match=words):
        noise("majority", **arguments)
