"""Hold an engine to the exact values of a model, by a bound that is derived, not tuned.

The exact values are the certified reference of :mod:`stability.reference`; the bound is
that of :mod:`stability.forward_error`, from the weights and tokens at hand.  An engine
whose outputs differ from the exact ones by more than the bound does something else than
rounding to nearest in its format: another equation, a wrong weight, a shorter format
inside (TF32), flushed subnormals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.exact import ZERO, exact, eye
from compiler.library import LIBRARY
from compiler.model import Model
from stability.bounded import Bounded
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


def verify(
    model: Model,
    tokens: npt.NDArray[Any],
    format: str | AnyFormat = "float32",  # noqa: A002 -- as in `run`
    *,
    engine: str | Engine = "native",
) -> Verification:
    """Run prompts through an engine and compare every output with its exact value.

    Args:
        model: a compiled model.
        tokens: (B, T, input_dim) with B, T ≥ 1, exact: int64, float64 or objects (rationals).
        format: ``float16``, ``float32`` or ``float64``.
        engine: a name, or an engine.

    Raises:
        ConfigError: a format without bounds, an engine that lacks the format or is not
            installed, or a kind of layer that no bound is derived for.
    """
    return Exact(model, tokens).compare(format, engine)


class Exact:
    """Prompts with their exact outputs, to compare several engines with.

    Args:
        model: as in :func:`verify`.
        tokens: as in :func:`verify`.
    """

    def __init__(self, model: Model, tokens: npt.NDArray[Any]) -> None:
        self._model, self._tokens = model, tokens
        certified = [reference(model, prompt, vanishing=True) for prompt in tokens]
        self._true = [each.outputs for each in certified]
        rungs = [each.rung for each in certified]
        self._rung = (
            "uncertified" if "uncertified" in rungs else max(rungs, key=lambda rung: (len(rung), rung))
        )
        self._bounds: dict[str, Bounded] = {}

    def compare(self, format: str | AnyFormat, engine: str | Engine) -> Verification:  # noqa: A002 -- as in `run`
        """As :func:`verify`."""
        fmt = parse_format(format)
        if not isinstance(fmt, Format):
            raise ConfigError.single(f"no error bound in {fmt.name}", hint="one of " + ", ".join(FLOATS))
        execution = execute(self._model, self._tokens, fmt, engine=engine)
        if fmt.name not in self._bounds:
            self._bounds[fmt.name] = forward_error(self._model, self._tokens, fmt)
        bounds = self._bounds[fmt.name].error
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

    def _differences(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """|engine − exact|, rounded once; infinite where the engine's output is not finite."""
        found = np.full(outputs.shape, np.inf)
        for place in _places(np.isfinite(outputs)):
            prompt, step, output = place
            found[place] = to_float(abs(mpq(float(outputs[place])) - self._true[prompt][step][output]))
        return found


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
