"""Options that several commands share, and the places they write to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import TARGET_NAMES, TARGETS, settle_window
from compiler.config import COMPLEMENTS, CONDITIONALS, CONFIGURATIONS, STEPS, CompileConfig
from compiler.errors import ConfigError
from compiler.exact import exact
from compiler.loading import SUFFIX, library_names, load_program
from compiler.model import Model
from compiler.model_file import load_model
from reports.cli.token_files import TokenFile
from reports.files import beside

Source = Annotated[
    str, typer.Argument(metavar="FILE_OR_NAME", help="a .lsrl file or a program of the library")
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="K=V", help="set a parameter of the program, exactly (repeatable)"),
]
Config = Annotated[str, typer.Option("--config", help=f"configuration: {' | '.join(CONFIGURATIONS)}")]
ConditionalOption = Annotated[
    str | None,
    typer.Option("--conditional", help=f"form of f_ifelse: {' | '.join(CONDITIONALS)} (default: by target)"),
]
StepOption = Annotated[
    str | None, typer.Option("--step", help=f"step form: {' | '.join(STEPS)} (default: by --config)")
]
ComplementOption = Annotated[
    str | None,
    typer.Option(
        "--complement", help=f"how 1 − c is built: {' | '.join(COMPLEMENTS)} (default: by --config)"
    ),
]
Mu = Annotated[str | None, typer.Option("--mu", help="μ: a number or auto (default: by --config)")]
Lam = Annotated[str | None, typer.Option("--lam", help="λ: a number or auto (default: by --config)")]
Reduce = Annotated[
    bool, typer.Option("--reduce", help="make ReLUs affine where ranges allow it (changes what is measured)")
]
Window = Annotated[
    int | None, typer.Option("--window", help="hawk, griffin: the longest prompt (default: 4096 tokens)")
]
TargetOption = Annotated[str, typer.Option("--target", help=f"architecture: {' | '.join(TARGET_NAMES)}")]
Json = Annotated[bool, typer.Option("--json", help="print JSON, and nothing else, on stdout")]

LONGEST_NUMBER = 10_000
"""Characters of a number; its exact value must stay small enough to compute with."""
LARGEST_EXPONENT = 5_000


def number(role: str, text: str) -> mpq:
    """A number as it is written: ``0.1`` is 1/10.

    Raises:
        ConfigError: not a number, or one of absurd size.
    """
    exponent = text.lower().partition("e")[2]
    try:
        if len(text) <= LONGEST_NUMBER and (not exponent or abs(int(exponent)) <= LARGEST_EXPONENT):
            return exact(text.strip())
    except (ValueError, ZeroDivisionError):
        pass
    raise ConfigError.single(f"{role}={text[:60]!r} is not a number", hint="such as 3, 0.1, 1/3 or 1e10")


def parameters_of(given: Sequence[str] | None) -> dict[str, mpq]:
    """``k=v`` texts as numbers by name.

    Raises:
        ConfigError: a text without ``=``, a name given twice, or a value that is not a number.
    """
    found: dict[str, mpq] = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        name = name.strip()
        if not sign or not name:
            raise ConfigError.single(f"--param {text[:60]!r} has no value", hint="write --param n=10")
        if name in found:
            raise ConfigError.single(f"parameter {name!r} is given twice")
        found[name] = number(f"parameter {name}", value)
    return found


def configuration(
    name: str,
    *,
    conditional: str | None = None,
    step: str | None = None,
    complement: str | None = None,
    mu: str | None = None,
    lam: str | None = None,
    reduce: bool = False,
) -> CompileConfig:
    """A named configuration with some factors replaced.

    Raises:
        ConfigError: an unknown name or a factor out of range.
    """
    changes: dict[str, Any] = {"conditional": conditional, "step": step, "complement": complement}
    changes["reduce"] = reduce or None
    for role, text in (("mu", mu), ("lam", lam)):
        changes[role] = text if text is None or text == "auto" else number(role, text)
    return replace(
        CompileConfig.named(name), **{key: value for key, value in changes.items() if value is not None}
    )


def windows_of(targets: Sequence[str], window: int | None) -> list[int | None]:
    """``--window`` for those targets that have one.

    Raises:
        ConfigError: a window, and no target that has one.
    """
    windowed = [name in TARGETS and TARGETS[name].windowed for name in targets]
    if not any(windowed):
        settle_window(targets[0], window)
    return [window if own else None for own in windowed]


def load_source(name: str, given: Sequence[str] | None) -> ir.Program:
    """A program of the library, or a user's file, with its parameters set.

    Raises:
        LsrlError: no such program, an unknown parameter, or a program that is wrong.
    """
    return load_program(name, **parameters_of(given))


def saved_model(
    source: str, target: object, given: object, settings: CompileConfig, *, window: int | None = None
) -> Model | None:
    """The model in a file of ``lsrl compile``, or None where ``source`` names a program.

    Raises:
        ConfigError: a target, a parameter, a configuration or a window is asked of a model
            that has its own.
        ModelFileError: a file that is not a model.
    """
    path = Path(source)
    if source in library_names() or path.suffix == SUFFIX or not path.is_file():
        return None
    if target or given or settings != CompileConfig() or window is not None:
        raise ConfigError.single(
            f"{source} is a compiled model: its target, its configuration and the like are settled",
            hint="leave out those options, or name the program",
        )
    return load_model(path)


def token_file(tokens: str, dim: int) -> TokenFile:
    """The prompt that ``--tokens`` names; ``-`` is standard input.

    Raises:
        OSError: missing or unreadable, known before any output is touched.
    """
    if tokens == "-":
        return TokenFile(name="standard input", path=None, dim=dim)
    path = Path(tokens)
    with path.open("rb"):
        pass
    return TokenFile(name=tokens, path=path, dim=dim)


def writable_file(path: Path) -> Path:
    """``path``, after finding out that a file can be written there.

    Raises:
        ConfigError: it is a folder, its folder is missing, or it may not be written.
    """
    if path.is_dir():
        raise ConfigError.single(f"{path} is a folder", hint="name a file in it")
    _probe(path.parent, path)
    return path


def writable_folder(path: Path) -> Path:
    """``path`` as a folder that exists and can be written.

    Raises:
        ConfigError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        reason = "it is a file" if isinstance(problem, FileExistsError) else problem.strerror
        raise ConfigError.single(
            f"cannot make the folder {path}: {reason}", hint="choose another place with -o"
        ) from None
    _probe(path, path)
    return path


def _probe(folder: Path, shown: Path) -> None:
    try:
        beside(folder / "lsrl-probe").unlink()
    except OSError as problem:
        reason = problem.strerror or problem
        raise ConfigError.single(
            f"cannot write {shown}: {reason}", hint="choose another place with -o"
        ) from None


def print_json(value: object) -> None:
    """JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
