"""``lsrl score``: judge the outputs of a kernel against a golden case."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reports.cli import options
from reports.text import plain
from stability.formats import SCORED
from stability.golden import Score, read_case, read_outputs, score, score_states
from stability.golden.bits import RECENT
from stability.golden.reading import StoredCase
from stability.golden.scoring import scored_format

FAILED = 1
STATES = {"layer": "states", "cell_layer": "cells"}


def score_command(
    case: Annotated[Path, typer.Argument(metavar="CASE.npz", help="a file of lsrl golden")],
    outputs: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.npy|OUT.npz",
            help="the kernel's outputs, (T, out): floats, or bfloat16 bits as uint16; .npz: states too",
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
    """Print the bits left, the horizon and the verdict; exit 0 if it passes, 1 if it fails.

    Bits are counted against the largest value so far, and against the largest of the last 64
    steps, which shows errors that come late, after a peak.
    """
    fmt = scored_format(number_format)
    stored = read_case(case)
    values, states = read_outputs(outputs, stored, fmt), score_states(outputs, case, stored, fmt)
    found = score(stored, values, fmt, against=against, min_bits=min_bits, states=states)
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
    recent = f"{found.recent_bits:.1f} at worst (step {found.recent_step})"
    if found.recent_own is not None:
        recent += f"; our engine leaves {found.recent_own:.1f}"
    middle = f"{found.median_bits:.1f} median, {found.final_bits:.1f} at the end"
    lines = [
        f"{case.title}, {case.length:,} tokens, as {found.format} against {found.against}{at_rung}",
        f"bits left of {precision}: {found.worst_bits:.1f} at worst (step {found.worst_step}), {middle}",
        f"bits left of what the last {RECENT} steps hold: {recent}",
        f"horizon {horizon} (wrong from {case.wrong_from}), status {status}",
    ]
    for kind in ("layer", "cell_layer"):
        known = [each for each in found.states if each.name.startswith(kind)]
        if known:
            least = min(known, key=lambda each: each.worst_bits)
            where = f"{least.name} unit {least.unit}, step {least.step}"
            lines.append(
                f"{STATES[kind]} of {len(known)}: {least.worst_bits:.1f} bits left at worst ({where})"
            )
    if len(found.others) > 1:
        told = ", ".join(f"{name} {bits:.1f}" for name, bits in found.others.items())
        lines.append(f"bits at worst against each trajectory: {told}")
    if found.unrounded is not None:
        lines.append(f"note: from step {found.unrounded} on, outputs that {found.format} does not hold")
    lines += [f"FAIL: {reason}" for reason in found.reasons]
    if found.passed:
        both = "" if found.recent_min is None else f", and {found.recent_min:g} of what recent ones hold"
        lines.append(f"PASS: at least {found.min_bits:g} bits left at every step{both}")
    return lines
