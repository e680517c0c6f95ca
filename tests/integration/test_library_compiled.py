"""Library programs, compiled: exact, small, decoded right, and the same bits from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gmpy2 import mpq

from compiler import CompileConfig, compile_program, interpret, load_model, load_program, save_model
from compiler.compiling import TARGETS
from compiler.errors import CompileRefusal
from compiler.evaluate import evaluate
from compiler.library import LIBRARY
from compiler.programs.dictionary import COUNTRY_PAIRS, country_prompt, spell
from stability import run

SIZES: dict[str, list[dict[str, int]]] = {
    "majority": [{}],
    "continuous": [{"d_in": 1, "d_out": 1}, {"d_in": 2, "d_out": 3}],
    "dictionary": [{"n": 2}, {"n": 3, "V": 9}],
    "copy_delay": [{"k": 1}, {"k": 4}],
    "modulo": [{"n": 3}, {"n": 8}],
    "dictionary_exact": [{"n": 2}, {"n": 3, "V": 9}],
    "linear_attention": [{}, {"d": 3, "d_k": 3, "d_v": 1}],
    "icl_regression": [{}, {"d": 1}],
    "parity": [{"digits": 3}, {"digits": 5}],
    "balanced": [{}],
    "most_recent_key": [{"window": 3}, {"window": 6}],
}
PRODUCTS = {"linear_attention", "icl_regression"}
"""Programs that multiply values themselves: ungated targets refuse them."""
CASES = [(name, parameters) for name, sizes in SIZES.items() for parameters in sizes]
ALL_TARGETS = (*TARGETS, "uncompiled")


def exact_prompt(name: str, parameters: dict[str, int], length: int) -> list[tuple[mpq, ...]]:
    """A short prompt of exact tokens."""
    program = load_program(name, **parameters)
    tokens = LIBRARY[name].prompt(np.random.default_rng(7), length, dict(program.parameters))
    return [tuple(v if isinstance(v, mpq) else mpq(int(v)) for v in row) for row in tokens]


def configuration(name: str, target: str) -> CompileConfig:
    """A named configuration with the conditional that suits the target."""
    gated = target not in TARGETS or TARGETS[target].gated
    return CompileConfig.named(name).with_conditional("multiplicative_optimized" if gated else "optimized")


@pytest.mark.parametrize("target", ALL_TARGETS)
@pytest.mark.parametrize("config", ["stable", "paper"])
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_library_programs_compile_exactly(
    name: str, parameters: dict[str, int], config: str, target: str
) -> None:
    """Every library program at every size equals the interpreter as rationals on every target."""
    program, tokens = load_program(name, **parameters), exact_prompt(name, parameters, 18)
    chosen = configuration(config, target)
    if target in TARGETS and not TARGETS[target].gated and name in PRODUCTS:
        with pytest.raises(CompileRefusal, match="product"):
            compile_program(program, target, chosen)
        return
    model = compile_program(program, target, chosen)
    assert evaluate(model, tokens) == interpret(program, tokens, chosen)


@pytest.mark.parametrize("target", ALL_TARGETS)
@pytest.mark.parametrize("format_name", ["float32", "float64"])
def test_the_capital_of_canada(target: str, format_name: str) -> None:
    """Shown 34 countries with their capitals, every target answers CAN with OTT."""
    assert len(COUNTRY_PAIRS) >= 25
    model = compile_program(load_program("dictionary", n=3), target)
    outputs = run(model, country_prompt("CAN"), format_name)
    assert spell(int(value) for value in np.rint(outputs[-3:, 0].astype(np.float64))) == "OTT"


@pytest.mark.parametrize("target", ["gated_linear_rnn", "lstm"])
def test_every_capital_in_one_batch(target: str) -> None:
    """A batch of prompts, one per country, is answered without a mistake."""
    model = compile_program(load_program("dictionary", n=3), target)
    prompts = np.stack([country_prompt(code) for code, _ in COUNTRY_PAIRS])
    outputs = run(model, prompts, "float32")
    answers = [spell(int(value) for value in np.rint(row[-3:, 0].astype(np.float64))) for row in outputs]
    assert answers == [capital for _, capital in COUNTRY_PAIRS]


@pytest.mark.parametrize(
    ("n", "step", "most"),
    [(3, "clip", 420), (3, "paper", 450), (10, "clip", 980), (10, "paper", 1100), (40, "clip", 3400)],
)
def test_compiled_dictionaries_are_small(n: int, step: str, most: int) -> None:
    """The dictionary's path grows linearly in n and stays below its bound, and it still answers."""
    program = load_program("dictionary", n=n)
    config = CompileConfig(step=step, conditional="multiplicative_optimized")  # type: ignore[arg-type]
    model = compile_program(program, "gated_linear_rnn", config)
    assert model.nonzeros <= most
    entry, parameters = LIBRARY["dictionary"], dict(program.parameters)
    tokens = entry.prompt(np.random.default_rng(n), 12 * n, parameters)
    wanted = np.array(entry.oracle(tokens.tolist(), parameters), dtype=np.float64)
    got = run(model, tokens, "float64")
    assert np.array_equal(entry.decode(got, parameters), entry.decode(wanted, parameters))
    assert wanted.any()


@pytest.mark.parametrize("target", ALL_TARGETS)
@pytest.mark.parametrize("format_name", ["float16", "float32", "float64", "mpmath40"])
def test_a_saved_model_gives_the_same_bits(target: str, format_name: str, tmp_path: Path) -> None:
    """Running a program and running its saved model agree in every bit, in every format."""
    program = load_program("modulo", n=5)
    model = compile_program(program, target, CompileConfig.named("paper").with_conditional("optimized"))
    save_model(model, tmp_path / "model")
    tokens = LIBRARY["modulo"].prompt(np.random.default_rng(3), 60, dict(program.parameters))
    direct, loaded = run(model, tokens, format_name), run(load_model(tmp_path / "model"), tokens, format_name)
    if direct.dtype == object:
        assert (direct == loaded).all()
    else:
        assert direct.tobytes() == loaded.tobytes()
