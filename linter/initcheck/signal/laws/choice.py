"""Extremes of two values, and choices between them by a mask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Node, Op
from initcheck.signal.fluctuation import combined
from initcheck.signal.functions import apply
from initcheck.signal.law import Argument, Context, Moments
from initcheck.signal.laws.product import multiply
from initcheck.signal.marginal import extreme_marginal
from initcheck.signal.operands import MASKED, Factor, Operand, join, operand, output_layout
from initcheck.signal.quadrature import COARSE_NODES, COARSE_WEIGHTS, NODES, expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal
from initcheck.signal.source import Logits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.laws.combine import Axes

__all__ = ["ExtremeLaw", "WhereLaw"]


class ExtremeLaw:
    """max(x, y) or min(x, y); with a number it is a clip, with another source the maximum of independent values."""

    def __init__(self, op: Op) -> None:
        self.largest = op is Op.MAXIMUM

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Extreme of two operands."""
        first, second = operand(args[0]), operand(args[1])
        if isinstance(second, Signal) and not isinstance(first, Signal):
            first, second = second, first
        if not isinstance(first, Signal):
            return (None,)
        if isinstance(second, float):
            bound = {"minimum": second} if self.largest else {"maximum": second}
            return (first.map(*apply("clip", first.table, **bound)),)
        layout = output_layout(context.shape(node), (first, second))
        if not isinstance(second, Signal) or layout is None:
            return (None,)
        shape, axes = layout
        if first.source.index == second.source.index:
            wins = first.table >= second.table if self.largest else first.table <= second.table
            return (
                replace(
                    first,
                    table=np.where(wins, first.table, second.table),
                    slope=np.where(wins, first.slope, second.slope),
                    stretch=np.where(wins, first.stretch, second.stretch),
                    shape=shape,
                    axes=axes,
                ).fresh(),
            )
        return (_independent_extreme(first, second, 1.0 if self.largest else -1.0, shape, axes, node, context),)


def _independent_extreme(
    x: Signal,
    y: Signal,
    sign: float,
    shape: tuple[int, ...],
    axes: Axes,
    node: Node,
    context: Context,
) -> Signal:
    marginal = extreme_marginal(x, y, sign)
    mean, square = expectation(marginal.table), expectation(marginal.table**2)
    a, b = np.interp(COARSE_NODES, NODES, x.table), np.interp(COARSE_NODES, NODES, y.table)
    share = float(COARSE_WEIGHTS @ (sign * a[:, None] >= sign * b[None, :]) @ COARSE_WEIGHTS)
    variance = max(square - mean * mean, 0.0)
    rho_position = share * x.source.rho_position + (1.0 - share) * y.source.rho_position
    rho_sample = share * x.source.rho_sample + (1.0 - share) * y.source.rho_sample
    noise = combined((share, x.inherited_noise), (1.0 - share, y.inherited_noise))
    result = context.create(
        Moments(
            square,
            mean,
            mean * mean + rho_position * variance,
            mean * mean + rho_sample * variance,
            expectation(marginal.response**2),
        ),
        x,
        shape=shape,
        axes=axes,
        noise=noise,
        parents=(x, y),
        weights=(share, 1.0 - share),
        uncertainty=max(x.uncertainty, y.uncertainty) ** 2,
        marginal=marginal,
    )
    joined = join(result, x, y, node.name, context)
    return replace(joined, source=replace(joined.source, extreme_of=(x, y, sign)))


class WhereLaw:
    """where(condition, a, b).

    A condition that does not depend on the input is a mask, or a mixture by its share; a choice of minus infinity
    switches off, as in front of a softmax. One on the same source as both
    choices picks pointwise, exactly (a softplus written with its linear part apart); any other is not known.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Masked logits, a mixture, or a pointwise choice."""
        condition, first, second = operand(args[0]), operand(args[1]), operand(args[2])
        if isinstance(condition, Signal):
            return (_pointwise(condition, first, second),)
        if isinstance(condition, float):
            chosen = first if condition else second
            return (chosen if isinstance(chosen, Signal) else None,)
        if condition is None and args[0] is None and isinstance(first, float) and first < MASKED:
            # Which keys are padding is up to the data, of which nothing is padded.
            return (second if isinstance(second, Signal) else None,)
        if not isinstance(condition, Factor) or condition.values is None:
            return (None,)
        share = condition.mean
        if isinstance(second, Signal) and not isinstance(first, Signal):
            first, second, share = second, first, 1.0 - share
            condition = replace(condition, values=1.0 - np.asarray(condition.values))
        if not isinstance(first, Signal) or not isinstance(second, float):
            return (None,)
        if first.logits is not None or second < MASKED:
            mask = np.where(np.asarray(condition.values) > 0.5, 0.0, -np.inf)
            # What is switched off by a huge number waits for a softmax or an exponential.
            logits = first.logits or Logits(first.variance, 0.0, first.gain)
            return (replace(first, logits=replace(logits, mask=mask)),)
        if not math.isfinite(second):
            return (None,)
        kept = Factor(condition.shape, share, share, np.asarray(condition.values), one_sign=True)
        if second == 0.0:
            return (multiply(first, kept, node, context),)
        apart = multiply(first.fresh(table=first.table - second), kept, node, context)
        return (None if apart is None else apart.fresh(table=apart.table + second),)


def _pointwise(condition: Signal, first: Operand, second: Operand) -> Signal | None:
    """The choice between two functions of the condition's own source, or a number."""
    picked = condition.table > 0.5
    certain = first if picked.all() else second if not picked.any() else None
    if isinstance(certain, Signal):
        return certain
    sides = []
    for side in (first, second):
        if isinstance(side, float):
            sides.append((np.full_like(picked, side, dtype=np.float64), np.zeros(len(picked)), np.zeros(len(picked))))
        elif isinstance(side, Signal) and side.source.index == condition.source.index:
            sides.append((side.table, side.slope, side.stretch))
        else:
            return None
    table, slope, stretch = (np.where(picked, a, b) for a, b in zip(*sides, strict=True))
    like = next((side for side in (first, second) if isinstance(side, Signal)), condition)
    return like.fresh(table=table, slope=slope, stretch=stretch)
