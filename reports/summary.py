"""The summary of a report as text: for the terminal and as Markdown."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

import pandas as pd
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports.findings import Findings
from reports.statements import Kind, foremost
from reports.tables import GroupRow, bits_text, horizon_text, share_text
from reports.text import plain
from stability.drift import NO_CONDITIONAL

KINDS: dict[Kind, str] = {
    "overview": "overview",
    "compiled": "compilation",
    "sooner": "compilation",
    "program": "program",
    "gating": "gating",
    "states": "first to drift",
    "growth": "growth",
    "failed": "cannot run",
    "overflow": "overflow",
    "reference": "reference",
}
GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "horizon",
        "How many tokens come out right before the first wrong one; “> T” where none of T was wrong.",
    ),
    (
        "wrong token",
        """An output that decodes to another symbol than the true one; for programs with real outputs, one
        that is farther from the truth than the program's tolerance, or not finite.""",
    ),
    (
        "significant bits",
        """How many leading bits of an output agree with the truth, relative to its largest size so far: a
        float16 has 11, a float32 24, a float64 53.""",
    ),
    (
        "first to drift",
        """The named state whose error first reaches half the spacing of its values (of the integers, mostly),
        or, where they have none, half of its significant bits. What a step adds to the error, begun in the
        true states, is made in that step; the rest is inherited.""",
    ),
    (
        "growth",
        """How an error grows with the number of tokens n: not (bounded), like √n, n, another power of n, or
        e^(rn), by regression with 95 % bootstrap intervals; inconclusive where they cover two laws.""",
    ),
    (
        "uncompiled",
        """The program itself, executed node by node in the same format: what goes wrong here is not the
        compiler's doing.""",
    ),
    (
        "control",
        """A run that shares all but one thing with another: the uncompiled program for the compiler; a gated
        model built with the sums of an ungated one for the gates.""",
    ),
    (
        "finite window",
        """Hawk and Griffin, compiled, recompute each state from the last tokens instead of keeping it: errors
        cannot add up, and that they do not is no finding about gates.""",
    ),
    (
        "step form",
        """How a comparison is built from ReLUs: paper subtracts two large ramps, clip clamps one. Equal in
        exact arithmetic, not in floats.""",
    ),
    (
        "conditional",
        """How “if c then t else f” is built: optimized (and direct, step) from sums of ReLUs with a large λ,
        multiplicative from products, which need gates.""",
    ),
    (
        "configuration",
        """stable: step form clip, the smallest sufficient μ and λ; paper: step form paper, μ = 1000,
        λ = 10^10.""",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The conditions of a run, as text.

    Attributes:
        programs: names with parameters.
        lengths: tokens per prompt; ``seeds``: of the prompts.
        rows: every other condition as (name, value).
    """

    programs: str
    lengths: str
    seeds: str
    rows: tuple[tuple[str, str], ...]


def setting_of(frame: pd.DataFrame) -> Setting:
    """The conditions under which a frame was measured, versions included."""
    named = dict.fromkeys(zip(frame["program"], frame["parameters"], strict=True))
    programs = [plain(program) + (f" ({plain(values)})" if values else "") for program, values in named]
    seeds = [str(seed) for seed in frame["seed"].unique()]
    configs = dict.fromkeys(
        f"{row.config}: step {row.step_form}, μ={row.mu}, λ={row.lam}, complement {row.complement}"
        for row in frame.drop_duplicates(["config", "step_form", "mu", "lam", "complement"]).itertuples()
    )
    return Setting(
        programs=", ".join(dict.fromkeys(plain(program) for program, _ in named)),
        lengths=", ".join(f"{length:,}" for length in sorted(frame["length"].unique())),
        seeds=("seed " if len(seeds) == 1 else "seeds ") + ", ".join(seeds),
        rows=(
            ("Programs", ", ".join(programs)),
            ("Configurations", "; ".join(plain(each) for each in configs)),
            ("Targets", ", ".join(plain(each) for each in frame["target"].unique())),
            (
                "Formats and engines",
                ", ".join(
                    f"{fmt} ({engine})"
                    for fmt, engine in dict.fromkeys(zip(frame["format"], frame["engine"], strict=True))
                ),
            ),
            ("Reference", ", ".join(each for each in frame["reference"].unique() if each) or "none"),
            *_origin(frame),
        ),
    )


def _origin(frame: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """What computed the frame: as its cells tell, else this very process."""
    if "versions" in frame:
        commits = [plain(each)[:12] for each in frame["commit"].fillna("").unique() if each]
        return (
            ("Versions", "; ".join(plain(each) for each in frame["versions"].fillna("").unique())),
            ("Commit", ", ".join(commits) or "unknown"),
            ("Computed", f"{frame['computed_at'].min()} to {frame['computed_at'].max()} (UTC)"),
        )
    names = ("lsrl-stability", "numpy", "numba", "mpmath", "gmpy2", "pandas")
    versions = [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)]
    return (("Versions", ", ".join(versions)), ("Machine", f"{platform.system()} {platform.machine()}"))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


# ---------------------------------------------------------------- terminal


def print_summary(console: Console, findings: Findings, groups: Sequence[GroupRow]) -> None:
    """Print the table gated against ungated and the most important findings; fits 100 columns."""
    console.print(_table(groups))
    console.print(Padding(Text(findings.statements[0].text, style="bold"), (1, 0), expand=False))
    for each in foremost(findings.statements[1:]):
        console.print(
            Padding(Text.assemble((f"{KINDS[each.kind]}: ", "bold"), each.text), (0, 0, 0, 2), expand=False)
        )


def _table(groups: Sequence[GroupRow]) -> Table:
    table = Table(
        title="Gated against ungated",
        title_justify="left",
        pad_edge=False,
        box=None,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for name, right in (
        ("format", False),
        ("config", False),
        ("models", False),
        ("conditional", False),
        ("wrong", True),
        ("horizon", True),
        ("bits left", True),
        ("tokens wrong", True),
    ):
        table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    previous: tuple[str, str] | None = None
    for row in groups:
        new = (row.format, row.config) != previous
        if new and previous is not None:
            table.add_section()
        previous = (row.format, row.config)
        style = "red" if row.wrong_cells else ""
        failed = f" +{row.failed} n/a" if row.failed else ""
        table.add_row(
            Text(plain(row.format) if new else ""),
            Text(plain(row.config) if new else ""),
            Text(row.role),
            Text(conditional_text(row.conditional)),
            Text(f"{row.wrong_cells}/{row.cells}{failed}"),
            Text(horizon_text(row.horizon, row.length) if row.cells else "–", style=style),
            Text(bits_text(row.bits)),
            Text(share_text(row.wrong_share), style=style),
        )
    return table


def conditional_text(conditional: str) -> str:
    """A dash for programs that have none."""
    return "–" if conditional == NO_CONDITIONAL else plain(conditional)


# ---------------------------------------------------------------- Markdown


def markdown(
    findings: Findings, groups: Sequence[GroupRow], setting: Setting, more: Sequence[str] = ()
) -> str:
    """The summary as a Markdown document; ``more`` are lines between its tables and its words."""
    lines = ["# Drift report", "", escaped(findings.statements[0].text), ""]
    lines += [*findings_lines(findings), "", *groups_lines(groups), "", *more]
    lines += [*words_lines(), "", "## About", ""]
    lines += [f"- Tokens per prompt: {setting.lengths}; {setting.seeds}", *about_lines(setting)]
    return "\n".join(lines) + "\n"


def findings_lines(findings: Findings) -> list[str]:
    """The findings but for the overview, the foremost first, as a Markdown list."""
    rest = findings.statements[1:]
    first = foremost(rest)
    ordered = [*first, *(each for each in rest if each not in first)]
    return [f"- **{KINDS[each.kind]}**: {escaped(each.text)}" for each in ordered]


def groups_lines(groups: Sequence[GroupRow]) -> list[str]:
    """The table gated against ungated in Markdown."""
    lines = [
        "## Gated against ungated",
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in groups:
        horizon = horizon_text(row.horizon, row.length) if row.cells else "–"
        failed = f" ({row.failed} cannot run)" if row.failed else ""
        texts = (
            row.format,
            row.config,
            row.role,
            conditional_text(row.conditional),
            f"{row.wrong_cells} of {row.cells}{failed}",
            horizon,
            bits_text(row.bits),
            share_text(row.wrong_share),
        )
        lines.append("| " + " | ".join(escaped(text) for text in texts) + " |")
    return lines


def words_lines() -> list[str]:
    """What the words of a report mean, in Markdown."""
    words = [f"- **{word}**: {escaped(' '.join(meaning.split()))}" for word, meaning in GLOSSARY]
    return ["## Words", "", *words]


def about_lines(setting: Setting) -> list[str]:
    """The conditions of a run as a Markdown list."""
    return [f"- {name}: {escaped(value)}" for name, value in setting.rows]


_HEADINGS = (
    "format",
    "configuration",
    "models",
    "conditional",
    "wrong runs",
    "shortest horizon",
    "bits left (median)",
    "wrong tokens (mean)",
)
_SPECIAL = str.maketrans({each: f"\\{each}" for each in "\\`*_[]<>|#&~"})


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return plain(text).translate(_SPECIAL)
