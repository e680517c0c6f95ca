"""Reading golden cases and outputs, which are untrusted input (see :mod:`stability.golden.archive`)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt

from compiler.errors import LsrlError
from stability.formats import Format
from stability.golden.archive import (
    MAX_ARRAY_BYTES,
    UNREADABLE,
    ZIP,
    CaseError,
    Members,
    array_of,
    broken,
    numbers_of,
    reason,
    shown,
)
from stability.golden.bits import Floats, Trajectory
from stability.golden.case import NEAREST, REFERENCE, SCHEMA

__all__ = ["CaseError", "Floats", "StoredCase", "Trajectory", "read_case", "read_outputs"]

MAX_LENGTH, MAX_OUTPUTS = 100_000_000, 1_000_000
OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredCase:
    """What scoring needs of a case.

    Attributes:
        title: program and target.
        length: T.
        output_dim: numbers per output.
        rung: at which the reference was computed.
        states_rung: at which the states were.
        exact: whether outputs must equal the reference exactly.
        nearest: whether a wrong step is one that stands for another integer.
        wrong_from: the error from which a step is wrong, in words.
        tolerance: (T, output_dim): the error from which a step is wrong.
        trajectories: by name, ``reference`` first.
        against: format → the trajectory that it is judged against by default.
        recent: format → the fewest bits that our engine leaves of the reference, on the scale that forgets.
    """

    title: str
    length: int
    output_dim: int
    rung: str
    states_rung: str
    exact: bool
    nearest: bool
    wrong_from: str
    tolerance: Floats
    trajectories: Mapping[str, Trajectory]
    against: Mapping[str, str]
    recent: Mapping[str, float] = field(default_factory=dict)


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
                return _case(Members(place, archive))
        except LsrlError:
            raise
        except UNREADABLE as problem:
            raise broken(place, f"not a golden case, or damaged ({reason(problem)})") from None


def read_outputs(path: str | Path, case: StoredCase, fmt: Format) -> Floats:
    """The outputs of a kernel: (T, output_dim) as float64, which holds them exactly.

    Args:
        path: .npy of (T, output_dim) or (1, T, output_dim): float16, float32, float64, or
            for bfloat16 also its bits as uint16 (or as NumPy saves ml_dtypes: ``V2``); or
            .npz with such an array of the name ``outputs``.
        case: what they answer.
        fmt: the format under test.

    Raises:
        CaseError: not such an array.
        OSError: the file cannot be read.
    """
    place = Path(path)
    with place.open("rb") as stream:
        content = stream.read(len(ZIP))
        stream.seek(0)
        try:
            if content == ZIP:
                with zipfile.ZipFile(stream) as archive:
                    array = _named(Members(place, archive))
            else:
                array = array_of(stream.read(MAX_ARRAY_BYTES + 1))
        except LsrlError:
            raise
        except UNREADABLE as problem:
            raise broken(place, f"not a .npy array of numbers ({reason(problem)})") from None
    wanted = (case.length, case.output_dim)
    if array.shape not in (wanted, (1, *wanted)):
        raise broken(
            place, f"outputs of shape {shown(array.shape)}, the case has {wanted[0]} steps of {wanted[1]}"
        )
    return numbers_of(array, place, fmt).reshape(wanted)


def _named(members: Members) -> npt.NDArray[Any]:
    if f"{OUTPUTS}.npy" not in members.names:
        raise broken(members.place, f"an .npz without the array {OUTPUTS!r}", "name the kernel's outputs so")
    return members.array(OUTPUTS)


def _case(members: Members) -> StoredCase:
    manifest = json.loads(members.array("manifest").tobytes())
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise broken(members.place, f"schema {schema!r:.40} is not known; this version reads {SCHEMA}")
    fields = _Fields(members.place, manifest)
    length, outputs = fields.count("length", MAX_LENGTH), fields.count("output_dim", MAX_OUTPUTS)
    shape = (length, outputs)
    names, against = fields.texts("trajectories"), fields.texts("against")
    if next(iter(names), None) != REFERENCE or not set(against.values()) <= set(names):
        raise broken(members.place, "its list of trajectories is inconsistent")
    return StoredCase(
        title=f"{fields.text('program')} as {fields.text('target')}",
        length=length,
        output_dim=outputs,
        rung=fields.text("rung"),
        states_rung=fields.text("states_rung"),
        exact=manifest.get("exact") is True,
        nearest=fields.text("judge") == NEAREST,
        wrong_from=fields.text("wrong_from"),
        tolerance=members.floats("reference/tolerance", shape, finite=True),
        trajectories={
            name: members.trajectory(
                name,
                f"{name if name == REFERENCE else f'expected/{name}'}/outputs",
                shape,
                finite=name == REFERENCE,
            )
            for name in names
        },
        against=against,
        recent=fields.bits("recent_bits"),
    )


class _Fields:
    """Checked access to a manifest."""

    def __init__(self, place: Path, manifest: Mapping[str, Any]) -> None:
        self.place = place
        self.manifest = manifest

    def _of(self, name: str, kind: type) -> Any:
        value = self.manifest.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise broken(self.place, f"field {name!r} of its manifest is missing or malformed")
        return value

    def count(self, name: str, limit: int) -> int:
        value = cast(int, self._of(name, int))
        if not 1 <= value <= limit:
            raise broken(self.place, f"{name}={value} is out of bounds")
        return value

    def text(self, name: str) -> str:
        return cast(str, self._of(name, str))

    def texts(self, name: str) -> dict[str, str]:
        found = cast(dict[str, Any], self._of(name, dict))
        if not all(isinstance(value, str) for value in found.values()):
            raise broken(self.place, f"field {name!r} of its manifest is missing or malformed")
        return found

    def bits(self, name: str) -> dict[str, float]:
        """Bits by format; none where the case is older than they are."""
        if name not in self.manifest:
            return {}
        found = cast(dict[str, Any], self._of(name, dict))
        numbers = all(isinstance(value, float) and 0 <= value <= 1000 for value in found.values())
        if not numbers:
            raise broken(self.place, f"field {name!r} of its manifest is missing or malformed")
        return found
