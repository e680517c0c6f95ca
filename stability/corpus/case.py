"""A case: a program, a prompt, and how the program is run."""

from __future__ import annotations

from dataclasses import dataclass

from compiler import ir
from compiler.exact import Vector


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
