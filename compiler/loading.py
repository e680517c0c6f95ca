"""Find and read programs: those of the library by name, a user's by path."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources
from pathlib import Path

from compiler import ir
from compiler.errors import ConfigError, ProgramError, Span
from compiler.exact import Number
from compiler.text import parse_program
from compiler.text.scan import MAX_BYTES

SUFFIX = ".lsrl"


@cache
def library_names() -> tuple[str, ...]:
    """The programs that come with the package, sorted."""
    folder = resources.files("compiler") / "programs"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))
    )


def load_program(name_or_path: str | Path, /, **parameters: Number) -> ir.Program:
    """The program of a library name or of a ``.lsrl`` file, with its parameters set.

    Args:
        name_or_path: a name of :func:`library_names`, or a path that ends in ``.lsrl``.
        parameters: values that override ``param`` lines, exact: ``n=10``, ``delta="1/3"``.

    Raises:
        ConfigError: neither a name of the library nor a file, or an unknown parameter.
        ProgramError: the file cannot be read, or the program is wrong.
    """
    file, text = program_text(name_or_path)
    return parse_program(text, file=file, parameters=parameters)


def program_text(name_or_path: str | Path) -> tuple[str, str]:
    """The file name and the text of a program of the library, or of a ``.lsrl`` file.

    Raises:
        ConfigError: neither a name of the library nor a file.
        ProgramError: the file cannot be read.
    """
    name = str(name_or_path)
    if name in library_names():
        source = resources.files("compiler") / "programs" / f"{name}{SUFFIX}"
        return f"{name}{SUFFIX}", source.read_text(encoding="utf-8")
    path = Path(name_or_path)
    if path.suffix != SUFFIX:
        raise _unknown(name)
    return path.name, _read(path)


def _unknown(name: str) -> ConfigError:
    close = difflib.get_close_matches(name[:60], library_names(), n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    hint += f"the programs are listed by `lsrl programs`; a file's name ends in {SUFFIX}"
    error = ConfigError.single(f"unknown program {name[:60]!a}", hint=hint)
    assert isinstance(error, ConfigError)
    return error


def _read(path: Path) -> str:
    """A file's text, its size checked before a byte is read."""
    span = Span(file=str(path), line=1)
    try:
        if not path.is_file():
            raise ProgramError.single("there is no such file", span=span, hint="check the path")
        size = path.stat().st_size
        if size > MAX_BYTES:
            message = f"the program has {size:,} bytes, more than {MAX_BYTES:,}"
            raise ProgramError.single(message, span=span, hint="split it")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        return content.decode("utf-8")
    except UnicodeDecodeError as problem:
        message = f"byte {problem.start} is not UTF-8"
        raise ProgramError.single(message, span=span, hint="save the file as UTF-8 text") from None
    except OSError as problem:
        reason = problem.strerror or "it cannot be read"
        raise ProgramError.single(
            f"cannot read the file: {reason}", span=span, hint="check the path"
        ) from None
