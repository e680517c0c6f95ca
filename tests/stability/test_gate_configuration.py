"""A gate's TOML: what it may say, and that all mistakes are reported at once with their lines."""

from __future__ import annotations

import datetime as dt
import tempfile
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import LsrlError
from stability.experiment.reading import ExperimentError
from stability.gate.configuration import TOP, load_gate
from stability.gate.rules import DEFAULTS
from tests.stability.gates import HEAD, KEYS, gate

WAIVER = """
    [[waivers]]
    target = "lstm"
    measure = ["horizon", "status"]
    reason = "the new layering; see the change log"
    expires = 2026-03-31
"""


def test_rules_have_defaults_and_overrides_in_order(tmp_path: Path) -> None:
    """What is not named has its default; the last override that matches a cell counts."""
    config = gate(
        tmp_path,
        """
        [rules]
        bits = "identical"
        [[overrides]]
        target = "lstm"
        horizon = "off"
        abs_error = "off"
        [[overrides]]
        policy = ["float16", "bfloat16"]
        parameters = { n = 7.0 }
        horizon = "never worse"
        """,
    )
    assert config.rule("bits", KEYS).text == "identical"
    assert config.rule("wrong_share", KEYS).text == DEFAULTS["wrong_share"]
    assert config.rule("horizon", KEYS).text == "never worse"
    assert config.rule("abs_error", KEYS).text == "off"
    assert config.rule("horizon", {**KEYS, "format": "float32"}).text == "off"
    assert config.rule("horizon", {**KEYS, "parameters": "n=8"}).text == "off"
    assert config.rule("horizon", {**KEYS, "target": "gru"}).text == "never worse"


def test_an_experiment_is_named_or_written_in_place(tmp_path: Path) -> None:
    """A shipped name, a file beside the gate and a table of the same keys give the same cells."""
    table = 'programs = ["majority"]\ntargets = ["lstm"]\nlengths = 20\n'
    (tmp_path / "mine.toml").write_text(table, encoding="utf-8")
    named = gate(tmp_path, head='experiment = "mine.toml"\nbaseline = "b.json"\n')
    inside = gate(tmp_path, head=f'baseline = "b.json"\n[experiment]\n{table}')
    assert named.experiment.size == inside.experiment.size > 0
    assert named.baseline == tmp_path / "b.json"
    assert gate(tmp_path).experiment.name == "quick"


def test_a_waiver_holds_through_its_last_day(tmp_path: Path) -> None:
    """On its last day a waiver holds; the day after it is an error that names it and its reason."""
    path = tmp_path / "gate.toml"
    path.write_text(textwrap.dedent(HEAD + WAIVER), encoding="utf-8")
    (waiver,) = load_gate(path, day=dt.date(2026, 3, 31)).waivers
    assert waiver.measures == ("horizon", "status")
    with pytest.raises(ExperimentError) as caught:
        load_gate(path, day=dt.date(2026, 4, 1))
    wanted = (
        "waivers[0]: the waiver of horizon, status for target=lstm expired on 2026-03-31: the new layering"
    )
    assert str(caught.value).startswith(f"{path}:5:1: {wanted}")


def test_all_mistakes_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    """One error names every mistake, each with its line, key and way out."""
    text = """\
        baseline = "gate.txt"
        rule = 1
        [experiment]
        programs = ["majority"]
        targets = ["lstmm"]
        [rules]
        horizons = "off"
        bits = "never worse"
        status = 3
        [[overrides]]
        horizon = "off"
        [[overrides]]
        target = "lstm"
        [[overrides]]
        policy = "float16"
        format = "float32"
        horizon = "off"
        [[waivers]]
        target = 5
        measure = "finite"
        [[waivers]]
        parameters = { n = "many" }
        reason = " "
        measure = "horizon"
        expires = "tomorrow"
    """
    with pytest.raises(ExperimentError) as caught:
        gate(tmp_path, head=text)
    said = str(caught.value)
    for line, words in [
        (1, "baseline = 'gate.txt': a baseline is JSON"),
        (2, "rule: unknown key (did you mean rules?"),
        (5, "targets"),
        (7, "rules.horizons: unknown key (did you mean horizon?"),
        (8, "rules.bits = 'never worse': no rule for bits"),
        (9, "rules.status = 3: it has to be a string"),
        (10, "overrides[0]: it selects no cells"),
        (12, "overrides[1]: it changes no rule"),
        (16, "overrides[2].format: policy and format are the same"),
        (19, "waivers[0].target = 5: it has to be a string"),
        (20, "waivers[0].measure = 'finite': no measure"),
        (18, "waivers[0]: a waiver without a reason"),
        (18, "waivers[0].expires: a waiver needs its last day"),
        (22, "waivers[1].parameters.n = 'many': it has to be a finite number"),
        (21, "waivers[1]: a waiver without a reason"),
        (25, "waivers[1].expires: a waiver needs its last day"),
    ]:
        assert any(f"gate.toml:{line}:" in each and words in each for each in said.splitlines()), words


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("", "a gate needs an experiment"),
        ('experiment = "quick"', "a gate needs a baseline"),
        ('experiment = "no-such"\nbaseline = "a.json"', "unknown experiment"),
        ('experiment = "none.toml"\nbaseline = "a.json"', "there is no such file"),
        ("experiment = 3\nbaseline = 4", "baseline = 4: it has to be a string"),
        ('experiment = "quick"\nbaseline = "a.json"\nrules = 3', "rules = 3: it has to be a table"),
        ('experiment = "quick"\nbaseline = "a.json"\nwaivers = "x"', "waivers = 'x': it has to be a table"),
    ],
)
def test_what_is_missing_is_asked_for(tmp_path: Path, head: str, words: str) -> None:
    """A gate without an experiment or a baseline, or with other values than tables, says so."""
    with pytest.raises(ExperimentError, match=words):
        gate(tmp_path, head=head)


def test_only_toml_is_read(tmp_path: Path) -> None:
    """Another ending and a missing file are one clear error each."""
    with pytest.raises(ExperimentError, match="is no gate's configuration"):
        load_gate(tmp_path / "gate.json")
    with pytest.raises(ExperimentError, match="there is no such file"):
        load_gate(tmp_path / "gate.toml")


VALUES = st.recursive(
    st.sampled_from(
        ['"off"', '"lstm"', "3", "1e400", "nan", "true", "2020-01-01", '"\\u0000"', "[]", "{}", "''"]
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]"),
    max_leaves=4,
)  # fmt: skip
NAMES = st.sampled_from(
    [*TOP, "target", "horizon", "bits", "measure", "reason", "expires", "programs", "parameters", "zzz"]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6, unique_by=lambda pair: pair[0]),
       st.sampled_from(["", "[rules]", "[[overrides]]", "[[waivers]]", "[experiment]"]))  # fmt: skip
def test_no_text_ends_in_another_exception(pairs: list[tuple[str, str]], header: str) -> None:
    """Whatever keys hold, a configuration is read or refused by an error of ours."""
    lines = [f"{name} = {value}" for name, value in pairs]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gate.toml"
        path.write_text("\n".join([*lines[:3], header, *lines[3:]]), encoding="utf-8")
        refusal = None
        try:
            found = load_gate(path)
        except LsrlError as problem:
            refusal = problem
        assert found.rules if refusal is None else str(refusal)
