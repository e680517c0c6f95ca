"""Random cases: a program, a prompt for it, and how it is run."""

from __future__ import annotations

from hypothesis import strategies as st

from compiler.compiling import TARGET_NAMES
from stability.corpus.case import Case
from stability.fuzz.policies import policies
from stability.fuzz.programs import programs
from stability.fuzz.prompts import prompts


@st.composite
def cases(
    draw: st.DrawFn, profile: str, *, least: int | None = None, target: str | None = None,
    policy: str | None = None,
) -> Case:  # fmt: skip
    """A program of a profile, a prompt for it, a target and a policy.

    Args:
        draw: from Hypothesis.
        profile: a name of :data:`stability.fuzz.programs.PROFILES`.
        least: fewest nodes, in place of the profile's; small examples are found by shrinking.
        target: in place of a random one.
        policy: in place of a random one.
    """
    program = draw(programs(profile, least=least))
    return Case(
        program=program,
        tokens=tuple(draw(prompts(program, min_length=1 if least == 1 else 8))),
        target=draw(st.sampled_from(TARGET_NAMES)) if target is None else target,
        policy=draw(policies()) if policy is None else policy,
    )
