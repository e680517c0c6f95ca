"""Everything the README says to type works, and its figures are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from compiler import CompileConfig, compile_program, load_program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_console_commands_run(tmp_path: Path) -> None:
    """Every console command of the README succeeds, in order, with the README's own program."""
    (program,) = blocks("lsrl")
    (tmp_path / "leak.lsrl").write_text(program, encoding="utf-8")
    commands = [
        line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")
    ]
    assert len(commands) >= 8
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
    assert (tmp_path / "leak-report" / "index.html").is_file()


def test_the_python_example_runs(tmp_path: Path) -> None:
    """The README's Python example runs as it stands and prints the capital of Canada."""
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "OTT" in done.stdout.splitlines()


def test_the_size_table_is_true() -> None:
    """Each row of the README's size table is what the compiler gives."""
    table = README.split("<!-- table-sizes -->")[1].split("\n\n")[0]
    rows = [[int(cell) for cell in line.strip("|").split("|")] for line in table.splitlines()[3:]]
    assert len(rows) >= 3
    for n, layers, gated, lstm in rows:
        program = load_program("dictionary", n=n)
        config = CompileConfig(conditional="multiplicative_optimized")
        models = [compile_program(program, target, config) for target in ("gated_linear_rnn", "lstm")]
        assert [len(model.layers) for model in models] == [layers, layers]
        assert [model.nonzeros for model in models] == [gated, lstm]


@pytest.mark.parametrize("marker", ["command-report", "command-tests"])
def test_the_two_commands_are_where_the_ci_reads_them(marker: str) -> None:
    """.ci/run runs the README's own commands: each marker stands before one line that sets itself up."""
    after = README.split(f"<!-- {marker} -->\n```sh\n")[1].split("\n```")[0]
    assert after.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert "\n" not in after
    assert f"readme_command {marker}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_documents_that_the_readme_links_exist() -> None:
    """Relative links of the README lead to files."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / link).is_file(), link


def test_the_console_script_is_the_one_declared() -> None:
    """The package declares the command that the README uses."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["scripts"]) == {"lsrl"}
