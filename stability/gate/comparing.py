"""A fresh run against a baseline, under the rules of a gate.

Cells that differ in their seed alone are compared together, measure by measure:

1. A cell that could be run and now cannot, and infinities or nans where there were none,
   are regressions, whatever the rules say; nothing waives them.
2. A measure without an order (settings, hashes) and a rank (status, reference) is a
   regression if its rule is broken on any seed.
3. A number is compared seed by seed and, over the seeds, median by median.  If the rule is
   broken on no seed, it holds.  If it is broken by the medians, that is a regression.  If it
   is broken on some seeds and not by the medians, then it is *inconclusive* where another
   seed became better: the seeds disagree, and the change is below the noise.  Where none
   became better, it is a regression.

What a waiver names is told, and does not fail.  So are improvements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from stability.gate.cell import CELL_KEYS, GROUP_KEYS, CellKey, GateCell
from stability.gate.configuration import GateConfig, Waiver
from stability.gate.rules import EXACT, MEASURES, RANKED, Number, Rule, holds

Pair = tuple[GateCell, GateCell]
"""A cell of the baseline and the same one of the fresh run."""

ERROR, FINITE = "error", "finite"
ALWAYS = {ERROR: "has to run", FINITE: "no new inf or nan"}
"""Measures that no rule turns off, with what they ask for."""


class Verdict(StrEnum):
    """What is said of a measure."""

    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    WAIVED = "waived"
    IMPROVED = "improved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A measure of a group of cells that changed.

    Attributes:
        verdict: what it is.
        keys: of the group, those of :data:`stability.gate.cell.GROUP_KEYS`.
        measure: which; also ``error`` or ``finite``.
        rule: as it is written.
        seeds: those on which the rule is broken (or the measure improved); none for a kept case.
        compared: how many seeds there are.
        old: of the worst of these seeds, as it is shown.
        new: the same, now.
        note: what else there is to say.
    """

    verdict: Verdict
    keys: Mapping[str, object]
    measure: str
    rule: str
    seeds: tuple[int, ...]
    compared: int
    old: str
    new: str
    note: str = ""

    @property
    def group(self) -> CellKey:
        """The cells, without their seeds."""
        return tuple(self.keys[name] for name in GROUP_KEYS)  # type: ignore[misc]  # texts and a length


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a gate found.

    Attributes:
        changes: regressions first; then what is inconclusive, waived, improved.
        misfits: why the baseline or the configuration does not fit the experiment.
        notes: about the configuration.
        cells: of the fresh run.
        groups: the keys of what was compared, each for all its seeds.
        kept: how many cases of a corpus were judged.
    """

    changes: tuple[Change, ...]
    misfits: tuple[str, ...]
    notes: tuple[str, ...]
    cells: int
    groups: tuple[Mapping[str, object], ...]
    kept: int = 0

    def by(self, verdict: Verdict) -> list[Change]:
        """The changes of one verdict."""
        return [change for change in self.changes if change.verdict is verdict]

    @property
    def outcome(self) -> str:
        """``regression``, ``misfit``, ``inconclusive`` or ``pass``: the first that applies."""
        if self.by(Verdict.REGRESSION):
            return "regression"
        if self.misfits:
            return "misfit"
        return "inconclusive" if self.by(Verdict.INCONCLUSIVE) else "pass"


def compare(
    config: GateConfig, baseline: Mapping[CellKey, GateCell], fresh: Iterable[GateCell]
) -> Comparison:
    """Hold a fresh run to a baseline.

    Args:
        config: the rules.
        baseline: by key.
        fresh: every cell of the experiment once.
    """
    now = {cell.key: cell for cell in fresh}
    groups: dict[CellKey, list[Pair]] = {}
    for key, cell in sorted(now.items()):
        if key in baseline:
            groups.setdefault(cell.group, []).append((baseline[key], cell))
    found = [change for pairs in groups.values() for change in _group(config, pairs)]
    alone = [cell for key, cell in now.items() if key not in baseline and cell.unexpected]
    found += [_change(Verdict.REGRESSION, ERROR, ALWAYS[ERROR], [(_UNKNOWN, cell)], 1) for cell in alone]
    judged = [_judged(config, change) for change in found]
    order = list(Verdict)
    return Comparison(
        changes=tuple(sorted(judged, key=lambda change: order.index(change.verdict))),
        misfits=tuple(_misfits(config, baseline, now)),
        notes=tuple(_notes(config, now.values(), found)),
        cells=len(now),
        groups=tuple(_group_keys(pairs[0][1]) for pairs in groups.values()),
    )


def _group_keys(cell: GateCell) -> dict[str, object]:
    return {name: cell.keys[name] for name in GROUP_KEYS}


def _group(config: GateConfig, pairs: Sequence[Pair]) -> Iterator[Change]:
    """The changes of cells that differ in their seed alone."""
    count = len(pairs)
    failing = [pair for pair in pairs if pair[1].error and (pair[1].unexpected or not pair[0].error)]
    if failing:
        yield _change(Verdict.REGRESSION, ERROR, ALWAYS[ERROR], failing, count)
    running = [pair for pair in pairs if pair[0].error and not pair[1].error]
    if running:
        yield _change(Verdict.IMPROVED, ERROR, ALWAYS[ERROR], running, count)
    both = [pair for pair in pairs if not pair[0].error and not pair[1].error]
    broken = [pair for pair in both if _newly_bad(*pair)]
    if broken:
        yield _change(Verdict.REGRESSION, FINITE, ALWAYS[FINITE], broken, count)
    # What is not finite any more has been said; its measures would only say it again.
    told = {"status", "significant_bits", "abs_error"} if broken else set()
    for measure, better in MEASURES.items():
        rule = config.rule(measure, both[0][1].keys) if both else None
        if rule is None or rule.kind == "off" or measure in told:
            continue
        change = _exact(rule, measure, both) if better == EXACT else _ordered(rule, measure, both)
        if change is not None:
            yield change


def _newly_bad(old: GateCell, new: GateCell) -> bool:
    return (old.finite and not new.finite) or (new.status == "nan" and old.status != "nan")


def _exact(rule: Rule, measure: str, pairs: Sequence[Pair]) -> Change | None:
    broken = [(old, new) for old, new in pairs if getattr(old, measure) != getattr(new, measure)]
    if not broken:
        return None
    return _change(Verdict.REGRESSION, measure, rule.text, broken, len(pairs))


def _ordered(rule: Rule, measure: str, pairs: Sequence[Pair]) -> Change | None:
    """A number or a rank; see the module for how seeds are weighed."""
    better = MEASURES[measure]
    values = {old.key: (old.value(measure), new.value(measure)) for old, new in pairs}

    def keeps(old: GateCell) -> bool:
        return holds(rule, *values[old.key], better=better)

    broken = sorted((pair for pair in pairs if not keeps(pair[0])), key=lambda pair: _loss(pair, measure))
    equal_or_worse = replace(rule, kind="never worse")
    gained = [
        pair
        for pair in pairs
        if values[pair[0].key][0] != values[pair[0].key][1]
        and holds(equal_or_worse, *values[pair[0].key], better=better)
    ]
    if not broken:
        worse = [pair for pair in pairs if not holds(equal_or_worse, *values[pair[0].key], better=better)]
        if not gained or worse:
            return None
        return _change(Verdict.IMPROVED, measure, rule.text, gained, len(pairs))
    if measure in RANKED:
        return _change(Verdict.REGRESSION, measure, rule.text, broken, len(pairs))
    old, new = (_median([pair[which] for pair in values.values()]) for which in (0, 1))
    if holds(rule, old, new, better=better) and gained:
        seeds = ", ".join(str(pair[0].keys["seed"]) for pair in gained)
        note = f"the medians keep the rule, and it became better on seed {seeds}"
        return _change(Verdict.INCONCLUSIVE, measure, rule.text, broken, len(pairs), note)
    return _change(Verdict.REGRESSION, measure, rule.text, broken, len(pairs))


def _median(values: Sequence[Number]) -> Number:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2 or ordered[middle - 1] == ordered[middle]:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def _loss(pair: Pair, measure: str) -> float:
    """For sorting: the seed that lost most first."""
    old, new = (float(cell.value(measure)) for cell in pair)
    change = new - old if old != new else 0.0
    return change if MEASURES[measure] == "more" else -change


def _change(
    verdict: Verdict, measure: str, rule: str, pairs: Sequence[Pair], compared: int, note: str = ""
) -> Change:
    old, new = pairs[0]
    before, after = old.shown(measure), new.shown(measure)
    if measure == "settings":
        before, after = _differing(before, after)
    return Change(
        verdict=verdict,
        keys=_group_keys(new),
        measure=measure,
        rule=rule,
        seeds=tuple(sorted(cell.keys["seed"] for _, cell in pairs)),
        compared=compared,
        old=before,
        new=after,
        note=note,
    )


def _differing(before: str, after: str) -> tuple[str, str]:
    """Of two lists of settings, what is not the same."""
    old, new = before.split(), after.split()
    gone, come = [each for each in old if each not in new], [each for each in new if each not in old]
    return " ".join(gone) or "-", " ".join(come) or "-"


def _judged(config: GateConfig, change: Change) -> Change:
    """A change, waived if a waiver says so."""
    if change.verdict not in {Verdict.REGRESSION, Verdict.INCONCLUSIVE}:
        return change
    for waiver in config.waivers:
        if _covers(waiver, change):
            return replace(change, verdict=Verdict.WAIVED, note=f"{waiver.reason} (until {waiver.expires})")
    return change


def _covers(waiver: Waiver, change: Change) -> bool:
    return change.measure in waiver.measures and waiver.selector.matches(change.keys)


def _misfits(
    config: GateConfig, baseline: Mapping[CellKey, GateCell], now: Mapping[CellKey, GateCell]
) -> Iterator[str]:
    """What keeps the baseline and the experiment from being compared."""
    for title, more, fewer in (
        ("cells have no baseline", now, baseline),
        ("cells of the baseline are not in the experiment any more", baseline, now),
    ):
        missing = [key for key in more if key not in fewer]
        if missing:
            shown = "; ".join(_cell_text(key) for key in missing[:3])
            rest = f"; and {len(missing) - 3:,} more" if len(missing) > 3 else ""
            yield f"{len(missing):,} {title}: {shown}{rest} (accept that with --update)"
    for override in config.overrides:
        if not any(override.selector.matches(cell.keys) for cell in now.values()):
            yield f"{override.place}: the override for {override.selector.text} matches no cell"


def _cell_text(key: CellKey) -> str:
    return " ".join(f"{name}={value}" for name, value in zip(CELL_KEYS, key, strict=True))


def _notes(config: GateConfig, fresh: Iterable[GateCell], changes: Sequence[Change]) -> Iterator[str]:
    cells = list(fresh)
    for waiver in config.waivers:
        if not any(waiver.selector.matches(cell.keys) for cell in cells):
            yield f"{waiver.title} matches no cell: correct or remove it"
        elif not any(_covers(waiver, change) and change.verdict != "improved" for change in changes):
            yield f"{waiver.title} waives nothing any more: remove it"


_UNKNOWN = GateCell(keys={}, error="no baseline")
