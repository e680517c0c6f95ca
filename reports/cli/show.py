"""``lsrl show``: the graph of a program, its ranges and types, its states, and what could go wrong."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from compiler import ir
from compiler.compiling import check_target, compile_lowered, settle
from compiler.lowering import Lowered, lower
from compiler.ranges import Range, hull
from compiler.state_kinds import short
from compiler.types import StateRow, Types, full_text, infer_types
from reports.cli import options
from reports.cli.terminal import console_of
from reports.picture import save_picture
from reports.text import plain
from stability.checks import Finding, check
from stability.drift import DEFAULT_LENGTH
from stability.policy import parse_policy


def show(
    source: options.Source,
    param: options.Parameters = None,
    target: options.TargetOption = "lstm",
    config: options.Config = "stable",
    conditional: options.ConditionalOption = None,
    step: options.StepOption = None,
    complement: options.ComplementOption = None,
    mu: options.Mu = None,
    lam: options.Lam = None,
    reduce: options.Reduce = False,
    number_format: Annotated[
        str, typer.Option("--format", "--policy", help="the format whose limits are checked")
    ] = "float16",
    length: Annotated[
        int, typer.Option("--length", min=1, help="tokens per prompt that are checked for")
    ] = DEFAULT_LENGTH,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="draw the program beside the layers of --target"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print a program's nodes with dims, lines, types and ranges, its states, and static findings."""
    fmt = parse_policy(number_format)
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    settings = settle(settings, check_target(target))
    if svg is not None:
        options.writable_file(svg)
    program = options.load_source(source, param)
    lowered = lower(program, settings)
    types = infer_types(lowered, program)
    nodes = [_node(program, lowered, types, index) for index in range(len(program.nodes))]
    findings = [_finding(each) for each in check(program, settings, format=fmt, length=length)]
    if svg is not None:
        save_picture(program, compile_lowered(lowered, target), svg)
    if as_json:
        options.print_json(
            {
                "program": program.name,
                "parameters": {name: str(value) for name, value in program.parameters},
                "input_dim": program.input_dim,
                "output_dim": program.output_dim,
                "settings": settings.settings(),
                "format": fmt.name,
                "length": length,
                "output": program.label(program.output),
                "nodes": nodes,
                "states": [_state(row) for row in types.rows()],
                "findings": findings,
            }
        )
        return
    given = " ".join(f"{name}={value}" for name, value in program.parameters)
    console = console_of(sys.stdout)
    for text, style in (
        (f"{program.name}{f' ({given})' if given else ''}", "bold"),
        (f"{program.input_dim} → {program.output_dim}, returns {program.label(program.output)}", ""),
        (", ".join(f"{name} {value}" for name, value in settings.settings().items()), "dim"),
    ):
        console.print(Text(plain(text), style=style))
    console.print(_table(nodes))
    states = types.rows()
    console.print(Text("\nstates" if states else "\nno states", style="bold"))
    if states:
        console.print(_state_table(states))
    count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else "no findings"
    console.print(Text(f"\n{count} for {fmt.name} and {length:,} tokens", style="bold"))
    for each in findings:
        console.print(Text(plain(each["text"])), soft_wrap=True)


def _node(program: ir.Program, lowered: Lowered, types: Types, index: int) -> dict[str, Any]:
    """What is to be known of one node of the source program."""
    node = program.nodes[index]
    place = lowered.origin[index]
    return {
        "node": index,
        "name": program.label(index),
        "named": node.name is not None,
        "operation": _operation(node),
        "dim": node.dim,
        "reads": list(ir.sources_of(node)),
        "line": node.span.line if node.span else None,
        "type": types.variables[place].text,
        "range": _range(lowered.node_ranges(place)),
    }


def _state(row: StateRow) -> dict[str, Any]:
    """What is to be known of states of one LinState that are alike."""
    first = row.states[0]
    return {
        "state": row.place,
        "line": first.span.line if first.span else None,
        "kind": first.kind_text,
        "count": len(row.states),
        "components": [list(each.components) for each in row.states],
        "increments": first.increments_text,
        "sign": first.sign,
        "initial": [short(value) for value in first.initial],
        "types": [full_text(each) for each in first.types],
        "trends": list(first.trends),
    }


def _operation(node: ir.Node) -> str:
    return node.kind if isinstance(node, ir.Idiom) else type(node).__name__


def _range(ranges: list[Range]) -> str:
    """One range where all components share it, else their hull."""
    if not ranges:
        return ""
    alike = all(each == ranges[0] for each in ranges)
    return str(ranges[0]) if alike else f"within {functools.reduce(hull, ranges)}"


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "message": found.message,
        "remedy": found.remedy,
        "step": found.step,
        "file": found.span.file if found.span else None,
        "line": found.span.line if found.span else None,
        "column": found.span.column if found.span else None,
        "text": f"{found.kind}: {found.diagnostic}",
    }


def _table(nodes: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "line", "name", "operation", "dim", "reads", "type", "range"):
        table.add_column(
            heading, justify="right" if heading in {"", "line", "dim"} else "left", overflow="fold"
        )
    for node in nodes:
        reads = ", ".join(
            nodes[each]["name"] if nodes[each]["named"] else f"#{each}" for each in node["reads"]
        )
        row = (
            f"#{node['node']}",
            node["line"] or "",
            node["name"],
            node["operation"],
            node["dim"],
            reads,
            node["type"],
            node["range"],
        )
        table.add_row(*(Text(plain(each)) for each in row))
    return table


def _state_table(states: list[StateRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("line", "state", "kind", "increments", "values", "starts at"):
        table.add_column(heading, justify="right" if heading == "line" else "left", overflow="fold")
    for row in states:
        first = row.states[0]
        line = str(first.span.line) if first.span else ""
        texts = (line, row.place, row.kind, first.increments_text, row.values, row.starts)
        table.add_row(*(Text(plain(each)) for each in texts))
    return table
