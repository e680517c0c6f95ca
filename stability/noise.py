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
RESULTS = ("sigma", "horizon", "wrong_share", "max_abs_error", "first_bad", "error")
"""Those of them that a run finds, by its σ."""
TYPES = {
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


Judge = Callable[[npt.NDArray[Any], npt.NDArray[np.float64]], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the runs of a measurement have in common, whatever their models and prompts.

    Attributes:
        sigmas: of the noise.
        kind: of the noise.
        include: the weights that get it.
        states: ``free`` or ``clean``.
        format: of the noisy model.
        engine: who executes free runs; ``None`` chooses by format.
    """

    sigmas: tuple[float, ...]
    kind: str
    include: tuple[str, ...]
    states: str
    format: AnyPolicy
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """A prompt, its true outputs and how others are judged.

    Attributes:
        tokens: (T, dim), exact.
        true: (T, out).
        judge: (outputs, true) → which steps are wrong.
    """

    tokens: npt.NDArray[Any]
    true: npt.NDArray[np.float64]
    judge: Judge


def question(what: Subject, seed: int, length: int, prompt: Prompt = early_prompt) -> Question:
    """A prompt of a subject with its truth.

    Raises:
        LsrlError: it cannot be drawn, or has no certified reference.
    """
    tokens = prompt(what, seed, length)
    return Question(tokens=tokens, true=_truth(what, tokens), judge=what.judge())


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
    check_states(states, fmt, engine)
    _check(length, seeds)
    if not (models and sigmas):
        raise ConfigError.single("noise on no model" if not models else "no sigma", hint="give at least one")
    studied = subject(what) if isinstance(what, str) else what
    plan = Plan(
        sigmas=tuple(dict.fromkeys(float(sigma) for sigma in sigmas)),
        kind=kind,
        include=chosen,
        states=states,
        format=fmt,
        engine=engine,
    )
    ask = partial(question, studied, length=length, prompt=prompt)
    prompt(studied, seeds[0], length)  # what no model can read is a mistake, not a failed run
    tasks = [(model, seed) for model in models for seed in dict.fromkeys(seeds)]
    report = progress or (lambda _done, _total, _what: None)
    report(0, len(tasks), "")
    workers = min(jobs if jobs is not None else joblib.cpu_count(), len(tasks)) or 1
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    records: list[Record] = []
    runs = pool(
        joblib.delayed(_run)(plan, _keys(plan, studied, length, model), model, seed, ask)
        for model, seed in tasks
    )
    for done, ((model, _), found) in enumerate(zip(tasks, runs, strict=True), start=1):
        records.extend(found)
        report(done, len(tasks), model.target)
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(TYPES)


def check_states(states: str, fmt: AnyPolicy, engine: str | None) -> None:
    """Refuse a way of running noisy models that the format or the engine does not have.

    Raises:
        ConfigError: it is not had.
    """
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


def _check(length: int, seeds: Sequence[int]) -> None:
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


def _keys(plan: Plan, what: Subject, length: int, model: Model) -> Record:
    return {
        "program": what.name,
        "parameters": what.parameter_text,
        "target": model.target,
        "activation": model.activation,
        "format": plan.format.name,
        "config": configuration_of(model),
        "conditional": model.settings.get("conditional", "") if what.branches else NO_CONDITIONAL,
        "kind": plan.kind,
        "include": "+".join(plan.include),
        "states": plan.states,
        "length": length,
    }


def _run(plan: Plan, keys: Record, model: Model, seed: int, ask: Callable[..., Question]) -> list[Record]:
    """All σ of one model and one seed; a refusal is a row, not a failure of the rest."""
    mine = keys | {"seed": seed}
    try:
        return [mine | found for found in noisy_runs(plan, model, seed, ask(seed=seed))]
    except LsrlError as problem:
        return [mine | failed_run(sigma, problem) for sigma in plan.sigmas]


def noisy_runs(plan: Plan, model: Model, seed: int, asked: Question) -> Iterator[Record]:
    """What every σ does to a model: the columns of :data:`RESULTS`.

    Args:
        plan: the noise, and how the models run.
        model: without noise.
        seed: of the noise.
        asked: the prompt.

    Raises:
        LsrlError: the model cannot be run.
    """
    for sigma, outputs, first_bad in _outputs(plan, model, seed, asked.tokens):
        yield {"sigma": sigma} | _measured(outputs, first_bad, asked)


def failed_run(sigma: float, problem: Exception | str) -> Record:
    """The columns of :data:`RESULTS` of a run that could not be made."""
    return dict.fromkeys(RESULTS) | {"sigma": sigma, "error": str(problem)}


def _truth(what: Subject, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    wanted = what.oracle(tokens)
    if wanted is None:
        return reference(compile_program(what.source, UNCOMPILED), tokens).rounded
    return np.array([[to_float(value) for value in row] for row in wanted], dtype=np.float64)


def _outputs(
    plan: Plan, model: Model, seed: int, tokens: npt.NDArray[Any]
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


def _measured(outputs: npt.NDArray[Any], first_bad: int | None, asked: Question) -> Record:
    wrong = asked.judge(outputs, asked.true)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(outputs.astype(np.float64) - asked.true)
    return {
        "horizon": first_true(wrong),
        "wrong_share": float(wrong.mean()),
        "max_abs_error": float(np.nan_to_num(errors, nan=np.inf).max()),
        "first_bad": first_bad,
        "error": "",
    }
