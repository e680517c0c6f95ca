"""Making a found case smaller by editing its program's graph.

Hypothesis shrinks the choices that drew a case.  Which choices can be dropped depends on the order in
which they were drawn, so a node may survive that nothing needs; here nodes are taken out of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from compiler import ir
from compiler.exact import Matrix
from stability.corpus.case import Case

BUDGET = 400
"""Cases judged at most; the smallest so far is kept."""


def without_dead_nodes(program: ir.Program) -> ir.Program:
    """The program with only the nodes that its output reads, and its Input."""
    needed = {0, program.output}
    for index in range(len(program.nodes) - 1, 0, -1):
        if index in needed:
            needed.update(ir.sources_of(program.nodes[index]))
    place = {old: new for new, old in enumerate(sorted(needed))}
    nodes = tuple(ir.renumbered(program.nodes[old], place) for old in place)
    return replace(program, nodes=nodes, output=place[program.output])


def _rewired(program: ir.Program, old: int, new: int) -> ir.Program:
    """Whoever read a node reads an earlier one of its dimension instead."""
    place = {index: new if index == old else index for index in range(len(program.nodes))}
    nodes = tuple(ir.renumbered(node, place) for node in program.nodes)
    return replace(program, nodes=nodes, output=place[program.output])


def _columns(matrix: Matrix, start: int, width: int) -> Matrix:
    rows = [{j - start: w for j, w in row if start <= j < start + width} for row in matrix.rows]
    return Matrix.from_rows(width, rows)


def _reading_one_part(program: ir.Program, index: int) -> Iterator[ir.Program]:
    """A Linear or LinState of a Concat, with the columns of one of its parts."""
    node = program.nodes[index]
    if not isinstance(node, ir.Linear | ir.LinState) or not isinstance(
        stack := program.nodes[node.source], ir.Concat
    ):
        return
    start = 0
    for part in stack.sources:
        width = program.nodes[part].dim
        if isinstance(node, ir.Linear):
            smaller: ir.Node = replace(node, source=part, matrix=_columns(node.matrix, start, width))
        else:
            smaller = replace(node, source=part, input_matrix=_columns(node.input_matrix, start, width))
        start += width
        yield replace(program, nodes=(*program.nodes[:index], smaller, *program.nodes[index + 1 :]))


def smaller_programs(program: ir.Program) -> Iterator[ir.Program]:
    """Programs that are one edit away: another output, a node passed over, one part of a Concat."""
    for index in range(len(program.nodes)):
        yield replace(program, output=index)
    for old in range(len(program.nodes) - 1, 0, -1):
        for new in range(old):
            if program.nodes[new].dim == program.nodes[old].dim:
                yield _rewired(program, old, new)
        yield from _reading_one_part(program, old)


def shrink(case: Case, broken: Callable[[Case], bool], *, budget: int = BUDGET) -> Case:
    """The case with as few nodes as edits can leave, still broken.

    Args:
        case: a case that is broken.
        broken: whether a case is.
        budget: how many cases are judged at most.

    Returns:
        The smallest case found within the budget; the case itself where no edit helps.
    """
    left, tried = budget, {case.program}
    while True:
        for edited in smaller_programs(case.program):
            program = without_dead_nodes(edited)
            if len(program.nodes) >= len(case.program.nodes) or program in tried:
                continue
            if left == 0:
                return case
            left -= 1
            tried.add(program)
            attempt = replace(case, program=program)
            if broken(attempt):
                case = attempt
                break
        else:
            return case
