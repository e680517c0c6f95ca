"""Noise as a measure: how many tokens a model stays right when its weights are not quite right.

Gaussian noise is put on the non-zero weights of a compiled model (:mod:`stability.noise_weights`),
once, and the noisy model reads a prompt:

- ``free``: it runs on its own states, so errors add up, or do not; its *horizon* is the first
  wrong step, as for drift;
- ``clean``: before every step its states are those of the model without noise, run in float64
  (:mod:`stability.teacher_forcing`), as in the paper's section 5: the errors of single steps.

A step is wrong as for drift: its decoded output is not that of the truth, which is the program's
plain-Python oracle, or, for a program without one, its certified reference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd

from compiler.compiling import UNCOMPILED, compile_program
from compiler.config import CONFIGURATIONS, CompileConfig
from compiler.errors import ConfigError, LsrlError
from compiler.model import Model
from compiler.programs import dictionary, dictionary_exact
from stability.drift import NO_CONDITIONAL, Progress
from stability.engines.base import Status
from stability.engines.registry import check_engine
from stability.formats import Format
from stability.measures import first_true, to_float
from stability.noise_weights import DEFAULT_PARTS, PARTS, check_noise, perturb
from stability.policy import AnyPolicy, parse_policy
from stability.reference import reference
from stability.running import execute
from stability.subject import Subject, subject
from stability.teacher_forcing import FORCED, check_forcing, clean_states, forced_outputs

States = Literal["free", "clean"]
STATES: tuple[States, ...] = get_args(States)
DEFAULT_SIGMAS = (1e-5, 1e-4, 1e-3)
DEFAULT_LENGTH = 10_000
COLUMNS = (
    "program", "parameters", "target", "activation", "format", "config", "conditional", "kind", "include",
    "states", "sigma", "seed", "length", "horizon", "wrong_share", "max_abs_error", "first_bad", "error",
)  # fmt: skip
_TYPES = {
    "sigma": "float64",
    "seed": "int64",
    "length": "int64",
    "horizon": "Int64",
    "wrong_share": "float64",
    "max_abs_error": "float64",
    "first_bad": "Int64",
}

Prompt = Callable[[Subject, int, int], npt.NDArray[Any]]
Record = dict[str, Any]

_EARLY = {
    "dictionary": partial(dictionary.prompt, answer_at=0),
    "dictionary_exact": partial(dictionary_exact.prompt, answer_at=0),
}


def early_prompt(what: Subject, seed: int, length: int) -> npt.NDArray[Any]:
    """The subject's prompt; a dictionary's answer stands in its first pair.

    A dictionary's output is 0 until the answer has been read, and an output that is 0 anyway
    tells nothing about a noisy model.
    """
    known = _EARLY.get(what.entry.name) if what.entry is not None else None
    if known is None:
        return what.prompt(seed, length)
    return known(np.random.default_rng(seed), length, what.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What all runs of a measurement share."""

    subject: Subject
    sigmas: tuple[float, ...]
    kind: str
    include: tuple[str, ...]
    states: str
    format: AnyPolicy
    engine: str | None
    length: int
    prompt: Prompt


def noise(
    what: Subject | str,
    models: Sequence[Model],
    *,
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
    kind: str = "relative",
    include: Collection[str] = DEFAULT_PARTS,
    states: str = "free",
    format: str | AnyPolicy = "float32",  # noqa: A002 -- the word that users know
    engine: str | None = None,
    length: int = DEFAULT_LENGTH,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    prompt: Prompt = early_prompt,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run noisy models over prompts and judge every output.

    Args:
        what: the program that all models were compiled from, or a library program's name.
        models: compiled models; each is told from the others by its target, its activation,
            its configuration and its conditional.
        sigmas: standard deviations of the noise; 0 is the model itself, the control.
        kind: ``relative`` or ``absolute``.
        include: the weights that get noise, see :func:`stability.noise_weights.perturb`.
        states: ``free`` or ``clean``.
        format: of weights, values and operations of the noisy model.
        engine: who executes free runs; by default by the format.
        length: T, tokens per prompt.
        seeds: each draws a prompt and the noise of every model; the same for every σ.
        prompt: (subject, seed, length) → exact tokens (T, dim).
        jobs: processes; default: one per core.
        progress: called as (done, total, what) as runs finish.

    Returns:
        One row per model, σ and seed with the columns :data:`COLUMNS`.  ``horizon`` is the
        first wrong step, from 0, so as many tokens were right; missing: none of T is wrong.
        ``wrong_share`` is over all steps, ``max_abs_error`` is against the truth, infinite
        where an output is not finite, ``first_bad`` the first step with an inf or nan inside.
        A run that could not be made has its ``error`` and nothing else.

    Raises:
        ConfigError: an unknown kind, part, mode, format or engine; no models, seeds or σ.
        LsrlError: an unknown program, or a prompt that cannot be drawn.
    """
    fmt = parse_policy(format)
    chosen = tuple(part for part in PARTS if part in include) if set(include) <= set(PARTS) else (*include,)
    for sigma in sigmas:
        check_noise(sigma, kind, chosen)
    _check(states, fmt, engine, length, seeds)
    if not (models and sigmas):
        raise ConfigError.single("noise on no model" if not models else "no sigma", hint="give at least one")
    plan = _Plan(
        subject=subject(what) if isinstance(what, str) else what,
        sigmas=tuple(dict.fromkeys(float(sigma) for sigma in sigmas)),
        kind=kind,
        include=chosen,
        states=states,
        format=fmt,
        engine=engine,
        length=length,
        prompt=prompt,
    )
    prompt(plan.subject, seeds[0], length)  # what no model can read is a mistake, not a failed run
    tasks = [(model, seed) for model in models for seed in dict.fromkeys(seeds)]
    report = progress or (lambda _done, _total, _what: None)
    report(0, len(tasks), "")
    workers = min(jobs if jobs is not None else joblib.cpu_count(), len(tasks)) or 1
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    records: list[Record] = []
    runs = pool(joblib.delayed(_run)(plan, model, seed) for model, seed in tasks)
    for done, ((model, _), found) in enumerate(zip(tasks, runs, strict=True), start=1):
        records.extend(found)
        report(done, len(tasks), model.target)
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(_TYPES)


def _check(states: str, fmt: AnyPolicy, engine: str | None, length: int, seeds: Sequence[int]) -> None:
    if states not in STATES:
        raise ConfigError.single(f"unknown states {states!r}", hint="one of " + ", ".join(STATES))
    if states == "clean" and fmt.name not in FORCED:
        raise ConfigError.single(f"no teacher-forced run in {fmt.name}", hint="one of " + ", ".join(FORCED))
    if engine is not None:
        check_engine(engine)
        if states == "clean":
            raise ConfigError.single(
                f"engine {engine!r} with clean states", hint="teacher-forced runs have an engine of their own"
            )
    if length < 1:
        raise ConfigError.single(f"a prompt of {length} tokens", hint="give a length of at least 1")
    if not seeds or min(seeds) < 0:
        raise ConfigError.single(f"seeds {list(seeds)}", hint="one or more, each 0 or more")


def configuration_of(model: Model) -> str:
    """The name of the configuration that a model was compiled with; ``custom`` for any other."""
    for name in CONFIGURATIONS:
        factors = CompileConfig.named(name).settings()
        if all(model.settings.get(key) == factors[key] for key in factors if key != "conditional"):
            return name
    return "custom"


def _run(plan: _Plan, model: Model, seed: int) -> list[Record]:
    """All σ of one model and one seed; a refusal is a row, not a failure of the rest."""
    keys: Record = {
        "program": plan.subject.name,
        "parameters": plan.subject.parameter_text,
        "target": model.target,
        "activation": model.activation,
        "format": plan.format.name,
        "config": configuration_of(model),
        "conditional": model.settings.get("conditional", "") if plan.subject.branches else NO_CONDITIONAL,
        "kind": plan.kind,
        "include": "+".join(plan.include),
        "states": plan.states,
        "seed": seed,
        "length": plan.length,
    }
    try:
        tokens = plan.prompt(plan.subject, seed, plan.length)
        true = _truth(plan.subject, tokens)
        judge = plan.subject.judge()
        return [
            keys | {"sigma": sigma} | _measured(outputs, first_bad, true, judge)
            for sigma, outputs, first_bad in _outputs(plan, model, seed, tokens)
        ]
    except LsrlError as problem:
        empty: Record = dict.fromkeys(("horizon", "wrong_share", "max_abs_error", "first_bad"))
        return [keys | empty | {"sigma": sigma, "error": str(problem)} for sigma in plan.sigmas]


def _truth(what: Subject, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    wanted = what.oracle(tokens)
    if wanted is None:
        return reference(compile_program(what.source, UNCOMPILED), tokens).rounded
    return np.array([[to_float(value) for value in row] for row in wanted], dtype=np.float64)


def _outputs(
    plan: _Plan, model: Model, seed: int, tokens: npt.NDArray[Any]
) -> Iterator[tuple[float, npt.NDArray[Any], int | None]]:
    """Per σ: the outputs (T, out), and the first step with an inf or nan."""
    noisy: Mapping[float, Model] = {
        sigma: perturb(model, sigma, seed=seed, kind=plan.kind, include=plan.include) for sigma in plan.sigmas
    }
    if plan.states == "free":
        for sigma, each in noisy.items():
            execution = execute(each, tokens, plan.format, engine=plan.engine)
            yield sigma, execution.outputs, first_true(execution.status != Status.OK)
        return
    fmt: Format = check_forcing(model, plan.format)
    parts: dict[float, list[npt.NDArray[Any]]] = {sigma: [] for sigma in noisy}
    for piece, states in clean_states(model, tokens[np.newaxis]):
        for sigma, each in noisy.items():
            parts[sigma].append(forced_outputs(each, piece, states, fmt)[0])
    for sigma, pieces in parts.items():
        outputs = np.concatenate(pieces)
        yield sigma, outputs, first_true(~np.isfinite(outputs).all(axis=1))


def _measured(
    outputs: npt.NDArray[Any],
    first_bad: int | None,
    true: npt.NDArray[np.float64],
    judge: Callable[[npt.NDArray[Any], npt.NDArray[np.float64]], npt.NDArray[np.bool_]],
) -> Record:
    wrong = judge(outputs, true)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(outputs.astype(np.float64) - true)
    return {
        "horizon": first_true(wrong),
        "wrong_share": float(wrong.mean()),
        "max_abs_error": float(np.nan_to_num(errors, nan=np.inf).max()),
        "first_bad": first_bad,
        "error": "",
    }
