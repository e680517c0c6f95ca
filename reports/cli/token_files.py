"""Prompts from CSV and .npy files, read exactly and in blocks."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import Span, TokenError
from compiler.exact import exact
from stability.golden.archive import UNREADABLE

Block = npt.NDArray[Any]

TOKENS_PER_BLOCK = 8192
LONGEST_LINE = 1 << 20
LONGEST_CELL = 4_000
LARGEST_EXPONENT = 5_000
"""A cell such as 1e999999999 would need gigabytes as an exact number."""

_WHOLE = re.compile(r"[ \t]*[+-]?[0-9]{1,18}[ \t]*(?:,[ \t]*[+-]?[0-9]{1,18}[ \t]*)*", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,6}))?", re.ASCII)
_FRACTION = re.compile(r"[+-]?[0-9]+/0*[1-9][0-9]*", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_COLUMN_NAME = re.compile(r"\"?[^\W\d][\w .\[\]()-]*\"?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """A prompt on disk or on standard input.

    Attributes:
        name: for messages.
        path: where it is; ``None`` for standard input.
        dim: entries per token that the model reads.
    """

    name: str
    path: Path | None
    dim: int

    def blocks(self, size: int = TOKENS_PER_BLOCK) -> Iterator[Block]:
        """The tokens, exactly, in blocks of (≤ size, dim): int64, float64 or rationals.

        Raises:
            TokenError: a token of another width or that is not a finite number, with its
                line and value.
            OSError: the file cannot be read.
        """
        if self.path is not None and self.path.suffix == ".npy":
            yield from self._array_blocks(self.path, size)
            return
        with self._opened() as stream:
            yield from self._csv_blocks(stream, size)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self.path is None:
            yield sys.stdin.buffer
            return
        with self.path.open("rb") as stream:
            yield stream

    # -- .npy

    def _array_blocks(self, path: Path, size: int) -> Iterator[Block]:
        array = self._array(path)
        if array.ndim != 2:
            hint = f"({'T'}, {self.dim}): one row per token"
            raise TokenError.single(f"{self.name}: an array of shape {array.shape}", hint=hint)
        if array.shape[1] != self.dim:
            raise TokenError.single(
                f"{self.name}: tokens have {array.shape[1]} entries, the program's Input has {self.dim}"
            )
        for start in range(0, len(array), size):
            block = np.array(array[start : start + size])
            if block.dtype.kind == "f" and not np.isfinite(block).all():
                row, column = (int(each) for each in np.argwhere(~np.isfinite(block))[0])
                raise TokenError.single(
                    f"{self.name}: row {start + row}, entry {column} is {block[row, column]}, not finite"
                )
            yield block

    def _array(self, path: Path) -> npt.NDArray[Any]:
        with path.open("rb"):  # a missing or unreadable file is an OSError with its name
            pass
        try:
            array = np.load(
                path, mmap_mode="r" if path.stat().st_size > LONGEST_LINE else None, allow_pickle=False
            )
        except (*UNREADABLE, MemoryError) as problem:
            reason = str(problem).partition("\n")[0][:200]
            raise TokenError.single(f"{self.name}: not a .npy array of numbers ({reason})") from None
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise TokenError.single(f"{self.name}: not an array of real numbers", hint="integers or floats")
        return array

    # -- CSV

    def _csv_blocks(self, stream: BinaryIO, size: int) -> Iterator[Block]:
        pending: list[str] = []
        first, empty, line = 1, None, 0
        for line, text in enumerate(self._lines(stream), start=1):
            if not text.strip():
                empty = line if empty is None else empty
                if pending:
                    yield self._block(pending, first)
                    pending = []
                continue
            if empty is not None and line > 1:
                raise self._error(empty, "is empty", "only the end of the file may have empty lines")
            if line == 1 and self._is_header(text):
                first = 2
                continue
            if not pending:
                first = line
            pending.append(text)
            if len(pending) == size:
                yield self._block(pending, first)
                pending = []
        if pending:
            yield self._block(pending, first)
            return
        if line < first:
            raise TokenError.single(f"{self.name}: no tokens", hint="one row of numbers per token")

    def _lines(self, stream: BinaryIO) -> Iterator[str]:
        reader = io.BufferedReader(stream, 1 << 20) if isinstance(stream, io.RawIOBase) else stream
        number = 0
        while raw := reader.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                raise self._error(number, f"has more than {LONGEST_LINE:,} characters", "one token per line")
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise self._error(
                    number, "is not UTF-8 text", "save the file as CSV text, or name it .npy"
                ) from None

    def _is_header(self, text: str) -> bool:
        """Names in every cell; anything else is a token, and an error where it is no number."""
        cells = _cells(text)
        if not all(_COLUMN_NAME.fullmatch(cell) and not _NOT_FINITE.fullmatch(cell) for cell in cells):
            return False
        if len(cells) != self.dim:
            raise self._width(1, len(cells))
        return True

    def _block(self, lines: Sequence[str], first: int) -> Block:
        separators = self.dim - 1
        if all(_WHOLE.fullmatch(line.rstrip("\r\n")) and line.count(",") == separators for line in lines):
            return np.array(
                [int(cell) for line in lines for cell in line.split(",")], dtype=np.int64
            ).reshape(len(lines), self.dim)
        block = np.empty((len(lines), self.dim), dtype=object)
        for row, text in enumerate(lines):
            cells = _cells(text)
            if len(cells) != self.dim:
                raise self._width(first + row, len(cells))
            for column, cell in enumerate(cells):
                block[row, column] = self._value(cell, first + row, column)
        return block

    def _value(self, cell: str, line: int, column: int) -> mpq:
        if len(cell) > LONGEST_CELL:
            problem = f"has {cell[:20] + '…'!r} as entry {column + 1}, of {len(cell):,} characters"
            raise self._error(line, problem, f"no more than {LONGEST_CELL:,} per number")
        decimal = _DECIMAL.fullmatch(cell)
        if decimal is not None and abs(int(decimal[1] or 0)) <= LARGEST_EXPONENT:
            return exact(Decimal(cell))
        if _FRACTION.fullmatch(cell):
            return exact(cell)
        shown = cell if len(cell) <= 60 else cell[:57] + "…"
        raise self._error(
            line,
            f"has {shown!r} as entry {column + 1}, not a finite number",
            "decimals such as 3, -0.25 or 1e-3",
        )

    def _width(self, line: int, width: int) -> TokenError:
        entries = f"{width} entr{'y' if width == 1 else 'ies'}"
        return self._error(
            line,
            f"has {entries}, the program's Input has {self.dim}",
            "one token per line, its entries separated by commas",
        )

    def _error(self, line: int, problem: str, hint: str) -> TokenError:
        error = TokenError.single(f"this line {problem}", span=Span(file=self.name, line=line), hint=hint)
        assert isinstance(error, TokenError)
        return error


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in text.split(",")]
