"""``lsrl score``: judge the outputs of a kernel against a golden case."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reports.cli import options
from reports.text import plain
from stability.formats import SCORED
from stability.golden import Score, read_case, read_outputs, score
from stability.golden.reading import StoredCase
from stability.golden.scoring import scored_format

FAILED = 1


def score_command(
    case: Annotated[Path, typer.Argument(metavar="CASE.npz", help="a file of lsrl golden")],
    outputs: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.npy", help="the kernel's outputs, (T, out): floats, or bfloat16 bits as uint16"
        ),
    ],
    number_format: Annotated[
        str, typer.Option("--format", help=f"the format under test: {' | '.join(SCORED)}")
    ],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME", help="a trajectory of the case (default: by format)"),
    ] = None,
    min_bits: Annotated[
        float | None,
        typer.Option(
            "--min-bits", help="significant bits that must be left at every step (default: by case)"
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print the bits left, the horizon and the verdict; exit 0 if it passes, 1 if it fails."""
    fmt = scored_format(number_format)
    stored = read_case(case)
    found = score(stored, read_outputs(outputs, stored, fmt), fmt, against=against, min_bits=min_bits)
    if as_json:
        options.print_json(asdict(found) | {"passed": found.passed, "case": stored.title})
    else:
        for line in _lines(stored, found, fmt.precision):
            typer.echo(plain(line))
    if not found.passed:
        raise typer.Exit(FAILED)


def _lines(case: StoredCase, found: Score, precision: int) -> list[str]:
    at_rung = f" ({case.rung})" if found.against == "reference" else ""
    horizon = f"> {case.length:,}" if found.horizon is None else f"{found.horizon:,}"
    status = "ok" if found.bad is None else f"{found.bad} from step {found.first_bad}"
    middle = f"{found.median_bits:.1f} median, {found.final_bits:.1f} at the end"
    lines = [
        f"{case.title}, {case.length:,} tokens, as {found.format} against {found.against}{at_rung}",
        f"bits left of {precision}: {found.worst_bits:.1f} at worst (step {found.worst_step}), {middle}",
        f"horizon {horizon} (wrong from {case.wrong_from}), status {status}",
    ]
    if len(found.others) > 1:
        told = ", ".join(f"{name} {bits:.1f}" for name, bits in found.others.items())
        lines.append(f"bits at worst against each trajectory: {told}")
    if found.unrounded is not None:
        lines.append(f"note: from step {found.unrounded} on, outputs that {found.format} does not hold")
    lines += [f"FAIL: {reason}" for reason in found.reasons]
    if found.passed:
        lines.append(f"PASS: at least {found.min_bits:g} bits left at every step")
    return lines
