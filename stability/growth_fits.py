"""The regressions behind :mod:`stability.growth`: pieces of time, their covariance, lines and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SEEDS = 6
"""From so many series on the bootstrap draws whole series."""
RESAMPLES = 400
TAILS = (0.025, 0.975)
PIECE = math.sqrt(2.0)
"""A piece of time is at most half an octave long."""
FINEST = 32
"""No piece is longer than this part of all tokens: e^(rn) does all it does in the last of them."""
MOST_SAMPLES = 16
"""More samples than these do not make a piece more certain: neighbours are rarely independent."""
FADING = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Rates at which correlations fade per unit of ln n; that of a random walk is 0.5."""
POWERS = (0.25, 4.0)
"""Exponents for which the mean time of a piece is exact."""
NEAR = 2.0
"""Log-likelihood by which a covariance may fall short of the best and is still reckoned with."""
NEGLIGIBLE = 1e-9
"""Variances of ln e below this are those of the arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """A series cut into pieces of time.

    Attributes:
        tokens: n, tokens since the first error, their mean in each piece.
        time: ln n, of the mean that the root mean square of a power of n belongs to.
        samples: how many there are in each piece.
        level: y, the logarithm of the root mean square of the errors, over all series.
        squares: (S, n) mean squares of each series.
    """

    tokens: Floats
    time: Floats
    samples: npt.NDArray[np.int64]
    level: Floats
    squares: Floats

    def since(self, start: int) -> Pieces:
        """The pieces from ``start`` on."""
        return Pieces(
            tokens=self.tokens[start:],
            time=self.time[start:],
            samples=self.samples[start:],
            level=self.level[start:],
            squares=self.squares[:, start:],
        )


def cut(elapsed: Floats, errors: Floats) -> Pieces | None:
    """Cut series into pieces; those without any error are left out.

    Args:
        elapsed: (T,) tokens since the first error, ascending from 1 or less.
        errors: (S, T), ≥ 0 and finite, not all 0.

    Returns:
        None where most pieces are without error.
    """
    count, longest = len(elapsed), elapsed[-1] / FINEST
    starts = [0]
    while True:
        low = elapsed[starts[-1]]
        after = int(np.searchsorted(elapsed, low + min(low * (PIECE - 1), longest)))
        after = max(after, starts[-1] + 2)  # a single error may be small by chance
        if after > count - 2:
            break
        starts.append(after)
    samples = np.diff([*starts, count]).astype(np.int64)
    squares = np.add.reduceat((errors / errors.max()) ** 2, starts, axis=1) / samples
    whole = squares.mean(axis=0)
    kept = whole > 0
    if 2 * kept.sum() < len(kept):
        return None
    level = np.log(whole[kept]) / 2
    tokens = (np.add.reduceat(elapsed, starts) / samples)[kept]
    power = 2 * float(np.clip(_crude_slope(np.log(tokens), level), *POWERS))
    return Pieces(
        tokens=tokens,
        time=np.log((np.add.reduceat(elapsed**power, starts) / samples)[kept]) / power,
        samples=samples[kept],
        level=level - level.mean(),
        squares=squares[:, kept],
    )


def _crude_slope(time: Floats, level: Floats) -> float:
    apart = time - time.mean()
    return float(apart @ level / max(float(apart @ apart), NEGLIGIBLE))


@dataclass(frozen=True, slots=True, eq=False)
class Covariance:
    """L⁻¹ of a covariance L·Lᵀ, and the logarithm of its determinant."""

    decorrelate: Floats
    log_determinant: float


def covariances(pieces: Pieces) -> list[Covariance]:
    """The covariances that the levels of pieces may have, up to a factor."""
    size = len(pieces.tokens)
    same = np.eye(size)
    matrices = [same, np.diag(1 / np.minimum(pieces.samples, MOST_SAMPLES))]
    apart = np.abs(pieces.time[:, None] - pieces.time[None])
    for rate in FADING:
        fading = np.exp(-rate * apart)
        matrices += [fading, (fading + same) / 2]
    roots = [np.linalg.cholesky(matrix) for matrix in matrices]
    return [Covariance(np.linalg.inv(root), 2 * float(np.log(np.diag(root)).sum())) for root in roots]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """The best line y = a + b·u of several u.

    Attributes:
        bic: Bayesian information criterion up to a constant; smaller is better.
        column: u.
        chosen: its index.
        near: the covariances that are about as likely as the best, the best first.
    """

    bic: float
    column: Floats
    chosen: int
    near: tuple[Covariance, ...]


def fit(columns: Floats, level: Floats, known: Sequence[Covariance], extra: Floats | None = None) -> Fit:
    """Fit y = a + b·u for each u, under the covariance of the largest restricted likelihood.

    Args:
        columns: (K, n), every u.
        level: (n,), y.
        known: the covariances to choose from.
        extra: (K,) parameters that were spent on choosing u; default: none.
    """
    size, restricted, plain = len(level), [], []
    for each in known:
        one, y, u = each.decorrelate.sum(axis=1), each.decorrelate @ level, columns @ each.decorrelate.T
        s11, s1y, s1u, suy = one @ one, one @ y, u @ one, u @ y
        determinant = s11 * (u * u).sum(axis=1) - s1u**2
        usable = determinant > 1e-12 * s11
        slope = np.where(usable, (s11 * suy - s1u * s1y) / np.where(usable, determinant, 1), 0)
        rest = y @ y - (s1y - slope * s1u) / s11 * s1y - slope * suy
        rest = np.maximum(rest, NEGLIGIBLE * size)
        spread = np.log(np.where(usable, determinant, np.inf))
        restricted.append(-((size - 2) * np.log(rest) + each.log_determinant + spread) / 2)
        plain.append(size * np.log(rest / size) + each.log_determinant)
    likely, best = np.array(restricted), np.argmax(restricted, axis=0)
    spent = 2 + (np.zeros(len(columns)) if extra is None else extra)
    bic = np.array(plain)[best, np.arange(len(columns))] + spent * np.log(size)
    bic = np.where(np.isfinite(likely.max(axis=0)), bic, np.inf)
    chosen = int(np.argmin(bic))
    order = np.argsort(-likely[:, chosen], kind="stable")
    near = [known[i] for i in order if likely[i, chosen] >= likely[order[0], chosen] - NEAR]
    return Fit(bic=float(bic[chosen]), column=columns[chosen], chosen=chosen, near=tuple(near))


def constant_bic(level: Floats, known: Sequence[Covariance]) -> float:
    """The BIC of y = a."""
    size, found = len(level), []
    for each in known:
        one, y = each.decorrelate.sum(axis=1), each.decorrelate @ level
        rest = max(float(y @ y - (one @ y) ** 2 / (one @ one)), NEGLIGIBLE * size)
        likely = -((size - 1) * math.log(rest) + each.log_determinant + math.log(one @ one)) / 2
        found.append((likely, size * math.log(rest / size) + each.log_determinant + math.log(size)))
    return max(found)[1]


def slope(line: Fit, pieces: Pieces, generator: np.random.Generator) -> tuple[float, float, float]:
    """(b, low, high) of a fit; the interval is the hull over the covariances that may be true."""
    size, series = len(pieces.level), len(pieces.squares)
    slopes, ends = [], []
    for each in line.near:
        design = np.stack([each.decorrelate.sum(axis=1), each.decorrelate @ line.column], axis=1)
        solve = np.linalg.pinv(design)
        y = each.decorrelate @ pieces.level
        found = solve @ y
        slopes.append(float(found[1]))
        if series >= SEEDS:
            drawn = pieces.squares[generator.integers(0, series, (RESAMPLES, series))].mean(axis=1)
            levels = np.log(np.where(drawn > 0, drawn, pieces.squares.mean(axis=0))) / 2
            resampled = levels @ each.decorrelate.T @ solve[1]
        else:
            rest = y - design @ found
            rest = (rest - rest.mean()) * math.sqrt(size / (size - 2))
            resampled = found[1] + rest[generator.integers(0, size, (RESAMPLES, size))] @ solve[1]
        ends.append(np.quantile(resampled, TAILS))
    return slopes[0], float(np.min(ends, axis=0)[0]), float(np.max(ends, axis=0)[1])
