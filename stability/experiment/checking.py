"""What the values of an experiment mean: names become programs, formats and grids.

Every mistake is a finding with its line; nothing stops at the first one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from compiler.compiling import TARGETS, check_target, compile_program
from compiler.config import CONDITIONALS, CompileConfig
from compiler.exact import exact
from compiler.model import Model
from compiler.text import parse_program
from stability.cells import ACTIVATIONS, IN_STEPS, RELU, Noise, has_gates
from stability.engines.registry import check_engine, find_engine
from stability.experiment.places import Key
from stability.experiment.programs import Axes, read_parameters, read_programs, subjects_of
from stability.experiment.reading import (
    Findings,
    each_of,
    known_keys,
    listed,
    number_of,
    table_of,
    text_of,
    truth_of,
    whole_of,
)
from stability.experiment.thresholds import Thresholds, thresholds_of
from stability.grid import NAMED_CONFIGS, Grid, named_config, takes_noise
from stability.measures import to_float
from stability.noise import STATES, check_states
from stability.noise_weights import DEFAULT_PARTS, KINDS, PARTS, check_noise
from stability.orders import parse_order
from stability.policy import AnyPolicy, parse_policy

LONGEST = 10_000_000
"""Tokens of a prompt."""
LARGEST_SEED = 2**63 - 1
MAX_CELLS = 100_000
"""Cells of an experiment."""
DEFAULT_FORMATS = ("float16", "float32", "float64")
DEFAULT_LENGTH = 4_000

AXES = (
    "programs", "parameters", "configs", "conditionals", "targets", "activation", "order", "formats",
    "policies", "lengths", "seeds", "noise", "states", "engine",
)  # fmt: skip
"""What a ``[[grid]]`` may say; what stands above the grids holds for all of them."""
TOP = ("name", "description", *AXES, "thresholds", "grid")

NOISE_AXES = tuple(name for name in AXES if name not in {"order", "noise", "states"})
"""What a ``[noise]`` may say in place of its grid, besides :data:`NOISE`."""
NOISE = ("sigma", "kind", "include", "states")

FACTORS = ("step", "complement", "mu", "lam", "reduce")
"""Factors of a configuration that an experiment may set."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noisy:
    """A table ``[noise]``: what is put on the weights, and the axes that differ from the grid's."""

    levels: tuple[Noise, ...]
    axes: Axes


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
        grids = _grids(common, (), findings, folder)
    else:
        grids = []
        for key, each in listed(findings, ("grid",), tables):
            table = table_of(findings, key, each)
            known_keys(findings, key, table, AXES)
            grids += _grids({**common, **_axes(table, key, findings)}, key, findings, folder)
    found = tuple(grid for grid in grids if grid is not None)
    size = sum(grid.size for grid in found)
    if size > MAX_CELLS:
        findings.add((), f"the experiment has {size:,} cells, more than {MAX_CELLS:,}",
                     "take fewer seeds, lengths, formats or programs, or split it")  # fmt: skip
    findings.close()
    return Checked(name=name, description=description, grids=found, thresholds=thresholds)


def _axes(table: dict[str, Any], key: Key, findings: Findings) -> Axes:
    """The axes that a table names, each read, with the key that it stands under."""
    found: dict[str, tuple[Key, Any]] = {}
    for name in AXES:
        if name in table:
            place = (*key, name)
            found[name] = place, READERS[name](findings, place, table[name])
    return found


def _named(check_name: Callable[[str], Any]) -> Callable[[Findings, Key, Any], Any]:
    """A reader of names of which some function of ours knows the choices."""

    def reader(findings: Findings, key: Key, value: Any) -> Any:
        name = text_of(findings, key, value)
        return None if name is None else findings.guard(key, partial(check_name, name))

    return reader


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


def _seed(findings: Findings, key: Key, value: Any) -> int | None:
    return whole_of(findings, key, value, 0, LARGEST_SEED)


def _length(findings: Findings, key: Key, value: Any) -> int | None:
    return whole_of(findings, key, value, 1, LONGEST)


def _sigma(findings: Findings, key: Key, value: Any) -> float | None:
    text = number_of(findings, key, value)
    return None if text is None else findings.guard(key, partial(_checked_sigma, to_float(exact(text))))


def _checked_sigma(sigma: float) -> float:
    check_noise(sigma, KINDS[0], DEFAULT_PARTS)
    return sigma


def _one_of(choices: Sequence[str], what: str) -> Callable[[Findings, Key, Any], str | None]:
    """A reader of one of a few words."""

    def reader(findings: Findings, key: Key, value: Any) -> str | None:
        if isinstance(value, str) and value in choices:
            return value
        findings.wrong(key, value, f"unknown {what}", f"one of {', '.join(choices)}")
        return None

    return reader


def _noise(findings: Findings, key: Key, value: Any) -> _Noisy:
    """The table ``[noise]``; σ = 0, the model itself, is always in it."""
    table = table_of(findings, key, value)
    known_keys(findings, key, table, (*NOISE, *NOISE_AXES))
    if "sigma" not in table and isinstance(value, dict):
        findings.add(key, ": noise of no size", "write sigma = [1e-5, 1e-3]")
    said: dict[str, Any] = {
        name: NOISE_READERS[name](findings, (*key, name), table[name]) for name in NOISE if name in table
    }
    include = tuple(part for part in PARTS if part in (said.get("include") or DEFAULT_PARTS))
    levels = product(
        said.get("kind") or KINDS[:1], said.get("states") or STATES[:1], (0.0, *said.get("sigma", ()))
    )
    return _Noisy(
        levels=tuple(
            dict.fromkeys(
                Noise(sigma=sigma, kind=kind, include=include, states=states)
                for kind, states, sigma in levels
            )
        ),
        axes=_axes({name: given for name, given in table.items() if name in NOISE_AXES}, key, findings),
    )


NOISE_READERS: dict[str, Callable[[Findings, Key, Any], Any]] = {
    "sigma": each_of(_sigma),
    "kind": each_of(_one_of(KINDS, "kind of noise")),
    "include": each_of(_one_of(PARTS, "part of a model")),
    "states": each_of(_one_of(STATES, "states")),
}
READERS: dict[str, Callable[[Findings, Key, Any], Any]] = {
    "programs": read_programs,
    "parameters": read_parameters,
    "configs": each_of(_config),
    "conditionals": each_of(_one_of(CONDITIONALS, "conditional")),
    "targets": each_of(_named(check_target)),
    "activation": each_of(_one_of(ACTIVATIONS, "activation")),
    "order": each_of(_named(lambda name: parse_order(name).name)),
    "formats": each_of(_named(parse_policy)),
    "policies": each_of(_named(parse_policy)),
    "lengths": each_of(_length),
    "seeds": each_of(_seed),
    "noise": _noise,
    "states": truth_of,
    "engine": _named(check_engine),
}


# ---------------------------------------------------------------- grids


def _grids(axes: Axes, key: Key, findings: Findings, folder: Path) -> list[Grid | None]:
    """The grid of some axes, and that of its noise if there is any."""
    grids = [_grid(axes, key, findings, folder)]
    if "noise" not in axes:
        return grids
    place, noisy = axes["noise"]
    own: dict[str, tuple[Key, Any]] = {**axes, **noisy.axes}
    for name, other in (("formats", "policies"), ("policies", "formats")):
        if name in noisy.axes and other not in noisy.axes:
            own.pop(other, None)  # formats of its own are all that it has
    grid = _grid(own, place, findings, folder)
    if grid is not None:
        grid = replace(grid, noise=noisy.levels, orders=(IN_STEPS,), states=False)
        _check_noise(grid, own, place, findings)
    return [*grids, grid]


def _check_noise(grid: Grid, axes: Axes, key: Key, findings: Findings) -> None:
    """Refuse noisy runs that no format, engine or target can make."""
    for states in dict.fromkeys(noise.states for noise in grid.noise):
        blamed = next((axes[name][0] for name in ("formats", "policies") if name in axes), (*key, "states"))
        for fmt in grid.formats:
            findings.guard(blamed, partial(check_states, states, fmt, grid.engine))
        if not any(takes_noise(target, states) for target in grid.targets):
            what = "a target that keeps states" if states == "clean" else "an architecture"
            findings.add((*key, "states"), f": no target here for {states} states", f"add {what} to targets")


def _grid(axes: Axes, key: Key, findings: Findings, folder: Path) -> Grid | None:
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
    subjects = subjects_of(axes, findings, folder)
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
