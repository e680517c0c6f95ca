"""``lsrl run``: the outputs of a model over a prompt, in constant memory."""

from __future__ import annotations

import contextlib
import itertools
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import numpy.typing as npt
import typer
from gmpy2 import mpq
from mpmath.libmp import repr_dps, to_str

from compiler.compiling import TARGET_NAMES, check_target, compile_program
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.model import Model
from compiler.real_gates import NativeGates
from reports.cli import native_options, options
from reports.cli.token_files import TokenFile
from reports.files import beside
from reports.text import plain
from stability.engines.base import Status
from stability.engines.registry import ENGINES, check_engine
from stability.formats import AnyFormat, Format
from stability.policy import AnyPolicy, output_format, parse_policy
from stability.running import Execution, stream

DEFAULT_TARGET = "lstm"


def run_command(
    source: Annotated[
        str, typer.Argument(metavar="FILE_OR_NAME_OR_MODEL", help="a program, or a file of lsrl compile")
    ],
    tokens: Annotated[
        str,
        typer.Option(
            "--tokens",
            metavar="FILE.csv|FILE.npy|-",
            help="the prompt: one row per token; - reads CSV from standard input",
        ),
    ],
    number_format: Annotated[
        str, typer.Option("--format", "--policy", help="float16, float32, float16-acc32, mpmath50, …")
    ] = "float32",
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help=f"architectures (repeatable): {' | '.join(TARGET_NAMES)}"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="CSV file to write (default: standard output)")
    ] = None,
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
    gate_length: native_options.GateLength = None,
    epsilon: native_options.Epsilon = None,
    gate_gain: native_options.GateGain = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help=f"who executes: {' | '.join(ENGINES)} (default: by format)"),
    ] = None,
) -> None:
    """Run a program or a saved model over a prompt and write one row of outputs per step.

    With more than one --target the rows are step,target,y0,…
    """
    fmt = parse_policy(number_format)
    if engine is not None:
        check_engine(engine)
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    native = native_options.native_gates(
        target or [DEFAULT_TARGET],
        activation,
        number_format=number_format if activation != native_options.RELU else None,
        length=gate_length,
        epsilon=epsilon,
        gain=gate_gain,
    )
    models = _models(source, target, param, settings, window, native)
    place = None if output is None else options.writable_file(output)
    prompt = options.token_file(tokens, models[0].input_dim)
    with _writing(place) as sink:
        reports = _run(models, prompt, fmt, sink, engine)
    for line in reports:
        typer.echo(line, err=True)


def _models(
    source: str,
    targets: Sequence[str] | None,
    param: Sequence[str] | None,
    settings: CompileConfig,
    window: int | None,
    native: NativeGates | None,
) -> list[Model]:
    saved = options.saved_model(source, targets, param, settings, window=window)
    if saved is not None:
        if native is not None:
            raise ConfigError.single(
                f"{source} is a compiled model: its gates are settled", hint="leave out --activation"
            )
        return [saved]
    chosen = [check_target(name) for name in dict.fromkeys(targets or (DEFAULT_TARGET,))]
    windows = options.windows_of(chosen, window)
    program = options.load_source(source, param)
    return [
        compile_program(program, name, settings, window=own, native=native)
        for name, own in zip(chosen, windows, strict=True)
    ]


@contextlib.contextmanager
def _writing(place: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under its name only when it is complete."""
    if place is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    if place.exists() and not stat.S_ISREG(place.stat().st_mode):  # a pipe or a device cannot be renamed to
        with place.open("w", encoding="utf-8") as sink:
            yield sink
        return
    partial = beside(place)
    try:
        with partial.open("w", encoding="utf-8", newline="") as sink:
            yield sink
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _run(
    models: Sequence[Model], prompt: TokenFile, fmt: AnyPolicy, sink: TextIO, engine: str | None
) -> list[str]:
    """Write all rows; return what is to be told about statuses and weights.

    The first rows are computed before anything is written: what is wrong at the start of a
    prompt leaves no half of an answer behind.
    """
    copies = itertools.tee(prompt.blocks(), len(models))
    sessions = [
        stream(model, blocks, fmt, engine=engine) for model, blocks in zip(models, copies, strict=True)
    ]
    several = len(models) > 1
    computed = zip(*sessions, strict=True)
    begun = list(itertools.islice(computed, 1))
    head = ["step", *(["target"] if several else []), *(f"y{i}" for i in range(models[0].output_dim))]
    sink.write(",".join(head) + "\n")
    watches = [_Watch(model.target, fmt.name) for model in models]
    shown = _printer(output_format(fmt))
    start = 0
    for pieces in itertools.chain(begun, computed):
        columns = [_rows(piece.outputs, shown) for piece in pieces]
        for watch, piece in zip(watches, pieces, strict=True):
            watch.see(piece, start)
        length = len(columns[0])
        if several:
            names = [model.target for model in models]
            lines = [
                f"{start + i},{name},{rows[i]}\n"
                for i in range(length)
                for name, rows in zip(names, columns, strict=True)
            ]
        else:
            lines = [f"{start + i},{row}\n" for i, row in enumerate(columns[0])]
        sink.write("".join(lines))
        start += length
    return [line for watch in watches for line in watch.lines(several=several)]


def _rows(outputs: npt.NDArray[Any], shown: Callable[[Any], str]) -> list[str]:
    if outputs.dtype != object:
        outputs = outputs.astype(np.float64)  # widening is exact
    return [",".join(map(shown, row)) for row in outputs.tolist()]


def _printer(fmt: AnyFormat) -> Callable[[Any], str]:
    """How a value is written so that reading it gives it back."""
    if isinstance(fmt, Format):
        return repr
    digits = repr_dps(fmt.precision)
    return lambda value: str(value) if isinstance(value, mpq) else str(to_str(value._mpf_, digits))


class _Watch:
    """Notes the first step of each bad status of one model."""

    def __init__(self, target: str, format_name: str) -> None:
        self.target = target
        self.format_name = format_name
        self.first: dict[Status, int] = {}
        self.overflows = 0

    def see(self, piece: Execution, start: int) -> None:
        self.overflows = len(piece.weight_overflow)
        for status in (Status.OVERFLOW, Status.NAN):
            steps = np.flatnonzero(piece.status == status)
            if len(steps) and status not in self.first:
                self.first[status] = start + int(steps[0])

    def lines(self, *, several: bool) -> list[str]:
        who = f"{plain(self.target)}: " if several else ""
        told = []
        if self.overflows:
            told.append(
                f"warning: {who}{self.overflows} constants of the model are infinite in {self.format_name}"
            )
        for status, step in self.first.items():
            what = "a value overflowed" if status is Status.OVERFLOW else "a value is not a number (nan)"
            told.append(
                f"warning: {who}{what} at step {step} in {self.format_name}; later steps cannot be trusted"
            )
        return told
