"""Build a golden case from a model and a prompt, and write it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from gmpy2 import mpq

from compiler.compiling import TARGETS
from compiler.errors import ConfigError
from compiler.lowering import lower
from compiler.model import Label, Model, check_window
from compiler.model_file import model_hash
from stability.formats import SCORED
from stability.golden.arrays import DENSE_ENTRIES, LOW, Arrays, little_endian
from stability.golden.bits import RECENT, Floats, Trajectory, recent_bits
from stability.golden.readme import EQUATIONS, GATE_ORDER, readme
from stability.measures import sample_steps
from stability.reference import Reference, reference
from stability.running import execute
from stability.subject import RELATIVE_TOLERANCE, Subject
from stability.tokens import TokenArray, read_tokens

SCHEMA = 1
REFERENCE = "reference"
ALL_STEPS = 1024
STATE_VALUES = 1 << 18
"""A prompt of more steps, or of more state values, has its states stored at sampled steps only."""
SCALAR_WORK = 1 << 20
"""Multiplications up to which the slow engine is done before the fast one, of the same bits, is compiled."""
NEAREST, RELATIVE, ABSOLUTE = "nearest integer", "relative", "absolute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """When a step is wrong.

    Attributes:
        kind: ``nearest integer`` (the outputs stand for integers: wrong at ±1/2), ``relative``
            to the largest |reference| of the output so far, or ``absolute``.
        tolerance: for the last two.
    """

    kind: str = RELATIVE
    tolerance: float = RELATIVE_TOLERANCE

    @property
    def text(self) -> str:
        """In words."""
        match self.kind:
            case "nearest integer":
                return "1/2: outputs stand for the nearest integer"
            case "relative":
                return f"{self.tolerance:g} of the largest |reference| so far"
            case _:
                return f"{self.tolerance:g}"

    def tolerances(self, true: Reference) -> Floats:
        """(T, output_dim): the error from which a step is wrong."""
        shape = true.rounded.shape
        if self.kind == NEAREST:
            return np.full(shape, 0.5)
        if self.kind == ABSOLUTE:
            return np.full(shape, self.tolerance)
        sizes = np.maximum.accumulate(np.abs(true.rounded), axis=0)
        return self.tolerance * np.maximum(sizes, 2.0**-60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a stated arithmetic gives.

    Attributes:
        meaning: which arithmetic, in words.
        outputs: per step and output, a float; inf where it overflows.
        formats: the formats that are judged against it unless the user names another.
    """

    meaning: str
    outputs: Sequence[Sequence[float]]
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldenCase:
    """A case ready to be written.

    Attributes:
        arrays: everything in it, by name.
        manifest: its JSON part (also among the arrays).
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def readme(self) -> str:
        """The text that explains it."""
        return self.arrays["README"].tobytes().decode()


def judge_of(what: Subject) -> Judge:
    """How the outputs of a program are judged; the same rule as a drift run's."""
    if what.entry is not None:
        if what.entry.decoded:
            return Judge(kind=NEAREST)
        return Judge(kind=ABSOLUTE, tolerance=what.entry.tolerance)
    lowered = lower(what.source)
    whole = all(extent.integer for extent in lowered.node_ranges(lowered.program.output))
    return Judge(kind=NEAREST) if whole else Judge()


def window_for(target: str, length: int) -> int | None:
    """The window to compile for: the prompt, where the target has one at all."""
    return length if target in TARGETS and TARGETS[target].windowed else None


def golden_case(
    model: Model,
    tokens: object,
    *,
    judge: Judge | None = None,
    seed: int | None = None,
    name: str | None = None,
    exact: bool = False,
    expected: Mapping[str, Expectation] | None = None,
) -> GoldenCase:
    """The weights of a model, a prompt, and the certified truth about both.

    The truth is that of the MODEL (see :func:`stability.reference.reference`): what its
    weights compute over these tokens without rounding.

    Args:
        model: any compiled model.
        tokens: (T, input_dim), T ≥ 1; see :mod:`stability.tokens`.
        judge: when a step is wrong; default: off by more than 0.1 % of the largest output.
        seed: the seed of the prompt, for the record.
        name: the name of a special case, for the record.
        exact: whether outputs must equal the reference exactly to pass.
        expected: what outputs may be judged against besides the reference, by name.

    Raises:
        ConfigError: no token, more than one prompt, a kind of layer that the README does not
            know, or a value beyond the range of float64.
        TokenError: tokens of the wrong width, or not finite, or more than the model's window.
    """
    _check_kinds(model)
    batch = read_tokens(tokens, model.input_dim)
    if not batch.single or not batch.length:
        raise ConfigError.single("a golden case is one prompt of at least one token", hint="(T, input_dim)")
    prompt, length = batch.values[0], batch.length
    check_window(model, length)
    wires = tuple(range(1, len(model.layers) + 1))
    steps = _state_steps(model, length)
    true = reference(model, prompt, keep=wires, steps=steps, cells=True, vanishing=True)
    judge, expected = judge or Judge(), expected or {}

    made = _stored(model, prompt, true, steps)
    made.found["reference/tolerance"] = judge.tolerances(true)
    for key, each in expected.items():
        made.found[f"expected/{key}/outputs"] = np.array(each.outputs, dtype=np.float64)
    manifest = _manifest(model, true, judge, expected, made.rounded) | {
        "recent_bits": _own_bits(model, prompt, made),
        "case": name,
        "seed": seed,
        "length": length,
        "exact": exact,
    }
    made.put_text("manifest", json.dumps(manifest, indent=1, ensure_ascii=False))
    made.put_text("README", _readme(model, true, judge, manifest, steps))
    return GoldenCase(arrays=little_endian(made.found), manifest=manifest)


def save_case(case: GoldenCase, place: Path | BinaryIO) -> None:
    """Write a case as .npz; the same case gives the same bytes.

    Raises:
        OSError: the place cannot be written.
    """
    np.savez_compressed(place, **case.arrays)  # type: ignore[arg-type]  # numpy has no type for names


def _stored(model: Model, prompt: TokenArray, true: Reference, steps: npt.NDArray[np.int64]) -> Arrays:
    made = Arrays()
    made.put("tokens", (mpq(_scalar(value)) for value in prompt.reshape(-1)), prompt.shape)
    for number, layer in enumerate(model.layers):
        made.put_layer(number, layer)
    made.put_matrix("readout", model.readout)
    made.put("readout_bias", model.readout_bias, [model.output_dim])
    made.put("reference/outputs", _flat(true.outputs), (len(prompt), model.output_dim))
    made.found["reference/steps"] = steps
    for wire, values in true.wires.items():
        made.put(f"reference/layer{wire - 1}", _flat(values), (len(steps), model.wire_size(wire)))
    for number, values in true.cells.items():
        made.put(f"reference/cell_layer{number}", _flat(values), (len(steps), model.layers[number].size))
    return made


def _own_bits(model: Model, prompt: TokenArray, made: Arrays) -> dict[str, float]:
    """The fewest bits that our engine leaves of what recent steps hold, per format that it has.

    What is lost to a format on that scale differs from model to model: a sum that comes back
    to 0 keeps the rounding errors of its peak.  So this is what a sound kernel is held to.
    """
    high = made.found["reference/outputs"]
    true = Trajectory(name=REFERENCE, high=high, low=made.found.get("reference/outputs" + LOW, 0 * high))
    found = {}
    work = len(prompt) * (model.nonzeros + sum(layer.size for layer in model.layers))
    engine = "scalar" if work <= SCALAR_WORK else "native"
    for fmt in SCORED.values():
        try:
            outputs = execute(model, prompt, fmt, engine=engine).outputs
        except ConfigError:
            continue
        bits = recent_bits(outputs.astype(np.float64), true, fmt, made.found["reference/tolerance"])
        found[fmt.name] = round(float(bits.min()), 2)
    return found


def _check_kinds(model: Model) -> None:
    for number, layer in enumerate(model.layers):
        if layer.kind not in EQUATIONS:
            raise ConfigError.single(
                f"layer {number} of {model.target} is of kind {layer.kind!r}, which golden cases do not hold",
                hint="take another --target; they hold " + ", ".join(EQUATIONS),
            )


def _state_steps(model: Model, length: int) -> npt.NDArray[np.int64]:
    units = sum(layer.size for layer in model.layers)
    if length <= ALL_STEPS and length * units <= STATE_VALUES:
        return np.arange(length, dtype=np.int64)
    return sample_steps(length)


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _flat(rows: Sequence[tuple[mpq, ...]]) -> list[mpq]:
    return [value for row in rows for value in row]


def _manifest(
    model: Model,
    true: Reference,
    judge: Judge,
    expected: Mapping[str, Expectation],
    rounded: Sequence[str],
) -> dict[str, Any]:
    against = {fmt: key for key, each in expected.items() for fmt in each.formats}
    return {
        "schema": SCHEMA,
        "program": model.name,
        "target": model.target,
        "settings": dict(model.settings),
        "model_hash": model_hash(model),
        "input_dim": model.input_dim,
        "output_dim": model.output_dim,
        "layers": [
            {
                "kind": layer.kind,
                "inputs": list(layer.inputs),
                "size": layer.size,
                "gates": list(GATE_ORDER[layer.kind]),
                "activation": layer.activation,
                "units": [_unit(label) for label in layer.labels],
            }
            for layer in model.layers
        ],
        "window": model.window,
        "readout_wires": list(model.readout_wires),
        "rung": true.rung,
        "states_rung": true.wires_rung,
        "judge": judge.kind,
        "wrong_from": judge.text,
        "trajectories": {REFERENCE: "the truth: the weights without any rounding"}
        | {key: each.meaning for key, each in expected.items()},
        "against": against,
        "rounded": list(rounded),
    }


def _unit(label: Label) -> str:
    sign = {1: "+", -1: "-"}.get(label.sign, "")
    return f"{sign}{label.variable}[{label.component}]"


def _readme(
    model: Model,
    true: Reference,
    judge: Judge,
    manifest: Mapping[str, Any],
    steps: npt.NDArray[np.int64],
) -> str:
    what = f"case {manifest['case']}" if manifest["case"] else f"program {model.name}"
    settings = ", ".join(f"{key.removeprefix('param ')}={value}" for key, value in model.settings.items())
    about = [f"{what} as {model.target}: {settings}", f"seed {manifest['seed']}, {manifest['length']} tokens"]
    if manifest["exact"]:
        about.append("outputs must equal the reference exactly")
    everything = len(steps) == manifest["length"]
    return readme(
        title=f"{model.name} as {model.target}",
        about=about,
        trajectories=manifest["trajectories"],
        kinds=[(layer.kind, layer.activation) for layer in model.layers],
        facts={
            "length": manifest["length"],
            "output_dim": model.output_dim,
            "layers": len(model.layers),
            "dense": DENSE_ENTRIES,
            "rung": true.rung,
            "states_rung": true.wires_rung,
            "judge": judge.text,
            "recent": RECENT,
            "steps": "all" if everything else f"{len(steps)} of {manifest['length']}",
        },
    )
