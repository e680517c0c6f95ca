"""Golden cases hold what they say, and scoring tells right kernels from wrong ones."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import CompileConfig, compile_program, load_program
from compiler.compiling import TARGET_NAMES
from compiler.errors import CompileRefusal, ConfigError
from compiler.evaluate import evaluate
from compiler.exact import eye
from compiler.expr import Input, LinState
from compiler.library import LIBRARY
from compiler.model import GATES, Model
from stability import execute
from stability.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, SCORED, Format
from stability.golden import (
    SPECIAL,
    CaseError,
    GoldenCase,
    arrays,
    golden_case,
    judge_of,
    read_case,
    read_outputs,
    save_case,
    score,
    special_case,
)
from stability.golden import case as case_module
from stability.golden.bits import Trajectory, bits_left
from stability.golden.reading import StoredCase
from stability.golden.readme import EQUATIONS, GATE_ORDER, PROGRAM_BEGINS, PROGRAM_ENDS
from stability.golden.scoring import scored_format
from stability.golden.special import special_program
from stability.measures import deviation, worst
from stability.reference import reference
from stability.subject import subject

Array = npt.NDArray[Any]


def library_case(name: str, target: str, length: int, config: str = "stable") -> tuple[Model, GoldenCase]:
    """A model of a library program and its golden case."""
    what = subject(name)
    model = compile_program(what.source, target, CompileConfig.named(config))
    return model, golden_case(model, what.prompt(3, length), judge=judge_of(what), seed=3)


def stored(made: GoldenCase, folder: Path) -> StoredCase:
    """The case as scoring sees it."""
    save_case(made, folder / "case.npz")
    return read_case(folder / "case.npz")


def run_readme(made: GoldenCase, folder: Path) -> npt.NDArray[np.float64]:
    """What the program in the case's own README computes, in a process of its own."""
    save_case(made, folder / "case.npz")
    with np.load(folder / "case.npz", allow_pickle=False) as opened:
        text = opened["README"].tobytes().decode()
    code = text.split(PROGRAM_BEGINS)[1].split(PROGRAM_ENDS)[0]
    (folder / "run.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "error", "run.py", "case.npz", "out.npy"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.asarray(np.load(folder / "out.npy"), dtype=np.float64)


# ---------------------------------------------------------------- what a case holds


@pytest.mark.parametrize("target", TARGET_NAMES)
@pytest.mark.parametrize("name", ["linear_attention", "continuous"])
def test_the_program_in_the_readme_reproduces_the_reference(name: str, target: str, tmp_path: Path) -> None:
    """NumPy and the README are enough to come within 2^-40 of the reference, for every architecture."""
    try:
        _, made = library_case(name, target, 30)
    except CompileRefusal:
        pytest.skip(f"{target} refuses {name}")
    except ConfigError:
        pytest.skip(f"{target} has layers of a kind that cases do not hold")
    true = made.arrays["reference/outputs"]
    error = np.abs(run_readme(made, tmp_path) - true)
    assert error.max() <= 2.0**-40 * max(1.0, np.abs(true).max())
    assert np.abs(true).max() > 0


def test_large_matrices_are_stored_by_their_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse matrix is read by the README's program as the dense one is."""
    _, dense = library_case("dictionary_exact", "relu_rnn", 40)
    monkeypatch.setattr(arrays, "DENSE_ENTRIES", 10)
    _, sparse = library_case("dictionary_exact", "relu_rnn", 40)
    assert "layer3/weight_ih" in dense.arrays
    assert {"layer3/weight_ih/rows", "layer3/weight_ih/shape"} <= set(sparse.arrays)
    assert np.array_equal(run_readme(sparse, tmp_path), dense.arrays["reference/outputs"])


@pytest.mark.parametrize("target", ["lstm", "relu_rnn", "uncompiled"])
def test_outputs_and_states_are_the_exact_ones(target: str) -> None:
    """High plus low equals exact evaluation of the model to 2^-100, in outputs and in every layer."""
    what = subject("icl_regression" if target == "lstm" else "dictionary_exact")
    model = compile_program(what.source, target)
    tokens = what.prompt(1, 12)
    made = golden_case(model, tokens)
    assert made.manifest["rung"] != "uncertified"
    assert made.manifest["states_rung"] != "uncertified"
    rows = tokens.tolist()
    close(made, "reference/outputs", evaluate(model, rows))
    for number, layer in enumerate(model.layers):
        seen = Model(
            target="part",
            name="part",
            input_dim=model.input_dim,
            output_dim=layer.size,
            layers=model.layers[: number + 1],
            readout_wires=(number + 1,),
            readout=eye(layer.size),
            readout_bias=(mpq(0),) * layer.size,
        )
        close(made, f"reference/layer{number}", evaluate(seen, rows))


def close(made: GoldenCase, name: str, wanted: list[tuple[mpq, ...]]) -> None:
    """An array with its low part is what is wanted, to 2^-100 of the largest value."""
    high = made.arrays[name]
    low = made.arrays.get(name + "_low", np.zeros(high.shape))
    assert high.shape == (len(wanted), len(wanted[0]))
    scale = max(1, *(abs(value) for row in wanted for value in row))
    for found, rest, row in zip(high, low, wanted, strict=True):
        for a, b, true in zip(found, rest, row, strict=True):
            assert abs(mpq(float(a)) + mpq(float(b)) - true) <= scale * mpq(1, 1 << 100)


@given(st.lists(st.fractions(min_value=-(10**6), max_value=10**6), min_size=1, max_size=9))
def test_high_and_low_hold_106_bits(values: list[Any]) -> None:
    """The sum of both parts is within 2^-106 of the value, relatively."""
    exact = [mpq(value) for value in values]
    high, low = arrays.double_double(exact, "x")
    for value, a, b in zip(exact, high, low, strict=True):
        assert abs(mpq(float(a)) + mpq(float(b)) - value) <= abs(value) * mpq(1, 1 << 106)


def test_what_float64_does_not_hold_is_listed_with_its_rest() -> None:
    """Rounded arrays are named in the manifest and have a companion; the others have none."""
    _, made = library_case("linear_attention", "lstm", 20)  # its weights are thirds
    rounded = set(made.manifest["rounded"])
    assert "layer0/weight_ih" in rounded
    assert {f"{name}_low" for name in rounded} == {name for name in made.arrays if name.endswith("_low")}
    assert "tokens" not in rounded


def test_the_readme_knows_every_kind_and_every_array() -> None:
    """No array and no kind of layer is left without a word."""
    assert {kind: len(GATE_ORDER[kind]) for kind in EQUATIONS} == {kind: GATES[kind] for kind in EQUATIONS}
    for made in (library_case("linear_attention", "lstm", 5)[1], special_case("state16")):
        for name in made.arrays:
            word = name.removesuffix("_low").rpartition("/")[2].rstrip("0123456789")
            assert word in made.readme, name
        for name in made.manifest["trajectories"]:
            assert name in made.readme


def test_a_long_prompt_has_its_states_at_sampled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a length the states are sampled, the last step included; the outputs are all there."""
    monkeypatch.setattr(case_module, "ALL_STEPS", 50)
    _, made = library_case("majority", "lstm", 200)
    _, short = library_case("majority", "lstm", 50)
    steps = made.arrays["reference/steps"]
    assert len(steps) < 200
    assert steps[-1] == 199
    assert made.arrays["reference/layer0"].shape[0] == len(steps)
    assert made.arrays["reference/outputs"].shape == (200, 1)
    assert short.arrays["reference/steps"].tolist() == list(range(50))


def test_sampled_states_are_those_of_the_full_trajectory() -> None:
    """Keeping few steps, or running in small pieces, changes no kept value."""
    model = compile_program(load_program("dictionary"), "lstm")
    tokens = subject("dictionary").prompt(0, 60)
    steps = np.array([0, 7, 58])
    full = reference(model, tokens, keep=(3, 9), vanishing=True)
    some = reference(model, tokens, keep=(3, 9), steps=steps, vanishing=True)
    assert some.outputs == full.outputs
    for wire in (3, 9):
        assert list(some.wires[wire]) == [full.wires[wire][step] for step in steps]


def test_zeros_that_cancel_are_zeros() -> None:
    """An output that is 0 as a sum of large terms is certified as 0, not as its rounding error."""
    made = library_case("dictionary", "lstm", 60, "paper")[1]
    assert made.manifest["rung"].startswith("mpmath")
    true = made.arrays["reference/outputs"]
    assert ((true == 0) | (np.abs(true) > 0.5)).all()


def test_the_same_case_is_the_same_file() -> None:
    """Writing twice gives the same bytes, and no array needs pickle."""
    first, second = io.BytesIO(), io.BytesIO()
    for stream in (first, second):
        save_case(special_case("gate-one", length=20), stream)
    assert first.getvalue() == second.getvalue()
    with np.load(io.BytesIO(first.getvalue()), allow_pickle=False) as opened:
        assert all(opened[name].dtype.kind in "fiu" for name in opened.files)


def test_what_cannot_be_a_case_is_refused() -> None:
    """No token, a batch, a value beyond float64: each is one error."""
    x = Input(1)
    model = compile_program(LinState(x, [[10**9]], [[1]], init_state=[0]).program(), "linear_rnn")
    with pytest.raises(ConfigError, match="beyond the range of float64"):
        golden_case(model, np.ones((50, 1), dtype=np.int64))
    for shape in ((0, 1), (2, 5, 1)):
        with pytest.raises(ConfigError, match="one prompt"):
            golden_case(model, np.ones(shape, dtype=np.int64))


# ---------------------------------------------------------------- scoring


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32, FLOAT64], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("name", ["linear_attention", "dictionary"])
def test_bits_left_are_those_of_the_measures(name: str, fmt: Format, tmp_path: Path) -> None:
    """Our engine's outputs have the bits left that stability.measures counts, step by step."""
    model, made = library_case(name, "lstm", 60)
    tokens = subject(name).prompt(3, 60)
    outputs = execute(model, tokens, fmt).outputs
    true = reference(model, tokens, vanishing=True)
    wanted = [
        worst([deviation(*each, fmt) for each in zip(row, real, size, strict=True)]).significant_bits
        for row, real, size in zip(outputs, true.outputs, true.scale, strict=True)
    ]
    found = score(stored(made, tmp_path), outputs.astype(np.float64), fmt)
    assert found.worst_bits == pytest.approx(min(wanted), abs=1e-9)
    assert found.median_bits == pytest.approx(float(np.median(wanted)), abs=1e-9)
    assert found.final_bits == pytest.approx(wanted[-1], abs=1e-9)
    assert wanted[found.worst_step] == pytest.approx(min(wanted), abs=1e-9)


FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=12), st.sampled_from(list(SCORED.values())))
def test_bits_left_are_those_of_the_measures_for_any_numbers(
    pairs: list[tuple[float, float]], fmt: Format
) -> None:
    """For any outputs and reference the vectorised count is that of exact rationals."""
    values, true = (np.array(column)[:, None] for column in zip(*pairs, strict=True))
    found = bits_left(values, Trajectory(name="x", high=true, low=np.zeros(true.shape)), fmt)[:, 0]
    size = mpq(0)
    for value, real, bits in zip(values[:, 0], true[:, 0], found, strict=True):
        size = max(size, abs(mpq(real)))
        assert bits == pytest.approx(deviation(value, mpq(real), size, fmt).significant_bits, abs=1e-6)


def test_infinities_and_nans_are_compared_as_classes() -> None:
    """The same inf has all bits, another value none, and a nan only where one is expected."""
    true = Trajectory(name="x", high=np.array([[1.0], [np.inf], [np.nan]]), low=np.zeros((3, 1)))
    good = bits_left(np.array([[1.0], [np.inf], [np.nan]]), true, FLOAT16)
    bad = bits_left(np.array([[np.nan], [-np.inf], [3.0]]), true, FLOAT16)
    assert good[:, 0].tolist() == [11, 11, 11]
    assert bad[:, 0].tolist() == [0, 0, 0]


def test_a_wrong_integer_fails_whatever_its_bits(tmp_path: Path) -> None:
    """Outputs that stand for integers fail at the first step that stands for another one."""
    _, made = library_case("dictionary", "lstm", 60)
    case = stored(made, tmp_path)
    outputs = made.arrays["reference/outputs"].copy()
    outputs[-1] += 0.6
    found = score(case, outputs, FLOAT16, min_bits=0)
    assert (found.passed, found.horizon) == (False, 59)
    assert score(case, outputs - 0.2, FLOAT16, min_bits=0).horizon is None
    assert score(case, made.arrays["reference/outputs"], FLOAT16).passed


def test_a_threshold_is_half_the_significand_unless_it_is_named(tmp_path: Path) -> None:
    """An error of 2^-5 passes as bfloat16 and float16 and fails as float32, and so by --min-bits."""
    case = stored(special_case("decay", length=64), tmp_path)
    outputs = case.trajectories["reference"].high * (1 + 2.0**-5)
    assert score(case, outputs, BFLOAT16).passed
    assert not score(case, outputs, FLOAT32).passed
    assert score(case, outputs, FLOAT32, min_bits=4).passed
    assert not score(case, outputs, FLOAT16, min_bits=6).passed
    for bits in (-1, 12, math.nan):
        with pytest.raises(ConfigError):
            score(case, outputs, FLOAT16, min_bits=bits)
    with pytest.raises(ConfigError, match="no trajectory"):
        score(case, outputs, FLOAT16, against="truth")


def test_an_uncertified_reference_is_no_judge(tmp_path: Path) -> None:
    """A case whose two precisions never agreed is not scored against."""
    made = special_case("decay", length=8)
    manifest = json.loads(made.arrays["manifest"].tobytes()) | {"rung": "uncertified"}
    packed = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
    case = stored(GoldenCase(arrays={**made.arrays, "manifest": packed}), tmp_path)
    with pytest.raises(ConfigError, match="uncertified"):
        score(case, np.zeros((8, 1)), FLOAT16)


def test_bfloat16_is_a_format_to_score_in() -> None:
    """bfloat16 is a format to measure in, with the range of float32; an unknown one is refused."""
    assert scored_format("bfloat16") is BFLOAT16
    assert (float(BFLOAT16.roundoff), float(BFLOAT16.smallest_normal)) == (2.0**-8, 2.0**-126)
    with pytest.raises(ConfigError, match="one of float16"):
        scored_format("posit8")


# ---------------------------------------------------------------- special cases

Kernel = Callable[[Array], Array]


def bfloat16(value: Any) -> np.float32:
    """A float32 rounded to bfloat16, ties to even."""
    bits = int(np.float32(value).view(np.uint32))
    return np.uint32((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def looped(gamma: float, keep: Callable[[Any], Any], start: float = 0.0, give: Any = None) -> Kernel:
    """The kernel s = γ s + x in float32, its state passed through ``keep``, its output through ``give``."""

    def kernel(tokens: Array) -> Array:
        state, outputs = keep(start), []
        with np.errstate(over="ignore"):
            for token in tokens[:, 0]:
                state = keep(np.float32(gamma) * np.float32(state) + np.float32(token))
                outputs.append((give or np.float64)(state))
        return np.array(outputs, dtype=np.float64)[:, None]

    return kernel


def gated(weight: float) -> Kernel:
    """A kernel that holds the value by a gate of ``weight``."""

    def kernel(tokens: Array) -> Array:
        value, outputs = np.float32(0), []
        for token in tokens:
            value = np.float32(weight) * value + np.float32(token[0])
            outputs.append([np.float32(token[1]) * value])
        return np.array(outputs, dtype=np.float64)

    return kernel


VERDICTS: list[tuple[str, str, Kernel, bool]] = [
    ("decay", "float32", looped(31 / 32, np.float32), True),
    ("decay", "float16", looped(31 / 32, np.float16), True),
    ("decay", "bfloat16", looped(31 / 32, bfloat16), True),
    ("decay", "float32", looped(0.9687, np.float32), False),
    ("decay", "float16", looped(0.95, np.float16), False),
    ("decay", "float32", looped(31 / 32, np.float16), False),
    ("state16", "float16", looped(1, np.float16, 256.0), True),
    ("state16", "float16", looped(1, np.float32, 256.0), False),
    ("state16", "bfloat16", looped(1, bfloat16, 256.0), True),
    ("state16", "bfloat16", looped(1, np.float32, 256.0), False),
    ("state16", "bfloat16", looped(1, np.float16, 256.0), False),
    ("state16", "float32", looped(1, np.float32, 256.0), True),
    ("state16", "float32", looped(1, np.float16, 256.0), False),
    ("fp32-into-fp16", "float16", looped(1, np.float32, give=np.float16), True),
    ("fp32-into-fp16", "float16", looped(1, np.float32), False),
    ("fp32-into-fp16", "float16", looped(1, np.float32, give=lambda s: min(s, 65504)), False),
    ("fp32-into-fp16", "bfloat16", looped(1, np.float32, give=bfloat16), True),
    ("fp32-into-fp16", "bfloat16", looped(1, np.float32, give=np.float16), False),
    ("fp32-into-fp16", "float32", looped(1, np.float32), True),
    ("fp32-into-fp16", "float32", looped(1, np.float32, give=np.float16), False),
    ("gate-one", "float16", gated(1), True),
    ("gate-one", "bfloat16", gated(1), True),
    ("gate-one", "float32", gated(0.9999), False),
    ("gate-one", "bfloat16", gated(0.9999), False),
    ("gate-one", "bfloat16", gated(1 - 2.0**-20), False),
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("name", "fmt", "kernel", "right"), VERDICTS)
def test_a_special_case_tells_right_kernels_from_wrong_ones(
    name: str, fmt: str, kernel: Kernel, right: bool, seed: int, tmp_path: Path
) -> None:
    """A kernel of the arithmetic that is asked for passes, one with the known fault fails."""
    made = special_case(name, seed=seed)
    found = score(stored(made, tmp_path), kernel(made.arrays["tokens"]), SCORED[fmt])
    assert found.passed == right, found.reasons


def test_an_expected_overflow_is_part_of_the_verdict(tmp_path: Path) -> None:
    """An inf where it is expected passes; none, or a nan, fails and says so."""
    case = stored(special_case("fp32-into-fp16"), tmp_path)
    outputs = case.trajectories["read-float16"].high.copy()
    found = score(case, outputs, FLOAT16)
    assert found.bad == "overflow"
    assert found.first_bad == found.expected_bad
    assert 60 < (found.expected_bad or 0) < 200
    outputs[found.expected_bad] = np.nan
    assert "nan at step" in score(case, outputs, FLOAT16).reasons[0]
    finite = case.trajectories["reference"].high
    assert "no inf or nan, expected overflow" in score(case, finite, FLOAT16).reasons[0]
    assert score(case, finite, FLOAT16, against="reference").passed


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("target", ["linear_rnn", "gated_linear_rnn", "relu_rnn", "lstm", "uncompiled"])
def test_special_cases_compile_for_other_targets(name: str, target: str) -> None:
    """Each case can be had for any target that carries it, with the same reference."""
    try:
        made = special_case(name, target=target, length=200)
    except CompileRefusal:
        assert name == "gate-one"
        return
    plain = special_case(name, length=200)
    assert np.array_equal(made.arrays["reference/outputs"], plain.arrays["reference/outputs"])


def test_special_cases_take_parameters_and_refuse_nonsense() -> None:
    """A decay is set exactly; a decay beyond 1, an unknown name or too few tokens are refused."""
    program = special_program("decay", {"gamma": "0.999"})
    assert dict(program.parameters)["gamma"] == mpq(999, 1000)
    made = special_case("decay", parameters={"gamma": "0.999"}, length=20)
    assert "layer0/weight_hh" in made.manifest["rounded"]
    for gamma in ("0", "1.01", "-1/2"):
        with pytest.raises(ConfigError, match="no decay"):
            special_case("decay", parameters={"gamma": gamma})
    with pytest.raises(ConfigError, match="gate-one"):
        special_case("gate-two")
    with pytest.raises(ConfigError, match="at least"):
        special_case("state16", length=10)


def test_special_prompts_are_exact_in_every_format() -> None:
    """Every token of the special cases survives rounding to float16 and to bfloat16."""
    for name in SPECIAL:
        tokens = special_case(name, seed=5).arrays["tokens"]
        assert np.array_equal(tokens.astype(np.float16).astype(np.float64), tokens)
        assert not (tokens.astype(np.float32).view(np.uint32) & 0xFFFF).any()


# ---------------------------------------------------------------- outputs and hostile files


@pytest.fixture(name="small")
def small_case(tmp_path: Path) -> StoredCase:
    """A case of 16 tokens."""
    return stored(special_case("decay", length=16), tmp_path)


def test_outputs_are_read_in_every_promised_form(small: StoredCase, tmp_path: Path) -> None:
    """Float types, a batch axis, bfloat16 bits as uint16 and as two raw bytes give the same values."""
    values = np.arange(16, dtype=np.float64)[:, None] / 4
    bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    forms: list[Array] = [values, values[None], values.astype(np.float16), values.astype(">f4"), bits]
    forms += [bits.astype(">u2"), bits.view("V2"), np.asfortranarray(values)]
    for form in forms:
        np.save(tmp_path / "out.npy", form)
        assert np.array_equal(read_outputs(tmp_path / "out.npy", small, BFLOAT16), values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((15, 1)), "15×1"),
        (np.zeros((2, 16, 1)), "2×16×1"),
        (np.zeros(16), "shape 16"),
        (np.zeros((16, 1), dtype=np.int64), "int64"),
        (np.zeros((16, 1), dtype=np.uint16), "uint16"),
        (np.zeros((16, 1), dtype=np.complex128), "complex"),
        (np.zeros((16, 1), dtype=np.longdouble), "float"),
        (np.array([["a"]] * 16), "U1"),
    ],
)
def test_outputs_of_another_shape_or_type_are_refused(
    content: Array, words: str, small: StoredCase, tmp_path: Path
) -> None:
    """The message names what was found."""
    np.save(tmp_path / "out.npy", content)
    with pytest.raises(CaseError, match=words):
        read_outputs(tmp_path / "out.npy", small, FLOAT16)


def npy_header(shape: str, dtype: str = "'<f8'") -> bytes:
    """The first bytes of a .npy file that claims a shape."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HOSTILE = [
    b"",
    b"not an array",
    b"\x93NUMPY\x09\x00",
    npy_header("(16, 1)"),
    npy_header("(1000000000000, 1000000)"),
    npy_header("(-1, 1)") + bytes(8),
    npy_header("(16, 1)", "'|O'") + bytes(128),
    npy_header("(16, 1)", "[('a', '<f8')]") + bytes(128),
    npy_header("(16, 1)", "'<f8', 'x': __import__('os')") + bytes(128),
    npy_header("(16L, 1)") + bytes(128),
    npy_header("(16, 0)", "'|V0'"),
    b"\x93NUMPY\x01\x00\xff\xff",
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_outputs_end_in_one_error(content: bytes, small: StoredCase, tmp_path: Path) -> None:
    """Truncated, object and huge arrays are refused before anything is allocated or unpickled."""
    place = tmp_path / "out.npy"
    place.write_bytes(content)
    with pytest.raises(CaseError) as caught:
        read_outputs(place, small, FLOAT16)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_array_in_a_case_ends_in_one_error(content: bytes, tmp_path: Path) -> None:
    """The same within a case."""
    changed(tmp_path, {"reference/outputs.npy": content})
    refused(tmp_path / "case.npz")


def changed(folder: Path, replaced: dict[str, bytes | None]) -> None:
    """A case with some members replaced, or left out."""
    buffer = io.BytesIO()
    save_case(special_case("fp32-into-fp16", length=16), buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(folder / "case.npz", "w") as target:
        for name in source.namelist():
            content = replaced.get(name, source.read(name))
            if content is not None:
                target.writestr(name, content)


def refused(place: Path) -> None:
    """Reading ends in one error of one line."""
    with pytest.raises(CaseError) as caught:
        read_case(place)
    assert len(str(caught.value).splitlines()) == 1


def npy(array: Array) -> bytes:
    """An array as .npy."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def text(content: str) -> bytes:
    """Text as a case stores it."""
    return npy(np.frombuffer(content.encode(), dtype=np.uint8))


@pytest.mark.parametrize(
    "name", ["manifest", "reference/outputs", "reference/tolerance", "expected/read-float16/outputs"]
)
def test_a_case_without_a_part_is_refused(name: str, tmp_path: Path) -> None:
    """Each array that scoring needs is missed by name."""
    changed(tmp_path, {f"{name}.npy": None})
    with pytest.raises(CaseError, match=name):
        read_case(tmp_path / "case.npz")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("reference/outputs", np.full((16, 1), np.nan)),
        ("reference/outputs", np.full((16, 1), np.inf)),
        ("reference/outputs", np.zeros((16, 2))),
        ("reference/outputs", np.zeros((16, 1), dtype=np.float32)),
        ("reference/outputs", np.array([[None]] * 16)),
        ("reference/tolerance", np.full((16, 1), np.nan)),
        ("expected/read-float16/outputs", np.zeros((1, 16, 1))),
    ],
)
def test_a_case_with_a_wrong_array_is_refused(name: str, array: Array, tmp_path: Path) -> None:
    """A nan in the reference, another shape or type, or objects are refused."""
    changed(tmp_path, {f"{name}.npy": npy(array)})
    refused(tmp_path / "case.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 99},
        {"length": 10**30},
        {"length": True},
        {"length": -3},
        {"output_dim": "1"},
        {"trajectories": {"other": "x"}},
        {"trajectories": ["reference"]},
        {"trajectories": {"reference": 1}},
        {"trajectories": {"reference": "", "gone": ""}},
        {"against": {"float16": "gone"}},
        {"rung": None},
    ],
    ids=str,
)
def test_a_case_with_a_wrong_manifest_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """Each field is checked."""
    manifest = special_case("fp32-into-fp16", length=16).manifest
    changed(tmp_path, {"manifest.npy": text(json.dumps({**manifest, **change}))})
    refused(tmp_path / "case.npz")


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "null"], ids=range(5))
def test_a_case_without_a_sound_manifest_is_refused(content: str, tmp_path: Path) -> None:
    """Neither broken nor deeply nested JSON is more than an error."""
    changed(tmp_path, {"manifest.npy": text(content)})
    refused(tmp_path / "case.npz")


def test_a_truncated_or_damaged_case_is_refused(tmp_path: Path) -> None:
    """A cut at any place, and a flipped byte within the arrays, are noticed."""
    place = tmp_path / "case.npz"
    save_case(special_case("decay", length=16), place)
    whole = place.read_bytes()
    for end in range(0, len(whole) - 1, 997):
        place.write_bytes(whole[:end])
        refused(place)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        start = archive.getinfo("reference/outputs.npy").header_offset + 80
    place.write_bytes(whole[:start] + bytes([whole[start] ^ 255]) + whole[start + 1 :])
    refused(place)


def test_every_library_program_has_a_case() -> None:
    """A certified reference for each program of the library on an LSTM."""
    for name in LIBRARY:
        made = library_case(name, "lstm", 12)[1]
        assert made.manifest["rung"] != "uncertified", name
        assert made.manifest["states_rung"] != "uncertified", name
