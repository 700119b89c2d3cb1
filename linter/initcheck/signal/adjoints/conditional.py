"""A gradient over one source seen from another: what a sum or a product of two values hands to each of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis
from initcheck.signal.gradient import is_flat
from initcheck.signal.quadrature import COARSE_NODES, COARSE_WEIGHTS, NODES, expectation
from initcheck.signal.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from initcheck.signal.adjoint import BackwardContext
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.quadrature import Table
    from initcheck.signal.signal import Signal

__all__ = ["parameter_gradient", "reduced", "seen_from"]


def seen_from(
    g: Gradient,
    out: Signal,
    x: Signal,
    other: Signal,
    context: BackwardContext,
    combine: Callable[[Table, Table], Table],
    factor: Callable[[Table, Table], Table] | None = None,
) -> Gradient:
    """The gradient at out = combine(x, other) as a function of x, the other operand averaged over.

    A unit of the sum that a rectifier lets through is more likely to be large in x too: amplitudes become
    sqrt(E[h(z)² | x]), the common part E[c(z) | x], and what that mean leaves out of it a carrier of its own.

    Args:
        g: Gradient at ``out``.
        out: The result, over a source of its own or over that of ``other``.
        x: The operand.
        other: The other operand, independent of it.
        context: Numbers of new carriers.
        combine: Value of the result.
        factor: Derivative of the result by x, 1 when left out.
    """
    along = g.common
    if factor is None and is_flat(g.amplitudes):
        return g
    a = x.table[:, None]
    b = np.interp(COARSE_NODES, NODES, other.table)[None, :]
    if out.source.index == other.source.index:
        places = np.broadcast_to(_COARSE_PLACES, (len(a), len(_COARSE_PLACES)))
    else:
        places = _places(combine(a, b), out.table)
    where, inside = _split(places)
    times = None if factor is None else np.broadcast_to(factor(a, b), places.shape)
    weights = np.broadcast_to(COARSE_WEIGHTS, places.shape)
    left, step = g.amplitudes[:, :-1], np.diff(g.amplitudes)
    # A square is quadratic in the place within a cell: h² + 2 h Δ t + Δ² t².
    of_squares = weights if times is None else weights * times * times
    zeroth, first, second = (_per_cell(part, where) for part in _moments(of_squares, inside, 2))
    seconds = (left * left) @ zeroth + 2.0 * (left * step) @ first + (step * step) @ second
    # The coefficients of the square are rounded each on its own.
    seconds = np.maximum(seconds, 0.0)
    carriers = dict(zip(g.carriers, np.sqrt(seconds), strict=False))
    common = None
    if along is not None:
        if times is not None:
            zeroth, first = (_per_cell(part, where) for part in _moments(weights * times, inside, 1))
        common = left[-1] @ zeroth + step[-1] @ first
        rest = np.maximum(seconds[-1] - common * common, 0.0)
        if expectation(rest) > 1e-12 * g.mean_square:
            carriers[context.next_index()] = np.sqrt(rest)
    if factor is not None:
        # A random factor makes the numbers of its units independent of those of other paths.
        total = np.sqrt(np.sum([h * h for h in carriers.values()], axis=0))
        carriers = {context.next_index(): total}
    return replace(g, carriers=carriers, common=common)


_CELLS = len(NODES) - 1
_INDICES = np.arange(len(NODES), dtype=np.float64)
_COARSE_PLACES = np.interp(COARSE_NODES, NODES, _INDICES)


def _places(values: Table, table: Table) -> Table:
    """Where a table takes values, as fractional indices of the nodes."""
    if bool((table[1:] >= table[:-1]).all()):
        return np.interp(values, table, _INDICES)
    order = np.argsort(table, kind="stable")
    places: Table = np.interp(np.interp(values, table[order], NODES[order]), NODES, _INDICES)
    return places


def _split(places: Table) -> tuple[NDArray[np.intp], Table]:
    """Number of the cell between two nodes, counted on from row to row, and the place within it from 0 to 1."""
    # Values beyond the range of floats have no place; any will do.
    places = np.nan_to_num(places)
    cells = np.clip(places.astype(np.intp), 0, _CELLS - 1)
    inside = np.asarray(places - cells, dtype=np.float64)
    rows = np.arange(len(places), dtype=np.intp)[:, None]
    return cells + _CELLS * rows, inside


def _moments(weights: Table, inside: Table, order: int) -> list[Table]:
    """Weights times powers of the place within the cell, up to an order."""
    parts = [weights]
    for _ in range(order):
        parts.append(parts[-1] * inside)
    return parts


def _per_cell(weights: Table, where: NDArray[np.intp]) -> Table:
    """Sum of the weights of each row that fall into each cell: (cell, row)."""
    rows = len(where)
    total = np.asarray(np.bincount(where.ravel(), weights.ravel(), rows * _CELLS), dtype=np.float64)
    return total.reshape(rows, _CELLS).T


def reduced(g: Gradient, x: Signal, out: Signal, context: BackwardContext) -> Gradient:
    """The gradient of an operand that was broadcast: the sum over its copies.

    N copies give N G (1 + (N-1) ρ), ρ the correlation of the gradient over samples or positions; over features the ξ
    are independent.
    """
    if x.shape == out.shape:
        return g
    padded = (1,) * (len(out.shape) - len(x.shape)) + x.shape
    copies = dict.fromkeys(Axis, 1)
    for n, p, kind in zip(out.shape, padded, out.axes, strict=True):
        if n > 1 and p == 1:
            copies[kind] *= n
    if all(n == 1 for n in copies.values()):
        return replace(g, profile=None)
    square = g.mean_square
    position = g.pair_position(out) / square if square > 0.0 else 0.0
    sample = g.pair_sample(out) / square if square > 0.0 else 0.0
    over_positions, over_samples = copies[Axis.POSITION], copies[Axis.BATCH]
    together = over_positions * (1.0 + (over_positions - 1.0) * position)
    together *= over_samples * (1.0 + (over_samples - 1.0) * sample) * copies[Axis.FEATURE]
    return context.fresh(
        square * max(together, 0.0),
        rho_position=1.0 if x.positions == 1 else position,
        rho_sample=1.0 if over_samples > 1 else sample,
        assumed=g.assumed,
    )


def parameter_gradient(out: Signal, square: float, position: float, sample: float, size: int) -> float:
    """E of the squared gradient of one element of a parameter that was broadcast to ``out``.

    Args:
        out: The value it was broadcast to.
        square: Mean square of what one place contributes.
        position: Pair moment of that over positions of a sample.
        sample: Over samples.
        size: Elements of the parameter.
    """
    places = math.prod(out.shape) / max(size, 1)
    samples = min(float(math.prod(n for n, a in zip(out.shape, out.axes, strict=True) if a is Axis.BATCH)), places)
    positions = min(float(max(out.positions, 1)), places / max(samples, 1.0))
    pairs = max(positions - 1.0, 0.0) * position + max(samples - 1.0, 0.0) * positions * sample
    return max(places * (square + pairs), 0.0)
