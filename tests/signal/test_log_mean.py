"""Logarithms of means of few numbers: the digamma formula, and groups that multiply lengths of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from initcheck.signal.log_mean import log_mean, log_mean_of_groups
from initcheck.signal.quadrature import NODES, digamma, expectation, smoothed

RELU = {8: 10.0, 10: 8.7, 16: 6.7, 32: 5.7, 64: 5.3, 128: 5.15}
"""n Var[ln M] of a rectified Gaussian layer of n units, by E ψ'(K/2) + Var ψ(K/2) with K binomial."""


@pytest.mark.parametrize("x", [0.05, 0.5, 1.0, 3.7, 8.0, 40.0])
def test_digamma(x: float) -> None:
    assert digamma(x) == pytest.approx(special.digamma(x), abs=1e-9)


@pytest.mark.parametrize("n", RELU)
def test_narrow_relu_layers(n: int) -> None:
    mean, variance = log_mean(5.0, 0.5, n)
    assert n * variance == pytest.approx(RELU[n], rel=0.01)
    k = np.arange(1, n + 1)
    chances = special.comb(n, k) / (2.0**n - 1.0)
    means = special.digamma(k / 2) + math.log(4.0 / n)
    assert mean == pytest.approx(chances @ means, rel=1e-6)
    expected = chances @ (special.polygamma(1, k / 2) + means**2) - (chances @ means) ** 2
    assert variance == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_linear_layers(n: int) -> None:
    mean, variance = log_mean(2.0, 1.0, n)
    assert variance == pytest.approx(special.polygamma(1, n / 2))
    assert mean == pytest.approx(special.digamma(n / 2) - math.log(n / 2))


def test_nothing_random_is_nothing() -> None:
    assert log_mean(0.0, 1.0, 5.0) == (0.0, 0.0)
    assert log_mean_of_groups(7, 0.0) == (0.0, 0.0)
    assert log_mean_of_groups(1, 3.0) == (-1.5, 3.0)


@pytest.mark.parametrize("groups", [2, 16, 200])
@pytest.mark.parametrize("variance", [0.1, 1.0, 6.0, 30.0])
def test_means_over_groups(groups: int, variance: float) -> None:
    draws = 4000
    rng = np.random.default_rng(groups)
    logs = math.sqrt(variance) * rng.standard_normal((draws, groups)) - 0.5 * variance
    sampled = special.logsumexp(logs, axis=1) - math.log(groups)
    mean, spread = log_mean_of_groups(groups, variance)
    error = math.sqrt(spread / draws)
    assert mean == pytest.approx(sampled.mean(), abs=4.0 * error + 0.02 * abs(mean) + 0.002)
    # The variance of a variance, with room for skewed tails.
    assert spread == pytest.approx(sampled.var(), rel=6.0 * math.sqrt(2.0 / draws) + 0.05)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9, 1.0])
def test_smoothing(correlation: float) -> None:
    cubic = smoothed(NODES**3, correlation)
    expected = correlation**3 * NODES**3 + 3.0 * correlation * (1.0 - correlation**2) * NODES
    assert expectation((cubic - expected) ** 2) < 0.03 * expectation(NODES**6)
