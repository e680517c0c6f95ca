"""The generators have tests of their own: a weak generator makes strong claims cheap."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compiler import ir
from compiler.errors import ConfigError
from compiler.interpreter import interpret
from stability.fuzz import programs, prompts

SAMPLE = settings(
    max_examples=120, phases=(Phase.generate,), database=None, suppress_health_check=list(HealthCheck)
)


@dataclass
class Census:
    """What a sample of drawn cases looks like."""

    nodes: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    chained: list[bool] = field(default_factory=list)
    started: list[bool] = field(default_factory=list)
    varying: list[bool] = field(default_factory=list)


def depth_of_states(program: ir.Program) -> int:
    """The largest number of LinStates on a path of the graph."""
    depth: list[int] = []
    for node in program.nodes:
        below = max((depth[source] for source in ir.sources_of(node)), default=0)
        depth.append(below + isinstance(node, ir.LinState))
    return depth[program.output]


def sample(profile: str) -> Census:
    """Draw a sample of programs and prompts."""
    census = Census()

    @SAMPLE
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        program = data.draw(programs(profile))
        tokens = data.draw(prompts(program))
        states = [node for node in program.nodes if isinstance(node, ir.LinState)]
        census.nodes.append(len(program.nodes))
        census.tokens.append(len(tokens))
        census.chained.append(depth_of_states(program) >= 2)
        census.started.append(any(any(node.initial) and any(node.bias) for node in states))
        census.varying.append(len(set(interpret(program, tokens))) > 1)

    collect()
    return census


@pytest.mark.parametrize("profile", ["stateful", "gated"])
def test_drawn_programs_are_worth_compiling(profile: str) -> None:
    """Drawn programs are large, stateful, biased, started from non-zero states and seldom constant."""
    census = sample(profile)
    share = {
        name: sum(flags) / len(flags)
        for name, flags in vars(census).items()
        if name not in {"nodes", "tokens"}
    }
    assert median(census.nodes) >= 12
    assert min(census.tokens) >= 8
    assert share["chained"] >= 0.3
    assert share["started"] >= 0.5
    assert share["varying"] >= 0.5


def test_gated_programs_hold_products() -> None:
    """Most programs of the profile ``gated`` have a Multi, none of ``stateful`` has."""
    found: list[bool] = []

    @SAMPLE
    @given(programs("gated"))
    def collect(program: ir.Program) -> None:
        found.append(any(isinstance(node, ir.Multi) for node in program.nodes))

    collect()
    assert sum(found) / len(found) >= 0.7


@given(programs("stateful"))
def test_stateful_programs_hold_no_products(program: ir.Program) -> None:
    """The ungated profiles never draw a Multi."""
    assert not any(isinstance(node, ir.Multi) for node in program.nodes)


def test_an_unknown_profile_is_refused() -> None:
    """A profile's name is checked at once, with the choices."""
    with pytest.raises(ConfigError, match="stateful"):
        programs("no such profile")
