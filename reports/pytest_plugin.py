"""The regression gate as a pytest plugin: the fixture ``precision_gate``, the option ``--precision-gate``.

``pytest --precision-gate gate.toml`` runs the gate as one more test.  In a test of your own::

    def test_nothing_drifts_more(precision_gate):
        precision_gate("gate.toml")

A regression, a baseline that does not fit and an inconclusive run fail the test, with the
messages of ``lsrl gate``.
"""

# Nothing heavy is imported here: pytest loads this module whenever it runs.
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stability.gate import Comparison

OPTION = "--precision-gate"


class PrecisionGate:
    """Runs gates, each configuration once per session.

    Args:
        root: where the paths of configurations begin.
        chosen: by the option, if it was given.
    """

    def __init__(self, root: Path, chosen: Path | None) -> None:
        self._root, self._chosen = root, chosen
        self._done: dict[Path, tuple[Comparison, list[str]]] = {}

    def __call__(self, config: str | Path | None = None, *, jobs: int | None = None) -> Comparison:
        """Run a gate; fail the test that asks unless it passes.

        Args:
            config: the gate's TOML file, from pytest's root folder; default: that of the option
                (without which the test is skipped).
            jobs: processes; default: one per core, and one where pytest-xdist runs.

        Returns:
            What was found.

        Raises:
            LsrlError: the configuration or the baseline is wrong.
        """
        if config is None and self._chosen is None:
            pytest.skip(f"no gate was named: run pytest with {OPTION} CONFIG")
        path = self._chosen if config is None else self._root / config
        assert path is not None
        if path not in self._done:
            self._done[path] = _run(path, jobs)
        comparison, told = self._done[path]
        if comparison.outcome != "pass":
            pytest.fail("\n".join(told), pytrace=False)
        return comparison


def _run(path: Path, jobs: int | None) -> tuple[Comparison, list[str]]:
    # importing these takes seconds, and most runs of pytest have no gate
    from reports.gate_outputs import lines  # noqa: PLC0415
    from stability.gate import (  # noqa: PLC0415
        compare,
        fresh_cells,
        load_gate,
        read_baseline,
        sources,
        with_corpus,
    )
    from stability.gate.blaming import with_first_drifts  # noqa: PLC0415

    gate = load_gate(path)
    baseline = read_baseline(gate.baseline)
    if jobs is None and "PYTEST_XDIST_WORKER" in os.environ:
        jobs = 1
    fresh = fresh_cells(gate.experiment, jobs=jobs)
    comparison = with_first_drifts(compare(gate, baseline, fresh), gate.experiment)
    comparison = with_corpus(comparison, gate.corpus)
    return comparison, lines(comparison, sources(gate.experiment, gate.corpus))


class GateItem(pytest.Item):
    """The test that ``--precision-gate`` adds."""

    def runtest(self) -> None:
        """Run the gate of the option."""
        gate_of(self.config)()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:  # noqa: ARG002 -- pytest gives it
        """The messages alone: nobody wants the stack of a gate."""
        from compiler.errors import LsrlError  # noqa: PLC0415 -- as above

        if isinstance(excinfo.value, LsrlError | pytest.fail.Exception):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[str, None, str]:
        """Where it comes from."""
        return str(self.config.getoption(OPTION)), None, self.name


_GATE = pytest.StashKey[PrecisionGate]()


def gate_of(config: pytest.Config) -> PrecisionGate:
    """The gates of a session."""
    if _GATE not in config.stash:
        given: str | None = config.getoption(OPTION)
        chosen = None if given is None else config.invocation_params.dir / given
        config.stash[_GATE] = PrecisionGate(config.rootpath, chosen)
    return config.stash[_GATE]


@pytest.fixture(scope="session")
def precision_gate(pytestconfig: pytest.Config) -> PrecisionGate:
    """A regression gate: ``precision_gate("gate.toml")`` fails the test unless it passes."""
    return gate_of(pytestconfig)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("lsrl-stability")
    group.addoption(OPTION, metavar="CONFIG", default=None, help="run this regression gate as one more test")


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the test of the option."""
    given = config.getoption(OPTION)
    if given is not None:
        name = "precision-gate"
        items.append(GateItem.from_parent(session, name=name, nodeid=f"{given}::{name}"))
