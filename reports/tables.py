"""From the drift frame to the tables that a report shows.

The frame has one row per cell and sampled step (see :mod:`stability.drift`); the
tables here have one row per cell, or per group of cells.  Cells whose outputs are
the same bits count once in every group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from compiler.compiling import TARGETS, UNCOMPILED
from reports.text import plain
from stability.cells import IN_STEPS, NATIVE, RELU
from stability.drift import KEYS, NO_CONDITIONAL, RESULTS

PAIRING = ("program", "parameters", "config", "format", "engine", "seed", "length")
"""Two cells may be compared when they agree in these."""
REAL_GATES = "real gates"
FINITE_WINDOW = "finite window"
"""Models that keep no state: that they do not drift is no finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A line of the summary: one kind of model under one conditional in one format.

    Attributes:
        format: number format.
        config: configuration, with its step form.
        models: ``ungated``, ``gated``, ``real gates``, ``finite window`` or ``uncompiled``.
        conditional: form of f_ifelse.
        role: why the line is there, in two or three words.
        cells: distinct cells that ran; ``failed`` could not.
        wrong_cells: those with a wrong token.
        horizon: the earliest first wrong step of all, or None.
        length: tokens per prompt.
        bits: median of the significant bits left at the last step.
        wrong_share: mean share of wrong tokens.
    """

    format: str
    config: str
    models: str
    conditional: str
    role: str
    cells: int
    failed: int
    wrong_cells: int
    horizon: int | None
    length: int
    bits: float
    wrong_share: float


def cells_of(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per cell.

    Args:
        frame: a drift frame.

    Returns:
        The cell's keys and results, and: ``bits_end`` and ``bits_min`` (significant bits
        at the last step and the fewest of all samples), ``ulp_max`` (largest ulp error),
        ``failed`` (could not run), ``wrong`` (has a wrong token), ``right``, and
        ``signature``, equal for two cells with the same outputs at every sampled step.
    """
    if frame.empty:
        extra = ["bits_end", "bits_min", "ulp_max", "signature", "failed", "wrong", "right"]
        return pd.DataFrame(columns=[*KEYS, *RESULTS, *extra])
    rows = []
    for _, cell in frame.groupby(list(KEYS), sort=False, dropna=False):
        first = cell.iloc[0]
        failed = bool(first["error"])
        row = {name: first[name] for name in (*KEYS, *RESULTS)}
        row |= {
            "bits_end": cell["significant_bits"].iloc[-1],
            "bits_min": cell["significant_bits"].min(),
            "ulp_max": cell["ulp_error"].max(),
            "signature": "" if failed else _signature(cell),
            "failed": failed,
            "wrong": not failed and first["wrong_share"] > 0,
            "right": not failed and first["wrong_share"] == 0,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _signature(cell: pd.DataFrame) -> str:
    """A digest of what the model gave out: at all steps where it is known, else at the sampled ones."""
    known = cell["output_hash"].iloc[0]
    if isinstance(known, str) and known:
        return known
    values = cell["value"].astype("float64").where(cell["value"].notna())
    content = hashlib.sha256(cell["step"].to_numpy(dtype="int64").tobytes())
    content.update("|".join(repr(float(value)) for value in values).encode())
    content.update("|".join(cell["status"]).encode())
    content.update(repr(float(cell["wrong_share"].iloc[0])).encode())
    return content.hexdigest()


def is_product(conditional: str) -> bool:
    """Whether a conditional multiplies (and so needs a gated target)."""
    return conditional.startswith("multiplicative")


def has_window(target: object) -> bool:
    """Whether a target computes its states over a finite window and so carries no error along."""
    return target in TARGETS and TARGETS[str(target)].windowed


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame in which a model's name tells its gates, and a format's the order and the engine.

    ``lstm`` becomes ``lstm (native)`` where its gates are real; ``float16`` becomes ``float16 scan``
    where the recurrence is not computed step by step, and ``float32 (torch)`` where another engine
    than the usual one ran it beside that.

    Args:
        frame: a drift frame; old ones, without activation or order, are taken for plain.
    """
    rows = frame.assign(
        activation=frame["activation"].fillna("").replace("", RELU),
        order=frame["order"].fillna("").replace("", IN_STEPS),
    )
    rows = _one_control(rows)
    engines = rows.groupby("format")["engine"].nunique()
    several = set(engines[engines > 1].index)
    models = {
        (target, gates): target if gates == RELU or target == UNCOMPILED else f"{target} ({gates})"
        for target, gates in dict.fromkeys(zip(rows["target"], rows["activation"], strict=True))
    }
    formats = {
        (name, order, engine): name
        + ("" if order == IN_STEPS else f" {order}")
        + (f" ({engine})" if name in several and engine != "native" else "")
        for name, order, engine in dict.fromkeys(
            zip(rows["format"], rows["order"], rows["engine"], strict=True)
        )
    }
    return rows.assign(
        target=[models[pair] for pair in zip(rows["target"], rows["activation"], strict=True)],
        format=[formats[each] for each in zip(rows["format"], rows["order"], rows["engine"], strict=True)],
    )


def _one_control(rows: pd.DataFrame) -> pd.DataFrame:
    """The uncompiled program has no gates: measured beside either kind of them, it counts once."""
    control = rows["target"] == UNCOMPILED
    rows = rows.assign(activation=rows["activation"].where(~control, RELU))
    return rows[~(control & rows.duplicated([*KEYS, "step"]))]


def architecture_of(target: object) -> str:
    """The architecture of a model that :func:`named` has named."""
    return str(target).partition(" (")[0]


def models_of(cell: pd.Series) -> str:
    """``uncompiled``, ``finite window``, ``real gates``, ``gated`` or ``ungated``."""
    if cell["target"] == UNCOMPILED:
        return UNCOMPILED
    if has_window(cell["target"]):
        return FINITE_WINDOW
    if cell["activation"] == NATIVE:
        return REAL_GATES
    return "gated" if cell["gated"] else "ungated"


_ROLES = {
    (FINITE_WINDOW, False): FINITE_WINDOW,
    (FINITE_WINDOW, True): FINITE_WINDOW,
    ("ungated", False): "ungated",
    (REAL_GATES, True): REAL_GATES,
    (REAL_GATES, False): f"{REAL_GATES}, control",
    ("gated", True): "gated",
    ("gated", False): "gated control",
    (UNCOMPILED, False): UNCOMPILED,
    (UNCOMPILED, True): "uncompiled",
    ("ungated", True): "ungated",
}
_ORDER = {
    role: k
    for k, role in enumerate(
        (
            "ungated", "gated control", "gated", f"{REAL_GATES}, control", REAL_GATES, FINITE_WINDOW,
            UNCOMPILED,
        )
    )
}  # fmt: skip


def titled(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a ``title`` (program, and its parameters where several sets were run) and a ``label``."""
    sets = rows.groupby("program")["parameters"].nunique()
    programs = list(zip(rows["program"], rows["parameters"], strict=True))
    titles = {
        (program, parameters): plain(program)
        + (f" ({plain(parameters)})" if parameters and sets[program] > 1 else "")
        for program, parameters in dict.fromkeys(programs)
    }
    usual = {"stable": "clip", "paper": "paper"}
    configs = list(zip(rows["config"], rows["step_form"], strict=True))
    labels = {
        (config, step): str(config)
        if usual.get(str(config).partition(" ")[0]) == step or f"step={step}" in str(config)
        else f"{config} ({step})"
        for config, step in dict.fromkeys(configs)
    }
    return rows.assign(title=[titles[each] for each in programs], label=[labels[each] for each in configs])


def grouped(cells: pd.DataFrame) -> list[GroupRow]:
    """Gated against ungated, with controls, per format and configuration.

    A program without a conditional compiles to the same model under every one: its
    cells stand in every group of their kind of model, so that groups hold the same
    programs.
    """
    if cells.empty:
        return []
    table = titled(cells).assign(models=cells.apply(models_of, axis=1))
    found: list[GroupRow] = []
    for (format_name, label), part in table.groupby(["format", "label"], sort=False):
        groups = [_group(part, str(format_name), str(label), *key) for key in _group_keys(part)]
        found.extend(sorted(groups, key=lambda each: (_ORDER[each.role], each.conditional)))
    return found


def _group_keys(part: pd.DataFrame) -> Iterator[tuple[str, str]]:
    for models, own in part.groupby("models", sort=False):
        named = [each for each in own["conditional"].unique() if each != NO_CONDITIONAL]
        for conditional in named or [NO_CONDITIONAL]:
            yield str(models), str(conditional)


def _group(part: pd.DataFrame, format_name: str, label: str, models: str, conditional: str) -> GroupRow:
    members = part[(part["models"] == models) & part["conditional"].isin([conditional, NO_CONDITIONAL])]
    ran = members[~members["failed"]].drop_duplicates([*PAIRING, "signature"])
    horizons = ran["horizon"].dropna()
    return GroupRow(
        format=format_name,
        config=label,
        models=models,
        conditional=conditional,
        role=_ROLES[models, is_product(conditional)],
        cells=len(ran),
        failed=int(members["failed"].sum()),
        wrong_cells=int(ran["wrong"].sum()),
        horizon=None if horizons.empty else int(horizons.min()),
        length=int(members["length"].max()),
        bits=float(ran["bits_end"].median()) if len(ran) else float("nan"),
        wrong_share=float(ran["wrong_share"].mean()) if len(ran) else float("nan"),
    )


def horizon_text(horizon: int | None, length: int) -> str:
    """``1,234``, or ``> 4,000`` where no token was wrong."""
    return f"> {length:,}" if horizon is None else f"{horizon:,}"


def share_text(share: float) -> str:
    """A share as per cent; never 0 % or 100 % unless it is."""
    if share != share:  # noqa: PLR0124 -- nan
        return "–"
    if share in {0.0, 1.0}:
        return f"{share:.0%}"
    percent = min(max(100 * share, 0.1), 99.9)
    return f"{percent:.1f}%"


def bits_text(bits: float) -> str:
    """Significant bits with one decimal; a dash where there are none to tell."""
    return "–" if bits != bits else f"{bits:.1f}"  # noqa: PLR0124 -- nan
