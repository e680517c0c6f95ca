"""Gaussian noise on the non-zero weights of a compiled model.

A weight w becomes w·(1 + σz) (relative) or w + σz (absolute), z standard normal, drawn
once per weight (after arXiv 2406.01424, section 5, whose noise is absolute).  Zeros stay
zeros: they are the structure of the construction.  σz is drawn as float64; product and
sum are exact, so that the noisy model is a model like any other and a format rounds each
of its weights once.

Every non-zero constant takes its own z, wanted or not, in the order of the layers.  So for
one seed the noise of two sizes differs by a factor only, and leaving out biases does not
change the noise on matrices.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.exact import ONE, Matrix, Vector
from compiler.model import Layer, Model

Kind = Literal["relative", "absolute"]
Part = Literal["weights", "biases", "initial"]

KINDS: tuple[Kind, ...] = get_args(Kind)
PARTS: tuple[Part, ...] = get_args(Part)
DEFAULT_PARTS: tuple[Part, ...] = ("weights", "biases")
"""As in the paper: the matrices and the biases of all layers and of the readout, no initial states."""
_STREAM = 0x6E6F697365  # keeps the noise of a seed apart from the prompt of that seed


def perturb(
    model: Model,
    sigma: float,
    *,
    seed: int | np.random.Generator,
    kind: str = "relative",
    include: Collection[str] = DEFAULT_PARTS,
) -> Model:
    """A model with noise on its non-zero weights.

    Args:
        model: any compiled model.
        sigma: σ, 0 or more; the model with σ = 0 computes what ``model`` does.
        seed: of the noise, or a generator to draw it from.
        kind: ``relative`` or ``absolute``.
        include: which weights: ``weights`` (all matrices, the readout's too), ``biases``
            (those of layers and readout, ``bias_hn``), ``initial`` (states and cells before
            the first token).  A ``conv`` layer's kernels are built from its noisy A, B, b, s0.

    Raises:
        ConfigError: an unknown kind or part, or a σ that is negative or not finite.
    """
    check_noise(sigma, kind, include)
    source = seed if isinstance(seed, np.random.Generator) else np.random.default_rng([_STREAM, seed])
    noise = _Noise(source, float(sigma), relative=kind == "relative", include=frozenset(include))
    layers = tuple(noise.layer(layer) for layer in model.layers)
    described = f"{kind} sigma={sigma!r} on {'+'.join(part for part in PARTS if part in include)}"
    return replace(
        model,
        layers=layers,
        readout=noise.matrix(model.readout),
        readout_bias=noise.vector(model.readout_bias, "biases"),
        settings={**model.settings, "noise": described},
    )


def check_noise(sigma: float, kind: str, include: Collection[str]) -> None:
    """Refuse what :func:`perturb` cannot draw.

    Raises:
        ConfigError: as there.
    """
    if kind not in KINDS:
        raise ConfigError.single(f"unknown kind of noise {kind!r}", hint="one of " + ", ".join(KINDS))
    for part in include:
        if part not in PARTS:
            raise ConfigError.single(f"noise on unknown part {part!r}", hint="one of " + ", ".join(PARTS))
    if not include:
        raise ConfigError.single("noise on nothing", hint="one or more of " + ", ".join(PARTS))
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ConfigError.single(f"sigma={sigma}", hint="a finite number, 0 or more")


class _Noise:
    def __init__(
        self, source: np.random.Generator, sigma: float, *, relative: bool, include: frozenset[str]
    ) -> None:
        self._source, self._sigma, self._relative, self._include = source, sigma, relative, include

    def layer(self, layer: Layer) -> Layer:
        return replace(
            layer,
            weight_ih=self.matrix(layer.weight_ih),
            weight_hh=self.matrix(layer.weight_hh),
            bias=self.vector(layer.bias, "biases"),
            bias_hn=self.vector(layer.bias_hn, "biases"),
            initial=self.vector(layer.initial, "initial"),
            initial_cell=self.vector(layer.initial_cell, "initial"),
        )

    def matrix(self, matrix: Matrix) -> Matrix:
        changed = iter(self._noisy(tuple(value for _, _, value in matrix.entries()), "weights"))
        rows = [{column: next(changed) for column, _ in row} for row in matrix.rows]
        return Matrix.from_rows(matrix.width, rows)

    def vector(self, values: Vector, part: Part) -> Vector:
        changed = iter(self._noisy(tuple(value for value in values if value != 0), part))
        return tuple(next(changed) if value != 0 else value for value in values)

    def _noisy(self, values: Vector, part: Part) -> Vector:
        with np.errstate(under="ignore"):
            drawn = self._sigma * self._source.standard_normal(len(values))
        if part not in self._include:
            return values
        shifts = [mpq(float(shift)) for shift in drawn]
        if self._relative:
            return tuple(value * (ONE + shift) for value, shift in zip(values, shifts, strict=True))
        return tuple(value + shift for value, shift in zip(values, shifts, strict=True))
