"""Grids of cells: which programs, under which conditionals, on which targets, in which formats.

Cells that share a lowered program, a prompt and a reference form a :class:`Group`, the
unit of work of a process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from compiler.compiling import TARGETS, UNCOMPILED
from compiler.config import CONDITIONALS, CompileConfig
from stability.cells import IN_STEPS, NO_CONDITIONAL, RELU, Member, Noise, Setup, has_gates
from stability.engines.registry import default_engine
from stability.policy import AnyPolicy
from stability.subject import Subject

NAMED_CONFIGS = ("stable", "paper")
LINEAR = ("linear_rnn", "gated_linear_rnn", UNCOMPILED)
"""Targets whose recurrences are linear, so that they have other orders of evaluation."""
CONTROL = "optimized"
"""The conditional under which gated targets serve as controls of the ungated ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cells that are measured at one bench.

    Attributes:
        setup: what they share.
        members: what tells them apart, target by target.
    """

    setup: Setup
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All combinations of some choices.

    Attributes:
        subjects: the programs, with their parameters.
        configs: names and factors of configurations.
        conditionals: forms of f_ifelse; empty: each target's own, and ``optimized`` on gated
            targets as a control of the ungated ones.
        targets: architectures; the control ``uncompiled`` is always added.
        activations: of gates; ``native`` on those targets that have sigmoid and tanh.
        orders: of evaluation.
        formats: under test.
        engine: who executes; ``None`` lets the format choose.
        seeds: one prompt per seed.
        lengths: tokens per prompt.
        states: whether every cell is also told which of its named states drifts first.
        noise: on the weights; if there is any, the grid has these noisy runs instead of drift, step
            by step and without the control, of every target that can be run so.
    """

    subjects: tuple[Subject, ...]
    configs: tuple[tuple[str, CompileConfig], ...]
    conditionals: tuple[str, ...] = ()
    targets: tuple[str, ...]
    activations: tuple[str, ...] = (RELU,)
    orders: tuple[str, ...] = (IN_STEPS,)
    formats: tuple[AnyPolicy, ...]
    engine: str | None = None
    seeds: tuple[int, ...] = (0,)
    lengths: tuple[int, ...]
    states: bool = False
    noise: tuple[Noise, ...] = ()

    def groups(self) -> Iterator[Group]:
        """Every cell once, by program, length, seed, configuration and conditional."""
        for subject in self.subjects:
            branches = by_conditional(subject, self.targets, self.conditionals)
            for length, seed, (name, config) in product(self.lengths, self.seeds, self.configs):
                for conditional, targets in branches:
                    setup = Setup(
                        subject=subject,
                        config_name=name,
                        config=config,
                        conditional=conditional,
                        seed=seed,
                        length=length,
                    )
                    yield Group(setup=setup, members=tuple(self._members(targets)))

    def _members(self, targets: Sequence[str]) -> Iterator[Member]:
        for activation in self.activations:
            for target, fmt in product(honouring(activation, targets), self.formats):
                for order, noise in self._variants(target):
                    yield Member(
                        target=target,
                        format=fmt,
                        activation=activation,
                        order=order,
                        engine=self.engine or default_engine(fmt),
                        states=self.states and noise is None,
                        noise=noise,
                    )

    def _variants(self, target: str) -> list[tuple[str, Noise | None]]:
        """Orders of evaluation and noise of the cells of a target."""
        if self.noise:
            return [(IN_STEPS, noise) for noise in self.noise if takes_noise(target, noise.states)]
        return [(order, None) for order in self.orders if order == IN_STEPS or target in LINEAR]

    @property
    def size(self) -> int:
        """How many cells it has, without making them."""
        count = sum(
            len(self._variants(target))
            for activation in self.activations
            for subject in self.subjects
            for _, targets in by_conditional(subject, self.targets, self.conditionals)
            for target in honouring(activation, targets)
        )
        return count * prod(len(axis) for axis in (self.configs, self.formats, self.seeds, self.lengths))


def takes_noise(target: str, states: str) -> bool:
    """Whether noisy runs of a target are of interest: it is compiled, and has states if they are clean."""
    return target in TARGETS and not (states == "clean" and TARGETS[target].windowed)


def honouring(activation: str, targets: Sequence[str]) -> tuple[str, ...]:
    """Those of some targets to which an activation means anything, and the control."""
    return tuple(
        target for target in targets if activation == RELU or target == UNCOMPILED or has_gates(target)
    )


def by_conditional(
    subject: Subject, targets: Sequence[str], conditionals: Sequence[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Per conditional, the targets that run under it - the control always among them."""
    compiled = [target for target in targets if target != UNCOMPILED]
    if not subject.branches:
        return [(NO_CONDITIONAL, (*compiled, UNCOMPILED))]
    wanted: dict[str, list[str]] = {}
    for target in compiled:
        own = TARGETS[target].conditional
        for conditional in conditionals or dict.fromkeys((own, CONTROL)):
            wanted.setdefault(conditional, []).append(target)
    if not wanted:
        wanted = {conditional: [] for conditional in conditionals or (CONTROL, "multiplicative_optimized")}
    order = sorted(wanted, key=list[str](CONDITIONALS).index)
    return [(conditional, (*wanted[conditional], UNCOMPILED)) for conditional in order]


def named_config(config: str | CompileConfig) -> tuple[str, CompileConfig]:
    """A configuration with its title: the nearest named one, and every factor that differs from it.

    ``paper``, or ``stable mu=16 reduce=on``; the conditional is an axis of its own.

    Raises:
        ConfigError: an unknown name.
    """
    if isinstance(config, str):
        return config, CompileConfig.named(config)
    changes: dict[str, list[str]] = {}
    for name in NAMED_CONFIGS:
        usual = CompileConfig.named(name).settings()
        changes[name] = [
            f"{factor}={value}"
            for factor, value in config.settings().items()
            if factor != "conditional" and usual[factor] != value
        ]
    nearest = min(NAMED_CONFIGS, key=lambda name: len(changes[name]))
    return " ".join([nearest, *changes[nearest]]), config
