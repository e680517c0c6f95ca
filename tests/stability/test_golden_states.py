"""Cells of LSTMs in golden cases, and the scoring of states."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq

from compiler import compile_program
from compiler.errors import ConfigError
from compiler.evaluate import initial_memory, layer_step
from compiler.exact import Matrix, Vector, eye, zeros
from compiler.model import Layer, Model
from stability import execute
from stability import reference as reference_module
from stability.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from stability.golden import (
    CaseError,
    GoldenCase,
    golden_case,
    read_case,
    read_outputs,
    save_case,
    score,
    score_states,
)
from stability.golden import case as case_module
from stability.golden.readme import PROGRAM_BEGINS, PROGRAM_ENDS
from stability.reference import reference
from stability.subject import subject
from tests.stability.models import random_model

Array = npt.NDArray[Any]


def random_lstms(seed: int, *, native: bool = False) -> tuple[Model, Array]:
    """A stack of LSTM layers that remember, forget and read their own outputs; and a prompt."""
    generator = np.random.default_rng(seed)
    model = random_model(generator, layers=4, kinds=("lstm", "lstm", "relu"), graph=True, native=native)
    return model, generator.integers(-8, 9, size=(11, model.input_dim)) / 8


def exact_memories(model: Model, tokens: Array) -> dict[int, list[Vector]]:
    """The cells of every LSTM layer after every token, in rationals."""
    memories = [initial_memory(layer) for layer in model.layers]
    found: dict[int, list[Vector]] = {k: [] for k, layer in enumerate(model.layers) if layer.kind == "lstm"}
    for token in tokens:
        wires: list[Vector] = [tuple(mpq(float(value)) for value in token)]
        for number, layer in enumerate(model.layers):
            x = tuple(value for wire in layer.inputs for value in wires[wire])
            memories[number] = layer_step(layer, x, memories[number])
            wires.append(memories[number].output)
        for number, cells in found.items():
            cells.append(memories[number].cell)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_cells_are_the_exact_ones(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any chosen steps, and across the pieces of a prompt, they agree with rationals to 2^-100."""
    model, tokens = random_lstms(seed)
    monkeypatch.setattr(reference_module, "KEPT_VALUES", 30)
    steps = np.array([0, 1, 4, 10])
    found = reference(model, tokens, steps=steps, cells=True)
    wanted = exact_memories(model, tokens)
    assert set(found.cells) == set(wanted)
    assert found.wires_rung != "uncertified"
    for number, cells in found.cells.items():
        true = [wanted[number][step] for step in steps]
        largest = max(abs(value) for row in true for value in row)
        for row, exact in zip(cells, true, strict=True):
            assert all(abs(a - b) * 2**100 <= largest for a, b in zip(row, exact, strict=True))


def test_cells_are_asked_for() -> None:
    """Without the question there are none, and wires are as before."""
    model, tokens = random_lstms(1)
    plain, asked = (reference(model, tokens, keep=(1, 2), cells=cells) for cells in (False, True))
    assert not plain.cells
    assert asked.cells
    assert set(plain.wires) == set(asked.wires) == {1, 2}
    assert plain.wires == asked.wires


@pytest.mark.parametrize("seed", range(4))
def test_cells_of_real_gates_give_the_outputs(seed: int) -> None:
    """With sigmoid and tanh, h = S(o) tanh(c) of the cells that are found."""
    model, tokens = random_lstms(seed, native=True)
    wires = tuple(range(len(model.layers) + 1))
    found = reference(model, tokens, keep=wires, cells=True)
    context = mpmath.MPContext()
    context.dps = 60
    for number, cells in found.cells.items():
        layer = model.layers[number]
        for step, cell in enumerate(cells):
            x = [value for wire in layer.inputs for value in found.wires[wire][step]]
            own = found.wires[number + 1][step - 1] if step else layer.initial or (mpq(0),) * layer.size
            for unit, c in enumerate(cell):
                row = 3 * layer.size + unit
                o = layer.bias[row] + sum((w * own[j] for j, w in layer.weight_hh.rows[row]), mpq(0))
                o += sum((w * x[j] for j, w in layer.weight_ih.rows[row]), mpq(0))
                gate = 1 / (1 + context.exp(-number_in(context, o)))
                h = number_in(context, found.wires[number + 1][step][unit])
                assert abs(context.tanh(number_in(context, c)) * gate - h) < 1e-40


def number_in(context: Any, value: mpq) -> Any:
    """A rational in an mpmath context."""
    return context.mpf(int(value.numerator)) / int(value.denominator)


# ---------------------------------------------------------------- real gates


@pytest.mark.parametrize("seed", range(4))
def test_the_readme_runs_real_gates(seed: int, tmp_path: Path) -> None:
    """Its program computes LSTM and GRU with sigmoid and tanh, shut and saturated ones, to float64."""
    generator = np.random.default_rng(seed)
    model = random_model(generator, layers=4, kinds=("lstm", "gru"), graph=True, native=True)
    made = golden_case(model, generator.integers(-8, 9, size=(20, model.input_dim)) / 8)
    save_case(made, tmp_path / "case.npz")
    assert {layer["activation"] for layer in made.manifest["layers"]} == {"native"}
    outputs = np.load(run_readme(made, tmp_path, "out.npz"))
    for name in ("outputs", *(f"layer{k}" for k in range(4))):
        true = made.arrays[f"reference/{name}"]
        assert np.abs(outputs[name] - true).max() <= 2.0**-40 * max(1.0, np.abs(true).max())


def test_a_shut_gate_is_all_but_nothing() -> None:
    """What a sigmoid leaves of a unit, 2 to the power of −10^11, is 0 in a reference and in a case."""
    shut = Layer(
        kind="lstm", inputs=(0,), size=1, weight_ih=Matrix.from_rows(1, [{}, {}, {0: mpq(1)}, {}]),
        weight_hh=zeros(4, 1), bias=(mpq(1), mpq(1), mpq(0), mpq(-(10**11))), initial=(mpq(1),),
        initial_cell=(mpq(0),), activation="native",
    )  # fmt: skip
    model = Model(
        target="lstm", name="shut", input_dim=1, output_dim=1, layers=(shut,), readout_wires=(1,),
        readout=eye(1), readout_bias=(mpq(1),),
    )  # fmt: skip
    true = reference(model, np.ones((3, 1)), keep=(1,), cells=True)
    assert true.certified
    assert true.outputs == [(mpq(1),)] * 3
    assert true.wires[1] == [(mpq(0),)] * 3
    assert all(value > 0 for (value,) in true.cells[0])


def run_readme(made: GoldenCase, folder: Path, output: str) -> Path:
    """The file that the program in the case's README writes for case.npz."""
    code = made.readme.split(PROGRAM_BEGINS)[1].split(PROGRAM_ENDS)[0]
    (folder / "run.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "error", "run.py", "case.npz", output]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / output


# ---------------------------------------------------------------- scoring


@pytest.fixture(scope="module")
def made() -> tuple[Model, GoldenCase]:
    """An LSTM that reads its inputs, with its case."""
    what = subject("linear_attention")
    model = compile_program(what.source, "lstm")
    return model, golden_case(model, what.prompt(2, 40))


@pytest.fixture
def folder(made: tuple[Model, GoldenCase], tmp_path: Path) -> Path:
    """A folder with case.npz."""
    save_case(made[1], tmp_path / "case.npz")
    return tmp_path


def kernel(made: GoldenCase, folder: Path, *, dtype: Any = np.float64, **changes: Array) -> Path:
    """out.npz: the true outputs and all true states, some of them changed."""
    given = {
        name.removeprefix("reference/"): array
        for name, array in made.arrays.items()
        if "/" in name and name.partition("/")[2].startswith(("outputs", "layer", "cell_"))
        and name.startswith("reference/") and not name.endswith("_low")
    } | changes  # fmt: skip
    np.savez(folder / "out.npz", **{k: v.astype(dtype) for k, v in given.items()})  # type: ignore[arg-type]  # numpy has no type for names
    return folder / "out.npz"


def test_a_case_holds_the_cells_of_its_lstm_layers(made: tuple[Model, GoldenCase], tmp_path: Path) -> None:
    """One array per LSTM layer, as tall as the states, told in the README; no other model has any."""
    model, case = made
    cells = {name for name in case.arrays if "cell_layer" in name and not name.endswith("_low")}
    assert cells == {f"reference/cell_layer{k}" for k in range(len(model.layers))}
    for number, layer in enumerate(model.layers):
        assert case.arrays[f"reference/cell_layer{number}"].shape == (40, layer.size)
        assert (case.arrays[f"reference/cell_layer{number}"] >= 0).all()
    assert "reference/cell_layerK" in case.readme
    other = golden_case(compile_program(subject("majority").source, "relu_rnn"), [[1], [0]])
    assert not any("cell" in name for name in other.arrays if name.startswith("reference"))


def test_the_program_in_the_readme_gives_states_that_pass(
    made: tuple[Model, GoldenCase], folder: Path
) -> None:
    """Asked for an .npz it writes outputs, states and cells, and all of them are judged."""
    model, case = made
    place = run_readme(case, folder, "out.npz")
    stored = read_case(folder / "case.npz")
    states = score_states(place, folder / "case.npz", stored, FLOAT64)
    assert {each.name for each in states} == {
        f"{kind}{k}" for kind in ("layer", "cell_layer") for k in range(len(model.layers))
    }
    outputs = read_outputs(place, stored, FLOAT64)
    found = score(stored, outputs, FLOAT64, states=states)
    assert found.passed, found.reasons
    assert min(each.worst_bits for each in states) > 40


def test_a_wrong_cell_fails_by_name(made: tuple[Model, GoldenCase], folder: Path) -> None:
    """A cell that is off by 1 % of its layer, in one unit and step, is named with both."""
    case = made[1]
    cells = case.arrays["reference/cell_layer1"].copy()
    cells[7, 2] += cells[:8].max() / 100
    stored = read_case(folder / "case.npz")
    place = kernel(case, folder, cell_layer1=cells)
    states = score_states(place, folder / "case.npz", stored, FLOAT32)
    outputs = read_outputs(place, stored, FLOAT32)
    assert score(stored, outputs, FLOAT32).passed
    found = score(stored, outputs, FLOAT32, states=states)
    (reason,) = found.reasons
    assert reason == "6.6 bits left of cell_layer1 at step 7, unit 2, below 12"
    assert score(stored, outputs, FLOAT32, states=states, min_bits=6).passed
    unaware = score_states(kernel(case, folder), folder / "case.npz", stored, FLOAT32)
    assert all(each.worst_bits == 24 for each in unaware)


def test_states_at_all_steps_or_at_those_of_the_case(
    made: tuple[Model, GoldenCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long prompt's states are sampled; a kernel may give all of them or those, as a batch of one."""
    monkeypatch.setattr(case_module, "ALL_STEPS", 10)
    model, tokens = made[0], np.array(made[1].arrays["tokens"])
    case = golden_case(model, tokens)
    save_case(case, tmp_path / "case.npz")
    stored, steps = read_case(tmp_path / "case.npz"), case.arrays["reference/steps"]
    assert len(steps) < 40
    full = execute(model, tokens, FLOAT16, engine="scalar", keep=(2,)).wires[2].astype(np.float64)
    scores = [
        score_states(kernel(case, tmp_path, layer1=given), tmp_path / "case.npz", stored, FLOAT16)
        for given in (full, full[None], full[steps], full[steps][None])
    ]
    assert all(each == scores[0] for each in scores)
    worst = next(each for each in scores[0] if each.name == "layer1")
    assert worst.step in steps
    assert 5 < worst.worst_bits < 11


def test_bits_of_bfloat16_states_are_read(made: tuple[Model, GoldenCase], folder: Path) -> None:
    """States come as their bits, as outputs do."""
    case, stored = made[1], read_case(folder / "case.npz")
    given = {
        name: (case.arrays[f"reference/{name}"].astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        for name in ("outputs", "layer0", "cell_layer0")
    }
    np.savez(folder / "out.npz", **given)  # type: ignore[arg-type]  # numpy has no type for names
    states = score_states(folder / "out.npz", folder / "case.npz", stored, BFLOAT16)
    assert [each.name for each in states] == ["cell_layer0", "layer0"]
    assert all(each.worst_bits > 6 for each in states)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("layer99", (40, 1), "the case has no state 'layer99'"),
        ("hidden", (40, 1), "no state 'hidden' (outputs, layerK or cell_layerK)"),
        ("layer0", (39, 1), "layer0 of shape 39×1, the case has 40 or 40 steps of"),
        ("layer0", (40,), "layer0 of shape 40, the case has"),
    ],
)
def test_states_that_do_not_fit_are_one_error(
    name: str, shape: tuple[int, ...], words: str, made: tuple[Model, GoldenCase], folder: Path
) -> None:
    """Unknown names and other shapes are refused in one line."""
    stored, place = read_case(folder / "case.npz"), kernel(made[1], folder, **{name: np.zeros(shape)})
    with pytest.raises(CaseError) as caught:
        score_states(place, folder / "case.npz", stored, FLOAT32)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_states_has_outputs(made: tuple[Model, GoldenCase], folder: Path) -> None:
    """An .npz without the array that is judged first says so."""
    np.savez(folder / "out.npz", layer0=made[1].arrays["reference/layer0"])
    with pytest.raises(CaseError, match=r"an \.npz without the array 'outputs'"):
        read_outputs(folder / "out.npz", read_case(folder / "case.npz"), FLOAT32)


def test_states_of_another_kind_or_uncertified_are_no_judge(
    made: tuple[Model, GoldenCase], folder: Path
) -> None:
    """A .npy holds no states; whole numbers, a damaged file and an uncertified case are refused."""
    case, stored = made[1], read_case(folder / "case.npz")
    np.save(folder / "out.npy", case.arrays["reference/outputs"])
    assert score_states(folder / "out.npy", folder / "case.npz", stored, FLOAT32) == []
    with pytest.raises(CaseError, match="of type int64, judged as float32"):
        score_states(kernel(case, folder, dtype=np.int64), folder / "case.npz", stored, FLOAT32)
    place = kernel(case, folder)
    place.write_bytes(place.read_bytes()[:2000])
    with pytest.raises(CaseError, match=r"out\.npz: not an \.npz of arrays, or damaged"):
        score_states(place, folder / "case.npz", stored, FLOAT32)
    arrays = dict(case.arrays)
    manifest = json.loads(arrays["manifest"].tobytes()) | {"states_rung": "uncertified"}
    arrays["manifest"] = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
    save_case(GoldenCase(arrays=arrays), folder / "open.npz")
    with pytest.raises(ConfigError, match="the states of this case are uncertified"):
        score_states(kernel(case, folder), folder / "open.npz", read_case(folder / "open.npz"), FLOAT32)
