"""Statements to a program: scopes, the order of definitions, and all mistakes at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath

from gmpy2 import mpq

from compiler import ir
from compiler.errors import ConfigError, Diagnostic, ProgramError, Span
from compiler.exact import Number
from compiler.expr import Variable
from compiler.text import syntax
from compiler.text.builtins import BUILTINS
from compiler.text.calls import Form, Slot
from compiler.text.evaluator import CONSTANTS, Evaluator, Function, Silenced, UnresolvedNameError
from compiler.text.findings import Enough, Findings, reaches, readings, similar
from compiler.text.parsing import parse_module
from compiler.text.syntax import Position
from compiler.text.values import ExhaustedError, Poison, Value, describe, fault, parameter_value


class Reading:
    """One program being read: its names, its evaluator and its findings."""

    def __init__(self, module: syntax.Module, file: str, parameters: Mapping[str, Number]) -> None:
        self.module = module
        self.given = parameters
        self.evaluator = Evaluator(file)
        self.findings = Findings(file=file)
        self.parameters: dict[str, mpq] = {}
        self.block: syntax.ForEach | None = None
        self.output: Variable | None = None
        self.readings: dict[str, set[str]] | None = None

    def read(self) -> None:
        """Evaluate every statement; mistakes are collected in :attr:`findings`."""
        for item in self.module:
            if self.block is not None:
                message = f"code after the ForEach block of line {self.block.at[0]} is never reached"
                self.findings.add(item.at, message, "put it above ForEach, or indent it into the block")
                break
            match item:
                case syntax.Param():
                    self._param(item)
                case syntax.Assign():
                    value = self._guard(item.at, item.value, self.evaluator.constants)
                    self._bind(item, value, self.evaluator.constants)
                case syntax.Definition():
                    self._define(item)
                case syntax.Return():
                    self.findings.add(item.at, "return outside ForEach", "indent it into the ForEach block")
                case syntax.ForEach():
                    self._foreach(item)
        if self.block is None:
            hint = "a program ends with ForEach: and an indented block that returns a variable"
            self.findings.add((1, 1), "the program has no ForEach block", hint)

    def _guard(self, at: Position, expression: syntax.Expression, frame: dict[str, Value]) -> Value:
        """The value of an expression, or poison with the mistake noted."""
        try:
            return self.evaluator.statement(at, frame, expression)
        except Silenced:
            return Poison()
        except ProgramError as mistake:
            self._note(mistake)
            return Poison()

    def _note(self, mistake: ProgramError) -> None:
        at, calls = self.evaluator.at, self.evaluator.calls
        context = f" (in {calls[-1][0]}, called on line {calls[0][1][0]})" if calls else ""
        if isinstance(mistake, UnresolvedNameError):
            message, hint = self._explain(mistake)
            self.findings.add(at, message, hint, context=context)
        else:
            for diagnostic in mistake.diagnostics:
                self.findings.add(at, diagnostic.message, diagnostic.hint, context=context)
        if isinstance(mistake, ExhaustedError):
            raise Enough

    def _claim(self, at: Position, name: str, role: str) -> bool:
        """Whether ``name`` may be given to a value; notes the mistake if not."""
        if name in BUILTINS:
            self.findings.add(
                at, f"{role} '{name}' has the name of a function of the language", "choose another name"
            )
        elif name in self.evaluator.functions:
            self.findings.add(
                at, f"{role} '{name[:60]}' redefines the function of that name", "choose another name"
            )
        elif name in self.parameters:
            self.findings.add(
                at, f"{role} '{name[:60]}' redefines the param of that name", "choose another name"
            )
        else:
            return True
        return False

    def _param(self, item: syntax.Param) -> None:
        evaluator = self.evaluator
        free = self._claim(item.at, item.name, "the param")
        if free and item.name in evaluator.constants:
            self.findings.add(
                item.at,
                f"the param '{item.name[:60]}' redefines the constant of that name",
                "choose another name",
            )
        value: Value = Poison()
        if item.name in self.given:
            evaluator.at = item.at
            evaluator.calls.clear()
            try:
                value = parameter_value(item.name, self.given[item.name])
            except ProgramError as mistake:
                self._note(mistake)
        else:
            value = self._guard(item.value.at, item.value, evaluator.constants)
        if not isinstance(value, mpq | Poison):
            self.findings.add(
                item.at, f"the param '{item.name[:60]}' is {describe(value)}", "a param is a number"
            )
            value = Poison()
        if free:
            evaluator.constants[item.name] = value
            self.parameters[item.name] = value if isinstance(value, mpq) else mpq(0)

    def _bind(self, item: syntax.Assign, value: Value, frame: dict[str, Value]) -> None:
        if self._claim(item.at, item.name, "the variable"):
            frame[item.name] = value
            self._name(item, value)

    def _name(self, item: syntax.Assign, value: Value) -> None:
        if isinstance(value, Variable):
            value.named(item.name)
        elif isinstance(value, tuple):
            try:
                self.evaluator.budget.work(len(value))
            except ExhaustedError as mistake:
                self.evaluator.at = item.at
                self._note(mistake)
            for index, element in enumerate(value):
                if isinstance(element, Variable):
                    element.named(f"{item.name}[{index}]")

    def _define(self, item: syntax.Definition) -> None:
        evaluator = self.evaluator
        if not self._claim(item.at, item.name, "the function"):
            return
        if item.name in evaluator.constants:
            self.findings.add(item.at, f"the function '{item.name[:60]}' redefines the constant of that name")
        before = len(self.findings.diagnostics)
        self._check_formals(item)
        self._check_body(item.body, item.at, f"the function '{item.name[:60]}'")
        self._check_names(item)
        defaults = {
            formal.name: self._guard(formal.at, formal.default, evaluator.constants)
            for formal in item.formals
            if formal.default is not None
        }
        if len(self.findings.diagnostics) > before:
            evaluator.functions[item.name] = Poison()
            return
        slots = tuple(
            Slot(
                name=formal.name,
                kind="Value",
                required=formal.default is None,
                shown=formal.name if formal.default is None else f"{formal.name}=…",
            )
            for formal in item.formals
        )
        form = Form(name=item.name, slots=slots)
        evaluator.functions[item.name] = Function(form=form, defaults=defaults, body=item.body)

    def _check_formals(self, item: syntax.Definition) -> None:
        seen: set[str] = set()
        defaulted = False
        for formal in item.formals:
            if formal.name in seen:
                self.findings.add(formal.at, f"two parameters are called '{formal.name[:60]}'")
            seen.add(formal.name)
            if defaulted and formal.default is None:
                self.findings.add(formal.at, "a parameter without default after one with default")
            defaulted = defaulted or formal.default is not None

    def _check_body(self, body: tuple[syntax.Statement, ...], at: Position, owner: str) -> None:
        for number, statement in enumerate(body):
            if isinstance(statement, syntax.Return):
                if number + 1 < len(body):
                    message = f"this line is never reached: line {statement.at[0]} returns"
                    self.findings.add(body[number + 1].at, message, "remove it or put it above return")
                return
        self.findings.add(at, f"{owner} returns nothing", "end it with: return …")

    def _check_names(self, item: syntax.Definition) -> None:
        """Unknown names in a function's body, which may never be called."""
        top = {each.name for each in self.module if isinstance(each, syntax.Param | syntax.Assign)}
        functions = {each.name for each in self.module if isinstance(each, syntax.Definition)}
        local = {formal.name for formal in item.formals}
        for statement in item.body:
            for read in syntax.names_read(statement.value):
                if isinstance(read, syntax.Call):
                    known = {*functions, *BUILTINS, *top, *local}
                else:
                    known = {*top, *local, *functions, *BUILTINS, *CONSTANTS}
                if read.name not in known:
                    kind = "function" if isinstance(read, syntax.Call) else "name"
                    message = f"unknown {kind} '{read.name[:60]}' in the function '{item.name[:60]}'"
                    self.findings.add(read.at, message, similar(read.name, known))
            if isinstance(statement, syntax.Assign):
                local.add(statement.name)

    def _foreach(self, item: syntax.ForEach) -> None:
        self.block = item
        self.evaluator.in_block = True
        frame: dict[str, Value] = {}
        for statement in item.body:
            value = self._guard(statement.at, statement.value, frame)
            if isinstance(statement, syntax.Assign):
                self._bind(statement, value, frame)
                continue
            self._return(statement, value)
            break
        self._check_body(item.body, item.at, "the ForEach block")

    def _return(self, statement: syntax.Return, value: Value) -> None:
        if isinstance(value, Poison):
            return
        if isinstance(value, Variable):
            self.output = value
            return
        nodes = self.evaluator.recorder.nodes
        if not nodes and not self.findings.diagnostics:
            self.findings.add(statement.at, "the program has no Input", "begin with input = Input(dim=1)")
        if len(nodes) == 1 and nodes[0].span is not None:
            at = (nodes[0].span.line, nodes[0].span.column)
            self.findings.add(at, "the Input is not used", "return a variable that depends on it")
        hint = "return a variable; several are stacked by Concat([…])"
        self.findings.add(statement.at, f"return of {describe(value)}, not a variable", hint)

    def _explain(self, unresolved: UnresolvedNameError) -> tuple[str, str | None]:
        """Why a name is not there: defined later, in a cycle, or nowhere."""
        name = unresolved.name
        line = self.evaluator.at[0]
        if unresolved.called:
            later = [
                each.at[0]
                for each in self.module
                if isinstance(each, syntax.Definition) and each.name == name
            ]
            known = [*BUILTINS, *self.evaluator.functions]
            if later:
                return (
                    f"the function '{name[:60]}' is used before its definition on line {later[0]}",
                    f"move line {later[0]} up",
                )
            return unresolved.diagnostics[0].message, similar(name, known)
        if self.block is not None and not self.evaluator.calls:
            found = self._used_early(name, line)
            if found is not None:
                return found
        for each in self.module:
            if isinstance(each, syntax.Assign | syntax.Param) and each.name == name and each.at[0] >= line:
                return (
                    f"'{name[:60]}' is used before its definition on line {each.at[0]}",
                    "move the definition up",
                )
        if name.lower() in ("inf", "infinity", "nan"):
            return f"'{name}' is not a constant", "constants are finite and exact"
        evaluator = self.evaluator
        known = [*evaluator.frame, *evaluator.constants, *CONSTANTS, *BUILTINS, *evaluator.functions]
        return unresolved.diagnostics[0].message, similar(name, known)

    def _used_early(self, name: str, line: int) -> tuple[str, str] | None:
        assert self.block is not None
        body = [each for each in self.block.body if isinstance(each, syntax.Assign)]
        current = [each for each in self.block.body if each.at[0] <= line][-1]
        later = [each for each in body if each.name == name and each.at >= current.at]
        if not later:
            return None
        place = later[0].at[0]
        if self.readings is None:
            self.readings = readings(self.block)
        if isinstance(current, syntax.Assign) and current.name in reaches(name, self.readings):
            message = (
                f"a cycle: '{current.name[:60]}' on line {current.at[0]} reads '{name[:60]}', "
                f"and '{name[:60]}' on line {place} depends on '{current.name[:60]}'"
            )
            if current is later[0]:
                message = f"a cycle: '{name[:60]}' on line {place} depends on itself"
            return message, "only a LinState's own A reads the step before; feed back through its A"
        return (
            f"'{name[:60]}' is used before its definition on line {place}",
            f"move line {place} above line {line}",
        )


def _check_given(module: syntax.Module, given: Mapping[str, Number]) -> None:
    known = [item.name for item in module if isinstance(item, syntax.Param)]
    unknown = [name for name in given if name not in known]
    if unknown:
        listed = f"its parameters are {', '.join(known[:20])}" if known else "it has no parameters"
        raise ConfigError(
            [Diagnostic(message=f"unknown parameter '{name}'", hint=listed) for name in unknown]
        )


def parse_program(
    text: str, *, file: str = "<text>", parameters: Mapping[str, Number] | None = None
) -> ir.Program:
    """Read a program in the text language.

    Args:
        text: the program; untrusted input is safe.
        file: what error messages call it; its stem names the program.
        parameters: values that override ``param`` lines, exact: numbers or text such as ``"1/3"``.

    Raises:
        ProgramError: every mistake of the program, sorted by line.
        ConfigError: a parameter that the program does not declare.
    """
    module = parse_module(text, file)
    given = dict(parameters or {})
    _check_given(module, given)
    reading = Reading(module, file, given)
    with suppress(Enough):
        reading.read()
    diagnostics = reading.findings.diagnostics
    if diagnostics:
        raise ProgramError(sorted(diagnostics, key=lambda each: each.span or Span(file=file, line=0)))
    if reading.output is None:
        raise fault("the program returns nothing")
    name = "program" if file == "<text>" else PurePath(file).stem
    return reading.output.program(name, dict(reading.parameters))
