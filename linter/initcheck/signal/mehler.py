"""E[f(z) f(z')] for correlations close to one, where a function with a kink needs more terms than a table has.

Its squared Hermite coefficients fall like n^(-5/2), so that 1 - cos of a deep ReLU network falls like 1/depth²; cut off
after any term they would give an exponential decay. The slope of f knows what the tail must sum to:
Σ n cₙ² = E[f'²].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from initcheck.signal.quadrature import NODES, TERMS, WEIGHTS, Table, hermite_squares

__all__ = ["MehlerSeries", "mehler_series"]

_ORDERS = np.arange(TERMS, dtype=np.float64)
_HALF = TERMS // 2
"""The quadrature knows less and less of a kink from here on; what the slope asks for is taken from these terms."""

_OCTAVES = 2.0 ** np.arange(32)
"""The tail, an octave of orders in one term: up to an order at which 1 - ρ is lost in the error of doubles."""

_SHARES = _OCTAVES**-1.5 / np.sum(_OCTAVES**-1.5)
_TAIL = TERMS * _OCTAVES * 3.0 / np.dot(_SHARES, _OCTAVES)
"""Orders of these terms: their mean is 3 TERMS, as of n^(-5/2) from TERMS on."""

_NEGLIGIBLE = 1e-9
_LITTLE = 0.005
_FAR = np.where(np.abs(NODES) > 6.0, WEIGHTS, 0.0)
"""Weights of the few nodes beyond six standard deviations."""


@dataclass(frozen=True, slots=True)
class MehlerSeries:
    """E[f(z) f(z')] = Σ powers · ρ^orders, whose value and derivative at ρ = 1 are E[f²] and E[f'²]."""

    powers: Table
    orders: Table

    def at(self, correlation: float) -> float:
        """E[f(z) f(z')] at a correlation in [-1, 1]; terms beyond the table count for positive ones only."""
        if correlation == 0.0:
            return float(self.powers[0])
        if correlation < 0.0:
            return float(self.powers[:TERMS].dot(correlation ** _ORDERS.astype(int)))
        return float(self.powers.dot(correlation**self.orders))


def mehler_series(table: Table, slope_square: float | None) -> MehlerSeries:
    """The series of a function.

    Args:
        table: Values of f on the nodes.
        slope_square: E[f'(z)²]; None where it is not known: what is left of E[f²] then counts as of the last order.
    """
    powers, rest = hermite_squares(table)
    total = float(powers.sum()) + rest
    missing = (slope_square or 0.0) - float(powers.dot(_ORDERS))
    if slope_square is None or missing <= 0.0 or (rest <= 0.0 and missing <= _NEGLIGIBLE * slope_square):
        powers[-1] += max(rest, 0.0)
        return MehlerSeries(powers, _ORDERS)
    if missing <= TERMS * rest:
        # No tail: as far as quadrature can tell, what is left is of the one order at which the slope is right.
        return MehlerSeries(np.append(powers, rest), np.append(_ORDERS, missing / rest))
    if float(_FAR.dot(table * table)) > 0.5 * total:
        # A kink so far out has its terms beyond the table, and none of those in it says how the others fall.
        tail = min(rest, _LITTLE * total)
        powers[-1] += rest - tail
        left = slope_square - float(powers.dot(_ORDERS))
        if tail <= 0.0 or left <= 0.0:
            return MehlerSeries(powers, _ORDERS)
        return MehlerSeries(np.append(powers, tail), np.append(_ORDERS, left / tail))
    upper, steepness = float(powers[_HALF:].sum()), float(powers[_HALF:].dot(_ORDERS[_HALF:]))
    # A part of the upper terms goes to the tail such that the tail's sum and its slope are those of n^(-5/2).
    denominator = upper - steepness / (3.0 * TERMS)
    taken = (missing / (3.0 * TERMS) - rest) / denominator if denominator > 0.0 else 0.0
    powers[_HALF:] *= 1.0 - min(max(taken, 0.0), 1.0)
    tail = total - float(powers.sum())
    if tail <= 0.0:
        return MehlerSeries(powers, _ORDERS)
    stretch = (slope_square - float(powers.dot(_ORDERS))) / (tail * 3.0 * TERMS)
    return MehlerSeries(np.concatenate([powers, tail * _SHARES]), np.concatenate([_ORDERS, stretch * _TAIL]))
