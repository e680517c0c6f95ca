"""Prompts as users give them, kept exactly and compactly.

Numbers in lists are read as they are written: ``0.1`` and ``"0.1"`` are 1/10.
Binary numbers in NumPy arrays are their binary value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import TokenError
from compiler.exact import Number, exact

TokenArray = npt.NDArray[Any]
Tokens = npt.ArrayLike | Sequence[Sequence[Any]] | Sequence[Sequence[Sequence[Any]]]

_LARGEST_INT = 2**63 - 1
_LONGEST = 10_000  # decimal exponents; a hostile 1e999999999 would fill the memory


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenBatch:
    """Prompts of equal length.

    Attributes:
        values: (B, T, dim) of int64, float64 or exact rationals (objects): the exact tokens.
        single: the user gave one prompt, so results have no batch axis.
    """

    values: TokenArray
    single: bool

    @property
    def length(self) -> int:
        """T, tokens per prompt."""
        return int(self.values.shape[1])

    def chunks(self, size: int) -> Iterator[tuple[int, TokenArray]]:
        """The prompts cut along time: (first step, (B, ≤ size, dim) view)."""
        for start in range(0, self.length, size):
            yield start, self.values[:, start : start + size]


def read_tokens(tokens: object, dim: int) -> TokenBatch:
    """Check prompts and store them exactly.

    Args:
        tokens: (T, dim) or (B, T, dim), nested sequences of numbers (or of strings that
            write numbers), or a NumPy array.
        dim: entries per token of the model.

    Raises:
        TokenError: another width or depth, prompts of different length, or an entry that
            is not a finite number; the message names the row and the column.
    """
    if isinstance(tokens, np.ndarray):
        _check_shape(tokens.shape, dim)
        values = _from_array(tokens)
    else:
        values = _from_sequences(tokens, dim)
    single = values.ndim == 2
    return TokenBatch(values=values[np.newaxis] if single else values, single=single)


def _check_shape(shape: tuple[int, ...], dim: int) -> None:
    if len(shape) not in {2, 3}:
        raise TokenError.single(
            f"tokens with {len(shape)} axes of sizes {list(shape)}",
            hint=f"(T, {dim}) for one prompt, (B, T, {dim}) for a batch",
        )
    if shape[-1] != dim and shape[-2] > 0:
        raise _wrong_width((0,) if len(shape) == 2 else (0, 0), shape[-1], dim)


def _wrong_width(place: tuple[int, ...], width: int, dim: int) -> TokenError:
    error = TokenError.single(f"{_place(place)} has {width} entries, the program's Input has {dim}")
    return cast(TokenError, error)


def _place(index: tuple[int, ...]) -> str:
    """In words: (step,) or (sequence, step), then perhaps the column behind them."""
    return f"token {index[-1]}" if len(index) == 1 else f"sequence {index[0]}, token {index[1]}"


def _cell(index: tuple[int, ...]) -> str:
    return f"{_place(index[:-1])}, entry {index[-1]}"


def _from_array(array: npt.NDArray[Any]) -> TokenArray:
    match array.dtype.kind:
        case "b" | "i":
            return array.astype(np.int64)
        case "u":
            if array.size and int(array.max()) > _LARGEST_INT:
                return _compact(array.astype(object))
            return array.astype(np.int64)
        case "f" if array.dtype.itemsize <= 8:
            finite = np.isfinite(array)
            if not finite.all():
                place = tuple(int(i) for i in np.argwhere(~finite)[0])
                raise TokenError.single(f"{_cell(place)} is {array[place]}, not a finite number")
            return array.astype(np.float64)
        case _:
            return _compact(array.astype(object))


def _from_sequences(tokens: object, dim: int) -> TokenArray:
    rows = _listed(tokens, "tokens")
    deep = any(not _is_scalar(entry) for row in rows for entry in _listed(row, "a token"))
    if not deep:
        return _compact(_stacked(rows, dim, ()))
    prompts = [_stacked(_listed(prompt, "a prompt"), dim, (number,)) for number, prompt in enumerate(rows)]
    lengths = {len(prompt) for prompt in prompts}
    if len(lengths) > 1:
        raise TokenError.single(
            f"prompts of different lengths {sorted(lengths)}", hint="run them one by one, or pad them"
        )
    stacked = np.empty((len(prompts), lengths.pop(), dim), dtype=object)
    for number, prompt in enumerate(prompts):
        stacked[number] = prompt
    return _compact(stacked)


def _stacked(rows: Sequence[Any], dim: int, sequence: tuple[int, ...]) -> npt.NDArray[np.object_]:
    values = np.empty((len(rows), dim), dtype=object)
    for step, row in enumerate(rows):
        entries = _listed(row, f"token {step}")
        if len(entries) != dim:
            raise _wrong_width((*sequence, step), len(entries), dim)
        for column, entry in enumerate(entries):
            values[step, column] = entry
    return values


def _is_scalar(entry: object) -> bool:
    return isinstance(entry, str) or not hasattr(entry, "__len__") or getattr(entry, "shape", None) == ()


def _listed(value: Any, role: str) -> Sequence[Any]:
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return cast(Sequence[Any], value)
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TokenError.single(
            f"{role}: {value!r} is not a row of numbers", hint="rows of numbers, one per token"
        )
    return value if hasattr(value, "__len__") and hasattr(value, "__getitem__") else list(value)


def _compact(values: npt.NDArray[np.object_]) -> TokenArray:
    """The smallest exact storage: int64, else float64, else rationals."""
    flat: list[mpq] = []
    for number, entry in enumerate(values.reshape(-1)):
        try:
            flat.append(_exact_entry(entry))
        except (ValueError, TypeError, ArithmeticError):
            place = tuple(int(i) for i in np.unravel_index(number, values.shape))
            raise TokenError.single(
                f"{_cell(place)} is {entry!r}, not a finite number of sensible size"
            ) from None
    if all(value.denominator == 1 and abs(value.numerator) <= _LARGEST_INT for value in flat):
        whole = np.array([int(value.numerator) for value in flat], dtype=np.int64)
        return whole.reshape(values.shape)
    if all(_is_double(value) for value in flat):
        return np.array([float(value) for value in flat], dtype=np.float64).reshape(values.shape)
    kept = np.empty(len(flat), dtype=object)
    kept[:] = flat
    return kept.reshape(values.shape)


def _exact_entry(entry: Any) -> mpq:
    if isinstance(entry, np.bool_ | np.integer):
        return mpq(int(entry))
    if isinstance(entry, np.floating):
        numerator, denominator = entry.as_integer_ratio()
        return mpq(numerator, denominator)
    if isinstance(entry, str) and "/" not in entry:
        entry = Decimal(entry)
    if isinstance(entry, Decimal) and entry.is_finite() and abs(entry.adjusted()) > _LONGEST:
        raise ValueError("an exponent beyond any format")
    return exact(cast(Number, entry))


def _is_double(value: mpq) -> bool:
    denominator = value.denominator
    if denominator & (denominator - 1) or denominator.bit_length() > 1000:
        return False
    return bool(value.numerator.bit_length() <= 53)
