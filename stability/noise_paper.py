"""The noise experiment of the paper (arXiv 2406.01424, section 5, Fig. 4), done by our compiler.

Its set-up, as its text and its published code have it:

- a *target* is a random map: 25 of them, each with noise of its own;
- ``continuous``: f: [0,1]² → R² is the mean of five random values in [−3, 3]², weighted by
  exp(−distance) to five random points of [−0.1, 1.1]²; the prompt gives it on a grid of
  8 × 8 cells; measured is the Euclidean distance between the last output and f at the
  query, averaged over ten uniform queries;
- ``dictionary``: keys and values of n = 10 symbols out of ten, 20 pairs; measured is the share
  of wrong symbols among the last 10 outputs, rounded to integers, of five queries;
- absolute Gaussian noise on the non-zero entries of every matrix and bias, σ from 1e-9 to 1e-3;
- before every step the states are those of the model without noise, all in float64.

Two things differ by choice.  The symbols of the library's dictionary are 1..10, where the paper's
are 0..9: an output that is 0 throughout is always wrong there and one time in ten right here.  And
functions whose values on the grid leave [−2, 2], the declared range of our program, are drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import compile_program
from compiler.config import CompileConfig, Conditional
from compiler.errors import ConfigError, LsrlError
from compiler.exact import Number
from compiler.loading import load_program
from compiler.model import Model
from compiler.programs import dictionary
from compiler.text import parse_program
from stability.drift import Progress
from stability.formats import FLOAT64
from stability.noise_programs import CONTINUOUS, DICTIONARY
from stability.noise_weights import DEFAULT_PARTS, Kind, Part, perturb
from stability.running import execute
from stability.teacher_forcing import clean_states, forced_outputs

Wording = Literal["library", "paper"]
WORDINGS: tuple[Wording, ...] = get_args(Wording)
MEASURES: Mapping[str, str] = {
    "continuous": "Average difference",
    "dictionary": "Wrong outputs (%)",
    "dictionary_exact": "Wrong outputs (%)",
}
"""The programs of the experiment, and ours beside them, with what is measured."""
CONDITIONALS: tuple[Conditional, ...] = (
    "direct", "optimized", "step_optimized", "multiplicative", "multiplicative_optimized",
)  # fmt: skip
SIGMAS = (0.0, 1e-9, 1e-7, 1e-5, 1e-3)
TARGETS = 25
COLUMNS = (
    "program", "wording", "conditional", "complement", "architecture", "kind", "include", "states", "sigma",
    "seed", "measure", "value", "error",
)  # fmt: skip

_POINTS, _HEIGHT, _SIDE, _QUERIES, _DECLARED = 5, 3.0, 8, 10, 2.0
_LETTERS, _SYMBOLS, _PAIRS, _WORDS = 10, 10, 20, 5

Floats = npt.NDArray[np.float64]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One way to do the experiment; what is not the default is an ablation.

    Attributes:
        wording: the programs of the library, or those of :mod:`stability.noise_programs`, whose
            complements are what they write.
        config: the configuration's name.
        architecture: ``gated_linear_rnn`` is the path itself, as in the paper; it takes every
            conditional.  ``uncompiled`` runs the program node by node.
        kind: of the noise.
        include: the weights that get noise.
        states: ``clean`` or ``free``.
    """

    wording: Wording = "library"
    config: str = "paper"
    architecture: str = "gated_linear_rnn"
    kind: Kind = "absolute"
    include: tuple[Part, ...] = DEFAULT_PARTS
    states: Literal["clean", "free"] = "clean"

    def compiled(self, program: str, conditional: Conditional) -> Model:
        """The model without noise."""
        config = CompileConfig.named(self.config).with_conditional(conditional)
        if self.own_words(program):
            config = replace(config, complement="subtract")
        return compile_program(self._source(program, conditional), self.architecture, config)

    def own_words(self, program: str) -> bool:
        """Whether ``program`` is that of the paper's code; ours is not in it."""
        return self.wording == "paper" and program != "dictionary_exact"

    def _source(self, program: str, conditional: Conditional) -> ir.Program:
        chosen: dict[str, Number] = {} if program == "continuous" else {"n": _LETTERS, "V": _SYMBOLS}
        if not self.own_words(program):
            return load_program(program, **chosen)
        chosen["opposite"] = int(conditional == "optimized")
        return parse_program(CONTINUOUS if program == "continuous" else DICTIONARY, parameters=chosen)


SETUPS: Mapping[str, Setup] = {
    "library": Setup(),
    "paper's wording": Setup(wording="paper"),
    "uncompiled": Setup(wording="paper", architecture="uncompiled"),
    "weights only": Setup(wording="paper", include=("weights",)),
    "relative": Setup(wording="paper", kind="relative"),
    "free running": Setup(wording="paper", states="free"),
    "stable": Setup(config="stable"),
}
"""The experiment, and what it leaves open: one thing changed at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """The prompts of one target, and what their last outputs should be.

    Attributes:
        prompts: (B, T, dim), exact.
        wanted: (B, answers, out).
        measure: of outputs of that shape.
    """

    prompts: npt.NDArray[Any]
    wanted: Floats
    measure: Callable[[Floats, Floats], float]

    def measured(self, outputs: npt.NDArray[Any]) -> float:
        """The experiment's measure of outputs (B, T, out); infinite where they are not finite."""
        last = outputs[:, -self.wanted.shape[1] :].astype(np.float64)
        with np.errstate(all="ignore"):
            return float(np.nan_to_num(self.measure(last, self.wanted), nan=np.inf, posinf=np.inf))


def paper_noise(
    programs: Iterable[str] = MEASURES,
    setup: Setup | None = None,
    *,
    conditionals: Iterable[str] = CONDITIONALS,
    sigmas: Sequence[float] = SIGMAS,
    targets: int = TARGETS,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Do the experiment.

    Args:
        programs: some of :data:`MEASURES`.
        setup: how; default: the library's programs under the paper's configuration.
        conditionals: some of :data:`CONDITIONALS`.
        sigmas: standard deviations; 0 is the model without noise.
        targets: how many random maps; map k is drawn, and its noise, from seed k.
        jobs: processes; default: one per core.
        progress: called as (done, total, what) as variants of programs finish.

    Returns:
        One row per program, conditional, σ and seed with the columns :data:`COLUMNS`;
        ``value`` is the measure that ``measure`` names, and missing where ``error`` is not empty.

    Raises:
        ConfigError: a program or a conditional that the experiment does not have.
    """
    how = setup or Setup()
    tasks = [
        (_member(program, MEASURES, "program"), _member(conditional, CONDITIONALS, "conditional"))
        for program in programs
        for conditional in conditionals
    ]
    report = progress or (lambda _done, _total, _what: None)
    report(0, len(tasks), "")
    workers = min(jobs if jobs is not None else joblib.cpu_count(), len(tasks)) or 1
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    runs = pool(joblib.delayed(_variant)(how, *task, tuple(sigmas), targets) for task in tasks)
    records: list[Record] = []
    for done, ((program, conditional), found) in enumerate(zip(tasks, runs, strict=True), start=1):
        records.extend(found)
        report(done, len(tasks), f"{program} · {conditional}")
    return pd.DataFrame(records, columns=list(COLUMNS)).astype({"sigma": "float64", "value": "float64"})


def _member(name: str, known: Iterable[Any], role: str) -> Any:
    for each in known:
        if each == name:
            return each
    raise ConfigError.single(f"no {role} {name!r} in this experiment", hint="one of " + ", ".join(known))


def _variant(
    how: Setup, program: str, conditional: Conditional, sigmas: tuple[float, ...], targets: int
) -> list[Record]:
    keys: Record = {
        "program": program,
        "wording": how.wording,
        "conditional": conditional,
        "complement": "",
        "architecture": how.architecture,
        "kind": how.kind,
        "include": "+".join(how.include),
        "states": how.states,
        "measure": MEASURES[program],
        "error": "",
    }
    try:
        model = how.compiled(program, conditional)
        keys["complement"] = model.settings["complement"]
        first = 0 if how.own_words(program) else 1
        return [
            keys | {"sigma": sigma, "seed": seed, "value": value}
            for seed in range(targets)
            for sigma, value in _values(how, model, question(program, seed, first=first), seed, sigmas)
        ]
    except LsrlError as problem:
        return [keys | {"sigma": sigma, "seed": 0, "value": None, "error": str(problem)} for sigma in sigmas]


def _values(
    how: Setup, model: Model, asked: Question, seed: int, sigmas: tuple[float, ...]
) -> Iterable[tuple[float, float]]:
    clean = list(clean_states(model, asked.prompts)) if how.states == "clean" else []
    for sigma in sigmas:
        noisy = perturb(model, sigma, seed=seed, kind=how.kind, include=how.include)
        if how.states == "free":
            outputs = execute(noisy, asked.prompts, FLOAT64).outputs
        else:
            pieces = [forced_outputs(noisy, tokens, states, FLOAT64) for tokens, states in clean]
            outputs = np.concatenate(pieces, axis=1)
        yield sigma, asked.measured(outputs)


def question(program: str, seed: int, *, first: int = 1) -> Question:
    """The prompts of target ``seed``; symbols count from ``first``."""
    generator = np.random.default_rng(seed)
    return _function(generator) if program == "continuous" else _dictionary(generator, first)


def _function(generator: np.random.Generator) -> Question:
    ticks = (np.arange(_SIDE) + 0.5) / _SIDE
    centres = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    while True:
        points = generator.uniform(-0.1, 1.1, size=(_POINTS, 2))
        heights = generator.uniform(-_HEIGHT, _HEIGHT, size=(_POINTS, 2))
        values = _weighted(centres, points, heights)
        if np.abs(values).max() <= _DECLARED:
            break
    queries = generator.random((_QUERIES, 2))
    prompts = np.full((_QUERIES, 1 + len(centres), 5), mpq(0), dtype=object)
    prompts[:, 0, :2] = _exact(queries)
    prompts[:, 1:, 0] = mpq(1, _SIDE)
    prompts[:, 1:, 1:3] = _exact(centres - 0.5 / _SIDE)
    prompts[:, 1:, 3:] = _exact(values)
    wanted = _weighted(queries, points, heights)[:, np.newaxis]
    return Question(prompts=prompts, wanted=wanted, measure=_distance)


def _weighted(places: Floats, points: Floats, heights: Floats) -> Floats:
    weights = np.exp(-np.linalg.norm(places[:, np.newaxis] - points, axis=2))
    return np.asarray(weights @ heights / weights.sum(axis=1, keepdims=True))


def _exact(values: Floats) -> npt.NDArray[np.object_]:
    held = np.empty(values.size, dtype=object)
    held[:] = [mpq(value) for value in values.ravel().tolist()]
    return held.reshape(values.shape)


def _distance(outputs: Floats, wanted: Floats) -> float:
    return float(np.linalg.norm((outputs - wanted)[:, 0], axis=1).mean())


def _dictionary(generator: np.random.Generator, first: int) -> Question:
    def drawn(count: int) -> npt.NDArray[np.int64]:
        return generator.integers(first, first + _SYMBOLS, size=(count, _LETTERS), dtype=np.int64)

    keys = drawn(0)
    while len(keys) < _PAIRS:
        keys = np.unique(np.concatenate([keys, drawn(_PAIRS - len(keys))]), axis=0)
    keys = generator.permutation(keys)
    values = drawn(_PAIRS)
    asked = generator.choice(_PAIRS, size=_WORDS, replace=False)
    pairs = list(zip(keys.tolist(), values.tolist(), strict=True))
    prompts = np.stack([dictionary.build_prompt(keys[number].tolist(), pairs) for number in asked])
    wanted = values[asked].astype(np.float64)[..., np.newaxis]
    return Question(prompts=prompts, wanted=wanted, measure=_wrong)


def _wrong(outputs: Floats, wanted: Floats) -> float:
    return float(100 * (np.rint(outputs) != wanted).mean())
