"""Operators of the text language on numbers, matrices, lists and variables."""

from __future__ import annotations

from collections.abc import Callable

from gmpy2 import mpq

from compiler.exact import Matrix
from compiler.expr import Variable
from compiler.text.values import (
    MAX_BITS,
    Budget,
    PiMultiple,
    Value,
    bits,
    bounded,
    describe,
    fault,
    show,
)

_SMALL = 512


def _charged(value: mpq, budget: Budget) -> mpq:
    size = bits(value)
    if size > _SMALL:
        budget.work(size // 64)
    return bounded(value)


def is_number(value: Value) -> bool:
    """Whether ``value`` is an exact constant (a truth value is none)."""
    return isinstance(value, mpq)


def apply(operator: str, left: Value, right: Value, budget: Budget) -> Value:
    """``left operator right``.

    Raises:
        ProgramError: operands that do not fit, a division by zero, a constant too long.
        ExhaustedError: the budget is used up.
    """
    if isinstance(left, mpq) and isinstance(right, mpq):
        return _charged(_arithmetic(operator, left, right), budget)
    if isinstance(left, Variable) or isinstance(right, Variable):
        return _on_variable(operator, left, right)
    if isinstance(left, PiMultiple) or isinstance(right, PiMultiple):
        return _on_pi(operator, left, right)
    if isinstance(left, Matrix) or isinstance(right, Matrix):
        return _on_matrix(operator, left, right, budget)
    if operator == "+" and isinstance(left, tuple) and isinstance(right, tuple):
        budget.store(len(left) + len(right))
        return left + right
    return _mismatch(operator, left, right)


def _mismatch(operator: str, left: Value, right: Value) -> Value:
    hint = None
    if isinstance(left, tuple) or isinstance(right, tuple):
        hint = "stack variables with Concat([…]); lists know only +"
    elif isinstance(left, bool) or isinstance(right, bool):
        hint = "write 1 if c else 0 to count with a truth value"
    raise fault(f"'{operator}' between {describe(left)} and {describe(right)}", hint)


def _arithmetic(operator: str, left: mpq, right: mpq) -> mpq:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" | "//" | "%":
            if right == 0:
                raise fault("division by zero", f"the divisor of '{operator}' is 0 here")
            quotient = left / right
            if operator == "/":
                return quotient
            floor = mpq(quotient.numerator // quotient.denominator)
            return floor if operator == "//" else left - floor * right
        case _:
            raise fault(f"'{operator}' between two numbers", "'@' multiplies matrices")


def power(base: Value, exponent: Value, budget: Budget) -> Value:
    """Base ** exponent on exact constants; the exponent is whole.

    Raises:
        ProgramError: not two numbers, a fractional exponent, or a result too long.
    """
    if isinstance(base, Variable):
        raise fault("'**' of a variable", "write x * x")
    if not isinstance(base, mpq) or not isinstance(exponent, mpq):
        raise fault(f"'**' between {describe(base)} and {describe(exponent)}", "powers are of numbers")
    if exponent.denominator != 1:
        raise fault(
            f"'**' with the exponent {show(exponent)}",
            "exponents are whole numbers; sqrt(…) is the square root",
        )
    if base == 0 and exponent < 0:
        raise fault("division by zero", "0 ** a negative exponent")
    if base in (0, 1, -1):
        odd = exponent.numerator % 2 == 1
        return base if odd else (mpq(0) if base == 0 and exponent != 0 else mpq(1))
    if abs(exponent) * (bits(base) - 1) > 2 * MAX_BITS:
        raise fault(
            f"'**' with the exponent {show(exponent)} gives a constant of more than {MAX_BITS:,} bits",
            "constants are finite and bounded",
        )
    return _charged(base ** int(exponent), budget)


def negate(value: Value, budget: Budget) -> Value:
    """-value."""
    if isinstance(value, mpq | Variable):
        return -value
    if isinstance(value, PiMultiple):
        return PiMultiple(turn=-value.turn)
    if isinstance(value, Matrix):
        return scaled(value, mpq(-1), budget)
    raise fault(f"'-' before {describe(value)}")


def _on_variable(operator: str, left: Value, right: Value) -> Value:
    other = right if isinstance(left, Variable) else left
    if not isinstance(other, mpq | Variable):
        hint = "write Linear(x, A=…, b=…)" if isinstance(other, Matrix) else "use a number or a variable"
        if isinstance(other, tuple):
            hint = "stack a list of variables with Concat([…]); add constants with Linear(x, A=eye(n), b=[…])"
        if isinstance(other, PiMultiple):
            hint = "pi stands only in cos(…), sin(…) and rotation(…)"
        raise fault(f"'{operator}' between {describe(left)} and {describe(right)}", hint)
    match operator:
        case "+":
            return left + right  # type: ignore[operator]
        case "-":
            return left - right  # type: ignore[operator]
        case "*":
            return left * right  # type: ignore[operator]
        case "/":
            return left / right  # type: ignore[operator]
        case _:
            raise fault(f"'{operator}' on a variable", "variables know + - * and / by a constant")


def _on_pi(operator: str, left: Value, right: Value) -> Value:
    if isinstance(left, PiMultiple) and isinstance(right, PiMultiple):
        if operator in ("+", "-"):
            return PiMultiple(turn=bounded(_arithmetic(operator, left.turn, right.turn)))
        if operator == "/":
            return bounded(_arithmetic("/", left.turn, right.turn))
    elif isinstance(left, PiMultiple) and isinstance(right, mpq):
        if operator in ("*", "/"):
            return PiMultiple(turn=bounded(_arithmetic(operator, left.turn, right)))
        if operator in ("+", "-") and right == 0:
            return left
    elif isinstance(right, PiMultiple) and isinstance(left, mpq) and operator == "*":
        return PiMultiple(turn=bounded(left * right.turn))
    raise fault(
        f"'{operator}' between {describe(left)} and {describe(right)}",
        "pi stays symbolic: use rational multiples of it, inside cos(…), sin(…) or rotation(…)",
    )


def _on_matrix(operator: str, left: Value, right: Value, budget: Budget) -> Value:
    if isinstance(left, Matrix) and isinstance(right, Matrix):
        if operator == "@":
            return product(left, right, budget)
        if operator in ("+", "-"):
            return _sum(operator, left, right, budget)
        raise fault(f"'{operator}' between two matrices", "'@' is the matrix product")
    if operator == "*" and isinstance(left, mpq) and isinstance(right, Matrix):
        return scaled(right, left, budget)
    if operator == "*" and isinstance(left, Matrix) and isinstance(right, mpq):
        return scaled(left, right, budget)
    if operator == "/" and isinstance(left, Matrix) and isinstance(right, mpq):
        if right == 0:
            raise fault("division by zero", "a matrix is divided by 0 here")
        return scaled(left, 1 / right, budget)
    hint = "add ones(m, n) * c" if operator in ("+", "-") else "matrices know + - @ and scaling by a number"
    raise fault(f"'{operator}' between {describe(left)} and {describe(right)}", hint)


def _map_rows(matrix: Matrix, change: Callable[[mpq], mpq], budget: Budget) -> Matrix:
    """Change every non-zero entry, each bounded and charged."""
    budget.store(matrix.height + matrix.nonzeros)
    budget.work(matrix.height + matrix.nonzeros)
    return Matrix.from_rows(
        matrix.width, [{j: _charged(change(v), budget) for j, v in row} for row in matrix.rows]
    )


def scaled(matrix: Matrix, factor: mpq, budget: Budget) -> Matrix:
    """Every entry times ``factor``."""
    return _map_rows(matrix, lambda value: value * factor, budget)


def _sum(operator: str, left: Matrix, right: Matrix, budget: Budget) -> Matrix:
    if left.shape != right.shape:
        raise fault(f"'{operator}' between {describe(left)} and {describe(right)}", "both need one shape")
    amount = left.height + left.nonzeros + right.nonzeros
    budget.store(amount)
    budget.work(amount)
    rows = []
    for mine, theirs in zip(left.rows, right.rows, strict=True):
        total = dict(mine)
        for j, value in theirs:
            total[j] = _charged(_arithmetic(operator, total.get(j, mpq(0)), value), budget)
        rows.append(total)
    return Matrix.from_rows(left.width, rows)


def product(left: Matrix, right: Matrix, budget: Budget) -> Matrix:
    """Left @ right, row by row so that a blow-up stops early.

    Raises:
        ProgramError: shapes that do not fit, or an entry too long.
        ExhaustedError: the budget is used up.
    """
    if left.width != right.height:
        raise fault(
            f"'@' between {describe(left)} and {describe(right)}", "the left width is the right height"
        )
    rows = []
    for row in left.rows:
        total: dict[int, mpq] = {}
        for k, value in row:
            budget.work(1 + len(right.rows[k]))
            for j, factor in right.rows[k]:
                total[j] = _charged(total.get(j, mpq(0)) + value * factor, budget)
        budget.store(1 + len(total))
        rows.append(total)
    return Matrix.from_rows(right.width, rows)


def compare(operator: str, left: Value, right: Value) -> bool:
    """A comparison of two constants.

    Raises:
        ProgramError: a variable, or values that cannot be compared.
    """
    if isinstance(left, Variable) or isinstance(right, Variable):
        raise fault(
            f"'{operator}' compares a variable while the program is built",
            "on values use f_larger, f_smaller, f_eq or f_neq",
        )
    numbers = isinstance(left, mpq) and isinstance(right, mpq)
    truths = isinstance(left, bool) and isinstance(right, bool) and operator in ("==", "!=")
    if not numbers and not truths:
        raise fault(
            f"'{operator}' between {describe(left)} and {describe(right)}", "comparisons are of numbers"
        )
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)  # type: ignore[operator]
        case "<=":
            return bool(left <= right)  # type: ignore[operator]
        case ">":
            return bool(left > right)  # type: ignore[operator]
        case _:
            return bool(left >= right)  # type: ignore[operator]
