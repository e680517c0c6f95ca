"""Random LSRL programs, by profile.

A drawn program is a chain with side branches: each node reads one of the newest
values, so that little of it is dead, and the output stacks the last two values.
Everything drawn is small and shrinks towards fewer nodes, smaller dimensions and
zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from gmpy2 import mpq
from hypothesis import strategies as st

from compiler import ir
from compiler.errors import ConfigError
from compiler.exact import Matrix
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU, Variable, assume
from compiler.stdlib import (
    f_and,
    f_bump,
    f_delay,
    f_eq,
    f_first,
    f_ifelse,
    f_int_and,
    f_int_eq,
    f_int_ge,
    f_larger,
    f_modulo_counter,
    f_neq,
    f_not,
    f_or,
    f_relu_identity,
    f_ring_counter,
    f_smaller,
    f_step,
)

T = TypeVar("T")

MAX_DIM = 3
WIDEST = 6
CONSTANTS = tuple(mpq(text) for text in ("0", "1", "-1", "2", "1/2", "-1/3", "-2", "3", "2/3", "-3/4"))
WHOLE_CONSTANTS = tuple(mpq(number) for number in (0, 1, -1, 2, -2, 3))
INPUT_RANGES: tuple[ir.Declaration | None, ...] = (
    None,
    ir.Declaration(lo=mpq(0), hi=mpq(1), integer=True),
    ir.Declaration(lo=mpq(-2), hi=mpq(3), integer=True),
    ir.Declaration(lo=mpq(-1), hi=mpq(1)),
    ir.Declaration(lo=mpq(0)),
    ir.Declaration(hi=mpq(1)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Which operations a program may use, and how many nodes and products it has.

    Attributes:
        operations: names out of ``linear``, ``relu``, ``state``, ``concat``, ``multi``, and of
            idioms ``compare``, ``logic``, ``choose``, ``blend``, ``count``, ``exactly``, ``ring``; a
            name given twice is drawn twice as often.
        least: fewest nodes besides Input and output.
        most: most nodes besides Input and output.
        products: most ``multi`` nodes (their values' sizes multiply).
        whole: draw integers only, so that comparisons can saturate.
        reach: a node reads one of this many newest values.
    """

    operations: tuple[str, ...]
    least: int = 10
    most: int = 18
    products: int = 0
    whole: bool = False
    reach: int = 3


PROFILES: dict[str, Profile] = {
    "affine": Profile(operations=("linear", "state", "concat")),
    "relu": Profile(operations=("linear", "relu", "relu", "concat")),
    "stateful": Profile(operations=("state", "relu", "linear", "state", "concat")),
    "gated": Profile(operations=("state", "relu", "multi", "linear", "concat"), products=3),
    "ramps": Profile(
        operations=("compare", "logic", "blend", "multi", "linear", "state"), most=12, products=2
    ),
    "idioms": Profile(
        operations=("compare", "logic", "choose", "count", "linear", "state"), most=14, whole=True
    ),
    "integer-exact": Profile(operations=("exactly", "exactly", "ring", "relu"), most=14, whole=True),
    "deep": Profile(operations=("relu", "linear", "state"), least=24, most=40),
    "wide": Profile(operations=("concat", "linear", "state", "relu"), most=14, reach=8),
}


def programs(profile: str = "stateful", *, least: int | None = None) -> st.SearchStrategy[ir.Program]:
    """Random programs of a profile.

    Args:
        profile: a name of :data:`PROFILES`.
        least: fewest nodes besides Input and output, in place of the profile's.

    Raises:
        ConfigError: another name.
    """
    chosen = PROFILES.get(profile)
    if chosen is None:
        raise ConfigError.single(f"unknown profile {profile!r}", hint="one of " + ", ".join(PROFILES))
    return _programs(chosen if least is None else replace(chosen, least=least))


@st.composite
def _programs(draw: st.DrawFn, profile: Profile) -> ir.Program:
    ranges = [each for each in INPUT_RANGES if each and each.integer] if profile.whole else INPUT_RANGES
    declared = draw(st.sampled_from(ranges)) or ir.Declaration()
    values = [
        Input(draw(_dims()), lo=declared.lo, hi=declared.hi, integer=declared.integer),
    ]
    products = 0
    for _ in range(draw(st.integers(profile.least, profile.most))):
        operation = draw(st.sampled_from(profile.operations))
        if operation == "multi":
            operation = "multi" if products < profile.products else "linear"
            products += 1
        newest = values[-profile.reach :]
        source = newest[-1 - draw(st.integers(0, len(newest) - 1))]
        constants = WHOLE_CONSTANTS if profile.whole else CONSTANTS
        values.append(_OPERATIONS[operation](_Draw(draw, constants), source, values))
    return Concat(values[-1], values[-2]).program("drawn")


def _dims() -> st.SearchStrategy[int]:
    return st.integers(1, MAX_DIM)


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws from strategies, and constants from the profile's own."""

    draw: st.DrawFn
    constants: tuple[mpq, ...]

    def __call__(self, strategy: st.SearchStrategy[T]) -> T:
        return self.draw(strategy)

    def vector(self, size: int) -> list[mpq]:
        return self.draw(st.lists(st.sampled_from(self.constants), min_size=size, max_size=size))

    def matrix(self, height: int, width: int) -> Matrix:
        flat = self.vector(height * width)
        return Matrix.dense([flat[i * width : (i + 1) * width] for i in range(height)])


def _linear(draw: _Draw, source: Variable, _values: list[Variable]) -> Variable:
    height = draw(_dims())
    return Linear(source, draw.matrix(height, source.dim), draw.vector(height))


def _relu(_draw: _Draw, source: Variable, _values: list[Variable]) -> Variable:
    return ReLU(source)


def _state(draw: _Draw, source: Variable, _values: list[Variable]) -> Variable:
    size = draw(_dims())
    return LinState(
        source,
        draw.matrix(size, size),
        draw.matrix(size, source.dim),
        draw.vector(size),
        draw.vector(size),
    )


def _concat(draw: _Draw, source: Variable, values: list[Variable]) -> Variable:
    other = draw(st.sampled_from(values))
    stacked = Concat(source, other)
    return stacked if stacked.dim <= WIDEST else stacked[:WIDEST]


def _multi(_draw: _Draw, source: Variable, values: list[Variable]) -> Variable:
    if source.dim % 2:
        source = Concat(source, values[-1] if values[-1].dim % 2 else source)
    return Multi(source)


def _partner(draw: _Draw, source: Variable, values: list[Variable]) -> Variable:
    """Another value of the same dimension, or one component of one."""
    other = draw(st.sampled_from(values))
    return other if other.dim in {1, source.dim} else other[0]


def _compare(draw: _Draw, source: Variable, values: list[Variable]) -> Variable:  # noqa: PLR0911 -- one each
    half = mpq(2 * draw(st.integers(-3, 3)) + 1, 2)
    kind = draw(
        st.sampled_from(("larger", "smaller", "equal", "different", "between", "values", "integers", "least"))
    )
    other = _partner(draw, source, values)
    match kind:
        case "larger":
            return f_larger(source, half)
        case "smaller":
            return f_smaller(source, half)
        case "equal":
            return f_eq(source, other)
        case "different":
            return f_neq(source, other)
        case "between":
            return f_bump(source, half, half + draw(st.integers(0, 3)))
        case "values":
            return f_step(source - other)
        case "integers":
            return f_int_eq(source, other)
        case _:
            return f_int_ge(source, draw(st.integers(-3, 3)))


def _logic(draw: _Draw, source: Variable, values: list[Variable]) -> Variable:
    one, other = f_larger(source, mpq(1, 2)), f_smaller(_partner(draw, source, values), mpq(3, 2))
    kind = draw(st.sampled_from(("and", "or", "not", "both", "identity")))
    match kind:
        case "and":
            return f_and(one, other)
        case "or":
            return f_or(one, other)
        case "not":
            return f_not(f_or(one, other))
        case "both":
            return f_int_and(one, other)
        case _:
            return f_relu_identity(source)


def _choose(draw: _Draw, source: Variable, values: list[Variable]) -> Variable:
    bounded = assume(ReLU(2 - ReLU(2 - _partner(draw, source, values))), lo=0, hi=2, integer=True)
    cond = f_larger(source, mpq(2 * draw(st.integers(-2, 2)) + 1, 2))
    if draw(st.booleans()):
        cond = f_not(cond)
    return f_ifelse(cond, bounded, draw(st.sampled_from((0, 1, -2))))


def _blend(draw: _Draw, source: Variable, values: list[Variable]) -> Variable:
    """A conditional whose condition may be on a ramp, or at its threshold."""
    cond = f_larger(source, draw(st.sampled_from(CONSTANTS)))
    if draw(st.booleans()):
        cond = f_and(cond, f_smaller(_partner(draw, source, values), draw(st.sampled_from(CONSTANTS))))
    bounded = ReLU(2 - ReLU(2 - _partner(draw, source, values)))
    return f_ifelse(cond, bounded, draw(st.sampled_from(CONSTANTS)))


def _count(draw: _Draw, source: Variable, _values: list[Variable]) -> Variable:
    kind, length = draw(st.sampled_from(("modulo", "ring", "delay", "first"))), draw(st.integers(1, 3))
    match kind:
        case "modulo":
            return f_modulo_counter(source, length)
        case "ring":
            return f_ring_counter(source, length)
        case "delay":
            return f_delay(source[0], length)
        case _:
            return f_first(source, length)


def _exactly(draw: _Draw, source: Variable, values: list[Variable]) -> Variable:
    """An idiom of small integers, whose every intermediate value is a small integer."""
    other = _partner(draw, source, values)
    kind = draw(st.sampled_from(("least", "equal", "and", "total")))
    match kind:
        case "least":
            return f_int_ge(source, draw(st.integers(-3, 3)))
        case "equal":
            return f_int_eq(source, other)
        case "and":
            return f_int_and(f_int_ge(source, draw(st.integers(-2, 2))), f_int_ge(other, 1))
        case _:
            return Linear(source, Matrix.dense([[1] * source.dim]), [draw(st.integers(-2, 2))])


def _ring(draw: _Draw, source: Variable, _values: list[Variable]) -> Variable:
    kind, length = draw(st.sampled_from(("ring", "delay", "first"))), draw(st.integers(1, 3))
    if kind == "delay":
        return f_delay(source[0], length)
    return f_ring_counter(source, length) if kind == "ring" else f_first(source, length)


_Operation = Callable[[_Draw, Variable, list[Variable]], Variable]
_OPERATIONS: dict[str, _Operation] = {
    "linear": _linear,
    "relu": _relu,
    "state": _state,
    "concat": _concat,
    "multi": _multi,
    "compare": _compare,
    "logic": _logic,
    "choose": _choose,
    "blend": _blend,
    "count": _count,
    "exactly": _exactly,
    "ring": _ring,
}
