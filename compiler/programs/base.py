"""What a library program is, and the rules that all of them share.

A *parameter* mapping may leave out any parameter: the program's default, which
stands in its ``.lsrl`` file too, takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import ConfigError, LsrlError, TokenError

Parameters = Mapping[str, mpq]
Outputs = list[tuple[mpq, ...]]
Array = npt.NDArray[Any]
Tokens = Sequence[Sequence[mpq | int]] | Array

UNREADABLE = -1
"""What a decoder gives for inf, nan and values that no symbol stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryProgram:
    """A program of the library with what is needed to run and to judge it.

    Attributes:
        name: of the program and of its ``.lsrl`` file.
        summary: what it does, in one line.
        oracle: (tokens, parameters) → the exact wanted output at every step, in plain
            Python, independent of LSRL.
        prompt: (generator, length, parameters) → (length, dim) tokens that keep the
            program busy over their whole length: int64, or an object array of
            ``mpq`` where they are not integers.
        decode: (outputs, parameters) → small integers: outputs of shape (…, T, out)
            give (…, T) where out is 1, else (…, T, out); -1 stands for inf, nan and
            values that no symbol stands for.
        decoded: whether outputs stand for symbols, so that a step is wrong when its
            decoded output differs.  If not (``continuous``), a step is wrong when
            |y − r| > ``tolerance`` in any component, or y is not finite.
        tolerance: for outputs that are not decoded; 0 otherwise.
        defaults: the parameters' default values.
    """

    name: str
    summary: str
    oracle: Callable[[Tokens, Parameters], Outputs]
    prompt: Callable[[np.random.Generator, int, Parameters], Array]
    decode: Callable[[Array, Parameters], npt.NDArray[np.int64]]
    decoded: bool = True
    tolerance: float = 0.0
    defaults: Mapping[str, mpq | int] = field(default_factory=dict)


def config_error(message: str, hint: str | None = None) -> LsrlError:
    """A :class:`ConfigError` with one finding."""
    return ConfigError.single(message, hint=hint)


def token_error(message: str, hint: str | None = None) -> LsrlError:
    """A :class:`TokenError` with one finding."""
    return TokenError.single(message, hint=hint)


def whole(parameters: Parameters, name: str, defaults: Mapping[str, mpq | int], *, least: int = 1) -> int:
    """Parameter ``name`` as a whole number of at least ``least``.

    Raises:
        ConfigError: a value that is not one.
    """
    value = mpq(parameters.get(name, defaults[name]))
    if value.denominator != 1 or value < least:
        raise config_error(f"parameter {name}={value}", f"{name} is a whole number of at least {least}")
    return int(value)


def check_length(length: int) -> None:
    """Refuse a prompt without tokens.

    Raises:
        ConfigError: ``length`` is below 1.
    """
    if length < 1:
        raise config_error(f"a prompt of {length} tokens", "give a length of at least 1")


def rational(value: mpq | int) -> mpq:
    """A token's entry as an exact rational (numpy integers included)."""
    return value if isinstance(value, mpq) else mpq(int(value))


def integers(tokens: Tokens, lo: int, hi: int) -> list[int]:
    """The tokens of a program that reads one integer per step.

    Raises:
        TokenError: a token of another width, not an integer or outside [lo, hi].
    """
    values = []
    for step, token in enumerate(tokens):
        if len(token) != 1:
            raise token_error(f"token {step} has {len(token)} entries, expected 1")
        value = rational(token[0])
        if value.denominator != 1 or not lo <= value <= hi:
            raise token_error(f"token {step} is {value}", f"tokens are whole numbers from {lo} to {hi}")
        values.append(int(value))
    return values


def floats(outputs: Array) -> npt.NDArray[np.float64]:
    """Outputs of any number type as float64; what is too large for it becomes ±inf."""
    array = np.asarray(outputs)
    if array.dtype != object:
        return array.astype(np.float64)
    flat = np.array([_float(value) for value in array.ravel()], dtype=np.float64)
    return flat.reshape(array.shape)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def nearest(outputs: Array, highest: int) -> npt.NDArray[np.int64]:
    """Each output's nearest integer; -1 where that is not one of 0..``highest``."""
    values = floats(outputs)
    readable = (values > -0.5) & (values < highest + 0.5)  # False for nan
    near = np.where(readable, np.rint(np.where(readable, values, 0.0)), UNREADABLE).astype(np.int64)
    return near[..., 0] if near.shape[-1] == 1 else near
