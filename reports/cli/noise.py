"""``lsrl noise``: how long models stay right with noise on their weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from compiler import ir
from compiler.compiling import TARGET_NAMES, TARGETS, check_target, compile_program
from compiler.config import CompileConfig
from compiler.errors import CompileRefusal, ConfigError
from compiler.model import Model
from compiler.real_gates import CELLS, NativeGates
from reports.cli import options
from reports.cli.drift import progress_on
from reports.cli.native_options import ACTIVATIONS, NATIVE, RELU, check_activation
from reports.cli.terminal import console_of
from reports.noise_report import CHARTS, TABLES, print_noise, write_noise
from reports.text import plain
from stability.engines.registry import ENGINES
from stability.noise import DEFAULT_LENGTH, DEFAULT_SIGMAS, STATES
from stability.noise import noise as measure
from stability.noise_weights import DEFAULT_PARTS, PARTS, check_noise
from stability.policy import parse_policy
from stability.real_gates import gates_for
from stability.subject import subject

DEFAULT_TARGETS = ("linear_rnn", "relu_rnn", "gated_linear_rnn", "lstm", "gru")
SELF_CHECK = 1
"""Prompts on which a model is held to its program first: a compiler's bug is no effect of noise."""
LONGEST, MOST_SEEDS, MOST_SIGMAS = 10_000_000, 10_000, 100
STEM = "noise"
USUAL_SIGMAS = ",".join(map(str, DEFAULT_SIGMAS))
USUAL_PARTS = ",".join(DEFAULT_PARTS)


def noise_command(
    source: options.Source,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help=f"architectures (repeatable): {' | '.join(TARGET_NAMES)} "
            f"(default: those of {', '.join(DEFAULT_TARGETS)} that take the program)",
        ),
    ] = None,
    sigma: Annotated[
        str, typer.Option("--sigma", metavar="S,S,…", help="sizes of the noise; 0 is measured as well")
    ] = USUAL_SIGMAS,
    kind: Annotated[str, typer.Option("--kind", help="relative: w(1 + σz); absolute: w + σz")] = "relative",
    include: Annotated[
        str, typer.Option("--include", metavar="P,P", help=f"the weights that get it: {', '.join(PARTS)}")
    ] = USUAL_PARTS,
    states: Annotated[
        str,
        typer.Option(
            "--states", help="free: the model runs on; clean: before each step, states without noise"
        ),
    ] = "free",
    number_format: Annotated[
        str, typer.Option("--format", "--policy", help="number format of the runs")
    ] = "float32",
    length: Annotated[int, typer.Option("--length", help="tokens per prompt")] = DEFAULT_LENGTH,
    seeds: Annotated[
        int, typer.Option("--seeds", help="how many runs of each; each has its prompt and its noise")
    ] = 5,
    activation: Annotated[
        list[str] | None,
        typer.Option(
            "--activation",
            help="gates of lstm and gru (repeatable): relu, as in the paper; native, real sigmoid and tanh "
            "(default: both)",
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
    engine: Annotated[
        str | None,
        typer.Option("--engine", help=f"who executes: {' | '.join(ENGINES)} (default: by format)"),
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="processes (default: one per core)")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR|FILE.csv|FILE.parquet",
            help="write every run and a chart: into a folder, or a table with an .svg beside it",
        ),
    ] = None,
) -> None:
    """Put Gaussian noise on the non-zero weights and count the tokens to the first wrong output."""
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    sigmas = _sigmas(sigma)
    parts = [part.strip() for part in include.split(",")]
    _check(kind, parts, sigmas, states, length, seeds, jobs)
    for name in target or ():
        check_target(name)
    given = {name: str(value) for name, value in options.parameters_of(param).items()}
    program = options.load_source(source, param)
    places = None if output is None else _places(output)
    chosen = [check_activation(name) for name in activation or ACTIVATIONS]
    gates = gates_for(parse_policy(number_format), length) if NATIVE in chosen else None
    models = _models(program, target, settings, length, gates, relu=RELU in chosen)
    with progress_on(console_of(sys.stderr)) as report:
        frame = measure(
            subject(source, given),
            models,
            sigmas=sigmas,
            kind=kind,
            include=parts,
            states=states,
            format=number_format,
            engine=engine,
            length=length,
            seeds=range(seeds),
            jobs=jobs,
            progress=report,
        )
    if (frame["error"] != "").all():
        raise ConfigError.single(str(frame["error"].iloc[0]))
    if places is not None:
        write_noise(frame, places)
    print_noise(console_of(sys.stdout), frame)
    for place in places or ():
        typer.echo(plain(place))


def _sigmas(text: str) -> list[float]:
    found = [0.0]
    for each in text.split(","):
        try:
            found.append(float(each))
        except ValueError:
            raise ConfigError.single(
                f"--sigma {each.strip()[:60]!r} is not a number", hint="write --sigma 1e-5,1e-4,1e-3"
            ) from None
    if len(found) > MOST_SIGMAS:
        raise ConfigError.single(f"{len(found)} sizes of noise", hint=f"{MOST_SIGMAS} at most")
    return list(dict.fromkeys(found))


def _check(
    kind: str,
    parts: Sequence[str],
    sigmas: Sequence[float],
    states: str,
    length: int,
    seeds: int,
    jobs: int | None,
) -> None:
    """Refuse what is wrong before any folder is made or any time is spent."""
    for sigma in sigmas:
        check_noise(sigma, kind, parts)
    if states not in STATES:
        raise ConfigError.single(f"unknown --states {states!r}", hint="one of " + ", ".join(STATES))
    if not 1 <= length <= LONGEST:
        raise ConfigError.single(f"--length {length}", hint=f"from 1 to {LONGEST:,} tokens")
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError.single(f"--seeds {seeds}", hint=f"from 1 to {MOST_SEEDS:,}")
    if jobs is not None and jobs < 1:
        raise ConfigError.single(f"--jobs {jobs}", hint="1 or more")


def _models(
    program: ir.Program,
    targets: Sequence[str] | None,
    settings: CompileConfig,
    length: int,
    gates: NativeGates | None,
    *,
    relu: bool,
) -> list[Model]:
    """Named targets have to take the program; of the usual ones, those that do."""
    models = []
    for name in dict.fromkeys(targets or DEFAULT_TARGETS):
        window = length if name in TARGETS and TARGETS[name].windowed else None
        kinds: list[NativeGates | None] = [None] if relu or name not in CELLS else []
        if gates is not None and name in CELLS:
            kinds.append(gates)
        for native in kinds:
            try:
                models.append(
                    compile_program(program, name, settings, window=window, check=SELF_CHECK, native=native)
                )
            except CompileRefusal as refusal:
                if targets and (native is None or not relu):
                    raise
                what = name if native is None else f"{name} with real gates"
                typer.echo(f"{what} was left out: {plain(refusal)}", err=True)
    if not models:
        raise ConfigError.single(
            "none of the usual targets takes this program", hint="name one with --target"
        )
    return models


def _places(output: Path) -> list[Path]:
    """The files to write: one table and a chart beside it, or a folder with every kind."""
    if output.suffix.lower() in TABLES:
        return [options.writable_file(place) for place in (output, output.with_suffix(".svg"))]
    if output.suffix and not output.is_dir():
        raise ConfigError.single(
            f"-o {output}: no table is written as {output.suffix}",
            hint="a folder, or a file that ends in " + " or ".join(TABLES),
        )
    folder = options.writable_folder(output)
    return [folder / f"{STEM}{suffix}" for suffix in (*TABLES, *CHARTS)]
