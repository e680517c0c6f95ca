"""``lsrl compile``: a program as the weights of an architecture, in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from compiler.compiling import check_target, compile_program
from compiler.errors import ConfigError
from compiler.export import DTYPES, onnx_file, torch_file
from compiler.model import Model
from compiler.model_file import save_model
from reports.cli import options
from reports.files import beside
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
    reduce: options.Reduce = False,
    window: Annotated[
        int | None, typer.Option("--window", help="hawk, griffin: the longest prompt (default: 4096 tokens)")
    ] = None,
    check: Annotated[
        int, typer.Option("--check", min=0, help="hold each step to the one before on so many random prompts")
    ] = 0,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", metavar="FILE", help="also write an ONNX graph (needs onnx)")
    ] = None,
    torch: Annotated[
        Path | None,
        typer.Option("--torch", metavar="FILE", help="also write PyTorch weights, as safetensors"),
    ] = None,
    export_format: Annotated[
        str, typer.Option("--export-format", help=f"weights of --onnx and --torch: {' | '.join(DTYPES)}")
    ] = "float32",
    as_json: options.Json = False,
) -> None:
    """Compile a program exactly and save the model; --onnx and --torch write rounded copies."""
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    check_target(target)
    places = [place for place in (output, onnx, torch) if place is not None]
    for place in places:
        options.writable_file(place)
    if len({place.resolve() for place in places}) < len(places):
        raise ConfigError.single("two of the files to write are the same", hint="give each its own name")
    program = options.load_source(source, param)
    start = time.perf_counter()
    model = compile_program(program, target, settings, window=window, check=check)
    seconds = time.perf_counter() - start
    exports = _exports(model, onnx, torch, export_format)
    digest = save_model(model, output)
    for place, content in exports.items():
        partial = beside(place)
        partial.write_bytes(content)
        partial.replace(place)
    units = sum(layer.size for layer in model.layers)
    if as_json:
        options.print_json(
            {
                "program": model.name,
                "target": model.target,
                "settings": dict(model.settings),
                "window": model.window,
                "layers": len(model.layers),
                "units": units,
                "nonzeros": model.nonzeros,
                "warnings": list(model.warnings),
                "hash": digest,
                "seconds": round(seconds, 4),
                "file": str(output),
                "exports": [str(place) for place in exports],
            }
        )
        return
    typer.echo(f"{plain(model.name)} as {model.target}: {_settings(dict(model.settings))}")
    typer.echo(
        f"{len(model.layers):,} layers, {units:,} units, {model.nonzeros:,} non-zeros, {seconds:.2f} s"
    )
    if model.window is not None:
        typer.echo(f"finite window: prompts of up to {model.window:,} tokens")
    for warning in model.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
    typer.echo(f"{plain(output)}  sha256 {digest}")
    for place in exports:
        typer.echo(f"{plain(place)}  weights rounded to {export_format}")


def _exports(model: Model, onnx: Path | None, torch: Path | None, dtype: str) -> dict[Path, bytes]:
    """The files besides the model's own; made before any is written, since one may be refused."""
    made: dict[Path, bytes] = {}
    if onnx is not None:
        made[onnx] = onnx_file(model, dtype)
    if torch is not None:
        made[torch] = torch_file(model, dtype)
    return made


def _settings(settings: dict[str, str]) -> str:
    return ", ".join(
        f"{plain(name.removeprefix('param '))}={plain(value)}" for name, value in settings.items()
    )
