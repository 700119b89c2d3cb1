"""What the engine predicts of a measured logarithm: typical moments, and what a finite number of units adds.

The mean of n squares of relative variance c²/n is close to a gamma variable of shape k = n/c²; of its logarithm the
mean is ψ(k) - ln k, about -c²/2n. On the typical path the engine counts this for every value that a later one sums
over; what a value's own units add to its own logarithm is added here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initcheck.signal.quadrature import digamma, expectation

if TYPE_CHECKING:
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.quadrature import Table
    from initcheck.signal.signal import Signal

__all__ = ["gain", "gradient", "length", "log10", "parameter_gradient"]

LN10 = math.log(10.0)


def length(signal: Signal) -> float:
    """Log10 of the typical mean square."""
    return log10(signal.mean_square) + signal.drift() / LN10


def gain(signal: Signal) -> float:
    """Log10 of the typical response; that of one unit is slope(z) ξ, ξ normal, independent over units and positions."""
    return _of_normal(signal.slope * signal.slope, signal.gain, signal.units * signal.positions)


def gradient(found: Gradient, signal: Signal) -> float:
    """Log10 of a value's typical gradient; ξ is correlated over positions as the engine says."""
    square, positions = found.mean_square, max(signal.positions, 1)
    correlation = min(max(found.pair_position(signal) / square, 0.0), 1.0) if square > 0.0 else 0.0
    share = 1.0 / positions + (1.0 - 1.0 / positions) * correlation**2
    return _of_normal(found.power, square, signal.units / share)


def parameter_gradient(square: float, size: int) -> float:
    """Log10 of a parameter's typical gradient, of elements that are independent and normal."""
    return log10(square) + _below(0.5 * size)


def log10(square: float) -> float:
    """Minus infinity for zero."""
    return math.log10(square) if square > 0.0 else -math.inf


def _of_normal(power: Table, square: float, count: float) -> float:
    """Log10 of a mean over ``count`` of (h ξ)², where h² is the table and ξ standard normal."""
    mean = expectation(power)
    if mean <= 0.0 or square <= 0.0:
        return -math.inf
    relative = 3.0 * expectation(power * power) / mean**2 - 1.0
    return log10(square) + _below(max(count, 1.0) / relative)


def _below(shape: float) -> float:
    # Less than one squared normal is none.
    shape = max(shape, 0.5)
    return (digamma(shape) - math.log(shape)) / LN10
