"""How a program is to be compiled: every factor of the constructions, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from gmpy2 import mpq

from compiler.errors import ConfigError
from compiler.exact import Number, exact

Step = Literal["paper", "clip"]
Conditional = Literal[
    "direct", "optimized", "step", "step_optimized", "multiplicative", "multiplicative_optimized"
]
Complement = Literal["subtract", "direct"]
Auto = Literal["auto"]

CONDITIONALS: tuple[Conditional, ...] = get_args(Conditional)
STEPS: tuple[Step, ...] = get_args(Step)
COMPLEMENTS: tuple[Complement, ...] = get_args(Complement)


def _choice(role: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError.single(f"unknown {role} {value!r}", hint="one of " + ", ".join(allowed))


def _scale(role: str, value: Number | Auto) -> mpq | Auto:
    if value == "auto":
        return "auto"
    try:
        number = exact(value)
    except (ValueError, ZeroDivisionError):
        raise ConfigError.single(
            f"{role}={value!r} is not a number", hint="a positive number or 'auto'"
        ) from None
    if number <= 0:
        raise ConfigError.single(f"{role}={value} is not positive", hint="a positive number or 'auto'")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileConfig:
    """The factors of a compilation; the defaults are the configuration ``stable``.

    Attributes:
        step: form of f_step: ``clip`` or ``paper`` (arXiv 2406.01424, appendix A).
        mu: slope of comparisons, or ``auto``: the smallest power of two that saturates
            every comparison that the declared ranges allow.
        lam: λ of conditionals, or ``auto``: the smallest power of two ≥ the operands.
        conditional: form of f_ifelse; ``None`` lets the target choose
            (``multiplicative_optimized`` where it has gates, else ``optimized``).
        complement: how 1 − c of a condition is built.
        reduce: replace ReLUs whose argument keeps its sign, or takes two values only, by
            affine maps.  It changes what an experiment measures (it turns ``direct`` into
            ``optimized``) and leans on declared ranges, so it is off unless asked for.

    Raises:
        ConfigError: an unknown choice or a number that is not positive.
    """

    step: Step = "clip"
    mu: mpq | Auto = "auto"
    lam: mpq | Auto = "auto"
    conditional: Conditional | None = None
    complement: Complement = "subtract"
    reduce: bool = False

    def __post_init__(self) -> None:
        _choice("step form", self.step, STEPS)
        if self.conditional is not None:
            _choice("conditional", self.conditional, CONDITIONALS)
        _choice("complement", self.complement, COMPLEMENTS)
        object.__setattr__(self, "mu", _scale("mu", self.mu))
        object.__setattr__(self, "lam", _scale("lam", self.lam))

    @classmethod
    def named(cls, name: str) -> CompileConfig:
        """The configuration ``paper`` or ``stable``.

        Raises:
            ConfigError: another name.
        """
        _choice("configuration", name, tuple(_NAMED))
        return _NAMED[name]

    def with_conditional(self, conditional: Conditional) -> CompileConfig:
        """The same configuration with the conditional settled."""
        return replace(self, conditional=conditional)

    def settings(self) -> dict[str, str]:
        """Every factor as text, for reports, model files and hashes."""
        return {
            "step": self.step,
            "mu": str(self.mu),
            "lam": str(self.lam),
            "conditional": self.conditional or "by target",
            "complement": self.complement,
            "reduce": "on" if self.reduce else "off",
        }


_NAMED = {
    "stable": CompileConfig(),
    "paper": CompileConfig(step="paper", mu=mpq(1000), lam=mpq(10**10), complement="direct"),
}
CONFIGURATIONS: tuple[str, ...] = tuple(_NAMED)
