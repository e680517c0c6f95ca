"""Fuzzing finds planted bugs and makes them small; its corpus survives being kept and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from gmpy2 import mpq

from compiler import ir, layering
from compiler.compiling import compile_program
from compiler.errors import LsrlError
from compiler.exact import Matrix, Vector
from compiler.loading import load_program
from compiler.model import Layer, Model
from compiler.targets import relu_rnn
from compiler.targets.base import signed_rows
from stability.engines.mpmath_engine import MpmathEngine
from stability.engines.native.engine import NativeEngine
from stability.fuzz import PROPERTIES, Case, Entry, drift_of, entries, hunt, keep, read_entry, steer
from stability.fuzz import properties as judged
from stability.policy import parse_policy

Plant = AbstractContextManager[Any]
SMALL = 10


def _spoiled(spoil: Callable[[Layer], Layer], target: str) -> Plant:
    """Every model of one target comes out of the compiler with its layers spoiled."""

    def wrong(program: ir.Program, name: str) -> Model:
        model = compile_program(program, name)
        if name != target:
            return model
        return replace(model, layers=tuple(spoil(layer) for layer in model.layers))

    return mock.patch.object(judged, "compile_program", wrong)


def wrong_sign() -> Plant:
    """Both halves of a signed value get the same sign."""

    def unsigned(matrix: Matrix, encoding: Any) -> Matrix:
        return signed_rows(
            matrix, replace(encoding, units=tuple((i, abs(sign)) for i, sign in encoding.units))
        )

    return mock.patch.object(relu_rnn, "signed_rows", unsigned)


def lost_bias() -> Plant:
    """A target forgets its biases."""
    return _spoiled(lambda layer: replace(layer, bias=(mpq(0),) * len(layer.bias)), "gated_rnn")


def dropped_initial_state() -> Plant:
    """A target forgets its initial states."""
    return _spoiled(lambda layer: replace(layer, initial=(mpq(0),) * len(layer.initial)), "linear_rnn")


def swapped_gates() -> Plant:
    """The LSTM's forget and output gates change places."""

    def swapped(layer: Layer) -> Layer:
        size = layer.size
        order = [*range(size), *range(3 * size, 4 * size), *range(2 * size, 3 * size), *range(size, 2 * size)]
        ih, hh = (
            replace(m, rows=tuple(m.rows[i] for i in order)) for m in (layer.weight_ih, layer.weight_hh)
        )
        return replace(layer, weight_ih=ih, weight_hh=hh, bias=tuple(layer.bias[i] for i in order))

    return _spoiled(swapped, "lstm")


def shifted_by_one() -> Plant:
    """A state's coordinates read their neighbours'."""
    emit = layering._Emitter.fresh_states

    def off(self: Any, members: dict[int, Any]) -> None:
        start = len(self.own)
        emit(self, members)
        size = len(self.own) - start
        base = len(self.rows) - size
        for k in range(start, len(self.own)):
            self.own[k] = {base + (j - base + 1) % size: value for j, value in self.own[k].items()}

    return mock.patch.object(layering._Emitter, "fresh_states", off)


def _through_float64(vector: Vector) -> Vector:
    return tuple(mpq(float(value)) for value in vector)


def _rounded(layer: Layer) -> Layer:
    ih, hh = (
        Matrix.from_rows(m.width, [{j: mpq(float(w)) for j, w in row} for row in m.rows])
        for m in (layer.weight_ih, layer.weight_hh)
    )
    return replace(layer, weight_ih=ih, weight_hh=hh, bias=_through_float64(layer.bias))


def float64_in_mpmath() -> Plant:
    """The weights of the mpmath engine pass through float64."""
    prepare = MpmathEngine.prepare

    def leaking(self: MpmathEngine, model: Model, *rest: Any) -> Any:
        return prepare(self, replace(model, layers=tuple(map(_rounded, model.layers))), *rest)

    return mock.patch.object(MpmathEngine, "prepare", leaking)


def wrong_accumulator() -> Plant:
    """The native engine adds up in float32 what it should round to a shorter format."""
    prepare = NativeEngine.prepare

    def wide(self: NativeEngine, model: Model, policy: Any, *rest: Any) -> Any:
        name = getattr(policy, "name", "")
        return prepare(self, model, parse_policy(f"{name}-acc32") if name == "float16" else policy, *rest)

    return mock.patch.object(NativeEngine, "prepare", wide)


def stale_state() -> Plant:
    """The native engine goes on where the prompt before ended."""
    prepare, sessions = NativeEngine.prepare, dict[Any, Any]()

    def stale(self: NativeEngine, model: Model, policy: Any, keep: Sequence[int] = ()) -> Any:
        key = (id(model), id(self))
        if key not in sessions:
            sessions[key] = (prepare(self, model, policy, keep), model)
        return sessions[key][0]

    return mock.patch.object(NativeEngine, "prepare", stale)


@pytest.mark.parametrize(
    ("plant", "prop", "profile"),
    [
        (wrong_sign, "exact", "stateful"),
        (lost_bias, "exact", "stateful"),
        (dropped_initial_state, "exact", "stateful"),
        (swapped_gates, "exact", "stateful"),
        (shifted_by_one, "exact", "affine"),
        (float64_in_mpmath, "mpmath", "affine"),
        (wrong_accumulator, "twin", "affine"),
        (stale_state, "batch", "affine"),
    ],
)
def test_a_planted_bug_is_found_and_made_small(plant: Callable[[], Plant], prop: str, profile: str) -> None:
    """Each bug is found within 600 cases, and shrunk to a program of fewer than ten nodes."""
    with plant():
        found = hunt(PROPERTIES[prop], profile, examples=600, random_seed=3).finding
    assert found is not None
    assert len(found.case.program.nodes) < SMALL


@pytest.mark.parametrize("prop", PROPERTIES)
def test_nothing_is_found_where_nothing_is_planted(prop: str) -> None:
    """The same hunts find nothing in the compiler and the engines as they are."""
    done = hunt(PROPERTIES[prop], "stateful", examples=25, random_seed=3)
    assert done.finding is None
    assert done.examples >= 5


@pytest.fixture
def entry() -> Entry:
    """A case worth keeping."""
    tokens = ((mpq(0),), (mpq(1),), (mpq(1),))
    case = Case(program=load_program("majority"), tokens=tokens, target="gru", policy="float16-acc32")
    return Entry(prop="exact", case=case, message="seen once")


def test_a_corpus_keeps_what_it_is_given(entry: Entry, tmp_path: Path) -> None:
    """An entry that is kept and read again is judged alike, and kept under the same name."""
    place = keep(entry, tmp_path)
    again = read_entry(place)
    assert (again.case.tokens, again.case.target, again.case.policy) == (
        entry.case.tokens, entry.case.target, entry.case.policy,
    )  # fmt: skip
    assert keep(again, tmp_path) == place
    assert [path for path, _ in entries(tmp_path)] == [place]
    assert judged.judge(PROPERTIES["exact"], again.case) is None


def _damage(record: dict[str, Any]) -> Iterator[object]:
    yield "not a record"
    yield record | {"schema": 2}
    yield record | {"target": "transformer"}
    yield record | {"policy": "float17"}
    yield record | {"program": "ForEach:\n    return 1/0\n"}
    yield record | {"program": 7}
    yield record | {"tokens": []}
    yield record | {"tokens": [["1", "2"]]}
    yield record | {"tokens": [["nan"]]}
    yield record | {"tokens": [[1.5]]}
    yield record | {"tokens": [["9" * 1000]]}


def test_a_hostile_corpus_ends_in_one_error(entry: Entry, tmp_path: Path) -> None:
    """Each kind of damage to an entry is an error of ours, never another exception."""
    place = keep(entry, tmp_path)
    record = json.loads(place.read_text(encoding="utf-8"))
    for number, wrong in enumerate(_damage(record)):
        path = tmp_path / f"wrong{number}.json"
        path.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(LsrlError):
            read_entry(path)
    (tmp_path / "binary.json").write_bytes(b"\xff\x00{")
    with pytest.raises(LsrlError):
        read_entry(tmp_path / "binary.json")
    with pytest.raises(LsrlError):
        read_entry(tmp_path / "missing.json")


def test_directed_search_beats_its_first_cases() -> None:
    """The drift-directed search ends with an error larger than those of a handful of random cases."""

    def measure(case: Case) -> float | None:
        seen = drift_of(replace(case, policy="float16"))
        return None if seen is None else seen.badness

    few, many = (steer("stateful", measure, examples=count, random_seed=5) for count in (5, 120))
    assert few is not None
    assert many is not None
    assert many[1] > few[1]
