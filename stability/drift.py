"""The main measurement: how compiled programs drift from their true trajectory.

One tidy row per program × parameters × configuration × conditional × target × format
× seed × sampled step; the columns are :data:`COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd

from compiler.compiling import TARGETS, UNCOMPILED, check_target, compile_lowered
from compiler.config import CONDITIONALS, CompileConfig, Conditional
from compiler.errors import ConfigError, LsrlError
from compiler.lowering import Lowered, lower
from compiler.model import Model
from compiler.model_file import model_hash
from stability.engines.base import Status
from stability.engines.registry import check_engine, default_engine
from stability.formats import AnyFormat, parse_format
from stability.measures import deviation, first_true, sample_steps, worst
from stability.reference import Reference, reference
from stability.running import execute
from stability.subject import Subject, subject

DEFAULT_PROGRAMS = ("majority", "continuous", "dictionary", "copy_delay", "modulo")
DEFAULT_FORMATS = ("float16", "float32", "float64")
DEFAULT_CONFIGS = ("stable", "paper")
DEFAULT_LENGTH = 4000
NO_CONDITIONAL = "none"
CONTROL = "optimized"
"""The conditional under which gated targets serve as controls of the ungated ones."""
SELF_CHECK = 1
"""Prompts on which a model is held to its program in rationals: a compiler's bug is no drift."""
REFERENCE_BITS = 40
"""The reference equals the oracle if it does to 2^-40 of max(1, |oracle|)."""

KEYS = (
    "program",
    "parameters",
    "config",
    "step_form",
    "conditional",
    "complement",
    "mu",
    "lam",
    "target",
    "gated",
    "format",
    "engine",
    "seed",
    "length",
)
RESULTS = (
    "layers",
    "units",
    "nonzeros",
    "model_hash",
    "weight_overflow",
    "wrong_share",
    "horizon",
    "first_bad",
    "reference",
    "reference_right",
    "error",
)
SAMPLES = (
    "step",
    "reference_value",
    "value",
    "abs_error",
    "rel_error",
    "ulp_error",
    "significant_bits",
    "status",
    "wrong",
)
COLUMNS = (*KEYS, *RESULTS, *SAMPLES)
_TYPES = {
    "seed": "int64",
    "length": "int64",
    "layers": "Int64",
    "units": "Int64",
    "nonzeros": "Int64",
    "weight_overflow": "Int64",
    "wrong_share": "float64",
    "horizon": "Int64",
    "first_bad": "Int64",
    "reference_right": "boolean",
    "gated": "bool",
    "step": "Int64",
    "wrong": "boolean",
    "reference_value": "float64",
    "value": "float64",
    "abs_error": "float64",
    "rel_error": "float64",
    "ulp_error": "float64",
    "significant_bits": "float64",
}

Progress = Callable[[int, int, str], None]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Everything that shares one lowered program, one prompt and one reference."""

    subject: Subject
    config_name: str
    config: CompileConfig
    conditional: str
    targets: tuple[str, ...]
    formats: tuple[AnyFormat, ...]
    engine: str | None
    seed: int
    length: int

    @property
    def title(self) -> str:
        return f"{self.subject.name} · {self.config_name} · {self.conditional}"


def drift(
    programs: Sequence[str] | None = None,
    *,
    targets: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    configs: Sequence[str | CompileConfig] = DEFAULT_CONFIGS,
    conditionals: Sequence[str] | None = None,
    length: int | None = None,
    seeds: Sequence[int] = (0,),
    parameters: dict[str, str] | None = None,
    engine: str | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure drift over a grid (see the module for its rows).

    Args:
        programs: library names or paths of ``.lsrl`` files; default: :data:`DEFAULT_PROGRAMS`.
        targets: architectures; default: all.  The control ``uncompiled`` is always run.
        formats: number formats; default: float16, float32, float64.
        configs: ``stable``, ``paper`` or configurations of your own.
        conditionals: default: each target's own, and ``optimized`` on gated targets as
            a control of the ungated ones.
        length: tokens per prompt.
        seeds: one prompt per seed.
        parameters: program parameters by name, given to every program that has them.
        engine: who executes: ``native``, ``scalar``, ``onnxruntime``, ``torch`` …; default: ``native``
            for floats, ``mpmath`` for mpmath formats.
        jobs: processes; default: one per core.
        progress: called with (done, total, what) after every task.

    Raises:
        ConfigError: an unknown name of a program, target, format, configuration,
            conditional, engine or parameter, or a length below 1.
        ProgramError: a program of the user's is wrong.
    """
    subjects = _subjects(programs, parameters)
    chosen = tuple(dict.fromkeys(check_target(target) for target in targets or TARGETS))
    fmts = tuple(parse_format(name) for name in formats or DEFAULT_FORMATS)
    settled = [_configuration(config) for config in configs]
    if engine is not None:
        check_engine(engine)
    for conditional in conditionals or ():
        CompileConfig(conditional=conditional)  # type: ignore[arg-type]  # checked by the constructor
    if length is not None and length < 1:
        raise ConfigError.single(f"a prompt of {length} tokens", hint="give a length of at least 1")
    tasks = [
        _Task(
            subject=each,
            config_name=name,
            config=config,
            conditional=conditional,
            targets=group,
            formats=fmts,
            engine=engine,
            seed=seed,
            length=length or DEFAULT_LENGTH,
        )
        for each in subjects
        for seed in seeds
        for name, config in settled
        for conditional, group in _groups(each, chosen, conditionals)
    ]
    records = [record for rows in _run_all(tasks, jobs, progress) for record in rows]
    frame = pd.DataFrame(records, columns=list(COLUMNS)).astype(_TYPES)
    order = ["program", "parameters", "seed", "config", "conditional", "target", "format", "step"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _subjects(programs: Sequence[str] | None, parameters: dict[str, str] | None) -> list[Subject]:
    found = [subject(name, parameters) for name in programs or DEFAULT_PROGRAMS]
    known = {name for each in found for name in each.parameters}
    for name in parameters or {}:
        if name not in known:
            raise ConfigError.single(
                f"no program here has a parameter {name!r}", hint="one of " + ", ".join(sorted(known))
            )
    return found


def _configuration(config: str | CompileConfig) -> tuple[str, CompileConfig]:
    if isinstance(config, str):
        return config, CompileConfig.named(config)
    for name in DEFAULT_CONFIGS:
        if replace(config, conditional=None) == CompileConfig.named(name):
            return name, config
    return "custom", config


def _groups(
    each: Subject, targets: Sequence[str], conditionals: Sequence[str] | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Per conditional, the targets that run under it - the control always among them."""
    compiled = [target for target in targets if target != UNCOMPILED]
    if not each.branches:
        yield NO_CONDITIONAL, (*compiled, UNCOMPILED)
        return
    wanted: dict[str, list[str]] = {}
    for target in compiled:
        own = TARGETS[target].conditional
        for conditional in conditionals or dict.fromkeys((own, CONTROL)):
            wanted.setdefault(conditional, []).append(target)
    if not wanted:
        wanted = {conditional: [] for conditional in conditionals or (CONTROL, "multiplicative_optimized")}
    for conditional in sorted(wanted, key=list[str](CONDITIONALS).index):
        yield conditional, (*wanted[conditional], UNCOMPILED)


def _run_all(tasks: list[_Task], jobs: int | None, progress: Progress | None) -> Iterator[list[Record]]:
    report = progress or (lambda _done, _total, _what: None)
    report(0, len(tasks), "")
    workers = min(jobs if jobs is not None else joblib.cpu_count(), len(tasks)) or 1
    pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    finished: Iterable[tuple[str, list[Record]]] = pool(joblib.delayed(_run_task)(task) for task in tasks)
    for done, (title, records) in enumerate(finished, start=1):
        report(done, len(tasks), title)
        yield records


def _run_task(task: _Task) -> tuple[str, list[Record]]:
    """All cells of one task; a refusal is a row, not a failure of the rest."""
    config = task.config
    if task.conditional != NO_CONDITIONAL:
        config = config.with_conditional(_conditional(task.conditional))
    try:
        lowered = lower(task.subject.source, config)
        tokens = task.subject.prompt(task.seed, task.length)
        truth = _Truth(task.subject, reference(compile_lowered(lowered, UNCOMPILED), tokens), tokens)
    except LsrlError as problem:
        return task.title, [
            _failed(_keys(task, config, target, fmt), problem)
            for target in task.targets
            for fmt in task.formats
        ]
    records: list[Record] = []
    for target in task.targets:
        records.extend(_run_target(task, lowered, target, truth))
    return task.title, records


def _conditional(name: str) -> Conditional:
    return next(conditional for conditional in CONDITIONALS if conditional == name)


class _Truth:
    """A prompt with its certified reference and the judge of its subject."""

    def __init__(self, what: Subject, certified: Reference, tokens: npt.NDArray[Any]) -> None:
        self.tokens = tokens
        self.reference = certified
        self.judge = what.judge()
        wanted = what.oracle(tokens)
        self.right: bool | None = None
        if wanted is not None:
            self.right = all(
                abs(true - want) * 2**REFERENCE_BITS <= max(1, abs(want))
                for rows in zip(certified.outputs, wanted, strict=True)
                for true, want in zip(*rows, strict=True)
            )


def _run_target(task: _Task, lowered: Lowered, target: str, truth: _Truth) -> Iterator[Record]:
    keys = [_keys(task, lowered.config, target, fmt) for fmt in task.formats]
    try:
        window = task.length if target in TARGETS and TARGETS[target].windowed else None
        model = compile_lowered(lowered, target, window=window, check=SELF_CHECK)
    except LsrlError as problem:
        yield from (_failed(each, problem) for each in keys)
        return
    digest = model_hash(model)
    for each, fmt in zip(keys, task.formats, strict=True):
        try:
            yield from _run_cell(each, model, digest, fmt, truth)
        except LsrlError as problem:
            yield _failed(each, problem)


def _run_cell(keys: Record, model: Model, digest: str, fmt: AnyFormat, truth: _Truth) -> Iterator[Record]:
    execution = execute(model, truth.tokens, fmt, engine=keys["engine"])
    wrong = truth.judge(execution.outputs, truth.reference.rounded)
    horizon, first_bad = first_true(wrong), first_true(execution.status != Status.OK)
    results: Record = {
        "layers": len(model.layers),
        "units": sum(layer.size for layer in model.layers),
        "nonzeros": model.nonzeros,
        "model_hash": digest,
        "weight_overflow": len(execution.weight_overflow),
        "wrong_share": float(wrong.mean()),
        "horizon": horizon,
        "first_bad": first_bad,
        "reference": truth.reference.rung,
        "reference_right": truth.right,
        "error": "",
    }
    special = [step for step in (horizon, first_bad) if step is not None]
    for step in np.unique(np.append(sample_steps(len(wrong)), special).astype(np.int64)):
        measured = worst(
            [
                deviation(value, true, size, fmt)
                for value, true, size in zip(
                    execution.outputs[step],
                    truth.reference.outputs[step],
                    truth.reference.scale[step],
                    strict=True,
                )
            ]
        )
        yield (
            keys
            | results
            | {
                "step": int(step),
                "reference_value": measured.reference,
                "value": measured.value,
                "abs_error": measured.abs_error,
                "rel_error": measured.rel_error,
                "ulp_error": measured.ulp_error,
                "significant_bits": measured.significant_bits,
                "status": Status(int(execution.status[step])).name.lower(),
                "wrong": bool(wrong[step]),
            }
        )


def _keys(task: _Task, config: CompileConfig, target: str, fmt: AnyFormat) -> Record:
    gated = TARGETS[target].gated if target in TARGETS else False
    return {
        "program": task.subject.name,
        "parameters": task.subject.parameter_text,
        "config": task.config_name,
        "step_form": config.step,
        "conditional": task.conditional,
        "complement": config.complement,
        "mu": str(config.mu),
        "lam": str(config.lam),
        "target": target,
        "gated": gated,
        "format": fmt.name,
        "engine": task.engine or default_engine(fmt),
        "seed": task.seed,
        "length": task.length,
    }


def _failed(keys: Record, problem: LsrlError) -> Record:
    """The row of a cell that could not be compiled or run."""
    empty: Record = dict.fromkeys((*RESULTS, *SAMPLES))
    return keys | empty | {"reference": "", "model_hash": "", "status": "", "error": str(problem)}
