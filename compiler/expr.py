"""The Python front end: LSRL operations on variables with operators.

    >>> from compiler.expr import Input, LinState
    >>> from compiler.stdlib import f_larger
    >>> x = Input(1, lo=-1, hi=1, integer=True)
    >>> total = LinState(x, A=[[1]], B=[[1]], init_state=[0])
    >>> program = f_larger(total, 0).program("majority")

:func:`Input` starts a new program; every other operation finds the program
through its arguments.  Each node remembers the file and line that made it.  The
text front end (:mod:`compiler.text`) builds its programs with these functions
too, so there is one set of rules for dimensions and constants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from gmpy2 import mpq

from compiler import exact as ex
from compiler import ir
from compiler.errors import ProgramError, Span
from compiler.exact import Matrix, Number, Vector, exact

_PACKAGE = str(Path(__file__).parent)
MAX_NODES = 200_000

MatrixLike: TypeAlias = Matrix | Sequence[Sequence[Number]] | Number
VectorLike: TypeAlias = Sequence[Number] | Matrix | Number


def _caller_span() -> Span | None:
    """The nearest frame outside this package: the user's line."""
    frame = sys._getframe(1)  # noqa: SLF001 -- the only way to the user's line
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE):
            return Span(file=Path(file).name, line=frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


class Recorder:
    """The nodes of one program under construction.

    Args:
        locate: gives the span of the operation being recorded.
    """

    def __init__(self, locate: Callable[[], Span | None] = _caller_span) -> None:
        self.nodes: list[ir.Node] = []
        self.locate = locate

    def add(self, make: Callable[..., Any], **fields: Any) -> Variable:
        """Append a node and return it as a variable."""
        if len(self.nodes) >= MAX_NODES:
            raise self.error(f"the program has more than {MAX_NODES} nodes")
        self.nodes.append(make(span=self.locate(), **fields))
        return Variable(self, len(self.nodes) - 1)

    def error(self, message: str, hint: str | None = None) -> ProgramError:
        """An error at the operation being recorded."""
        return _error(self.locate(), message, hint)

    def rename(self, index: int, name: str) -> None:
        """Give a node its variable name (the first one stays)."""
        if self.nodes[index].name is None:
            self.nodes[index] = replace(self.nodes[index], name=name)


def _error(span: Span | None, message: str, hint: str | None) -> ProgramError:
    error = ProgramError.single(message, span=span, hint=hint)
    assert isinstance(error, ProgramError)
    return error


class Variable:
    """A value of the program: a node, seen from the front end."""

    __array_priority__ = 1000  # numpy scalars hand their operators over to us
    __slots__ = ("index", "recorder")

    def __init__(self, recorder: Recorder, index: int) -> None:
        self.recorder = recorder
        self.index = index

    @property
    def node(self) -> ir.Node:
        """The node behind the variable."""
        return self.recorder.nodes[self.index]

    @property
    def dim(self) -> int:
        """Number of components."""
        return self.node.dim

    def named(self, name: str) -> Variable:
        """The same variable, shown as ``name`` in reports."""
        self.recorder.rename(self.index, name)
        return self

    def program(self, name: str = "program", parameters: dict[str, Number] | None = None) -> ir.Program:
        """The finished program that returns this variable."""
        values = tuple(sorted((key, exact(value)) for key, value in (parameters or {}).items()))
        nodes, output = _reachable(self.recorder.nodes, self.index)
        return ir.Program(nodes=nodes, output=output, name=name, parameters=values)

    def _combine(self, other: Variable | Number, own: mpq, others: mpq) -> Variable:
        """own·self + others·other, broadcasting components of dim 1."""
        if not isinstance(other, Variable):
            matrix = ex.eye(self.dim).scaled(own)
            return _linear(self, matrix, (others * _constant(self, other),) * self.dim)
        _same_program(self, other)
        dim = broadcast_dim(self.recorder, (self, other))
        if self.index == other.index:
            return _linear(self, ex.eye(self.dim).scaled(own + others), (ex.ZERO,) * dim)
        left, right = _spread(self.dim, dim).scaled(own), _spread(other.dim, dim).scaled(others)
        return _linear(Concat(self, other), ex.hstack([left, right]), (ex.ZERO,) * dim)

    def __add__(self, other: Variable | Number) -> Variable:
        return self._combine(other, ex.ONE, ex.ONE)

    def __sub__(self, other: Variable | Number) -> Variable:
        return self._combine(other, ex.ONE, -ex.ONE)

    def __radd__(self, other: Number) -> Variable:
        return self._combine(other, ex.ONE, ex.ONE)

    def __rsub__(self, other: Number) -> Variable:
        return self._combine(other, -ex.ONE, ex.ONE)

    def __neg__(self) -> Variable:
        return _linear(self, ex.eye(self.dim).scaled(-ex.ONE), (ex.ZERO,) * self.dim)

    def __mul__(self, other: Variable | Number) -> Variable:
        if isinstance(other, Variable):
            dim = broadcast_dim(self.recorder, (self, other))
            return Multi(Concat(broadcast(self, dim), broadcast(other, dim)))
        return _linear(self, ex.eye(self.dim).scaled(_constant(self, other)), (ex.ZERO,) * self.dim)

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Variable:
        if isinstance(other, Variable):
            raise self.recorder.error("division by a variable", "LSRL divides by constants only")
        divisor: mpq = _constant(self, other)
        if divisor == 0:
            raise self.recorder.error("division by zero")
        return self.__mul__(1 / divisor)

    def __rtruediv__(self, other: Number) -> Variable:
        raise self.recorder.error("division by a variable", "LSRL divides by constants only")

    def __iter__(self) -> Iterator[Variable]:
        return (self[i] for i in range(self.dim))

    def __lt__(self, other: object) -> bool:
        raise self.recorder.error("a comparison of variables", "use f_smaller, f_larger, f_eq or f_neq")

    __gt__ = __le__ = __ge__ = __lt__

    def __getitem__(self, key: int | slice) -> Variable:
        rows = range(self.dim)
        if not isinstance(key, int | slice):
            raise self.recorder.error(f"index {key!r}", "write x[i] or x[a:b] with whole numbers")
        if isinstance(key, slice):
            if key.step not in (None, 1):
                raise self.recorder.error("a slice with a step", "write x[a:b]")
            picked = list(rows[key])
            if not picked:
                raise self.recorder.error(
                    f"the slice [{key.start}:{key.stop}] of {self.dim} components is empty"
                )
        else:
            if not -self.dim <= key < self.dim:
                raise self.recorder.error(f"index {key} of a value with {self.dim} components")
            picked = [rows[key]]
        matrix = Matrix.from_rows(self.dim, [{j: ex.ONE} for j in picked])
        return _linear(self, matrix, (ex.ZERO,) * len(picked))


def _same_program(one: Variable, other: Variable) -> None:
    if one.recorder is not other.recorder:
        raise one.recorder.error("variables of two different programs", "a program has one Input; slice it")


def _reachable(nodes: Sequence[ir.Node], output: int) -> tuple[tuple[ir.Node, ...], int]:
    """The Input and the nodes that reach ``output``, renumbered; the rest has no effect."""
    needed = {0, output}
    for index in range(output, -1, -1):
        if index in needed:
            needed.update(ir.sources_of(nodes[index]))
    place = {old: new for new, old in enumerate(sorted(needed))}
    return tuple(ir.renumbered(nodes[old], place) for old in place), place[output]


def _constant(at: Variable, value: Number) -> mpq:
    try:
        return exact(value)
    except (ValueError, ZeroDivisionError, TypeError) as problem:
        raise at.recorder.error(f"not an exact constant: {problem}") from None


def _spread(dim: int, target: int) -> Matrix:
    return ex.eye(dim) if dim == target else ex.ones(target, dim)


def broadcast_dim(recorder: Recorder, variables: Sequence[Variable]) -> int:
    """The common dimension of ``variables``; those of dim 1 fit any.

    Raises:
        ProgramError: two different dimensions above 1.
    """
    dims = {v.dim for v in variables} - {1}
    if len(dims) > 1:
        shown = " and ".join(str(v.dim) for v in variables)
        raise recorder.error(
            f"values of different dimension: {shown}", "give them the same dim; only dim 1 broadcasts"
        )
    return dims.pop() if dims else 1


def broadcast(variable: Variable, dim: int) -> Variable:
    """``variable`` repeated to ``dim`` components (itself if it has them)."""
    if variable.dim == dim:
        return variable
    return _linear(variable, ex.ones(dim, 1), (ex.ZERO,) * dim)


def _linear(x: Variable, matrix: Matrix, bias: Vector) -> Variable:
    return x.recorder.add(ir.Linear, dim=matrix.height, source=x.index, matrix=matrix, bias=bias)


def _matrix(at: Variable, value: MatrixLike, role: str) -> Matrix:
    if isinstance(value, Matrix):
        return value
    value = _listed(value)
    try:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return Matrix.dense(value)
        return Matrix.dense([[value]])
    except (ValueError, TypeError) as problem:
        raise at.recorder.error(f"{role} is not a matrix: {problem}", f"write {role}=[[…], […]]") from None


def _listed(value: Any) -> Any:
    """A NumPy array as nested lists; its floats are read as the decimals that Python prints."""
    return value.tolist() if hasattr(value, "tolist") else value


def _vector(at: Variable, value: VectorLike, dim: int, role: str) -> Vector:
    value = value if isinstance(value, Matrix) else _listed(value)
    if isinstance(value, Matrix):
        flat: list[mpq] = [ex.ZERO] * (value.height * value.width)
        for i, j, entry in value.entries():
            flat[i * value.width + j] = entry
        if 1 not in value.shape:
            raise at.recorder.error(f"{role} has shape {value.shape[0]}×{value.shape[1]}, not a vector")
        result = tuple(flat)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        result = tuple(_constant(at, entry) for entry in value)
    else:
        result = (_constant(at, value),) * dim
    if len(result) != dim:
        raise at.recorder.error(f"{role} has {len(result)} entries, expected {dim}")
    return result


def Input(
    dim: int,
    *,
    lo: Number | None = None,
    hi: Number | None = None,
    integer: bool = False,
    recorder: Recorder | None = None,
) -> Variable:
    """Start a program: the token x_t of ``dim`` entries, with its declared range."""
    if recorder is None:
        recorder = Recorder()
    if recorder.nodes:
        raise recorder.error("a second Input", "a program has one Input; slice it")
    if not isinstance(dim, int) or dim < 1:  # type: ignore[redundant-expr]  # callers may be untyped
        raise recorder.error(f"Input(dim={dim})", "dim is a positive whole number")
    return recorder.add(ir.Input, dim=dim, declared=_declaration(recorder, lo, hi, integer))


def _declaration(
    recorder: Recorder, lo: Number | None, hi: Number | None, integer: bool
) -> ir.Declaration | None:
    if lo is None and hi is None and not integer:
        return None
    try:
        low, high = (None if bound is None else exact(bound) for bound in (lo, hi))
    except (ValueError, ZeroDivisionError) as problem:
        raise recorder.error(f"not an exact bound: {problem}") from None
    if integer and low is not None and high is not None and -(-low // 1) > high // 1:
        raise recorder.error(f"an empty range: no whole number lies in [{low}, {high}]")
    if low is not None and high is not None and low > high:
        raise recorder.error(f"an empty range: lo={low} is above hi={high}")
    return ir.Declaration(lo=low, hi=high, integer=bool(integer))


def assume(
    x: Variable, *, lo: Number | None = None, hi: Number | None = None, integer: bool = False
) -> Variable:
    """``x`` itself, with a range that the author vouches for."""
    declared = _declaration(x.recorder, lo, hi, integer)
    return x.recorder.add(
        ir.Linear, dim=x.dim, source=x.index, matrix=ex.eye(x.dim), bias=(ex.ZERO,) * x.dim, declared=declared
    )


def Linear(x: Variable, A: MatrixLike, b: VectorLike = 0) -> Variable:
    """A x + b."""
    matrix = _matrix(x, A, "A")
    if matrix.width != x.dim:
        raise x.recorder.error(
            f"A has {matrix.width} columns, its argument has dim {x.dim}", "A is (rows of the result) × (dim)"
        )
    if matrix.height == 0:
        raise x.recorder.error("A has no rows")
    return _linear(x, matrix, _vector(x, b, matrix.height, "b"))


def ReLU(x: Variable) -> Variable:
    """max(0, x), elementwise."""
    return x.recorder.add(ir.ReLU, dim=x.dim, source=x.index)


def LinState(
    x: Variable, A: MatrixLike, B: MatrixLike, b: VectorLike = 0, init_state: VectorLike | None = None
) -> Variable:
    """s_t = A s_{t-1} + B x + b, starting from ``init_state``; its value is s_t."""
    state, entry = _matrix(x, A, "A"), _matrix(x, B, "B")
    if state.height != state.width:
        raise x.recorder.error(f"A has shape {state.height}×{state.width}", "A of a LinState is square")
    if entry.shape != (state.height, x.dim):
        raise x.recorder.error(
            f"B has shape {entry.height}×{entry.width}, expected {state.height}×{x.dim}",
            "B is (dim of the state) × (dim of the argument)",
        )
    if init_state is None:
        raise x.recorder.error("LinState without init_state", "give init_state=zeros(k, 1)")
    if state.height == 0:
        raise x.recorder.error("a LinState of dimension 0")
    return x.recorder.add(
        ir.LinState,
        dim=state.height,
        source=x.index,
        state_matrix=state,
        input_matrix=entry,
        bias=_vector(x, b, state.height, "b"),
        initial=_vector(x, init_state, state.height, "init_state"),
    )


def Concat(*parts: Variable | Sequence[Variable]) -> Variable:
    """Its arguments stacked (variables, or lists of them)."""
    flat: list[Variable] = []
    for part in parts:
        flat.extend([part] if isinstance(part, Variable) else part)
    if not flat:
        raise _error(_caller_span(), "Concat of nothing", None)
    if len(flat) == 1:
        return flat[0]
    recorder = flat[0].recorder
    for part in flat:
        _same_program(flat[0], part)
    return recorder.add(ir.Concat, dim=sum(part.dim for part in flat), sources=tuple(p.index for p in flat))


def Multi(x: Variable) -> Variable:
    """First half of x times its second half, elementwise."""
    if x.dim % 2:
        raise x.recorder.error(
            f"Multi of an odd number of components ({x.dim})", "give it Concat(a, b) with a and b of one dim"
        )
    return x.recorder.add(ir.Multi, dim=x.dim // 2, source=x.index)


def variable(anchor: Variable, value: Variable | Number) -> Variable:
    """``value`` as a variable: a constant becomes Linear with A = 0, b = value."""
    if isinstance(value, Variable):
        _same_program(anchor, value)
        return value
    return _linear(anchor, ex.zeros(1, anchor.dim), (_constant(anchor, value),))


def constant(x: Variable, value: VectorLike) -> Variable:
    """The constant vector ``value`` (Linear with A = 0)."""
    dim = (
        value.height * value.width
        if isinstance(value, Matrix)
        else len(value)
        if isinstance(value, Sequence)
        else 1
    )
    if dim == 0:
        raise x.recorder.error("a constant without entries", "give at least one number")
    return _linear(x, ex.zeros(dim, x.dim), _vector(x, value, dim, "v"))
