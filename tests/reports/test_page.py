"""The written report: complete, offline, escaped, and replaced as a whole."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from reports.findings import find
from reports.plots import pictures
from reports.summary import print_summary
from reports.tables import cells_of, grouped, horizon_text, share_text
from reports.writing import write_report
from tests.reports.frames import cell, frame, usual

HOSTILE = "<script>alert(1)</script>\"'&|`*"


class _Page(HTMLParser):
    """Collects what could load something, and the text outside of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.policy = ""
        self.text = ""
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            (name, value) for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}
        ]
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"]:
            self.scripts.append(data)
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")


def sample() -> pd.DataFrame:
    """Right and wrong cells in two formats, one refusal, one hostile name."""
    return frame(
        *usual("float16", horizon=9),
        *usual("float32"),
        *usual("float32", config="stable", step_form="clip"),
        cell(
            "linear_rnn", "optimized", program=HOSTILE, parameters=f"n={HOSTILE}", error=f"refused {HOSTILE}"
        ),
        cell("uncompiled", "optimized", program=HOSTILE, parameters=f"n={HOSTILE}"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on disk."""
    place = tmp_path_factory.mktemp("report")
    write_report(sample(), place)
    return place


def parsed(folder: Path) -> _Page:
    """The report's page, parsed."""
    page = _Page()
    page.feed((folder / "index.html").read_text(encoding="utf-8"))
    return page


def test_page_loads_nothing(folder: Path) -> None:
    """Nothing in the page points outside of it, and its policy forbids requests."""
    page = parsed(folder)
    assert all(value is not None and (value.startswith(("#", "data:"))) for _, value in page.loads)
    assert "default-src 'none'" in page.policy
    assert "connect-src" not in page.policy
    styles = re.findall(
        r"<style>(.*?)</style>", (folder / "index.html").read_text(encoding="utf-8"), re.DOTALL
    )
    assert not any("url(" in style or "@import" in style for style in styles)


def test_names_and_messages_are_escaped(folder: Path) -> None:
    """A hostile name is shown as text and never opens an element."""
    page = parsed(folder)
    assert "alert(1)" in page.text
    assert page.tags.count("script") == 3
    assert not any("<script>alert(1)" in script for script in page.scripts)
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert "<script>" not in summary


def test_charts_are_valid_and_small(folder: Path) -> None:
    """The embedded charts are JSON, hold sampled steps only, and use no remote numbers."""
    text = re.search(
        r'id="specs">(.*?)</script>', (folder / "index.html").read_text(encoding="utf-8"), re.DOTALL
    )
    assert text is not None
    specs = json.loads(text[1])
    assert len(specs) == len(pictures(sample(), cells_of(sample())))
    assert not any("url" in spec.get("data", {}) for spec in specs)
    assert all(len(json.dumps(spec)) < 200_000 for spec in specs)


def test_the_frame_is_kept_as_it_is(folder: Path) -> None:
    """The Parquet file holds every row and column of the frame."""
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "drift.parquet"), sample())


def test_a_second_report_replaces_the_first(tmp_path: Path) -> None:
    """Writing again leaves exactly the three files of the new report."""
    write_report(frame(*usual(horizon=9)), tmp_path)
    write_report(frame(*usual()), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drift.parquet", "index.html", "summary.md"]
    assert "None of the 6 compiled runs" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way changes nothing and leaves no partial files."""
    write_report(frame(*usual()), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="No space"):
        write_report(frame(*usual(horizon=9)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_frame_of_refusals_only_can_be_written(tmp_path: Path) -> None:
    """A report in which nothing could run says so and still opens."""
    findings, _ = write_report(frame(cell("linear_rnn", "multiplicative", error="no gates")), tmp_path)
    assert [each.kind for each in findings.statements] == ["overview", "failed"]
    assert "no gates" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_terminal_summary_fits_and_is_plain() -> None:
    """The summary has no line beyond 100 columns and no escape sequence where there is no terminal."""
    stream = io.StringIO()
    measured = sample()
    print_summary(Console(file=stream, width=100), find(measured), grouped(cells_of(measured)))
    assert max(len(line) for line in stream.getvalue().splitlines()) <= 100
    assert "\x1b" not in stream.getvalue()
    assert "multiplicative_optimized" in stream.getvalue()


def test_groups_count_identical_cells_once_and_keep_controls_apart() -> None:
    """Per format: ungated, gated control, gated, uncompiled, each with its distinct cells."""
    rows = grouped(cells_of(frame(*usual(horizon=9))))
    assert [(row.role, row.cells, row.wrong_cells, row.horizon) for row in rows] == [
        ("ungated", 1, 1, 9),
        ("gated control", 1, 1, 9),
        ("gated", 1, 1, 9),
        ("uncompiled", 1, 1, 9),
        ("uncompiled", 1, 1, 9),
    ]


def test_programs_without_conditional_stand_in_every_group() -> None:
    """Groups hold the same programs, so that a program without branches does not skew one of them."""
    plain = [cell(target, "none", program="straight") for target in ("linear_rnn", "lstm", "uncompiled")]
    rows = grouped(cells_of(frame(*usual(horizon=9), *plain)))
    assert {row.role: (row.cells, row.wrong_cells) for row in rows} == {
        "ungated": (2, 1),
        "gated control": (2, 1),
        "gated": (2, 1),
        "uncompiled": (2, 1),
    }


@pytest.mark.parametrize(("share", "text"), [(0.0, "0%"), (1.0, "100%"), (1e-6, "0.1%"), (1 - 1e-6, "99.9%")])
def test_shares_never_round_to_none_or_all(share: float, text: str) -> None:
    """One wrong token is not shown as none, one right token not as none either."""
    assert share_text(share) == text


def test_horizons_say_when_none_was_found() -> None:
    """No horizon within T reads as > T."""
    assert (horizon_text(None, 4000), horizon_text(1234, 4000)) == ("> 4,000", "1,234")
