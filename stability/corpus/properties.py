"""What must hold for every program, prompt and policy: the properties that fuzzing tries to break."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gmpy2 import mpq

from compiler import ir
from compiler.compiling import TARGETS, compile_program
from compiler.errors import BudgetError, CompileRefusal, LsrlError
from compiler.evaluate import evaluate
from compiler.exact import Vector
from compiler.interpreter import interpret
from compiler.model import Model
from compiler.model_file import load_model, model_hash, save_model
from compiler.selfcheck import CompilerBugError
from compiler.text import parse_program, unparse
from stability.corpus.case import Case
from stability.engines.native.engine import NativeEngine
from stability.engines.scalar import ScalarEngine
from stability.policy import Policy, parse_policy
from stability.running import execute

MPMATH = "mpmath50"
SLACK = mpq(1, 2**100)
"""mpmath50 has 169 bits; drawn programs lose a few tens of them at most."""


class DiscardError(Exception):
    """The case says nothing about the property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property.

    Attributes:
        name: for the command line.
        summary: what must hold.
        check: a case → None, or what is wrong.
    """

    name: str
    summary: str
    check: Callable[[Case], str | None]


def _model(case: Case) -> Model:
    try:
        return compile_program(case.program, case.target)
    except CompilerBugError:
        raise
    except CompileRefusal:
        raise DiscardError from None


def _wanted(program: ir.Program, tokens: Sequence[Vector]) -> list[Vector]:
    try:
        return interpret(program, tokens)
    except BudgetError:
        raise DiscardError from None


def _exact(case: Case) -> str | None:
    wanted = _wanted(case.program, case.tokens)
    for name in (*TARGETS, "uncompiled"):
        try:
            model = compile_program(case.program, name)
        except CompileRefusal:
            continue
        for step, (got, want) in enumerate(zip(evaluate(model, case.tokens), wanted, strict=True)):
            if got != want:
                return f"{name} differs from the program at step {step}: {_shown(got)} for {_shown(want)}"
    return None


def _shown(values: Sequence[mpq]) -> str:
    return "(" + ", ".join(f"{float(value):.6g}" for value in values) + ")"


def _array(tokens: Sequence[Vector]) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    made = np.empty((len(tokens), len(tokens[0])), dtype=object)
    made[...] = [list(token) for token in tokens]
    return made


def _twin(case: Case) -> str | None:
    model, policy, tokens = _model(case), parse_policy(case.policy), _array(case.tokens)
    fast = execute(model, tokens, policy, engine=NativeEngine())
    slow = execute(model, tokens, policy, engine=ScalarEngine())
    if not np.array_equal(fast.status, slow.status):
        return f"native in {case.policy} on {case.target} has another status than its scalar twin"
    left, right = (np.asarray(each.outputs, dtype=np.float64) for each in (fast, slow))
    same = (left == right) & (np.signbit(left) == np.signbit(right)) | (np.isnan(left) & np.isnan(right))
    if not same.all():
        step = int(np.flatnonzero(~same.all(axis=-1))[0])
        return (
            f"native in {case.policy} on {case.target} differs from its scalar twin at step {step}: "
            f"{left[step].tolist()} for {right[step].tolist()}"
        )
    return None


def _mpmath(case: Case) -> str | None:
    model, wanted = _model(case), _wanted(case.program, case.tokens)
    got = execute(model, _array(case.tokens), MPMATH).outputs
    size = max((abs(value) for row in wanted for value in row), default=mpq(0)) + 1
    for step, (values, true) in enumerate(zip(got, wanted, strict=True)):
        worst = max(abs(mpq(*_ratio(value)) - want) for value, want in zip(values, true, strict=True))
        if worst > SLACK * size:
            return f"{MPMATH} on {case.target} is off by {float(worst):.3g} at step {step}"
    return None


def _ratio(value: object) -> tuple[int, int]:
    sign, mantissa, exponent, _ = value._mpf_  # type: ignore[attr-defined]
    whole = -int(mantissa) if sign else int(mantissa)
    return (whole << exponent, 1) if exponent >= 0 else (whole, 1 << -exponent)


def _batch(case: Case) -> str | None:
    model, policy, tokens = _model(case), parse_policy(case.policy), _array(case.tokens)
    other = tokens[::-1]
    engine = NativeEngine()
    alone = [execute(model, each, policy, engine=engine).outputs for each in (tokens, other, tokens)]
    together = execute(model, np.stack([tokens, other]), policy, engine=engine).outputs
    pieces = execute(model, tokens, policy, engine=engine, chunk=2).outputs
    pairs = {
        "a second run of a prompt": (alone[2], alone[0]),
        "a batch": (together[0], alone[0]),
        "a prompt in chunks": (pieces, alone[0]),
    }
    if not isinstance(policy, Policy) or policy.rounding != "stochastic":  # whose bits depend on the place
        pairs["the second prompt of a batch"] = (together[1], alone[1])
    for what, (got, want) in pairs.items():
        if not np.array_equal(got, want, equal_nan=True):
            return f"{what} gives other bits than the prompt alone ({case.policy} on {case.target})"
    return None


def _text(case: Case) -> str | None:
    text = unparse(case.program)
    again = parse_program(text, file="fuzz.lsrl")
    if unparse(again) != text:
        return "a program written as text, read and written again is another text"
    if interpret(again, case.tokens) != _wanted(case.program, case.tokens):
        return "a program written as text and read again gives other outputs"
    return None


def _file(case: Case) -> str | None:
    model = _model(case)
    _wanted(case.program, case.tokens)  # else the exact values may outgrow memory
    with tempfile.TemporaryDirectory() as folder:
        digest = save_model(model, Path(folder) / "model")
        again = load_model(Path(folder) / "model")
    if model_hash(again) != digest or evaluate(again, case.tokens) != evaluate(model, case.tokens):
        return f"a saved and loaded model of {case.target} is another model"
    return None


PROPERTIES: dict[str, Property] = {
    each.name: each
    for each in (
        Property(name="exact", summary="every target equals the program, as rationals", check=_exact),
        Property(name="twin", summary="native kernels equal their scalar twin, bit for bit", check=_twin),
        Property(name="mpmath", summary="mpmath50 agrees with the rationals to 100 bits", check=_mpmath),
        Property(name="batch", summary="batch, chunks and a second run do not change a bit", check=_batch),
        Property(name="text", summary="programs survive being written and read", check=_text),
        Property(name="file", summary="models survive being saved and loaded", check=_file),
    )
}


def judge(prop: Property, case: Case) -> str | None:
    """What a property finds wrong with a case; an exception that is not ours is wrong too.

    Raises:
        DiscardError: the case says nothing about the property.
    """
    try:
        return prop.check(case)
    except DiscardError:
        raise
    except CompilerBugError as bug:
        return str(bug)
    except LsrlError:
        raise DiscardError from None
    except Exception as problem:  # noqa: BLE001 -- any other exception is what fuzzing is for
        return f"{type(problem).__name__}: {problem}"
