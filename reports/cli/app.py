"""The commands of ``lsrl``, and what every failure of theirs looks like.

Exit status: 0 done, 2 a user's mistake (one line for each on stderr), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from compiler.errors import LsrlError
from compiler.selfcheck import CompilerBugError
from reports.cli import (
    check,
    drift,
    experiment,
    explain,
    fuzz,
    gate,
    golden,
    noise,
    programs,
    report,
    run,
    score,
    show,
    verify,
)
from reports.cli import compile as compiling
from reports.text import plain

COMPILER_BUG, USER_ERROR, INTERRUPTED = 1, 2, 130


class _Guarded(TyperGroup):
    """Turns what users and machines do wrong into one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; every LsrlError, OSError and interruption ends in a line and a status."""
        try:
            return super().invoke(ctx)
        except CompilerBugError as problem:
            _fail([str(diagnostic) for diagnostic in problem.diagnostics], COMPILER_BUG)
        except LsrlError as problem:
            _fail([str(diagnostic) for diagnostic in problem.diagnostics])
        except BrokenPipeError:
            # The reader has gone: what is still buffered must not fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _fail(["the output was closed before everything was written"])
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename is not None else ""
            _fail([f"{where}{problem.strerror or problem}"])
        except MemoryError:
            _fail(["not enough memory (take a shorter prompt or a smaller parameter)"])
        except RecursionError:
            _fail(["the input is nested too deeply"])
        except KeyboardInterrupt:
            _fail(["interrupted"], INTERRUPTED)


def _fail(lines: list[str], status: int = USER_ERROR) -> NoReturn:
    for line in lines:
        typer.echo(f"error: {plain(line)}", err=True)
    raise typer.Exit(status)


app = typer.Typer(
    name="lsrl",
    cls=_Guarded,
    help="Compile LSRL programs exactly into recurrent networks and measure how they drift.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("programs")(programs.programs)
app.command("show")(show.show)
app.command("check")(check.check_command)
app.command("compile")(compiling.compile_command)
app.command("run")(run.run_command)
app.command("drift")(drift.drift_command)
app.add_typer(experiment.app)
app.command("fuzz")(fuzz.fuzz_command)
app.command("report")(report.report_command)
app.command("gate")(gate.gate_command)
app.command("noise")(noise.noise_command)
app.command("golden")(golden.golden_command)
app.command("score")(score.score_command)
app.command("explain")(explain.explain_command)
app.command("verify")(verify.verify_command)


def main() -> None:
    """Entry point of the command ``lsrl``."""
    app(prog_name="lsrl")
