"""A gate's TOML file: an experiment, a baseline, a corpus, rules, overrides and waivers.

Everything that is wrong with it is reported at once, each with its line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from compiler.errors import ConfigError
from stability.corpus import Kept, entry_files, read_entry
from stability.experiment.checking import check
from stability.experiment.definition import Experiment, load_experiment
from stability.experiment.places import Key, place_of
from stability.experiment.reading import (
    SUFFIX,
    ExperimentError,
    Findings,
    file_text,
    known_keys,
    listed,
    parse_toml,
    table_of,
    text_of,
)
from stability.gate.rules import DEFAULTS, MEASURES, Rule, parse_rule
from stability.gate.selecting import ALIASES, SELECTORS, Selector, selector_of

TOP = ("experiment", "baseline", "corpus", "rules", "overrides", "waivers")
SELECTING = (*SELECTORS, *ALIASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Rules of some cells, in place of those of all.

    Attributes:
        place: ``FILE:LINE`` of the configuration.
        selector: which cells.
        rules: by measure.
    """

    place: str
    selector: Selector
    rules: Mapping[str, Rule]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """Leave to break a rule, for a reason and for a time.

    Attributes:
        place: ``FILE:LINE`` of the configuration.
        selector: which cells.
        measures: whose rules.
        reason: why.
        expires: the last day on which it holds.
    """

    place: str
    selector: Selector
    measures: tuple[str, ...]
    reason: str
    expires: dt.date

    @property
    def title(self) -> str:
        """Its place and what it is about."""
        return f"{self.place}: the waiver of {', '.join(self.measures)} for {self.selector.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """A gate.

    Attributes:
        file: its TOML, as it was named.
        experiment: what is measured.
        baseline: the file to compare with.
        corpus: kept cases to judge again.
        rules: by measure; every measure has one.
        overrides: of the rules; the last that matches a cell counts.
        waivers: of broken rules.
    """

    file: str
    experiment: Experiment
    baseline: Path
    rules: Mapping[str, Rule]
    overrides: tuple[Override, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    corpus: tuple[Kept, ...] = ()

    def rule(self, measure: str, keys: Mapping[str, Any]) -> Rule:
        """The rule of a measure for a cell."""
        for override in reversed(self.overrides):
            if measure in override.rules and override.selector.matches(keys):
                return override.rules[measure]
        return self.rules[measure]


def today() -> dt.date:
    """The day, in UTC: the same for everybody who runs the gate."""
    return dt.datetime.now(dt.UTC).date()


def load_gate(path: str | Path, *, day: dt.date | None = None) -> GateConfig:
    """A gate from its TOML file; the paths in it begin at its folder.

    Args:
        path: of the file.
        day: on which waivers have to be valid; default: today.

    Raises:
        ExperimentError: everything that is wrong with it, expired waivers among it.
    """
    place = Path(path)
    if place.suffix != SUFFIX:
        raise ExperimentError.single(
            f"{place.name[:60]!r} is no gate's configuration", hint=f"name a file that ends in {SUFFIX}"
        )
    raw, findings = parse_toml(file_text(place, "configuration"), str(path))
    known_keys(findings, (), raw, TOP)
    experiment = _experiment(findings, raw, place.parent)
    baseline = _baseline(findings, raw, place.parent)
    corpus = _corpus(findings, raw, place.parent)
    rules = {name: parse_rule(name, text) for name, text in DEFAULTS.items()}
    table = table_of(findings, ("rules",), raw.get("rules", {}))
    known_keys(findings, ("rules",), table, MEASURES)
    rules |= _rules(findings, ("rules",), table)
    overrides = [_override(findings, key, each) for key, each in _tables(findings, raw, "overrides")]
    waivers = [
        _waiver(findings, key, each, day or today()) for key, each in _tables(findings, raw, "waivers")
    ]
    findings.close()
    assert experiment is not None, "without one there is a finding"
    return GateConfig(
        file=str(path),
        experiment=experiment,
        baseline=baseline,
        corpus=corpus,
        rules=rules,
        overrides=tuple(overrides),
        waivers=tuple(waiver for waiver in waivers if waiver is not None),
    )


def _experiment(findings: Findings, raw: dict[str, Any], folder: Path) -> Experiment | None:
    """The experiment that is named, or that stands in the file itself."""
    key: Key = ("experiment",)
    named = raw.get("experiment")
    if isinstance(named, str):
        place = str(folder / named) if named.endswith(SUFFIX) else named
        return findings.guard(key, partial(load_experiment, place))
    if not isinstance(named, dict):
        hint = 'name one, as in experiment = "quick", or write its keys below [experiment]'
        findings.add(key, ": a gate needs an experiment", hint)
        return None
    inner = Findings(file=findings.file, known={(): place_of(findings.known, key)})
    inner.known |= {under[1:]: place for under, place in findings.known.items() if under[:1] == key}
    try:
        checked = check(named, inner, folder)
    except ExperimentError as problem:
        findings.found.extend(problem.diagnostics)
        return None
    return Experiment(
        name=checked.name,
        description=checked.description,
        grids=checked.grids,
        thresholds=checked.thresholds,
    )


def _baseline(findings: Findings, raw: dict[str, Any], folder: Path) -> Path:
    hint = 'name a file, as in baseline = "gate.json"'
    text = text_of(findings, ("baseline",), raw["baseline"], hint) if "baseline" in raw else ""
    if text == "":
        findings.add(("baseline",), ": a gate needs a baseline", hint)
    elif text is not None and (not text.endswith(".json") or "\0" in text):
        findings.wrong(("baseline",), text, "a baseline is JSON", hint)
    return folder / (text or "")


def _corpus(findings: Findings, raw: dict[str, Any], folder: Path) -> tuple[Kept, ...]:
    """The kept cases of the folder that is named; each that is wrong is a finding."""
    key: Key = ("corpus",)
    hint = 'name a folder that lsrl fuzz --corpus has written, as in corpus = "corpus"'
    text = text_of(findings, key, raw["corpus"], hint) if "corpus" in raw else None
    if text is None:
        return ()
    files = entry_files(folder / text) if text and "\0" not in text else []
    if not files:
        findings.wrong(key, text, "there is no such folder, or no case in it", hint)
    read = [(path, findings.guard(key, partial(read_entry, path))) for path in files]
    return tuple((path, entry) for path, entry in read if entry is not None)


def _tables(findings: Findings, raw: dict[str, Any], name: str) -> list[tuple[Key, dict[str, Any]]]:
    if name not in raw:
        return []
    found = listed(findings, (name,), raw[name])
    return [(key, table_of(findings, key, each)) for key, each in found]


def _rules(findings: Findings, key: Key, table: Mapping[str, Any]) -> dict[str, Rule]:
    found = {}
    for name in MEASURES:
        if name not in table:
            continue
        text = text_of(findings, (*key, name), table[name])
        if text is None:
            continue
        try:
            found[name] = parse_rule(name, text)
        except ConfigError as problem:
            findings.wrong((*key, name), text, problem.diagnostics[0].message, problem.diagnostics[0].hint)
    return found


def _place(findings: Findings, key: Key) -> str:
    return f"{findings.file}:{place_of(findings.known, key)[0]}"


def _override(findings: Findings, key: Key, table: dict[str, Any]) -> Override:
    known_keys(findings, key, table, (*SELECTING, *MEASURES))
    rules = _rules(findings, key, table)
    if not table.keys() & MEASURES.keys():
        findings.add(key, ": it changes no rule", "name one, as in horizon = \"off\"")  # fmt: skip
    return Override(place=_place(findings, key), selector=selector_of(findings, key, table), rules=rules)


def _waiver(findings: Findings, key: Key, table: dict[str, Any], day: dt.date) -> Waiver | None:
    known_keys(findings, key, table, (*SELECTING, "measure", "reason", "expires"))
    before = len(findings.found)
    selector = selector_of(findings, key, table)
    reason = text_of(findings, (*key, "reason"), table["reason"]) if "reason" in table else ""
    if reason is not None and not reason.strip():
        findings.add(key, ": a waiver without a reason", 'write reason = "…", and who knows more')
    measures = []
    for place, each in listed(findings, (*key, "measure"), table.get("measure", "")):
        if isinstance(each, str) and each in MEASURES:
            measures.append(each)
        else:
            hint = "one of " + ", ".join(MEASURES) + "; new infinities, nans and failures are never waived"
            findings.wrong(place, each, "no measure", hint)
    expires = table.get("expires")
    if not isinstance(expires, dt.date) or isinstance(expires, dt.datetime):
        findings.add((*key, "expires"), ": a waiver needs its last day", "write expires = 2030-01-31")
        return None
    if len(findings.found) > before:
        return None
    found = Waiver(
        place=_place(findings, key),
        selector=selector,
        measures=tuple(measures),
        reason=str(reason),
        expires=expires,
    )
    if expires < day:
        findings.add(
            key,
            f": the waiver of {', '.join(measures)} for {selector.text} expired on {expires}: {reason}",
            "mend what it waives, accept it with --update, or give it a later day",
        )
    return found
