"""Noise on weights: exact, on the non-zero ones only, and the same draw whatever else is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpq

from compiler import compile_program, load_program
from compiler.errors import ConfigError
from compiler.exact import ones
from compiler.model import Layer, Model
from stability.noise_weights import PARTS, perturb
from tests.stability.models import random_model


def constants(model: Model) -> Iterator[tuple[str, tuple[mpq, ...]]]:
    """Every constant of a model with the part it belongs to, zeros included, in one order."""
    for layer in model.layers:
        yield "weights", dense(layer, "weight_ih") + dense(layer, "weight_hh")
        yield "biases", layer.bias + layer.bias_hn
        yield "initial", layer.initial + layer.initial_cell
    yield "weights", tuple(value for _, _, value in model.readout.entries())
    yield "biases", model.readout_bias


def dense(layer: Layer, name: str) -> tuple[mpq, ...]:
    """A matrix as all of its entries."""
    matrix = getattr(layer, name)
    values = {(i, j): value for i, j, value in matrix.entries()}
    return tuple(values.get((i, j), mpq(0)) for i in range(matrix.height) for j in range(matrix.width))


def of_part(model: Model, part: str) -> list[mpq]:
    """The constants of one part."""
    return [value for name, values in constants(model) for value in values if name == part]


MODEL = random_model(np.random.default_rng(3), layers=8, size=5)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_no_noise_is_the_model_itself(kind: str) -> None:
    """With σ = 0 every constant is the exact one."""
    assert list(constants(perturb(MODEL, 0, seed=1, kind=kind, include=PARTS))) == list(constants(MODEL))


@pytest.mark.parametrize("part", PARTS)
def test_noise_is_on_all_non_zero_constants_of_its_parts_only(part: str) -> None:
    """Zeros and the constants of other parts stay as they are; every other one changes."""
    noisy = perturb(MODEL, 1e-3, seed=1, include=[part])
    for name in PARTS:
        for before, after in zip(of_part(MODEL, name), of_part(noisy, name), strict=True):
            assert (before != after) == (name == part and before != 0)
    assert any(value == 0 for value in of_part(MODEL, part))


def shifts(kind: str, sigma: float, include: tuple[str, ...] = PARTS) -> list[mpq]:
    """What noise adds to each non-zero constant of the matrices, in units of the weight if relative."""
    noisy = perturb(MODEL, sigma, seed=7, kind=kind, include=include)
    pairs = zip(of_part(MODEL, "weights"), of_part(noisy, "weights"), strict=True)
    return [(b - a) / (a if kind == "relative" else 1) for a, b in pairs if a != 0]


def test_a_seed_draws_one_noise_whatever_its_size_kind_and_parts() -> None:
    """Twice the σ is twice the shift; relative and absolute noise, and other parts, share it."""
    once = shifts("relative", 2.0**-10)
    assert shifts("relative", 2.0**-9) == [2 * each for each in once]
    assert shifts("absolute", 2.0**-10) == once
    assert shifts("relative", 2.0**-10, ("weights",)) == once
    assert once != [0] * len(once)
    assert all(mpq(float(each)) == each for each in once)


def test_a_generator_is_drawn_from_and_a_seed_is_not_that_of_prompts() -> None:
    """Two models from one generator differ; a seed's noise is not the stream of that seed."""
    source = np.random.default_rng(5)
    first, second = (perturb(MODEL, 1e-3, seed=source) for _ in range(2))
    plain = perturb(MODEL, 1e-3, seed=np.random.default_rng(5))
    seeded = perturb(MODEL, 1e-3, seed=5)
    assert of_part(first, "weights") == of_part(plain, "weights")
    assert of_part(first, "weights") != of_part(second, "weights")
    assert of_part(first, "weights") != of_part(seeded, "weights")


def test_noise_is_standard_normal() -> None:
    """Over 10,000 weights of 1 the mean is 0 and the deviation σ, within five standard errors."""
    layer = Layer(
        kind="linear", inputs=(0,), size=100, weight_ih=ones(100, 100), weight_hh=ones(0, 0), bias=()
    )
    model = Model(
        target="t", name="n", input_dim=100, output_dim=1, layers=(layer,), readout_wires=(1,),
        readout=ones(1, 100), readout_bias=(mpq(0),),
    )  # fmt: skip
    noisy = perturb(model, 0.5, seed=0).layers[0].weight_ih
    drawn = np.array([float(value - 1) / 0.5 for _, _, value in noisy.entries()])
    assert abs(drawn.mean()) < 5 / math.sqrt(drawn.size)
    assert abs(drawn.std() - 1) < 5 / math.sqrt(2 * drawn.size)


def test_the_settings_tell_of_the_noise() -> None:
    """A noisy model says so, so that it is not taken for a compiled one."""
    model = compile_program(load_program("majority"), "lstm")
    told = perturb(model, 1e-3, seed=0, kind="absolute").settings
    assert told["noise"] == "absolute sigma=0.001 on weights+biases"
    assert {name: told[name] for name in model.settings} == dict(model.settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma": -1.0}, "sigma=-1.0"),
        ({"sigma": math.nan}, "sigma=nan"),
        ({"sigma": math.inf}, "sigma=inf"),
        ({"kind": "loud"}, "unknown kind of noise 'loud'"),
        ({"include": ["gates"]}, "unknown part 'gates'"),
        ({"include": []}, "noise on nothing"),
    ],
)
def test_noise_that_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    """Each is one message that names the value."""
    arguments: dict[str, Any] = {"sigma": 1e-3, "seed": 0} | changes
    with pytest.raises(ConfigError, match=words):
        perturb(MODEL, **arguments)
