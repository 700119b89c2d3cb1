"""The largest of several values, and values put at places that depend on the input: what routes tokens to experts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.marginal import quantile_marginal
from initcheck.signal.quadrature import NODES, Table
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ScatterLaw", "TopKLaw", "largest"]

_WORK = 1 << 16


class TopKLaw:
    """The k largest of n units, by fixed-seed sampling of n independent values of the table (THEORY 2.2, selection).

    A change of the input reaches what was picked and does not change the choice. The indices are no signal.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The values; unknown where positions are compared."""
        x, shape = args[0], context.shape(node)
        nothing = (None,) * len(node.outputs)
        if not isinstance(x, Signal) or shape is None or not x.shape:
            return nothing
        axis = int(node.attributes.get("axis", -1)) % len(x.shape)
        count, kept = x.shape[axis], int(node.attributes["count"])
        if x.axes[axis] is not Axis.FEATURE or not 0 < kept <= count:
            return nothing
        axes = x.axes if len(shape) == len(x.shape) else tuple(a for i, a in enumerate(x.axes) if i != axis)
        downwards = not node.attributes.get("largest", True)
        return (largest(x, count, kept, context, shape, axes, downwards=downwards), *nothing[1:])


def largest(
    x: Signal,
    count: int,
    kept: int,
    context: Context,
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    *,
    downwards: bool = False,
) -> Signal:
    """The ``kept`` largest, or smallest, of ``count`` independent units."""
    repeats = max(_WORK // count, 64)
    here, there = np.random.default_rng(0).standard_normal((2, repeats, count))
    sign = -1.0 if downwards else 1.0

    def picked(z: Table) -> tuple[Table, Table]:
        values = np.interp(z, NODES, x.table)
        order = np.argsort(-sign * values, axis=1)[:, :kept]
        responses = np.interp(z, NODES, x.slope * x.slope) * x.source.perturbation
        return np.take_along_axis(values, order, axis=1), np.take_along_axis(responses, order, axis=1)

    values, responses = picked(here)
    mean, square, response = float(values.mean()), float(np.mean(values * values)), float(responses.mean())

    def paired(correlation: float) -> float:
        """E[x x'] by the mean square of the difference, which is exact where the correlation is near one."""
        rho = min(max(correlation, 0.0), 1.0)
        others, _ = picked(rho * here + math.sqrt(1.0 - rho * rho) * there)
        return square - 0.5 * float(np.mean((values - others) ** 2))

    moments = moments_of(x)
    alike = moments.pair_perturbation / moments.perturbation if moments.perturbation > 0.0 else 0.0
    return context.create(
        Moments(
            square,
            mean,
            paired(x.source.rho_position),
            paired(x.source.rho_sample),
            response,
            alike * response,
        ),
        x,
        shape=shape,
        axes=axes,
        noise=x.noise,
        parents=(x,),
        realized=True,
        uncertainty=x.uncertainty**2,
        marginal=quantile_marginal(values, responses, np.full(values.shape, 1.0 / values.size)),
    )


class ScatterLaw:
    """Rows put at places that the input picks, zero elsewhere; rows at one place add up.

    With s rows per place on average q' = s q (+ s (s - 1) μ² where several meet) and μ' = s μ. Two places, or two
    samples, both hold a row with probability s².
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The value with its zeros."""
        x, shape = args[0], context.shape(node)
        if not isinstance(x, Signal) or shape is None or len(shape) != len(x.shape) or 0 in shape:
            return (None,)
        share = math.prod(x.shape) / math.prod(shape)
        moments = moments_of(x)
        met = max(share - 1.0, 0.0) * share * moments.mean**2
        placed = Moments(
            share * moments.mean_square + met,
            share * moments.mean,
            share * share * moments.pair_position,
            share * share * moments.pair_sample,
            share * moments.perturbation,
            share * share * moments.pair_perturbation,
        )
        result = context.create(
            placed,
            x,
            shape=shape,
            axes=x.axes,
            noise=x.noise,
            parents=(x,),
            realized=True,
            uncertainty=x.uncertainty**2,
        )
        return (replace(result, reference=x.reference),)
