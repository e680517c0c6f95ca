"""The definitions of the standard library, over the six operations.

Each function takes the variables of a call and a :class:`Context` and records
the expansion.  The last column of the table in the language reference - the
range of an idiom's value - is a theorem with a precondition: the precondition is
checked here from ranges, and where it cannot be shown the range is not declared
and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from gmpy2 import mpq

from compiler import exact as ex
from compiler import ranges
from compiler.config import Auto, CompileConfig, Conditional
from compiler.exact import ONE, ZERO, Matrix, next_power_of_two
from compiler.expr import Concat, Linear, LinState, Multi, ReLU, Variable, constant
from compiler.ranges import Range

BOOLEAN = Range(ZERO, ONE, ONE, ZERO)
UNIT = Range(ZERO, ONE)
SIGNED_UNIT = Range(-ONE, ONE)
REAL_SLOPE = mpq(1024)
"""``mu=auto`` of a comparison of real values, which no slope saturates."""
ROTATION_BOUND = Range(mpq(-2), mpq(2))
"""A rotation rounded to 512 bits leaves the unit circle by far less than this."""

Options: TypeAlias = dict[str, mpq | bool | str]


class Context(Protocol):
    """What an expansion may ask of the compilation under way."""

    config: CompileConfig

    def ranges(self, x: Variable) -> list[Range]:
        """The range of every component of ``x``."""

    def declare(self, x: Variable, bounds: Sequence[Range]) -> Variable:
        """``x`` with ranges that a theorem gives."""

    def note(self, kind: str, message: str, hint: str | None = None) -> None:
        """Something the compiler could not show, or that saturates badly."""

    def refuse(self, message: str, hint: str) -> Exception:
        """The refusal to compile this call."""

    def complement(self, position: int) -> Variable | None:
        """1 − c of argument ``position`` of this call, built from the opposite idiom."""

    def complements_exactly(self, position: int) -> bool:
        """Whether that complement is known to be 1 − c for every value of the argument."""


# ---------------------------------------------------------------- comparisons


def _slope(context: Context, x: Variable, given: mpq | Auto | None) -> tuple[mpq, bool]:
    """The slope of a step over ``x`` and whether it saturates for every value."""
    gaps = [extent.smallest_positive() for extent in context.ranges(x)]
    known = [gap for gap in gaps if gap is not None]
    real = len(known) < len(gaps)
    mu = given if given is not None else context.config.mu
    if mu == "auto":
        needed = max((1 / gap for gap in known if gap > 0), default=ONE)
        mu = next_power_of_two(max(needed, REAL_SLOPE if real else ONE))
    assert isinstance(mu, mpq)
    if real:
        context.note(
            "ramp", f"a comparison of real values: it is a ramp of width 1/{mu} beside its threshold"
        )
        return mu, False
    short = [gap for gap in known if 0 < gap * mu < 1]
    if short:
        context.note(
            "unsaturated",
            f"a comparison that does not saturate: its smallest positive argument is {min(short)}, "
            f"which mu={mu} takes to {min(short) * mu}, not 1",
            f"use mu ≥ {next_power_of_two(1 / min(short))} or mu=auto",
        )
    return mu, not short


def step(context: Context, x: Variable, given: mpq | Auto | None = None) -> Variable:
    """f_step in the configured form; in [0, 1], Boolean where it saturates."""
    mu, saturated = _slope(context, x, given)
    if context.config.step == "paper":
        value = ReLU(x * mu) - ReLU(x - 1 / mu) * mu
    else:
        value = 1 - ReLU(1 - ReLU(x * mu))
    return context.declare(value, [BOOLEAN if saturated else UNIT] * x.dim)


def _mu(options: Options) -> mpq | Auto | None:
    return _scale(options, "mu")


def _scale(options: Options, name: str) -> mpq | Auto | None:
    """μ or λ as the call gives it; None: the configuration's."""
    value = options.get(name)
    if value == "auto":
        return "auto"
    assert value is None or isinstance(value, mpq)
    return value


def f_step(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """ReLU(μx) − μ ReLU(x − 1/μ), or 1 − ReLU(1 − ReLU(μx)) (form ``clip``)."""
    return step(context, sources[0], _mu(options))


def f_bump(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """f_step(x − lo) − f_step(x − hi)."""
    x, lo, hi = sources
    after_lo, after_hi = x - lo, x - hi
    # one slope for both: a steeper fall than rise would take the bump below 0
    mu = max(_slope(context, each, _mu(options))[0] for each in (after_lo, after_hi))
    rising, falling = step(context, after_lo, mu), step(context, after_hi, mu)
    ordered = all(width.nonnegative for width in context.ranges(hi - lo))
    if not ordered:
        context.note("range", "f_bump: lo ≤ hi cannot be shown, so its value is only known to lie in [−1, 1]")
    whole = all(r.boolean for part in (rising, falling) for r in context.ranges(part))
    bound = UNIT if ordered else SIGNED_UNIT
    return context.declare(
        rising - falling,
        [ranges.intersect(bound, ranges.REAL) if not whole else Range(bound.lo, bound.hi, ONE, ZERO)] * x.dim,
    )


def f_larger(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """f_step(x − y)."""
    return step(context, sources[0] - sources[1], _mu(options))


def f_smaller(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """f_step(y − x)."""
    return step(context, sources[1] - sources[0], _mu(options))


def f_not(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """1 − x, or (complement ``direct``) the opposite idiom."""
    return context.complement(0) or 1 - sources[0]


def _all_boolean(context: Context, *parts: Variable) -> bool:
    return all(extent.boolean for part in parts for extent in context.ranges(part))


def f_and(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """ReLU(f_step(x) + f_step(y) − 1)."""
    left, right = (step(context, each, _mu(options)) for each in sources)
    whole = _all_boolean(context, left, right)
    return context.declare(ReLU(left + right - 1), [BOOLEAN if whole else UNIT] * left.dim)


def f_or(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """f_step(x + y)."""
    return step(context, sources[0] + sources[1], _mu(options))


def f_eq(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """f_step(1 − f_step(x − y) − f_step(y − x))."""
    x, y = sources
    above, below = step(context, x - y, _mu(options)), step(context, y - x, _mu(options))
    return step(context, 1 - above - below, _mu(options))


def f_neq(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """f_step(f_step(x − y) + f_step(y − x))."""
    x, y = sources
    return step(
        context, step(context, x - y, _mu(options)) + step(context, y - x, _mu(options)), _mu(options)
    )


def f_relu_identity(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """ReLU(x) − ReLU(−x)."""
    x = sources[0]
    return context.declare(ReLU(x) - ReLU(-x), context.ranges(x))


# ---------------------------------------------------------------- integers


def _integers(context: Context, idiom: str, *parts: Variable) -> bool:
    if all(extent.integer for part in parts for extent in context.ranges(part)):
        return True
    context.note(
        "range",
        f"{idiom} needs integer arguments, which cannot be shown here",
        "declare them: Input(…, integer=true) or assume(x, integer=true)",
    )
    return False


def f_int_ge(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """ReLU(x − k + 1) − ReLU(x − k)."""
    x, k = sources[0], options["k"]
    assert isinstance(k, mpq)
    excess = x - k
    whole = _integers(context, "f_int_ge", excess)
    value = ReLU(excess + 1) - ReLU(excess)
    return context.declare(value, [BOOLEAN] * x.dim) if whole else value


def f_int_eq(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """ReLU(d + 1) − 2 ReLU(d) + ReLU(d − 1), d = x − y."""
    d = sources[0] - sources[1]
    stacked = Concat(ReLU(d + 1), ReLU(d), ReLU(d - 1))
    blocks = [ex.eye(d.dim), ex.eye(d.dim).scaled(mpq(-2)), ex.eye(d.dim)]
    value = Linear(stacked, ex.hstack(blocks))
    return context.declare(value, [BOOLEAN] * d.dim) if _integers(context, "f_int_eq", d) else value


def f_int_and(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """ReLU(x + y − 1)."""
    x, y = sources
    value = ReLU(x + y - 1)
    if _all_boolean(context, x, y):
        return context.declare(value, [BOOLEAN] * x.dim)
    context.note("range", "f_int_and needs Boolean arguments, which cannot be shown here")
    return value


# ---------------------------------------------------------------- counters and registers


def _period(options: Options, name: str) -> int:
    value = options[name]
    assert isinstance(value, mpq)
    return int(value)


def f_modulo_counter(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """A point turning by 2π/n per step, read by its nearest position on the circle.

    A position's dot product with the point is 1 where they meet and at most
    cos(2π/n) elsewhere; thresholded at cos(π/n) with slope μ_c it saturates if
    μ_c (1 − cos(π/n)) ≥ 1.  μ_c is the larger of μ and the next power of two that
    gives 2, so that a rotation which was rounded still saturates.
    """
    x, n = sources[0], _period(options, "n")
    threshold = ex.cos_pi(mpq(1, n))
    start = ex.rotation(mpq(-2, n)).times((ONE, ZERO))
    point = LinState(x, ex.rotation(mpq(2, n)), ex.zeros(2, x.dim), 0, start)
    point = context.declare(point, [ROTATION_BOUND] * 2)
    circle = Matrix.from_rows(
        2, [{0: ex.cos_pi(mpq(2 * k, n)), 1: ex.sin_pi(mpq(2 * k, n))} for k in range(n)]
    )
    nearness = Linear(point, circle, [-threshold] * n)
    needed = next_power_of_two(2 / (1 - threshold))
    wanted = _mu(options) or context.config.mu
    if options.get("keep_mu"):
        mu = REAL_SLOPE if wanted == "auto" else wanted
    else:
        mu = needed if wanted == "auto" else max(wanted, needed)
    assert isinstance(mu, mpq)
    saturated = mu * (1 - threshold) > 1
    if not saturated:
        context.note(
            "unsaturated",
            f"f_modulo_counter({n}) does not saturate at mu={mu} and counts wrong",
            f"use mu ≥ {needed}, or leave out keep_mu",
        )
    value = (
        ReLU(nearness * mu) - ReLU(nearness - 1 / mu) * mu
        if context.config.step == "paper"
        else (1 - ReLU(1 - ReLU(nearness * mu)))
    )
    one_hot = context.declare(value, [BOOLEAN if saturated else UNIT] * n)
    count = Linear(one_hot, [[mpq(k) for k in range(n)]])
    return context.declare(count, [Range(ZERO, mpq(n - 1), ONE, ZERO)]) if saturated else count


def f_ring_counter(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """A one-hot ring: A the n-cycle, started at position n − 1."""
    x, n = sources[0], _period(options, "n")
    start = [ZERO] * (n - 1) + [ONE]
    return context.declare(LinState(x, ex.cycle(n), ex.zeros(n, x.dim), 0, start), [BOOLEAN] * n)


def f_delay(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """A shift register of k cells, the newest first."""
    x, k = sources[0], _period(options, "k")
    entry = Matrix.from_rows(1, [{0: ONE}] + [{}] * (k - 1))
    return LinState(x, ex.shift(k), entry, 0, [ZERO] * k)


def f_first(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """The last of n + 1 shifted cells, the first n of which start at one."""
    x, n = sources[0], _period(options, "n")
    cells = LinState(x, ex.shift(n + 1), ex.zeros(n + 1, x.dim), 0, [ONE] * n + [ZERO])
    return cells[n]


# ---------------------------------------------------------------- the conditional


def _lam(context: Context, branches: Sequence[Variable], given: mpq | Auto | None) -> mpq:
    """λ: given, configured, or the smallest power of two that covers both branches."""
    sizes = [extent.magnitude for branch in branches for extent in context.ranges(branch)]
    lam = given if given is not None else context.config.lam
    bounded = [size for size in sizes if size is not None]
    if lam == "auto":
        if len(bounded) < len(sizes):
            raise context.refuse(
                "lam=auto, but a branch of f_ifelse has no known bound",
                "bound it with assume(x, lo=…, hi=…), or give lam a number",
            )
        return next_power_of_two(max([*bounded, ONE]))
    assert isinstance(lam, mpq)
    if bounded and max(bounded) > lam:
        context.note(
            "lambda",
            f"lam={lam} is below a branch of f_ifelse that reaches {max(bounded)}",
            f"use lam ≥ {next_power_of_two(max(bounded))}",
        )
    return lam


def _masks(
    context: Context, cond: Variable, lam: mpq, mu: mpq | Auto | None, *, stepped: bool
) -> tuple[Variable, Variable]:
    """(−λc, −λ(1−c)), or their stepped forms −λ + λ f_step(±(½ − c))."""
    if not stepped:
        opposite = context.complement(0) or 1 - cond
        return cond * -lam, opposite * -lam
    slope = mu if mu is not None else context.config.mu
    if isinstance(slope, mpq) and slope < 2:
        raise context.refuse(f"the conditional 'step' needs mu ≥ 2, not {slope}", "use mu ≥ 2 or mu=auto")
    half = mpq(1, 2)
    return (step(context, half - cond, mu) * lam - lam, step(context, cond - half, mu) * lam - lam)


def _additive(
    context: Context, sources: Sequence[Variable], lam: mpq, mu: mpq | Auto | None, form: Conditional
) -> Variable:
    """ReLU(−λc+f) + ReLU(−λ(1−c)+t) − ReLU(−λc−f) − ReLU(−λ(1−c)−t), less what vanishes."""
    cond, t, f = sources
    mask_f, mask_t = _masks(context, cond, lam, mu, stepped=form.startswith("step"))
    prune = form.endswith("optimized")
    terms: list[tuple[Variable, mpq]] = []
    for branch, mask in ((f, mask_f), (t, mask_t)):
        extents = context.ranges(branch)
        if prune and all(extent.zero for extent in extents):
            continue
        terms.append((ReLU(mask + branch), ONE))
        if not (prune and all(extent.nonnegative for extent in extents)):
            terms.append((ReLU(mask - branch), -ONE))
    if not terms:
        return constant(cond, [ZERO] * t.dim)
    blocks = [ex.eye(t.dim).scaled(sign) for _, sign in terms]
    return Linear(Concat([variable for variable, _ in terms]), ex.hstack(blocks))


def _multiplicative(context: Context, sources: Sequence[Variable], *, prune: bool) -> Variable:
    """C ⊙ t + (1 − c) ⊙ f, less a branch that is zero."""
    cond, t, f = sources
    parts: list[Variable] = []
    if not (prune and all(extent.zero for extent in context.ranges(t))):
        parts.append(Multi(Concat(cond, t)))
    if not (prune and all(extent.zero for extent in context.ranges(f))):
        parts.append(Multi(Concat(context.complement(0) or 1 - cond, f)))
    if not parts:
        return constant(cond, [ZERO] * t.dim)
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def f_ifelse(context: Context, sources: Sequence[Variable], options: Options) -> Variable:
    """T where cond = 1, f where cond = 0, by the configured conditional."""
    cond, t, f = sources
    form = context.config.conditional
    assert form is not None, "the conditional is settled before lowering"
    multiplicative = form.startswith("multiplicative")
    lam: mpq | None = None
    if multiplicative:
        value = _multiplicative(context, sources, prune=form.endswith("optimized"))
    else:
        lam = _lam(context, (t, f), _scale(options, "lam"))
        value = _additive(context, sources, lam, _mu(options), form)
    pairs = zip(context.ranges(t), context.ranges(f), strict=True)
    extents = [ranges.hull(one, other) for one, other in pairs]
    return _within_branches(context, value, cond, extents, lam)


def _within_branches(
    context: Context, value: Variable, cond: Variable, extents: Sequence[Range], lam: mpq | None
) -> Variable:
    """``value`` with the range "t or f", where that is a theorem.

    It needs a condition of 0 or 1 (products: in [0, 1]), masks that add up to one, and a
    λ that covers both branches.
    """
    form = context.config.conditional or ""
    if not (form.startswith("step") or context.complements_exactly(0)):
        context.note(
            "range",
            "the complement of f_ifelse's condition cannot be shown to be 1 − c, so its value has no range",
            "compare values that are never equal, or use complement=subtract",
        )
        return value
    if lam is not None and any(size is None or size > lam for size in (e.magnitude for e in extents)):
        return value  # noted where λ was settled, or unbounded: no statement either way
    if _all_boolean(context, cond):
        return context.declare(value, extents)
    within = all(ranges.intersect(UNIT, extent) == extent for extent in context.ranges(cond))
    if within and lam is None:
        return context.declare(value, [Range(e.lo, e.hi) for e in extents])
    wanted = "0 or 1" if within else "in [0, 1]"
    context.note(
        "range", f"the condition of f_ifelse cannot be shown to be {wanted}, so its value has no range"
    )
    return value


Expansion: TypeAlias = Callable[[Context, Sequence[Variable], Options], Variable]
EXPANSIONS: dict[str, Expansion] = {
    function.__name__: function
    for function in (
        f_step,
        f_bump,
        f_larger,
        f_smaller,
        f_not,
        f_and,
        f_or,
        f_eq,
        f_neq,
        f_relu_identity,
        f_int_ge,
        f_int_eq,
        f_int_and,
        f_modulo_counter,
        f_ring_counter,
        f_delay,
        f_first,
        f_ifelse,
    )
}

OPPOSITES: dict[str, tuple[str, bool]] = {
    "f_larger": ("f_smaller", False),
    "f_smaller": ("f_larger", False),
    "f_eq": ("f_neq", False),
    "f_neq": ("f_eq", False),
    "f_and": ("f_or", True),
    "f_or": ("f_and", True),
}
"""Opposite idiom of each, and whether its arguments are complemented as well."""
