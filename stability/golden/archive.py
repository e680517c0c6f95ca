"""Arrays in files that nobody vouches for: their sizes are checked before they are believed.

Nothing is unpickled, and nothing is allocated before its size is known to be what the
file really holds.
"""

from __future__ import annotations

import io
import lzma
import math
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.errors import LsrlError
from stability.formats import BFLOAT16, Format
from stability.golden.arrays import LOW
from stability.golden.bits import Floats, Trajectory

MAX_ARRAY_BYTES = 1 << 30
ZIP = b"PK\x03\x04"
UNREADABLE = (
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


def array_of(content: bytes) -> npt.NDArray[Any]:
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
            f"it claims the shape {shown(shape)} and holds {len(content) - stream.tell():,} bytes"
        )
    flat = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


class Members:
    """Checked access to the arrays of a case."""

    def __init__(self, place: Path, archive: zipfile.ZipFile) -> None:
        self.place = place
        self.archive = archive
        self.names = set(archive.namelist())

    def array(self, name: str) -> npt.NDArray[Any]:
        """One array of the archive, whatever it holds."""
        if f"{name}.npy" not in self.names:
            raise broken(self.place, f"it has no {name!r}: not a golden case, or not all of one")
        member = self.archive.getinfo(f"{name}.npy")
        if member.file_size > MAX_ARRAY_BYTES:
            raise broken(self.place, f"{name!r} claims {member.file_size:,} bytes")
        with self.archive.open(member) as stream:
            content = stream.read(member.file_size + 1)
        try:
            return array_of(content)
        except UNREADABLE as problem:
            raise broken(self.place, f"{name!r} is not an array of numbers ({reason(problem)})") from None

    def floats(self, name: str, shape: tuple[int, int], *, finite: bool) -> Floats:
        """An array of float64 of this shape."""
        array = self.array(name)
        if array.dtype.kind != "f" or array.dtype.itemsize != 8 or array.shape != shape:
            found = f"{array.dtype} {shown(array.shape)}"
            raise broken(self.place, f"{name!r} is {found}, expected float64 {shown(shape)}")
        if finite and not np.isfinite(array).all():
            step = int(np.argwhere(~np.isfinite(array))[0][0])
            raise broken(self.place, f"{name!r} is not finite at step {step}")
        return array.astype(np.float64)

    def trajectory(self, name: str, array: str, shape: tuple[int, int], *, finite: bool) -> Trajectory:
        """The numbers of ``array`` and what float64 does not hold of them."""
        high = self.floats(array, shape, finite=finite)
        known = f"{array}{LOW}.npy" in self.names
        low = self.floats(array + LOW, shape, finite=True) if known else np.zeros(shape)
        return Trajectory(name=name, high=high, low=low)


def numbers_of(array: npt.NDArray[Any], place: Path, fmt: Format) -> Floats:
    """Floats of any width, or the bits of bfloat16, as float64."""
    dtype = array.dtype
    bits = (dtype.kind == "u" and dtype.itemsize == 2) or dtype == np.dtype("V2")
    if bits and fmt == BFLOAT16:
        wide = (array if dtype.kind == "u" else array.view("<u2")).astype(np.uint32)
        return (wide << 16).view(np.float32).astype(np.float64)
    if dtype.kind == "f" and dtype.itemsize in {2, 4, 8}:
        return array.astype(np.float64)
    raise broken(
        place,
        f"outputs of type {dtype}, judged as {fmt.name}",
        "float16, float32 or float64; the bits of bfloat16 as uint16, with --format bfloat16",
    )


def broken(place: Path, problem: str, hint: str | None = None) -> CaseError:
    """The error for a file, which it names."""
    error = CaseError.single(f"{place}: {problem}", hint=hint)
    assert isinstance(error, CaseError)
    return error


def reason(problem: BaseException) -> str:
    """The first line of what a library says."""
    return str(problem).partition("\n")[0][:120] or type(problem).__name__


def shown(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    return "×".join(str(size) for size in shape) or "a single number"
