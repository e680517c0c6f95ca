"""One cell of a measurement: a program, compiled for a target, run in a format and held to its truth.

Its rows are tidy, one per sampled step; their columns are :data:`COLUMNS`.  What a cell
is decides its :data:`KEYS`, what was found its :data:`RESULTS` (the same on each of its
rows), and every step its :data:`SAMPLES`.  A cell that cannot be compiled or run is one
row that has its ``error`` and no step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from compiler.compiling import TARGETS, UNCOMPILED, compile_lowered
from compiler.config import CONDITIONALS, CompileConfig
from compiler.errors import ConfigError, LsrlError
from compiler.lowering import Lowered, lower
from compiler.model import Model
from compiler.model_file import model_hash
from compiler.real_gates import NativeGates, check_native
from stability.attribution import VariableDrift, blank_record, drifts, first_record
from stability.engines.base import Status
from stability.measures import deviation, first_true, sample_steps, worst
from stability.noise_weights import DEFAULT_PARTS
from stability.orders import STEP, execute_in_order, parse_order
from stability.output_hash import output_hash
from stability.policy import AnyPolicy, output_format
from stability.real_gates import gates_for
from stability.reference import Reference, reference
from stability.state_truth import StateTruth, state_truth
from stability.states import state_errors
from stability.subject import Subject

NO_CONDITIONAL = "none"
SELF_CHECK = 1
"""Prompts on which a model is held to its program in rationals: a compiler's bug is no drift."""
REFERENCE_BITS = 40
"""The reference equals the oracle if it does to 2^-40 of max(1, |oracle|)."""

KEYS = (
    "program", "parameters", "config", "step_form", "conditional", "complement", "mu", "lam", "target",
    "gated", "activation", "format", "order", "engine", "seed", "length",
)  # fmt: skip
RESULTS = (
    "layers", "units", "nonzeros", "model_hash", "weight_overflow", "output_hash", "wrong_share", "horizon",
    "first_bad", "reference", "reference_right", "error",
)  # fmt: skip
SAMPLES = (
    "step", "reference_value", "value", "abs_error", "rel_error", "ulp_error", "significant_bits", "status",
    "wrong",
)  # fmt: skip
COLUMNS = (*KEYS, *RESULTS, *SAMPLES)
TYPES = {
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
"""The pandas type of every column that does not hold text."""

RELU, NATIVE = "relu", "native"
ACTIVATIONS: tuple[str, ...] = (RELU, NATIVE)
"""Gate activations that a bench can compile."""
IN_STEPS = STEP.name

Record = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that decides the lowered program, the prompt and the truth of a cell.

    Attributes:
        subject: the program, its prompts and its judge.
        config_name: its title, such as ``paper`` or ``stable mu=16``.
        config: its factors; the conditional is taken from ``conditional``.
        conditional: a form of f_ifelse, or ``none`` for programs without one.
        seed: of the prompt.
        length: tokens of the prompt.
    """

    subject: Subject
    config_name: str
    config: CompileConfig
    conditional: str
    seed: int
    length: int

    @property
    def title(self) -> str:
        """For progress."""
        return f"{self.subject.name} · {self.config_name} · {self.conditional}"

    @property
    def settled(self) -> CompileConfig:
        """The configuration with its conditional."""
        for conditional in CONDITIONALS:
            if conditional == self.conditional:
                return self.config.with_conditional(conditional)
        return self.config


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Gaussian noise on the weights of a cell's model, see :func:`stability.noise.noise`.

    Attributes:
        sigma: σ; 0 is the model itself.
        kind: ``relative`` or ``absolute``.
        include: the weights that get it, in the order of :data:`stability.noise_weights.PARTS`.
        states: ``free`` or ``clean``.
    """

    sigma: float
    kind: str = "relative"
    include: tuple[str, ...] = DEFAULT_PARTS
    states: str = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What tells a cell from the others of its setup.

    Attributes:
        target: an architecture, or ``uncompiled``.
        format: number formats under test.
        activation: of the gates, one of :data:`ACTIVATIONS`.
        order: of evaluation, a name of :func:`stability.orders.parse_order`; the control goes step by step.
        engine: who executes.
        states: whether it is also told which named state drifts first, in the columns
            :data:`stability.attribution.FIRST`; that takes about twice as long.
        noise: the cell is a noisy run (:mod:`stability.noise_cells`) instead of one held to its
            certified reference.
    """

    target: str
    format: AnyPolicy
    activation: str = RELU
    order: str = IN_STEPS
    engine: str
    states: bool = False
    noise: Noise | None = None


def has_gates(target: str) -> bool:
    """Whether a target has sigmoid and tanh, so that ``native`` means anything to it."""
    try:
        check_native(target)
    except ConfigError:
        return False
    return True


class Bench:
    """Measures the cells of one setup; what they share is made once, when it is first needed.

    Cells are best asked for target by target: the last compiled model is kept.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._refusal: LsrlError | None = None
        self._kept: dict[Callable[[Setup], Any], Any] = {}
        self._model: tuple[tuple[str, NativeGates | None], Model, str] | None = None

    def rows(self, member: Member) -> list[Record]:
        """The rows of one cell; a refusal is a row too."""
        try:
            return self.measure(member)
        except LsrlError as problem:
            return [self.failure(member, problem)]

    def measure(self, member: Member) -> list[Record]:
        """The rows of one cell.

        Raises:
            LsrlError: the cell cannot be compiled or run.
        """
        lowered, truth = self._lowered, self.truth
        model, digest = self._compiled(lowered, member)
        rows = list(_measured(self.keys(member), model, digest, member.format, truth))
        first = first_record(self.states(member)) if member.states else {}
        return [row | first for row in rows]

    def failure(self, member: Member, problem: Exception) -> Record:
        """The row of a cell that could not be compiled or run."""
        return failed(self.keys(member), problem) | (blank_record() if member.states else {})

    def states(self, member: Member) -> tuple[VariableDrift, ...]:
        """How every named state of one cell drifts, the first to drift first.

        Raises:
            LsrlError: the cell cannot be compiled or run.
        """
        lowered = self._lowered
        errors = state_errors(
            lowered, self.model(member), member.format, self._state_truth, engine=member.engine
        )
        return drifts(errors, generator=np.random.default_rng(self.setup.seed))

    def model(self, member: Member) -> Model:
        """The compiled model of one cell.

        Raises:
            LsrlError: it cannot be compiled.
        """
        return self._compiled(self._lowered, member)[0]

    @cached_property
    def _state_truth(self) -> StateTruth:
        return state_truth(self._lowered, self.truth.tokens)

    def keys(self, member: Member) -> Record:
        """The :data:`KEYS` of a cell, with λ and μ as lowering settles them where it can."""
        try:
            config = self._lowered.config
        except LsrlError:
            config = self.setup.settled
        return keys(self.setup, config, member)

    @property
    def _lowered(self) -> Lowered:
        return self._unless_refused(lambda: self._program)

    @property
    def truth(self) -> Truth:
        """The prompt, and what is right.

        Raises:
            LsrlError: there is none.
        """
        return self._unless_refused(lambda: self._certified)

    def _unless_refused(self, make: Callable[[], T]) -> T:
        """What is shared; a refusal is final, for every cell."""
        if self._refusal is not None:
            raise self._refusal
        try:
            return make()
        except LsrlError as problem:
            self._refusal = problem
            raise

    def once(self, make: Callable[[Setup], T]) -> T:
        """What a function makes of the setup; it is called when it is first asked for."""
        if make not in self._kept:
            self._kept[make] = make(self.setup)
        made: T = self._kept[make]
        return made

    @cached_property
    def _program(self) -> Lowered:
        return lower(self.setup.subject.source, self.setup.settled)

    @cached_property
    def _certified(self) -> Truth:
        setup = self.setup
        tokens = setup.subject.prompt(setup.seed, setup.length)
        certified = reference(compile_lowered(self._program, UNCOMPILED), tokens)
        return Truth(setup.subject, certified, tokens)

    def _gates(self, member: Member) -> NativeGates | None:
        """Real gates, which are chosen for a format; the control has none."""
        if member.activation == RELU or member.target == UNCOMPILED:
            return None
        return gates_for(member.format, self.setup.length)

    def _compiled(self, lowered: Lowered, member: Member) -> tuple[Model, str]:
        target, gates = member.target, self._gates(member)
        if self._model is None or self._model[0] != (target, gates):
            window = self.setup.length if target in TARGETS and TARGETS[target].windowed else None
            model = compile_lowered(lowered, target, window=window, check=SELF_CHECK, native=gates)
            self._model = (target, gates), model, model_hash(model)
        return self._model[1:]


class Truth:
    """A prompt with its certified reference and the judge of its subject.

    Attributes:
        tokens: (T, input_dim), exact.
        reference: the true outputs.
        judge: (outputs, true outputs as float64) → which steps are wrong.
        right: whether the reference equals the program's oracle, if it has one.
    """

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


def _measured(mine: Record, model: Model, digest: str, policy: AnyPolicy, truth: Truth) -> Iterator[Record]:
    order, fmt = parse_order(mine["order"]), output_format(policy)
    execution = execute_in_order(model, truth.tokens, policy, order, engine=mine["engine"])
    wrong = truth.judge(execution.outputs, truth.reference.rounded)
    horizon, first_bad = first_true(wrong), first_true(execution.status != Status.OK)
    results: Record = {
        "layers": len(model.layers),
        "units": sum(layer.size for layer in model.layers),
        "nonzeros": model.nonzeros,
        "model_hash": digest,
        "weight_overflow": len(execution.weight_overflow),
        "output_hash": output_hash(execution.outputs, execution.status),
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
            mine
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


def keys(setup: Setup, config: CompileConfig, member: Member) -> Record:
    """The :data:`KEYS` of a cell; ``config`` is the setup's, or as lowering settled it."""
    return {
        "program": setup.subject.name,
        "parameters": setup.subject.parameter_text,
        "config": setup.config_name,
        "step_form": config.step,
        "conditional": setup.conditional,
        "complement": config.complement,
        "mu": str(config.mu),
        "lam": str(config.lam),
        "target": member.target,
        "gated": TARGETS[member.target].gated if member.target in TARGETS else False,
        "activation": member.activation,
        "format": member.format.name,
        "order": member.order,
        "engine": member.engine,
        "seed": setup.seed,
        "length": setup.length,
    }


def failed(mine: Record, problem: Exception | str) -> Record:
    """The row of a cell that could not be compiled or run."""
    empty: Record = dict.fromkeys((*RESULTS, *SAMPLES))
    blank = dict.fromkeys(("reference", "model_hash", "output_hash", "status"), "")
    return mine | empty | blank | {"error": str(problem)}
