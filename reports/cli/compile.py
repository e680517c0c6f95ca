"""``lsrl compile``: a program as the weights of an architecture, in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from compiler.compiling import build_native, check_target, compile_program, settle
from compiler.errors import ConfigError
from compiler.export import DTYPES, onnx_file, torch_file
from compiler.lowering import lower
from compiler.model import Model
from compiler.model_file import save_model
from compiler.real_gates.report import describe
from reports.cli import native_options, options
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
    window: options.Window = None,
    activation: native_options.ActivationOption = "relu",
    gate_format: native_options.GateFormat = None,
    gate_length: native_options.GateLength = None,
    epsilon: native_options.Epsilon = None,
    gate_gain: native_options.GateGain = None,
    restore: native_options.Restore = None,
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
    torch_stacked: Annotated[
        Path | None,
        typer.Option("--torch-stacked", metavar="FILE", help="native: the same as one module of all layers"),
    ] = None,
    export_format: Annotated[
        str | None,
        typer.Option(
            "--export-format",
            help=f"weights of these files: {' | '.join(DTYPES)} (default: --gate-format, or float32)",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compile a program exactly and save the model; --onnx and --torch write rounded copies."""
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    check_target(target)
    native = native_options.native_gates(
        [target], activation, number_format=gate_format, length=gate_length, epsilon=epsilon, gain=gate_gain,
        restore=restore,
    )  # fmt: skip
    places = [place for place in (output, onnx, torch, torch_stacked) if place is not None]
    for place in places:
        options.writable_file(place)
    if len({place.resolve() for place in places}) < len(places):
        raise ConfigError.single("two of the files to write are the same", hint="give each its own name")
    program = options.load_source(source, param)
    start = time.perf_counter()
    model = compile_program(program, target, settings, window=window, check=check, native=native)
    seconds = time.perf_counter() - start
    dtype = export_format or (native.format.name if native and native.format.name in DTYPES else "float32")
    exports = _exports(model, dtype, onnx=onnx, torch=torch, stacked=torch_stacked)
    gates = describe(build_native(lower(program, settle(settings, target)), target, native)) if native else []
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
                "gates": gates,
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
    for line in gates:
        typer.echo(plain(line))
    for warning in model.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
    typer.echo(f"{plain(output)}  sha256 {digest}")
    for place in exports:
        typer.echo(f"{plain(place)}  weights rounded to {dtype}")


def _exports(
    model: Model, dtype: str, *, onnx: Path | None, torch: Path | None, stacked: Path | None
) -> dict[Path, bytes]:
    """The files besides the model's own; made before any is written, since one may be refused."""
    made: dict[Path, bytes] = {}
    if onnx is not None:
        made[onnx] = onnx_file(model, dtype)
    if torch is not None:
        made[torch] = torch_file(model, dtype)
    if stacked is not None:
        made[stacked] = torch_file(model, dtype, stacked=True)
    return made


def _settings(settings: dict[str, str]) -> str:
    return ", ".join(
        f"{plain(name.removeprefix('param '))}={plain(value)}" for name, value in settings.items()
    )
