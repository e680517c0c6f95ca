"""The paper's noise experiment: its questions have the stated answers, and its files are read with care."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compiler.config import Conditional
from compiler.errors import ConfigError
from stability.noise_paper import (
    COLUMNS,
    CONDITIONALS,
    MEASURES,
    SETUPS,
    SIGMAS,
    Setup,
    Wording,
    paper_noise,
    question,
)
from stability.noise_published import FILES, MAX_BYTES, PublishedError, compare, read_published
from stability.running import execute

EXACT = "mpmath60"


@pytest.mark.parametrize("wording", ["library", "paper"])
@pytest.mark.parametrize("conditional", ["optimized", "step_optimized", "multiplicative"])
def test_a_dictionary_question_is_answered_exactly(wording: Wording, conditional: Conditional) -> None:
    """In high precision every construction, in either wording, spells the wanted word at the end."""
    setup = Setup(wording=wording)
    asked = question("dictionary", 3, first=0 if wording == "paper" else 1)
    outputs = execute(setup.compiled("dictionary", conditional), asked.prompts[0], EXACT).outputs
    assert [round(float(value)) for value in outputs[-10:, 0]] == asked.wanted[0, :, 0].tolist()
    assert all(abs(value - round(value)) < 1e-9 for value in outputs[-10:, 0].astype(float))


@pytest.mark.parametrize("wording", ["library", "paper"])
@pytest.mark.parametrize("conditional", ["direct", "optimized"])
def test_a_function_question_is_answered_up_to_its_grid(wording: Wording, conditional: Conditional) -> None:
    """In high precision the output is the value at the centre of the query's cell, off its edges."""
    asked = question("continuous", 3)
    model = Setup(wording=wording).compiled("continuous", conditional)
    prompts = asked.prompts[:3]
    for prompt, wanted in zip(prompts, asked.wanted, strict=False):
        query = prompt[0, :2]
        assert all(8 * entry % 1 > 8e-3 for entry in query)
        cell = next(
            row
            for row in prompt[1:]
            if all(0 < q - low <= row[0] for q, low in zip(query, row[1:3], strict=True))
        )
        output = execute(model, prompt, EXACT).outputs[-1].astype(float)
        np.testing.assert_allclose(output, cell[3:].astype(float), atol=1e-9)
        assert np.linalg.norm(output - wanted) < 0.25


def test_questions_are_those_of_the_set_up() -> None:
    """Sizes, ranges and the seeds: the same question again for one seed, others for others."""
    words = question("dictionary", 0, first=0)
    assert words.prompts.shape == (5, 10 + 20 * 20, 1)
    assert {int(token) for token in words.prompts.ravel()} == set(range(10))
    assert len({tuple(prompt[:10, 0]) for prompt in words.prompts}) == 5
    body = words.prompts[:, 10:]
    assert (body == body[0]).all()
    cells = question("continuous", 0)
    assert cells.prompts.shape == (10, 1 + 64, 5)
    assert all(abs(value) <= 2 for value in cells.prompts.ravel())
    assert question("continuous", 0).prompts.tolist() == cells.prompts.tolist()
    assert question("continuous", 1).prompts.tolist() != cells.prompts.tolist()


def test_measures_are_of_the_last_outputs() -> None:
    """Wrong symbols in per cent, distances averaged, and what is not finite is infinitely far."""
    words = question("dictionary", 0)
    outputs = np.concatenate([np.zeros((5, 400, 1)), words.wanted + 0.4], axis=1)
    assert words.measured(outputs) == 0
    outputs[0, -5:] += 0.2
    assert words.measured(outputs) == 10
    cells = question("continuous", 0)
    shifted = cells.wanted + np.array([3.0, 4.0])
    assert cells.measured(shifted) == pytest.approx(5)
    shifted[0] = np.nan
    assert cells.measured(shifted) == np.inf


def test_the_exact_dictionary_stands_the_paper_s_noise() -> None:
    """With clean states it has no wrong symbol at 1e-3, where `dictionary` has hardly a right one."""
    found = paper_noise(
        ["dictionary", "dictionary_exact"], conditionals=["optimized", "multiplicative"], sigmas=(0, 1e-3),
        targets=2, jobs=1,
    )  # fmt: skip
    assert list(found.columns) == list(COLUMNS)
    assert len(found) == 2 * 2 * 2 * 2
    exact = found["program"] == "dictionary_exact"
    assert (found.loc[exact, "value"] == 0).all()
    noisy = found["sigma"] > 0
    assert (found.loc[~exact & noisy, "value"] > 80).all()
    assert (found.loc[~exact & ~noisy, "value"] == 0).all()


def test_ablations_change_one_thing() -> None:
    """Each set-up runs, is told by its columns, and differs from the others."""
    frames = [
        paper_noise(["continuous"], setup, conditionals=["multiplicative"], sigmas=(1e-5,), targets=1, jobs=1)
        for setup in SETUPS.values()
    ]
    told = pd.concat(frames)
    assert (told["error"] == "").all()
    assert told["value"].notna().all()
    keys = ["wording", "complement", "architecture", "kind", "include", "states"]
    assert len(told.drop_duplicates([*keys, "value"])) == len(SETUPS)


def test_what_the_experiment_does_not_have_is_refused() -> None:
    """An unknown program or conditional; a target that cannot take one is an error in its rows."""
    with pytest.raises(ConfigError, match="no program 'majority'"):
        paper_noise(["majority"])
    with pytest.raises(ConfigError, match="no conditional 'step'"):
        paper_noise(["continuous"], conditionals=["step"])
    ungated = Setup(architecture="linear_rnn")
    found = paper_noise(["continuous"], ungated, conditionals=["multiplicative"], targets=1, jobs=1)
    assert found["error"].str.contains("linear_rnn has no gates").all()
    assert found["value"].isna().all()


def published(folder: Path, *, rows: dict[str, list[str]] | None = None) -> Path:
    """A folder with small files that look like the published ones."""
    for program, name in FILES.items():
        lines = [f",conditional_mode,Noise level,{MEASURES[program]}"]
        kinds = itertools.product(CONDITIONALS, SIGMAS, (1.0, 2.0, 30.0))
        lines += [f"{k},{mode},{sigma},{value}" for k, (mode, sigma, value) in enumerate(kinds)]
        (folder / name).write_text("\n".join((rows or {}).get(program, lines)) + "\n", encoding="utf-8")
    return folder


def test_published_measurements_are_read(tmp_path: Path) -> None:
    """Every row of every file, and for a file that is not there a reason."""
    frame, absent = read_published(published(tmp_path))
    assert absent == ()
    assert frame.groupby("program").size().to_dict() == dict.fromkeys(
        FILES, len(CONDITIONALS) * len(SIGMAS) * 3
    )
    assert set(frame["sigma"]) == set(SIGMAS)
    (tmp_path / FILES["dictionary"]).unlink()
    rest, absent = read_published(tmp_path)
    assert set(rest["program"]) == {"continuous"}
    assert len(absent) == 1
    assert FILES["dictionary"] in absent[0]
    assert "no published measurements of dictionary" in absent[0]
    nothing, absent = read_published(tmp_path / "nowhere")
    assert nothing.empty
    assert len(absent) == len(FILES)


HEAD = f",conditional_mode,Noise level,{MEASURES['dictionary']}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1"),
        (b"\xff\xfe\x00", "utf-8"),
        (b"a,b\n1,2\n", "line 1"),
        (HEAD.encode() + b"\n", "0 rows"),
        (HEAD.encode() + b"\n0,direct,0.0\n", "line 2"),
        (HEAD.encode() + b"\n0,sideways,0.0,1\n", "line 2"),
        (HEAD.encode() + b"\n0,direct,0.0,1\n1,direct,nan,1\n", "line 3: 'nan'"),
        (HEAD.encode() + b"\n0,direct,0.0,-1\n", "line 2: '-1'"),
        (HEAD.encode() + b"\n0,direct,0.0," + b"9" * 99 + b"x\n", "line 2"),
        (HEAD.encode() + b'\n0,direct,0.0,"1\n', "unexpected end"),
        (HEAD.encode() + b"\n" + b"0," * 200_000 + b"\n", "line 2"),
        (HEAD.encode() + b'\n"' + b"0" * 200_000 + b'"\n', "field larger"),
        (b"0" * (MAX_BYTES + 1), "bytes"),
    ],
)
def test_other_files_under_their_name_are_one_error(tmp_path: Path, content: bytes, words: str) -> None:
    """Whatever stands in the file, there is one message that names it, and the line where there is one."""
    (tmp_path / FILES["dictionary"]).write_bytes(content)
    with pytest.raises(PublishedError) as caught:
        read_published(tmp_path)
    assert len(caught.value.diagnostics) == 1
    assert FILES["dictionary"] in str(caught.value)
    assert words in str(caught.value)


def test_measurements_are_compared_cell_by_cell(tmp_path: Path) -> None:
    """Medians and quartiles side by side; they agree where the quartiles overlap."""
    theirs, _ = read_published(published(tmp_path))
    values = {0.0: [0.5, 1.5, 2.5], 1e-9: [40, 50, np.inf]}
    rows = [
        {"program": "dictionary", "conditional": "direct", "sigma": sigma, "value": value, "error": ""}
        for sigma, found in values.items()
        for value in found
    ]
    rows.append(rows[0] | {"value": None, "error": "refused"})
    found = compare(pd.DataFrame(rows).astype({"value": "float64"}), theirs)
    assert found["sigma"].tolist() == [0.0, 1e-9]
    assert found["median"].tolist() == [1.5, 50]
    assert found["published"].tolist() == [2.0, 2.0]
    assert found["agrees"].tolist() == [True, False]
    assert found["targets"].tolist() == [3, 3]
