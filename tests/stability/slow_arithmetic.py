"""What a rounded sum and product are, in integers: the definition that faster code is held to.

The positive values of a format, in ascending order, are those of its bit patterns 0, 1, 2, …;
beyond the largest one the patterns go on with the numbers that would follow.  Rounding is the
choice between the two patterns around an exact number, found by bisection.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from stability.formats import Format
from stability.rounding import Mode

Exact = tuple[int, int]
"""The number n·2^k as (n, k)."""
SPECIALS = (0.0, -0.0, math.inf, -math.inf, math.nan)


def decoded(pattern: int, fmt: Format) -> int:
    """The value of a bit pattern, in units of the smallest subnormal number."""
    field, fraction = pattern >> (fmt.precision - 1), pattern & ((1 << (fmt.precision - 1)) - 1)
    return fraction if field == 0 else ((1 << (fmt.precision - 1)) + fraction) << (field - 1)


def last_pattern(fmt: Format) -> int:
    """The pattern of the largest finite value: below the infinity, or below the one nan."""
    if fmt.infinities:
        return (((1 << fmt.exponent_bits) - 1) << (fmt.precision - 1)) - 1
    return (1 << (fmt.exponent_bits + fmt.precision - 1)) - 2


def lowest_exponent(fmt: Format) -> int:
    """The smallest subnormal number is 2 to this."""
    return 3 - (1 << (fmt.exponent_bits - 1)) - fmt.precision


def number(pattern: int, fmt: Format) -> float:
    """The value of a bit pattern."""
    field, fraction = pattern >> (fmt.precision - 1), pattern & ((1 << (fmt.precision - 1)) - 1)
    hidden = (1 << (fmt.precision - 1)) if field else 0
    return math.ldexp(hidden + fraction, max(field, 1) - 1 + lowest_exponent(fmt))


def exact(value: float) -> Exact:
    """A finite float as n·2^k."""
    fraction, exponent = math.frexp(value)
    return int(fraction * 2**53), exponent - 53


def neighbours(value: Exact, fmt: Format) -> tuple[int, int, int]:
    """The pattern below |value| (or at it), and its distances from there and from the next one."""
    n, k = abs(value[0]), value[1] - lowest_exponent(fmt)
    scale = max(0, -k)
    n <<= max(0, k)
    exponent = n.bit_length() - scale  # |value| < 2^exponent units
    low, high = 0, 1 << (fmt.precision - 1)
    if exponent >= fmt.precision:
        low = (exponent - fmt.precision + 1) << (fmt.precision - 1)
        high = low + (1 << (fmt.precision - 1))
    while high - low > 1:
        middle = (low + high) // 2
        if decoded(middle, fmt) << scale <= n:
            low = middle
        else:
            high = middle
    return low, n - (decoded(low, fmt) << scale), (decoded(low + 1, fmt) << scale) - n


def chosen(
    around: tuple[int, int, int], fmt: Format, mode: Mode, bits: int, *, negative: bool
) -> tuple[int, bool]:
    """The pattern of the rounded magnitude, and whether a direction keeps it from overflowing."""
    low, below, above = around
    inwards = mode == "zero" or (mode == "up" and negative) or (mode == "down" and not negative)
    if below == 0:
        return low, inwards
    if mode == "nearest":
        return (low + (low % 2 if below == above else below > above)), inwards
    if mode == "stochastic":
        return low + (below * 2**32 > bits * (below + above)), inwards
    return low + (not inwards), inwards


def rounded(
    value: Exact, fmt: Format, mode: Mode, bits: int, around: tuple[int, int, int] | None = None
) -> float:
    """A number other than 0 in a format."""
    negative = value[0] < 0
    pattern, inwards = chosen(around or neighbours(value, fmt), fmt, mode, bits, negative=negative)
    last = last_pattern(fmt)
    if pattern <= last:
        size = number(pattern, fmt)
    elif inwards or fmt.saturating:
        size = number(last, fmt)
    else:
        size = math.inf if fmt.infinities else math.nan
    return -size if negative else size


def special(value: float, fmt: Format) -> float:
    """A zero, an infinity or a nan in a format."""
    if not math.isinf(value):
        return value
    if fmt.saturating:
        return math.copysign(number(last_pattern(fmt), fmt), value)
    return value if fmt.infinities else math.nan


def exact_sum(x: float, y: float) -> Exact | float:
    """x + y, or what it is where that is a zero, an infinity or nan."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return math.nan if math.isnan(x) or math.isnan(y) or x == -y else (x if math.isinf(x) else y)
    if x == 0 and y == 0:
        return -0.0 if math.copysign(1, x) + math.copysign(1, y) == -2 else 0.0
    (m, i), (n, j) = exact(x), exact(y)
    low = min(i, j)
    total = (m << (i - low)) + (n << (j - low))
    return (total, low) if total else 0.0


def exact_product(x: float, y: float) -> Exact | float:
    """X · y likewise."""
    sign = math.copysign(1, x) * math.copysign(1, y)
    if math.isnan(x) or math.isnan(y):
        return math.nan
    if math.isinf(x) or math.isinf(y):
        return math.nan if x == 0 or y == 0 else sign * math.inf
    if x == 0 or y == 0:
        return sign * 0.0
    (m, i), (n, j) = exact(x), exact(y)
    return m * n, i + j


def slow(
    values: list[Exact | float], fmt: Format, modes: tuple[Mode, ...], bits: list[int]
) -> dict[Mode, npt.NDArray[np.float64]]:
    """Exact results in a format, by mode."""
    found: dict[Mode, list[float]] = {mode: [] for mode in modes}
    for value, draw in zip(values, bits, strict=True):
        if isinstance(value, float):
            for results in found.values():
                results.append(special(value, fmt))
            continue
        around = neighbours(value, fmt)
        for mode, results in found.items():
            results.append(rounded(value, fmt, mode, draw, around))
    return {mode: np.array(results) for mode, results in found.items()}


def all_values(fmt: Format) -> npt.NDArray[np.float64]:
    """Every value of a short format, and the special ones."""
    positive = [number(pattern, fmt) for pattern in range(1, last_pattern(fmt) + 1)]
    return np.array([*positive, *(-value for value in positive), *known_specials(fmt)])


def known_specials(fmt: Format) -> list[float]:
    """Zeros, nan, and infinities where the format has them."""
    return [value for value in SPECIALS if not math.isinf(value) or (fmt.infinities and not fmt.saturating)]


def draw_pairs(
    rng: np.random.Generator, left: Format, right: Format, count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Operands: of all sizes, of similar sizes, of sizes a precision apart, subnormal, largest, special."""
    x, y = draw_values(rng, left, count), draw_values(rng, right, count)
    near = rng.random(count) < 0.6
    _, own = np.frexp(np.where(np.isfinite(x), x, 1.0))
    fraction, _ = np.frexp(y)
    apart = rng.integers(-right.precision - 3, left.precision + 4, size=count)
    few = rng.random(count) < 0.5  # one bit, so that ties are frequent
    fraction = np.where(few & (fraction != 0) & np.isfinite(fraction), np.copysign(0.5, fraction), fraction)
    with np.errstate(over="ignore", under="ignore"):
        moved = np.ldexp(fraction, own + apart)
    lowest, largest = float(right.smallest_subnormal), float(right.largest)
    with np.errstate(over="ignore", invalid="ignore"):
        fits = (np.abs(moved) <= largest) & (moved / lowest == np.rint(moved / lowest))
    return x, np.where(near & fits, moved, y)


def draw_values(rng: np.random.Generator, fmt: Format, count: int) -> npt.NDArray[np.float64]:
    """Values by random bit patterns, some at the ends of the range, some special."""
    last = last_pattern(fmt)
    patterns = rng.integers(0, last, endpoint=True, size=count, dtype=np.uint64)
    where = rng.random(count)
    edge = rng.integers(0, 2 ** min(fmt.precision, 8), size=count, dtype=np.uint64)
    patterns = np.where(where < 0.05, edge, patterns)
    patterns = np.where(where > 0.95, np.uint64(last) - edge, patterns)
    field = (patterns >> np.uint64(fmt.precision - 1)).astype(np.int64)
    fraction = (patterns & np.uint64((1 << (fmt.precision - 1)) - 1)).astype(np.float64)
    hidden = np.where(field > 0, 2.0 ** (fmt.precision - 1), 0.0)
    lowest = lowest_exponent(fmt)
    values = np.ldexp(hidden + fraction, (np.maximum(field, 1) - 1 + lowest).astype(np.int32))
    values = np.where(rng.random(count) < 0.5, -values, values)
    specials = np.array(known_specials(fmt))
    return np.where((where > 0.5) & (where < 0.52), specials[rng.integers(len(specials), size=count)], values)


def same_values(left: npt.ArrayLike, right: npt.ArrayLike) -> bool:
    """Equal values and signs of zeros, nans as a class."""
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    nans = np.isnan(a) & np.isnan(b)
    return bool(np.all(nans | ((a == b) & (np.signbit(a) == np.signbit(b)))))
