"""Errors a user can act on: what is wrong, where, and the way out.

Every failure that a program, a configuration, a token file or a model file can
cause is an :class:`LsrlError`.  It carries one or more :class:`Diagnostic`
records, so that a front end can report all the mistakes of a program at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span:
    """A place in a source file (``line`` and ``column`` count from 1)."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding: the message, where it applies, and how to get out of it."""

    message: str
    span: Span | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = f"{self.span}: " if self.span is not None else ""
        way_out = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{way_out}"


class LsrlError(ValueError):
    """Base of every error that a user's input can cause.

    Args:
        diagnostics: the findings, in source order; at least one.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in self.diagnostics))

    def __reduce__(self) -> tuple[type[LsrlError], tuple[tuple[Diagnostic, ...]]]:
        """Between processes the diagnostics travel, not their text."""
        return type(self), (self.diagnostics,)

    @classmethod
    def single(cls, message: str, *, span: Span | None = None, hint: str | None = None) -> LsrlError:
        """An error of this class with one diagnostic."""
        return cls([Diagnostic(message=message, span=span, hint=hint)])


class ProgramError(LsrlError):
    """The program itself is wrong: syntax, dimensions, cycles, constants."""


class CompileRefusal(LsrlError):  # noqa: N818 -- a refusal is an answer, not a failure
    """A correct program that this target or configuration cannot carry exactly."""


class ConfigError(LsrlError):
    """An unknown or contradictory option, target, format, name or parameter."""


class TokenError(LsrlError):
    """Prompt tokens of the wrong width, or not finite, or not numbers."""


class ModelFileError(LsrlError):
    """A model file that is damaged, inconsistent or of an unknown schema."""


class BudgetError(LsrlError):
    """Exact arithmetic would grow past its bit budget."""
