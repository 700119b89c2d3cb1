"""What sums, products and groups of values make of the fluctuations of their parts (THEORY 2.9)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initcheck.signal.fluctuation import Noise, combined, powers_of
from initcheck.signal.log_mean import log_mean_of_groups
from initcheck.signal.quadrature import expectation, hermite_coefficients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.signal.signal import Signal

__all__ = ["coherence_of", "group_noise", "square_product_variance", "sum_noise"]

_NEGLIGIBLE = 1e-12


def sum_noise(
    x: Signal, y: Signal, sign: float, means: tuple[float, float], squares: tuple[float, float, float]
) -> tuple[Noise, Noise]:
    """Ln M and coherence of x + sign y without the inner product of their deviations.

    M' = M_x + M_y + 2 sign mean(x y), where mean(x y) follows the means of both.

    Args:
        x: First operand.
        y: Second operand.
        sign: 1 or -1.
        means: Coherent means of both, as broadcast.
        squares: Mean squares of both and of the sum.
    """
    whole = squares[2]
    of_x, of_y = (
        combined((math.sqrt(square), part.mean_noise())) for part, square in ((x, squares[0]), (y, squares[1]))
    )
    length = combined(
        (1.0, x.diluted_noise(squares[0] / whole)),
        (1.0, y.diluted_noise(squares[1] / whole)),
        (2.0 * sign * means[1] / whole, of_x),
        (2.0 * sign * means[0] / whole, of_y),
    )
    return length, coherence_of(length, combined((1.0, of_x), (sign, of_y)), means[0] + sign * means[1], whole)


def coherence_of(length: Mapping[int, float], mean: Mapping[int, float], centre: float, square: float) -> Noise:
    """Fluctuation of mean over root mean square from those of ln M and of the mean."""
    root = math.sqrt(square)
    return combined((1.0 / root, mean), (-0.5 * centre / root, length))


def square_product_variance(x: Signal, y: Signal) -> float:
    """What Var[ln M] of a product of independent values has beyond both their own.

    The mean of x² y² over units is q_x q_y (1 + δ_x + δ_y) plus the inner product of the deviations of the squares.
    """
    alone, alike, units, positions = 1.0, 1.0, 1, 1
    for part in (x, y):
        if part.mean_square <= 0.0 or not math.isfinite(part.mean_square):
            return 0.0
        square = part.table * part.table / part.mean_square
        variance = expectation(square * square) - 1.0
        if variance <= _NEGLIGIBLE:
            return 0.0
        powers = hermite_coefficients(square)[1:] ** 2
        shared = float(powers @ powers_of(part.source.rho_position, part.source.spread_position)[1:])
        alone *= variance
        alike *= min(shared, variance)
        units, positions = max(units, part.units), max(positions, part.positions)
    return (alone / positions + (1.0 - 1.0 / positions) * alike) / units


def group_noise(groups: int, before: float, added: float) -> tuple[float, float]:
    """What the groups of a chain of grouped convolutions add to E and Var of ln M.

    Args:
        groups: Number of groups that share nothing.
        before: Variance of ln M of one group so far, if log-normal.
        added: Relative variance of the factor it gets.
    """
    old, new = log_mean_of_groups(groups, before), log_mean_of_groups(groups, before + math.log1p(added))
    return new[0] - old[0], max(new[1] - old[1], 0.0)
