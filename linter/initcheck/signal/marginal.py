"""Distributions that are not Gaussian as tables over one standard normal, with the response at every value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.quadrature import (
    COARSE_NODES,
    COARSE_WEIGHTS,
    NODES,
    WEIGHTS,
    Table,
    expectation,
    normal_quantiles,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from initcheck.signal.signal import Signal

__all__ = [
    "LEVELS",
    "Marginal",
    "extreme_marginal",
    "gamma_variable",
    "has_one_sign",
    "mixture_marginal",
    "one_signed_marginal",
    "powered_shape",
    "product_marginal",
    "quantile_marginal",
    "shape_of",
    "sum_marginal",
    "thinned_marginal",
]

LEVELS = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in NODES])
"""Probability below each quadrature node."""

_FAR_FROM_ZERO = 144.0
"""Squared ratio of mean to standard deviation from which no node of any weight lies beyond zero."""

_LEAST_LEVEL = 1e-100

_EDGES = np.concatenate([[0.0], np.cumsum(WEIGHTS)])
_USED = np.flatnonzero(WEIGHTS > 1e-9)
_EQUAL_COUNT = 48
_EQUAL_NODES = normal_quantiles((np.arange(_EQUAL_COUNT) + 0.5) / _EQUAL_COUNT)
_EQUAL_NODES /= _EQUAL_NODES.std()
_EQUAL_WEIGHTS = np.full(_EQUAL_COUNT, 1.0 / _EQUAL_COUNT)


@dataclass(frozen=True, slots=True)
class Marginal:
    """A distribution of any location and scale.

    Attributes:
        table: Values over z.
        response: Root mean square of the small-perturbation response over z, any scale: a rectified unit that is zero
            does not respond, so the response must not be spread over all values.
    """

    table: Table
    response: Table

    @property
    def slope(self) -> Table:
        """The response with mean square 1."""
        power = float(WEIGHTS @ (self.response * self.response))
        return self.response / math.sqrt(power) if power > 0.0 else np.ones_like(self.response)


def shape_of(x: Signal, sign: float = 1.0) -> Marginal | None:
    """Shape of ±x, None for a Gaussian."""
    return None if x.is_gaussian else Marginal(math.copysign(1.0, sign) * x.table, np.abs(x.slope))


def gamma_variable(variation: float) -> Table:
    """A gamma variable of mean 1 and given squared coefficient of variation on the nodes."""
    # Layers of one kind differ in the last digits only and share one table.
    return _gamma_table(float(f"{variation:.6g}"))


def quantile_marginal(values: Table, responses: Table, weights: Table) -> Marginal:
    """Table of a non-decreasing f with f(z) distributed as the weighted values.

    Args:
        values: Atoms of the distribution.
        responses: Mean square of the response at each of them.
        weights: Their probabilities, which sum to 1.
    """
    order = np.argsort(values, axis=None, kind="stable")
    values, responses, weights = values.ravel()[order], responses.ravel()[order], weights.ravel()[order]
    reached = np.concatenate([[0.0], np.cumsum(weights)])
    table = np.interp(LEVELS, 0.5 * (reached[1:] + reached[:-1]), values)
    total = np.interp(_EDGES, reached, np.concatenate([[0.0], np.cumsum(weights * responses)]))
    cells = np.diff(total)[_USED] / WEIGHTS[_USED]
    return Marginal(table, np.sqrt(np.interp(NODES, NODES[_USED], np.maximum(cells, 0.0))))


def sum_marginal(x: Signal, y: Signal, sign: float = 1.0) -> Marginal:
    """Distribution of x + sign * y for independent x and y."""
    return _pairwise(x, y, lambda a, b: a + sign * b, lambda _a, _b, da, db: da + db)


def product_marginal(x: Signal, y: Signal) -> Marginal:
    """Distribution of x y for independent x and y, its heavy tails included."""
    return _pairwise(x, y, lambda a, b: a * b, lambda a, b, da, db: b * b * da + a * a * db, tails=True)


def extreme_marginal(x: Signal, y: Signal, sign: float = 1.0) -> Marginal:
    """Distribution of max(x, y), or min(x, y) for ``sign`` -1, of independent x and y."""
    return _pairwise(
        x,
        y,
        lambda a, b: sign * np.maximum(sign * a, sign * b),
        lambda a, b, da, db: np.where(sign * a >= sign * b, da, db),
    )


def mixture_marginal(parts: Sequence[Signal], shares: Sequence[float]) -> Marginal:
    """Distribution of a value that is drawn from each part with the given probability."""
    weights = np.concatenate([share * WEIGHTS for share in shares])
    return quantile_marginal(
        np.concatenate([part.table for part in parts]),
        np.concatenate([part.source.perturbation * part.slope * part.slope for part in parts]),
        weights / weights.sum(),
    )


def has_one_sign(x: Signal) -> bool:
    """Whether x is never negative or never positive."""
    return float(x.table.min()) >= 0.0 or float(x.table.max()) <= 0.0


def thinned_marginal(x: Signal, share: float) -> Marginal:
    """Distribution of a value that is x with a probability and else zero."""
    return quantile_marginal(
        np.append(x.table, 0.0), np.append(x.slope * x.slope, 0.0), np.append(share * WEIGHTS, 1.0 - share)
    )


def one_signed_marginal(x: Signal, mean: float, mean_square: float) -> Marginal | None:
    """Distribution of a sum of values of one sign, as a gamma variable with the moments of the sum.

    A normal of those moments would cross zero, where a reciprocal (a norm) or an exponential (a decay) is as large as
    the tail is far. The mean-square response given the sum is taken as linear in it, which is exact for squares.

    Args:
        x: What is summed, or weighted by factors of one sign.
        mean: Of the sum.
        mean_square: Of the sum.

    Returns:
        None where x takes both signs, or a normal of these moments does not come near zero.
    """
    variance = mean_square - mean * mean
    if not has_one_sign(x) or variance <= 0.0 or not 0.0 < mean * mean < _FAR_FROM_ZERO * variance:
        return None
    table = gamma_variable(variance / (mean * mean))
    squares = x.slope * x.slope
    spread = expectation(x.table * x.table) - x.mean * x.mean
    power = expectation(squares)
    together = x.mean * (expectation(squares * x.table) / power - x.mean) / spread if power * spread > 0.0 else 0.0
    response = np.sqrt(np.maximum(1.0 + together * (table - 1.0), 0.0))
    return Marginal(math.copysign(1.0, mean) * table, response)


@lru_cache(maxsize=256)
def _gamma_table(variation: float) -> Table:
    """Quantiles at the nodes, of the wanted mean and variance under their weights."""
    shape = 1.0 / variation
    start = (math.log(_LEAST_LEVEL) + math.lgamma(shape + 1.0)) / shape
    logs = np.linspace(min(start, math.log(shape)), math.log(shape + 10.0 * math.sqrt(shape) + 200.0), 4096)
    density = np.exp(shape * logs - np.exp(logs) - math.lgamma(shape))
    cells = 0.5 * (density[1:] + density[:-1]) * np.diff(logs)
    below = np.concatenate([[0.0], np.cumsum(cells)]) + _LEAST_LEVEL
    above = np.concatenate([np.cumsum(cells[::-1])[::-1], [0.0]]) + _LEAST_LEVEL
    lower = np.interp(np.log(LEVELS), np.log(below), logs)
    upper = np.interp(np.log(LEVELS[::-1]), np.log(above[::-1]), logs[::-1])
    quantiles = np.where(LEVELS < 0.5, lower, upper)
    # Few nodes see a skewed variable: a power of it has the variance that they should see.
    result = powered_shape(np.exp(quantiles - quantiles.max()), variation)
    result.flags.writeable = False
    return result


def powered_shape(table: Table, relative_variance: float) -> Table:
    """A power of a table that is never negative, of mean one and, as far as a power can give it, of this variance."""
    largest = float(table.max())
    if largest <= 0.0:
        return np.ones_like(table)
    table = table / largest
    low, high = 1.0 / 8.0, 8.0
    for _ in range(30):
        exponent = math.sqrt(low * high)
        power = table**exponent
        mean = expectation(power)
        wide = mean > 0.0 and expectation(power * power) > (1.0 + relative_variance) * mean * mean
        low, high = (low, exponent) if wide else (exponent, high)
    result: Table = power / mean if mean > 0.0 else np.ones_like(table)
    return result


def _atoms(x: Signal, nodes: Table) -> tuple[Table, Table]:
    """Values and mean-square responses on other nodes."""
    return np.interp(nodes, NODES, x.table), x.source.perturbation * np.interp(nodes, NODES, x.slope * x.slope)


def _pairwise(
    x: Signal,
    y: Signal,
    combine: Callable[[Table, Table], Table],
    respond: Callable[[Table, Table, Table, Table], Table],
    *,
    tails: bool = False,
) -> Marginal:
    """Table over all pairs of atoms.

    Atoms of equal probability place kinks well; those of a quadrature are exact in the tails.
    """
    nodes, weights = (COARSE_NODES, COARSE_WEIGHTS) if tails else (_EQUAL_NODES, _EQUAL_WEIGHTS)
    a, da = (part[:, None] for part in _atoms(x, nodes))
    b, db = (part[None, :] for part in _atoms(y, nodes))
    values, responses = np.broadcast_arrays(combine(a, b), respond(a, b, da, db))
    return quantile_marginal(values, responses, np.outer(weights, weights))
