"""What a gate found, for people and for machines: lines, a table, JSON, JUnit, GitHub, Markdown.

Every message names the program, target, policy and measure, the old and the new value, the
rule, and the line of the program that makes its output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from rich.table import Table

from reports.text import plain
from stability.gate import Change, Comparison, Source, Verdict

EXIT = {"pass": 0, "regression": 1, "misfit": 2, "inconclusive": 3}
"""The exit status of every outcome."""
SHOWN = {Verdict.REGRESSION: 50, Verdict.INCONCLUSIVE: 20, Verdict.WAIVED: 20, Verdict.IMPROVED: 10}
"""Lines per verdict; ``--json`` has all of them."""
ANNOTATIONS = 10
"""GitHub shows no more errors of a step."""

Sources = Mapping[str, Source]


def cell_text(keys: Mapping[str, object]) -> str:
    """``dictionary (n=3) on lstm in float16 (stable, optimized, relu, 600 tokens)``."""
    parameters = f" ({keys['parameters']})" if keys["parameters"] else ""
    setting = [keys["config"], keys["conditional"], keys["activation"], f"{keys['length']:,} tokens"]
    setting += [keys["order"]] if keys["order"] != "step" else []
    setting += [keys["engine"]] if keys["engine"] != "native" else []
    listed = ", ".join(str(each) for each in setting if each != "none")
    return f"{keys['program']}{parameters} on {keys['target']} in {keys['format']} ({listed})"


def place_of(change: Change, sources: Sources) -> str:
    """``dictionary.lsrl:53``."""
    source = sources.get(str(change.keys["program"]))
    return f"{source.file}:{source.line}" if source is not None else str(change.keys["program"])


def message(change: Change, sources: Sources) -> str:
    """One line that says all there is to say of a change."""
    listed = ", ".join(str(seed) for seed in change.seeds)
    word = "seed" if len(change.seeds) == 1 else "seeds"
    seeds = f" ({word} {listed} of {change.compared})" if change.seeds else ""
    note = f"; {change.note}" if change.note else ""
    where = f"{place_of(change, sources)}: {cell_text(change.keys)}"
    return plain(f"{where}: {change.measure} {change.old} → {change.new}, rule: {change.rule}{seeds}{note}")


def verdict_line(comparison: Comparison) -> str:
    """``gate: regression: 3 regressions, 1 waived; 40 cells``."""
    counts = Counter(change.verdict for change in comparison.changes)
    said = [
        f"{counts[verdict]:,} {name if counts[verdict] == 1 else plural}"
        for verdict, name, plural in (
            (Verdict.REGRESSION, "regression", "regressions"),
            (Verdict.INCONCLUSIVE, "inconclusive", "inconclusive"),
            (Verdict.WAIVED, "waived", "waived"),
            (Verdict.IMPROVED, "improvement", "improvements"),
        )
        if counts[verdict]
    ]
    outcome = {"misfit": "the baseline does not fit"}.get(comparison.outcome, comparison.outcome)
    kept = [f"{comparison.kept:,} kept cases"] if comparison.kept else []
    return f"gate: {outcome}: {', '.join([*said, f'{comparison.cells:,} cells', *kept])}"


def lines(comparison: Comparison, sources: Sources) -> list[str]:
    """All messages, verdict by verdict, then misfits, notes and the verdict."""
    found = []
    for verdict, most in SHOWN.items():
        changes = comparison.by(verdict)
        found += [f"{verdict}: {message(change, sources)}" for change in changes[:most]]
        if len(changes) > most:
            found.append(f"{verdict}: and {len(changes) - most:,} more (--json has all)")
    found += [f"baseline: {plain(misfit)}" for misfit in comparison.misfits]
    found += [f"note: {plain(note)}" for note in comparison.notes]
    return [*found, verdict_line(comparison)]


def _counted(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """Program, target, policy, and what changed there, as often as it did."""
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for change in comparison.changes:
        key = tuple(str(change.keys[name]) for name in ("program", "target", "format"))
        found.setdefault(key, Counter())[f"{change.verdict} {change.measure}"] += 1  # type: ignore[arg-type]
    return [
        (*key, ", ".join(f"{count} × {what}" if count > 1 else what for what, count in counter.items()))
        for key, counter in found.items()
    ]


def table(comparison: Comparison) -> Table:
    """What changed, by program, target and policy."""
    found = Table(box=None, pad_edge=False)
    for name in ("program", "target", "policy", "what changed"):
        found.add_column(name, overflow="fold")
    for row in _counted(comparison):
        found.add_row(*map(plain, row))
    return found


def as_json(comparison: Comparison, sources: Sources) -> dict[str, Any]:
    """All of it, for programs."""
    changes = []
    for change in comparison.changes:
        source = sources.get(str(change.keys["program"]))
        changes.append(
            {
                "verdict": str(change.verdict),
                **change.keys,
                "policy": change.keys["format"],
                "measure": change.measure,
                "rule": change.rule,
                "seeds": list(change.seeds),
                "compared": change.compared,
                "old": change.old,
                "new": change.new,
                "note": change.note,
                "file": source.file if source is not None else None,
                "line": source.line if source is not None else None,
                "message": message(change, sources),
            }
        )
    return {
        "outcome": comparison.outcome,
        "exit_status": EXIT[comparison.outcome],
        "cells": comparison.cells,
        "kept": comparison.kept,
        "changes": changes,
        "misfits": list(comparison.misfits),
        "notes": list(comparison.notes),
    }


def junit(comparison: Comparison, sources: Sources) -> str:
    """JUnit XML: one test case for each group of cells, and one for the baseline."""
    by_group: dict[object, list[Change]] = {}
    for change in comparison.changes:
        by_group.setdefault(change.group, []).append(change)
    suite = ET.Element("testsuite", name="lsrl gate")
    fit = ET.SubElement(suite, "testcase", classname="gate", name="the baseline fits the experiment")
    if comparison.misfits:
        text = "\n".join(map(plain, comparison.misfits))
        ET.SubElement(fit, "error", type="misfit", message=text.split("\n")[0]).text = text
    groups = {tuple(keys.values()): keys for keys in comparison.groups}
    groups |= {change.group: change.keys for change in comparison.changes}
    failed = 0
    for group, keys in groups.items():
        case = ET.SubElement(
            suite,
            "testcase",
            classname=plain(f"gate.{keys['program']}.{keys['target']}"),
            name=plain(cell_text(keys)),
        )
        changes = by_group.get(group, [])
        failing = [each for each in changes if each.verdict in {Verdict.REGRESSION, Verdict.INCONCLUSIVE}]
        if failing:
            failed += 1
            texts = [message(change, sources) for change in failing]
            ET.SubElement(case, "failure", type=str(failing[0].verdict), message=texts[0]).text = "\n".join(
                texts
            )
        told = [f"{each.verdict}: {message(each, sources)}" for each in changes if each not in failing]
        if told:
            ET.SubElement(case, "system-out").text = "\n".join(told)
    suite.set("tests", str(len(groups) + 1))
    suite.set("failures", str(failed))
    suite.set("errors", str(int(bool(comparison.misfits))))
    suite.set("skipped", "0")
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def github_lines(comparison: Comparison, sources: Sources, *, root: Path, config: str) -> list[str]:
    """GitHub's workflow commands, on the lines of programs.

    Args:
        comparison: what was found.
        sources: of the programs.
        root: of the checkout, from which GitHub counts paths.
        config: the gate's own file, for what is wrong with its baseline.
    """
    found = [_command("error", "gate: baseline", misfit, file=config) for misfit in comparison.misfits]
    for verdict in (Verdict.REGRESSION, Verdict.INCONCLUSIVE):
        for change in comparison.by(verdict):
            source = sources.get(str(change.keys["program"]))
            place = {} if source is None else {"file": _shown_path(source, root), "line": str(source.line)}
            title = f"gate: {verdict} of {change.measure}"
            level = "error" if verdict is Verdict.REGRESSION else "warning"
            found.append(_command(level, title, message(change, sources), **place))
    if len(found) > ANNOTATIONS:
        rest = f"{len(found) - ANNOTATIONS + 1:,} more; the log of this step has all of them"
        found = [*found[: ANNOTATIONS - 1], _command("error", "gate", rest, file=config)]
    found += [_command("notice", "gate", note, file=config) for note in comparison.notes]
    return found


def _shown_path(source: Source, root: Path) -> str:
    if source.path is None:
        return source.file
    try:
        return source.path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return source.file


def _command(level: str, title: str, text: str, **places: str) -> str:
    """``::error file=…,line=…,title=…::…``, with what would end a value written out."""

    def escaped(value: str) -> str:
        return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def value(given: str) -> str:
        return escaped(given).replace(":", "%3A").replace(",", "%2C")

    listed = ",".join(f"{name}={value(given)}" for name, given in {**places, "title": title}.items())
    return f"::{level} {listed}::{escaped(plain(text))}"


def markdown(comparison: Comparison, sources: Sources) -> str:
    """A summary of a step."""
    text = [f"### {verdict_line(comparison)}", ""]
    for verdict, most in SHOWN.items():
        changes = comparison.by(verdict)
        if not changes:
            continue
        text += [
            f"**{verdict}**",
            "",
            "| where | cell | measure | old | new | rule | seeds | note |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for change in changes[:most]:
            row = [
                place_of(change, sources),
                cell_text(change.keys),
                change.measure,
                change.old,
                change.new,
                change.rule,
                ", ".join(map(str, change.seeds)),
                change.note,
            ]
            text.append(f"| {' | '.join(map(_cell, row))} |")
        if len(changes) > most:
            text.append(f"\nand {len(changes) - most:,} more")
        text.append("")
    text += _listed("The baseline does not fit", comparison.misfits)
    text += _listed("Notes", comparison.notes)
    return "\n".join(text).rstrip("\n") + "\n"


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return [f"**{title}**", "", *(f"- {_cell(item)}" for item in items), ""] if items else []


def _cell(text: str) -> str:
    """A text that cannot end a cell of a table, nor begin anything else."""
    shown = plain(text)
    for special in "\\`*_<>|[]~":
        shown = shown.replace(special, f"\\{special}")
    return shown
