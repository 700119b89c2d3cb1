"""The series at correlations near one, against the arc-cosine kernel and against networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initcheck import Analysis, Builder
from initcheck.signal.functions import FUNCTIONS
from initcheck.signal.mehler import mehler_series
from initcheck.signal.quadrature import NODES, WEIGHTS, hermite_powers, pair_moment

KINKED = ["relu", "leaky_relu", "abs", "elu", "selu"]
SMOOTH = ["tanh", "gelu", "sigmoid", "silu", "erf", "sin"]


def square(table: np.ndarray) -> float:
    return float(WEIGHTS @ (table * table))


def relu_kernel(rho: float) -> float:
    """E[relu(z) relu(z')] (Cho & Saul, arXiv 1112.3712)."""
    return (math.sqrt(1.0 - rho * rho) + (math.pi - math.acos(rho)) * rho) / (2.0 * math.pi)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8, 0.95, 0.99, 0.999, 1.0])
def test_relu_is_the_arc_cosine_kernel(rho: float) -> None:
    relu = mehler_series(np.maximum(NODES, 0.0), 0.5)
    assert relu.at(rho) == pytest.approx(relu_kernel(rho), abs=1.5e-3)


@pytest.mark.parametrize("apart", [1e-3, 1e-4, 1e-6])
def test_the_slope_at_one_is_that_of_the_function(apart: float) -> None:
    relu = mehler_series(np.maximum(NODES, 0.0), 0.5)
    slope = (0.5 - relu.at(1.0 - apart)) / apart
    exact = (0.5 - relu_kernel(1.0 - apart)) / apart
    # The (1 - ρ)^(3/2) that a kink leaves is right within a factor of 1.7, where a polynomial in ρ has none at all.
    assert 1.0 / 1.7 < (0.5 - slope) / (0.5 - exact) < 1.7


@given(st.sampled_from(KINKED + SMOOTH), st.floats(0.2, 5.0), st.floats(-2.0, 2.0), st.floats(0.0, 1.0))
def test_value_and_slope_at_one(name: str, spread: float, mean: float, rho: float) -> None:
    inputs = mean + spread * NODES
    table = FUNCTIONS[name].value(inputs)
    steepness = spread * spread * square(FUNCTIONS[name].derivative(inputs))
    series = mehler_series(table, steepness)
    assert series.at(1.0) == pytest.approx(square(table))
    assert np.all(series.powers >= 0.0)
    assert series.at(rho) == pytest.approx(pair_moment(hermite_powers(table), rho), abs=0.01 * square(table))
    known = float(np.arange(40) @ hermite_powers(table))
    if steepness > known:
        assert float(series.powers @ series.orders) == pytest.approx(steepness, rel=1e-6)


@pytest.mark.parametrize("depth", [50, 200])
def test_samples_of_a_critical_network_grow_alike_like_a_power_of_the_depth(depth: int) -> None:
    b = Builder()
    x = b.x
    for _ in range(depth):
        x = b.activation(b.linear(x, 4096))
    signal = Analysis(b.graph(x)).signal_out_of(b.graph(x).nodes[-1])
    assert signal is not None
    # 1 - cos = 9 π² / (2 depth²) for ReLU at 2/fan_in, from 1 - ρ' = (1 - ρ) - (2 √2 / 3 π) (1 - ρ)^(3/2).
    predicted = 1.0 - signal.pair_sample / signal.mean_square
    assert abs(math.log10(predicted / (4.5 * math.pi**2 / depth**2))) < 0.5
