"""``mu=auto`` and ``lam=auto`` in a call: what the configuration may say, a call may say too."""

from __future__ import annotations

import pytest
from gmpy2 import mpq

from compiler import CompileConfig, compile_program, parse_program, unparse
from compiler.errors import LsrlError
from compiler.exact import Matrix
from compiler.expr import Input, Variable
from compiler.ir import Program
from compiler.stdlib import f_ifelse, f_larger, f_modulo_counter, f_step

HEAD = "ForEach:\n    x = Input(dim=1, lo=0, hi=9, integer=true)\n"
NUMBERS = CompileConfig(mu=mpq(1000), lam=mpq(10) ** 6, conditional="step")


def program(*lines: str, before: str = "") -> Program:
    """A program whose block holds ``lines`` after the Input."""
    return parse_program(before + HEAD + "".join(f"    {line}\n" for line in lines))


def weights(source: Program, config: CompileConfig) -> list[Matrix]:
    """All matrices of the compiled program."""
    return [layer.weight_ih for layer in compile_program(source, "relu_rnn", config).layers]


@pytest.mark.parametrize(
    "call",
    [
        "f_step(x - 1/2{mu})",
        "f_bump(x, 1/4, 4.5{mu})",
        "f_larger(x, 4.5{mu})",
        "f_smaller(x, 4.5{mu})",
        "f_and(f_not(x), f_step(x{mu}){mu})",
        "f_eq(x, 3{mu})",
        "f_modulo_counter(x, 5{mu})",
        "f_ifelse(f_larger(x, 4.5{mu}), t=x, f=3{mu}{lam})",
    ],
)
def test_auto_in_a_call_is_auto_in_the_configuration(call: str) -> None:
    """A call with auto compiles, under any μ and λ, to what it is where the configuration says auto."""
    automatic = program("return " + call.format(mu=", mu=auto", lam=", lam=auto"))
    plain = program("return " + call.format(mu="", lam=""))
    stable = CompileConfig(conditional="step")
    assert weights(automatic, NUMBERS) == weights(plain, stable)
    assert weights(automatic, NUMBERS) != weights(plain, NUMBERS)


def test_auto_survives_being_written_and_read() -> None:
    """Text that is written from a program says auto again."""
    source = program("return f_ifelse(f_larger(x, 4.5, mu=auto), x, 0, lam=auto)")
    text = unparse(source)
    assert "mu=auto" in text
    assert "lam=auto" in text
    assert parse_program(text) == source


def test_auto_goes_through_names_and_functions() -> None:
    """A constant, a default and an argument may hold it; a program may use the name for itself."""
    given = [
        program("return f_step(x, mu=slope)", before="slope = auto\n"),
        program("return at(x)", before="def at(x, slope=auto): return f_step(x, mu=slope)\n"),
        program("return at(x, auto)", before="def at(x, slope): return f_step(x, mu=slope)\n"),
        program("return at(x)", before="def at(x): return f_step(x, mu=auto)\n"),
    ]
    wanted = weights(program("return f_step(x, mu=auto)"), NUMBERS)
    assert all(weights(each, NUMBERS) == wanted for each in given)
    own = program("return f_step(x, mu=auto)", before="param auto = 7\n")
    assert weights(own, NUMBERS) == weights(program("return f_step(x, mu=7)"), NUMBERS)


def test_python_calls_take_auto_too() -> None:
    """The Python front end has the same argument."""

    def built(mu: str | None) -> Variable:
        x = Input(1, lo=0, hi=9, integer=True)
        chosen = f_larger(x, mpq(9, 2), mu=mu) + f_modulo_counter(x, 3, mu=mu) + f_step(x, mu=mu)
        return f_ifelse(chosen - 2, x, 0, lam=mu, mu=mu)

    config = CompileConfig(mu=mpq(1000), lam=mpq(10) ** 6, conditional="optimized")
    automatic = CompileConfig(conditional="optimized")
    assert weights(built("auto").program(), config) == weights(built(None).program(), automatic)


@pytest.mark.parametrize(
    ("line", "place", "says", "hint"),
    [
        (
            "return f_delay(x, auto)",
            (3, 12),
            "k of f_delay is the word auto, not a number",
            "mu and lam only",
        ),
        ("return assume(x, lo=auto)", (3, 12), "lo of assume is the word auto", "mu and lam only"),
        ("return x + auto", (3, 14), "a variable of dim 1 and the word auto", "a number"),
        ("return Linear(x, A=auto)", (3, 12), "A of Linear is the word auto", "A=["),
        ("return f_step(x, mu=2*auto)", (3, 26), "the number 2 and the word auto", ""),
        ("return f_step(x, mu=0)", (3, 12), "mu=0", "a positive number or auto"),
        ("return f_step(x, mu=aut)", (3, 25), "unknown name 'aut'", "did you mean auto?"),
        ("return f_step(x, mu=[1])", (3, 12), "mu of f_step is a list of 1, not a number", ""),
    ],
)
def test_auto_elsewhere_is_a_mistake(line: str, place: tuple[int, int], says: str, hint: str) -> None:
    """It is no number: where a number is wanted, the message says what it is for."""
    with pytest.raises(LsrlError) as caught:
        program(line)
    (found,) = [each for each in caught.value.diagnostics if each.span and each.span.line == 3]
    assert found.span is not None
    assert (found.span.line, found.span.column) == place
    assert says in found.message
    assert hint in (found.hint or "")


def test_a_param_is_a_number() -> None:
    """A param can be overridden by numbers only, so it is one."""
    with pytest.raises(LsrlError, match=r"the param 'm' is the word auto .a param is a number"):
        program("return x", before="param m = auto\n")
