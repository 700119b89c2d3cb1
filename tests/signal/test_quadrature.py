"""Gauss-Hermite expectations and Hermite pair moments against integrals and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initcheck import Analysis, Builder
from initcheck.signal.functions import FUNCTIONS
from initcheck.signal.quadrature import (
    COARSE_NODES,
    COARSE_WEIGHTS,
    NODES,
    WEIGHTS,
    correlation_of,
    expectation,
    hermite_powers,
    pair_moment,
)

SMOOTH = ["tanh", "gelu", "sigmoid", "silu", "erf", "sin"]
SHAPES = [*SMOOTH, "relu", "leaky_relu", "selu", "abs"]


@pytest.mark.parametrize(("nodes", "weights"), [(NODES, WEIGHTS), (COARSE_NODES, COARSE_WEIGHTS)])
@pytest.mark.parametrize("power", range(0, 20, 2))
def test_moments_of_a_normal(nodes: np.ndarray, weights: np.ndarray, power: int) -> None:
    odd_factorial = math.prod(range(1, power, 2))
    assert float(weights @ nodes**power) == pytest.approx(odd_factorial)
    assert float(weights @ nodes ** (power + 1)) == pytest.approx(0.0, abs=1e-9 * odd_factorial * power + 1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_powers_sum_to_the_mean_square(name: str) -> None:
    table = FUNCTIONS[name].value(0.3 + 1.2 * NODES)
    powers = hermite_powers(table)
    assert np.all(powers >= 0.0)
    assert powers.sum() == pytest.approx(expectation(table * table))
    assert powers[0] == pytest.approx(expectation(table) ** 2)


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.2, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("name", SHAPES)
def test_pair_moment_against_samples(name: str, correlation: float) -> None:
    count = 200_000
    rng = np.random.default_rng(3)
    first = rng.standard_normal(count)
    second = correlation * first + math.sqrt(1.0 - correlation**2) * rng.standard_normal(count)
    products = FUNCTIONS[name].value(0.3 + 1.2 * first) * FUNCTIONS[name].value(0.3 + 1.2 * second)
    powers = hermite_powers(FUNCTIONS[name].value(0.3 + 1.2 * NODES))
    error = float(products.std()) / math.sqrt(count)
    # A kink costs the quadrature of E[f] and E[f²] up to one part in a thousand.
    assert pair_moment(powers, correlation) == pytest.approx(
        float(products.mean()), abs=4.0 * error + 2e-3 * powers.sum()
    )


@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.0, 0.3, 0.7, 0.99, 1.0])
def test_arc_cosine_kernel(correlation: float) -> None:
    angle = math.acos(correlation)
    expected = (math.sin(angle) + (math.pi - angle) * correlation) / (2.0 * math.pi)
    powers = hermite_powers(np.maximum(NODES, 0.0))
    assert pair_moment(powers, correlation) == pytest.approx(expected, abs=2e-3)


@given(
    name=st.sampled_from(SHAPES),
    mean=st.floats(-1.0, 1.0),
    correlation=st.floats(0.0, 1.0),
)
def test_correlation_of_inverts_pair_moment(name: str, mean: float, correlation: float) -> None:
    powers = hermite_powers(FUNCTIONS[name].value(mean + NODES))
    moment = pair_moment(powers, correlation)
    found = correlation_of(powers, moment)
    assert pair_moment(powers, found) == pytest.approx(moment, abs=2e-3 * powers.sum())


@pytest.mark.parametrize("correlation", [-0.9, -0.4, 0.0, 0.4])
def test_negative_correlations_of_a_monotone_function(correlation: float) -> None:
    powers = hermite_powers(np.tanh(NODES))
    assert correlation_of(powers, pair_moment(powers, correlation)) == pytest.approx(correlation, abs=5e-3)


def test_correlation_is_clipped() -> None:
    powers = hermite_powers(np.tanh(NODES))
    assert correlation_of(powers, 2.0 * powers.sum()) == 1.0
    assert correlation_of(powers, -2.0 * powers.sum()) == -1.0


@pytest.mark.parametrize("function", ["", "relu", "tanh", "gelu", "abs"])
@pytest.mark.parametrize("limit", [-1.0, 0.0, 0.3])
def test_probability_below_a_limit_is_that_of_samples(function: str, limit: float) -> None:
    b = Builder()
    x = b.linear(b.x, 64, bias="constant(0.4)")
    x = b.activation(x, function) if function else x
    signal = Analysis(b.graph(b.linear(x, 10))).forward.signals[x]
    z = 0.4 + math.sqrt(2.0) * np.random.default_rng(0).normal(size=200_000)
    sampled = {
        "": z,
        "relu": np.maximum(z, 0.0),
        "tanh": np.tanh(z),
        "abs": np.abs(z),
        "gelu": FUNCTIONS["gelu"].value(z),
    }[function]
    # Nodes are 0.26 apart: where the table leaves a flat part is known to half a cell, which holds up to a tenth.
    tolerance = 0.06 if function == "relu" and limit == 0.0 else 0.02
    assert signal.probability_below(limit) == pytest.approx(np.mean(sampled <= limit), abs=tolerance)
