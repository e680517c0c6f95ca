"""What the text language means: its values, its scopes and the nodes it records."""

from __future__ import annotations

import pytest
from gmpy2 import mpq

from compiler import exact as ex
from compiler import ir
from compiler.expr import Concat, Input, Linear, LinState
from compiler.stdlib import LIBRARY, f_and, f_ifelse, f_larger, f_modulo_counter, f_smaller
from compiler.text import parse_program
from compiler.text.builtins import BUILTINS
from compiler.text.calls import READERS

LISTING = """\
param n = 3                      # overridable: --param n=10
def f_is(x, i): return f_and(f_larger(x, i - 0.5), f_smaller(x, i + 0.5))
ForEach:
    input = Input(dim=1, lo=1, hi=26, integer=true)
    ctr = f_modulo_counter(input, n)
    parts = [f_ifelse(f_is(ctr, i), t=input, f=input*0) for i in 0..n]   # 0..n is half-open
    q = LinState(Concat(parts), A=eye(n), B=eye(n), init_state=zeros(n, 1))
    return Linear(q, A=ones(1, n), b=zeros(1, 1))
"""


def constant(expression: str, before: str = "") -> mpq:
    """The exact value of a constant expression, read through a Linear's bias."""
    text = f"{before}ForEach:\n    x = Input(dim=1)\n    return Linear(x, A=[[1]], b=[{expression}])\n"
    node = parse_program(text).nodes[-1]
    assert isinstance(node, ir.Linear)
    return node.bias[0]


def matrix(expression: str) -> ex.Matrix:
    """The exact value of a matrix expression, read through a Linear of fitting width."""
    for width in range(1, 9):
        text = f"ForEach:\n    x = Input(dim={width})\n    return Linear(x, A={expression})\n"
        try:
            node = parse_program(text).nodes[-1]
        except ValueError as mistake:
            if "columns" not in str(mistake):
                raise
            continue
        assert isinstance(node, ir.Linear)
        return node.matrix
    raise AssertionError(expression)


def python_listing(n: int) -> ir.Program:
    """The listing above, built with the Python front end."""
    x = Input(1, lo=1, hi=26, integer=True)
    counter = f_modulo_counter(x, n)
    half = mpq(1, 2)
    parts = []
    for i in range(n):
        is_i = f_and(f_larger(counter, i - half), f_smaller(counter, i + half))
        parts.append(f_ifelse(is_i, t=x, f=x * 0))
    q = LinState(Concat(parts), A=ex.eye(n), B=ex.eye(n), init_state=ex.zeros(n, 1))
    return Linear(q, A=ex.ones(1, n), b=ex.zeros(1, 1)).program(parameters={"n": n})


@pytest.mark.parametrize("n", [1, 3, 10])
def test_the_listing_equals_its_python_twin(n: int) -> None:
    """Both front ends make the same program from the same source, for any parameter."""
    assert parse_program(LISTING, parameters={"n": n}) == python_listing(n)


def test_nodes_carry_names_and_places() -> None:
    """Assigned variables name their nodes; spans point at the operation, or at the outermost call."""
    program = parse_program(LISTING, file="some/listing.lsrl")
    by_name = {name: program.nodes[index] for name, index in program.named()}
    assert program.name == "listing"
    assert list(by_name) == ["input", "ctr", "parts[0]", "parts[1]", "parts[2]", "q"]
    state = by_name["q"].span
    assert state is not None
    assert (state.file, state.line, state.column) == ("some/listing.lsrl", 7, 9)
    inner = {(node.span.line, node.span.column) for node in program.nodes[2:7] if node.span}
    assert inner == {(6, 23)}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1e-3", mpq(1, 1000)), ("0.1 + 0.2", mpq(3, 10)), ("1/3", mpq(1, 3)), (".5", mpq(1, 2)),
        ("-2 ** 2", mpq(-4)), ("2 ** -2", mpq(1, 4)), ("2 ** 3 ** 2", mpq(512)), ("- - -3", mpq(-3)),
        ("7 // 2", mpq(3)), ("-7 // 2", mpq(-4)), ("-7 % 3", mpq(2)), ("7/2 % 1", mpq(1, 2)),
        ("1 - 2 - 3", mpq(-4)), ("12 / 3 / 2", mpq(2)), ("0 ** 0", mpq(1)), ("(-1) ** 3", mpq(-1)),
        ("min(3, 1, 2)", mpq(1)), ("max([3, 1])", mpq(3)), ("abs(-1/2)", mpq(1, 2)),
        ("floor(-1/2)", mpq(-1)), ("ceil(1/2)", mpq(1)), ("sqrt(4/9)", mpq(2, 3)),
        ("cos(pi/3)", mpq(1, 2)), ("sin(pi/6)", mpq(1, 2)), ("cos(2*pi/7)", ex.cos_pi(mpq(2, 7))),
        ("cos(-(pi + 2*pi)/5)", ex.cos_pi(mpq(-3, 5))), ("2*pi/pi", mpq(2)), ("sin(0)", mpq(0)),
        ("1 if 2 > 1 else 1/0", mpq(1)), ("1 if false else 2 if true else 3", mpq(2)),
        ("1 if 1 < 2 <= 2 != 3 and not 1 == 2 or 1/0 > 0 else 2", mpq(1)),
        ("[10, 20, 30][-1]", mpq(30)), ("([1] + [2, 3])[1:][0]", mpq(2)), ("len([1, 2])", mpq(2)),
        ("[[1, 2], [3, 4]][1][0]", mpq(3)), ("len([i for i in 0..10 if i % 2 == 0])", mpq(5)),
        ("[i * 10 + j for i in 0..3 for j in 0..i][-1]", mpq(21)), ("max([2 * v for v in [1, 5]])", mpq(10)),
        ("len([i for i in 3..1])", mpq(0)), ("1 if true == True else 2", mpq(1)),
    ],
)  # fmt: skip
def test_constants_are_exact(expression: str, value: mpq) -> None:
    """Arithmetic on constants never rounds, and follows the usual precedence."""
    assert constant(expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[[1, 2], [3, 4]].T", [[1, 3], [2, 4]]),
        ("[[1, 2]] @ [[3], [4]]", [[11]]),
        ("eye(2) * 3 - ones(2, 2) / 2", [["5/2", "-1/2"], ["-1/2", "5/2"]]),
        ("-eye(2)", [[-1, 0], [0, -1]]),
        ("hstack(eye(2), [[5], [6]])", [[1, 0, 5], [0, 1, 6]]),
        ("vstack([[1, 2]], zeros(1, 2))", [[1, 2], [0, 0]]),
        ("diag([1, 2])", [[1, 0], [0, 2]]),
        ("shift(3)", [[0, 0, 0], [1, 0, 0], [0, 1, 0]]),
        ("cycle(3)", [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        ("rotation(pi/2)", [[0, -1], [1, 0]]),
        ("[[i + j for j in 0..2] for i in 0..3]", [[0, 1], [1, 2], [2, 3]]),
        ("sparse(2, 3, [[1, 2, 1/2], [0, 0, -1]])", [[-1, 0, 0], [0, 0, "1/2"]]),
        ("[[1, 2], [3, 4]][1:]", [[3, 4]]),
        ("7", [[7]]),
    ],
)
def test_matrix_builders(expression: str, value: list[list[int | str]]) -> None:
    """Every builder and matrix operator gives the matrix that mathematics gives."""
    assert matrix(expression) == ex.Matrix.dense(value)


def test_slices_pick_components() -> None:
    """x[i], x[-k:] and x[a:b] select rows as Python does."""
    text = "ForEach:\n    x = Input(dim=4)\n    return Concat(x[0], x[-1], x[1:3], x[-2:])\n"
    picked = [node.matrix for node in parse_program(text).nodes if isinstance(node, ir.Linear)]
    assert [[row[0][0] for row in each.rows] for each in picked] == [[0], [3], [1, 2], [2, 3]]


def test_functions_have_defaults_and_blocks() -> None:
    """A function's block may assign; defaults and named arguments fill its parameters."""
    before = "k = 2\ndef f(a, b, c=k*10):\n    # a comment\n    d = a + b\n    return d * c\n"
    assert constant("f(1, b=2)", before) == 60
    assert constant("f(b=1, a=1, c=1)", before) == 2


def test_functions_may_call_themselves_a_bounded_number_of_times() -> None:
    """A recursion that ends soon is allowed."""
    assert constant("f(10)", "def f(n): return 1 if n == 0 else n * f(n - 1)\n") == 3628800


def test_loop_variables_do_not_leak() -> None:
    """A loop's variable hides a name inside its list only."""
    text = "ForEach:\n    x = Input(dim=1)\n    i = 5\n    a = [i for i in 0..3]\n    return x * i\n"
    node = parse_program(text).nodes[-1]
    assert isinstance(node, ir.Linear)
    assert node.matrix.rows == (((0, mpq(5)),),)


@pytest.mark.parametrize("value", [3, "3", "6/2", 3.0, "3e0", mpq(3)])
def test_parameters_are_overridden_exactly(value: float | str) -> None:
    """A parameter takes numbers and text, and the program records its final values."""
    program = parse_program(
        "param m = 1\nparam n = 2\n" + LISTING.partition("\n")[2], parameters={"n": value}
    )
    assert program.parameters == (("m", mpq(1)), ("n", mpq(3)))


def test_layout_is_free_inside_brackets() -> None:
    """Line ends, comments, tabs and CRLF do not matter where they cannot mean anything."""
    flat = "ForEach:\n    x = Input(dim=1)\n    y = Concat(x, x + 1)\n    return y\n"
    spread = (
        "\ufeff\n# a program\n\nForEach:\r\n\tx = Input(dim=1)   # the token\r\n\r\n# between\r\n"
        "\ty = Concat(x,  # first\n  x +\n1,\n)\n\treturn y"
    )
    assert parse_program(flat) == parse_program(spread)
    assert parse_program("ForEach: return Input(dim=1)").nodes == (ir.Input(dim=1),)


def test_every_library_function_can_be_called() -> None:
    """All idioms are known to the language, and the kind of each of their arguments as well."""
    assert set(LIBRARY) <= set(BUILTINS)
    kinds = {slot.kind for builtin in BUILTINS.values() for slot in builtin.form.slots}
    assert kinds <= set(READERS)


def test_declared_states_a_range_in_place() -> None:
    """declared(…) sets the range of the node itself, assume(…) adds a node."""
    text = "ForEach:\n    x = Input(dim=1)\n    y = declared(ReLU(x), lo=0, hi=1/2)\n    return y\n"
    program = parse_program(text)
    assert len(program.nodes) == 2
    assert program.nodes[1].declared == ir.Declaration(lo=mpq(0), hi=mpq(1, 2))
