"""``lsrl golden``: a case by which a kernel in any language can be judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler.compiling import TARGET_NAMES, check_target, compile_program
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.library import LIBRARY
from compiler.real_gates import NativeGates
from reports.cli import native_options, options
from reports.files import beside
from reports.text import plain
from stability.golden import SPECIAL, GoldenCase, golden_case, judge_of, save_case, special_case
from stability.golden.case import window_for
from stability.reference import UNCERTIFIED
from stability.subject import Subject

DEFAULT_LENGTH = 256
SELF_CHECK = 2
"""Prompts on which the model is held to its program: a case must not judge by a wrong model."""
DEFAULT_TARGET = "lstm"


def golden_command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="CASE.npz", help="the file to write")],
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE_OR_NAME]", help="a .lsrl file or a program of the library"),
    ] = None,
    case: Annotated[
        str | None,
        typer.Option("--case", help=f"in place of a program, a known fault: {' | '.join(SPECIAL)}"),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help=f"architecture: {' | '.join(TARGET_NAMES)} (default: {DEFAULT_TARGET}, or the case's)",
        ),
    ] = None,
    length: Annotated[int, typer.Option("--length", min=1, help="tokens of the prompt")] = DEFAULT_LENGTH,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of the prompt")] = 0,
    param: options.Parameters = None,
    config: options.Config = "stable",
    conditional: options.ConditionalOption = None,
    step: options.StepOption = None,
    complement: options.ComplementOption = None,
    mu: options.Mu = None,
    lam: options.Lam = None,
    reduce: options.Reduce = False,
    activation: native_options.ActivationOption = "relu",
    gate_format: native_options.GateFormat = None,
    gate_length: Annotated[
        int | None, typer.Option("--gate-length", help="native: the longest prompt (default: --length)")
    ] = None,
    epsilon: native_options.Epsilon = None,
    gate_gain: native_options.GateGain = None,
    as_json: options.Json = False,
) -> None:
    """Write weights, a prompt and the true outputs of a model, with a README inside."""
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    if target is not None:
        check_target(target)
    native = native_options.native_gates(
        [target or DEFAULT_TARGET], activation, number_format=gate_format, epsilon=epsilon, gain=gate_gain,
        length=length if gate_length is None and activation == "native" else gate_length,
    )  # fmt: skip
    if (source is None) == (case is None):
        raise ConfigError.single(
            "name a program or a --case, one of both", hint="lsrl golden majority -o CASE.npz"
        )
    options.writable_file(output)
    if case is not None:
        if native is not None:
            raise ConfigError.single("a --case has ReLU for its gates", hint="name a program")
        given = options.parameters_of(param)
        made = special_case(case, length=length, seed=seed, target=target, config=settings, parameters=given)
    else:
        assert source is not None
        chosen = target or DEFAULT_TARGET
        made = _of_program(source, param, chosen, settings, native, length=length, seed=seed)
    _write(made, output)
    _report(made, output, as_json=as_json)


def _of_program(
    source: str,
    param: list[str] | None,
    target: str,
    settings: CompileConfig,
    native: NativeGates | None,
    *,
    length: int,
    seed: int,
) -> GoldenCase:
    program = options.load_source(source, param)
    what = Subject(
        name=program.name,
        source=program,
        parameters=dict(program.parameters),
        entry=LIBRARY.get(source),
    )
    window = window_for(target, length)
    model = compile_program(program, target, settings, window=window, check=SELF_CHECK, native=native)
    return golden_case(model, what.prompt(seed, length), judge=judge_of(what), seed=seed)


def _write(made: GoldenCase, output: Path) -> None:
    partial = beside(output)
    try:
        with partial.open("wb") as stream:
            save_case(made, stream)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _report(made: GoldenCase, output: Path, *, as_json: bool) -> None:
    manifest = made.manifest
    keys = ("program", "case", "target", "settings", "seed", "length", "output_dim", "rung", "states_rung")
    summary = {key: manifest[key] for key in keys}
    if as_json:
        options.print_json(
            summary
            | {
                "layers": len(manifest["layers"]),
                "trajectories": manifest["trajectories"],
                "rounded": manifest["rounded"],
                "hash": manifest["model_hash"],
                "file": str(output),
            }
        )
        return
    typer.echo(f"{plain(manifest['program'])} as {manifest['target']}, {manifest['length']:,} tokens")
    typer.echo(f"reference {manifest['rung']}, states {manifest['states_rung']}")
    for name, meaning in manifest["trajectories"].items():
        typer.echo(f"  {name}: {meaning}")
    if UNCERTIFIED in {manifest["rung"], manifest["states_rung"]}:
        typer.echo("warning: no two precisions agreed; what is uncertified is no judge", err=True)
    typer.echo(f"{plain(output)}  (its README: unzip -p FILE README.npy)")
