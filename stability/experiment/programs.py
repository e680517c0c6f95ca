"""The programs of an experiment: their names and parameters become subjects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from compiler.loading import SUFFIX as PROGRAM_SUFFIX
from compiler.loading import library_names
from stability.experiment.places import Key
from stability.experiment.reading import Findings, each_of, known_keys, listed, number_of, table_of, text_of
from stability.subject import Subject, subject

MAX_SUBJECTS = 1_000
"""Programs with their parameters."""

Axes = Mapping[str, tuple[Key, Any]]
"""What a table says of every axis that it names, with the key that it stands under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A program of a list, not loaded yet."""

    key: Key
    name: str
    parameters: dict[str, tuple[str, ...]]


def read_parameters(findings: Findings, key: Key, value: Any) -> dict[str, tuple[str, ...]]:
    """``{ n = 10 }``, or lists of values."""
    return {
        name: each_of(number_of)(findings, (*key, name), given)
        for name, given in table_of(findings, key, value).items()
    }


def _program(findings: Findings, key: Key, value: Any) -> Wanted | None:
    """``"majority"``, ``"mine.lsrl"`` or ``{ name = "dictionary", parameters = { n = 10 } }``."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        findings.wrong(
            key, value, "it has to be a name or a table", '"majority" or { name = "dictionary", … }'
        )
        return None
    known_keys(findings, key, table, ("name", "parameters"))
    parameters = read_parameters(findings, (*key, "parameters"), table.get("parameters", {}))
    if "name" not in table:
        findings.add(key, ": a program without a name", 'write { name = "dictionary", … }')
        return None
    name = text_of(findings, (*key, "name"), table["name"])
    return None if name is None else Wanted(key=key, name=name, parameters=parameters)


def read_programs(findings: Findings, key: Key, value: Any) -> tuple[Wanted, ...]:
    """One program or a list of them, not loaded yet."""
    found = [_program(findings, place, each) for place, each in listed(findings, key, value)]
    return tuple(each for each in found if each is not None)


def subjects_of(axes: Axes, findings: Findings, folder: Path) -> tuple[Subject, ...]:
    """Every program with every combination of its parameters."""
    above, shared = axes.get("parameters", ((), {}))
    key, wanted = axes["programs"]
    found: list[Subject] = []
    known: set[str] = set()
    for each in wanted:
        own = each.name in library_names() or not each.name.endswith(PROGRAM_SUFFIX)
        place = each.name if own else str(folder / each.name)
        bare = findings.guard(each.key, partial(subject, place))
        if bare is None:
            continue
        known |= set(bare.parameters)
        for name in each.parameters:
            if name not in bare.parameters:
                choices = ", ".join(sorted(bare.parameters)) or "it has none"
                findings.add((*each.key, "parameters", name), f": {bare.name} has no such parameter", choices)
        chosen = {
            name: values for name, values in (shared | each.parameters).items() if name in bare.parameters
        }
        count = prod(len(values) for values in chosen.values())
        if count + len(found) > MAX_SUBJECTS:
            findings.add(each.key, f": {count:,} combinations of parameters", f"at most {MAX_SUBJECTS:,}")
            continue
        found.extend(_combinations(place, chosen, each.key, findings))
    for name in shared:
        if known and name not in known:
            findings.add((*above, name), ": no program here has it", "one of " + ", ".join(sorted(known)))
    _distinct(found, key, findings)
    return tuple(found)


def _combinations(
    place: str, choices: dict[str, tuple[str, ...]], key: Key, findings: Findings
) -> list[Subject]:
    found = []
    for values in product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        made = findings.guard(key, partial(_tried, place, chosen))
        if made is not None:
            found.append(made)
    return found


def _tried(place: str, parameters: dict[str, str]) -> Subject:
    """The program, after drawing a token: some values of parameters are only then refused."""
    made = subject(place, parameters)
    made.prompt(0, 1)
    return made


def _distinct(subjects: list[Subject], key: Key, findings: Findings) -> None:
    """Rows are told apart by the program's name: two programs need two names."""
    texts: dict[str, str] = {}
    for each in subjects:
        if texts.setdefault(each.name, each.text) != each.text:
            findings.add(key, f": two programs are called {each.name!r}", "rename one file")
