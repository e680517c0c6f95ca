"""The program library: programs by name, each with its oracle, prompts and decoder.

The sources stand beside them as ``compiler/programs/*.lsrl``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from compiler.errors import ConfigError
from compiler.programs import (
    balanced,
    continuous,
    copy_delay,
    dictionary,
    dictionary_exact,
    icl_regression,
    linear_attention,
    majority,
    modulo,
    most_recent_key,
    parity,
)
from compiler.programs.base import LibraryProgram

__all__ = ["LIBRARY", "LibraryProgram", "library_program"]

LIBRARY: Mapping[str, LibraryProgram] = MappingProxyType(
    {
        program.name: program
        for program in (
            majority.PROGRAM,
            continuous.PROGRAM,
            dictionary.PROGRAM,
            dictionary_exact.PROGRAM,
            linear_attention.PROGRAM,
            icl_regression.PROGRAM,
            copy_delay.PROGRAM,
            modulo.PROGRAM,
            parity.PROGRAM,
            balanced.PROGRAM,
            most_recent_key.PROGRAM,
        )
    }
)


def library_program(name: str) -> LibraryProgram:
    """The library program of this name.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    found = LIBRARY.get(name)
    if found is None:
        raise ConfigError.single(f"no program {name!r} in the library", hint="one of " + ", ".join(LIBRARY))
    return found
