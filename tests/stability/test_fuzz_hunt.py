"""Fuzzing finds planted bugs and makes them small; its corpus survives being kept and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gmpy2 import mpq

from compiler.errors import LsrlError
from compiler.loading import load_program
from compiler.text import parse_program
from stability.fuzz import (
    PROPERTIES,
    Case,
    Entry,
    drift_of,
    entries,
    hunt,
    hunting,
    judge,
    keep,
    read_entry,
    replay,
    steer,
)
from tests.stability.plants import PLANTS, Plant

SMALL = 10
pytestmark = pytest.mark.no_cover  # random programs by the hundred: traced, they take twice the time


@pytest.mark.parametrize(("plant", "prop", "profile"), PLANTS)
def test_a_planted_bug_is_found_and_made_small(plant: Callable[[], Plant], prop: str, profile: str) -> None:
    """Each bug is found within 600 cases, and shrunk to a program of fewer than ten nodes."""
    policy = "float16" if prop in {"twin", "batch"} else None  # one of them is the bug of that format
    with plant():
        found = hunt(PROPERTIES[prop], profile, examples=600, random_seed=0, policy=policy).finding
    assert found is not None
    assert len(found.case.program.nodes) < SMALL


@pytest.mark.parametrize("prop", PROPERTIES)
def test_nothing_is_found_where_nothing_is_planted(prop: str) -> None:
    """The same hunts find nothing in the compiler and the engines as they are."""
    done = hunt(PROPERTIES[prop], "stateful", examples=12, random_seed=3)
    assert done.finding is None
    assert done.examples >= 3


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
    assert judge(PROPERTIES["exact"], again.case) is None


def _damage(record: dict[str, Any]) -> Iterator[object]:
    yield "not a record"
    yield record | {"schema": 1}
    yield record | {"schema": True}
    yield record | {"property": "beauty"}
    yield record | {"property": "drift"}  # without its numbers
    for error, horizon in (
        (-1, 0),
        ("nan", 0),
        (True, 0),
        (10**400, 0),
        (1, 3),
        (1, -1),
        (1, True),
        (1, "0"),
    ):
        yield record | {"property": "drift", "drift": {"error": error, "horizon": horizon}}
    yield record | {"target": "transformer"}
    yield record | {"policy": "float17"}
    yield record | {"program": ["ForEach:", "    return 1/0"]}
    yield record | {"program": "ForEach:"}
    yield record | {"program": 7}
    yield record | {"tokens": []}
    yield record | {"tokens": [["1", "2"]]}
    for value in ("nan", 1.5, "9" * 1000, "1e999999999", "1/0", "1_0", " 1", "\u0661"):
        yield record | {"tokens": [[value]]}


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


def test_products_of_products_end_in_a_budget(entry: Entry, tmp_path: Path) -> None:
    """A program that squares sixty times is kept, read and replayed without growing out of memory."""
    lines = [f"    x{k + 1} = Multi(Concat(x{k}, x{k}))" for k in range(60)]
    text = "\n".join(["ForEach:", "    x0 = Input(dim=1)", *lines, "    return x60"])
    huge = Case(program=parse_program(text), tokens=((mpq(10**99),),))
    for prop in ("exact", "mpmath", "file"):
        place = keep(replace(entry, prop=prop, case=huge), tmp_path)
        (told,) = replay(read_entry(place))
        assert told.new == "it says nothing any more: it is refused"
    assert drift_of(huge) is None


def test_directed_search_beats_its_first_cases() -> None:
    """The drift-directed search ends with an error larger than those of a handful of random cases."""

    def measure(case: Case) -> float | None:
        seen = drift_of(replace(case, policy="float16"))
        return None if seen is None else seen.badness

    few, many = (steer("stateful", measure, examples=count, random_seed=5) for count in (5, 40))
    assert few is not None
    assert many is not None
    assert many[1] > few[1]


def test_nothing_is_drawn_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hunt and a directed search end at the first case after their time, in the midst of a batch."""
    clock = iter(range(10_000))
    monkeypatch.setattr(hunting, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    drawn: list[Case] = []

    def measure(case: Case) -> float:
        drawn.append(case)
        return float(len(drawn))

    done = hunt(replace(PROPERTIES["exact"], check=lambda _: None), "affine", examples=10**9, seconds=30)
    assert 20 <= done.examples <= 30
    assert steer("affine", measure, examples=10**9, seconds=30) is not None
    assert len(drawn) <= 30 + hunting.BATCH  # those of shrinking
