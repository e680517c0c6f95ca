"""Exact evaluation of compiled models, against numbers worked out by hand."""

from __future__ import annotations

import pytest
from gmpy2 import mpq

from compiler.errors import TokenError
from compiler.evaluate import evaluate
from compiler.exact import Matrix, Vector, zeros
from compiler.model import GATES, Kind, Layer, Model


def layer(kind: Kind, ih: list[list[object]], **fields: object) -> Layer:
    """A layer that reads the tokens; what is not given is zero."""
    matrix = Matrix.dense(ih)
    size = matrix.height // GATES[kind]
    given: dict[str, object] = {
        "weight_hh": zeros(matrix.height, size), "bias": (mpq(0),) * matrix.height, **fields,
    }  # fmt: skip
    return Layer(kind=kind, inputs=(0,), size=size, weight_ih=matrix, **given)  # type: ignore[arg-type]


def model(*layers: Layer, wires: tuple[int, ...] = (1,), readout: list[list[object]] | None = None) -> Model:
    """A model whose readout adds 0."""
    matrix = Matrix.dense(readout or [[1]])
    return Model(
        target="test", name="test", input_dim=layers[0].weight_ih.width, output_dim=matrix.height,
        layers=layers,        readout_wires=wires, readout=matrix, readout_bias=(mpq(0),) * matrix.height,
    )  # fmt: skip


def first(outputs: list[Vector]) -> list[mpq]:
    """The first output of every step."""
    return [output[0] for output in outputs]


@pytest.mark.parametrize(("kind", "expected"), [("linear", [-1, 7]), ("relu", [0, 7])])
def test_feed_forward_kinds(kind: Kind, expected: list[int]) -> None:
    """The layer is h = W x + b, and its ReLU."""
    built = model(layer(kind, [[2, -1]], bias=(mpq(1),)))
    assert first(evaluate(built, [[0, 2], [3, 0]])) == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("state", [-2, mpq(0), mpq(3)]), ("rnn", [0, mpq(1), mpq(7, 2)])]
)
def test_recurrent_kinds(kind: Kind, expected: list[mpq]) -> None:
    """The layer is h = A h' + B x + b from the initial value on, and its ReLU."""
    built = model(layer(kind, [[1]], weight_hh=Matrix.dense([["1/2"]]), bias=(mpq(1),), initial=(mpq(-8),)))
    assert first(evaluate(built, [[1], [0], [2]])) == expected


def test_gate_is_the_product_of_two_affine_maps() -> None:
    """The layer is h = (Wa x + ba) ⊙ (Wb x + bb), signs and all."""
    built = model(layer("gate", [[1], [-1]], bias=(mpq(1), mpq(1, 3))))
    assert first(evaluate(built, [[2], ["1/3"]])) == [-5, 0]


def test_lstm_gates_stand_in_the_order_i_f_g_o() -> None:
    """The cell is c = σ(f) c' + σ(i) σ(g), h = σ(o) σ(c), with four different gates."""
    built = model(
        layer(
            "lstm", [[1], [0], [0], [0]], bias=(mpq(0), mpq(1, 2), mpq(3), mpq(5)), initial_cell=(mpq(-4),),
        )
    )  # fmt: skip
    assert first(evaluate(built, [[1], [-1], [2]])) == [5, mpq(5, 2), mpq(5, 4) + 30]


def test_lstm_gates_read_the_previous_output() -> None:
    """weight_hh acts on h', not on c'."""
    built = model(
        layer(
            "lstm", [[1], [0], [0], [0]], bias=(mpq(0), mpq(0), mpq(1), mpq(2)),
            weight_hh=Matrix.from_rows(1, [{0: mpq(1)}, {}, {}, {}]), initial=(mpq(10),),
        )
    )  # fmt: skip
    assert first(evaluate(built, [[1], [0]])) == [22, 44]


def test_wires_are_concatenated_in_the_order_named() -> None:
    """A layer and the readout may read tokens and several layers, in any order."""
    doubled = layer("linear", [[2]])
    both = Layer(
        kind="linear", inputs=(1, 0), size=1, weight_ih=Matrix.dense([[10, 1]]), weight_hh=zeros(1, 1),
        bias=(mpq(0),),
    )  # fmt: skip
    built = model(doubled, both, wires=(2, 0, 1), readout=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert evaluate(built, [[3]]) == [(63, 3, 6)]


def test_tokens_of_the_wrong_width_are_refused() -> None:
    """The message names the token and both widths."""
    with pytest.raises(TokenError, match="token 1 has 2 entries, the program's Input has 1"):
        evaluate(model(layer("linear", [[2]])), [[1], [1, 2]])
