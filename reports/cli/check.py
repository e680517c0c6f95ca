"""``lsrl check``: what will go wrong before anything runs, and whether declarations are true."""

from __future__ import annotations

from typing import Annotated

import typer

from compiler.compiling import check_target, settle
from reports.cli import options
from reports.text import plain
from stability.checks import check
from stability.range_check import find_violation

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
    """Print static findings with their remedies; with --tokens, verify ranges and types on a prompt.

    Exit status: 1 where --tokens found a value that is not what it was taken for, 2 a mistake of yours.
    """
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    check_target(target)
    program = options.load_source(source, param)
    findings = check(program, settings, format=number_format, length=length, target=target)
    for finding in findings:
        typer.echo(f"{finding.kind}: {plain(finding.diagnostic)}")
    if not findings:
        typer.echo(f"nothing found for {number_format} and {length:,} tokens")
    if tokens is not None:
        prompt = options.token_file(tokens, program.input_dim)
        violation = find_violation(program, prompt.blocks(), settle(settings, target))
        if violation is not None:
            typer.echo(f"violated: {plain(violation.diagnostic)}")
            raise typer.Exit(VIOLATED)
        typer.echo("every value lies in its range, every state is of its kind")
