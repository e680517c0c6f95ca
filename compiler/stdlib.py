"""The standard library of idioms, as calls that a front end records.

Nothing is expanded here: how a step, a conditional or a complement is built is
a factor of the compilation (:class:`compiler.config.CompileConfig`), so a call
stays one :class:`compiler.ir.Idiom` node until :func:`compiler.lowering.lower`.
The definitions stand in :mod:`compiler.idioms`.  ``mu`` and ``lam``, numbers or
``auto``, override the configuration for one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from gmpy2 import mpq

from compiler import ir
from compiler.config import Auto
from compiler.errors import ProgramError
from compiler.exact import Number, exact
from compiler.expr import Variable, VectorLike, broadcast, broadcast_dim, constant, variable

MAX_PERIOD = 10_000
"""Longest counter, ring or delay: its one-hot vector has as many components."""

Operand: TypeAlias = Variable | Number
Scale: TypeAlias = Number | Auto
SCALES = frozenset({"mu", "lam"})


def _anchor(operands: Sequence[Operand]) -> Variable:
    for operand in operands:
        if isinstance(operand, Variable):
            return operand
    raise ProgramError.single(
        "a library call without a variable", hint="at least one argument is a variable of the program"
    )


def _record(
    kind: str, operands: Sequence[Operand], dim: int | None = None, **options: Scale | bool | None
) -> Variable:
    """Append an Idiom node; ``dim=None`` broadcasts the operands to one dimension."""
    anchor = _anchor(operands)
    variables = [variable(anchor, operand) for operand in operands]
    if dim is None:
        dim = broadcast_dim(anchor.recorder, variables)
        variables = [broadcast(each, dim) for each in variables]
    given: list[tuple[str, ir.OptionValue]] = []
    for name, value in sorted(options.items()):
        if value is None:
            continue
        if isinstance(value, bool) or (name in SCALES and value == "auto"):
            given.append((name, value))
            continue
        given.append((name, _option(anchor, kind, name, value)))
    sources = tuple(each.index for each in variables)
    return anchor.recorder.add(ir.Idiom, dim=dim, kind=kind, sources=sources, options=tuple(given))


def _option(anchor: Variable, kind: str, name: str, value: Number) -> mpq:
    """A constant argument as an exact number; μ and λ must be positive where they are numbers."""
    try:
        number = exact(value)
    except (ValueError, ZeroDivisionError, TypeError) as problem:
        hint = f"{name} is a positive number or auto" if name in SCALES else None
        raise anchor.recorder.error(f"{kind}: {name}: {problem}", hint) from None
    if name in SCALES and number <= 0:
        raise anchor.recorder.error(f"{kind}: {name}={number}", f"{name} is a positive number or auto")
    return number


def _count(anchor: Variable, kind: str, name: str, value: Number) -> int:
    number = _option(anchor, kind, name, value)
    if number.denominator != 1 or not 1 <= number <= MAX_PERIOD:
        raise anchor.recorder.error(
            f"{kind}: {name}={value}", f"{name} is a whole number from 1 to {MAX_PERIOD}"
        )
    return int(number)


def _scalar(kind: str, x: Variable) -> None:
    if x.dim != 1:
        raise x.recorder.error(
            f"{kind} of a value of dim {x.dim}", "it takes a value of dim 1; slice it: x[i]"
        )


def f_constant(x: Variable, v: VectorLike) -> Variable:
    """The constant v (one number or a vector)."""
    return constant(x, v)


def f_step(x: Variable, *, mu: Scale | None = None) -> Variable:
    """1 where x ≥ 1/μ, 0 where x ≤ 0, a ramp between."""
    return _record("f_step", [x], mu=mu)


def f_bump(x: Variable, lo: Operand, hi: Operand, *, mu: Scale | None = None) -> Variable:
    """f_step(x − lo) − f_step(x − hi): 1 inside (lo, hi]."""
    return _record("f_bump", [x, lo, hi], mu=mu)


def f_larger(x: Operand, y: Operand, *, mu: Scale | None = None) -> Variable:
    """f_step(x − y)."""
    return _record("f_larger", [x, y], mu=mu)


def f_smaller(x: Operand, y: Operand, *, mu: Scale | None = None) -> Variable:
    """f_step(y − x)."""
    return _record("f_smaller", [x, y], mu=mu)


def f_not(x: Variable) -> Variable:
    """1 − x."""
    return _record("f_not", [x])


def f_and(x: Operand, y: Operand, *, mu: Scale | None = None) -> Variable:
    """ReLU(f_step(x) + f_step(y) − 1)."""
    return _record("f_and", [x, y], mu=mu)


def f_or(x: Operand, y: Operand, *, mu: Scale | None = None) -> Variable:
    """f_step(x + y)."""
    return _record("f_or", [x, y], mu=mu)


def f_eq(x: Operand, y: Operand, *, mu: Scale | None = None) -> Variable:
    """f_step(1 − f_step(x − y) − f_step(y − x))."""
    return _record("f_eq", [x, y], mu=mu)


def f_neq(x: Operand, y: Operand, *, mu: Scale | None = None) -> Variable:
    """f_step(f_step(x − y) + f_step(y − x))."""
    return _record("f_neq", [x, y], mu=mu)


def f_relu_identity(x: Variable) -> Variable:
    """ReLU(x) − ReLU(−x)."""
    return _record("f_relu_identity", [x])


def f_modulo_counter(x: Variable, n: Number, *, mu: Scale | None = None, keep_mu: bool = False) -> Variable:
    """The number of the step modulo n: 0 at the first step (x only anchors it)."""
    period = _count(x, "f_modulo_counter", "n", n)
    return _record("f_modulo_counter", [x], 1, n=period, mu=mu, keep_mu=True if keep_mu else None)


def f_ifelse(
    cond: Operand, t: Operand, f: Operand, *, lam: Scale | None = None, mu: Scale | None = None
) -> Variable:
    """T where cond = 1, f where cond = 0, built by the configured conditional."""
    return _record("f_ifelse", [cond, t, f], lam=lam, mu=mu)


def f_int_ge(x: Variable, k: Number) -> Variable:
    """1 where the integer x ≥ k, else 0: ReLU(x − k + 1) − ReLU(x − k)."""
    return _record("f_int_ge", [x], x.dim, k=k)


def f_int_eq(x: Operand, y: Operand) -> Variable:
    """1 where the integers x and y are equal: ReLU(d+1) − 2 ReLU(d) + ReLU(d−1), d = x − y."""
    return _record("f_int_eq", [x, y])


def f_int_and(x: Operand, y: Operand) -> Variable:
    """ReLU(x + y − 1) of two Booleans."""
    return _record("f_int_and", [x, y])


def f_ring_counter(x: Variable, n: Number) -> Variable:
    """One-hot of (step mod n): position 0 at the first step (x only anchors it)."""
    period = _count(x, "f_ring_counter", "n", n)
    return _record("f_ring_counter", [x], period, n=period)


def f_delay(x: Variable, k: Number) -> Variable:
    """(x_t, x_{t−1}, …, x_{t−k+1}) of a scalar x, zeros before the start."""
    _scalar("f_delay", x)
    length = _count(x, "f_delay", "k", k)
    return _record("f_delay", [x], length, k=length)


def f_first(x: Variable, n: Number) -> Variable:
    """1 on the first n steps, 0 after (x only anchors it)."""
    length = _count(x, "f_first", "n", n)
    return _record("f_first", [x], 1, n=length)


LIBRARY: dict[str, Callable[..., Variable]] = {
    function.__name__: function
    for function in (
        f_constant,
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
        f_modulo_counter,
        f_ifelse,
        f_int_ge,
        f_int_eq,
        f_int_and,
        f_ring_counter,
        f_delay,
        f_first,
    )
}
