"""The page of a store in a real browser: it draws, filters and copies, and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.cli.app import app
from tests.reports.chromium import Page, browser_path, opened
from tests.reports.frames import cell
from tests.reports.stores import THRESHOLDS, drifting_cells, sample_cells, write_store

MARKS = "svg .mark-rect path, svg .mark-line path, svg .mark-symbol.role-mark path"
ROWS = "document.querySelectorAll('table[data-table=runs] tbody tr').length"
COUNT = "document.querySelector('[data-count-of=runs]').textContent"
HOSTILE = "=cmd|<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a store that has states, refusals, a hostile name, and a store beside it."""
    browser_path()
    place = tmp_path_factory.mktemp("browser")
    refusal = cell("gru", "multiplicative", program=HOSTILE, parameters="n=1", error=f"no {HOSTILE}")
    cells = [*sample_cells(), *drifting_cells(), refusal]
    write_store(place / "new", cells, experiment=THRESHOLDS)
    write_store(place / "old", sample_cells(2))
    done = CliRunner().invoke(app, ["report", f"{place}/new", f"{place}/old", "-o", f"{place}/report"])
    assert done.exit_code == 0, done.output
    return place / "report"


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The report, opened."""
    with opened(tmp_path_factory.mktemp("profile")) as found:
        found.look(width=1280, height=900)
        found.open(folder / "index.html")
        yield found


def scroll(page: Page) -> list[str]:
    """Go to every chart in turn until it has marks, or says why not; their names."""
    names = page.value("[...document.querySelectorAll('.chart')].map(each => each.dataset.name)")
    for name in names:
        chart = f"document.querySelector('.chart[data-name={name}]')"
        page.value(f"{chart}.scrollIntoView()")
        page.until(f"{chart}.querySelectorAll('{MARKS}').length || {chart}.classList.contains('empty')")
    return [str(name) for name in names]


def choose(page: Page, choice: str, value: str) -> None:
    """Choose as a reader does."""
    page.value(
        f"""(() => {{ const one = document.querySelector("select[data-choice={choice}]");
        one.value = {value!r}; one.dispatchEvent(new Event("change")); }})()"""
    )


def test_every_chart_is_drawn(page: Page) -> None:
    """Each chart of the page has marks once it has been scrolled to."""
    assert scroll(page) == ["compared", "right", "horizons", "spread", "bits", "errors", "growth", "states"]
    texts = page.value("[...document.querySelectorAll('.chart svg text')].map(each => each.textContent)")
    assert page.value("document.querySelectorAll('.empty').length") == 0
    assert not {"undefined", "null", "NaN"} & set(texts)


def test_a_choice_redraws_the_charts(page: Page) -> None:
    """Curves are those of the chosen format, and a choice without runs says so."""
    scroll(page)
    crosses = "document.querySelectorAll('[data-name=bits] svg .mark-symbol.role-mark path').length"
    choose(page, "format", "float16")
    page.until(f"{crosses} > 0")
    choose(page, "format", "float32")
    page.until(f"{crosses} === 0")
    shown = "getComputedStyle(document.querySelector('.chart[data-name=errors]'), '::after').content"
    assert "No model has an error" in page.value(shown)
    choose(page, "program", HOSTILE)
    page.until("document.querySelector('.chart[data-name=bits]').classList.contains('empty')")
    choose(page, "program", "toy")
    scroll(page)


def test_tables_filter_sort_and_count(page: Page) -> None:
    """Words and outcome narrow the table, its head sorts it, and the count says how many are shown."""
    every = page.value(ROWS)
    page.value(
        """(() => { const one = document.querySelector("[data-filter=runs]");
        one.value = "float16 lstm"; one.dispatchEvent(new Event("input")); })()"""
    )
    assert 0 < page.value(ROWS) < every
    assert page.value(COUNT) == f"{page.value(ROWS)} of {every} groups"
    page.value(
        """(() => { const one = document.querySelector("[data-outcome-of=runs]");
        one.value = "right"; one.dispatchEvent(new Event("change")); })()"""
    )
    assert page.value(ROWS) == 0
    page.value(
        """(() => {
        const places = [["[data-filter=runs]", "input"], ["[data-outcome-of=runs]", "change"]];
        for (const [name, event] of places) {
          const one = document.querySelector(name);
          one.value = "";
          one.dispatchEvent(new Event(event));
        } })()"""
    )
    head = "document.querySelectorAll('table[data-table=runs] th')[8]"
    page.value(f"{head}.querySelector('button').click()")
    assert page.value(f"{head}.getAttribute('aria-sort')") == "ascending"
    rows = "document.querySelectorAll('table[data-table=runs] tbody tr')"
    shown = f"[...{rows}].map(row => row.cells[8].textContent)"
    found = page.value(shown)
    assert found == sorted(found, key=lambda text: (text != "–", text != "9"))
    assert set(found) == {"–", "9", "> 100"}


def test_a_table_is_copied_as_csv(page: Page) -> None:
    """The rows shown are copied with their heads; text that a spreadsheet would run is defused."""
    page.value(
        """(() => { window.copied = ""; Object.defineProperty(navigator, "clipboard", { configurable: true,
        value: { writeText: async text => { window.copied = text; } } });
        document.querySelector("button[data-copy=runs]").click(); })()"""
    )
    page.until("window.copied !== ''")
    lines = page.value("window.copied").splitlines()
    assert lines[0].startswith("program,configuration,conditional,model,format,tokens,runs,wrong runs")
    assert len(lines) == 1 + page.value(ROWS)
    assert any(line.startswith("'=cmd|<img") for line in lines)
    assert any(",>100," in line for line in lines)


def test_a_chart_is_saved_from_the_page(page: Page) -> None:
    """The buttons below a chart hand out the picture that is shown, as SVG and as PNG."""
    page.value(
        """(() => { window.saves = []; HTMLAnchorElement.prototype.click = function () {
        window.saves.push([this.download, this.href.slice(0, 22)]); };
        document.querySelectorAll("[data-name=horizons]")[0].closest("figure")
          .querySelectorAll("button[data-save]").forEach(one => one.click()); })()"""
    )
    page.until("window.saves.length === 2")
    assert sorted(page.value("window.saves.map(one => one[0])")) == ["horizons.png", "horizons.svg"]


def test_a_reader_gets_by_with_the_keyboard(page: Page) -> None:
    """Everything that acts is a control with a name, and what scrolls can be focused."""
    nameless = """[...document.querySelectorAll("button, select, input, [tabindex]")].filter(each => {
      const label = each.labels?.[0]?.textContent.trim();
      return each.tabIndex < 0 || !(each.ariaLabel || each.textContent.trim() || label);
    }).length"""
    assert page.value(nameless) == 0
    assert page.value("[...document.querySelectorAll('.chart')].every(each => each.ariaLabel)")


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_the_page_fits_every_device(page: Page, width: int, *, dark: bool) -> None:
    """On a phone and in the dark nothing sticks out sideways, and text stands out from its ground."""
    page.look(width=width, height=844, dark=dark)
    scroll(page)
    assert page.value("document.documentElement.scrollWidth") <= width
    channel = """(() => { const style = getComputedStyle(document.body), light = text =>
      text.match(/\\d+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0) / 765;
      return [light(style.color), light(style.backgroundColor)]; })()"""
    ink, paper = page.value(channel)
    assert (ink > paper) == dark
    assert abs(ink - paper) > 0.6


def test_nothing_is_asked_for_and_nothing_complains(page: Page, folder: Path) -> None:
    """After all of that, the page itself is the only address, and the console is empty."""
    page.value("new Promise(done => setTimeout(done, 100))")
    assert page.requests == [(folder / "index.html").resolve().as_uri()]
    assert page.problems == []
