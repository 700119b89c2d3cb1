"""Critical gains against known values and against a stack that is iterated in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from initcheck import (
    critical_gain,
    is_flat_at_zero,
    is_homogeneous,
    is_zero_at_zero,
    is_zero_below_zero,
    switched_off_below,
)
from initcheck.signal.functions import FUNCTIONS


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        ("", {}, 1.0),
        ("relu", {}, 2.0),
        ("leaky_relu", {"alpha": 0.2}, 2.0 / 1.04),
        ("leaky_relu", {"alpha": 1.0}, 1.0),
        ("selu", {}, 1.0),
        ("abs", {}, 1.0),
    ],
)
def test_known_gains(function: str, arguments: dict[str, float], expected: float) -> None:
    assert critical_gain(function, arguments) == pytest.approx(expected, rel=1e-3)


def test_tanh_is_critical_at_one() -> None:
    # A finite stack settles a little above the edge of chaos.
    assert 1.0 <= critical_gain("tanh") < 1.1


@pytest.mark.parametrize("function", ["gelu", "silu", "elu", "mish"])
def test_smooth_functions_keep_a_unit_length(function: str) -> None:
    z = np.random.default_rng(0).normal(size=1_000_000)
    sigmoid = 1.0 / (1.0 + np.exp(-z))
    values = {
        "gelu": z * 0.5 * (1.0 + np.vectorize(math.erf)(z / math.sqrt(2.0))),
        "silu": z * sigmoid,
        "elu": np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0))),
        "mish": z * np.tanh(np.logaddexp(0.0, z)),
    }[function]
    # The mean of a million squares of kurtosis below 10 is known to 0.3 %.
    assert critical_gain(function) * np.mean(values**2) == pytest.approx(1.0, rel=0.01)


def test_what_lets_nothing_through_has_no_gain() -> None:
    assert math.isnan(critical_gain("sign"))
    assert math.isnan(critical_gain("no such function"))


@pytest.mark.parametrize(
    ("function", "flat"), [("relu", True), ("leaky_relu", False), ("tanh", False), ("gelu", False)]
)
def test_slope_at_zero(function: str, flat: bool) -> None:
    assert is_flat_at_zero(function) is flat


def test_what_is_off_below_zero() -> None:
    assert is_zero_below_zero("relu")
    assert is_zero_below_zero("clip", {"minimum": 0.0, "maximum": 6.0})
    assert not any(is_zero_below_zero(function) for function in ("leaky_relu", "gelu", "softplus", "no such function"))


@pytest.mark.parametrize("function", ["relu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "hard_swish", "relu6"])
def test_below_its_edge_an_activation_passes_nothing(function: str) -> None:
    edge = switched_off_below(function)
    x = torch.linspace(edge - 30.0, edge, 4001, dtype=torch.float64).requires_grad_()
    module = {
        "relu": torch.relu,
        "gelu": nn.functional.gelu,
        "gelu_tanh": lambda z: nn.functional.gelu(z, approximate="tanh"),
        "silu": nn.functional.silu,
        "mish": nn.functional.mish,
        "softplus": nn.functional.softplus,
        "hard_swish": nn.functional.hardswish,
        "relu6": nn.functional.relu6,
    }[function]
    (slope,) = torch.autograd.grad(module(x).sum(), x)
    assert slope.abs().max() <= 0.0101
    above = torch.linspace(edge + 0.01, edge + 1.0, 1001, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(module(above).sum(), above)
    assert slope.abs().max() > 0.01


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "elu", "selu", "leaky_relu", "hard_sigmoid", "exp", "abs", ""])
def test_gates_and_functions_without_a_flat_zero_side_have_no_edge(function: str) -> None:
    assert math.isnan(switched_off_below(function))


def test_homogeneous_functions_hand_a_scale_on() -> None:
    assert [f for f in FUNCTIONS if f != "power" and is_homogeneous(f)] == ["abs", "clip", "leaky_relu", "neg", "relu"]
    assert not is_homogeneous("clip", {"minimum": -1.0, "maximum": 1.0})
    assert not is_homogeneous("no such function")
    assert is_zero_at_zero("tanh")
    assert not is_zero_at_zero("sigmoid")
