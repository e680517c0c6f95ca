"""Model files: the exact weights of a model, in one safetensors file.

The tensors are index arrays: for every matrix its row pointers, columns and, per
entry, the index of its value in a table.  The table of distinct values - exact
strings, ``p`` or ``p/q`` or ``m*2^e`` - stands with everything else in a JSON manifest in
the file's metadata, together with the schema's version and a content hash.
Nothing is rounded: a model is rounded when it meets a number format, so running a
program and running its saved model give the same bits.

A model file is untrusted input.  Everything in it is checked - sizes, shapes, indices,
finiteness, the hash - and what is not understood is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from gmpy2 import mpq, mpz
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from compiler.errors import ModelFileError, Span
from compiler.exact import ONE, Matrix, Vector
from compiler.model import GATES, INITIALISED, MAX_WINDOW, Activation, Kind, Label, Layer, Model

SCHEMA = 1
MAX_FILE_BYTES = 1 << 30
MAX_EXPONENT = 1 << 20
MAX_DIGITS = 400_000
Indices = NDArray[np.int64]

_BEGINNINGS = (b'{"__metadata__":{"manifest":', b'{"__metadata__":{"hash":')
"""With what the header of a model file begins, so that a damaged one is known for what it was."""
_VALUE = re.compile(r"(-?[0-9]+)(?:/([0-9]+)|\*2\^(-?[0-9]+))?")


def _write_value(value: mpq) -> str:
    """The shorter of ``p/q`` and ``m*2^e``, both exact."""
    denominator = value.denominator
    if denominator > 1 << 64 and denominator & (denominator - 1) == 0:
        return f"{value.numerator}*2^{1 - denominator.bit_length()}"
    return str(value)


def _read_value(text: object, path: Path) -> mpq:
    match = _VALUE.fullmatch(text) if isinstance(text, str) and len(text) <= MAX_DIGITS else None
    if match is None:
        shown = repr(text)
        raise _broken(path, f"weight {shown[:60]} is not an exact finite number")
    numerator, denominator, exponent = match.groups()
    if denominator is not None:
        if int(mpz(denominator)) == 0:
            raise _broken(path, f"weight {text!r} divides by zero")
        return mpq(mpz(numerator), mpz(denominator))
    if exponent is not None:
        if len(exponent) > 8 or abs(int(exponent)) > MAX_EXPONENT:
            raise _broken(path, f"weight with the exponent {exponent[:20]} is out of bounds")
        return mpq(mpz(numerator)) * mpq(2) ** int(exponent)
    return mpq(mpz(numerator))


def _broken(path: Path, problem: str) -> ModelFileError:
    error = ModelFileError.single(
        f"{path}: {problem}", hint="write the file again with: lsrl compile PROGRAM -o MODEL"
    )
    assert isinstance(error, ModelFileError)
    return error


# ---------------------------------------------------------------- writing


class _Values:
    """The table of distinct values."""

    def __init__(self) -> None:
        self.index: dict[mpq, int] = {}

    def of(self, value: mpq) -> int:
        return self.index.setdefault(value, len(self.index))


def _put_matrix(tensors: dict[str, Indices], name: str, matrix: Matrix, values: _Values) -> None:
    lengths = [len(row) for row in matrix.rows]
    entries = list(matrix.entries())
    tensors[f"{name}.rows"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tensors[f"{name}.columns"] = np.array([j for _, j, _ in entries], dtype=np.int64)
    tensors[f"{name}.values"] = np.array([values.of(v) for _, _, v in entries], dtype=np.int64)


def _put_vector(tensors: dict[str, Indices], name: str, vector: Vector, values: _Values) -> None:
    tensors[name] = np.array([values.of(v) for v in vector], dtype=np.int64)


def _label_record(label: Label) -> list[object]:
    place = [label.span.file, label.span.line, label.span.column] if label.span else None
    scale = [] if label.scale == 1 else [_write_value(label.scale)]
    return [label.variable, label.component, label.sign, label.fresh, place, *scale]


def _digest(tensors: Mapping[str, Indices], manifest: Mapping[str, object]) -> str:
    content = hashlib.sha256()
    content.update(json.dumps(manifest, sort_keys=True, ensure_ascii=True).encode())
    for name in sorted(tensors):
        content.update(name.encode() + b"\0")
        content.update(np.ascontiguousarray(tensors[name]).astype("<i8").tobytes())
    return content.hexdigest()


def _contents(model: Model) -> tuple[dict[str, Indices], dict[str, object]]:
    tensors: dict[str, Indices] = {}
    values = _Values()
    layers = []
    for number, layer in enumerate(model.layers):
        prefix = f"layer{number}."
        _put_matrix(tensors, prefix + "weight_ih", layer.weight_ih, values)
        _put_matrix(tensors, prefix + "weight_hh", layer.weight_hh, values)
        for role in ("bias", "initial", "initial_cell"):
            _put_vector(tensors, prefix + role, getattr(layer, role), values)
        record: dict[str, object] = {
            "kind": layer.kind,
            "inputs": list(layer.inputs),
            "size": layer.size,
            "labels": [_label_record(label) for label in layer.labels],
        }
        if layer.activation != "relu":
            record["activation"] = layer.activation
        if layer.bias_hn:
            _put_vector(tensors, prefix + "bias_hn", layer.bias_hn, values)
        layers.append(record)
    _put_matrix(tensors, "readout", model.readout, values)
    _put_vector(tensors, "readout_bias", model.readout_bias, values)
    manifest: dict[str, object] = {
        "schema": SCHEMA,
        "target": model.target,
        "name": model.name,
        "input_dim": model.input_dim,
        "output_dim": model.output_dim,
        "readout_wires": list(model.readout_wires),
        "layers": layers,
        "settings": dict(model.settings),
        "warnings": list(model.warnings),
        "window": model.window,
        "values": [_write_value(value) for value in values.index],
    }
    return tensors, manifest


def model_hash(model: Model) -> str:
    """SHA-256 of everything a model file holds."""
    return _digest(*_contents(model))


def save_model(model: Model, path: str | Path) -> str:
    """Write a model file (atomically) and return its content hash.

    Raises:
        OSError: the place cannot be written.
    """
    path = Path(path)
    tensors, manifest = _contents(model)
    digest = _digest(tensors, manifest)
    metadata = {"manifest": json.dumps(manifest, sort_keys=True), "hash": digest}
    content = save(dict(tensors), metadata=metadata)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return digest


# ---------------------------------------------------------------- reading


def _read_header(path: Path, content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, its claimed header size checked first."""
    if not content:
        raise _foreign(path, "it is empty")
    size = int.from_bytes(content[:8], "little")
    if size > len(content) - 8:
        if content[8:].startswith(_BEGINNINGS):
            raise _broken(path, f"truncated: its header claims {size} bytes, the file has {len(content)}")
        raise _foreign(path)
    try:
        header = json.loads(content[8 : 8 + size])
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        if content[8:].startswith(_BEGINNINGS):
            raise _broken(path, "damaged: its header cannot be read")
        raise _foreign(path)
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not {"manifest", "hash"} <= metadata.keys():
        raise _foreign(path, "it is a safetensors file of something else")
    manifest, digest = metadata["manifest"], metadata["hash"]
    if not isinstance(manifest, str) or not isinstance(digest, str):
        raise _broken(path, "damaged: its header is not that of a model file")
    return {"manifest": manifest, "hash": digest}


def _foreign(path: Path, what: str | None = None) -> ModelFileError:
    """The error for a file that no ``save_model`` ever wrote."""
    error = ModelFileError.single(
        f"{path}: not a model file of lsrl-stability{f' ({what})' if what else ''}",
        hint="lsrl compile PROGRAM -o MODEL writes one; the name of a program's file ends in .lsrl",
    )
    assert isinstance(error, ModelFileError)
    return error


class _Reader:
    """Checked access to the tensors and the manifest of one file."""

    def __init__(self, path: Path, tensors: Mapping[str, NDArray[Any]], manifest: dict[str, Any]) -> None:
        self.path = path
        self.tensors = tensors
        table = self.field(manifest, "values", list)
        self.values = [_read_value(text, path) for text in table]

    def field(self, record: object, name: str, kind: type) -> Any:
        """A field of a JSON record, of the right type."""
        value = record.get(name) if isinstance(record, dict) else None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _broken(
                self.path, f"field {name!r} of its manifest is missing or not of type {kind.__name__}"
            )
        return value

    def count(self, record: object, name: str, limit: int) -> int:
        """A whole number in [1, limit]."""
        value = self.field(record, name, int)
        if not 1 <= value <= limit:
            raise _broken(self.path, f"{name}={value} is out of bounds")
        return cast(int, value)

    def array(self, name: str, length: int | None, limit: int) -> Indices:
        """A one-dimensional tensor of indices in [0, limit)."""
        found = self.tensors.get(name)
        if found is None or found.dtype != np.int64 or found.ndim != 1:
            raise _broken(self.path, f"tensor {name} is missing or not a list of indices")
        if length is not None and len(found) != length:
            raise _broken(self.path, f"tensor {name} has {len(found)} entries, expected {length}")
        if len(found) and (found.min() < 0 or found.max() >= limit):
            raise _broken(self.path, f"tensor {name} holds an index out of bounds")
        return found

    def vector(self, name: str, length: int) -> Vector:
        """A vector of exact values."""
        return tuple(self.values[i] for i in self.array(name, length, len(self.values)))

    def matrix(self, name: str, height: int, width: int) -> Matrix:
        """A sparse matrix of exact values, columns ascending and no stored zeros."""
        columns = self.array(f"{name}.columns", None, max(width, 1))
        values = self.array(f"{name}.values", len(columns), len(self.values))
        rows = self.array(f"{name}.rows", height + 1, len(columns) + 1)
        if rows[0] != 0 or rows[-1] != len(columns) or np.any(np.diff(rows) < 0):
            raise _broken(self.path, f"tensor {name}.rows does not split its entries into {height} rows")
        packed = []
        for start, end in pairwise(rows.tolist()):
            own = columns[start:end]
            if np.any(np.diff(own) <= 0):
                raise _broken(self.path, f"tensor {name}.columns: a row's columns do not ascend")
            row = tuple((int(j), self.values[v]) for j, v in zip(own, values[start:end], strict=True))
            if any(value == 0 for _, value in row):
                raise _broken(self.path, f"tensor {name} stores a zero")
            packed.append(row)
        return Matrix(height=height, width=width, rows=tuple(packed))


def _read_label(record: object, reader: _Reader) -> Label:
    try:
        variable, component, sign, fresh, place, *scale = cast(list[Any], record)
        span = Span(file=str(place[0]), line=int(place[1]), column=int(place[2])) if place else None
        return Label(
            variable=str(variable),
            component=int(component),
            sign=int(sign),
            fresh=bool(fresh),
            span=span,
            scale=_read_scale(scale, reader.path),
        )
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        raise _broken(reader.path, "a unit's label is malformed") from None


def _read_scale(scale: list[object], path: Path) -> mpq:
    found = _read_value(scale[0], path) if scale else ONE
    if found <= 0:
        raise _broken(path, f"a unit's scale is {found}")
    return found


def _read_layer(reader: _Reader, record: object, number: int, sizes: list[int]) -> Layer:
    kind = reader.field(record, "kind", str)
    if kind not in GATES:
        raise _broken(reader.path, f"layer {number} is of the unknown kind {kind[:40]!r}")
    size = reader.count(record, "size", 10_000_000)
    inputs = _wires(reader, reader.field(record, "inputs", list), len(sizes))
    width, height = sum(sizes[wire] for wire in inputs), GATES[kind] * size
    prefix = f"layer{number}."
    labels = reader.field(record, "labels", list)
    if len(labels) not in (0, size):
        raise _broken(reader.path, f"layer {number} has {len(labels)} labels for {size} units")
    activation = record.get("activation", "relu") if isinstance(record, dict) else "relu"
    if activation not in get_args(Activation) or (activation == "native" and kind not in {"lstm", "gru"}):
        raise _broken(
            reader.path, f"layer {number} of kind {kind} has the unknown activation {activation!r:.40}"
        )
    native_gru = kind == "gru" and activation == "native"
    layer = Layer(
        kind=cast(Kind, kind),
        activation=cast(Activation, activation),
        bias_hn=reader.vector(prefix + "bias_hn", size) if native_gru else (),
        inputs=inputs,
        size=size,
        weight_ih=reader.matrix(prefix + "weight_ih", height, width),
        weight_hh=reader.matrix(prefix + "weight_hh", height, size),
        bias=reader.vector(prefix + "bias", height),
        initial=reader.vector(prefix + "initial", size if kind in INITIALISED else 0),
        initial_cell=reader.vector(prefix + "initial_cell", size if kind == "lstm" else 0),
        labels=tuple(_read_label(label, reader) for label in labels),
    )
    if kind not in INITIALISED and layer.weight_hh.nonzeros:
        raise _broken(reader.path, f"layer {number} of kind {kind} has recurrent weights")
    return layer


def _wires(reader: _Reader, wires: list[object], known: int) -> tuple[int, ...]:
    if not wires or not all(isinstance(w, int) and not isinstance(w, bool) and 0 <= w < known for w in wires):
        raise _broken(reader.path, "a layer reads a wire that does not exist yet")
    return tuple(cast(list[int], wires))


def _strings(reader: _Reader, manifest: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    settings, warnings = reader.field(manifest, "settings", dict), reader.field(manifest, "warnings", list)
    if not all(isinstance(value, str) for value in [*settings.values(), *warnings]):
        raise _broken(reader.path, "settings and warnings of its manifest are not all text")
    return settings, tuple(warnings)


def load_model(path: str | Path) -> Model:
    """Read a model file.

    Raises:
        ModelFileError: damaged, inconsistent, of an unknown schema, or not readable.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _broken(path, f"larger than {MAX_FILE_BYTES >> 20} MiB")
        content = path.read_bytes()
    except OSError as problem:
        raise _broken(path, f"cannot be read: {problem.strerror}") from None
    metadata = _read_header(path, content)
    try:
        tensors = load(content)
        manifest = json.loads(metadata["manifest"])
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as problem:
        raise _broken(path, f"damaged: {str(problem)[:80]}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise _broken(path, f"schema {schema!r} is not known; this version reads schema {SCHEMA}")
    if any(tensor.dtype != np.int64 for tensor in tensors.values()):
        raise _broken(path, "it holds tensors that are not lists of indices")
    if _digest(tensors, manifest) != metadata["hash"]:
        raise _broken(path, "its content does not match its hash")
    return _build(_Reader(path, tensors, manifest), manifest)


def _build(reader: _Reader, manifest: dict[str, Any]) -> Model:
    sizes = [reader.count(manifest, "input_dim", 1_000_000)]
    layers: list[Layer] = []
    for number, record in enumerate(reader.field(manifest, "layers", list)):
        layers.append(_read_layer(reader, record, number, sizes))
        sizes.append(layers[-1].size)
    wires = _wires(reader, reader.field(manifest, "readout_wires", list), len(sizes))
    output_dim = reader.count(manifest, "output_dim", 1_000_000)
    settings, warnings = _strings(reader, manifest)
    return Model(
        target=reader.field(manifest, "target", str),
        name=reader.field(manifest, "name", str),
        input_dim=sizes[0],
        output_dim=output_dim,
        layers=tuple(layers),
        readout_wires=wires,
        readout=reader.matrix("readout", output_dim, sum(sizes[wire] for wire in wires)),
        readout_bias=reader.vector("readout_bias", output_dim),
        settings=settings,
        warnings=warnings,
        window=_window(reader, manifest, layers),
    )


def _window(reader: _Reader, manifest: dict[str, Any], layers: list[Layer]) -> int | None:
    if "window" not in manifest or manifest["window"] is not None:
        return reader.count(manifest, "window", MAX_WINDOW)
    if any(layer.kind == "conv" for layer in layers):
        raise _broken(reader.path, "it has convolutions, but no window")
    return None
