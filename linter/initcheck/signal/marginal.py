"""Distributions that are not Gaussian as tables over one standard normal, with the response at every value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.quadrature import COARSE_NODES, COARSE_WEIGHTS, NODES, WEIGHTS, Table, normal_quantiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from initcheck.signal.signal import Signal

__all__ = [
    "LEVELS",
    "Marginal",
    "extreme_marginal",
    "gamma_variable",
    "mixture_marginal",
    "product_marginal",
    "quantile_marginal",
    "shape_of",
    "sum_marginal",
]

LEVELS = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in NODES])
"""Probability below each quadrature node."""

_LARGEST_VARIATION = 4.0
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
    """A gamma variable of mean 1 and given squared coefficient of variation on the nodes.

    Its cube root is close to normal (Wilson and Hilferty).
    """
    shape = 1.0 / min(variation, _LARGEST_VARIATION)
    roots = 1.0 - 1.0 / (9.0 * shape) + NODES / (3.0 * math.sqrt(shape))
    values: Table = np.maximum(roots, 0.0) ** 3
    return values / float(WEIGHTS @ values)


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
