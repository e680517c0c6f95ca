"""A picture of a program beside the layers it became, as SVG.

On the left each node of the source program has a row, in program order.  A value runs
down its own rail from the node that makes it to the last node that reads it; a dot on
a rail is a reading.  On the right each layer of the compiled model has a box that names
the variables computed in it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

from compiler import ir
from compiler.model import TOKENS, Label, Layer, Model
from reports.files import beside
from reports.text import plain

CHARACTER = 7.3  # width of one character of the 12-pixel monospaced font, on the safe side
TITLE_CHARACTER = 9.2  # and of the 15-pixel one
ROW, LANE, MARGIN, TOP = 24, 11, 24, 80
LINE, GAP, BOX_CHARACTERS = 17, 16, 62
LONGEST_NAME, LONGEST_KIND, LONGEST_LAYERS = 26, 18, 22
RAILS = 8
"""Rails take turns at so many colours."""

STYLE = """\
:root { --paper: #ffffff; --ink: #1b1f24; --faint: #6a737d; --line: #c9d1d9; --box: #f6f8fa;
  --r0: #1668b8; --r1: #b35900; --r2: #1a7f37; --r3: #a32a5f;
  --r4: #6639ba; --r5: #0f7b83; --r6: #8a6100; --r7: #57606a }
@media (prefers-color-scheme: dark) { :root {
  --paper: #0d1117; --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --box: #161b22;
  --r0: #6cb6ff; --r1: #f69d50; --r2: #6bc46d; --r3: #fc8dc7;
  --r4: #bd9cff; --r5: #56d4dd; --r6: #dab65a; --r7: #adbac7 } }
text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: var(--ink) }
.paper { fill: var(--paper) }
.title { font-size: 15px; font-weight: 600 }
.strong { font-weight: 600 }
.faint { fill: var(--faint) }
.box { fill: var(--box); stroke: var(--line) }
.rail { fill: none; stroke-width: 1.5 }
.arrow { stroke: var(--line); stroke-width: 1.5 }
.node { stroke: var(--paper); stroke-width: 1.5 }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rail:
    """Where a node's value runs: its lane, and the rows that read it."""

    lane: int
    readers: tuple[int, ...]


def picture(program: ir.Program, model: Model) -> str:
    """The SVG text: the same for the same program and model.

    Args:
        program: the source program.
        model: what it was compiled to.
    """
    rails = _rails(program)
    lanes = 1 + max((rail.lane for rail in rails if rail is not None), default=0)
    left = MARGIN + lanes * LANE + LANE
    names = [_cut(program.label(index), LONGEST_NAME) for index in range(len(program.nodes))]
    kinds = [_cut(_kind(node), LONGEST_KIND) for node in program.nodes]
    layers = [_cut(text, LONGEST_LAYERS) for text in _layers_of(program, model)]
    columns = [float(left + 2 * LANE)]
    for texts, least in ((names, 4), (kinds, 4), ([_dim(node) for node in program.nodes], 3)):
        columns.append(columns[-1] + (max(least, *(len(text) for text in texts)) + 2) * CHARACTER)
    right = columns[-1] + (max(len("layers"), *(len(text) for text in layers)) + 4) * CHARACTER
    stack, bottom = _stack(model, right)
    parts = [
        *_heading(program, model, columns, right),
        *_wires(rails, left),
        *_rows(program, names, kinds, layers, columns, left),
        *stack,
    ]
    width = round(right + BOX_CHARACTERS * CHARACTER + 2 * GAP + MARGIN)
    height = round(max(TOP + ROW * len(program.nodes), bottom) + MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">'
    )
    title = f'<title id="title">{_safe(f"{program.name} as {model.target}")}</title>'
    paper = f'<rect class="paper" width="{width}" height="{height}"/>'
    return "\n".join([head, title, f"<style>{STYLE}</style>", paper, *parts, "</svg>"]) + "\n"


def save_picture(program: ir.Program, model: Model, path: Path) -> None:
    """Write :func:`picture` to a file that appears when it is complete.

    Raises:
        OSError: the place cannot be written.
    """
    partial = beside(path)
    try:
        partial.write_text(picture(program, model), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# ---------------------------------------------------------------- the program


def _rails(program: ir.Program) -> list[_Rail | None]:
    """A lane per value that is read; short ones lie next to the rows, and none overlap in a lane."""
    readers: list[list[int]] = [[] for _ in program.nodes]
    for index, node in enumerate(program.nodes):
        for source in dict.fromkeys(ir.sources_of(node)):
            readers[source].append(index)
    taken: list[list[tuple[int, int]]] = []
    rails: list[_Rail | None] = [None] * len(program.nodes)
    for index in sorted(
        (index for index, own in enumerate(readers) if own), key=lambda i: (readers[i][-1] - i, i)
    ):
        last = readers[index][-1]
        lane = 0
        while lane < len(taken) and any(a < last and index < b for a, b in taken[lane]):
            lane += 1
        if lane == len(taken):
            taken.append([])
        taken[lane].append((index, last))
        rails[index] = _Rail(lane=lane, readers=tuple(readers[index]))
    return rails


def _wires(rails: Sequence[_Rail | None], left: float) -> Iterator[str]:
    """Rails with a stub at the node that makes the value and one at each that reads it."""
    for index, rail in enumerate(rails):
        if rail is None:
            continue
        colour = f"var(--r{index % RAILS})"
        x = left - LANE * (rail.lane + 1)
        below, above = _y(index) + 4, [_y(reader) - 4 for reader in rail.readers]
        path = f"M{left} {below}H{x}V{above[-1]}" + "".join(f"M{x} {y}H{left}" for y in above)
        yield f'<path class="rail" d="{path}" stroke="{colour}"/>'
        for y in above:
            yield f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>'


def _rows(
    program: ir.Program,
    names: Sequence[str],
    kinds: Sequence[str],
    layers: Sequence[str],
    columns: Sequence[float],
    left: float,
) -> Iterator[str]:
    for index, node in enumerate(program.nodes):
        y = _y(index)
        yield (
            f'<rect class="node" x="{left}" y="{y - 8}" width="{LANE}" height="16" rx="3" '
            f'fill="var(--r{index % RAILS})"/>'
        )
        strong = "strong" if node.name or index == program.output else "faint"
        yield _text(columns[0], y + 4, names[index], strong)
        yield _text(columns[1], y + 4, kinds[index])
        yield _text(columns[2], y + 4, _dim(node), "faint")
        yield _text(columns[3], y + 4, layers[index], "faint")


def _kind(node: ir.Node) -> str:
    return node.kind if isinstance(node, ir.Idiom) else type(node).__name__


def _dim(node: ir.Node) -> str:
    return f"{node.dim}"


def _layers_of(program: ir.Program, model: Model) -> list[str]:
    """For each named node, the layers that compute something of its source line."""
    found: dict[tuple[str, int], list[int]] = {}
    for number, layer in enumerate(model.layers):
        places = {(label.span.file, label.span.line) for label in layer.labels if label.fresh and label.span}
        for place in places:
            found.setdefault(place, []).append(number)
    shown = []
    for index, node in enumerate(program.nodes):
        own = node.span is not None and (node.name is not None or index == program.output)
        place = (node.span.file, node.span.line) if node.span is not None else ("", 0)
        shown.append(_ranges(found.get(place, [])) if own else "")
    return shown


# ---------------------------------------------------------------- the layers


def _stack(model: Model, x: float) -> tuple[list[str], float]:
    """The boxes, and where they end."""
    width = BOX_CHARACTERS * CHARACTER + 2 * GAP
    parts: list[str] = []
    y = float(TOP - ROW // 2)
    boxes = [_box(number, layer) for number, layer in enumerate(model.layers)]
    boxes.append([f"readout · {model.output_dim} · reads {_reads(model.readout_wires)}"])
    inputs = [*(layer.inputs for layer in model.layers), model.readout_wires]
    for number, lines in enumerate(boxes):
        if number and number in inputs[number]:
            middle = f"{x + width / 2:g}"
            parts.append(f'<line class="arrow" x1="{middle}" y1="{y - 8:g}" x2="{middle}" y2="{y:g}"/>')
        height = LINE * len(lines) + 11
        parts.append(f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height}" rx="5"/>')
        parts += [
            _text(x + GAP, y + 17 + LINE * row, line, "" if row else "strong")
            for row, line in enumerate(lines)
        ]
        y += height + 8
    return parts, y


def _box(number: int, layer: Layer) -> list[str]:
    wires = "" if layer.inputs == (number,) else f" · reads {_reads(layer.inputs)}"
    fresh = _variables([label for label in layer.labels if label.fresh])
    carried = sum(not label.fresh for label in layer.labels)
    units = f"{layer.size} unit{'' if layer.size == 1 else 's'}{f', {carried} carried' if carried else ''}"
    head = f"layer {number} · {layer.kind} · {units} · {layer.nonzeros:,} non-zeros{wires}"
    lines = textwrap.wrap(head, BOX_CHARACTERS)
    return lines + textwrap.wrap(", ".join(fresh), BOX_CHARACTERS, break_on_hyphens=False)


def _variables(labels: Sequence[Label]) -> list[str]:
    """Each variable once, with the components that are there."""
    found: dict[str, set[int]] = {}
    for label in labels:
        found.setdefault(label.variable, set()).add(label.component)
    return [
        plain(name) if components == {0} else f"{plain(name)}[{_ranges(sorted(components))}]"
        for name, components in found.items()
    ]


def _reads(wires: Sequence[int]) -> str:
    """``tokens, layer 3`` or ``layers 3, 5``."""
    layers = [str(wire - 1) for wire in dict.fromkeys(wires) if wire != TOKENS]
    named = [f"layer{'' if len(layers) == 1 else 's'} {', '.join(layers)}"] if layers else []
    return ", ".join((["tokens"] if TOKENS in wires else []) + named)


# ---------------------------------------------------------------- text


def _heading(program: ir.Program, model: Model, columns: Sequence[float], right: float) -> Iterator[str]:
    given = " ".join(f"{name}={value}" for name, value in program.parameters)
    room = int((right - MARGIN - GAP) / TITLE_CHARACTER)
    yield _text(MARGIN, 26, _cut(f"{program.name} {given}".strip(), room), "title")
    for x, heading in zip(columns, ("name", "operation", "dim", "layers"), strict=True):
        yield _text(x, TOP - ROW, heading, "faint")
    units = sum(layer.size for layer in model.layers)
    size = f"{len(model.layers):,} layers, {units:,} units, {model.nonzeros:,} non-zeros"
    yield _text(right, 26, _cut(model.target, BOX_CHARACTERS // 2), "title")
    yield _text(right, TOP - ROW, size, "faint")


def _text(x: float, y: float, text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}>{_safe(text)}</text>'


def _y(row: int) -> int:
    return TOP + ROW * row


def _ranges(numbers: Sequence[int]) -> str:
    """``0–2, 5`` for 0, 1, 2, 5."""
    runs: list[list[int]] = [[number] for number in numbers[:1]]
    for before, number in pairwise(numbers):
        if number == before + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _cut(text: str, longest: int) -> str:
    shown = plain(text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _safe(text: str) -> str:
    return escape(plain(text), {'"': "&quot;"})
