"""Noisy runs as cells of a grid: one row of :mod:`stability.noise` for each.

A cell with noise shares its setup and its model with the cells that drift is measured on; its
prompt is that of ``lsrl noise``, and its truth the program's oracle.
"""

from __future__ import annotations

from compiler.errors import LsrlError
from stability.cells import Bench, Member, Noise, Record, Setup, failed, keys
from stability.noise import Plan, Question, failed_run, noisy_runs, question


def measure(bench: Bench, member: Member) -> list[Record]:
    """The rows of one cell, with noise or without.

    Raises:
        LsrlError: the cell cannot be compiled or run.
    """
    noise = member.noise
    if noise is None:
        return bench.measure(member)
    setup = bench.setup
    asked = bench.once(_question)
    plan = Plan(
        sigmas=(noise.sigma,),
        kind=noise.kind,
        include=noise.include,
        states=noise.states,
        format=member.format,
        engine=member.engine if noise.states == "free" else None,
    )
    found = noisy_runs(plan, bench.model(member), setup.seed, asked)
    return [_keys(setup, member, noise) | each for each in found]


def refused(bench: Bench, member: Member, problem: LsrlError) -> Record:
    """The row of a cell that could not be compiled or run."""
    if member.noise is None:
        return bench.failure(member, problem)
    return lost(bench.setup, member, str(problem))


def lost(setup: Setup, member: Member, reason: str) -> Record:
    """The row of a cell whose computation came to nothing."""
    if member.noise is None:
        return failed(keys(setup, setup.settled, member), reason)
    return _keys(setup, member, member.noise) | failed_run(member.noise.sigma, reason)


def _question(setup: Setup) -> Question:
    return question(setup.subject, setup.seed, setup.length)


def _keys(setup: Setup, member: Member, noise: Noise) -> Record:
    return {
        "program": setup.subject.name,
        "parameters": setup.subject.parameter_text,
        "target": member.target,
        "activation": member.activation,
        "format": member.format.name,
        "config": setup.config_name,
        "conditional": setup.conditional,
        "kind": noise.kind,
        "include": "+".join(noise.include),
        "states": noise.states,
        "seed": setup.seed,
        "length": setup.length,
    }
