"""The source map: ``lsrl explain`` and the picture of ``lsrl show --svg``."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from compiler import compile_program, load_program, parse_program, save_model
from compiler.compiling import TARGET_NAMES
from compiler.errors import CompileRefusal
from compiler.library import LIBRARY
from reports.cli.app import app
from reports.picture import BOX_CHARACTERS, CHARACTER, GAP, TITLE_CHARACTER, picture

SVG = "{http://www.w3.org/2000/svg}"


def lsrl(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_every_unit_is_explained() -> None:
    """The JSON holds each unit of each layer with its label and its source place."""
    model = compile_program(load_program("majority"), target="lstm")
    shown = json.loads(lsrl("explain", "majority", "--json").stdout)
    assert [len(layer["units"]) for layer in shown["layers"]] == [layer.size for layer in model.layers]
    assert [layer["nonzeros"] for layer in shown["layers"]] == [layer.nonzeros for layer in model.layers]
    for layer, own in zip(shown["layers"], model.layers, strict=True):
        assert sum(unit["inputs"] for unit in layer["units"]) == own.nonzeros
        for unit, label in zip(layer["units"], own.labels, strict=True):
            assert (unit["variable"], unit["component"]) == (label.variable, label.component)
            assert (unit["sign"], unit["fresh"]) == (label.sign, label.fresh)
            assert label.span is not None
            assert (unit["file"], unit["line"]) == (label.span.file, label.span.line)
    lines = load_source("majority")
    for unit in (unit for layer in shown["layers"] for unit in layer["units"] if "@" not in unit["variable"]):
        assert unit["variable"] in lines[unit["line"] - 1]


def load_source(name: str) -> list[str]:
    """The lines of a library program."""
    path = Path(__file__).parents[2] / "compiler" / "programs" / f"{name}.lsrl"
    return path.read_text(encoding="utf-8").splitlines()


def test_a_saved_model_is_explained_as_its_program_is(tmp_path: Path) -> None:
    """The source map travels in the model file."""
    save_model(compile_program(load_program("modulo", n=4), target="relu_rnn"), tmp_path / "model")
    saved = json.loads(lsrl("explain", tmp_path / "model", "--json").stdout)
    named = lsrl("explain", "modulo", "--param", "n=4", "--target", "relu_rnn", "--json")
    assert saved == json.loads(named.stdout)


def test_the_table_shows_one_layer_or_all() -> None:
    """Variables, signs and source lines; --layer shows that layer alone."""
    everything = lsrl("explain", "dictionary_exact")
    assert everything.exit_code == 0
    assert "layer 0: lstm" in everything.stdout
    assert "readout reads layer" in everything.stdout
    for words in ("at_place", "carried", "computed", "dictionary_exact.lsrl:", "+"):
        assert words in everything.stdout
    assert "−" in lsrl("explain", "dictionary", "--layer", 0).stdout
    one = lsrl("explain", "dictionary_exact", "--layer", 2)
    assert "layer 2: lstm" in one.stdout
    assert "layer 1: lstm" not in one.stdout
    assert len(json.loads(lsrl("explain", "dictionary_exact", "--layer", 2, "--json").stdout)["layers"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("majority", "--layer", "99"), "no layer 99"),
        (("nothing",), "unknown program"),
        (("majority", "--target", "x"), "unknown target"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    """Exit 2 and one line."""
    result = lsrl("explain", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


def test_a_model_has_its_own_target(tmp_path: Path) -> None:
    """--target with a model file is refused; a file that is no model is damaged."""
    save_model(compile_program(load_program("majority")), tmp_path / "model")
    assert "compiled model" in lsrl("explain", tmp_path / "model", "--target", "lstm").stderr
    (tmp_path / "model").write_bytes(b"x")
    assert lsrl("explain", tmp_path / "model").exit_code == 2


# ---------------------------------------------------------------- the picture


def test_show_writes_the_picture(tmp_path: Path) -> None:
    """The file is the picture of the program and the model, twice the same, and JSON stays JSON."""
    place = tmp_path / "picture.svg"
    result = lsrl("show", "majority", "--svg", place, "--target", "relu_rnn", "--json")
    assert json.loads(result.stdout)["program"] == "majority"
    program = load_program("majority")
    assert place.read_text(encoding="utf-8") == picture(program, compile_program(program, "relu_rnn"))
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]
    assert lsrl("show", "majority", "--svg", tmp_path).exit_code == 2


def drawn(name: str, target: str) -> ET.Element:
    """The parsed picture of a library program."""
    program = load_program(name)
    return ET.fromstring(picture(program, compile_program(program, target)))  # noqa: S314 -- our own


@pytest.mark.parametrize("target", TARGET_NAMES)
@pytest.mark.parametrize("name", ["dictionary", "linear_attention"])
def test_nothing_overlaps(name: str, target: str) -> None:
    """Boxes are apart, texts stay in their box and apart, and all is inside the picture."""
    try:
        root = drawn(name, target)
    except CompileRefusal:
        pytest.skip(f"{target} refuses {name}")
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [
        tuple(float(each.attrib[key]) for key in ("x", "y", "width", "height"))
        for each in root.iter(f"{SVG}rect")
        if each.attrib["class"] == "box"
    ]
    for (x, y, wide, tall), following in itertools.pairwise(sorted(boxes, key=lambda box: box[1])):
        assert y + tall < following[1]
        assert x + wide <= width
    assert boxes[-1][1] + boxes[-1][3] <= height
    rows: dict[float, list[tuple[float, float]]] = {}
    for each in root.iter(f"{SVG}text"):
        size = TITLE_CHARACTER if each.attrib.get("class") == "title" else CHARACTER
        x, y, text = float(each.attrib["x"]), float(each.attrib["y"]), each.text or ""
        assert x + size * len(text) <= width, text
        assert y <= height
        inside = [box for box in boxes if box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]]
        if inside:
            assert x + size * len(text) <= inside[0][0] + inside[0][2] + GAP, text
        rows.setdefault(y, []).append((x, x + size * len(text)))
    for spans in rows.values():
        for (_, end), (start, _) in itertools.pairwise(sorted(spans)):
            assert end <= start


@pytest.mark.parametrize("name", LIBRARY)
def test_rails_in_one_lane_do_not_meet(name: str) -> None:
    """No two values share a lane at the same height, and each edge of the program has its dot."""
    program = load_program(name)
    root = drawn(name, "uncompiled")
    spans: dict[str, list[tuple[float, float]]] = {}
    for each in root.iter(f"{SVG}path"):
        found = re.match(r"M\S+ (\S+)H(\S+)V([\d.]+)", each.attrib["d"])
        assert found is not None
        spans.setdefault(found[2], []).append((float(found[1]), float(found[3])))
    for lane in spans.values():
        for (_, end), (start, _) in itertools.pairwise(sorted(lane)):
            assert end < start
    edges = sum(len(set(sources(program, index))) for index in range(len(program.nodes)))
    assert len(list(root.iter(f"{SVG}circle"))) == edges


def sources(program: object, index: int) -> tuple[int, ...]:
    """The nodes that a node reads."""
    from compiler import ir

    assert isinstance(program, ir.Program)
    return ir.sources_of(program.nodes[index])


def test_names_are_shown_with_operation_and_dim() -> None:
    """Each named variable of the program has its row; each layer its kind and its fresh variables."""
    texts = [each.text or "" for each in drawn("dictionary", "lstm").iter(f"{SVG}text")]
    for words in ("global_ctr", "f_modulo_counter", "query_state", "LinState", "dim"):
        assert words in texts
    model = compile_program(load_program("dictionary"))
    assert sum(text.startswith("layer ") for text in texts) == len(model.layers)
    assert any("at_place[0–2]" in text for text in texts)
    assert len(max(texts, key=len)) <= BOX_CHARACTERS + 2


def test_hostile_names_are_escaped() -> None:
    """A program's name and parameters cannot add elements to the picture."""
    program = parse_program("ForEach:\n    x = Input(dim=1)\n    return ReLU(x)\n", file="<script>&.lsrl")
    text = picture(program, compile_program(program))
    assert "<script>" not in text
    assert ET.fromstring(text).find(f"{SVG}title") is not None  # noqa: S314 -- our own


def test_light_and_dark_have_every_colour() -> None:
    """Each colour that is used is defined for both schemes, and nothing is loaded from elsewhere."""
    program = load_program("majority")
    text = picture(program, compile_program(program))
    used = set(re.findall(r"var\((--\w+)\)", text))
    light, dark = text.split("prefers-color-scheme: dark")
    for colour in used:
        assert f"{colour}: #" in light
        assert f"{colour}: #" in dark
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
