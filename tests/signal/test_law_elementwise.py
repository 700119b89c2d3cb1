"""Elementwise functions after Gaussians of any mean, and dropout, against sampled networks."""

from __future__ import annotations

import numpy as np
import pytest
from sampling import QUANTITIES, assert_agreement

from initcheck.builder import Builder
from initcheck.graph import Op
from initcheck.signal.functions import FUNCTIONS

UNBOUNDED = {"log", "tan", "reciprocal", "sqrt"}
"""Functions of which a moment of the value or the derivative does not exist after a Gaussian."""
JUMPING = {"above", "below", "ceil", "floor", "round", "sign", "hard_shrink", "thresholded_relu"}
"""Functions that jump: their small-perturbation response is a rare, huge one that no sample sees."""
STEEP = {"exp", "sinh", "cosh"}
"""Functions whose mean square over 256 units is far from normally distributed, and ln M with it."""
ARGUMENTS = {"power": {"exponent": 2.0}, "clip": {"minimum": -0.5, "maximum": 1.5}}


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - UNBOUNDED))
@pytest.mark.parametrize("bias", ["normal(0, 0.5)", "normal(1.5, 0.7)", "constant(-0.8)"])
def test_after_a_gaussian(function: str, bias: str) -> None:
    b = Builder((32, 96))
    x = b.linear(b.x, 256, "normal(0, 0.1)", bias=bias)
    y = b.activation(x, function, **ARGUMENTS.get(function, {}))
    jumps = function in JUMPING
    left_out = {"gain"} if jumps else {"log_length"} if function in STEEP else set()
    quantities = [quantity for quantity in QUANTITIES if quantity not in left_out]
    # A jump of the value is placed to half a quadrature cell only: 0.13 of a standard deviation, up to a fifth of the
    # probability of a step that one unit in five takes.
    tolerance = {"decades": 0.1, "correlation": 0.12} if jumps else {"correlation": 0.03}
    assert_agreement(b.graph(y), quantities=quantities, repeats=20, **tolerance)


@pytest.mark.parametrize("function", ["relu", "gelu", "tanh", "abs", "softplus"])
def test_after_another_function(function: str) -> None:
    b = Builder((32, 96))
    x = b.linear(b.x, 256, "kaiming_normal")
    y = b.activation(b.activation(x, "silu"), function)
    assert_agreement(b.graph(y))


def test_a_gate_spelled_out() -> None:
    b = Builder((32, 96))
    x = b.linear(b.x, 256, "kaiming_normal", bias="normal(0.5, 0.5)")
    y = b.combine(Op.MUL, x, b.activation(x, "sigmoid"))
    z = b.combine(
        Op.DIV, x, b.combine(Op.ADD, b.constant("one", np.array(1.0)), b.activation(b.activation(x, "neg"), "exp"))
    )
    graph = b.graph(z)
    assert_agreement(graph, y, z)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout(training: bool, rate: float) -> None:
    b = Builder((32, 5, 96))
    x = b.activation(b.linear(b.x, 128))
    x = b.node(Op.DROPOUT, (x,), b.shape(x), {"rate": rate, "training": training})
    y = b.activation(b.linear(x, 128))
    assert_agreement(b.graph(y), x, y, decades=0.04)
