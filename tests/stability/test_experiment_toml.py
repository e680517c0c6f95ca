"""The TOML of experiments: all mistakes at once, with line, key and way out; hostile text is refused."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stability.experiment import Experiment, ExperimentError, Thresholds, load_experiment, shipped
from stability.experiment.places import Key, place_of, places
from stability.experiment.reading import MAX_BYTES, MAX_FINDINGS, MAX_LINE
from stability.formats import BINARY
from stability.grid import Group

SMALL = 'programs = ["majority"]\ntargets = "lstm"\nformats = "float32"\nconfigs = "stable"\n'


def load(folder: Path, text: str | bytes) -> Experiment:
    """The experiment of a text."""
    path = folder / "mine.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_experiment(path)


def mistakes(folder: Path, text: str | bytes) -> list[str]:
    """What is said about a wrong text, without its folder."""
    with pytest.raises(ExperimentError) as caught:
        load(folder, text)
    return [str(each).removeprefix(f"{folder}/") for each in caught.value.diagnostics]


# ---------------------------------------------------------------- what is right


def test_every_shipped_experiment_is_sound() -> None:
    """The experiments that ship load, are called as their file, say what they are, and differ."""
    assert set(shipped()) >= {"quick", "paper", "long-prompts", "gated-vs-ungated", "formats"}
    found = [load_experiment(name) for name in shipped()]
    assert [each.name for each in found] == list(shipped())
    assert all(each.description and each.size > 0 for each in found)
    assert len({each.text for each in found}) == len(found)
    assert load_experiment("quick").size <= 400


def test_the_formats_that_ship_are_all_there() -> None:
    """``formats`` has every number format by name, the usual policies and a stochastic one."""
    (grid,) = load_experiment("formats").grids
    found = {fmt.name for fmt in grid.formats}
    assert found >= set(BINARY)
    assert found >= {"mpmath5", "mpmath10", "float16,rounding=stochastic,seed=7"}
    wide = {f"{name}-{place}32" for name in ("float16", "bfloat16") for place in ("acc", "state")}
    assert found >= wide | {"float8_e4m3fn-acc32", "float8_e5m2-acc32"}


def test_noise_ships_with_our_dictionary_beside_the_papers_programs() -> None:
    """``paper`` and ``gated-vs-ungated`` ask for noise on three programs, σ = 0 included."""
    for name in ("paper", "gated-vs-ungated"):
        noisy = [grid for grid in load_experiment(name).grids if grid.noise]
        assert noisy
        for grid in noisy:
            programs = {each.name for each in grid.subjects}
            assert programs == {"continuous", "dictionary", "dictionary_exact"}
            assert 0.0 in {each.sigma for each in grid.noise}


def cells(experiment: Experiment) -> list[tuple[Any, ...]]:
    """The cells in short."""

    def short(group: Group) -> list[tuple[Any, ...]]:
        setup = group.setup
        return [
            (setup.subject.name, setup.subject.parameter_text, setup.config_name, setup.conditional,
             setup.seed, setup.length, each.engine, each.target, each.format.name)
            for each in group.members
        ]  # fmt: skip

    return [cell for group in experiment.groups() for cell in short(group)]


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    """Axes multiply, lists of parameters too; the control is always there; the size counts the cells."""
    text = """
        name = "all-axes"
        programs = ["majority", { name = "modulo", parameters = { n = [3, "5"] } }]
        conditionals = ["optimized"]
        targets = ["lstm"]
        configs = ["paper", { base = "stable", mu = 0.1, reduce = true }]
        formats = ["float16", "mpmath(dps=20)"]
        lengths = [10, 20]
        seeds = [0, 3, 3]
    """
    experiment = load(tmp_path, text)
    found = cells(experiment)
    assert experiment.name == "all-axes"
    assert len(found) == len(set(found)) == experiment.size == 3 * 2 * 2 * 2 * 2 * 2
    assert {cell[1] for cell in found} == {"", "n=3", "n=5"}
    assert {cell[2] for cell in found} == {"paper", "stable mu=1/10 reduce=on"}
    assert {cell[7] for cell in found} == {"lstm", "uncompiled"}
    assert {cell[8] for cell in found} == {"float16", "mpmath20"}


def test_grids_override_what_stands_above_them(tmp_path: Path) -> None:
    """Each grid takes the axes above it, but for its own."""
    experiment = load(
        tmp_path,
        SMALL + 'lengths = 10\n[[grid]]\nseeds = [1, 2]\n[[grid]]\nlengths = 30\nengine = "scalar"\n',
    )
    assert {cell[4:7] for cell in cells(experiment)} == {
        (1, 10, "native"),
        (2, 10, "native"),
        (0, 30, "scalar"),
    }
    assert experiment.name == "mine"


def test_real_gates_go_to_those_that_have_them(tmp_path: Path) -> None:
    """The activation ``native`` runs on LSTM and GRU and the control alone, and counts as such."""
    experiment = load(tmp_path, 'programs = "modulo"\nactivation = ["relu", "native"]\nformats = "float32"\n')
    found = [(each.activation, each.target) for group in experiment.groups() for each in group.members]
    assert len(found) == experiment.size
    assert {target for activation, target in found if activation == "native"} == {"lstm", "gru", "uncompiled"}
    assert len({target for activation, target in found if activation == "relu"}) == 9


def test_defaults_are_those_of_drift(tmp_path: Path) -> None:
    """With programs alone an experiment is the default drift of these programs."""
    (grid,) = load(tmp_path, 'programs = "majority"').grids
    assert [fmt.name for fmt in grid.formats] == ["float16", "float32", "float64"]
    assert [title for title, _ in grid.configs] == ["stable", "paper"]
    assert (len(grid.targets), grid.lengths, grid.seeds) == (8, (4000,), (0,))
    assert (grid.activations, grid.orders) == (("relu",), ("step",))


def test_paths_begin_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's path is meant from the experiment's folder, wherever the command runs."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.lsrl").write_text("ForEach:\n    x = Input(dim=1)\n    return ReLU(x)\n")
    monkeypatch.chdir(tmp_path.parent)
    experiment = load(tmp_path, SMALL.replace("majority", "sub/mine.lsrl"))
    assert {cell[0] for cell in cells(experiment)} == {"mine"}


def test_thresholds_say_which_rows_have_drifted(tmp_path: Path) -> None:
    """A row is beyond a threshold if its measure is; what could not be run never is."""
    limits = load(
        tmp_path, SMALL + "[thresholds]\nwrong_share = 0.5\nhorizon = 10\nsignificant_bits = 3\n"
    ).thresholds
    assert limits == Thresholds(wrong_share=0.5, horizon=10, significant_bits=3.0)
    nan = float("nan")
    rows = pd.DataFrame(
        {
            "wrong_share": [0.0, 0.6, 0.5, 0.1, 0.0, nan],
            "horizon": pd.array([None, None, 10, 9, None, None], dtype="Int64"),
            "significant_bits": [3.0, 9.0, 9.0, 9.0, 2.9, nan],
            "error": ["", "", "", "", "", "no gates"],
        }
    )
    assert limits.beyond(rows).tolist() == [False, True, False, True, True, False]
    assert not Thresholds().beyond(rows).any()


# ---------------------------------------------------------------- what is wrong


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    """Mistakes of every kind in one file: each is one finding with its line and column, in order."""
    text = """name = "b a d"
programs = ["majority", "no_such", { name = "dictionary", parameters = { n = [0, 3], q = 1 } }, 7, {}]
formts = ["float16"]
formats = ["float16", "float12", 3]
lengths = [0, 10, 1.5, nan, 99999999999]
seeds = [-1, true,
  "0"]
targets = ["lstm", "transformer"]
activation = "steam"
order = ["x"]
conditionals = ["maybe"]
configs = ["fast", { base = "paper", mu = -1, lam = nan, stp = "clip", reduce = 1 }, 3]
engine = "steam"
[parameters]
zz = 3
n = "a"
[thresholds]
wrong_share = 2
horizon = -1
bits = 3
[[grid]]
lengths = []
name = "x"
"""
    told = mistakes(tmp_path, text)
    for start in (
        "mine.toml:1:1: name = 'b a d': ",
        "mine.toml:2:25: programs[1]: unknown program 'no_such' (",
        "mine.toml:2:36: programs[2]: dictionary.lsrl:",
        "mine.toml:2:86: programs[2].parameters.q: dictionary has no such parameter (",
        "mine.toml:2:97: programs[3] = 7: it has to be a name or a table (",
        "mine.toml:2:100: programs[4]: a program without a name (",
        "mine.toml:3:1: formts: unknown key (did you mean formats?)",
        "mine.toml:4:23: formats[1]: unknown format or policy 'float12' (one of ",
        "mine.toml:4:34: formats[2] = 3: it has to be a string",
        "mine.toml:5:12: lengths[0] = 0: out of bounds (a whole number from 1 to 10,000,000)",
        "mine.toml:5:19: lengths[2] = 1.5: ",
        "mine.toml:5:24: lengths[3] = NaN: ",
        "mine.toml:5:29: lengths[4] = 99999999999: ",
        "mine.toml:6:10: seeds[0] = -1: ",
        "mine.toml:6:14: seeds[1] = true: ",
        "mine.toml:7:3: seeds[2] = '0': ",
        "mine.toml:8:20: targets[1]: unknown target 'transformer' (one of ",
        "mine.toml:9:1: activation = 'steam': unknown activation (one of ",
        "mine.toml:10:10: order[0]: unknown order 'x' (one of ",
        "mine.toml:11:17: conditionals[0] = 'maybe': unknown conditional (one of ",
        "mine.toml:12:12: configs[0]: unknown configuration 'fast' (one of ",
        "mine.toml:12:38: configs[1].mu: mu=-1 is not positive (",
        "mine.toml:12:47: configs[1].lam = NaN: it has to be a finite number (",
        "mine.toml:12:58: configs[1].stp: unknown key (did you mean step?)",
        "mine.toml:12:72: configs[1].reduce = 1: it has to be true or false",
        "mine.toml:12:86: configs[2] = 3: it has to be a name or a table (",
        "mine.toml:13:1: engine: unknown engine 'steam' (one of ",
        "mine.toml:15:1: parameters.zz: no program here has it (one of ",
        "mine.toml:16:1: parameters.n = 'a': it has to be a finite number (",
        "mine.toml:18:1: thresholds.wrong_share = 2: out of bounds (from 0 to 1)",
        "mine.toml:19:1: thresholds.horizon = -1: ",
        "mine.toml:20:1: thresholds.bits: unknown key (the keys here are ",
        "mine.toml:22:1: grid[0].lengths = a list of 0: an empty list (",
        "mine.toml:23:1: grid[0].name: unknown key (the keys here are ",
    ):
        assert any(each.startswith(start) for each in told), (start, told)
    lines = [int(each.split(":")[1]) for each in told]
    assert lines == sorted(lines)
    assert len(told) == len(set(told))


def many(count: int) -> str:
    """A list's inside, one number a line."""
    return ",\n".join(map(str, range(1, count + 1)))


def test_noise_is_a_grid_of_its_own(tmp_path: Path) -> None:
    """[noise] has the axes above it but for its own, every kind of noise, σ = 0 and no control."""
    text = (
        SMALL
        + """
        policies = "float16-acc32"
        order = ["step", "scan(64)"]
        states = true
        seeds = [0, 1]
        [noise]
        sigma = [1e-5, 0.001, 1e-5]
        kind = ["absolute", "relative"]
        include = ["initial", "weights"]
        states = ["clean", "free"]
        targets = ["lstm", "hawk"]
        formats = "float64"
        lengths = 30
    """
    )
    experiment = load(tmp_path, text)
    drift, noisy = experiment.grids
    assert not drift.noise
    assert experiment.without_noise.grids == (drift,)
    found = [(group.setup, each) for group in noisy.groups() for each in group.members]
    assert len(found) == noisy.size == 2 * 2 * 3 * (2 + 1)
    told = {(each.target, each.noise.states) for _, each in found if each.noise}
    assert told == {("lstm", "clean"), ("lstm", "free"), ("hawk", "free")}
    assert {each.noise.sigma for _, each in found if each.noise} == {0.0, 1e-5, 1e-3}
    assert {each.noise.include for _, each in found if each.noise} == {("weights", "initial")}
    assert {(each.format.name, each.order, each.states) for _, each in found} == {("float64", "step", False)}
    assert {(setup.length, setup.seed) for setup, _ in found} == {(30, 0), (30, 1)}


def test_every_grid_has_the_noise_above_it(tmp_path: Path) -> None:
    """What stands above the grids holds for each of them, noise too; one with noise of its own has that."""
    experiment = load(
        tmp_path, SMALL + "noise = { sigma = 1 }\n[[grid]]\nseeds = 1\n[[grid]]\n[grid.noise]\nsigma = 2\n"
    )
    assert [[each.sigma for each in grid.noise] for grid in experiment.grids] == [[], [0, 1], [], [0, 2]]
    assert [grid.seeds for grid in experiment.grids] == [(1,), (1,), (0,), (0,)]


def test_all_mistakes_of_noise_are_reported_at_once(tmp_path: Path) -> None:
    """Each mistake below [noise] is one finding at its own place."""
    text = (
        SMALL
        + """[noise]
sigma = [1e-5, -1, nan, "x"]
kind = ["relative", "loud"]
include = ["weights", "gates", 3]
states = "forced"
targets = ["lstm", "transformer"]
lengths = 0
order = "step"
sgima = 1
"""
    )
    told = mistakes(tmp_path, text)
    for start in (
        "mine.toml:6:16: noise.sigma[1]: sigma=-1.0 (a finite number, 0 or more)",
        "mine.toml:6:20: noise.sigma[2] = NaN: it has to be a finite number",
        "mine.toml:6:25: noise.sigma[3] = 'x': it has to be a finite number",
        "mine.toml:7:21: noise.kind[1] = 'loud': unknown kind of noise (one of relative, absolute)",
        "mine.toml:8:23: noise.include[1] = 'gates': unknown part of a model (one of weights, ",
        "mine.toml:8:32: noise.include[2] = 3: unknown part of a model",
        "mine.toml:9:1: noise.states = 'forced': unknown states (one of free, clean)",
        "mine.toml:10:20: noise.targets[1]: unknown target 'transformer' (one of ",
        "mine.toml:11:1: noise.lengths = 0: out of bounds",
        "mine.toml:12:1: noise.order: unknown key (the keys here are sigma, ",
        "mine.toml:13:1: noise.sgima: unknown key (did you mean sigma?)",
    ):
        assert any(each.startswith(start) for each in told), (start, told)
    assert len(told) == 11


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "not utf-8": (b'programs = "\xff"', "byte 12 is not UTF-8"),
    "not utf-8, later": (b'name = "x"\nprograms = "\xff"', "mine.toml:2:1: byte 23"),
    "nul": (b"\x00", "mine.toml:1:1: "),
    "empty": ("", "no programs"),
    "no toml": ("programs: majority\n", "mine.toml:1:9: "),
    "open string": ('name = "a\nb"\n', "mine.toml:1:10: "),
    "open list": ("seeds = [1,\n", "mine.toml:1:12: Invalid value at the end of the file"),
    "a key twice": ("seeds = 1\nseeds = 2\n", "mine.toml:2:10: "),
    "ten megabytes": (b"#" * 10_000_000, "10,000,000 bytes, more than 100,000"),
    "a long line": ("#" * (MAX_LINE + 1), "a line of 2,001 characters"),
    "deep lists": ("seeds = " + "[\n" * 20_000, "nested too deeply"),
    "deep but closed": ("seeds = " + "[" * 90 + "]" * 90, "seeds[0] = a list of 1: "),
    "deep tables": ("[" + ".".join("a" * 400) + "]\n", "a: unknown key"),
    "long dotted keys": ("".join(f"k{i}.{'a.' * 900}b = 1\n" for i in range(15)), "k0: unknown key"),
    "digits without end": (SMALL + f"seeds = {'9' * 1900}\n", "seeds = a huge number: out of bounds"),
    "a large number": (SMALL + f"seeds = {10**21:_}\n", f"seeds = {10**21}: out of bounds"),
    "a huge number": (SMALL + f"seeds = 0x{'f' * 1500}\n", "seeds = a huge number: out of bounds"),
    "a huge exponent": (
        SMALL + "[parameters]\nn = 1e999999999\n", "parameters.n = 1E+999999999: it has to be a finite number"
    ),
    "infinity": (SMALL + "lengths = inf\n", "lengths = Infinity: out of bounds"),
    "a date": (SMALL + "seeds = 2020-01-01\n", "seeds = 2020-01-01: out of bounds"),
    "a list of lists": (SMALL + "seeds = [[1]]\n", "seeds[0] = a list of 1: out of bounds"),
    "a table for a list": (SMALL + "[seeds]\na = 1\n", "seeds = a table: out of bounds"),
    "a list for a table": (SMALL + "thresholds = [1]\n", "thresholds = a list of 1: it has to be a table"),
    "a list for a name": (SMALL + "name = []\n", "name = a list of 0: it has to be a string"),
    "grids of numbers": (SMALL + "grid = [1]\n", "grid[0] = 1: it has to be a table"),
    "too many values": (SMALL + f"seeds = [{many(1001)}]", "more than 1,000 values"),
    "too many cells": (
        SMALL + f"seeds = [{many(1000)}]\nlengths = [{many(99)}]\n",
        "the experiment has 198,000 cells, more than 100,000 (take fewer",
    ),
    "too many parameters": (
        f'programs = {{ name = "dictionary", parameters = {{ V = [{many(40)}], n = [{many(40)}] }} }}\n',
        "1,600 combinations of parameters (at most 1,000)",
    ),
    "two of one name": (
        SMALL.replace('"majority"', '"modulo.lsrl", "modulo"'), "two programs are called 'modulo'"
    ),
    "a program of a folder": (SMALL.replace("majority", "../x.lsrl"), "there is no such file"),
    "control characters": (SMALL.replace("majority", "\\u001b[2J"), "unknown program '\\x1b[2J'"),
    "a parameter out of bounds": (
        'programs = { name = "copy_delay", parameters = { k = -1 } }\n', "programs: "
    ),
    "an engine without the format": (SMALL + 'engine = "mpmath"\n', "formats: engine 'mpmath'"),
    "no policy": (SMALL + 'policies = ["float9-acc32"]\n', "unknown format or policy 'float9-acc32'"),
    "native without a target": (
        SMALL.replace('"lstm"', '["relu_rnn"]') + 'activation = "native"\n', "no target here has sigmoid"
    ),
    "no order": (SMALL + 'order = "scan(0)"\n', "order 'scan(0)' (1 to 4096 tokens at once)"),
    "noise is a table": (SMALL + "noise = [1e-5]\n", "noise = a list of 1: it has to be a table (write"),
    "noise of no size": (SMALL + "[noise]\nkind = 'absolute'\n", "noise: noise of no size (write sigma = "),
    "noise beyond floats": (SMALL + "[noise]\nsigma = 1e400\n", "noise.sigma: sigma=inf"),
    "clean states in a format without": (
        SMALL + "[noise]\nsigma = 1\nstates = 'clean'\nformats = 'bfloat16'\n",
        "mine.toml:8:1: noise.formats: no teacher-forced run in bfloat16",
    ),
    "clean states of an engine": (
        SMALL + "engine = 'scalar'\n[noise]\nsigma = 1\nstates = 'clean'\n",
        "engine 'scalar' with clean states",
    ),
    "clean states of a window": (
        SMALL.replace("lstm", "hawk") + "[noise]\nsigma = 1\nstates = ['free', 'clean']\n",
        "mine.toml:7:1: noise.states: no target here for clean states (add a target that keeps states",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused(tmp_path: Path, name: str) -> None:
    """Wrong types, huge grids and numbers, deep nesting and bytes that are no text have their message."""
    text, message = HOSTILE[name]
    (tmp_path / "modulo.lsrl").write_text("ForEach:\n    x = Input(dim=1)\n    return ReLU(x)\n")
    told = mistakes(tmp_path, text)
    assert any(message in each for each in told), told
    assert all(each.startswith("mine.toml:") or str(tmp_path) in each for each in told), told
    assert all("\n" not in each and len(each) < 600 for each in told)


def test_many_mistakes_are_cut(tmp_path: Path) -> None:
    """A file of a thousand mistakes is reported by its first fifty and the number of the rest."""
    told = mistakes(tmp_path, SMALL + "".join(f"key{i} = 1\n" for i in range(1000)))
    assert len(told) == MAX_FINDINGS + 1
    assert "and 950 more mistakes" in told[-1]


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """A missing file, a folder and an unknown name have their messages."""
    (tmp_path / "folder.toml").mkdir()
    for name, message in (
        (tmp_path / "none.toml", "no such file"),
        (tmp_path / "folder.toml", "no such file"),
        ("quik", "did you mean quick"),
        ("/dev/zero", "unknown experiment"),
    ):
        with pytest.raises(ExperimentError, match=message):
            load_experiment(name)


# ---------------------------------------------------------------- fuzz

PIECES = [
    "programs", "seeds", "lengths", "grid", "parameters", "thresholds", "formats", "configs", "=", "= [", "]",
    "noise", "sigma",
    "[", "]]", "[[", "{", "}", ",", "\n", '"', "'", '"""', "'''", "#", ".", "1", "-1", "nan", "1e9", "0x1f",
    '"majority"', '"float16"', '"stable"', "true", "1979-05-27", "\\", "é", "\t", "\r\n", "name", "n", "_",
]  # fmt: skip


def refusal(path: Path) -> ExperimentError | None:
    """What is wrong with a file, if anything; no other exception leaves."""
    try:
        load_experiment(path)
    except ExperimentError as problem:
        return problem
    return None


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever the text, it is an experiment or an ExperimentError with a place."""
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    problem = refusal(path)
    assert problem is None or all(str(path) in str(each) for each in problem.diagnostics)


@given(st.randoms(use_true_random=False))
def test_no_mutation_of_an_experiment_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, draw: random.Random
) -> None:
    """An experiment with pieces cut, doubled and swapped is an experiment or an ExperimentError."""
    text = list(
        SMALL + "lengths = [10, 20]\n[parameters]\n[thresholds]\nhorizon = 3\n[[grid]]\nseeds = [1]\n"
        "[grid.noise]\nsigma = [1e-3, 0]\nstates = 'clean'\n"
    )
    for _ in range(draw.randint(1, 6)):
        start = draw.randrange(len(text))
        end = min(len(text), start + draw.randint(0, 12))
        text[start:end] = draw.choice(["", draw.choice(PIECES), "".join(text[start:end]) * 2])
        if not text:
            break
    path = tmp_path_factory.getbasetemp() / "mutated.toml"
    path.write_text("".join(text), encoding="utf-8")
    problem = refusal(path)
    assert problem is None or all(str(path) in str(each) for each in problem.diagnostics)


# ---------------------------------------------------------------- places


def keys_in(value: Any, key: Key = ()) -> set[Key]:
    """Every key and index of tables and lists."""
    found = {key} if key else set()
    match value:
        case dict():
            found |= {each for name, inner in value.items() for each in keys_in(inner, (*key, name))}
        case list():
            found |= {each for index, inner in enumerate(value) for each in keys_in(inner, (*key, index))}
    return found


def test_every_key_has_its_place() -> None:
    """Keys, elements and tables of every way to write TOML are found where they stand."""
    text = r'''# c = 1
name = "a # b = [" # x = 2
"quo ted".b = 1.5
description = """
multi "line" = [ {
"" \" """ # no
x = [1, [2,
  3], {a = 1, b.c = "q, ]"}, # comment ]
  1979-05-27T07:32:00Z, ]
'l' = '\'
[table.sub]
h = -1_000
[[grid]]
lengths = [10, 20]
[grid.inner]
z = """a"""
[[grid]]
lengths=3
programs = [{name="m", parameters={n=[3,10]}},
 "b"]
'''
    known = places(text)
    assert set(known) == keys_in(tomllib.loads(text))
    for key, place in {
        ("name",): (2, 1), ("quo ted", "b"): (3, 1), ("x", 1, 1): (8, 3), ("x", 2, "b", "c"): (8, 15),
        ("x", 3): (9, 3), ("l",): (10, 1), ("table", "sub"): (11, 1), ("grid", 0, "lengths", 1): (14, 16),
        ("grid", 0, "inner", "z"): (16, 1), ("grid", 1): (17, 1),
        ("grid", 1, "programs", 0, "parameters", "n", 1): (19, 41), ("grid", 1, "programs", 1): (20, 2),
    }.items():  # fmt: skip
        assert known[key] == place, key
    assert place_of(known, ("grid", 1, "programs", 1, "nothing")) == (20, 2)
    assert place_of(known, ("nothing",)) == (1, 1)


VALUES = st.recursive(
    st.sampled_from(["1", "-0.5", '"a = [1, {"', "'#'", "true", '"""\n]"""', "2020-01-01 10:00:00"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]")
        | st.lists(inner, max_size=2).map(
            lambda each: "{" + ", ".join(f"k{i}.'x y' = {value}" for i, value in enumerate(each)) + "}"
        )
    ),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from(["", "[t{}]", "[[t]]", "['q {}'.u]"]), VALUES), max_size=6))
def test_places_cover_whatever_tomllib_reads(lines: list[tuple[str, str]]) -> None:
    """For any text, exactly the keys that tomllib finds have places, inside the text."""
    text = "".join(
        f"{header.format(index)}\n key{index} = {value} # c\n" for index, (header, value) in enumerate(lines)
    )
    known = places(text)
    assert set(known) == keys_in(tomllib.loads(text))
    rows = text.split("\n")
    assert all(column <= len(rows[line - 1]) for line, column in known.values())


def test_the_limits_of_a_file_are_as_documented(tmp_path: Path) -> None:
    """A file just within the limits of bytes and of a line is read."""
    text = SMALL + ("#" * (MAX_LINE - 1) + "\n") * 45
    assert MAX_BYTES - 15_000 < len(text) < MAX_BYTES
    assert load(tmp_path, text).size == 2
