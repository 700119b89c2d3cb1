"""Functions that are not homogeneous, under lengths that fluctuate too much for a tangent (THEORY 2.9).

To first order ln M of f(x0) moves with the elasticity at the typical length. GELU has elasticity 1 for small and for
large arguments and above 1 between: where ln M is spread over several of these the first order overstates the
fluctuation and misses the length. The best linear answer to a normal ln M is the mean of the elasticity over it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.quadrature import NODES, WEIGHTS, Table, expectation

if TYPE_CHECKING:
    from initcheck.signal.signal import Signal

__all__ = ["Amplitude", "amplitude", "mean_share", "mixture_drift"]

_SCALES = np.linspace(-2.0, 2.0, 17)
"""ln s² of factors s of x0 for which the nodes still resolve its distribution; beyond them the elasticity is taken as
constant."""

_POINTS, _PROBABILITIES = np.polynomial.hermite_e.hermegauss(9)
_PROBABILITIES = _PROBABILITIES / _PROBABILITIES.sum()
_SMALL = 0.02


@dataclass(frozen=True, slots=True)
class Amplitude:
    """Answer of ln M(x) to a fluctuating ln M(x0).

    Attributes:
        elasticity: Coefficient of the best linear answer.
        drift: E ln M(x) - ln q(x).
        rest: Variance of ln M(x) that the linear answer leaves.
    """

    elasticity: float
    drift: float
    rest: float


def amplitude(x: Signal, variance: float, drift: float) -> Amplitude | None:
    """Answer of a pointwise function of a Gaussian; None where the first order will do.

    Args:
        x: The value f(x0).
        variance: Of ln M(x0).
        drift: E ln M(x0) - ln q(x0).
    """
    if variance < _SMALL or x.mean_square <= 0.0:
        return None
    base = x.source.base
    centre, deviation = expectation(base), expectation(base * NODES)
    if deviation <= 0.0 or not _close(base, centre + deviation * NODES, 1e-6 * deviation):
        return None
    size = float(np.abs(WEIGHTS @ np.abs(x.table)))
    pointwise = _close(x.stretch, x.slope * base, 1e-6 * size)
    if not pointwise or _close(x.stretch, x.elasticity * x.table, 1e-6 * size):
        return None
    lengths = _log_lengths(x.table, centre / deviation)
    scales = drift + math.sqrt(variance) * _POINTS
    answers = _extended(scales, lengths)
    mean = float(_PROBABILITIES @ answers)
    elasticity = float(_PROBABILITIES @ (answers * _POINTS)) / math.sqrt(variance)
    rest = float(_PROBABILITIES @ (answers - mean) ** 2) - elasticity * elasticity * variance
    return Amplitude(elasticity, mean, max(rest, 0.0))


def _close(first: Table, second: Table, tolerance: float) -> bool:
    return bool((np.abs(first - second) <= tolerance).all())


def mean_share(share: float, variance: float) -> float:
    """Coefficient with which ln of w A + (1 - w) B answers ln A, for a normal ln(A/B): the mean of the share of A.

    A layer whose bias holds the length up where it happens to be short fluctuates less than its typical share says.

    Args:
        share: w, at the typical lengths.
        variance: Of ln(A/B).
    """
    if not 0.0 < share < 1.0 or variance < _SMALL:
        return share
    return float(_PROBABILITIES @ (1.0 / (1.0 + (1.0 / share - 1.0) * np.exp(-math.sqrt(variance) * _POINTS))))


def mixture_drift(share: float, second_order: float) -> float:
    """E ln(w A + (1 - w) B) above ln of the sum of the typical lengths.

    Args:
        share: w, at the typical lengths.
        second_order: The same to second order, w (1 - w)/2 Var[ln(A/B)].
    """
    if second_order <= 0.0:
        return 0.0
    share = min(max(share, 1e-6), 1.0 - 1e-6)
    variance = 2.0 * second_order / (share * (1.0 - share))
    return float(_PROBABILITIES @ np.log(share * np.exp(math.sqrt(variance) * _POINTS) + 1.0 - share))


def _log_lengths(table: Table, ratio: float) -> Table:
    """Ln of E f(s x0)² / E f(x0)² on the grid of scales, by weighting the nodes with the density of s x0.

    Args:
        table: f on the nodes.
        ratio: Mean of x0 over its deviation.
    """
    factors = np.exp(0.5 * _SCALES)[:, None]
    shifted = (NODES - (factors - 1.0) * ratio) / factors
    weights = WEIGHTS * np.exp(0.5 * (NODES * NODES - shifted * shifted)) / factors
    squares = weights @ (table * table) / weights.sum(axis=1)
    lengths = np.log(np.maximum(squares, 1e-300))
    relative: Table = lengths - lengths[len(_SCALES) // 2]
    return relative


def _extended(scales: Table, lengths: Table) -> Table:
    step = float(_SCALES[1] - _SCALES[0])
    inside = np.interp(scales, _SCALES, lengths)
    below = np.minimum(scales - _SCALES[0], 0.0) * float(lengths[1] - lengths[0]) / step
    above = np.maximum(scales - _SCALES[-1], 0.0) * float(lengths[-1] - lengths[-2]) / step
    result: Table = inside + below + above
    return result
