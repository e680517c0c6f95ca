"""``lsrl report``: a store of experiments as a page, a summary, a table and charts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from compiler.errors import ConfigError
from reports.cli import options
from reports.cli.drift import progress_on
from reports.cli.terminal import console_of
from reports.text import plain
from stability.drift import Progress
from stability.experiment import read_noise as read_store_noise
from stability.experiment import read_store
from stability.experiment.store import DAMAGED, EXPERIMENTS, SCHEMAS

Stored = Annotated[Path, typer.Argument(metavar="STORE", help="a folder of: lsrl experiment run … -o STORE")]
Other = Annotated[
    Path | None, typer.Argument(metavar="[STORE2]", help="another store, to hold the first against")
]


def report_command(
    store: Stored,
    other: Other = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="folder of the report")
    ] = Path("report"),
    noise: Annotated[
        Path | None,
        typer.Option(
            "--noise",
            metavar="FILE",
            help="a table of: lsrl noise … -o DIR, shown beside the noisy runs of STORE "
            "(default: noise.parquet or noise.csv in STORE)",
        ),
    ] = None,
    charts: Annotated[
        bool, typer.Option("--charts/--no-charts", help="also write every chart as SVG and PNG")
    ] = True,
) -> None:
    """Report what a store holds: index.html, which opens offline, summary.md, horizons.csv and charts/.

    Given STORE2, it also says in which cells STORE does better and in which worse.
    """
    # Charts and tables take most of the time that the command line needs to start.
    from reports.store_noise import joined  # noqa: PLC0415
    from reports.store_reading import experiments_of, noise_in, read_noise  # noqa: PLC0415
    from reports.store_report import report_name, store_report  # noqa: PLC0415
    from reports.store_terminal import print_store  # noqa: PLC0415
    from reports.store_writing import CHARTS, write_store_report  # noqa: PLC0415

    _check(output, [each for each in (store, other) if each is not None])
    notes: list[str] = []
    frame = read_store(store, complain=notes.append)
    beside = None if other is None else (report_name(other), read_store(other, complain=notes.append))
    table = noise_in(store) if noise is None else noise
    noisy = [read_store_noise(store, complain=notes.append)]
    if table is not None:
        noisy.append(read_noise(table))
    folder = options.writable_folder(output)
    with _progress() as progress:
        report = store_report(
            report_name(store), frame, experiments_of(store), notes=notes, noise=joined(noisy), other=beside,
            progress=progress,
        )  # fmt: skip
    written = write_store_report(report, folder, pictures=charts)
    console = console_of(sys.stdout)
    print_store(console, report)
    tell = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    tell()
    for path in (path for path in written if path.parent == folder):
        tell(plain(path))
    drawn = sum(path.parent.name == CHARTS for path in written)
    if drawn:
        tell(f"{plain(folder / CHARTS)}  {drawn} files, the charts as the page shows them first")


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar on a terminal; nothing where there is none, since reports take seconds, mostly."""
    console = console_of(sys.stderr)
    if not console.is_terminal:
        yield None
        return
    with progress_on(console) as bar:
        yield bar


def _check(output: Path, stores: list[Path]) -> None:
    """Refuse to write among the cells of a store."""
    for store in stores:
        own = [store, *(store / name for name in (*SCHEMAS, EXPERIMENTS, DAMAGED))]
        if output.resolve() in [each.resolve() for each in own]:
            raise ConfigError.single(
                f"-o {output} is a folder of the store itself", hint="choose another place with -o"
            )
