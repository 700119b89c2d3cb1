"""Expectations over a standard normal: Gauss-Hermite nodes and Hermite coefficients.

A function f of z ~ N(0, 1) is a table of its values on ``NODES``. Correlations of two such functions at correlated
arguments come from the coefficients on orthonormal Hermite polynomials: E[f(z) f(z')] = Σ ρⁿ cₙ² (Mehler's formula).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COARSE_NODES",
    "COARSE_WEIGHTS",
    "NODES",
    "WEIGHTS",
    "Table",
    "correlation_of",
    "cumulative",
    "digamma",
    "expectation",
    "hermite_coefficients",
    "hermite_powers",
    "hermite_squares",
    "normal_quantiles",
    "pair_moment",
    "smoothed",
    "summed_hermite_powers",
    "trigamma",
]

Table: TypeAlias = NDArray[np.float64]
"""Values on ``NODES``."""

NODE_COUNT = 96
TERMS = 40


def _gauss_hermite(count: int) -> tuple[Table, Table]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def _orthonormal_polynomials(nodes: Table, terms: int) -> Table:
    polynomials = np.zeros((terms, len(nodes)))
    polynomials[0] = 1.0
    polynomials[1] = nodes
    for n in range(1, terms - 1):
        polynomials[n + 1] = (nodes * polynomials[n] - np.sqrt(n) * polynomials[n - 1]) / np.sqrt(n + 1)
    return polynomials


NODES, WEIGHTS = _gauss_hermite(NODE_COUNT)
COARSE_NODES, COARSE_WEIGHTS = _gauss_hermite(24)
_PROJECTION = _orthonormal_polynomials(NODES, TERMS) * WEIGHTS
_EXPONENTS = np.arange(TERMS)
_GRID = np.concatenate([-np.linspace(1.0, 0.0, 33)[:-1], np.linspace(0.0, 1.0, 65)])
_ZERO = int(np.flatnonzero(_GRID == 0.0)[0])
_GRID_POWERS = _GRID[:, None] ** _EXPONENTS


def cumulative(z: float) -> float:
    """P(a standard normal is at most z)."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def normal_quantiles(levels: Table, largest_of: int = 1) -> Table:
    """Values that a standard normal, or the largest of several independent ones, stays below with given probabilities.

    Args:
        levels: Probabilities strictly between 0 and 1.
        largest_of: Number of normals: P(max <= z) = Φ(z)^k.
    """
    grid = np.linspace(-8.0, 8.0, 2001)
    below = np.array([cumulative(float(z)) for z in grid])
    quantiles: Table = np.interp(levels, below**largest_of, grid)
    return quantiles


def expectation(table: Table) -> float:
    """E[f(z)]."""
    return float(WEIGHTS.dot(table))


def hermite_squares(table: Table) -> tuple[Table, float]:
    """Squares of the coefficients of f on orthonormal Hermite polynomials, and what E[f²] has above the last term."""
    coefficients = _PROJECTION.dot(table)
    squares: Table = coefficients * coefficients
    return squares, float(WEIGHTS.dot(table * table)) - float(squares.sum())


def hermite_powers(table: Table) -> Table:
    """Squares of the coefficients of f on orthonormal Hermite polynomials, the part above the last term included in it.

    Returns:
        Array of ``TERMS`` numbers that sum to E[f²].
    """
    powers, rest = hermite_squares(table)
    if rest > 0.0:
        powers[-1] += rest
    return powers


def summed_hermite_powers(tables: Table) -> Table:
    """Sum of ``hermite_powers`` over several functions, given as rows."""
    coefficients = tables @ _PROJECTION.T
    squares = coefficients * coefficients
    powers: Table = squares.sum(axis=0)
    powers[-1] += np.maximum((tables * tables) @ WEIGHTS - squares.sum(axis=1), 0.0).sum()
    return powers


def hermite_coefficients(table: Table) -> Table:
    """Coefficients of f on the first ``TERMS`` orthonormal Hermite polynomials."""
    coefficients: Table = _PROJECTION @ table
    return coefficients


def smoothed(table: Table, correlation: float) -> Table:
    """E[f(z') | z] for z' with the given correlation, at least zero, with z."""
    around = correlation * NODES[:, None] + math.sqrt(1.0 - correlation * correlation) * COARSE_NODES
    result: Table = np.interp(around, NODES, table) @ COARSE_WEIGHTS
    return result


def pair_moment(powers: Table, correlation: float) -> float:
    """E[f(z) f(z')] for standard normal z, z' with the given correlation (Mehler's formula)."""
    if correlation == 0.0:
        return float(powers[0])
    if correlation >= 1.0:
        return float(powers.sum())
    return float(powers.dot(correlation**_EXPONENTS))


def correlation_of(powers: Table, moment: float) -> float:
    """Correlation of z and z' at which E[f(z) f(z')] is ``moment``, in [-1, 1]; the inverse of ``pair_moment``."""
    values = _GRID_POWERS @ powers
    # The moment grows with a non-negative correlation; below zero it may turn (even functions): that part is made flat.
    values[: _ZERO + 1] = np.minimum.accumulate(values[_ZERO::-1])[::-1]
    return float(np.interp(moment, values, _GRID))


def digamma(x: float) -> float:
    """ψ(x) for x > 0, the mean of the logarithm of a gamma variable of shape x.

    Recurrence and asymptotic series, good to 1e-9.
    """
    result = 0.0
    while x < 8.0:
        result -= 1.0 / x
        x += 1.0
    square = 1.0 / (x * x)
    series = square * (1.0 / 12.0 - square * (1.0 / 120.0 - square * (1.0 / 252.0 - square / 240.0)))
    return result + math.log(x) - 0.5 / x - series


def trigamma(x: float) -> float:
    """ψ'(x) for x > 0, the variance of the logarithm of a gamma variable of shape x.

    Recurrence and asymptotic series, good to 1e-9.
    """
    result = 0.0
    while x < 8.0:
        result += 1.0 / (x * x)
        x += 1.0
    inverse = 1.0 / x
    square = inverse * inverse
    series = inverse * square * (1.0 / 6.0 - square * (1.0 / 30.0 - square * (1.0 / 42.0 - square / 30.0)))
    return result + inverse + 0.5 * square + series
