"""Statistics of paired runs: the same programs, prompts and formats, measured in two ways.

For every pair there is a gain in significant bits: how many more the left run has left than
the right one.  A gain of g bits is a ratio of 2^−g of the errors, bounded on both sides: a run
without error has all bits of its format, one that ended in inf or nan has none.  Told are

- the ratio of the errors of left and right (the geometric mean over the pairs) with a 95 %
  bootstrap interval.  Pairs of one program are no independent evidence: the bootstrap draws
  whole programs, then pairs within them;
- the two-sided Wilcoxon signed-rank test that gains are as often above as below zero, exact (all
  2^n signs, ties by mid-ranks) up to :data:`EXACT` pairs, then by the normal approximation with
  the correction for ties.  Pairs without gain say nothing about a direction and are left out;
- the matched-pairs rank-biserial correlation, (sum of ranks of gains − of losses) / sum of all
  ranks, as the size of the effect: 1 where left always does better, −1 where it always does worse.

Of n pairs no exact test can come below p = 2^(1−n): with fewer than six, none below 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXACT = 40
"""Pairs up to which the distribution of the rank sum is counted out."""
RESAMPLES = 2000
LEVEL = 0.05
TAILS = (LEVEL / 2, 1 - LEVEL / 2)
SAME = 1.0
"""Bits by which two runs may differ and still count as about the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """What paired runs say.

    Attributes:
        pairs: how many with different outputs.
        groups: programs they come from.
        better: pairs in which left has at least one more bit left; ``worse``, ``same`` likewise.
        ratio: errors of left over errors of right, geometric mean: below 1 left does better.
        low: lower end of its 95 % interval; ``high``: the upper end; nan with fewer than two pairs.
        p_value: of the Wilcoxon signed-rank test; 1 where no pair differs.
        effect: rank-biserial correlation, in [−1, 1]; positive: left does better.
    """

    pairs: int
    groups: int
    better: int
    worse: int
    same: int
    ratio: float
    low: float
    high: float
    p_value: float
    effect: float

    @property
    def text(self) -> str:
        """``errors × 0.25 (95 % 0.1 to 0.6), Wilcoxon p = 0.002, effect 0.80, 12 pairs``."""
        if not self.pairs:
            return "no pair with different outputs"
        interval = "" if math.isnan(self.low) else f" (95 % {self.low:.2g} to {self.high:.2g})"
        p_value = "p < 0.0001" if self.p_value < 1e-4 else f"p = {self.p_value:.2g}"
        count = f"{self.pairs} pair{'' if self.pairs == 1 else 's'}"
        return f"errors × {self.ratio:.2g}{interval}, Wilcoxon {p_value}, effect {self.effect:+.2f}, {count}"


def paired(
    left: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    groups: Sequence[object] | None = None,
) -> Paired:
    """Compare two runs of each of n pairs; pairs with identical outputs should be left out before.

    Args:
        left: (n,) significant bits left.
        right: (n,) likewise.
        generator: draws the bootstrap samples.
        groups: (n,) the program of each pair; default: all of one.
    """
    gains = np.asarray(left, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    assert gains.ndim == 1, "one number for each run"
    assert np.isfinite(gains).all(), "significant bits are finite"
    count = len(gains)
    if not count:
        return Paired(
            pairs=0, groups=0, better=0, worse=0, same=0, ratio=math.nan, low=math.nan, high=math.nan,
            p_value=1.0, effect=0.0,
        )  # fmt: skip
    number = {name: k for k, name in enumerate(dict.fromkeys(groups or [None]))}
    places = np.array([number[name] for name in (groups or [None] * count)])
    low, high = bootstrap_mean(gains, places, generator)
    return Paired(
        pairs=count,
        groups=len(number),
        better=int((gains >= SAME).sum()),
        worse=int((gains <= -SAME).sum()),
        same=int((np.abs(gains) < SAME).sum()),
        ratio=float(2.0 ** -gains.mean()),
        low=2.0**-high,
        high=2.0**-low,
        p_value=wilcoxon(gains),
        effect=rank_biserial(gains),
    )


def bootstrap_mean(
    values: Floats, groups: npt.NDArray[np.int64], generator: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of a mean, over groups drawn whole and then over their members.

    With a single group only its members are drawn; (nan, nan) of a single value.

    Args:
        values: (n,).
        groups: (n,) numbers from 0 without gaps.
        generator: draws the samples.
    """
    count = len(values)
    if count < 2:
        return math.nan, math.nan
    members = [np.flatnonzero(groups == each) for each in range(int(groups.max()) + 1)]
    sums, sizes = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for _ in range(len(members)):
        chosen = generator.integers(0, len(members), RESAMPLES)
        for each, own in enumerate(members):
            times = np.flatnonzero(chosen == each)
            drawn = values[own[generator.integers(0, len(own), (len(times), len(own)))]]
            sums[times] += drawn.sum(axis=1)
            sizes[times] += len(own)
    low, high = np.quantile(sums / sizes, TAILS)
    return float(low), float(high)


def signed_ranks(gains: Floats) -> tuple[Floats, Floats]:
    """(ranks of the sizes of gains other than 0, mid-ranks for ties; their signs)."""
    kept = gains[gains != 0]
    sizes, places, counts = np.unique(np.abs(kept), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - (counts - 1) / 2
    ranks = middle[places] if len(sizes) else np.zeros(0)
    return ranks, np.sign(kept)


def rank_biserial(gains: Floats) -> float:
    """(sum of the ranks of gains − of losses) / sum of all ranks; 0 where no gain differs from 0."""
    ranks, signs = signed_ranks(gains)
    return float((ranks * signs).sum() / ranks.sum()) if len(ranks) else 0.0


def wilcoxon(gains: Floats) -> float:
    """The two-sided p-value of the Wilcoxon signed-rank test; 1 where no gain differs from 0."""
    ranks, signs = signed_ranks(gains)
    count = len(ranks)
    if not count:
        return 1.0
    if count <= EXACT:
        return _exact(np.rint(2 * ranks).astype(np.int64), signs)
    above = ranks[signs > 0].sum()
    _, ties = np.unique(ranks, return_counts=True)
    mean = count * (count + 1) / 4
    variance = count * (count + 1) * (2 * count + 1) / 24 - (ties**3 - ties).sum() / 48
    return min(1.0, math.erfc(abs(above - mean) / math.sqrt(2 * variance)))


def _exact(doubled: npt.NDArray[np.int64], signs: Floats) -> float:
    """Counts the 2^n sums of signed ranks; mid-ranks are whole when doubled."""
    total = int(doubled.sum())
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] += ways[: total + 1 - rank].copy()
    above = int(doubled[signs > 0].sum())
    fewer = min(above, total - above)
    return min(1.0, 2 * float(ways[: fewer + 1].sum() / ways.sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm): a family of tests holds the level as a whole."""
    order = np.argsort(p_values, kind="stable")
    found, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        found[place] = largest
    return found
