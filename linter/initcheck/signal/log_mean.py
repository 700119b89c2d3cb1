"""Mean and variance of the logarithm of a mean of few independent positive numbers (THEORY 2.9, small widths).

To first order in 1/n the variance of ln of a mean of n numbers g is Var(g)/n and its mean -Var(g)/(2 n). Narrow layers
are far from that: of 8 rectified units only half are on, and ln M has a variance of 1.25 where the first order says
0.63.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from initcheck.signal.quadrature import Table, digamma, trigamma

__all__ = ["log_mean", "log_mean_of_groups"]

_MANY = 256.0
"""Copies from which the number of them that are not zero needs no distribution of its own."""

_SMALLEST_SHAPE = 0.5
"""Shape of a single squared normal: no law of large numbers holds below."""

_NEARLY_SURE = 0.02
"""Variance of the mean over groups below which its logarithm is as good as normal."""

_STEP = 0.375
_EULER = 0.5772156649015329
_GRID = np.linspace(0.0, 8.0, 17)
"""Standard deviations of ln of a group at which the mean over groups is worked out."""


def log_mean(variance: float, alive: float, count: float) -> tuple[float, float]:
    """E and Var of ln of the mean of ``count`` independent copies of g >= 0 with E g = 1, over draws that are not zero.

    g is zero with probability 1 - ``alive`` and else taken for a gamma variable of the right variance, of shape s. The
    number K of copies that are not zero is binomial, and given K the mean is a gamma variable of shape K s: the
    variance is E ψ'(K s) + Var ψ(K s), exact for squares of Gaussian and of rectified Gaussian units (s = 1/2).

    Args:
        variance: Of g.
        alive: Probability that g is not zero.
        count: Number of copies, not necessarily whole.
    """
    if variance <= 1e-12 or count <= 0.0:
        return 0.0, 0.0
    spread = alive * (1.0 + variance) - 1.0
    if alive > 1.0 - 1e-5 or spread <= 1e-9 or count > _MANY:
        return _gamma(count / variance)
    lower = max(math.floor(count), 1)
    share = min(max(count - lower, 0.0), 1.0)
    first, second = _binomial(lower, alive, spread), _binomial(lower + 1, alive, spread)
    return (1.0 - share) * first[0] + share * second[0], (1.0 - share) * first[1] + share * second[1]


def _gamma(shape: float) -> tuple[float, float]:
    shape = max(shape, _SMALLEST_SHAPE)
    return digamma(shape) - math.log(shape), trigamma(shape)


@lru_cache(maxsize=1024)
def _rounded_binomial(count: int, alive: float, spread: float) -> tuple[float, float]:
    weights, means, variances = [], [], []
    for k in range(1, count + 1):
        chance = math.exp(
            math.lgamma(count + 1)
            - math.lgamma(k + 1)
            - math.lgamma(count - k + 1)
            + k * math.log(alive)
            + (count - k) * math.log1p(-alive)
        )
        if chance < 1e-12:
            continue
        mean, variance = _gamma(k / spread)
        weights.append(chance)
        means.append(mean + math.log(k / (count * alive)))
        variances.append(variance)
    w = np.array(weights) / sum(weights)
    centre = float(w @ np.array(means))
    return centre, float(w @ (np.array(variances) + (np.array(means) - centre) ** 2))


def _binomial(count: int, alive: float, spread: float) -> tuple[float, float]:
    # Layers of one kind differ in the last digits only and share one sum.
    return _rounded_binomial(count, max(round(alive, 6), 1e-6), max(round(spread, 6), 1e-6))


def log_mean_of_groups(count: int, variance: float) -> tuple[float, float]:
    """E and Var of ln of the mean of ``count`` independent log-normal variables of mean 1.

    Channels of a chain of grouped convolutions multiply lengths of their own: once these spread, the mean over groups
    is that of the few largest, and its logarithm varies by far more than ``variance / count``.

    Args:
        count: Number of groups.
        variance: Of the logarithm of one.
    """
    if variance <= 0.0:
        return 0.0, 0.0
    if count <= 1:
        return -0.5 * variance, variance
    means, variances = _groups(count)
    deviation = math.sqrt(variance)
    beyond = max(variance / _GRID[-1] ** 2, 1.0)
    # Both go as the square of the deviation at either end.
    scale = np.maximum(_GRID[1:], 1e-9) ** 2
    mean = float(np.interp(deviation, _GRID[1:], means / scale)) * min(variance, _GRID[-1] ** 2)
    spread = float(np.interp(deviation, _GRID[1:], variances / scale)) * min(variance, _GRID[-1] ** 2)
    return mean * beyond, spread * beyond


@lru_cache(maxsize=256)
def _groups(count: int) -> tuple[Table, Table]:
    """The two moments on the grid of standard deviations.

    With E exponential and S the sum, P(ln E - ln S > u) = E exp(-e^u S) = L(e^u)^count, L the Laplace transform of one
    group: the moments of ln S are those of that distribution less those of ln E, which are -γ and π²/6.
    """
    means, variances = [], []
    # Fine enough for the step of exp(-t e^(σ z)) at the largest σ, and for a distribution at least as wide as ln E.
    points = np.linspace(-7.0, 7.0, 281)
    density = np.exp(-0.5 * points * points)
    density /= density.sum()
    for deviation in _GRID[1:]:
        relative = math.expm1(deviation**2) / count
        if relative < _NEARLY_SURE:
            means.append(-0.5 * math.log1p(relative))
            variances.append(math.log1p(relative))
            continue
        logs = deviation * points - 0.5 * deviation**2
        u = np.arange(-math.log(count) - 6.0 * deviation - 16.0, 0.5 * deviation**2 + 6.0 * deviation + 8.0, _STEP)
        exponents = np.minimum(u[:, None] + logs[None, :], 6.0)
        survival = (np.exp(-np.exp(exponents)) @ density) ** count
        # Integrals of the survival function from the left end, where it is 1, by the trapezoidal rule; the Euler-
        # Maclaurin term of that end makes the second one exact.
        left = float(u[0])
        survival[0] *= 0.5
        first = left + _STEP * float(survival.sum())
        second = left * left + _STEP * float(2.0 * u @ survival) + _STEP**2 / 6.0
        means.append(-_EULER - first - math.log(count))
        variances.append(max(second - first * first - math.pi**2 / 6.0, 0.0))
    return np.array(means), np.array(variances)
