"""``lsrl verify``: engines held to the exact values of a model on random prompts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from compiler.compiling import TARGET_NAMES, check_target, compile_program
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.model import Model
from compiler.real_gates import NativeGates
from reports.cli import native_options, options
from reports.cli.terminal import console_of
from reports.text import plain
from stability.engines.registry import ENGINES
from stability.formats import SCORED, parse_format
from stability.golden.case import window_for
from stability.subject import subject
from stability.verify import Exact, Promise, Verification, every_unit, model_prompts, promise

DEFAULT_TARGET = "lstm"
DIFFERS, UNDECIDED = 1, 3
SELF_CHECK = 2
"""Prompts on which a model is held to its program before engines are held to the model."""
LONGEST, MOST_PROMPTS = 1_000_000, 10_000
JUDGED = tuple(name for name in ENGINES if name != "mpmath")
PACKAGES = {"native": (), "onnxruntime": ("onnx", "onnxruntime"), "torch": ("torch",)}
"""The engines that are compared by default, where these packages are installed."""


def verify_command(
    source: Annotated[
        str, typer.Argument(metavar="MODEL_OR_PROGRAM", help="a file of lsrl compile, or a program")
    ],
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            help=f"{' | '.join(JUDGED)} (repeatable; default: {', '.join(PACKAGES)}, where installed)",
        ),
    ] = None,
    number_format: Annotated[str, typer.Option("--format", help=" | ".join(SCORED))] = "float32",
    length: Annotated[int, typer.Option("--length", help="tokens per prompt")] = 200,
    prompts: Annotated[int, typer.Option("--prompts", help="how many prompts")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="seed of the first prompt; the next has the next")] = 0,
    units: Annotated[
        bool, typer.Option("--units", help="compare every unit of every layer, not only the outputs")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help=f"architecture: {' | '.join(TARGET_NAMES)} (default: {DEFAULT_TARGET})"
        ),
    ] = None,
    param: options.Parameters = None,
    config: options.Config = "stable",
    conditional: options.ConditionalOption = None,
    step: options.StepOption = None,
    complement: options.ComplementOption = None,
    mu: options.Mu = None,
    lam: options.Lam = None,
    reduce: options.Reduce = False,
    window: Annotated[
        int | None, typer.Option("--window", help="hawk, griffin: the longest prompt (default: --length)")
    ] = None,
    activation: native_options.ActivationOption = "relu",
    gate_length: Annotated[
        int | None, typer.Option("--gate-length", help="native: the longest prompt (default: --length)")
    ] = None,
    epsilon: native_options.Epsilon = None,
    gate_gain: native_options.GateGain = None,
    restore: native_options.Restore = None,
    as_json: options.Json = False,
) -> None:
    """Run random prompts through engines and compare with exact values and a derived bound.

    With --activation native these are the exact values of the program and the bound of the gates.

    Exit status: 0 every difference is within its bound, 1 one is not, 3 none is beyond its
    bound, but not all have one (a value may overflow), 2 a mistake of yours.
    """
    fmt = parse_format(number_format)
    _check(engine, length, prompts, seed)
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    native = native_options.native_gates(
        [target or DEFAULT_TARGET], activation,
        length=length if gate_length is None and activation == "native" else gate_length,
        number_format=fmt.name if activation == "native" else None, epsilon=epsilon, gain=gate_gain,
        restore=restore,
    )  # fmt: skip
    saved = options.saved_model(source, target, param, settings, window=window)
    if saved is not None:
        model, kept = saved, None
        tokens = model_prompts(model, prompts=prompts, length=length, seed=seed)
    else:
        seeds = [seed + k for k in range(prompts)]
        model, tokens, kept = _compiled(source, target, param, settings, seeds, length, window, native)
    if units and model.activation == "native":
        raise ConfigError.single("--units of real gates have no exact values", hint="leave out --units")
    exact = Exact(every_unit(model) if units else model, tokens, kept)
    found: list[Verification] = []
    skipped: dict[str, str] = {}
    for name in dict.fromkeys(engine or _installed()):
        try:
            found.append(exact.compare(fmt, name))
        except ConfigError as problem:
            if engine or name == "native":
                raise
            skipped[name] = str(problem)
    _print(model, tokens, found, skipped, units=units, as_json=as_json)
    verdicts = {each.verdict for each in found}
    if "differs" in verdicts:
        raise typer.Exit(DIFFERS)
    if "undecided" in verdicts:
        raise typer.Exit(UNDECIDED)


def _check(engines: Sequence[str] | None, length: int, prompts: int, seed: int) -> None:
    for name in engines or ():
        if name not in JUDGED:
            raise ConfigError.single(f"no engine {name!r} to verify", hint="one of " + ", ".join(JUDGED))
    if not 1 <= length <= LONGEST:
        raise ConfigError.single(f"--length {length}", hint=f"from 1 to {LONGEST:,} tokens")
    if not 1 <= prompts <= MOST_PROMPTS:
        raise ConfigError.single(f"--prompts {prompts}", hint=f"from 1 to {MOST_PROMPTS:,}")
    if seed < 0:
        raise ConfigError.single("a negative --seed", hint="0 or more")


def _installed() -> list[str]:
    return [name for name, packages in PACKAGES.items() if all(find_spec(each) for each in packages)]


def _compiled(
    source: str,
    target: str | None,
    param: Sequence[str] | None,
    settings: CompileConfig,
    seeds: Sequence[int],
    length: int,
    window: int | None,
    native: NativeGates | None,
) -> tuple[Model, npt.NDArray[Any], Promise | None]:
    chosen = check_target(target or DEFAULT_TARGET)
    program = options.load_source(source, param)
    own = window_for(chosen, length) if window is None else window
    model = compile_program(program, chosen, settings, window=own, check=SELF_CHECK, native=native)
    kept = promise(program, chosen, native, settings) if native else None
    parameters = {name: str(value) for name, value in program.parameters}
    what = subject(source, parameters)
    return model, np.stack([what.prompt(seed, length) for seed in seeds]), kept


def _print(
    model: Model,
    tokens: npt.NDArray[Any],
    found: Sequence[Verification],
    skipped: dict[str, str],
    *,
    units: bool,
    as_json: bool,
) -> None:
    prompts, length = tokens.shape[:2]
    names = _units(model) if units else [f"output {k}" for k in range(model.output_dim)]
    if as_json:
        options.print_json(
            {
                "program": model.name,
                "target": model.target,
                "settings": dict(model.settings),
                "prompts": prompts,
                "length": length,
                "reference": found[0].reference,
                "engines": [_record(each, names) for each in found],
                "skipped": skipped,
            }
        )
        return
    typer.echo(
        f"{plain(model.name)} as {plain(model.target)}: {prompts} prompts of {length:,} tokens, "
        f"exact values from {found[0].reference}"
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("engine", "format", "largest difference", "its bound", "verdict"):
        table.add_column(heading, justify="right" if "di" in heading or "bound" in heading else "left")
    for each in found:
        table.add_row(each.engine, each.format, _shown(each.difference), _shown(each.bound), each.verdict)
    console_of(sys.stdout).print(table)
    for each in found:
        for line in _remarks(each, names):
            typer.echo(line)
    for name, reason in skipped.items():
        typer.echo(f"{name} was left out: {plain(reason)}")


def _units(model: Model) -> list[str]:
    return [f"layer {k} unit {u}" for k, layer in enumerate(model.layers) for u in range(layer.size)]


def _remarks(each: Verification, names: Sequence[str]) -> list[str]:
    lines = []
    if each.verdict == "differs":
        where = each.place
        lines.append(
            f"{each.engine}: beyond the bound at prompt {where.prompt}, step {where.step}, "
            f"{names[where.output]}: this is more than rounding"
        )
    if each.overflows:
        lines.append(f"{each.engine}: {each.overflows} constants of the model are infinite in {each.format}")
    if each.unbounded:
        lines.append(
            f"{each.engine}: no bound for {each.unbounded:,} of {each.values:,} values: "
            f"rounding errors may grow until a value overflows in {each.format}"
        )
    return lines


def _shown(value: float) -> str:
    return "0" if value == 0 else f"{value:.2e}"


def _record(each: Verification, names: Sequence[str]) -> dict[str, Any]:
    """JSON has no infinity: null stands for it."""

    def finite(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "engine": each.engine,
        "format": each.format,
        "difference": finite(each.difference),
        "bound": finite(each.bound),
        "prompt": each.place.prompt,
        "step": each.place.step,
        "place": names[each.place.output],
        "share": finite(each.share),
        "values": each.values,
        "unbounded": each.unbounded,
        "overflows": each.overflows,
        "verdict": each.verdict,
    }
