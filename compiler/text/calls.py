"""Calls by name: what each function of the language takes, and the binding of arguments.

A function's parameters come from its Python signature, the kind of each from its
annotation, so the operations of :mod:`compiler.expr`, the idioms of
:mod:`compiler.stdlib` and the builders of :mod:`compiler.text.builders` need no
second description here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gmpy2 import mpq

from compiler.exact import Matrix
from compiler.expr import Variable
from compiler.text.values import Automatic, Budget, PiMultiple, Poison, Value, describe, fault, show, whole

Argument = object
REQUIRED = Poison()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One parameter: its name, how its argument is read, and its default as written."""

    name: str
    kind: str
    required: bool
    shown: str
    keyword_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A function's parameters.

    Attributes:
        name: the function's name.
        slots: its parameters in order.
        rest: the kind of its variadic arguments, if it takes any.
    """

    name: str
    slots: tuple[Slot, ...]
    rest: str | None = None

    def __str__(self) -> str:
        parts = [slot.shown for slot in self.slots] + (["…"] if self.rest else [])
        return f"{self.name}({', '.join(parts)})"

    def place(self, positional: Sequence[Value], keywords: Mapping[str, Value]) -> dict[str, Value]:
        """The given arguments by parameter name.

        Raises:
            ProgramError: too many, unknown, doubled or missing arguments.
        """
        placed: dict[str, Value] = {}
        takes = [slot for slot in self.slots if not slot.keyword_only]
        if len(positional) > len(takes):
            raise fault(
                f"{self.name} takes {len(takes)} positional arguments, {len(positional)} are given",
                f"write {self}",
            )
        for slot, value in zip(takes, positional, strict=False):
            placed[slot.name] = value
        for name, value in keywords.items():
            if name in placed:
                raise fault(f"{self.name}: the argument '{name[:60]}' is given twice", f"write {self}")
            if all(slot.name != name for slot in self.slots):
                raise fault(f"{self.name} has no argument '{name[:60]}'", f"write {self}")
            placed[name] = value
        missing = [slot.name for slot in self.slots if slot.required and slot.name not in placed]
        if missing:
            raise fault(f"{self.name} lacks the argument {', '.join(missing)}", f"write {self}")
        return placed


def form_of(function: Callable[..., object], *, skip: int = 0, without: frozenset[str] = frozenset()) -> Form:
    """The form of a Python function.

    Args:
        function: its annotations must be keys of :data:`READERS`.
        skip: leading parameters that the evaluator fills in.
        without: parameters that a text cannot give.
    """
    slots, rest = [], None
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        kind = str(parameter.annotation)
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = kind
        elif parameter.name not in without:
            required = parameter.default is parameter.empty
            optional = "…" if parameter.default is None else str(parameter.default).lower()
            shown = parameter.name if required else f"{parameter.name}={optional}"
            keyword_only = parameter.kind is parameter.KEYWORD_ONLY
            slots.append(
                Slot(
                    name=parameter.name, kind=kind, required=required, shown=shown, keyword_only=keyword_only
                )
            )
    return Form(name=function.__name__, slots=tuple(slots), rest=rest)


def read_arguments(form: Form, placed: Mapping[str, Value], budget: Budget) -> dict[str, Argument]:
    """Each placed argument as the Python function takes it.

    Raises:
        ProgramError: an argument of the wrong kind.
    """
    kinds = {slot.name: slot.kind for slot in form.slots}
    return {
        name: READERS[kinds[name]](f"{name} of {form.name}", value, budget) for name, value in placed.items()
    }


def _variable(role: str, value: Value, budget: Budget) -> Variable:  # noqa: ARG001
    if isinstance(value, Variable):
        return value
    hint = (
        "stack the list with Concat([…])"
        if isinstance(value, tuple)
        else "f_constant(x, v) makes a constant a variable"
    )
    raise fault(f"{role} is {describe(value)}, not a variable", hint)


def _operand(role: str, value: Value, budget: Budget) -> Variable | mpq:
    return value if isinstance(value, mpq) else _variable(role, value, budget)


def number(role: str, value: Value, budget: Budget) -> mpq:  # noqa: ARG001
    """``value`` as an exact constant.

    Raises:
        ProgramError: it is none.
    """
    if isinstance(value, mpq):
        return value
    hint = None
    if isinstance(value, Variable):
        hint = "it is a constant: values of a token are not known while the program is built"
    elif isinstance(value, Automatic):
        hint = "auto stands for mu and lam only"
    raise fault(f"{role} is {describe(value)}, not a number", hint)


def _scale(role: str, value: Value, budget: Budget) -> mpq | str:
    return "auto" if isinstance(value, Automatic) else number(role, value, budget)


def _truth(role: str, value: Value, budget: Budget) -> bool:  # noqa: ARG001
    if isinstance(value, bool):
        return value
    raise fault(f"{role} is {describe(value)}", f"write {role.split(maxsplit=1)[0]}=true or false")


def _count(role: str, value: Value, budget: Budget) -> int:  # noqa: ARG001
    return whole(value, role, least=1)


def _matrix(role: str, value: Value, budget: Budget) -> Matrix:
    if isinstance(value, Matrix):
        return value
    if isinstance(value, mpq):
        return Matrix.dense([[value]])
    hint = f"write {role.split(maxsplit=1)[0]}=[[…], […]] or a builder such as eye(n)"
    if not isinstance(value, tuple) or not value or not all(isinstance(row, tuple) for row in value):
        raise fault(f"{role} is {describe(value)}, not a matrix", hint)
    rows = [row for row in value if isinstance(row, tuple)]
    for position, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise fault(f"row {position} of {role} has {len(row)} entries, row 0 has {len(rows[0])}", hint)
    budget.store(sum(map(len, rows)))
    return Matrix.dense([[number(f"an entry of {role}", entry, budget) for entry in row] for row in rows])


def numbers(role: str, value: Value, budget: Budget) -> tuple[mpq, ...]:
    """``value``, a list of numbers or a matrix of one row or column, as a tuple.

    Raises:
        ProgramError: anything else.
    """
    if isinstance(value, tuple):
        budget.work(len(value))
        return tuple(number(f"an entry of {role}", entry, budget) for entry in value)
    if not isinstance(value, Matrix):
        raise fault(f"{role} is {describe(value)}, not a list of numbers", "write [a, b, …]")
    if 1 not in value.shape:
        raise fault(f"{role} is {describe(value)}, not a vector", "a vector has one column: zeros(n, 1)")
    size = value.height * value.width
    budget.store(size)
    flat = [mpq(0)] * size
    for i, j, entry in value.entries():
        flat[i * value.width + j] = entry
    return tuple(flat)


def _vector(role: str, value: Value, budget: Budget) -> mpq | tuple[mpq, ...]:
    return value if isinstance(value, mpq) else numbers(role, value, budget)


def _turn(role: str, value: Value, budget: Budget) -> mpq:  # noqa: ARG001
    if isinstance(value, PiMultiple):
        return value.turn
    if isinstance(value, mpq) and value == 0:
        return value
    shown = show(value) if isinstance(value, mpq) else describe(value)
    raise fault(f"{role} is {shown}, not a rational multiple of pi", "write it as 2*pi/n, say")


def _any(role: str, value: Value, budget: Budget) -> Value:  # noqa: ARG001
    return value


READERS: dict[str, Callable[[str, Value, Budget], Argument]] = {
    "Variable": _variable,
    "Operand": _operand,
    "Number": number,
    "Number | None": number,
    "Scale | None": _scale,
    "mpq": number,
    "bool": _truth,
    "int": _count,
    "Matrix": _matrix,
    "MatrixLike": _matrix,
    "VectorLike": _vector,
    "VectorLike | None": _vector,
    "Vector": numbers,
    "Turn": _turn,
    "Value": _any,
}
