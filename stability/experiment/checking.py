"""What the values of an experiment mean: names become programs, formats and grids.

Every mistake is a finding with its line; nothing stops at the first one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from compiler.compiling import TARGETS, check_target, compile_program
from compiler.config import CONDITIONALS, CompileConfig
from compiler.exact import exact
from compiler.loading import SUFFIX as PROGRAM_SUFFIX
from compiler.loading import library_names
from compiler.model import Model
from compiler.text import parse_program
from stability.cells import ACTIVATIONS, IN_STEPS, RELU, has_gates
from stability.engines.registry import check_engine, find_engine
from stability.experiment.places import Key
from stability.experiment.reading import (
    Findings,
    known_keys,
    listed,
    number_of,
    table_of,
    text_of,
    truth_of,
    whole_of,
)
from stability.experiment.thresholds import Thresholds, thresholds_of
from stability.grid import NAMED_CONFIGS, Grid, named_config
from stability.orders import parse_order
from stability.policy import AnyPolicy, parse_policy
from stability.subject import Subject, subject

LONGEST = 10_000_000
"""Tokens of a prompt."""
LARGEST_SEED = 2**63 - 1
MAX_CELLS = 100_000
"""Cells of an experiment."""
MAX_SUBJECTS = 1_000
"""Programs with their parameters."""
DEFAULT_FORMATS = ("float16", "float32", "float64")
DEFAULT_LENGTH = 4_000

AXES = (
    "programs", "parameters", "configs", "conditionals", "targets", "activation", "order", "formats",
    "policies", "lengths", "seeds", "noise", "states", "engine",
)  # fmt: skip
"""What a ``[[grid]]`` may say; what stands above the grids holds for all of them."""
TOP = ("name", "description", *AXES, "thresholds", "grid")

FACTORS = ("step", "complement", "mu", "lam", "reduce")
"""Factors of a configuration that an experiment may set."""

_Axes = dict[str, tuple[Key, Any]]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An experiment's file, understood.

    Attributes:
        name: of the experiment.
        description: one line.
        grids: what is measured.
        thresholds: what counts as drifted.
    """

    name: str
    description: str
    grids: tuple[Grid, ...]
    thresholds: Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A program of a list, not loaded yet."""

    key: Key
    name: str
    parameters: dict[str, tuple[str, ...]]


def check(raw: dict[str, Any], findings: Findings, folder: Path) -> Checked:
    """Make sense of an experiment.

    Args:
        raw: its tables.
        findings: of its file; what is wrong is added.
        folder: where the paths of programs begin.

    Raises:
        ExperimentError: everything that is wrong.
    """
    known_keys(findings, (), raw, TOP)
    name = text_of(findings, ("name",), raw.get("name", Path(findings.file).stem)) or ""
    if name and not _NAME.fullmatch(name):
        findings.wrong(("name",), name, "no name", "up to 64 letters, digits, dots and dashes")
    description = text_of(findings, ("description",), raw.get("description", "")) or ""
    thresholds = thresholds_of(findings, raw.get("thresholds", {}))
    common = _axes(raw, (), findings)
    tables = raw.get("grid")
    if tables is None:
        grids = [_grid(common, (), findings, folder)]
    else:
        grids = []
        for key, each in listed(findings, ("grid",), tables):
            table = table_of(findings, key, each)
            known_keys(findings, key, table, AXES)
            grids.append(_grid(common | _axes(table, key, findings), key, findings, folder))
    found = tuple(grid for grid in grids if grid is not None)
    size = sum(grid.size for grid in found)
    if size > MAX_CELLS:
        findings.add((), f"the experiment has {size:,} cells, more than {MAX_CELLS:,}",
                     "take fewer seeds, lengths, formats or programs, or split it")  # fmt: skip
    findings.close()
    return Checked(name=name, description=description, grids=found, thresholds=thresholds)


def _axes(table: dict[str, Any], key: Key, findings: Findings) -> _Axes:
    """The axes that a table names, each read, with the key that it stands under."""
    found: _Axes = {}
    for name in AXES:
        if name in table:
            place = (*key, name)
            found[name] = place, READERS[name](findings, place, table[name])
    return found


def _each(read: Callable[[Findings, Key, Any], Any]) -> Callable[[Findings, Key, Any], tuple[Any, ...]]:
    """A reader of lists from a reader of one value; what is wrong is left out."""

    def reader(findings: Findings, key: Key, value: Any) -> tuple[Any, ...]:
        values = [read(findings, place, each) for place, each in listed(findings, key, value)]
        return tuple(dict.fromkeys(each for each in values if each is not None))

    return reader


def _named(check_name: Callable[[str], Any]) -> Callable[[Findings, Key, Any], Any]:
    """A reader of names of which some function of ours knows the choices."""

    def reader(findings: Findings, key: Key, value: Any) -> Any:
        name = text_of(findings, key, value)
        return None if name is None else findings.guard(key, partial(check_name, name))

    return reader


def _activation(findings: Findings, key: Key, value: Any) -> str | None:
    name = text_of(findings, key, value)
    if name is None or name in ACTIVATIONS:
        return name
    findings.wrong(key, name, "unknown activation", f"one of {', '.join(ACTIVATIONS)}")
    return None


def _conditional(findings: Findings, key: Key, value: Any) -> str | None:
    if isinstance(value, str) and value in CONDITIONALS:
        return value
    findings.wrong(key, value, "unknown conditional", "one of " + ", ".join(CONDITIONALS))
    return None


def _config(findings: Findings, key: Key, value: Any) -> tuple[str, CompileConfig] | None:
    """``"paper"``, or ``{ base = "stable", mu = 1024 }``."""
    if isinstance(value, str):
        return findings.guard(key, partial(named_config, value))
    if not isinstance(value, dict):
        findings.wrong(key, value, "it has to be a name or a table", '"paper" or { base = "paper", mu = 16 }')
        return None
    known_keys(findings, key, value, ("base", *FACTORS))
    place = (*key, "base")
    base = text_of(findings, place, value.get("base", NAMED_CONFIGS[0]))
    config = None if base is None else findings.guard(place, partial(CompileConfig.named, base))
    for name in FACTORS:
        factor = _factor(findings, (*key, name), name, value[name]) if name in value else None
        if config is not None and factor is not None:
            change: dict[str, Any] = {name: factor}
            config = findings.guard((*key, name), partial(replace, config, **change)) or config
    return None if config is None else named_config(config)


def _factor(findings: Findings, key: Key, name: str, value: Any) -> Any:
    """One factor of a configuration, of the right kind."""
    if name in {"mu", "lam"} and value != "auto":
        number = number_of(findings, key, value)
        return None if number is None else exact(number)
    if name == "reduce":
        return truth_of(findings, key, value)
    return text_of(findings, key, value)


def _parameters(findings: Findings, key: Key, value: Any) -> dict[str, tuple[str, ...]]:
    return {
        name: _each(number_of)(findings, (*key, name), given)
        for name, given in table_of(findings, key, value).items()
    }


def _program(findings: Findings, key: Key, value: Any) -> _Wanted | None:
    """``"majority"``, ``"mine.lsrl"`` or ``{ name = "dictionary", parameters = { n = 10 } }``."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        findings.wrong(
            key, value, "it has to be a name or a table", '"majority" or { name = "dictionary", … }'
        )
        return None
    known_keys(findings, key, table, ("name", "parameters"))
    parameters = _parameters(findings, (*key, "parameters"), table.get("parameters", {}))
    if "name" not in table:
        findings.add(key, ": a program without a name", 'write { name = "dictionary", … }')
        return None
    name = text_of(findings, (*key, "name"), table["name"])
    return None if name is None else _Wanted(key=key, name=name, parameters=parameters)


def _programs(findings: Findings, key: Key, value: Any) -> tuple[_Wanted, ...]:
    found = [_program(findings, place, each) for place, each in listed(findings, key, value)]
    return tuple(each for each in found if each is not None)


def _later(what: str, hint: str) -> Callable[[Findings, Key, Any], tuple[()]]:
    """A reader of an axis of which no value is there yet."""

    def reader(findings: Findings, key: Key, value: Any) -> tuple[()]:
        if value != []:
            findings.wrong(key, value, f"{what} are not available yet", hint)
        return ()

    return reader


def _seed(findings: Findings, key: Key, value: Any) -> int | None:
    return whole_of(findings, key, value, 0, LARGEST_SEED)


def _length(findings: Findings, key: Key, value: Any) -> int | None:
    return whole_of(findings, key, value, 1, LONGEST)


READERS: dict[str, Callable[[Findings, Key, Any], Any]] = {
    "programs": _programs,
    "parameters": _parameters,
    "configs": _each(_config),
    "conditionals": _each(_conditional),
    "targets": _each(_named(check_target)),
    "activation": _each(_activation),
    "order": _each(_named(lambda name: parse_order(name).name)),
    "formats": _each(_named(parse_policy)),
    "policies": _each(_named(parse_policy)),
    "lengths": _each(_length),
    "seeds": _each(_seed),
    "noise": _later("noise levels", "leave the key out"),
    "states": truth_of,
    "engine": _named(check_engine),
}


# ---------------------------------------------------------------- grids


def _grid(axes: _Axes, key: Key, findings: Findings, folder: Path) -> Grid | None:
    """A grid from its axes; ``None`` where something is wrong with them."""

    def axis(name: str, usual: Any) -> Any:
        return axes[name][1] or usual if name in axes else usual

    if "programs" not in axes:
        findings.add(key or ("programs",), ": no programs", 'write programs = ["majority"]')
        return None
    before = len(findings.found)
    formats: tuple[AnyPolicy, ...] = (*axis("formats", ()), *axis("policies", ()))
    formats = formats or tuple(map(parse_policy, DEFAULT_FORMATS))
    engine: str | None = axis("engine", None)
    blamed = axes["formats" if "formats" in axes else "engine"][0] if engine or "formats" in axes else key
    for fmt in formats:
        findings.guard(blamed, partial(_runs, engine, fmt))
    subjects = _subjects(axes, findings, folder)
    targets = axis("targets", tuple(TARGETS))
    if "activation" in axes and RELU not in axis("activation", (RELU,)) and not any(map(has_gates, targets)):
        findings.add(
            axes["activation"][0], ": no target here has sigmoid and tanh", "add lstm or gru to targets"
        )
    if len(findings.found) > before or not subjects:
        return None
    return Grid(
        subjects=subjects,
        configs=axis("configs", tuple(map(named_config, NAMED_CONFIGS))),
        conditionals=axis("conditionals", ()),
        targets=targets,
        activations=axis("activation", ACTIVATIONS[:1]),
        orders=axis("order", (IN_STEPS,)),
        formats=formats,
        engine=engine,
        seeds=axis("seeds", (0,)),
        lengths=axis("lengths", (DEFAULT_LENGTH,)),
        states=axis("states", usual=False),
    )


def _runs(engine: str | None, fmt: AnyPolicy) -> None:
    """Refuse a format that the engine does not compute in, or an engine that is not installed."""
    find_engine(engine, fmt).prepare(_smallest(), fmt)


@cache
def _smallest() -> Model:
    return compile_program(
        parse_program("ForEach:\n    x = Input(dim=1)\n    return ReLU(x)\n"), "linear_rnn"
    )


def _subjects(axes: _Axes, findings: Findings, folder: Path) -> tuple[Subject, ...]:
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
