"""``lsrl explain``: what each unit of a model carries, and where in the program that stands."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from compiler.compiling import TARGET_NAMES, check_target, compile_program
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.model import GATES, Label, Layer, Model
from reports.cli import options
from reports.cli.terminal import console_of
from reports.text import plain

DEFAULT_TARGET = "lstm"
SIGNS = {1: "+", -1: "−", 0: "±"}
"""The positive half, the negative half, or the signed value itself."""


def explain_command(
    source: Annotated[
        str, typer.Argument(metavar="FILE_OR_NAME_OR_MODEL", help="a program, or a file of lsrl compile")
    ],
    layer: Annotated[int | None, typer.Option("--layer", min=0, help="only this layer, from 0")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help=f"architecture: {' | '.join(TARGET_NAMES)} (default: {DEFAULT_TARGET})"
        ),
    ] = None,
    param: options.Parameters = None,
    config: options.Config = "stable",
    conditional: options.ConditionalOption = None,
    step: options.StepOption = None,
    complement: options.ComplementOption = None,
    mu: options.Mu = None,
    lam: options.Lam = None,
    reduce: options.Reduce = False,
    as_json: options.Json = False,
) -> None:
    """Print, for each layer and unit, its variable, component, sign and source line."""
    settings = options.configuration(
        config, conditional=conditional, step=step, complement=complement, mu=mu, lam=lam, reduce=reduce
    )
    model = _model(source, target, param, settings)
    if layer is not None and layer >= len(model.layers):
        raise ConfigError.single(f"no layer {layer} in {model.target}", hint=f"0 to {len(model.layers) - 1}")
    chosen = range(len(model.layers)) if layer is None else [layer]
    layers = [_layer(model, number) for number in chosen]
    if as_json:
        options.print_json(
            {
                "program": model.name,
                "target": model.target,
                "settings": dict(model.settings),
                "layers": layers,
                "readout": list(model.readout_wires),
            }
        )
        return
    console = console_of(sys.stdout)
    count = sum(each.size for each in model.layers)
    console.print(
        Text(plain(f"{model.name} as {model.target}: {len(model.layers)} layers, {count:,} units"), "bold")
    )
    for each in layers:
        console.print()
        console.print(Text(plain(_heading(each)), style="bold"))
        console.print(_table(each["units"]))
    console.print()
    console.print(Text(f"readout reads {_wires(model.readout_wires)}", style="bold"))


def _model(source: str, target: str | None, param: list[str] | None, settings: CompileConfig) -> Model:
    saved = options.saved_model(source, target, param, settings)
    if saved is not None:
        return saved
    chosen = check_target(target or DEFAULT_TARGET)
    return compile_program(options.load_source(source, param), chosen, settings)


def _layer(model: Model, number: int) -> dict[str, Any]:
    layer = model.layers[number]
    labels: list[Label | None] = list(layer.labels) or [None] * layer.size
    return {
        "layer": number,
        "kind": layer.kind,
        "gates": GATES[layer.kind],
        "reads": list(layer.inputs),
        "nonzeros": layer.nonzeros,
        "units": [_unit(layer, index, label) for index, label in enumerate(labels)],
    }


def _unit(layer: Layer, index: int, label: Label | None) -> dict[str, Any]:
    """One unit; a model of another origin may have no labels."""
    span = label.span if label is not None else None
    return {
        "unit": index,
        "variable": label.variable if label else None,
        "component": label.component if label else None,
        "sign": label.sign if label else None,
        "fresh": label.fresh if label else None,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "inputs": sum(
            len(layer.weight_ih.rows[row]) + len(layer.weight_hh.rows[row])
            for row in range(index, len(layer.weight_ih.rows), layer.size)
        ),
    }


def _heading(layer: dict[str, Any]) -> str:
    units = layer["units"]
    states = Counter(unit["fresh"] for unit in units)
    made = f"{states[True]} computed here, {states[False]} carried" if None not in states else "no labels"
    return (
        f"layer {layer['layer']}: {layer['kind']}, {len(units)} unit{'' if len(units) == 1 else 's'} "
        f"({made}), {layer['nonzeros']:,} non-zeros, reads {_wires(layer['reads'])}"
    )


def _wires(wires: list[int] | tuple[int, ...]) -> str:
    names = dict.fromkeys("the tokens" if wire == 0 else f"layer {wire - 1}" for wire in wires)
    return ", ".join(names)


def _table(units: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("unit", "variable", "component", "sign", "", "source", "non-zeros"):
        number = heading in {"unit", "component", "non-zeros"}
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for unit in units:
        if unit["variable"] is None:
            table.add_row(str(unit["unit"]), "", "", "", "", "", str(unit["inputs"]))
            continue
        place = f"{unit['file']}:{unit['line']}" if unit["line"] is not None else ""
        row = (
            unit["unit"],
            unit["variable"],
            unit["component"],
            SIGNS.get(unit["sign"], ""),
            "computed" if unit["fresh"] else "carried",
            place,
            unit["inputs"],
        )
        style = "" if unit["fresh"] else "dim"
        table.add_row(*(Text(plain(each)) for each in row), style=style)
    return table
