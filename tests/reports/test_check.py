"""``lsrl check`` prints findings before a run, and verifies declarations on a prompt."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from reports.cli.app import app

COUNTER = """ForEach:
    x = Input(dim=1, lo=0, hi=1, integer=true)
    count = LinState(x, A=eye(1), B=eye(1), init_state=zeros(1, 1))
    return assume(count, lo=0, hi=3)
"""


def lsrl(*arguments: str, text: str | None = None) -> Result:
    """Run one command in this process."""
    return CliRunner().invoke(app, list(arguments), input=text)


def test_findings_are_printed_with_line_and_remedy() -> None:
    """The paper's λ in float16 is found, with its line and the way out."""
    done = lsrl("check", "modulo", "--config", "paper", "--target", "relu_rnn", "--format", "float16")
    assert done.exit_code == 0
    assert "overflow: modulo.lsrl:10:12:" in done.stdout
    assert "lam=auto" in done.stdout


def test_nothing_to_find_is_said() -> None:
    """A program that fits its format says so."""
    done = lsrl("check", "dictionary_exact", "--format", "float16", "--length", "1000000")
    assert done.exit_code == 0
    assert done.stdout == "nothing found for float16 and 1,000,000 tokens\n"


def test_a_false_declaration_is_a_verdict(tmp_path: Path) -> None:
    """A prompt that leaves a declared range is told in one line with the place; exit status 1."""
    source = tmp_path / "counter.lsrl"
    source.write_text(COUNTER, encoding="utf-8")
    held = lsrl("check", str(source), "--tokens", "-", text="1\n0\n1\n")
    assert held.exit_code == 0
    assert "every value lies in its range" in held.stdout
    broken = lsrl("check", str(source), "--tokens", "-", text="1\n1\n1\n1\n")
    assert broken.exit_code == 1
    assert "violated: counter.lsrl:4:" in broken.stdout
    assert "is 4 at step 3, outside its declared range" in broken.stdout


def test_margins_of_a_prompt_are_told(tmp_path: Path) -> None:
    """--margins names the comparison, its line, the step at which it warns and how close it came."""
    source, tokens = tmp_path / "late.lsrl", tmp_path / "tokens.csv"
    source.write_text(COUNTER.replace("assume(count, lo=0, hi=3)", "f_larger(count, 8.5)"), encoding="utf-8")
    tokens.write_text("1\n" * 12, encoding="utf-8")
    common = ["check", str(source), "--tokens", str(tokens), "--margins"]
    told = lsrl(*common, "--format", "float8_e4m3fn-acc32")
    assert told.exit_code == 0, told.output
    assert "margins of one comparison in ulps of float8_e4m3fn" in told.stdout
    (line,) = [each.split() for each in told.stdout.splitlines() if each.endswith(" 0")]
    # at step 8 the count is 9, μ·9 − 17 lies half a unit from 1/2, and the spacing at μ·9 = 18 is 2
    assert line[1:] == ["late.lsrl:4", "8", "0.25", "8", "0"]
    never = lsrl(*common, "--format", "float32")
    assert "never" in never.stdout
    csv = "".join("1\n" for _ in range(12))
    assert lsrl(*[each if each != str(tokens) else "-" for each in common], text=csv).stdout == never.stdout
    affine = tmp_path / "affine.lsrl"
    affine.write_text("ForEach:\n    x = Input(dim=1)\n    return 2 * x\n", encoding="utf-8")
    nothing = lsrl("check", str(affine), "--tokens", str(tokens), "--margins")
    assert "no comparison reaches the output" in nothing.stdout


def test_margins_need_a_prompt_and_ulps(tmp_path: Path) -> None:
    """Without --tokens, or in exact numbers, margins are refused in one line."""
    for extra, words in (
        (["--margins"], "--margins without a prompt"),
        (["--margins", "--tokens", "-", "--format", "exact"], "exact values have no ulps"),
    ):
        done = lsrl("check", "majority", *extra, text="1\n")
        assert done.exit_code == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_reduction_is_an_option_of_compilation(tmp_path: Path) -> None:
    """--reduce makes ReLUs affine where ranges allow it, and the bits of a run show the same answer."""
    tokens = tmp_path / "tokens.csv"
    tokens.write_text("1\n2\n0\n", encoding="utf-8")
    both = [
        lsrl(
            "run", "modulo", "--param", "n=3", "--target", "relu_rnn", "--tokens", str(tokens), *extra
        ).stdout
        for extra in ([], ["--reduce"])
    ]
    assert both[0] == both[1]
    assert both[0].splitlines()[0] == "step,y0"


def test_a_first_row_that_is_no_token_is_an_error(tmp_path: Path) -> None:
    """Only names make a header: a quoted, spaced or foreign number on the first line is not dropped."""
    for text in ('"0.5"\n1\n', "1_000\n1\n", "#c\n1\n", "٣\n1\n", "0.5;1\n", ""):
        done = lsrl("run", "majority", "--tokens", "-", text=text)
        assert done.exit_code == 2, text
        assert done.stderr.startswith("error: standard input"), text
    named = lsrl("run", "majority", "--tokens", "-", text='"the token"\n1\n')
    assert named.exit_code == 0
    assert named.stdout.splitlines()[1:] == ["0,1.0"]


def test_a_saved_model_keeps_its_configuration(tmp_path: Path) -> None:
    """Options of a compilation are refused for a model that is compiled already."""
    model = tmp_path / "model"
    assert lsrl("compile", "majority", "-o", str(model)).exit_code == 0
    for extra in (["--config", "paper"], ["--mu", "4"], ["--reduce"], ["--target", "gru"]):
        done = lsrl("run", str(model), "--tokens", "-", *extra, text="1\n")
        assert done.exit_code == 2
        assert "its configuration" in done.stderr


def test_a_narrow_input_range_can_be_checked(tmp_path: Path) -> None:
    """The compiler's check of itself draws tokens from any range that holds a number."""
    source = tmp_path / "narrow.lsrl"
    source.write_text("ForEach:\n    x = Input(dim=1, lo=0.13, hi=0.2)\n    return x\n", encoding="utf-8")
    done = lsrl("compile", str(source), "--check", "2", "-o", str(tmp_path / "m"))
    assert done.exit_code == 0, done.output
