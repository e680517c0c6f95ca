"""Parts of values: elements, slices and transposes."""

from __future__ import annotations

from compiler.exact import Matrix
from compiler.expr import Variable
from compiler.text.builders import rows_of
from compiler.text.values import Budget, Value, describe, fault, whole

FAR = 2**62


def element(value: Value, where: Value, budget: Budget) -> Value:
    """value[where]: a component of a variable, an element of a list, a row of a matrix.

    Raises:
        ProgramError: no such element, or a value without elements.
    """
    index = whole(where, "the index", least=-FAR, most=FAR)
    if isinstance(value, Variable):
        return value[index]
    size = value.height if isinstance(value, Matrix) else len(value) if isinstance(value, tuple) else None
    if size is None:
        raise fault(f"an index after {describe(value)}", "variables, lists and matrices have indices")
    if not -size <= index < size:
        hint = f"indices go from 0 to {size - 1}" if size else None
        raise fault(f"index {index} of {describe(value)}", hint)
    if isinstance(value, Matrix):
        row = Matrix(height=1, width=value.width, rows=(value.rows[index],))
        return rows_of(row, budget)[0]
    assert isinstance(value, tuple)
    return value[index]


def portion(value: Value, start: Value | None, stop: Value | None, budget: Budget) -> Value:
    """value[start:stop], half-open and clamped as in Python.

    Raises:
        ProgramError: an empty slice of a variable or matrix, or a value without slices.
    """
    bounds = [
        None if bound is None else whole(bound, "a slice bound", least=-FAR, most=FAR)
        for bound in (start, stop)
    ]
    part = slice(*bounds)
    if isinstance(value, Variable):
        return value[part]
    if isinstance(value, tuple):
        picked = value[part]
        budget.store(len(picked))
        return picked
    if not isinstance(value, Matrix):
        raise fault(f"a slice of {describe(value)}", "variables, lists and matrices have slices")
    rows = value.rows[part]
    if not rows:
        raise fault(f"an empty slice of {describe(value)}")
    budget.store(len(rows))
    return Matrix(height=len(rows), width=value.width, rows=rows)


def attribute(value: Value, name: str, budget: Budget) -> Value:
    """value.T, the transpose of a matrix.

    Raises:
        ProgramError: another attribute, or not a matrix.
    """
    if name != "T":
        raise fault(f"unknown attribute '.{name[:60]}'", "matrices have .T")
    if isinstance(value, tuple):
        raise fault(f".T of {describe(value)}", "a row is written [[a, b]], a column [[a], [b]]")
    if not isinstance(value, Matrix):
        raise fault(f".T of {describe(value)}", "only matrices have .T")
    budget.store(value.width + value.nonzeros)
    budget.work(value.width + value.nonzeros)
    return value.transpose
