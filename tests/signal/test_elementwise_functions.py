"""Values of the elementwise functions against PyTorch's, derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from initcheck.signal.functions import FUNCTIONS, apply
from initcheck.signal.quadrature import NODES, WEIGHTS

Reference = Callable[[torch.Tensor], torch.Tensor]

REFERENCES: dict[str, tuple[Reference, dict[str, float]]] = {
    "abs": (torch.abs, {}),
    "above": (lambda x: torch.gt(x, 0.3).double(), {"threshold": 0.3}),
    "asinh": (torch.asinh, {}),
    "atan": (torch.atan, {}),
    "below": (lambda x: torch.lt(x, 0.3).double(), {"threshold": 0.3}),
    "ceil": (torch.ceil, {}),
    "celu": (lambda x: functional.celu(x, alpha=0.7), {"alpha": 0.7}),
    "clip": (lambda x: torch.clip(x, -0.5, 2.0), {"minimum": -0.5, "maximum": 2.0}),
    "cos": (torch.cos, {}),
    "cosh": (torch.cosh, {}),
    "elu": (lambda x: functional.elu(x, alpha=0.7), {"alpha": 0.7}),
    "erf": (torch.erf, {}),
    "exp": (torch.exp, {}),
    "floor": (torch.floor, {}),
    "gelu": (functional.gelu, {}),
    "gelu_tanh": (lambda x: functional.gelu(x, approximate="tanh"), {}),
    "hard_sigmoid": (functional.hardsigmoid, {}),
    "hard_swish": (functional.hardswish, {}),
    "hard_tanh": (lambda x: functional.hardtanh(x, -0.4, 0.9), {"minimum": -0.4, "maximum": 0.9}),
    "leaky_relu": (lambda x: functional.leaky_relu(x, 0.2), {"alpha": 0.2}),
    "log": (lambda x: torch.log(torch.clip(x, 1e-150)), {}),
    "log_sigmoid": (functional.logsigmoid, {}),
    "mish": (functional.mish, {}),
    "neg": (torch.neg, {}),
    "power": (lambda x: x**3, {"exponent": 3.0}),
    "quick_gelu": (lambda x: x * torch.sigmoid(1.702 * x), {}),
    "reciprocal": (torch.reciprocal, {}),
    "relu": (functional.relu, {}),
    "relu6": (functional.relu6, {}),
    "round": (torch.round, {}),
    "selu": (functional.selu, {}),
    "sigmoid": (torch.sigmoid, {}),
    "sign": (torch.sign, {}),
    "silu": (functional.silu, {}),
    "sin": (torch.sin, {}),
    "sinh": (torch.sinh, {}),
    "softplus": (lambda x: functional.softplus(x, beta=2.0), {"beta": 2.0}),
    "softsign": (functional.softsign, {}),
    "sqrt": (lambda x: torch.sqrt(torch.clip(x, 0.0)), {}),
    "tan": (torch.tan, {}),
    "tanh": (torch.tanh, {}),
    "tanh_shrink": (functional.tanhshrink, {}),
    "soft_shrink": (lambda x: functional.softshrink(x, 0.5), {}),
    "hard_shrink": (lambda x: functional.hardshrink(x, 0.5), {}),
    "thresholded_relu": (lambda x: functional.threshold(x, 1.0, 0.0), {}),
}
POINTS = np.random.default_rng(0).uniform(-7.0, 7.0, 400)


def test_every_function_has_a_reference() -> None:
    assert set(REFERENCES) == set(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_value(name: str) -> None:
    reference, arguments = REFERENCES[name]
    expected = reference(torch.tensor(POINTS)).numpy()
    np.testing.assert_allclose(FUNCTIONS[name].value(POINTS, **arguments), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_derivative(name: str) -> None:
    function, arguments = FUNCTIONS[name], REFERENCES[name][1]
    step = 1e-6
    difference = (function.value(POINTS + step, **arguments) - function.value(POINTS - step, **arguments)) / (
        2.0 * step
    )
    np.testing.assert_allclose(function.derivative(POINTS, **arguments), difference, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"reciprocal", "tan", "log", "sqrt"}))
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 1.6), (-1.1, 0.6)])
def test_mean_square_derivative(name: str, mean: float, std: float) -> None:
    """E[f'²] by quadrature, kinks included, against a fine grid."""
    function, arguments = FUNCTIONS[name], REFERENCES[name][1]

    z = np.linspace(-9.0, 9.0, 100_001)
    squares = function.derivative(mean + std * z, **arguments) ** 2
    expected = np.trapezoid(squares * stats.norm.pdf(z), z)
    slope = apply(name, mean + std * NODES, **arguments)[1]
    # A jump lies within a cell of the quadrature, which is known to a tenth of the cell's weight.
    jump = 0.01 if function.kinked else 0.0
    assert float(WEIGHTS @ slope**2) == pytest.approx(expected, rel=0.01, abs=jump + 1e-6)


def test_unknown_function() -> None:
    with pytest.raises(KeyError):
        apply("no such function", NODES)


@pytest.mark.parametrize("name", ["atan", "cos", "erf", "sigmoid", "sin", "tanh"])
@pytest.mark.parametrize("std", [0.5, 2.0, 5.0, 10.0, 16.0, 50.0])
def test_the_slope_of_a_bounded_function_is_seen_at_any_scale(name: str, std: float) -> None:
    z = np.linspace(-10.0, 10.0, 400_001)
    slope = FUNCTIONS[name].derivative(std * z)
    expected = np.trapezoid(slope * slope * stats.norm.pdf(z), z)
    _, found = apply(name, std * NODES)
    assert WEIGHTS @ (found * found) == pytest.approx(expected, rel=0.03)
