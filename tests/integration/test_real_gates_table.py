"""The table of real gates in the documentation is what the compiler finds."""

from pathlib import Path

from tests.integration.real_gates_table import table

PAGE = Path(__file__).parents[2] / "docs" / "real-gates.md"


def test_the_table_of_the_page_is_true() -> None:
    """Every bound and every refusal of docs/real-gates.md is computed again."""
    assert table() in PAGE.read_text(encoding="utf-8")
