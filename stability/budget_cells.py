"""The error budgets of cells: which place of rounding makes how much of the error, by itself.

A budget is told in columns beside those of :mod:`stability.cells`, the same on each row of a cell:

``budget_step``         the sampled step at which the error of the run is largest
``budget_error``        that error, of the output component that is farthest off
``budget_SOURCE``       the error at that step of a run in which the source alone rounds
``budget_unexplained``  what the signed errors of all sources leave of the run's
``horizon_SOURCE``      the first wrong step of such a run, if it has one

The sources are those of :data:`stability.budget.LONE`.  All else is float64 in these runs, so
budgets are told of formats of at most 26 bits; of others, and of cells without a result, nothing is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError, LsrlError
from compiler.model import Model
from stability.budget import ALL, LONE, UNEXPLAINED, error_budget, in_floats, lone_outputs
from stability.cells import Bench, Member, Record
from stability.engines.registry import default_engine
from stability.measures import first_true, sample_steps
from stability.orders import execute_in_order, parse_order
from stability.policy import AnyPolicy

ENGINES = ("native", "scalar")
"""Those that compute in every policy."""
STEP, ERROR, REST = "budget_step", "budget_error", f"budget_{UNEXPLAINED}"
BUDGET = (
    {STEP: "Int64", ERROR: "float64"}
    | {f"budget_{source}": "float64" for source in LONE}
    | {REST: "float64"}
    | {f"horizon_{source}": "Int64" for source in LONE}
)
"""The columns of a budget, with pandas types."""


def check_budget(engine: str | None) -> None:
    """Refuse engines that do not compute in every policy.

    Raises:
        ConfigError: it does not.
    """
    if engine is not None and engine not in ENGINES:
        raise ConfigError.single(
            f"no error budget with engine {engine!r}, which does not take policies",
            hint="leave --engine out, or choose " + " or ".join(ENGINES),
        )


def budget_record(bench: Bench, member: Member) -> Record:
    """The columns :data:`BUDGET` of one cell; empty where it has no budget."""
    blank: Record = dict.fromkeys(BUDGET)
    if not in_floats(member.format):
        return blank
    try:
        return blank | _budget(bench, member)
    except LsrlError:
        return blank  # its row says why it has no result


def _budget(bench: Bench, member: Member) -> Record:
    truth, order = bench.truth, parse_order(member.order)
    engine = None if member.engine == default_engine(member.format) else member.engine

    def run(model: Model, tokens: npt.NDArray[Any], policy: AnyPolicy) -> npt.NDArray[Any]:
        return execute_in_order(model, tokens, policy, order, engine=engine).outputs

    outputs = lone_outputs(bench.model(member), truth.tokens, member.format, run=run)
    horizons = {
        source: first_true(truth.judge(values, truth.reference.rounded)) for source, values in outputs.items()
    }
    special = [step for step in horizons.values() if step is not None]
    steps = np.unique(np.append(sample_steps(len(truth.tokens)), special).astype(np.int64))
    table = error_budget(outputs, truth.reference.outputs, steps).set_index(["source", "step"])["abs_error"]
    worst = int(steps[table[ALL].to_numpy().argmax()])
    errors = {str(source): float(error) for source, error in table.xs(worst, level="step").items()}
    lone = [source for source in outputs if source != ALL]
    return {
        STEP: worst,
        ERROR: errors[ALL],
        REST: errors[UNEXPLAINED],
        **{f"budget_{source}": errors[source] for source in lone},
        **{f"horizon_{source}": horizons[source] for source in lone},
    }
