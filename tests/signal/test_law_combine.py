"""Sums, products, quotients, extremes and choices, with broadcasting, against sampled networks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import QUANTITIES, assert_agreement

from initcheck.builder import Builder
from initcheck.graph import Op

LAYERS = ["linear", "relu", "tanh", "shifted"]


def layer(b: Builder, x: str, kind: str, width: int = 128) -> str:
    """A linear layer and what may follow it."""
    y = b.linear(x, width, "kaiming_normal", bias="normal(0.7, 0.3)" if kind == "shifted" else None)
    return y if kind in {"linear", "shifted"} else b.activation(y, kind)


PAIRS = list(itertools.combinations_with_replacement(LAYERS, 2))


@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL, Op.MAXIMUM, Op.MINIMUM])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_layers_of_one_input(op: Op, first: str, second: str) -> None:
    b = Builder((16, 3, 128))
    x, y = layer(b, b.x, first), layer(b, b.x, second)
    z = b.combine(op, x, y)
    assert_agreement(b.graph(z), decades=0.04)


@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_follows_sees_the_distribution(op: Op, kind: str) -> None:
    b = Builder((32, 128))
    z = b.combine(op, layer(b, b.x, kind), layer(b, b.x, "relu"))
    y = b.activation(z, "relu")
    w = b.linear(y, 96)
    # Where a step of the response meets the kink, 24 x 24 atoms resolve it coarsely.
    assert_agreement(b.graph(w), y, w, decades=0.13 if (op, kind) == (Op.SUB, "tanh") else 0.05, correlation=0.06)


@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL])
@pytest.mark.parametrize("pair", [("tanh", "relu"), ("sigmoid", "silu"), ("neg", "gelu")])
def test_two_functions_of_one_value(op: Op, pair: tuple[str, str]) -> None:
    b = Builder((32, 3, 128))
    x = layer(b, b.x, "linear")
    z = b.combine(op, b.activation(x, pair[0]), b.activation(x, pair[1]))
    y = b.linear(z, 96)
    assert_agreement(b.graph(y), z, y, decades=0.04)


@pytest.mark.parametrize("op", [Op.MAXIMUM, Op.MINIMUM])
def test_extreme_of_two_functions_of_one_value(op: Op) -> None:
    b = Builder((32, 128))
    x = layer(b, b.x, "linear")
    z = b.combine(op, b.activation(x, "tanh"), b.scale(x, 0.5))
    assert_agreement(b.graph(z))


def test_quotient() -> None:
    b = Builder((32, 128))
    x = layer(b, b.x, "linear")
    below = b.activation(layer(b, b.x, "linear"), "softplus")
    one = b.constant("one", np.array(1.0))
    z = b.combine(Op.DIV, x, b.combine(Op.ADD, below, one))
    w = b.combine(Op.DIV, x, b.constant("root", np.array(8.0)))
    assert_agreement(b.graph(z), z, w)


@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAXIMUM, Op.MINIMUM])
@pytest.mark.parametrize("number", [0.5, -1.3])
def test_a_number(op: Op, number: float) -> None:
    b = Builder((32, 3, 128))
    x = layer(b, b.x, "relu")
    z = b.combine(op, x, b.constant("number", np.array(number)))
    y = b.linear(z, 128)
    quantities = QUANTITIES if op not in {Op.MAXIMUM, Op.MINIMUM} else ("mean_square", "mean", "pair_sample")
    assert_agreement(b.graph(y), z, y, decades=0.04, quantities=quantities)


@pytest.mark.parametrize("op", [Op.SUB, Op.DIV])
def test_a_number_first(op: Op) -> None:
    b = Builder((32, 128))
    x = b.activation(layer(b, b.x, "linear"), "softplus")
    z = b.combine(op, b.constant("number", np.array(2.0)), x)
    y = b.linear(z, 128)
    assert_agreement(b.graph(y), z, y, quantities=[q for q in QUANTITIES if op is Op.SUB or q != "log_length"])


@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL])
@pytest.mark.parametrize("shape", [(128,), (5, 128), (5, 1)])
@pytest.mark.parametrize("scheme", ["normal(0, 0.8)", "normal(1, 0.4)"])
def test_a_parameter(op: Op, shape: tuple[int, ...], scheme: str) -> None:
    b = Builder((16, 5, 128))
    x = layer(b, b.x, "relu")
    z = b.combine(op, x, b.parameter("p", shape, scheme))
    y = b.linear(z, 96)
    # A parameter of 5 or 128 numbers has another mean square in every network.
    assert_agreement(b.graph(y), z, y, repeats=80, decades=0.04, correlation=0.06, quantities=QUANTITIES[:5])


@pytest.mark.parametrize("op", [Op.ADD, Op.MUL])
def test_an_array(op: Op) -> None:
    b = Builder((16, 6, 128))
    x = layer(b, b.x, "relu")
    angles = np.arange(6)[:, None] * np.linspace(0.1, 2.0, 128)
    z = b.combine(op, x, b.constant("wave", np.cos(angles)))
    y = b.linear(z, 96)
    assert_agreement(b.graph(y), z, y, decades=0.04)


@pytest.mark.parametrize("shape", [(16, 1, 128), (16, 6, 1), (1, 6, 128)])
@pytest.mark.parametrize("op", [Op.ADD, Op.MUL])
def test_signals_of_different_shape(op: Op, shape: tuple[int, ...]) -> None:
    b = Builder((16, 6, 128))
    x = layer(b, b.x, "relu")
    other = b.input("other", (*shape[:2], 64))
    y = layer(b, other, "shifted", shape[2])
    z = b.combine(op, x, y)
    w = b.linear(z, 96)
    assert_agreement(b.graph(w), z, w, repeats=100, decades=0.04, correlation=0.06, quantities=QUANTITIES[:5])


@settings(max_examples=15, deadline=None)
@given(depth=st.integers(1, 6), eta=st.floats(0.05, 1.0), ending=st.sampled_from(["relu", "linear", "tanh"]))
def test_residual_stream(depth: int, eta: float, ending: str) -> None:
    b = Builder((16, 128))
    x = b.activation(b.linear(b.x, 128))
    for _ in range(depth):
        branch = b.linear(x, 128)
        branch = (
            b.linear(b.activation(branch), 128, "lecun_normal") if ending == "linear" else b.activation(branch, ending)
        )
        x = b.add(x, b.scale(branch, eta))
    quantities = [q for q in QUANTITIES if q != "gain" or ending != "relu"]
    assert_agreement(b.graph(x), repeats=60, decades=0.06, correlation=0.08, quantities=quantities, errors=5.0)


@pytest.mark.parametrize("scheme", ["zeros", "normal(0, 1e-9)"])
@pytest.mark.parametrize("skip_first", [True, False])
def test_zero_branch_changes_nothing(scheme: str, skip_first: bool) -> None:
    b = Builder((16, 128))
    x = b.activation(b.linear(b.x, 128))
    branch = b.linear(b.activation(b.linear(x, 128)), 128, scheme)
    total = b.add(x, branch) if skip_first else b.add(branch, x)
    y = b.activation(total)
    assert_agreement(b.graph(y), total, y)


@pytest.mark.parametrize("kept", [0.25, 0.8])
def test_choice_between_a_value_and_zero(kept: float) -> None:
    b = Builder((16, 5, 128))
    x = layer(b, b.x, "relu")
    mask = np.random.default_rng(1).random((16, 5, 128)) < kept
    z = b.node(Op.WHERE, (b.constant("mask", mask), x, b.constant("zero", np.array(0.0))), (16, 5, 128))
    w = b.node(Op.WHERE, (b.constant("other", ~mask), b.constant("nothing", np.array(0.0)), x), (16, 5, 128))
    y = b.linear(z, 96)
    assert_agreement(b.graph(y), z, w, y, decades=0.04)
