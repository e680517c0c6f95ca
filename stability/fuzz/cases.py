"""What fuzzing draws: a program, a prompt, and how the program is run."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from compiler import ir
from compiler.compiling import TARGET_NAMES, TARGETS
from compiler.exact import Vector
from stability.fuzz.policies import policies
from stability.fuzz.programs import programs
from stability.fuzz.prompts import prompts

RECURRENT = tuple(name for name, target in TARGETS.items() if not target.windowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One example.

    Attributes:
        program: what is compiled.
        tokens: its prompt, exact.
        target: the architecture, where a property runs one.
        policy: the number formats, where a property rounds.
    """

    program: ir.Program
    tokens: tuple[Vector, ...]
    target: str = "uncompiled"
    policy: str = "float32"


@st.composite
def cases(draw: st.DrawFn, profile: str, *, least: int | None = None) -> Case:
    """A program of a profile, a prompt for it, a target and a policy.

    Args:
        draw: from Hypothesis.
        profile: a name of :data:`stability.fuzz.programs.PROFILES`.
        least: fewest nodes, in place of the profile's; small examples are found by shrinking.
    """
    program = draw(programs(profile, least=least))
    return Case(
        program=program,
        tokens=tuple(draw(prompts(program, min_length=1 if least == 1 else 8))),
        target=draw(st.sampled_from(TARGET_NAMES)),
        policy=draw(policies()),
    )
