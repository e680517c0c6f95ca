"""Which cells an override or a waiver is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler.exact import exact
from stability.experiment.places import Key
from stability.experiment.reading import Findings, listed, number_of, table_of, text_of

SELECTORS = ("program", "parameters", "config", "conditional", "target", "activation", "policy", "order")
ALIASES = {"format": "policy"}
"""Other names of selectors: a number format is a policy."""
COLUMNS = {"policy": "format"}
"""Where a selector is not called as the column that it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A condition on the keys of a cell; one that says nothing is met by all.

    Attributes:
        wanted: column → values, one of which the cell has.
        parameters: name → values, one of which the program's parameter has.
    """

    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, keys: Mapping[str, Any]) -> bool:
        """Whether a cell is meant.

        Args:
            keys: of the cell, by column.
        """
        if any(keys[column] not in values for column, values in self.wanted.items()):
            return False
        if not self.parameters:
            return True
        given = dict(part.split("=", 1) for part in str(keys["parameters"]).split())
        return all(given.get(name) in values for name, values in self.parameters.items())

    @property
    def text(self) -> str:
        """``program=dictionary target=lstm, gru``."""
        names = {column: name for name, column in COLUMNS.items()}
        parts = [f"{names.get(column, column)}={', '.join(values)}" for column, values in self.wanted.items()]
        parts += [f"{name}={', '.join(values)}" for name, values in self.parameters.items()]
        return " ".join(parts)


def selector_of(findings: Findings, key: Key, table: Mapping[str, Any]) -> Selector:
    """The selectors of a table; what is wrong with them becomes findings.

    Args:
        findings: of the file.
        key: of the table.
        table: an override or a waiver.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    parameters: dict[str, tuple[str, ...]] = {}
    for name in (*SELECTORS, *ALIASES):
        if name not in table:
            continue
        place = (*key, name)
        if name == "parameters":
            parameters = _parameters(findings, place, table[name])
            continue
        role = ALIASES.get(name, name)
        column = COLUMNS.get(role, role)
        if column in wanted:
            findings.add(place, ": policy and format are the same", "keep one of the two")
        texts = [text_of(findings, at, each) for at, each in listed(findings, place, table[name])]
        wanted[column] = tuple(text for text in texts if text is not None)
    if not wanted and not parameters and not {*SELECTORS, *ALIASES} & table.keys():
        findings.add(key, ": it selects no cells", "name at least one of " + ", ".join(SELECTORS))
    return Selector(wanted=wanted, parameters=parameters)


def _parameters(findings: Findings, key: Key, value: object) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, given in table_of(findings, key, value).items():
        place = (*key, name)
        texts = [number_of(findings, at, each) for at, each in listed(findings, place, given)]
        found[name] = tuple(str(exact(text)) for text in texts if text is not None)
    return found
