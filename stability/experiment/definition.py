"""An experiment: a named set of grids, read from TOML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from stability.experiment.checking import check
from stability.experiment.reading import experiment_text, parse_toml
from stability.experiment.thresholds import Thresholds
from stability.grid import Grid, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is to be measured.

    Attributes:
        name: of the experiment.
        description: one line.
        grids: all their cells are measured, each once.
        thresholds: what counts as drifted, for reports.
        text: the TOML that it was read from.
    """

    name: str
    description: str = ""
    grids: tuple[Grid, ...]
    thresholds: Thresholds = field(default_factory=Thresholds)
    text: str = ""

    def groups(self) -> Iterator[Group]:
        """The cells of all grids; a cell of two grids comes twice."""
        for grid in self.grids:
            yield from grid.groups()

    @property
    def without_noise(self) -> Experiment:
        """The same but for its noisy runs."""
        return replace(self, grids=tuple(grid for grid in self.grids if not grid.noise))

    @property
    def size(self) -> int:
        """Cells, those of two grids counted twice."""
        return sum(grid.size for grid in self.grids)


def load_experiment(name_or_path: str | Path) -> Experiment:
    """An experiment that ships with the package, by name, or a TOML file, by path.

    Raises:
        ExperimentError: everything that is wrong with it, each with file, line, key and way out.
    """
    file, text, folder = experiment_text(name_or_path)
    raw, findings = parse_toml(text, file)
    checked = check(raw, findings, folder)
    return Experiment(
        name=checked.name,
        description=checked.description,
        grids=checked.grids,
        thresholds=checked.thresholds,
        text=text,
    )
