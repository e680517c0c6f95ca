"""Running compiled models over prompts, in any format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError, TokenError
from compiler.ir import Program
from compiler.model import Model, check_window
from stability.engines.base import Engine, Segment, StatusArray, WeightOverflow, weight_overflows
from stability.engines.registry import find_engine
from stability.policy import AnyPolicy, parse_policy, wire_type
from stability.tokens import read_tokens

CHUNK = 4096  # tokens per step of a session, all sequences together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Execution:
    """The result of running a model.

    Attributes:
        outputs: (T, output_dim) or (B, T, output_dim), as the tokens were; in a numpy type that
            holds the format, or objects (``mpf``, ``mpq``).
        status: the same without the last axis: what has happened so far, see
            :class:`stability.engines.base.Status`.
        wires: the wires that were asked for, (…, T, size).
        weight_overflow: constants that the format rounds to an infinity.
    """

    outputs: npt.NDArray[Any]
    status: StatusArray
    wires: Mapping[int, npt.NDArray[Any]] = field(default_factory=dict)
    weight_overflow: tuple[WeightOverflow, ...] = ()


def run(
    model_or_program: Model | Program,
    tokens: object,
    format: str | AnyPolicy = "float32",  # noqa: A002 -- the word that users know
    *,
    engine: str | Engine | None = None,
    chunk: int | None = None,
) -> npt.NDArray[Any]:
    """The outputs of a model over a prompt or a batch of prompts.

    Args:
        model_or_program: a compiled model; a program is run node by node, as its target
            ``uncompiled`` does.
        tokens: (T, dim) or (B, T, dim); see :mod:`stability.tokens`.
        format: a format or a policy (:mod:`stability.policy`): ``float16``, ``float16-acc32``,
            ``bfloat16,state=float32``, ``mpmath50``, ``exact``…
        engine: a name, or an engine; by default ``native`` for binary formats, ``mpmath`` and
            ``exact`` for those, ``scalar`` for policies that mix them.
        chunk: tokens per step of the engine; it does not change a bit.

    Returns:
        (T, output_dim) or (B, T, output_dim), in a numpy type that holds the format, or of ``mpf``
        or ``mpq`` objects.

    Raises:
        ConfigError: an unknown format or engine, or an engine that lacks the format.
        TokenError: tokens of the wrong width, or not finite numbers, or more of them than the
            model's window.
    """
    model = model_or_program if isinstance(model_or_program, Model) else _uncompiled(model_or_program)
    return execute(model, tokens, format, engine=engine, chunk=chunk).outputs


def execute(
    model: Model,
    tokens: object,
    format: str | AnyPolicy = "float32",  # noqa: A002 -- as in `run`
    *,
    engine: str | Engine | None = None,
    chunk: int | None = None,
    keep: Sequence[int] | None = None,
) -> Execution:
    """As :func:`run`, with the status of every step and the values of chosen wires.

    Args:
        model: a compiled model.
        tokens: as in :func:`run`.
        format: as in :func:`run`.
        engine: as in :func:`run`.
        chunk: as in :func:`run`.
        keep: wires (0: tokens, k + 1: layer k) whose values are wanted.

    Raises:
        ConfigError: as :func:`run`; also a wire that the model has not.
        TokenError: as :func:`run`.
    """
    fmt = parse_policy(format)
    prompts = read_tokens(tokens, model.input_dim)
    wanted = _known_wires(model, keep or ())
    check_window(model, prompts.length)
    session = find_engine(engine, fmt).prepare(model, fmt, wanted)
    batch, length = prompts.values.shape[:2]
    size = chunk if chunk is not None else max(1, CHUNK // max(1, batch))
    if size < 1:
        raise ConfigError.single(f"chunk={chunk}", hint="a positive number of tokens")
    segments = [session.step(values) for _, values in prompts.chunks(size)] if batch and length else []
    if not segments:
        segments = [_nothing(model, fmt, batch, length, wanted)]
    shown = slice(None) if not prompts.single else 0
    return Execution(
        outputs=_joined([segment.outputs for segment in segments])[shown],
        status=_joined([segment.status for segment in segments])[shown],
        wires={wire: _joined([segment.wires[wire] for segment in segments])[shown] for wire in wanted},
        weight_overflow=weight_overflows(model, fmt),
    )


def stream(
    model: Model,
    chunks: Iterable[object],
    format: str | AnyPolicy = "float32",  # noqa: A002 -- as in `run`
    *,
    engine: str | Engine | None = None,
    keep: Sequence[int] | None = None,
) -> Iterator[Execution]:
    """Run over a prompt that comes in pieces, in constant memory.

    Args:
        model: a compiled model.
        chunks: pieces along time, each (C, dim) or (B, C, dim) with the same B.
        format: as in :func:`run`.
        engine: as in :func:`run`.
        keep: as in :func:`execute`.

    Yields:
        The outputs and the status of each piece.

    Raises:
        ConfigError: as :func:`execute`.
        TokenError: as :func:`execute`; also a piece with another number of sequences.
    """
    fmt = parse_policy(format)
    wanted = _known_wires(model, keep or ())
    session = find_engine(engine, fmt).prepare(model, fmt, wanted)
    overflow = weight_overflows(model, fmt)
    return _stream(model, chunks, fmt, session.step, wanted, overflow)


def _stream(
    model: Model,
    chunks: Iterable[object],
    fmt: AnyPolicy,
    step: Any,
    wanted: tuple[int, ...],
    overflow: tuple[WeightOverflow, ...],
) -> Iterator[Execution]:
    width: int | None = None
    seen = 0
    for chunk in chunks:
        prompts = read_tokens(chunk, model.input_dim)
        batch, length = prompts.values.shape[:2]
        seen += length
        check_window(model, seen)
        if width is not None and batch != width:
            raise TokenError.single(f"a piece of {batch} sequences after pieces of {width}")
        width = batch
        segment: Segment = (
            step(prompts.values) if batch and length else _nothing(model, fmt, batch, length, wanted)
        )
        shown = slice(None) if not prompts.single else 0
        yield Execution(
            outputs=segment.outputs[shown],
            status=segment.status[shown],
            wires={wire: values[shown] for wire, values in segment.wires.items()},
            weight_overflow=overflow,
        )


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _known_wires(model: Model, keep: Sequence[int]) -> tuple[int, ...]:
    for wire in keep:
        if not 0 <= wire <= len(model.layers):
            raise ConfigError.single(
                f"no wire {wire}", hint=f"0 (tokens) to {len(model.layers)} (the last layer)"
            )
    return tuple(dict.fromkeys(keep))


def _nothing(model: Model, fmt: AnyPolicy, batch: int, length: int, wanted: tuple[int, ...]) -> Segment:
    return Segment(
        outputs=np.empty((batch, length, model.output_dim), dtype=wire_type(fmt, -1)),
        status=np.zeros((batch, length), dtype=np.uint8),
        wires={
            wire: np.empty((batch, length, model.wire_size(wire)), dtype=wire_type(fmt, wire))
            for wire in wanted
        },
    )


def _uncompiled(program: Program) -> Model:
    from compiler import compile_program  # noqa: PLC0415 -- the compiler is not needed to run a model

    return compile_program(program, target="uncompiled")
