"""Random LSRL programs, by profile.

A drawn program is a chain with side branches: each node reads one of the newest
values, so that little of it is dead, and the output stacks the last two values.
Everything drawn is small and shrinks towards fewer nodes, smaller dimensions and
zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gmpy2 import mpq
from hypothesis import strategies as st

from compiler import ir
from compiler.errors import ConfigError
from compiler.exact import Matrix
from compiler.expr import Concat, Input, Linear, LinState, Multi, ReLU, Variable

MAX_DIM = 3
WIDEST = 6
REACH = 3
"""A node reads one of this many newest values."""
CONSTANTS = tuple(mpq(text) for text in ("0", "1", "-1", "2", "1/2", "-1/3", "-2", "3", "2/3", "-3/4"))
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
        operations: names out of ``linear``, ``relu``, ``state``, ``concat``, ``multi``;
            a name given twice is drawn twice as often.
        least: fewest nodes besides Input and output.
        most: most nodes besides Input and output.
        products: most ``multi`` nodes (their values' sizes multiply).
    """

    operations: tuple[str, ...]
    least: int = 10
    most: int = 18
    products: int = 0


PROFILES: dict[str, Profile] = {
    "affine": Profile(operations=("linear", "state", "concat")),
    "relu": Profile(operations=("linear", "relu", "relu", "concat")),
    "stateful": Profile(operations=("state", "relu", "linear", "state", "concat")),
    "gated": Profile(operations=("state", "relu", "multi", "linear", "concat"), products=3),
}


def programs(profile: str = "stateful") -> st.SearchStrategy[ir.Program]:
    """Random programs of a profile.

    Args:
        profile: a name of :data:`PROFILES`.

    Raises:
        ConfigError: another name.
    """
    chosen = PROFILES.get(profile)
    if chosen is None:
        raise ConfigError.single(f"unknown profile {profile!r}", hint="one of " + ", ".join(PROFILES))
    return _programs(chosen)


@st.composite
def _programs(draw: st.DrawFn, profile: Profile) -> ir.Program:
    declared = draw(st.sampled_from(INPUT_RANGES)) or ir.Declaration()
    values = [
        Input(draw(_dims()), lo=declared.lo, hi=declared.hi, integer=declared.integer),
    ]
    products = 0
    for _ in range(draw(st.integers(profile.least, profile.most))):
        operation = draw(st.sampled_from(profile.operations))
        if operation == "multi":
            operation = "multi" if products < profile.products else "linear"
            products += 1
        newest = values[-REACH:]
        source = newest[-1 - draw(st.integers(0, len(newest) - 1))]
        values.append(_OPERATIONS[operation](draw, source, values))
    return Concat(values[-1], values[-2]).program("drawn")


def _dims() -> st.SearchStrategy[int]:
    return st.integers(1, MAX_DIM)


def _vector(draw: st.DrawFn, size: int) -> list[mpq]:
    return draw(st.lists(st.sampled_from(CONSTANTS), min_size=size, max_size=size))


def _matrix(draw: st.DrawFn, height: int, width: int) -> Matrix:
    flat = _vector(draw, height * width)
    return Matrix.dense([flat[i * width : (i + 1) * width] for i in range(height)])


def _linear(draw: st.DrawFn, source: Variable, _values: list[Variable]) -> Variable:
    height = draw(_dims())
    return Linear(source, _matrix(draw, height, source.dim), _vector(draw, height))


def _relu(_draw: st.DrawFn, source: Variable, _values: list[Variable]) -> Variable:
    return ReLU(source)


def _state(draw: st.DrawFn, source: Variable, _values: list[Variable]) -> Variable:
    size = draw(_dims())
    return LinState(
        source,
        _matrix(draw, size, size),
        _matrix(draw, size, source.dim),
        _vector(draw, size),
        _vector(draw, size),
    )


def _concat(draw: st.DrawFn, source: Variable, values: list[Variable]) -> Variable:
    other = draw(st.sampled_from(values))
    stacked = Concat(source, other)
    return stacked if stacked.dim <= WIDEST else stacked[:WIDEST]


def _multi(_draw: st.DrawFn, source: Variable, values: list[Variable]) -> Variable:
    if source.dim % 2:
        source = Concat(source, values[-1] if values[-1].dim % 2 else source)
    return Multi(source)


_Operation = Callable[[st.DrawFn, Variable, list[Variable]], Variable]
_OPERATIONS: dict[str, _Operation] = {
    "linear": _linear,
    "relu": _relu,
    "state": _state,
    "concat": _concat,
    "multi": _multi,
}
