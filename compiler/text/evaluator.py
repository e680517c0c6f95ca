"""Evaluation of expressions: constants are computed, operations are recorded as nodes.

The evaluator never runs Python code from the text: it walks the syntax tree, and
every step, matrix entry and nested call is counted against a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from gmpy2 import mpq

from compiler.errors import Diagnostic, ProgramError, Span
from compiler.exact import Matrix
from compiler.expr import Recorder, Variable
from compiler.text import operators, parts, syntax
from compiler.text.builders import rows_of
from compiler.text.builtins import BUILTINS, Setting
from compiler.text.calls import Form
from compiler.text.parts import FAR
from compiler.text.syntax import Position
from compiler.text.values import (
    MAX_DIM,
    MAX_STEPS,
    Automatic,
    Budget,
    PiMultiple,
    Poison,
    Value,
    describe,
    fault,
    whole,
)

CONSTANTS: Mapping[str, Value] = {"pi": PiMultiple(turn=mpq(1)), "auto": Automatic()}
"""Names that mean something unless the program gives them to a value of its own."""
MAX_DEPTH = 120
MAX_CALLS = 50
MAX_LOOPS = 8
_NODE_WORK = 20


class Silenced(Exception):  # noqa: N818  (no mistake of its own: it follows from one already reported)
    """A name was read whose definition failed."""


class UnresolvedNameError(ProgramError):
    """A name that nothing defines (yet)."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...], name: str, *, called: bool) -> None:
        super().__init__(diagnostics)
        self.name, self.called = name, called


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A user's function: its form, its defaults and its body."""

    form: Form
    defaults: Mapping[str, Value]
    body: tuple[syntax.Statement, ...]


class BoundedRecorder(Recorder):
    """A recorder that counts the entries of its nodes against the budget."""

    def __init__(self, evaluator: Evaluator) -> None:
        super().__init__(evaluator.span)
        self._budget = evaluator.budget

    def add(self, make: Any, **fields: Any) -> Variable:
        """Append a node, unless it is too large."""
        dim = fields["dim"]
        if dim > MAX_DIM:
            raise fault(f"a value of dim {dim}", f"at most {MAX_DIM:,} components")
        matrices = [value for value in fields.values() if isinstance(value, Matrix)]
        periods = [int(value) for name, value in fields.get("options", ()) if name == "n"]
        if any(period > MAX_DIM for period in periods):
            raise fault(f"{fields['kind']} with n of more than {MAX_DIM:,}")
        sizes = [dim, *periods, *(matrix.nonzeros for matrix in matrices), len(fields.get("sources", ()))]
        self._budget.store(sum(sizes))
        self._budget.work(_NODE_WORK + sum(sizes) // 4)
        return super().add(make, **fields)


class Evaluator:
    """Evaluates expressions within one program.

    A node made inside a user's function gets the span of the outermost call in
    the ForEach block: that is the line which the program's reader knows the value
    by.  Errors instead point at the operation inside the function, and name the call.

    Args:
        file: what spans call the text.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.budget = Budget()
        self.constants: dict[str, Value] = {}
        self.functions: dict[str, Function | Poison] = {}
        self.frame: dict[str, Value] = self.constants
        self.at: Position = (1, 1)
        self.calls: list[tuple[str, Position]] = []
        self.in_block = False
        self._depth = 0
        self.recorder = BoundedRecorder(self)

    def span(self) -> Span:
        """Where the operation being recorded belongs."""
        line, column = self.calls[0][1] if self.calls else self.at
        return Span(file=self.file, line=line, column=column)

    def statement(self, at: Position, frame: dict[str, Value], expression: syntax.Expression) -> Value:
        """The value of a statement's expression, evaluated in ``frame``."""
        self.at, self.frame, self._depth = at, frame, 0
        self.calls.clear()
        return self.evaluate(expression)

    def evaluate(self, expression: syntax.Expression) -> Value:
        """The value of ``expression`` in the current frame.

        Raises:
            ProgramError: a mistake; :attr:`at` is where.
            ExhaustedError: the work is unbounded.
            Silenced: a name was read whose definition failed.
        """
        self.budget.work(1)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.at = expression.at
            raise fault(
                "an expression or its calls are nested too deeply",
                "name the inner parts on lines of their own",
            )
        value = self._value(expression)
        self._depth -= 1
        return value

    def _value(self, expression: syntax.Expression) -> Value:  # noqa: C901, PLR0911, PLR0912  (one case per kind)
        match expression:
            case syntax.Number(value=number):
                return number
            case syntax.Name(at=at, name=name):
                return self._lookup(at, name)
            case syntax.Call():
                return self._call(expression)
            case syntax.Chain():
                return self._chain(expression)
            case syntax.Postfix():
                return self._postfix(expression)
            case syntax.ListOf(items=items):
                self.budget.store(len(items))
                return self._listed(tuple([self.evaluate(item) for item in items]))
            case syntax.Comprehension():
                return self._comprehension(expression)
            case syntax.Prefixed():
                return self._prefixed(expression)
            case syntax.Power():
                return self._power(expression)
            case syntax.Truth(value=truth):
                return truth
            case syntax.Comparison():
                return self._comparison(expression)
            case syntax.Logic():
                return self._logic(expression)
            case syntax.Conditional(branches=branches, otherwise=otherwise):
                for value, condition in branches:
                    if self._condition(condition):
                        return self.evaluate(value)
                return self.evaluate(otherwise)
            case _:
                assert_never(expression)

    def _lookup(self, at: Position, name: str) -> Value:
        value = self.frame.get(name)
        if value is None:
            value = self.constants.get(name)
        if value is None:
            if name in CONSTANTS:
                return CONSTANTS[name]
            self.at = at
            if name in self.functions or name in BUILTINS:
                raise fault(f"'{name}' is a function", f"call it: {self._form(name)}")
            raise UnresolvedNameError(
                (Diagnostic(message=f"unknown name '{name[:60]}'"),), name, called=False
            )
        if isinstance(value, Poison):
            raise Silenced
        return value

    def _form(self, name: str) -> str:
        function = self.functions.get(name)
        if isinstance(function, Function):
            return str(function.form)
        return str(BUILTINS[name].form) if name in BUILTINS else f"{name}(…)"

    def _chain(self, chain: syntax.Chain) -> Value:
        value = self.evaluate(chain.first)
        for step in chain.steps:
            right = self.evaluate(step.operand)
            self.at = step.at
            value = operators.apply(step.operator, value, right, self.budget)
        return value

    def _prefixed(self, prefixed: syntax.Prefixed) -> Value:
        if prefixed.kind == "not":
            truth = self._condition(prefixed.operand)
            return truth != prefixed.odd
        value = self.evaluate(prefixed.operand)
        self.at = prefixed.at
        if prefixed.odd:
            return operators.negate(value, self.budget)
        if not isinstance(value, mpq | Variable | Matrix | PiMultiple) or isinstance(value, bool):
            raise fault(f"'+' before {describe(value)}")
        return value

    def _power(self, power: syntax.Power) -> Value:
        values = [self.evaluate(operand) for operand in power.operands]
        self.at = power.at
        result = values.pop()
        while values:
            result = operators.power(values.pop(), result, self.budget)
        return result

    def _condition(self, expression: syntax.Expression) -> bool:
        value = self.evaluate(expression)
        if isinstance(value, bool):
            return value
        self.at = expression.at
        hint = "write a comparison such as i > 0"
        if isinstance(value, Variable):
            hint = "a choice by values is f_ifelse(cond, t=…, f=…); not, and, or are f_not, f_and, f_or"
        raise fault(f"a condition is {describe(value)}, not true or false", hint)

    def _comparison(self, comparison: syntax.Comparison) -> bool:
        left = self.evaluate(comparison.first)
        for step in comparison.steps:
            right = self.evaluate(step.operand)
            self.at = step.at
            if not operators.compare(step.operator, left, right):
                return False
            left = right
        return True

    def _logic(self, logic: syntax.Logic) -> bool:
        stop = logic.operator == "or"
        for operand in logic.operands:
            if self._condition(operand) == stop:
                return stop
        return not stop

    def _listed(self, items: tuple[Value, ...]) -> Value:
        """A list; one of equally long lists of numbers is a matrix."""
        first = items[0] if items else None
        if not isinstance(first, tuple) or not first:
            return items
        rows = [item for item in items if isinstance(item, tuple) and len(item) == len(first)]
        if len(rows) < len(items):
            return items
        self.budget.work(len(rows) * len(first))
        if not all(isinstance(entry, mpq) for row in rows for entry in row):
            return items
        self.budget.store(len(rows) * len(first))
        return Matrix.dense(rows)

    def _comprehension(self, comprehension: syntax.Comprehension) -> Value:
        self.at = comprehension.at
        if len(comprehension.clauses) > MAX_LOOPS:
            raise fault(
                f"more than {MAX_LOOPS} loops in one list", "name the inner lists on lines of their own"
            )
        found: list[Value] = []
        hidden = {clause.name: self.frame.get(clause.name) for clause in comprehension.clauses}
        frame = self.frame
        try:
            self._loop(comprehension, 0, found)
        finally:
            for name, value in hidden.items():
                if value is None:
                    frame.pop(name, None)
                else:
                    frame[name] = value
        return self._listed(tuple(found))

    def _loop(self, comprehension: syntax.Comprehension, number: int, found: list[Value]) -> None:
        if number == len(comprehension.clauses):
            self.budget.store(1)
            found.append(self.evaluate(comprehension.item))
            return
        clause = comprehension.clauses[number]
        for value in self._rounds(clause):
            self.budget.work(1)
            self.frame[clause.name] = value
            if all([self._condition(condition) for condition in clause.conditions]):  # noqa: C419 (one frame less)
                self._loop(comprehension, number + 1, found)

    def _rounds(self, clause: syntax.Clause) -> Iterable[Value]:
        start = self.evaluate(clause.start)
        if clause.stop is None:
            self.at = clause.start.at
            if isinstance(start, Matrix):
                return rows_of(start, self.budget)
            if not isinstance(start, tuple):
                raise fault(f"a loop over {describe(start)}", "loop over a..b or a list")
            return start
        stop = self.evaluate(clause.stop)
        self.at = clause.at
        first = whole(start, "the start of a range", least=-FAR, most=FAR)
        last = whole(stop, "the end of a range", least=-FAR, most=FAR)
        if last - first > MAX_STEPS:
            raise fault(f"a loop of {last - first:,} rounds", f"at most {MAX_STEPS:,}; a..b ends before b")
        return (mpq(i) for i in range(first, last))

    def _postfix(self, postfix: syntax.Postfix) -> Value:
        value = self.evaluate(postfix.base)
        for trailer in postfix.trailers:
            match trailer:
                case syntax.Index(index=index):
                    where = self.evaluate(index)
                    self.at = trailer.at
                    value = parts.element(value, where, self.budget)
                case syntax.Slice(start=start, stop=stop):
                    bounds = [None if bound is None else self.evaluate(bound) for bound in (start, stop)]
                    self.at = trailer.at
                    value = parts.portion(value, bounds[0], bounds[1], self.budget)
                case syntax.Attribute(at=at, name=name):
                    self.at = at
                    value = parts.attribute(value, name, self.budget)
                case _:
                    assert_never(trailer)
        return value

    def _call(self, call: syntax.Call) -> Value:
        function = self.functions.get(call.name)
        builtin = BUILTINS.get(call.name) if function is None else None
        if isinstance(function, Poison):
            raise Silenced
        if function is None and builtin is None:
            self.at = call.at
            if call.name in self.frame or call.name in self.constants:
                raise fault(
                    f"'{call.name[:60]}' is a value, not a function", "multiply with *; index with [i]"
                )
            raise UnresolvedNameError(
                (Diagnostic(message=f"unknown function '{call.name[:60]}'"),), call.name, called=True
            )
        positional = [self.evaluate(argument) for argument in call.positional]
        keywords = {name: self.evaluate(argument) for name, argument in call.keywords}
        self.at = call.at
        if builtin is not None:
            setting = Setting(budget=self.budget, recorder=self.recorder, in_block=self.in_block)
            return builtin.call(positional, keywords, setting)
        assert isinstance(function, Function)
        placed = function.form.place(positional, keywords)
        if len(self.calls) >= MAX_CALLS:
            raise fault(f"calls nested deeper than {MAX_CALLS}", "a function that calls itself must end soon")
        return self._run(function, {**function.defaults, **placed}, call.at)

    def _run(self, function: Function, frame: dict[str, Value], at: Position) -> Value:
        outer, self.frame = self.frame, frame
        self.calls.append((function.form.name, at))
        for statement in function.body:
            value = self.evaluate(statement.value)
            if isinstance(statement, syntax.Return):
                break
            frame[statement.name] = value
        self.calls.pop()
        self.frame = outer
        return value
