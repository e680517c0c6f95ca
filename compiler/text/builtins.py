"""Every name that a text may call: operations, idioms and builders, with their forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler import expr, stdlib
from compiler.exact import Number
from compiler.expr import Recorder, Variable
from compiler.text.builders import BUILDERS
from compiler.text.calls import Form, form_of, read_arguments
from compiler.text.values import Budget, Value, describe, fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a call may use: the budget, the program under construction, where it stands."""

    budget: Budget
    recorder: Recorder
    in_block: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """A name of the language and what a call of it does."""

    form: Form
    run: Callable[..., Value]

    def call(self, positional: Sequence[Value], keywords: Mapping[str, Value], setting: Setting) -> Value:
        """The value of a call.

        Raises:
            ProgramError: arguments that do not fit.
        """
        if self.form.rest is not None:
            if keywords:
                raise fault(f"{self.form.name} takes no named arguments", f"write {self.form}")
            return self.run(setting, *positional)
        placed = self.form.place(positional, keywords)
        arguments = read_arguments(self.form, placed, setting.budget)
        return self.run(setting, **arguments)


def _input(setting: Setting, **arguments: Any) -> Variable:
    nodes = setting.recorder.nodes
    if not setting.in_block:
        raise fault("Input outside ForEach", "make it the first line of the ForEach block")
    if nodes:
        first = nodes[0].span
        raise fault(
            f"a second Input; the first is on line {first.line if first else 0}",
            "a program has one Input; slice it",
        )
    return expr.Input(**arguments, recorder=setting.recorder)


def _concat(setting: Setting, *parts: Value) -> Variable:
    flat: list[Variable] = []
    for part in parts:
        for each in part if isinstance(part, tuple) else (part,):
            if not isinstance(each, Variable):
                raise fault(
                    f"Concat of {describe(each)}",
                    "it stacks variables; f_constant(x, v) makes a constant one",
                )
            flat.append(each)
    if not flat:
        raise fault("Concat of nothing", "write Concat(x, y) or Concat([x, y])")
    setting.budget.work(len(flat))
    return expr.Concat(*flat)


def declared(
    x: Variable, *, lo: Number | None = None, hi: Number | None = None, integer: bool = False
) -> Variable:
    """State the range of ``x`` on its own node, where ``assume`` adds a node."""
    if x.node.declared is not None:
        raise fault("a second declaration of one value", "use assume for a narrower range")
    source = expr.assume(x, lo=lo, hi=hi, integer=integer)
    statement = source.recorder.nodes.pop().declared
    x.recorder.nodes[x.index] = replace(x.node, declared=statement)
    return x


def _operation(function: Callable[..., Variable], without: frozenset[str] = frozenset()) -> Builtin:
    form = form_of(function, without=without)
    needs_variable = any(slot.kind == "Operand" for slot in form.slots)

    def run(setting: Setting, **arguments: Any) -> Value:  # noqa: ARG001
        if needs_variable and not any(isinstance(value, Variable) for value in arguments.values()):
            raise fault(f"{form.name} of constants only", "at least one argument is a variable")
        return function(**arguments)

    return Builtin(form=form, run=run)


def _builder(name: str, function: Callable[..., Value]) -> Builtin:
    def run(setting: Setting, *positional: Value, **arguments: Any) -> Value:
        return function(setting.budget, *positional, **arguments)

    return Builtin(form=replace(form_of(function, skip=1), name=name), run=run)


OPERATIONS = (expr.Linear, expr.ReLU, expr.LinState, expr.Multi, expr.assume, declared)
BUILTINS: dict[str, Builtin] = {
    "Input": Builtin(form=form_of(expr.Input, without=frozenset({"recorder"})), run=_input),
    "Concat": Builtin(form=form_of(expr.Concat), run=_concat),
    **{function.__name__: _operation(function) for function in OPERATIONS},
    **{name: _operation(function) for name, function in stdlib.LIBRARY.items()},
    **{name: _builder(name, function) for name, function in BUILDERS.items()},
}
