"""Functions on constants: numbers, lists and matrices.  Each takes the budget first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gmpy2 import mpq

from compiler import exact as ex
from compiler.exact import Matrix, Vector
from compiler.text.calls import numbers
from compiler.text.values import MAX_DIM, Budget, Value, bits, describe, fault, show, whole

Turn: TypeAlias = mpq
_IRRATIONAL_WORK = 500


def _room(budget: Budget, height: int, width: int, entries: int) -> None:
    for size in (height, width):
        if size > MAX_DIM:
            raise fault(f"a matrix of {height}×{width}", f"at most {MAX_DIM:,} rows and columns")
    budget.store(height + entries)
    budget.work(height // 4)


def _irrational(budget: Budget, value: mpq) -> mpq:
    budget.work(_IRRATIONAL_WORK + bits(value) // 64)
    return value


def eye(budget: Budget, n: int) -> Matrix:
    """The n×n identity."""
    _room(budget, n, n, n)
    return ex.eye(n)


def ones(budget: Budget, m: int, n: int) -> Matrix:
    """The m×n matrix of ones."""
    _room(budget, m, n, m * n)
    return ex.ones(m, n)


def zeros(budget: Budget, m: int, n: int) -> Matrix:
    """The m×n matrix of zeros."""
    _room(budget, m, n, 0)
    return ex.zeros(m, n)


def shift(budget: Budget, n: int) -> Matrix:
    """The n×n shift register: row i reads element i − 1."""
    _room(budget, n, n, n)
    return ex.shift(n)


def cycle(budget: Budget, n: int) -> Matrix:
    """The n×n cyclic permutation."""
    _room(budget, n, n, n)
    return ex.cycle(n)


def rotation(budget: Budget, angle: Turn) -> Matrix:
    """The 2×2 rotation by ``angle``, a rational multiple of pi."""
    budget.work(2 * _IRRATIONAL_WORK)
    return ex.rotation(angle)


def diag(budget: Budget, values: Vector) -> Matrix:
    """The square matrix with ``values`` on its diagonal."""
    _room(budget, len(values), len(values), len(values))
    if not values:
        raise fault("diag of an empty list")
    return ex.diag(values)


def sparse(budget: Budget, m: int, n: int, entries: Value) -> Matrix:
    """The m×n matrix with the given [row, column, value] entries, zero elsewhere."""
    if isinstance(entries, Matrix):
        triples = [numbers("an entry of sparse", row, budget) for row in rows_of(entries, budget)]
    elif entries == ():
        triples = []
    else:
        raise fault(
            f"entries of sparse is {describe(entries)}", "write sparse(m, n, [[row, column, value], …])"
        )
    _room(budget, m, n, len(triples))
    rows: list[dict[int, mpq]] = [{} for _ in range(m)]
    for triple in triples:
        if len(triple) != 3:
            raise fault(f"an entry of sparse has {len(triple)} numbers", "write [row, column, value]")
        i, j = (
            whole(triple[0], "a row of sparse", most=m - 1),
            whole(triple[1], "a column of sparse", most=n - 1),
        )
        if j in rows[i]:
            raise fault(f"sparse has two entries at row {i}, column {j}")
        rows[i][j] = triple[2]
    return Matrix.from_rows(n, rows)


def rows_of(matrix: Matrix, budget: Budget) -> list[tuple[mpq, ...]]:
    """The rows of a matrix as lists of numbers."""
    budget.store(matrix.height * matrix.width)
    dense = []
    for row in matrix.rows:
        values = [mpq(0)] * matrix.width
        for j, value in row:
            values[j] = value
        dense.append(tuple(values))
    return dense


def _blocks(name: str, parts: tuple[Value, ...]) -> list[Matrix]:
    if len(parts) == 1 and isinstance(parts[0], tuple):
        parts = parts[0]
    blocks = [Matrix.dense([[part]]) if isinstance(part, mpq) else part for part in parts]
    for block in blocks:
        if not isinstance(block, Matrix):
            raise fault(f"{name} of {describe(block)}", f"{name} takes matrices; Concat stacks variables")
    if not blocks:
        raise fault(f"{name} of nothing", f"write {name}(A, B, …)")
    return [block for block in blocks if isinstance(block, Matrix)]


def hstack(budget: Budget, *blocks: Value) -> Matrix:
    """Matrices of one height side by side."""
    parts = _blocks("hstack", blocks)
    if len({part.height for part in parts}) > 1:
        raise fault(f"hstack of {' and '.join(map(describe, parts[:4]))}", "they need one height")
    _room(budget, parts[0].height, sum(part.width for part in parts), sum(part.nonzeros for part in parts))
    return ex.hstack(parts)


def vstack(budget: Budget, *blocks: Value) -> Matrix:
    """Matrices of one width on top of each other."""
    parts = _blocks("vstack", blocks)
    if len({part.width for part in parts}) > 1:
        raise fault(f"vstack of {' and '.join(map(describe, parts[:4]))}", "they need one width")
    _room(budget, sum(part.height for part in parts), parts[0].width, sum(part.nonzeros for part in parts))
    return ex.vstack(parts)


def _flat(name: str, values: tuple[Value, ...], budget: Budget) -> tuple[mpq, ...]:
    one_list = len(values) == 1 and not isinstance(values[0], mpq)
    flat = numbers(name, values[0] if one_list else values, budget)
    if not flat:
        raise fault(f"{name} of nothing")
    return flat


def smallest(budget: Budget, *values: Value) -> mpq:
    """The smallest of its arguments, or of a list."""
    return min(_flat("min", values, budget))


def largest(budget: Budget, *values: Value) -> mpq:
    """The largest of its arguments, or of a list."""
    return max(_flat("max", values, budget))


def length(budget: Budget, x: Value) -> mpq:  # noqa: ARG001
    """Number of elements of a list, or of rows of a matrix."""
    if isinstance(x, Matrix):
        return mpq(x.height)
    if isinstance(x, tuple):
        return mpq(len(x))
    raise fault(f"len of {describe(x)}", "len takes a list or a matrix")


def magnitude(budget: Budget, x: mpq) -> mpq:  # noqa: ARG001
    """|x|."""
    return abs(x)


def floor(budget: Budget, x: mpq) -> mpq:  # noqa: ARG001
    """The largest whole number ≤ x."""
    return mpq(x.numerator // x.denominator)


def ceil(budget: Budget, x: mpq) -> mpq:  # noqa: ARG001
    """The smallest whole number ≥ x."""
    return mpq(-(-x.numerator // x.denominator))


def sqrt(budget: Budget, x: mpq) -> mpq:
    """√x: exact for squares of rationals, else rounded to 512 bits."""
    if x < 0:
        raise fault(f"sqrt of {show(x)}, which is negative")
    return ex.square_root(_irrational(budget, x))


def cos(budget: Budget, angle: Turn) -> mpq:
    """The cosine of a rational multiple of pi."""
    return ex.cos_pi(_irrational(budget, angle))


def sin(budget: Budget, angle: Turn) -> mpq:
    """The sine of a rational multiple of pi."""
    return ex.sin_pi(_irrational(budget, angle))


BUILDERS: dict[str, Callable[..., Value]] = {
    "eye": eye,
    "ones": ones,
    "zeros": zeros,
    "shift": shift,
    "cycle": cycle,
    "rotation": rotation,
    "diag": diag,
    "sparse": sparse,
    "hstack": hstack,
    "vstack": vstack,
    "min": smallest,
    "max": largest,
    "len": length,
    "abs": magnitude,
    "floor": floor,
    "ceil": ceil,
    "sqrt": sqrt,
    "cos": cos,
    "sin": sin,
}
