"""The kinds of files that a user can feed: right ones, ones that look right, and what reads them."""

from __future__ import annotations

import io
import json
import re
import shutil
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from safetensors.numpy import load, save

from compiler import compile_program, load_program
from compiler.loading import library_names
from compiler.model_file import _digest, load_model, save_model
from reports.cli.token_files import TokenFile
from reports.store_reading import experiments_of, read_noise
from stability.corpus import entry_files, read_entry
from stability.experiment import load_experiment, read_store
from stability.experiment.reading import shipped
from stability.experiment.store import CELLS, MARKER
from stability.formats import FLOAT32
from stability.gate import load_gate, read_baseline
from stability.golden import golden_case, judge_of, read_case, read_outputs, save_case, score
from stability.subject import subject
from tests.integration.hostile import (
    VALUES,
    damaged,
    json_text,
    recombined,
    revalued,
    toml_text,
)
from tests.reports.stores import sample_cells, write_store

ROOT = Path(__file__).parents[1]
LANGUAGE = [
    (resources.files("compiler") / "programs" / f"{name}.lsrl").read_text(encoding="utf-8")
    for name in library_names()
]
SHIPPED = [
    (resources.files("stability") / "experiments" / f"{name}.toml").read_text(encoding="utf-8")
    for name in shipped()
]
GATE = (ROOT / "baselines" / "gate.toml").read_text(encoding="utf-8")
WAIVED = """
[[overrides]]
target = ["lstm"]
parameters = { n = 3 }
abs_error = "ratio <= 4"
[[waivers]]
program = "modulo"
measure = ["horizon"]
reason = "why not"
expires = 9999-12-31
"""
CSV = "token\n0\n1\n0.5\n-3/4\n1e3\n"
THRESHOLDS = "[thresholds]\nwrong_share = 0.5\nhorizon = 3\n"
NOISE_TABLE = (
    "program,parameters,config,conditional,target,activation,format,length,kind,include,states,sigma,seed,horizon,"
    "wrong_share,error\nmodulo,n=7,stable,optimized,lstm,relu,float64,20,relative,nonzero,free,0.1,0,3,0.5,\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        file: that is damaged, in its folder.
        make: writes right files into a folder.
        read: all that is done to read it, given its path.
        command: of ``lsrl`` that reads it.
        draw: other contents than damaged bytes, given the right one.
        share: of the usual number of examples, for reading; the command gets a tenth of it.
    """

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    command: Callable[[Path], list[str]]
    draw: Callable[[bytes], st.SearchStrategy[bytes]]
    share: float = 1.0


# ---------------------------------------------------------------- right files


def _write(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def _gate(folder: Path) -> None:
    text = re.sub(r"^corpus = .*$", 'corpus = "corpus"', GATE, flags=re.MULTILINE)
    _write("gate.toml", text + WAIVED, folder)
    for name in ("gate.json", "leaky.lsrl"):
        shutil.copy(ROOT / "baselines" / name, folder / name)
    (folder / "corpus").mkdir()
    shutil.copy(entry_files(ROOT / "corpus")[0], folder / "corpus")


def _baseline(folder: Path) -> None:
    _gate(folder)
    whole = json.loads((folder / "gate.json").read_text(encoding="utf-8"))
    _write("gate.json", json.dumps(whole | {"cells": whole["cells"][:3]}), folder)


def _model(folder: Path) -> None:
    save_model(compile_program(load_program("modulo", n=3), "lstm"), folder / "model")


def _golden(folder: Path) -> None:
    what = subject("majority")
    made = golden_case(compile_program(what.source, "linear_rnn"), what.prompt(3, 8), judge=judge_of(what))
    with (folder / "case.npz").open("wb") as stream:
        save_case(made, stream)
    np.save(folder / "out.npy", np.zeros(made.arrays["reference/outputs"].shape, dtype=np.float32))


def _entry(folder: Path) -> None:
    shutil.copy(next((ROOT / "corpus").glob("drift-*.json")), folder / "entry.json")


def _store(folder: Path) -> None:
    write_store(folder / "store", sample_cells(1)[:2], experiment=THRESHOLDS)
    first = min((folder / "store" / CELLS).iterdir())
    (folder / "name").write_text(first.name, encoding="utf-8")


def _noise(folder: Path) -> None:
    _store(folder)
    _write("noise.csv", NOISE_TABLE, folder)


# ---------------------------------------------------------------- contents that look right


def _texts(*texts: str) -> Callable[[bytes], st.SearchStrategy[bytes]]:
    def draw(content: bytes) -> st.SearchStrategy[bytes]:
        return recombined([content.decode(), *texts]).map(lambda text: text.encode("utf-8", "replace"))

    return draw


def _json(content: bytes) -> st.SearchStrategy[bytes]:
    words = recombined([content.decode()]).map(lambda text: text.encode("utf-8", "replace"))
    return st.one_of(
        words,
        revalued(json.loads(content)).map(json_text).map(str.encode),
        VALUES.map(json_text).map(str.encode),
    )


def _toml(content: bytes) -> st.SearchStrategy[bytes]:
    known = [content.decode(), *SHIPPED]
    values = st.sampled_from(known).flatmap(lambda text: revalued(tomllib.loads(text), most=2))
    return st.one_of(
        recombined(known).map(lambda text: text.encode("utf-8", "replace")),
        values.filter(lambda made: isinstance(made, dict)).map(toml_text).map(str.encode),
    )


@st.composite
def _models(draw: st.DrawFn, content: bytes) -> bytes:
    """A file of tensors and a manifest that are not those of a model, with the hash that they should have."""
    size = int.from_bytes(content[:8], "little")
    manifest = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["manifest"])
    tensors = dict(load(content))
    if draw(st.booleans()):
        manifest = json.loads(json_text(draw(revalued(manifest))))
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(tensors)))
        match draw(st.sampled_from(["numbers", "longer", "type", "gone"])):
            case "numbers":
                tensors[name] = draw(_indices(len(tensors[name])))
            case "longer":
                tensors[name] = draw(_indices(draw(st.integers(0, 40))))
            case "type":
                tensors[name] = tensors[name].astype(draw(st.sampled_from(["f8", "u1", "i4", "?"])))
            case _:
                del tensors[name]
    try:
        own = _digest(tensors, manifest)
    except ValueError:  # tensors that are no numbers
        own = ""
    return bytes(save(tensors, metadata={"manifest": json.dumps(manifest), "hash": own}))


def _indices(length: int) -> st.SearchStrategy[Any]:
    numbers = st.one_of(st.integers(-1, 12), st.sampled_from([2**31, 2**62, -(2**63)]))
    return st.lists(numbers, min_size=length, max_size=length).map(
        lambda each: np.array(each, dtype=np.int64)
    )


@st.composite
def _archives(draw: st.DrawFn, content: bytes) -> bytes:
    """An archive whose manifest, or one of whose arrays, is another one, or damaged."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    match draw(st.sampled_from(["manifest", "array", "bytes", "gone"])):
        case "manifest":
            found = json.loads(np.load(io.BytesIO(members["manifest.npy"])).tobytes())
            text = json_text(draw(revalued(found))).encode()
            members["manifest.npy"] = _npy(np.frombuffer(text, dtype=np.uint8))
        case "array":
            members[name] = _npy(draw(_arrays()))
        case "bytes":
            members[name] = draw(damaged(members[name]))
        case _:
            del members[name]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for each, inside in members.items():
            archive.writestr(each, inside)
    return made.getvalue()


def _npy(array: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, array, allow_pickle=False)
    return made.getvalue()


@st.composite
def _arrays(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["f8", ">f8", "f4", "f2", "i8", "u1", "?", "c16", "U3", "S3", "M8[s]", "V2"]))
    shape = draw(st.lists(st.integers(0, 9), max_size=3))
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    content = draw(st.sampled_from([b"\0", b"\xff", b"\x7f\xf0", b"1"])) * size
    return np.frombuffer(content[:size], dtype=kind).reshape(shape)


def _arrays_of_tokens(_content: bytes) -> st.SearchStrategy[bytes]:
    return _arrays().map(_npy)


@st.composite
def _cells(draw: st.DrawFn, content: bytes) -> bytes:
    """A cell with other values of the right types, or with other columns."""
    table = pq.read_table(io.BytesIO(content))
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata.metadata
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(table.column_names))
        place, kind = table.column_names.index(name), table.schema.field(name).type
        match draw(st.sampled_from(["values", "values", "values", "type", "gone"])):
            case "values":
                values = draw(st.lists(_of(kind), min_size=table.num_rows, max_size=table.num_rows))
                table = table.set_column(place, name, pa.array(values, type=kind))
            case "type":
                other = draw(st.sampled_from([pa.int8(), pa.string(), pa.binary(), pa.list_(pa.int64())]))
                table = table.set_column(place, name, pa.nulls(table.num_rows, type=other))
            case _ if table.num_columns > 1:
                table = table.remove_column(place)
    made = io.BytesIO()
    with pq.ParquetWriter(made, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(
            {key: value for key, value in (metadata or {}).items() if key[:4] == b"lsrl"}
        )
    return made.getvalue()


def _of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_list(kind):
        return st.none()
    if kind == pa.int8():
        return st.integers(-9, 9)
    if pa.types.is_integer(kind):
        return st.one_of(st.none(), st.sampled_from([0, -1, 1, 7, 2**63 - 1, -(2**63)]))
    if pa.types.is_floating(kind):
        return st.one_of(st.none(), st.floats())
    if pa.types.is_boolean(kind):
        return st.one_of(st.none(), st.booleans())
    return st.one_of(
        st.none(), st.sampled_from(["", "lstm", "\0", "é" * 99, "nan", "<b>", "2026", "n=1 n=2", "="])
    )


# ---------------------------------------------------------------- reading


def _read_store(path: Path) -> None:
    store = path.parents[1]
    read_store(store, complain=lambda _: None)
    experiments_of(store)


def _score(path: Path) -> None:
    case = read_case(path)
    out = path.parent / "out.npy"
    score(case, read_outputs(out, case, FLOAT32), FLOAT32)


def _read_tokens(path: Path) -> None:
    for _ in TokenFile(name=path.name, path=path, dim=1).blocks(4):
        pass


def _report(store: Path, *more: str) -> list[str]:
    return ["report", str(store), "-o", str(store.parent / "report"), "--no-charts", *more]


KINDS: Mapping[str, Kind] = {
    "program": Kind(
        file="a.lsrl", make=partial(_write, "a.lsrl", LANGUAGE[0]), read=load_program,
        command=lambda path: ["show", str(path)], draw=_texts(*LANGUAGE),
    ),
    "experiment": Kind(
        file="a.toml", make=partial(_write, "a.toml", SHIPPED[0]), read=load_experiment, share=0.5,
        command=lambda path: ["experiment", "show", str(path)], draw=_toml,
    ),
    "gate": Kind(
        file="gate.toml", make=_gate, read=load_gate, share=0.4,
        command=lambda path: ["gate", str(path), "--jobs", "1"], draw=_toml,
    ),
    "baseline": Kind(
        file="gate.json", make=_baseline, read=read_baseline,
        command=lambda path: ["gate", str(path.parent / "gate.toml"), "--jobs", "1"], draw=_json,
    ),
    "model": Kind(
        file="model", make=_model, read=load_model, command=lambda path: ["explain", str(path)], draw=_models,
    ),
    "golden": Kind(
        file="case.npz", make=_golden, read=_score, share=0.5,
        command=lambda path: ["score", str(path), str(path.parent / "out.npy"), "--format", "float32"],
        draw=_archives,
    ),
    "outputs": Kind(
        file="out.npy", make=_golden, read=lambda path: _score(path.parent / "case.npz"), share=0.5,
        command=lambda path: ["score", str(path.parent / "case.npz"), str(path), "--format", "float32"],
        draw=_arrays_of_tokens,
    ),
    "entry": Kind(
        file="entry.json", make=_entry, read=read_entry,
        command=lambda path: ["fuzz", "--replay", str(path)], draw=_json,
    ),
    "cell": Kind(
        file="", make=_store, read=_read_store, share=0.2,
        command=lambda path: _report(path.parents[1]), draw=_cells,
    ),
    "marker": Kind(
        file=f"store/{MARKER}", make=_store, share=0.2, draw=_json,
        read=lambda path: read_store(path.parent, complain=lambda _: None),
        command=lambda path: ["experiment", "run", "quick", "-o", str(path.parent), "--jobs", "0"],
    ),
    "noise": Kind(
        file="noise.csv", make=_noise, read=read_noise, share=0.5,
        command=lambda path: _report(path.parent / "store", "--noise", str(path)), draw=_texts(),
    ),
    "tokens": Kind(
        file="t.csv", make=partial(_write, "t.csv", CSV), read=_read_tokens,
        command=lambda path: ["run", "majority", "--target", "linear_rnn", "--tokens", str(path)],
        draw=_texts(),
    ),
    "array": Kind(
        file="t.npy", make=lambda folder: np.save(folder / "t.npy", np.zeros((5, 1))), read=_read_tokens,
        command=lambda path: ["run", "majority", "--target", "linear_rnn", "--tokens", str(path)],
        draw=_arrays_of_tokens,
    ),
}  # fmt: skip
