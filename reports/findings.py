"""What a drift frame says, in sentences: found in the rows, never written beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from compiler.compiling import UNCOMPILED
from reports.drifting import said_of_drifting
from reports.gating import Comparison, compare, said_of_gating
from reports.statements import Statement, format_weight, listed, under
from reports.tables import PAIRING, cells_of, share_text, titled
from reports.text import plain
from stability.drift import NO_CONDITIONAL
from stability.reference import UNCERTIFIED

Control = Literal["right", "sooner", "wrong", "missing"]
CONTROLS: tuple[Control, ...] = ("right", "sooner", "wrong", "missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """A compiled program that goes wrong under one construction in one format.

    Attributes:
        program: with its parameters.
        config: configuration with its step form.
        conditional: form of f_ifelse.
        format: number format.
        targets: those that go wrong, each with the seeds in which it does.
        unharmed: targets that stay right under the same conditions.
        everywhere: whether ``targets`` are all that ran.
        earliest: smallest horizon: tokens that were right before the first wrong one.
        latest: largest horizon.
        share: mean share of wrong tokens of the wrong cells.
        control: ``right`` (the uncompiled program stays right on the same prompt), ``sooner``
            (it goes wrong too, but later), ``wrong`` (no later) or ``missing``.
        control_horizon: of the uncompiled program, where it goes wrong.
        length: tokens per prompt.
    """

    program: str
    config: str
    conditional: str
    format: str
    targets: tuple[str, ...]
    unharmed: tuple[str, ...]
    everywhere: bool
    earliest: int
    latest: int
    share: float
    control: Control
    control_horizon: int | None
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that is found in one frame.

    Attributes:
        breakages: compiled programs that go wrong, the uncompiled ones that do left out.
        comparisons: gated against ungated, with controls.
        statements: sentences, the most important first; the first is the overview.
    """

    breakages: tuple[Breakage, ...]
    comparisons: tuple[Comparison, ...]
    statements: tuple[Statement, ...]


def find(frame: pd.DataFrame, cells: pd.DataFrame | None = None) -> Findings:
    """Read a drift frame.

    Args:
        frame: see :mod:`stability.drift`.
        cells: its cells, where they are known already, from :func:`reports.tables.cells_of`.
    """
    cells = cells_of(frame) if cells is None else cells
    if cells.empty:
        return Findings(
            breakages=(), comparisons=(), statements=(Statement(kind="overview", text="Nothing was run."),)
        )
    cells = titled(cells)
    breakages = tuple(_breakages(cells))
    comparisons = tuple(compare(cells))
    statements = [
        *_said_of_breakages(breakages),
        *_programs(cells),
        *said_of_gating(comparisons),
        *said_of_drifting(frame),
        *_failed(cells),
        *_overflows(cells),
        *_references(cells),
    ]
    ordered = sorted(statements, key=lambda each: -each.weight)
    return Findings(
        breakages=breakages, comparisons=comparisons, statements=(_overview(cells, breakages), *ordered)
    )


# ---------------------------------------------------------------- compiled against uncompiled


def _breakages(cells: pd.DataFrame) -> Iterator[Breakage]:
    keys = ["title", "label", "conditional", "format", "length"]
    for (title, label, conditional, format_name, _), part in cells.groupby(keys, sort=False):
        controls = part[part["target"] == UNCOMPILED].drop_duplicates("seed").set_index("seed")
        compiled = part[part["target"] != UNCOMPILED]
        kinds = np.array([_control(controls, cell) for _, cell in compiled.iterrows()], dtype=np.str_)
        for kind in CONTROLS:
            judged = compiled[kinds == kind]
            wrong = judged[judged["wrong"]]
            if wrong.empty:
                continue
            horizons = wrong["horizon"].astype("int64")
            theirs = controls["horizon"].reindex(wrong["seed"].unique()).dropna()
            broken = tuple(wrong["target"].unique())
            fine = judged[judged["right"] & ~judged["target"].isin(broken)]
            yield Breakage(
                program=str(title),
                config=str(label),
                conditional=str(conditional),
                format=str(format_name),
                targets=broken,
                unharmed=tuple(fine["target"].unique()),
                everywhere=set(broken) == set(compiled.loc[~compiled["failed"], "target"]),
                earliest=int(horizons.min()),
                latest=int(horizons.max()),
                share=float(wrong["wrong_share"].mean()),
                control=kind,
                control_horizon=None if theirs.empty else int(theirs.min()),
                length=int(part["length"].iloc[0]),
            )


def _control(controls: pd.DataFrame, cell: pd.Series) -> Control:
    """How the uncompiled program fares on the prompt of ``cell``."""
    if cell["seed"] not in controls.index or bool(controls.loc[cell["seed"], "failed"]):
        return "missing"
    if not bool(controls.loc[cell["seed"], "wrong"]):
        return "right"
    later = bool(cell["wrong"]) and cell["horizon"] < controls.loc[cell["seed"], "horizon"]
    return "sooner" if later else "wrong"


def _said_of_breakages(breakages: Sequence[Breakage]) -> Iterator[Statement]:
    """One sentence per program, configuration and outcome of the control; its formats in clauses."""
    for control in ("right", "missing", "sooner"):
        chosen = [each for each in breakages if each.control == control]
        for program, config in dict.fromkeys((each.program, each.config) for each in chosen):
            parts = [each for each in chosen if (each.program, each.config) == (program, config)]
            yield _said_of_program(f"{program}, {config}", control, parts)


def _said_of_program(where: str, control: str, parts: Sequence[Breakage]) -> Statement:
    precise = max(format_weight(each.format) for each in parts)
    clauses = "; ".join(_clause(each) for each in sorted(parts, key=lambda each: -format_weight(each.format)))
    match control:
        case "right":
            text = f"{where}: compiled, it goes wrong where the uncompiled program stays right: {clauses}."
            return Statement(kind="compiled", text=text, weight=100 + precise)
        case "sooner":
            text = f"{where}: compiled, it goes wrong sooner than the uncompiled program does: {clauses}."
            return Statement(kind="sooner", text=text, weight=60 + precise)
        case _:
            text = f"{where}: compiled, it goes wrong, and no uncompiled control ran: {clauses}."
            return Statement(kind="compiled", text=text, weight=80 + precise)


def _clause(each: Breakage) -> str:
    many = len(each.targets) > 2 and each.everywhere
    text = f"{each.format}{under(each.conditional)} after {_tokens(each)}"
    if each.control == "sooner":
        text += f" instead of {each.control_horizon:,}"
    text += f" on {'all targets' if many else listed(each.targets)}"
    text += f" ({share_text(each.share)} of {each.length:,} wrong"
    return text + (f"; right on {listed(each.unharmed)})" if each.unharmed else ")")


def _tokens(each: Breakage) -> str:
    if each.earliest == each.latest:
        return "1 token" if each.earliest == 1 else f"{each.earliest:,} tokens"
    return f"{each.earliest:,} to {each.latest:,} tokens"


def _overview(cells: pd.DataFrame, breakages: Sequence[Breakage]) -> Statement:
    compiled = cells[(cells["target"] != UNCOMPILED) & ~cells["failed"]]
    wrong = compiled[compiled["wrong"]]
    if wrong.empty:
        text = f"None of the {len(compiled):,} compiled runs gave a wrong token."
        return Statement(kind="overview", text=text)
    controls = cells[cells["target"] == UNCOMPILED].set_index(["conditional", *PAIRING])
    fine = set(controls[controls["right"]].index)
    own = sum(
        tuple(row) in fine for row in wrong[["conditional", *PAIRING]].itertuples(index=False, name=None)
    )
    text = (
        f"{len(wrong):,} of {len(compiled):,} compiled runs gave wrong tokens. In {own:,} of them the "
        f"uncompiled program, run in the same format on the same prompt, is right: there the compilation is "
        f"to blame. "
        f"In the other {len(wrong) - own:,} the program itself goes wrong in that format, or no control ran."
    )
    first = [each for each in breakages if each.control == "right"]
    if first:
        soonest = min(first, key=lambda each: each.earliest)
        where = f"{soonest.program}, {soonest.format}, {soonest.config}{under(soonest.conditional)}"
        text += f" The earliest failure of compilation comes after {_tokens_of(soonest.earliest)} ({where})."
    return Statement(kind="overview", text=text)


def _tokens_of(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"


def _programs(cells: pd.DataFrame) -> Iterator[Statement]:
    wrong = cells[(cells["target"] == UNCOMPILED) & cells["wrong"]]
    for (title, length), own in wrong.groupby(["title", "length"], sort=False):
        clauses = []
        for (format_name, label), part in own.groupby(["format", "label"], sort=False):
            conditionals = [plain(each) for each in part["conditional"].unique() if each != NO_CONDITIONAL]
            how = f" ({listed(conditionals)})" if conditionals else ""
            worst = share_text(float(part["wrong_share"].max()))
            clauses.append(
                f"{format_name}, {label}{how} after {_tokens_of(int(part['horizon'].min()))} ({worst} wrong)"
            )
        text = (
            f"The uncompiled {title} itself goes wrong within {length:,} tokens: {'; '.join(clauses)}. "
            "That is the program's or the configuration's doing, not the compiler's."
        )
        yield Statement(
            kind="program", text=text, weight=70 + max(format_weight(str(each)) for each in own["format"])
        )


# ---------------------------------------------------------------- what to know before trusting it


def _failed(cells: pd.DataFrame) -> Iterator[Statement]:
    for (title, error), part in cells[cells["failed"]].groupby(["title", "error"], sort=False):
        targets = listed(list(part["target"].unique()))
        conditionals = [each for each in part["conditional"].unique() if each != NO_CONDITIONAL]
        how = f" ({listed(conditionals)})" if conditionals else ""
        text = f"{title} could not run on {targets}{how}, in {len(part)} cells: {plain(error)}"
        yield Statement(kind="failed", text=text, weight=50)


def _overflows(cells: pd.DataFrame) -> Iterator[Statement]:
    over = cells[cells["weight_overflow"].fillna(0) > 0]
    for (format_name, label), part in over.groupby(["format", "label"], sort=False):
        wrong = int(part["wrong"].sum())
        text = (
            f"{format_name}, {label}: constants of {len(part)} cells are too large for {format_name} and "
            f"become infinite ({listed(list(part['title'].unique()), 5)}); {wrong} of these cells go wrong."
        )
        yield Statement(kind="overflow", text=text, weight=55 + format_weight(str(format_name)))


def _references(cells: pd.DataFrame) -> Iterator[Statement]:
    ran = cells[~cells["failed"]]
    open_ones = ran[ran["reference"] == UNCERTIFIED]
    for title, part in open_ones.groupby("title", sort=False):
        text = (
            f"{title}: the reference of {len(part)} cells could not be certified; do not trust their errors."
        )
        yield Statement(kind="reference", text=text, weight=99)
    differing = ran[ran["reference_right"].eq(False).fillna(value=False)]
    for title, part in differing.groupby("title", sort=False):
        settings = dict.fromkeys(f"{row.label}{under(str(row.conditional))}" for row in part.itertuples())
        text = (
            f"{title} ({listed(list(settings), 4)}): even in exact arithmetic the program differs from its "
            "plain-Python oracle; its drift is measured against what the program computes."
        )
        yield Statement(kind="reference", text=text, weight=65)
