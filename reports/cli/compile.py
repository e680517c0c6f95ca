"""``lsrl compile``: a program as the weights of an architecture, in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from compiler.compiling import check_target, compile_program
from compiler.model_file import save_model
from reports.cli import options
from reports.text import plain


def compile_command(
    source: options.Source,
    output: Annotated[Path, typer.Option("-o", "--output", help="the model file to write")],
    target: options.TargetOption = "lstm",
    param: options.Parameters = None,
    config: options.Config = "stable",
    conditional: options.ConditionalOption = None,
    step: options.StepOption = None,
    complement: options.ComplementOption = None,
    mu: options.Mu = None,
    lam: options.Lam = None,
    as_json: options.Json = False,
) -> None:
    """Compile a program exactly and save the model."""
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam
    )
    check_target(target)
    options.writable_file(output)
    program = options.load_source(source, param)
    start = time.perf_counter()
    model = compile_program(program, target, settings)
    seconds = time.perf_counter() - start
    digest = save_model(model, output)
    units = sum(layer.size for layer in model.layers)
    if as_json:
        options.print_json(
            {
                "program": model.name,
                "target": model.target,
                "settings": dict(model.settings),
                "layers": len(model.layers),
                "units": units,
                "nonzeros": model.nonzeros,
                "warnings": list(model.warnings),
                "hash": digest,
                "seconds": round(seconds, 4),
                "file": str(output),
            }
        )
        return
    typer.echo(f"{plain(model.name)} as {model.target}: {_settings(dict(model.settings))}")
    typer.echo(
        f"{len(model.layers):,} layers, {units:,} units, {model.nonzeros:,} non-zeros, {seconds:.2f} s"
    )
    for warning in model.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
    typer.echo(f"{plain(output)}  sha256 {digest}")


def _settings(settings: dict[str, str]) -> str:
    return ", ".join(
        f"{plain(name.removeprefix('param '))}={plain(value)}" for name, value in settings.items()
    )
