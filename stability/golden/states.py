"""The states that a kernel gives out beside its outputs, held to those of a case.

A state is the outputs h or the cells c of one layer.  It has no decoder and no horizon:
what counts is the bits left, against the largest |r| of the whole layer so far, since a unit
that is 0 in truth may hold the rounding errors of its neighbours.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compiler.errors import ConfigError, LsrlError
from stability.formats import Format
from stability.golden.archive import UNREADABLE, ZIP, Members, broken, numbers_of, reason, shown
from stability.golden.bits import Floats, Trajectory, bits_of, error_of
from stability.golden.reading import OUTPUTS, StoredCase
from stability.reference import UNCERTIFIED

_NAME = re.compile(r"(?:cell_)?layer[0-9]{1,7}")
NPY = ".npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateScore:
    """How a kernel's state fares.

    Attributes:
        name: ``layerK`` or ``cell_layerK``.
        worst_bits: the fewest significant bits left, of all units and steps.
        step: where they are.
        unit: of the layer.
    """

    name: str
    worst_bits: float
    step: int
    unit: int


def score_states(
    outputs: str | Path, case_file: str | Path, case: StoredCase, fmt: Format
) -> list[StateScore]:
    """Judge the states in a file of outputs; none where it holds none.

    Args:
        outputs: .npz of a kernel, or .npy, which holds no states.
        case_file: the case.
        case: the same, read.
        fmt: the format under test.

    Raises:
        CaseError: a name that is no state of the case, or an array that does not fit.
        ConfigError: the states of the case are uncertified.
        OSError: a file cannot be read.
    """
    place = Path(outputs)
    with place.open("rb") as stream:
        if stream.read(len(ZIP)) != ZIP:
            return []
        with Path(case_file).open("rb") as case_stream:
            try:
                with zipfile.ZipFile(stream) as kernel, zipfile.ZipFile(case_stream) as archive:
                    members = Members(Path(case_file), archive)
                    return list(_scores(Members(place, kernel), members, case, fmt))
            except LsrlError:
                raise
            except UNREADABLE as problem:
                raise broken(place, f"not an .npz of arrays, or damaged ({reason(problem)})") from None


def _scores(kernel: Members, members: Members, case: StoredCase, fmt: Format) -> Iterator[StateScore]:
    names = sorted(name.removesuffix(NPY) for name in kernel.names)
    wanted = [name for name in names if name != OUTPUTS]
    for name in wanted:
        if not _NAME.fullmatch(name) or f"reference/{name}{NPY}" not in members.names:
            raise broken(
                kernel.place, f"the case has no state {name[:60]!a}", "outputs, layerK or cell_layerK"
            )
    if wanted and case.states_rung == UNCERTIFIED:
        raise ConfigError.single(
            "the states of this case are uncertified, so they are no judge", hint="give the outputs alone"
        )
    for name in wanted:
        yield _score(name, kernel, members, case, fmt)


def _score(name: str, kernel: Members, members: Members, case: StoredCase, fmt: Format) -> StateScore:
    steps = members.array("reference/steps")
    width = members.array(f"reference/{name}").shape[1:]
    if steps.dtype != np.int64 or steps.ndim != 1 or len(width) != 1 or not _ascending(steps, case.length):
        raise broken(members.place, "its states or their steps are malformed")
    true = members.trajectory(name, f"reference/{name}", (len(steps), *width), finite=True)
    array = kernel.array(name)
    shape = array.shape[1:] if array.ndim == 3 and array.shape[0] == 1 else array.shape
    if shape not in ((case.length, *width), (len(steps), *width)):
        wanted = f"{case.length} or {len(steps)} steps of {width[0]}"
        raise broken(kernel.place, f"{name} of shape {shown(array.shape)}, the case has {wanted}")
    found = numbers_of(array, kernel.place, fmt).reshape(shape)
    bits = _bits(found[steps] if len(found) == case.length else found, true, fmt)
    place, unit = np.unravel_index(int(np.argmin(bits)), bits.shape)
    return StateScore(name=name, worst_bits=float(bits[place, unit]), step=int(steps[place]), unit=int(unit))


def _ascending(steps: np.ndarray[tuple[int], np.dtype[np.int64]], length: int) -> bool:
    return bool(len(steps) and steps[0] >= 0 and steps[-1] < length and (np.diff(steps) > 0).all())


def _bits(found: Floats, true: Trajectory, fmt: Format) -> Floats:
    largest = np.abs(true.high).max(axis=1, keepdims=True)
    size = np.broadcast_to(np.maximum.accumulate(largest, axis=0), true.high.shape)
    return bits_of(error_of(found, true), size, fmt)
