"""Distribution of a sum or a mixture as a table over one standard normal."""

from __future__ import annotations

import math

import numpy as np

from initcheck.signal.quadrature import COARSE_NODES, COARSE_WEIGHTS, NODES, Table

__all__ = ["mixture_marginal", "quantile_table", "sum_marginal"]

_QUANTILES = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in NODES])
_PAIR_WEIGHTS = np.outer(COARSE_WEIGHTS, COARSE_WEIGHTS).ravel()


def quantile_table(values: Table, weights: Table) -> Table:
    """Table of a non-decreasing f with f(z) distributed as the weighted values.

    Args:
        values: Atoms of the distribution.
        weights: Their probabilities.
    """
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) - 0.5 * weights[order]
    table: Table = np.interp(_QUANTILES, cumulative, values[order])
    return table


def sum_marginal(first: Table, second: Table, sign: float = 1.0) -> Table:
    """Distribution of x + sign * y for independent x and y given by their tables."""
    x = np.interp(COARSE_NODES, NODES, first)
    y = np.interp(COARSE_NODES, NODES, second)
    return quantile_table((x[:, None] + sign * y[None, :]).ravel(), _PAIR_WEIGHTS)


def mixture_marginal(tables: list[Table], shares: list[float]) -> Table:
    """Distribution of a value that is drawn from each table with the given probability."""
    x = np.concatenate([np.interp(COARSE_NODES, NODES, table) for table in tables])
    w = np.concatenate([share * COARSE_WEIGHTS for share in shares])
    return quantile_table(x, w)
