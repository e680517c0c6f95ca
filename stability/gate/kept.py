"""The corpus of a gate: kept cases, judged again beside the cells of its experiment.

A property that does not hold any more, and a drift that became worse, are regressions.  The files
themselves are the baseline: no rule, override or waiver is about them, and ``--update`` does not write
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stability.corpus import Entry, Kept, replay
from stability.gate.comparing import Change, Comparison, Verdict


def with_corpus(comparison: Comparison, corpus: Sequence[Kept]) -> Comparison:
    """A comparison with the kept cases judged as well.

    Args:
        comparison: of a fresh run.
        corpus: of the gate.
    """
    found = [*comparison.changes, *(change for kept in corpus for change in _changes(*kept))]
    order = list(Verdict)
    return replace(
        comparison,
        changes=tuple(sorted(found, key=lambda change: order.index(change.verdict))),
        groups=(*comparison.groups, *(_keys(*kept) for kept in corpus)),
        kept=len(corpus),
    )


def _changes(path: Path, entry: Entry) -> Iterator[Change]:
    for each in replay(entry):
        yield Change(
            verdict=Verdict.REGRESSION if each.worse else Verdict.IMPROVED,
            keys=_keys(path, entry),
            measure=each.measure,
            rule=each.rule,
            seeds=(),
            compared=0,
            old=each.old,
            new=each.new,
            note=f"again: lsrl fuzz --replay {path}",
        )


def _keys(path: Path, entry: Entry) -> Mapping[str, object]:
    """A kept case as the keys of a cell; what a case does not have is ``none``."""
    return {
        "program": path.name, "parameters": "", "config": "none", "conditional": "none",
        "target": entry.case.target, "activation": "none", "format": entry.case.policy, "order": "step",
        "engine": "native", "length": len(entry.case.tokens),
    }  # fmt: skip
