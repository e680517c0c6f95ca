"""``lsrl check``: what will go wrong before anything runs, and whether declarations are true."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from compiler import ir
from compiler.compiling import check_target, settle
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.lowering import lower
from reports.cli import options
from reports.cli.terminal import console_of
from reports.margins import print_margins
from reports.text import plain
from stability.checks import check
from stability.formats import AnyFormat
from stability.margins import coarsest, margin_table, margins
from stability.policy import parse_policy
from stability.range_check import find_violation
from stability.state_truth import state_truth

VIOLATED = 1


def check_command(
    source: options.Source,
    number_format: Annotated[
        str, typer.Option("--format", "--policy", help="the format to check against")
    ] = "float32",
    length: Annotated[int, typer.Option("--length", min=1, help="tokens of the longest prompt")] = 4000,
    tokens: Annotated[
        str | None,
        typer.Option(
            "--tokens",
            metavar="FILE.csv|FILE.npy|-",
            help="also run this prompt and hold every value to its range and type, every state to its kind",
        ),
    ] = None,
    margin: Annotated[
        bool,
        typer.Option(
            "--margins", help="with --tokens: how near every comparison comes to deciding otherwise, and when"
        ),
    ] = False,
    target: options.TargetOption = "lstm",
    param: options.Parameters = None,
    config: options.Config = "stable",
    conditional: options.ConditionalOption = None,
    step: options.StepOption = None,
    complement: options.ComplementOption = None,
    mu: options.Mu = None,
    lam: options.Lam = None,
    reduce: options.Reduce = False,
) -> None:
    """Print static findings with their remedies; with --tokens, verify ranges, types and margins on a prompt.

    Exit status: 1 where --tokens found a value that is not what it was taken for, 2 a mistake of yours.
    """
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    check_target(target)
    ulps = coarsest(parse_policy(number_format)) if margin else None
    if margin and tokens is None:
        raise ConfigError.single("--margins without a prompt", hint="name one with --tokens FILE")
    program = options.load_source(source, param)
    findings = check(program, settings, format=number_format, length=length, target=target)
    for finding in findings:
        typer.echo(f"{finding.kind}: {plain(finding.diagnostic)}")
    if not findings:
        typer.echo(f"nothing found for {number_format} and {length:,} tokens")
    if tokens is not None:
        prompt = options.token_file(tokens, program.input_dim).blocks()
        blocks = prompt if ulps is None else list(prompt)
        settled = settle(settings, target)
        violation = find_violation(program, blocks, settled)
        if violation is not None:
            typer.echo(f"violated: {plain(violation.diagnostic)}")
            raise typer.Exit(VIOLATED)
        typer.echo("every value lies in its range, every state is of its kind")
        if ulps is not None:
            _tell_margins(program, settled, np.concatenate([*blocks]), ulps)


def _tell_margins(
    program: ir.Program, settings: CompileConfig, tokens: npt.NDArray[Any], ulps: AnyFormat
) -> None:
    lowered = lower(program, settings)
    truth = state_truth(lowered, tokens)
    table = margin_table(margins(lowered, truth, ulps, steps=truth.steps))
    print_margins(console_of(sys.stdout), table, ulps.name)
