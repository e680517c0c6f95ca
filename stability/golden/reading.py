"""Reading golden cases and outputs, which are untrusted input.

Nothing is unpickled, and nothing is allocated before its size is known to be what the
file really holds.
"""

from __future__ import annotations

import io
import json
import lzma
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from compiler.errors import LsrlError
from stability.formats import BFLOAT16, Format
from stability.golden.arrays import LOW
from stability.golden.case import NEAREST, REFERENCE, SCHEMA

Floats = npt.NDArray[np.float64]

MAX_ARRAY_BYTES = 1 << 30
MAX_LENGTH, MAX_OUTPUTS = 100_000_000, 1_000_000
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    SyntaxError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    UserWarning,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


class CaseError(LsrlError):
    """A golden case, or a file of outputs, that is damaged or does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """What outputs are judged against.

    Attributes:
        name: ``reference``, or the name of an expectation.
        high: (T, output_dim); inf and nan only in an expectation.
        low: what float64 does not hold of it.
    """

    name: str
    high: Floats
    low: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredCase:
    """What scoring needs of a case.

    Attributes:
        title: program and target.
        length: T.
        output_dim: numbers per output.
        rung: at which the reference was computed.
        exact: whether outputs must equal the reference exactly.
        nearest: whether a wrong step is one that stands for another integer.
        wrong_from: the error from which a step is wrong, in words.
        tolerance: (T, output_dim): the error from which a step is wrong.
        trajectories: by name, ``reference`` first.
        against: format → the trajectory that it is judged against by default.
    """

    title: str
    length: int
    output_dim: int
    rung: str
    exact: bool
    nearest: bool
    wrong_from: str
    tolerance: Floats
    trajectories: Mapping[str, Trajectory]
    against: Mapping[str, str]


def read_case(path: str | Path) -> StoredCase:
    """Read a golden case for scoring.

    Raises:
        CaseError: damaged, incomplete, inconsistent or of an unknown schema.
        OSError: the file cannot be read.
    """
    place = Path(path)
    with place.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _case(_Members(place, archive))
        except LsrlError:
            raise
        except _UNREADABLE as problem:
            raise _broken(place, f"not a golden case, or damaged ({_reason(problem)})") from None


def read_outputs(path: str | Path, case: StoredCase, fmt: Format) -> Floats:
    """The outputs of a kernel: (T, output_dim) as float64, which holds them exactly.

    Args:
        path: .npy of (T, output_dim) or (1, T, output_dim): float16, float32, float64, or
            for bfloat16 also its bits as uint16 (or as NumPy saves ml_dtypes: ``V2``).
        case: what they answer.
        fmt: the format under test.

    Raises:
        CaseError: not such an array.
        OSError: the file cannot be read.
    """
    place = Path(path)
    with place.open("rb") as stream:
        content = stream.read(MAX_ARRAY_BYTES + 1)
    try:
        array = _array(content)
    except _UNREADABLE as problem:
        raise _broken(place, f"not a .npy array of numbers ({_reason(problem)})") from None
    wanted = (case.length, case.output_dim)
    if array.shape not in (wanted, (1, *wanted)):
        raise _broken(
            place, f"outputs of shape {_shown(array.shape)}, the case has {wanted[0]} steps of {wanted[1]}"
        )
    return _numbers(array, place, fmt).reshape(wanted)


def _numbers(array: npt.NDArray[Any], place: Path, fmt: Format) -> Floats:
    dtype = array.dtype
    bits = (dtype.kind == "u" and dtype.itemsize == 2) or dtype == np.dtype("V2")
    if bits and fmt == BFLOAT16:
        wide = (array if dtype.kind == "u" else array.view("<u2")).astype(np.uint32)
        return (wide << 16).view(np.float32).astype(np.float64)
    if dtype.kind == "f" and dtype.itemsize in {2, 4, 8}:
        return array.astype(np.float64)
    raise _broken(
        place,
        f"outputs of type {dtype}, judged as {fmt.name}",
        "float16, float32 or float64; the bits of bfloat16 as uint16, with --format bfloat16",
    )


# ---------------------------------------------------------------- arrays


def _array(content: bytes) -> npt.NDArray[Any]:
    """An array from the bytes of a .npy file, whose claimed size is checked first."""
    if len(content) > MAX_ARRAY_BYTES:
        raise ValueError(f"more than {MAX_ARRAY_BYTES >> 20} MiB")
    stream = io.BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read[version](stream)
    if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None:
        raise ValueError("it holds objects, not numbers")
    count = math.prod(shape)
    if not dtype.itemsize or count * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(
            f"it claims the shape {_shown(shape)} and holds {len(content) - stream.tell():,} bytes"
        )
    flat = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


class _Members:
    """Checked access to the arrays of a case."""

    def __init__(self, place: Path, archive: zipfile.ZipFile) -> None:
        self.place = place
        self.archive = archive
        self.names = set(archive.namelist())

    def array(self, name: str) -> npt.NDArray[Any]:
        if f"{name}.npy" not in self.names:
            raise _broken(self.place, f"it has no {name!r}: not a golden case, or not all of one")
        member = self.archive.getinfo(f"{name}.npy")
        if member.file_size > MAX_ARRAY_BYTES:
            raise _broken(self.place, f"{name!r} claims {member.file_size:,} bytes")
        with self.archive.open(member) as stream:
            content = stream.read(member.file_size + 1)
        try:
            return _array(content)
        except _UNREADABLE as problem:
            raise _broken(self.place, f"{name!r} is not an array of numbers ({_reason(problem)})") from None

    def floats(self, name: str, shape: tuple[int, int], *, finite: bool) -> Floats:
        array = self.array(name)
        if array.dtype.kind != "f" or array.dtype.itemsize != 8 or array.shape != shape:
            found = f"{array.dtype} {_shown(array.shape)}"
            raise _broken(self.place, f"{name!r} is {found}, expected float64 {_shown(shape)}")
        if finite and not np.isfinite(array).all():
            step = int(np.argwhere(~np.isfinite(array))[0][0])
            raise _broken(self.place, f"{name!r} is not finite at step {step}")
        return array.astype(np.float64)

    def trajectory(self, name: str, prefix: str, shape: tuple[int, int]) -> Trajectory:
        finite = name == REFERENCE
        high = self.floats(f"{prefix}/outputs", shape, finite=finite)
        low_name = f"{prefix}/outputs{LOW}"
        low = (
            self.floats(low_name, shape, finite=True) if f"{low_name}.npy" in self.names else np.zeros(shape)
        )
        return Trajectory(name=name, high=high, low=low)


def _case(members: _Members) -> StoredCase:
    manifest = json.loads(members.array("manifest").tobytes())
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise _broken(members.place, f"schema {schema!r:.40} is not known; this version reads {SCHEMA}")
    field = _Fields(members.place, manifest)
    length, outputs = field.count("length", MAX_LENGTH), field.count("output_dim", MAX_OUTPUTS)
    shape = (length, outputs)
    names, against = field.texts("trajectories"), field.texts("against")
    if next(iter(names), None) != REFERENCE or not set(against.values()) <= set(names):
        raise _broken(members.place, "its list of trajectories is inconsistent")
    return StoredCase(
        title=f"{field.text('program')} as {field.text('target')}",
        length=length,
        output_dim=outputs,
        rung=field.text("rung"),
        exact=manifest.get("exact") is True,
        nearest=field.text("judge") == NEAREST,
        wrong_from=field.text("wrong_from"),
        tolerance=members.floats("reference/tolerance", shape, finite=True),
        trajectories={
            name: members.trajectory(name, name if name == REFERENCE else f"expected/{name}", shape)
            for name in names
        },
        against=against,
    )


class _Fields:
    """Checked access to a manifest."""

    def __init__(self, place: Path, manifest: Mapping[str, Any]) -> None:
        self.place = place
        self.manifest = manifest

    def _of(self, name: str, kind: type) -> Any:
        value = self.manifest.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _broken(self.place, f"field {name!r} of its manifest is missing or malformed")
        return value

    def count(self, name: str, limit: int) -> int:
        value = cast(int, self._of(name, int))
        if not 1 <= value <= limit:
            raise _broken(self.place, f"{name}={value} is out of bounds")
        return value

    def text(self, name: str) -> str:
        return cast(str, self._of(name, str))

    def texts(self, name: str) -> dict[str, str]:
        found = cast(dict[str, Any], self._of(name, dict))
        if not all(isinstance(value, str) for value in found.values()):
            raise _broken(self.place, f"field {name!r} of its manifest is missing or malformed")
        return found


def _broken(place: Path, problem: str, hint: str | None = None) -> CaseError:
    error = CaseError.single(f"{place}: {problem}", hint=hint)
    assert isinstance(error, CaseError)
    return error


def _reason(problem: BaseException) -> str:
    return str(problem).partition("\n")[0][:120] or type(problem).__name__


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape) or "a single number"
