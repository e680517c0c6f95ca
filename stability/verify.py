"""Hold an engine to the exact values of a model, by a bound that is derived, not tuned.

The exact values are the certified reference of :mod:`stability.reference`; the bound is
that of :mod:`stability.forward_error`, from the weights and tokens at hand.  An engine
whose outputs differ from the exact ones by more than the bound does something else than
rounding to nearest in its format: another equation, a wrong weight, a shorter format
inside (TF32), flushed subnormals.

A model with real gates is not equal to its program, only close: it is held to the
program's exact values, by the bound that comes with its gates (:class:`Promise`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import UNCOMPILED, build_native, compile_lowered, settle
from compiler.config import CompileConfig
from compiler.errors import ConfigError, TokenError
from compiler.exact import ZERO, exact, eye
from compiler.library import LIBRARY
from compiler.lowering import lower
from compiler.model import Model
from compiler.real_gates import NativeGates
from stability.engines.base import Engine
from stability.formats import FLOATS, AnyFormat, Format, parse_format
from stability.forward_error import forward_error
from stability.measures import to_float
from stability.reference import reference
from stability.running import execute

Verdict = Literal["ok", "differs", "undecided"]
TOKEN_DENOMINATOR = 64
"""Tokens that are drawn are multiples of 1/64 from −1 to 1, so that every format holds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a batch of prompts something was found (all from 0)."""

    prompt: int
    step: int
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a comparison found.

    Attributes:
        engine: its name.
        format: the format's name.
        values: how many outputs were compared.
        difference: the largest |engine − exact|, infinite for an output that is not finite; of
            an engine that differs, that of the largest share.
        place: where it is; of several places, that of the largest bound.
        bound: the bound on |engine − exact| there.
        share: the largest |engine − exact| / bound; above 1 the engine is wrong.
        unbounded: outputs for which no finite bound is known (a value may overflow).
        overflows: constants of the model that the format rounds to an infinity.
        reference: the rung of the reference, or ``uncertified``.
    """

    engine: str
    format: str
    values: int
    difference: float
    place: Place
    bound: float
    share: float
    unbounded: int
    overflows: int
    reference: str

    @property
    def verdict(self) -> Verdict:
        """``differs`` beyond a bound, ``undecided`` without a bound or a reference, else ``ok``."""
        if self.share > 1:
            return "differs"
        return "undecided" if self.unbounded or self.reference == "uncertified" else "ok"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Promise:
    """What a model with real gates keeps: its program's exact values, to within a bound.

    Attributes:
        program: the program itself (target ``uncompiled``).
        gates: the format and the length of prompt that they were chosen for.
        bounds: per output, on |engine − exact|; infinite where none is proved.
    """

    program: Model
    gates: NativeGates
    bounds: tuple[float, ...]


def promise(
    program: ir.Program, target: str, gates: NativeGates, config: CompileConfig | None = None
) -> Promise:
    """The promise of ``compile_program(program, target, config, native=gates)``.

    Raises:
        ConfigError: as there.
        CompileRefusal: as there.
    """
    lowered = lower(program, settle(config or CompileConfig(), target))
    return Promise(
        program=compile_lowered(lowered, UNCOMPILED),
        gates=gates,
        bounds=build_native(lowered, target, gates).outputs,
    )


def verify(
    model: Model,
    tokens: npt.NDArray[Any],
    format: str | AnyFormat = "float32",  # noqa: A002 -- as in `run`
    *,
    engine: str | Engine = "native",
    kept: Promise | None = None,
) -> Verification:
    """Run prompts through an engine and compare every output with its exact value.

    Args:
        model: a compiled model.
        tokens: (B, T, input_dim) with B, T ≥ 1, exact: int64, float64 or objects (rationals).
        format: ``float16``, ``float32`` or ``float64``; with real gates, theirs.
        engine: a name, or an engine.
        kept: of a model with real gates.

    Raises:
        ConfigError: a format without bounds, an engine that lacks the format or is not
            installed, a kind of layer that no bound is derived for, or real gates without a
            promise.
        TokenError: more tokens than real gates were made for.
    """
    return Exact(model, tokens, kept).compare(format, engine)


class Exact:
    """Prompts with their exact outputs, to compare several engines with.

    Args:
        model: as in :func:`verify`.
        tokens: as in :func:`verify`.
        kept: as in :func:`verify`.

    Raises:
        ConfigError: real gates without a promise.
        TokenError: more tokens than real gates were made for.
    """

    def __init__(self, model: Model, tokens: npt.NDArray[Any], kept: Promise | None = None) -> None:
        self._model, self._tokens, self._kept = model, tokens, kept
        _check_promise(model, tokens, kept)
        truth = model if kept is None else kept.program
        certified = [reference(truth, prompt, vanishing=True) for prompt in tokens]
        self._true = [each.outputs for each in certified]
        rungs = [each.rung for each in certified]
        self._rung = (
            "uncertified" if "uncertified" in rungs else max(rungs, key=lambda rung: (len(rung), rung))
        )
        self._bounds: dict[str, npt.NDArray[np.float64]] = {}

    def compare(self, format: str | AnyFormat, engine: str | Engine) -> Verification:  # noqa: A002 -- as in `run`
        """As :func:`verify`."""
        fmt = parse_format(format)
        if not isinstance(fmt, Format):
            raise ConfigError.single(f"no error bound in {fmt.name}", hint="one of " + ", ".join(FLOATS))
        if self._kept is not None and fmt != self._kept.gates.format:
            raise ConfigError.single(
                f"no error bound in {fmt.name}: the gates are made for {self._kept.gates.format.name}",
                hint=f"--gate-format {fmt.name}",
            )
        execution = execute(self._model, self._tokens, fmt, engine=engine)
        if fmt.name not in self._bounds:
            self._bounds[fmt.name] = self._bound(fmt)
        bounds = self._bounds[fmt.name]
        differences = self._differences(execution.outputs)
        with np.errstate(divide="ignore", invalid="ignore"):
            # 0/0 is no error, and what has no bound has no share of it
            shares = np.nan_to_num(differences / bounds, nan=0.0, posinf=np.inf)
        judged = shares if shares.max() > 1 else differences
        largest = np.where(judged == judged.max(), bounds, -1.0)
        worst = np.unravel_index(int(np.argmax(largest)), judged.shape)
        return Verification(
            engine=engine if isinstance(engine, str) else type(engine).__name__,
            format=fmt.name,
            values=differences.size,
            difference=float(differences[worst]),
            place=Place(prompt=int(worst[0]), step=int(worst[1]), output=int(worst[2])),
            bound=float(bounds[worst]),
            share=float(shares.max()),
            unbounded=int(np.isinf(bounds).sum()),
            overflows=len(execution.weight_overflow),
            reference=self._rung,
        )

    def _bound(self, fmt: Format) -> npt.NDArray[np.float64]:
        if self._kept is None:
            return forward_error(self._model, self._tokens, fmt).error
        shape = (*self._tokens.shape[:2], len(self._kept.bounds))
        return np.broadcast_to(np.array(self._kept.bounds), shape)

    def _differences(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """|engine − exact|, rounded once; infinite where the engine's output is not finite."""
        found = np.full(outputs.shape, np.inf)
        for place in _places(np.isfinite(outputs)):
            prompt, step, output = place
            found[place] = to_float(abs(mpq(float(outputs[place])) - self._true[prompt][step][output]))
        return found


def _check_promise(model: Model, tokens: npt.NDArray[Any], kept: Promise | None) -> None:
    if model.activation != "native":
        return
    if kept is None:
        raise ConfigError.single(
            f"{model.name} has real gates: it is held to its program, which is not in the model",
            hint="name the program instead of the compiled model",
        )
    if tokens.shape[1] > kept.gates.length:
        raise TokenError.single(
            f"a prompt of {tokens.shape[1]} tokens, and gates that are made for {kept.gates.length}",
            hint="a longer --gate-length, or none: it is then that of the prompts",
        )


def _places(chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    for prompt, step, output in np.argwhere(chosen):
        yield int(prompt), int(step), int(output)


def every_unit(model: Model) -> Model:
    """The model with all units of all layers as its outputs, in the order of the layers.

    A program whose output is 0 most of the time tells little about an engine; its units do.
    """
    wires = tuple(range(1, len(model.layers) + 1))
    size = sum(layer.size for layer in model.layers)
    return replace(
        model, output_dim=size, readout_wires=wires, readout=eye(size), readout_bias=(ZERO,) * size
    )


def model_prompts(model: Model, *, prompts: int, length: int, seed: int) -> npt.NDArray[Any]:
    """Prompts for a compiled model whose program is not at hand.

    A model of a library program gets that program's prompts.  Any other model, which does
    not record the range of its Input, gets multiples of 1/64 from −1 to 1.

    Args:
        model: a compiled model.
        prompts: B.
        length: T.
        seed: prompt k is drawn with seed + k.

    Returns:
        (B, T, input_dim), exact.
    """
    drawn = [_model_prompt(model, np.random.default_rng(seed + k), length) for k in range(prompts)]
    return np.stack(drawn)


def _model_prompt(model: Model, generator: np.random.Generator, length: int) -> npt.NDArray[Any]:
    entry = LIBRARY.get(model.name)
    parameters = {
        name.removeprefix("param "): exact(value)
        for name, value in model.settings.items()
        if name.startswith("param ")
    }
    if entry is not None:
        try:
            tokens = entry.prompt(generator, length, parameters)
        except (KeyError, ValueError):
            tokens = np.empty((0, 0))  # a program of the user's that has the name of a library program
        if tokens.shape == (length, model.input_dim):
            return tokens
    grid = generator.integers(
        -TOKEN_DENOMINATOR, TOKEN_DENOMINATOR, endpoint=True, size=(length, model.input_dim)
    )
    return grid / TOKEN_DENOMINATOR
