"""A program under study: its source, its prompts, and how its outputs are judged.

Library programs bring an oracle, a prompt generator and a decoder.  A user's own
program gets prompts drawn from its Input's declared range, and outputs that are
integers by their range are decoded to the nearest integer; others are judged by a
tolerance relative to their size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler import ir
from compiler.exact import Number, exact
from compiler.library import LIBRARY
from compiler.loading import library_names, program_text
from compiler.lowering import lower
from compiler.programs.base import LibraryProgram, Parameters
from compiler.text import parse_program

UNREADABLE = -(2**62)
RELATIVE_TOLERANCE = 1e-3
TOKEN_DENOMINATOR = 64
"""Real tokens are drawn as multiples of 1/64, so that every format holds them."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is run and how it is judged.

    Attributes:
        name: for tables.
        source: the program.
        parameters: the values of its parameters.
        entry: its library entry, or None for a user's own program.
        file: the name of the file that it was read from.
        path: where that file is; empty for a program of the library.
        text: what the file says.
    """

    name: str
    source: ir.Program
    parameters: Parameters
    entry: LibraryProgram | None
    file: str = ""
    path: str = ""
    text: str = ""

    @property
    def parameter_text(self) -> str:
        """``V=26 n=3``."""
        return " ".join(f"{name}={value}" for name, value in sorted(self.parameters.items()))

    @property
    def branches(self) -> bool:
        """Whether the program has a conditional at all."""
        return any(isinstance(node, ir.Idiom) and node.kind == "f_ifelse" for node in self.source.nodes)

    def prompt(self, seed: int, length: int) -> npt.NDArray[Any]:
        """(length, dim) exact tokens, the same for the same seed and length."""
        generator = np.random.default_rng(seed)
        if self.entry is not None:
            return self.entry.prompt(generator, length, self.parameters)
        return _drawn(self.source.nodes[0], generator, length)

    def oracle(self, tokens: npt.NDArray[Any]) -> list[tuple[mpq, ...]] | None:
        """The wanted outputs, where there is a plain-Python oracle."""
        if self.entry is None:
            return None
        rows = [[value if isinstance(value, mpq) else mpq(int(value)) for value in row] for row in tokens]
        return self.entry.oracle(rows, self.parameters)

    def judge(self) -> Callable[[npt.NDArray[Any], Floats], npt.NDArray[np.bool_]]:
        """(outputs, reference) of shape (T, out) → which steps are wrong."""
        entry, parameters = self.entry, self.parameters
        if entry is not None and entry.decoded:
            return lambda outputs, true: _differ(
                entry.decode(outputs, parameters), entry.decode(true, parameters)
            )
        if entry is not None:
            return lambda outputs, true: _beyond(outputs, true, np.full(true.shape, entry.tolerance))
        lowered = lower(self.source)
        if all(extent.integer for extent in lowered.node_ranges(lowered.program.output)):
            return lambda outputs, true: _differ(_whole(outputs), _whole(true))
        return lambda outputs, true: _beyond(outputs, true, RELATIVE_TOLERANCE * _running_size(true))


def subject(name_or_path: str, parameters: dict[str, str] | None = None) -> Subject:
    """Load a library program, or a user's own file, for study.

    Parameters that the program does not have are left out, so that one set serves a
    list of programs; :func:`check_parameters` refuses those that fit none.

    Raises:
        LsrlError: no such program, or the program is wrong.
    """
    file, text = program_text(name_or_path)
    source = parse_program(text, file=file)
    known = {name for name, _ in source.parameters}
    chosen: dict[str, Number] = {name: value for name, value in (parameters or {}).items() if name in known}
    if chosen:
        source = parse_program(text, file=file, parameters=chosen)
    return Subject(
        name=source.name,
        source=source,
        parameters=dict(source.parameters),
        entry=LIBRARY.get(name_or_path),
        file=file,
        path="" if name_or_path in library_names() else str(name_or_path),
        text=text,
    )


def _drawn(node: ir.Node, generator: np.random.Generator, length: int) -> npt.NDArray[Any]:
    declared = node.declared or ir.Declaration()
    lo, hi = declared.lo, declared.hi
    low = lo if lo is not None else (hi - 2 if hi is not None else exact(-1))
    high = hi if hi is not None else low + 2
    if declared.integer:
        return generator.integers(int(-(-low // 1)), int(high // 1), endpoint=True, size=(length, node.dim))
    grid = generator.integers(0, TOKEN_DENOMINATOR, endpoint=True, size=(length, node.dim))
    tokens = np.empty((length, node.dim), dtype=object)
    tokens[...] = [[low + (high - low) * mpq(int(g), TOKEN_DENOMINATOR) for g in row] for row in grid]
    return tokens


def _floats(outputs: npt.NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):
        return outputs.astype(np.float64)


def _whole(outputs: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    values = _floats(outputs)
    readable = np.abs(values) < 2.0**62
    return np.where(readable, np.rint(np.where(readable, values, 0.0)), UNREADABLE).astype(np.int64)


def _differ(got: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    different = got != wanted
    return np.asarray(different.any(axis=-1) if different.ndim > 1 else different)


def _beyond(outputs: npt.NDArray[Any], true: Floats, tolerance: Floats) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        off = np.abs(_floats(outputs) - true)
        return np.asarray((~(off <= tolerance)).any(axis=-1))


def _running_size(true: Floats) -> Floats:
    return np.maximum(np.maximum.accumulate(np.abs(true), axis=0), 2.0**-60)
