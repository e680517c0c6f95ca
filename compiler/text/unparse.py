"""Write a program back as text, one statement per node: ``parse(unparse(p)) == p``."""

from __future__ import annotations

import re
from typing import assert_never

from gmpy2 import mpq

from compiler import exact as ex
from compiler import ir
from compiler.errors import ProgramError
from compiler.exact import Matrix, Vector
from compiler.stdlib import LIBRARY
from compiler.text.builtins import BUILTINS
from compiler.text.calls import Form, form_of
from compiler.text.parsing import RESERVED

_IDENTIFIER = re.compile(r"[^\W\d]\w*", re.ASCII)
_LONGEST_DECIMAL = 12
_DENSE = 16
_FORMS: dict[str, Form] = {name: form_of(function) for name, function in LIBRARY.items()}


def unparse(program: ir.Program) -> str:
    """The program as text of the language.

    It has one line per node, so it shows what there is rather than how it was
    written: loops and functions are gone.  Reading it back gives an equal program
    (equality leaves out names and spans).

    Raises:
        ProgramError: a node that no text makes, such as a Concat of one value.
    """
    names = _names(program)
    lines = [f"param {name} = {number(value)}" for name, value in program.parameters]
    lines.append("ForEach:")
    for index, node in enumerate(program.nodes):
        text = _operation(program, index, node, names)
        if node.declared is not None and not isinstance(node, ir.Input):
            text = _with_declaration(program, node, node.declared, names, text)
        lines.append(f"    {names[index]} = {text}")
    lines.append(f"    return {names[program.output]}")
    return "\n".join(lines) + "\n"


def _names(program: ir.Program) -> list[str]:
    """A name for every node: its own made an identifier, a generated one where that is taken."""
    taken = {*RESERVED, *BUILTINS, *(name for name, _ in program.parameters)}
    names = []
    for index, node in enumerate(program.nodes):
        own = re.sub(r"\W+", "_", node.name or "", flags=re.ASCII).strip("_")
        if not _IDENTIFIER.fullmatch(own) or own in taken:
            kind = node.kind.removeprefix("f_") if isinstance(node, ir.Idiom) else type(node).__name__.lower()
            own = f"{own or kind}_{index}" if _IDENTIFIER.fullmatch(own or kind) else f"v_{index}"
        while own in taken:
            own += "_"
        taken.add(own)
        names.append(own)
    return names


def number(value: mpq) -> str:
    """An exact constant: a short decimal where there is one, else p/q."""
    if value.denominator == 1:
        return str(value.numerator)
    twos, fives, rest = 0, 0, value.denominator
    while rest % 2 == 0:
        twos, rest = twos + 1, rest // 2
    while rest % 5 == 0:
        fives, rest = fives + 1, rest // 5
    places = max(twos, fives)
    if rest != 1 or places > _LONGEST_DECIMAL:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _list(values: Vector) -> str:
    return f"[{', '.join(map(number, values))}]"


def matrix(value: Matrix) -> str:  # noqa: PLR0911  (one line per builder)
    """A matrix by the shortest builder that makes exactly it."""
    height, width = value.shape
    if value.nonzeros == 0:
        return f"zeros({height}, {width})"
    special = _uniform(value)
    if special is not None:
        return special
    if height == width and all(len(row) == 1 and row[0][0] == i for i, row in enumerate(value.rows)):
        return f"diag({_list(tuple(row[0][1] for row in value.rows))})"
    if height == width and value == ex.shift(height):
        return f"shift({height})"
    if height == width and value == ex.cycle(height):
        return f"cycle({height})"
    if height * width <= _DENSE or 2 * value.nonzeros >= height * width:
        rows = []
        for row in value.rows:
            dense = [ex.ZERO] * width
            for j, entry in row:
                dense[j] = entry
            rows.append(_list(tuple(dense)))
        return f"[{', '.join(rows)}]"
    entries = ", ".join(f"[{i}, {j}, {number(entry)}]" for i, j, entry in value.entries())
    return f"sparse({height}, {width}, [{entries}])"


def _uniform(value: Matrix) -> str | None:
    """``eye`` or ``ones``, scaled, if all non-zero entries are one number."""
    height, width = value.shape
    distinct = {entry for _, _, entry in value.entries()}
    if len(distinct) != 1:
        return None
    factor = distinct.pop()
    scale = "" if factor == 1 else f"{number(factor)} * "
    if value.nonzeros == height * width:
        return f"[[{number(factor)}]]" if height == width == 1 else f"{scale}ones({height}, {width})"
    if height == width and all(len(row) == 1 and row[0][0] == i for i, row in enumerate(value.rows)):
        return f"{scale}eye({height})"
    return None


def _vector(value: Vector) -> str:
    distinct = set(value)
    if len(distinct) == 1:
        return number(value[0])
    return _list(value)


def _declaration(declared: ir.Declaration | None) -> list[str]:
    if declared is None:
        return []
    bounds = (("lo", declared.lo), ("hi", declared.hi))
    parts = [f"{name}={number(bound)}" for name, bound in bounds if bound is not None]
    return [*parts, "integer=true"] if declared.integer else parts


def _with_declaration(
    program: ir.Program, node: ir.Node, declared: ir.Declaration, names: list[str], text: str
) -> str:
    stated = ", ".join(_declaration(declared))
    if isinstance(node, ir.Linear) and _is_identity(program, node):
        return f"assume({names[node.source]}, {stated})"
    return f"declared({text}, {stated})"


def _is_identity(program: ir.Program, node: ir.Linear) -> bool:
    dim = program.nodes[node.source].dim
    return not any(node.bias) and node.matrix == ex.eye(dim)


def _operation(program: ir.Program, index: int, node: ir.Node, names: list[str]) -> str:  # noqa: PLR0911  (one per kind)
    match node:
        case ir.Input(dim=dim, declared=declared):
            return f"Input({', '.join([f'dim={dim}', *_declaration(declared)])})"
        case ir.Linear():
            return _linear(program, node, names[node.source])
        case ir.ReLU(source=source):
            return f"ReLU({names[source]})"
        case ir.Multi(source=source):
            return f"Multi({names[source]})"
        case ir.LinState():
            bias = f", b={_vector(node.bias)}" if any(node.bias) else ""
            return (
                f"LinState({names[node.source]}, A={matrix(node.state_matrix)}, B={matrix(node.input_matrix)}"
                f"{bias}, init_state={_vector(node.initial)})"
            )
        case ir.Concat(sources=sources):
            if len(sources) < 2:
                hint = "stack at least two values"
                message = (
                    f"node {index} is a Concat of {len(sources)} value, which the language does not write"
                )
                raise ProgramError.single(message, span=node.span, hint=hint)
            return f"Concat({', '.join(names[source] for source in sources)})"
        case ir.Idiom():
            return _idiom(node, names)
        case _:
            assert_never(node)


def _linear(program: ir.Program, node: ir.Linear, source: str) -> str:
    """A Linear node: as a constant, an operator or a slice where one makes exactly it."""
    dim = program.nodes[node.source].dim
    if node.matrix.nonzeros == 0:
        value = number(node.bias[0]) if len(node.bias) == 1 else _list(node.bias)
        return f"f_constant({source}, {value})"
    short = _scaled_source(node, source, dim) or (_slice(node, source, dim) if not any(node.bias) else None)
    if short is not None:
        return short
    bias = f", b={_vector(node.bias)}" if any(node.bias) else ""
    return f"Linear({source}, A={matrix(node.matrix)}{bias})"


def _scaled_source(node: ir.Linear, source: str, dim: int) -> str | None:
    """x*c, x + c, -x or c - x."""
    if node.matrix.shape != (dim, dim) or len(set(node.bias)) != 1:
        return None
    if any(len(row) != 1 or row[0][0] != i for i, row in enumerate(node.matrix.rows)):
        return None
    factors = {row[0][1] for row in node.matrix.rows}
    factor, bias = factors.pop(), node.bias[0]
    if factors:
        return None
    if factor == 1 and bias != 0:
        return f"{source} + {number(bias)}" if bias > 0 else f"{source} - {number(-bias)}"
    if factor == -1:
        return f"{number(bias)} - {source}" if bias != 0 else f"-{source}"
    return f"{source} * {_factor(factor)}" if factor != 1 and bias == 0 else None


def _factor(value: mpq) -> str:
    text = number(value)
    return f"({text})" if "/" in text else text


def _slice(node: ir.Linear, source: str, dim: int) -> str | None:
    """x[i] or x[a:b], if the rows pick consecutive components."""
    rows = node.matrix.rows
    if not rows or any(len(row) != 1 or row[0][1] != 1 for row in rows):
        return None
    start = rows[0][0][0]
    if any(row[0][0] != start + i for i, row in enumerate(rows)):
        return None
    if len(rows) == 1 and dim > 1:
        return f"{source}[{start}]"
    return f"{source}[{start}:{start + len(rows)}]"


def _idiom(node: ir.Idiom, names: list[str]) -> str:
    """A library call: its variables in the order of its form, then its options by name."""
    form = _FORMS.get(node.kind)
    if form is None:
        raise ProgramError.single(
            f"unknown idiom {node.kind!r}", span=node.span, hint="one of compiler.stdlib.LIBRARY"
        )
    variables = [slot.name for slot in form.slots if slot.kind in ("Variable", "Operand")]
    operands = [names[source] for source in node.sources]
    if len(operands) != len(variables):
        message = f"{node.kind} with {len(operands)} sources, it has {len(variables)}"
        raise ProgramError.single(message, span=node.span, hint=f"write {form}")
    parts = list(operands)
    for name, value in node.options:
        parts.append(
            f"{name}={'true' if value else 'false'}"
            if isinstance(value, bool)
            else f"{name}={_option(value)}"
        )
    return f"{node.kind}({', '.join(parts)})"


def _option(value: mpq | str) -> str:
    return value if isinstance(value, str) else number(value)
