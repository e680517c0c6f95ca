"""The budgets of cells: told beside the drift of the run that they explain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compiler.errors import ConfigError
from stability import drift, execute
from stability.budget import LONE, in_floats, lone_policies
from stability.budget_cells import BUDGET, ERROR, REST, STEP
from stability.cells import COLUMNS, Bench, Member
from stability.grid import Grid, named_config
from stability.policy import parse_policy
from stability.subject import subject

LATE = """ForEach:
    token = Input(dim=1, lo=0, hi=1, integer=true)
    count = LinState(token, A=eye(1), B=zeros(1, 1), b=ones(1, 1), init_state=zeros(1, 1))
    late = f_larger(count, 3000.5)
    return late
"""


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A counter to 3,000 in several formats, one row per cell."""
    path = tmp_path_factory.mktemp("budget") / "late.lsrl"
    path.write_text(LATE)
    frame = drift(
        [str(path)], targets=["gru"], configs=["stable"], length=3100, budget=True, jobs=1,
        formats=["float16", "float16-acc32", "float16-state32", "float32", "float64", "mpmath5"],
    )  # fmt: skip
    assert list(frame.columns) == [*COLUMNS, *BUDGET]
    assert {name: str(kind) for name, kind in frame[list(BUDGET)].dtypes.items()} == BUDGET
    return frame.drop_duplicates(["target", "format"]).set_index(["target", "format"])


def test_each_place_that_stops_a_counter_is_named(late: pd.DataFrame) -> None:
    """In float16 sums, state and activations each stop it alone; with acc32 the sums do not, nor state32."""
    cells = late.reset_index()
    rows = cells[cells["target"] == "gru"].set_index("format").to_dict("index")
    stopping = {
        name: {source for source in LONE if pd.notna(rows[name][f"horizon_{source}"])}
        for name in ("float16", "float16-acc32", "float16-state32", "float32")
    }
    assert stopping == {
        "float16": {"accumulation", "state", "activations"},
        "float16-acc32": {"state", "activations"},
        "float16-state32": {"activations"},
        "float32": set(),
    }
    row = rows["float16"]
    assert {row[f"horizon_{source}"] for source in stopping["float16"]} == {3000}
    assert (row[STEP], row[ERROR], row["budget_state"], row["budget_readout"], row[REST]) == (
        3000,
        1,
        1,
        0,
        2,
    )


def test_what_is_not_much_coarser_than_float64_has_no_budget(late: pd.DataFrame) -> None:
    """Float64 and mpmath formats have empty columns; that of float32 is there, and nothing is wrong."""
    for name in ("float64", "mpmath5"):
        assert late.loc[("gru", name), list(BUDGET)].isna().all()
        assert not in_floats(parse_policy(name))
    assert late.loc[("gru", "float32"), ERROR] == 0


def test_a_budget_is_that_of_lone_runs() -> None:
    """Run by hand, the policy of each place gives the error that the budget tells."""
    policy = parse_policy("float16")
    frame = drift(
        ["continuous"], targets=["lstm"], formats=["float16"], conditionals=["optimized"], configs=["stable"],
        length=150, budget=True, jobs=1,
    )  # fmt: skip
    row = frame[frame["target"] == "lstm"].iloc[0]
    grid = Grid(
        subjects=(subject("continuous"),), configs=(named_config("stable"),), conditionals=("optimized",),
        targets=("lstm",), formats=(policy,), lengths=(150,),
    )  # fmt: skip
    bench = Bench(next(grid.groups()).setup)
    model = bench.model(Member(target="lstm", format=policy, engine="native"))
    step, truth = int(row[STEP]), bench.truth
    true = np.array([[float(value) for value in rows] for rows in truth.reference.outputs])

    def error(number_format: object) -> float:
        outputs = execute(model, truth.tokens, number_format).outputs.astype(np.float64)  # type: ignore[arg-type]
        return float(np.abs(outputs - true)[step].max())

    assert row[ERROR] == pytest.approx(error(policy), rel=1e-9)
    assert row[ERROR] == np.nanmax(frame.loc[frame["target"] == "lstm", "abs_error"])
    for source, lone in lone_policies(policy).items():
        assert row[f"budget_{source}"] == pytest.approx(error(lone), rel=1e-6, abs=1e-15)


def test_a_cell_without_a_result_has_no_budget(tmp_path: Path) -> None:
    """What is refused keeps its error and has empty columns; every other cell has its budget."""
    frame = drift(
        ["continuous"], targets=["relu_rnn"], formats=["float16"], conditionals=["multiplicative"],
        configs=["stable"], length=20, budget=True, jobs=1,
    )  # fmt: skip
    refused = frame["error"] != ""
    assert refused.any()
    assert frame.loc[refused, list(BUDGET)].isna().all(axis=None)
    assert frame.loc[~refused, STEP].notna().all()


def test_an_engine_of_few_formats_is_refused() -> None:
    """Engines that nobody here wrote compute in their own formats, so they have no budget."""
    with pytest.raises(ConfigError, match="no error budget with engine 'onnxruntime'"):
        drift(["majority"], engine="onnxruntime", budget=True)
