"""Decision margins: found for every comparison, right by hand, and a warning before the horizon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gmpy2 import mpq

from compiler.compiling import compile_lowered, settle
from compiler.config import CompileConfig, Step
from compiler.errors import ConfigError
from compiler.exact import ZERO
from compiler.library import LIBRARY
from compiler.lowering import Lowered, lower
from compiler.model import exact_tokens
from stability.formats import parse_format
from stability.margins import _Values, coarsest, comparisons, margin_table, margins
from stability.measures import first_true
from stability.policy import parse_policy
from stability.running import execute
from stability.state_truth import StateTruth, state_truth
from stability.subject import Subject, subject

LATE = """param limit = 5
ForEach:
    token = Input(dim=1, lo=0, hi=1, integer=true)
    count = LinState(token, A=eye(1), B=zeros(1, 1), b=ones(1, 1), init_state=zeros(1, 1))
    late = f_larger(count, limit + 0.5, mu=2)
    return late
"""


def program(tmp_path: Path, text: str, **parameters: str) -> Subject:
    """A program of one's own."""
    path = tmp_path / "mine.lsrl"
    path.write_text(text)
    return subject(str(path), parameters)


def studied(what: Subject, length: int, config: CompileConfig | None = None) -> tuple[Lowered, StateTruth]:
    """A program with its truth."""
    lowered = lower(what.source, settle(config or CompileConfig(), "lstm"))
    return lowered, state_truth(lowered, what.prompt(0, length))


@pytest.mark.parametrize("form", ["clip", "paper"])
def test_margins_are_those_by_hand(form: Step, tmp_path: Path) -> None:
    """Of f_step(count − 5.5) with μ = 2 in float16, every number of every step is that by hand."""
    lowered, truth = studied(program(tmp_path, LATE), 20, CompileConfig(step=form))
    rows = margins(lowered, truth, parse_format("float16"), steps=np.arange(20))
    assert len(rows) == 20
    assert set(zip(rows["variable"], rows["line"], strict=True)) == {("late", 5)}
    for row in rows.to_dict("records"):
        position = 2 * (row["step"] + 1) - 11
        largest = max(2 * (row["step"] + 1), 11)
        spacing = float(np.spacing(np.float16(largest)))
        assert (row["position"], row["largest_term"]) == (position, largest)
        assert row["ramp_ulps"] == max(-position, position - 1, 0) / spacing
        assert row["flip_ulps"] == abs(position - 0.5) / spacing


def test_a_counter_warns_before_its_horizon(tmp_path: Path) -> None:
    """Counting to 3,000 in float16: the comparison warns before the first wrong token; float32 never does."""
    what = program(tmp_path, LATE, limit="3000")
    lowered, truth = studied(what, 3200)
    model = compile_lowered(lowered, "lstm")
    table = margin_table(margins(lowered, truth, parse_format("float16"), steps=truth.steps))
    wrong = what.judge()(execute(model, truth.tokens, "float16").outputs, truth.reference.rounded)
    horizon = first_true(wrong)
    assert horizon is not None
    assert table["warns"][0] <= horizon
    assert table["flip_ulps"][0] == 0.125
    fine = margin_table(margins(lowered, truth, parse_format("float32"), steps=truth.steps))
    assert fine["warns"].isna().all()


@pytest.mark.parametrize("name", ["dictionary", "continuous", "modulo", "majority", "parity"])
@pytest.mark.parametrize("form", ["clip", "paper"])
def test_values_of_a_step_are_exact(name: str, form: Step) -> None:
    """From the token and the true states, everything else of a step is computed as the program does."""
    lowered, truth = studied(subject(name), 30, CompileConfig(step=form))
    output = lowered.graph.forms[lowered.program.output]
    tokens = exact_tokens([list(row) for row in truth.tokens], truth.tokens.shape[1])
    for step in range(30):
        values = _Values(
            lowered.graph, tokens[step], dict(zip(truth.symbols, truth.exact[step], strict=True))
        )
        for form_of_output, wanted in zip(output, truth.reference.outputs[step], strict=True):
            found = form_of_output.shift + sum((f * values.of(s) for s, f in form_of_output.terms), ZERO)
            assert abs(found - wanted) < mpq(1, 2**90)


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_the_comparisons_of_the_library_saturate(name: str) -> None:
    """Where every comparison of a program saturates, each is found and is never inside its ramp."""
    lowered, truth = studied(subject(name), 40)
    rows = margins(lowered, truth, parse_format("float32"))
    whole = ~((rows["position"] > 0) & (rows["position"] < 1))
    if not any(note.kind in {"ramp", "unsaturated"} for note in lowered.notes):
        assert whole.all()
    steps = {
        "f_step",
        "f_larger",
        "f_smaller",
        "f_and",
        "f_or",
        "f_eq",
        "f_neq",
        "f_bump",
        "f_modulo_counter",
    }
    called = any(getattr(node, "kind", "") in steps for node in subject(name).source.nodes)
    assert bool(comparisons(lowered)) >= called


def test_ramps_that_are_written_out_are_found(tmp_path: Path) -> None:
    """ReLU(1 − ReLU(4x)), and f_int_ge, are ramps like any other."""
    text = (
        "ForEach:\n    x = Input(dim=1, lo=-2, hi=2, integer=true)\n"
        "    low = ReLU(1 - ReLU(4 * x))\n    return low + f_int_ge(x, 2)\n"
    )
    found = comparisons(studied(program(tmp_path, text), 5)[0])
    assert [(each.span.line if each.span else None) for each in found] == [3, 4]
    assert [each.position.shift for each in found] == [0, -1]


def test_the_coarsest_place_of_a_policy_counts() -> None:
    """Wide sums do not help what units hand on in a narrow format; exact values have no ulps."""
    for name, coarse in (
        ("float16", "float16"), ("float16-acc32", "float16"), ("float16-state32", "float16"),
        ("float32,state=float16", "float16"), ("exact,accumulator=float32", "float32"),
    ):  # fmt: skip
        assert coarsest(parse_policy(name)).name == coarse
    with pytest.raises(ConfigError, match="no ulps"):
        coarsest(parse_policy("exact"))


def test_a_program_that_decides_nothing_has_no_margins(tmp_path: Path) -> None:
    """Without comparisons the tables are empty."""
    text = "ForEach:\n    x = Input(dim=1, lo=0, hi=1)\n    return ReLU(x - 1/2)\n"
    lowered, truth = studied(program(tmp_path, text), 5)
    rows = margins(lowered, truth, parse_format("float16"))
    assert rows.empty
    assert margin_table(rows).empty
