"""The error budget: what each place of rounding contributes to the error of a run, by itself.

The model is run once for every place, with that place as the policy under test has it and all
others as good as exact; what the lone errors do not add up to is left unexplained: errors that
work on each other, and decisions that only several of them turn.

The runs of lone places are those of :func:`lone_policies`, for an engine that takes policies.
Two of them need no such engine: :func:`rounded_weights` and
:func:`stability.rounding.round_array` make the rounding of weights and tokens part of the
model and of the prompt, which any engine then runs in a wide format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.exact import Matrix, Vector
from compiler.model import Layer, Model
from stability.formats import FLOAT64, AnyFormat, Format, MpmathFormat
from stability.measures import exact_value, to_float
from stability.policy import AnyPolicy, Policy, as_policy
from stability.rounding import round_rational

LONE: dict[str, tuple[str, ...]] = {
    "input": ("input",),
    "weights": ("weights",),
    "accumulation": ("products", "accumulator"),
    "state": ("state",),
    "activations": ("activations",),
    "readout": ("readout",),
}
"""The sources of error, and the places of a policy that each one stands for."""
ALL, TOGETHER, UNEXPLAINED = "all", "together", "unexplained"
COLUMNS = ("source", "step", "abs_error", "share")
WIDE = MpmathFormat(dps=60)

Run = Callable[[Model, npt.NDArray[Any], AnyPolicy], npt.NDArray[Any]]
"""(model, tokens, policy) → outputs (T, output_dim)."""


def lone_policies(policy: AnyPolicy, rest: AnyFormat | None = None) -> dict[str, Policy]:
    """For every source of :data:`LONE`, the policy that rounds there alone as ``policy`` does.

    Args:
        policy: the one under test.
        rest: the format of all other places; default: float64 where that is at least twice as
            precise as every place of ``policy``, else mpmath with 60 digits.
    """
    whole = as_policy(policy)
    if rest is None:
        rest = FLOAT64 if in_floats(whole) else WIDE
    clean = replace(as_policy(rest), rounding=whole.rounding, seed=whole.seed)
    return {
        source: replace(clean, **{place: whole.formats[place] for place in places})  # type: ignore[arg-type]
        for source, places in LONE.items()
    }


def measured_budget(
    model: Model,
    tokens: npt.NDArray[Any],
    policy: AnyPolicy,
    truth: Sequence[tuple[mpq, ...]],
    steps: npt.NDArray[np.int64],
    *,
    run: Run,
) -> pd.DataFrame:
    """The budget of one run: it, and a run for every source that the policy has (:func:`error_budget`).

    Sources that round no more than the rest are left out: they have no error of their own.

    Args:
        model: a compiled model.
        tokens: (T, input_dim), exact.
        policy: under test.
        truth: T rows of true outputs.
        steps: those that are wanted.
        run: executes a model under a policy.
    """
    return error_budget(lone_outputs(model, tokens, policy, run=run), truth, steps)


def lone_outputs(
    model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy, *, run: Run
) -> dict[str, npt.NDArray[Any]]:
    """The outputs of a run, and of one run for every source that the policy has, by source.

    Args:
        model: a compiled model.
        tokens: (T, input_dim), exact.
        policy: under test.
        run: executes a model under a policy.
    """
    outputs = {ALL: run(model, tokens, policy)}
    for source, lone in lone_policies(policy).items():
        if lone.uniform is None:
            outputs[source] = run(model, tokens, lone)
    return outputs


def in_floats(policy: AnyPolicy) -> bool:
    """Whether float64 is as good as exact beside a policy, so that its lone runs are fast."""
    whole = as_policy(policy)
    return whole.binary and all(2 * fmt.precision <= FLOAT64.precision for fmt in whole.formats.values())


def error_budget(
    outputs: Mapping[str, npt.NDArray[Any]],
    truth: Sequence[tuple[mpq, ...]],
    steps: npt.NDArray[np.int64],
) -> pd.DataFrame:
    """What lone sources contribute to the error of the run ``all``.

    Args:
        outputs: by source, (T, output_dim) in any numbers; ``all`` is the run under test.
        truth: T rows of true outputs, such as :attr:`stability.reference.Reference.outputs`.
        steps: those that are wanted.

    Returns:
        Tidy rows with the columns :data:`COLUMNS`, for each of ``all``, the sources, ``together``
        (the sum of the sources' signed errors) and ``unexplained`` (the rest of ``all``):
        ``abs_error`` of the output component that is farthest off, and its ``share`` of that of
        ``all`` (nan where ``all`` has none).
    """
    assert ALL in outputs, "the run under test"
    signed = {source: _signed(values, truth, steps) for source, values in outputs.items()}
    with np.errstate(invalid="ignore"):
        parts = [values for source, values in signed.items() if source != ALL]
        signed[TOGETHER] = np.sum(parts, axis=0) if parts else np.zeros_like(signed[ALL])
        signed[UNEXPLAINED] = signed[ALL] - signed[TOGETHER]
    sizes = {source: _largest(values) for source, values in signed.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = [
            (source, int(step), float(size), float(size / whole) if whole > 0 else np.nan)
            for source, errors in sizes.items()
            for step, size, whole in zip(steps, errors, sizes[ALL], strict=True)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _largest(errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sizes = np.where(np.isnan(errors), np.inf, np.abs(errors))
    return np.asarray(sizes.max(axis=1))


def _signed(
    values: npt.NDArray[Any], truth: Sequence[tuple[mpq, ...]], steps: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(K, output_dim) value − truth, rounded once; nan where a value is not finite."""
    found = np.full((len(steps), values.shape[1]), np.nan)
    for row, step in enumerate(steps):
        for column, (value, right) in enumerate(zip(values[step], truth[step], strict=True)):
            known = value if isinstance(value, mpq) else exact_value(value)
            if known is not None:
                found[row, column] = to_float(known - right)
    return found


def rounded_weights(model: Model, fmt: Format) -> Model:
    """A model whose weights and biases are those that ``fmt`` rounds to nearest; states start as they are.

    Raises:
        ConfigError: a weight that overflows, or a model with ``conv`` layers, whose kernels are
            rounded and not the matrices that they are made of.
    """
    if any(layer.kind == "conv" for layer in model.layers):
        raise ConfigError.single(
            f"the weights of {model.target} are kernels, which cannot be rounded beforehand",
            hint="use a target that keeps a state, or an engine that takes policies",
        )
    return replace(
        model,
        layers=tuple(_rounded_layer(layer, fmt) for layer in model.layers),
        readout=_rounded_matrix(model.readout, fmt),
        readout_bias=_rounded_vector(model.readout_bias, fmt),
    )


def _rounded_layer(layer: Layer, fmt: Format) -> Layer:
    return replace(
        layer,
        weight_ih=_rounded_matrix(layer.weight_ih, fmt),
        weight_hh=_rounded_matrix(layer.weight_hh, fmt),
        bias=_rounded_vector(layer.bias, fmt),
        bias_hn=_rounded_vector(layer.bias_hn, fmt),
    )


def _rounded_matrix(matrix: Matrix, fmt: Format) -> Matrix:
    return Matrix.from_rows(matrix.width, [{j: _rounded(w, fmt) for j, w in row} for row in matrix.rows])


def _rounded_vector(values: Vector, fmt: Format) -> Vector:
    return tuple(_rounded(value, fmt) for value in values)


def _rounded(value: mpq, fmt: Format) -> mpq:
    found = exact_value(round_rational(value, fmt))
    if found is None:
        raise ConfigError.single(
            f"a weight of {to_float(value):.6g} overflows {fmt.name}",
            hint="compile with mu=auto and lam=auto, or use a format with a wider exponent",
        )
    return found
