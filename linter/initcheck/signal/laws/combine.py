"""Sums and differences of two values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node
from initcheck.signal.fluctuation import Noise, combined
from initcheck.signal.functions import apply
from initcheck.signal.joined_fluctuation import sum_noise
from initcheck.signal.law import Argument, Context, Moments
from initcheck.signal.marginal import sum_marginal
from initcheck.signal.operands import (
    Factor,
    Operand,
    aligned,
    factor_signal,
    join,
    operand,
    output_layout,
)
from initcheck.signal.profile import joint, padded, pair_share
from initcheck.signal.quadrature import expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal
from initcheck.signal.source import Logits, effective_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Axes", "SumLaw"]

Axes = tuple[Axis, ...]
_NEGLIGIBLE = 1e-12


class SumLaw:
    """x + y or x - y.

    One source: pointwise, exact. Different sources: q = q_x + q_y ± 2 μ_x μ_y and the like for pairs; the perturbations
    add because the sources' weights are independent. The inner product of two values of n units adds a noise of
    variance 4 v_x v_y / q² / n_eff (THEORY 2.9).
    """

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Sum of signals, parameters, constants."""
        first, second = operand(args[0]), operand(args[1])
        layout = output_layout(context.shape(node), (first, second))
        if first is None or second is None or layout is None:
            return (None,)
        shape, axes = layout
        if isinstance(first, Signal) and not isinstance(second, Signal):
            return (self._shift(first, second, self.sign, shape, axes, node, context),)
        if isinstance(second, Signal) and not isinstance(first, Signal):
            flipped = second.scaled(self.sign)
            return (self._shift(flipped, first, 1.0, shape, axes, node, context),)
        if isinstance(first, Signal) and isinstance(second, Signal):
            return (self._add(first, second, shape, axes, node, context),)
        return (None,)

    def _shift(
        self,
        x: Signal,
        other: Operand,
        sign: float,
        shape: tuple[int, ...],
        axes: Axes,
        node: Node,
        context: Context,
    ) -> Signal | None:
        if isinstance(other, float):
            if x.logits is not None:
                return x
            return x.fresh(table=x.table + sign * other)
        if not isinstance(other, Factor):
            return None
        if x.logits is not None:
            return _masked(x, other)
        if sign < 0.0:
            values = None if other.values is None else -other.values
            other = Factor(other.shape, -other.mean, other.mean_square, values)
        return _add_independent(x, factor_signal(other, x, shape, axes, context), 1.0, shape, axes, node, context)

    def _add(
        self, x: Signal, y: Signal, shape: tuple[int, ...], axes: Axes, node: Node, context: Context
    ) -> Signal | None:
        if x.source.index == y.source.index:
            larger = x if math.prod(x.shape) >= math.prod(y.shape) else y
            return larger.fresh(
                table=x.table + self.sign * y.table,
                slope=x.slope + self.sign * y.slope,
                stretch=x.stretch + self.sign * y.stretch,
                shape=shape,
                axes=axes,
                profile=joint(
                    ((part.mean_square, padded(part.profile, len(shape))) for part in (x, y)),
                ),
            )
        other = _other_of_extreme(x, y) if self.sign < 0.0 else None
        if other is not None:
            # x - max(x, y) = min(x - y, 0), as exponentials are kept within bounds.
            difference = self._add(x, other, shape, axes, node, context)
            return difference and difference.map(*apply("clip", difference.table, **_beyond(y)))
        if _averages(y, x) and y.units < x.units:
            # A mean over features is as good as a number beside the units themselves.
            return self._add(x, _number(y, x), shape, axes, node, context)
        if x.logits is not None and y.logits is None and y.gain == 0.0:
            # A learned position bias spreads the logits over keys but does not see the input.
            return replace(x, logits=_spread(x.logits, y.variance))
        if _negligible(y, x) and x.shape == shape:
            return x
        if _negligible(x, y) and y.shape == shape and self.sign > 0.0:
            return y
        return _add_independent(x, y, self.sign, shape, axes, node, context)


def _other_of_extreme(x: Signal, extreme: Signal) -> Signal | None:
    """Y of max(x, y) or min(x, y), None where x is none of the two."""
    if extreme.source.extreme_of is None or not np.array_equal(extreme.table, extreme.source.base):
        return None
    first, second, _ = extreme.source.extreme_of
    for one, other in ((first, second), (second, first)):
        if one.source.index == x.source.index and np.array_equal(one.table, x.table):
            return other
    return None


def _beyond(extreme: Signal) -> dict[str, float]:
    return {"maximum": 0.0} if extreme.source.extreme_of and extreme.source.extreme_of[2] > 0.0 else {"minimum": 0.0}


def _number(mean: Signal, x: Signal) -> Signal:
    return x.fresh(
        table=np.full_like(x.table, mean.mean),
        slope=np.zeros_like(x.slope),
        stretch=np.full_like(x.stretch, expectation(x.stretch)),
        shape=mean.shape,
        axes=mean.axes,
        profile=mean.profile,
    )


def _negligible(small: Signal, large: Signal) -> bool:
    # Keeping the other operand unchanged keeps its table: relu(relu(x) + 0) is not that of a Gaussian (THEORY 2.2,
    # add).
    return small.mean_square <= _NEGLIGIBLE * large.mean_square and small.gain <= 1e-9 * large.gain


def _spread(logits: Logits, variance: float) -> Logits:
    """Logits with something added that is independent from key to key and from query to query."""
    total = logits.variance + variance
    shared = logits.row_correlation * logits.variance / total if total > 0.0 else logits.row_correlation
    return replace(logits, variance=total, row_correlation=shared)


def _masked(x: Signal, other: Factor) -> Signal:
    if x.logits is None:
        return x
    if other.values is None:
        # A learned position bias of unknown values spreads the logits over keys.
        spread = max(other.mean_square - other.mean * other.mean, 0.0)
        return replace(x, logits=_spread(x.logits, spread))
    previous = x.logits.mask
    mask = other.values if previous is None else previous + other.values
    return replace(x, logits=replace(x.logits, mask=mask))


def _add_independent(
    x: Signal, y: Signal, sign: float, shape: tuple[int, ...], axes: Axes, node: Node, context: Context
) -> Signal:
    left, right = aligned(x, shape, axes), aligned(y, shape, axes)
    common = _common_part(x, y, left, right)
    cross = 2.0 * sign * left.mean * right.mean
    square = max(left.mean_square + right.mean_square + cross + 2.0 * sign * common.mean_square, 0.0)
    first, second = padded(x.profile, len(shape)), padded(y.profile, len(shape))
    profile = joint(((left.mean_square, first), (right.mean_square, second), (max(cross, 0.0), None)))
    count = math.prod(n for n, axis in zip(shape, axes, strict=True) if axis is Axis.POSITION)
    of_first, of_second, of_sum = (pair_share(part, count) for part in (first, second, profile))
    moments = Moments(
        square,
        left.mean + sign * right.mean,
        (of_first * left.pair_position + of_second * right.pair_position + cross + 2.0 * sign * common.pair_position)
        / (of_sum or 1.0),
        left.pair_sample + right.pair_sample + cross + 2.0 * sign * common.pair_sample,
        max(left.perturbation + right.perturbation + 2.0 * sign * common.perturbation, 0.0),
        (
            of_first * left.pair_perturbation
            + of_second * right.pair_perturbation
            + 2.0 * sign * common.pair_perturbation
        )
        / (of_sum or 1.0),
    )
    noise: Noise = {}
    coherence: Noise = {}
    weights = (1.0, 1.0)
    answer: dict[int, float] = {}
    shift: dict[int, float] = {}
    uncertainty = variation = 0.0
    if square > 0.0:
        weight_x = (left.mean_square + 0.5 * cross) / square
        weight_y = (right.mean_square + 0.5 * cross) / square
        weights = (weight_x, weight_y)
        for weight, part in zip(weights, (x, y), strict=True):
            for index, coefficient in part.scale_response().items():
                answer[index] = answer.get(index, 0.0) + weight * coefficient
            uncertainty += (weight * part.uncertainty) ** 2
            variation += weight * weight * part.unit_variation
        shift = _shift_of_sum(x, y, sign, answer, moments.mean)
        chance = _chance_alignment(x, y, left, right, shape, axes) / (square * square)
        if chance > 0.0:
            answer[context.next_index()] = math.sqrt(chance)
        squares = (left.mean_square, right.mean_square, square)
        noise, coherence = sum_noise(x, y, sign, (left.mean, right.mean), squares)
        together = math.sqrt(x.source.spread_position * y.source.spread_position)
        inner = _inner_product_noise(left, right, square, together, shape, axes)
        if inner > 0.0:
            noise[context.next_index()] = math.sqrt(inner)
    marginal = None if x.is_gaussian and y.is_gaussian else sum_marginal(x, y, sign)
    result = context.create(
        moments,
        x,
        shape=shape,
        axes=axes,
        noise=noise,
        scale_response=answer,
        shift_response=shift,
        unit_variation=variation,
        parents=(x, y),
        weights=weights,
        coherence=coherence,
        alignment=combined(*((w, part.own_alignment) for w, part in zip(weights, (x, y), strict=True))),
        realized=True,
        spread=_joint_spread(x, y, weights),
        uncertainty=uncertainty,
        marginal=marginal,
        profile=profile,
    )
    joined = join(result, x, y, node.name, context)
    skip_index = context.skip_index.get(node.name)
    if skip_index is None or x.segment != y.segment:
        return joined
    skip = (x, y)[skip_index]
    if skip.mean_square <= 0.0 or square <= 0.0:
        return joined
    return replace(joined, growth=skip.growth + math.log10(square / skip.mean_square))


def _common_part(x: Signal, y: Signal, left: Moments, right: Moments) -> Moments:
    """What two values over different sources have in common beyond their means.

    A mean over positions is a projection: its product with one of the values it averages has the mean of its own
    square. Of other values only the scales answer to one input (THEORY 2.11, coherent part).
    """
    if _averages(x, y):
        average, whole = left, x.positions <= 1
    elif _averages(y, x):
        average, whole = right, y.positions <= 1
    else:
        return Moments(0.0, 0.0, 0.0, 0.0, _coherent(x, y))
    coherent = average.mean * average.mean
    return Moments(
        average.mean_square - coherent,
        0.0,
        (average.mean_square if whole else average.pair_position) - coherent,
        average.pair_sample - coherent,
        average.perturbation,
        average.perturbation if whole else average.pair_perturbation,
    )


def _averages(average: Signal, x: Signal) -> bool:
    """Whether one value is a mean over positions of the other."""
    origin = average.source.average_of
    return (
        origin is not None
        and origin.source.index == x.source.index
        and np.array_equal(origin.table, x.table)
        and np.array_equal(average.table, average.source.base)
    )


def _coherent(x: Signal, y: Signal) -> float:
    """E[δx δy] of two values over different sources: both scales answer to one input (THEORY 2.11, coherent part)."""
    if x.mean == 0.0 or y.mean == 0.0:
        return 0.0
    others = y.mean_response()
    return math.fsum(c * others.get(index, 0.0) for index, c in x.mean_response().items())


def _shift_of_sum(x: Signal, y: Signal, sign: float, scale: dict[int, float], mean: float) -> dict[int, float]:
    """Change of the mean of a sum beyond that of its scale."""
    shift = x.mean_response()
    for index, coefficient in y.mean_response().items():
        shift[index] = shift.get(index, 0.0) + sign * coefficient
    for index, coefficient in scale.items():
        shift[index] = shift.get(index, 0.0) - mean * coefficient
    size = max((abs(c) for c in scale.values()), default=0.0)
    return {k: c for k, c in shift.items() if abs(c) > _NEGLIGIBLE * size}


def _chance_alignment(x: Signal, y: Signal, left: Moments, right: Moments, shape: tuple[int, ...], axes: Axes) -> float:
    """Variance of the inner product, per element, of the change of each operand with the other, by chance."""
    positions, units = (
        math.prod(n for n, axis in zip(shape, axes, strict=True) if axis is kind)
        for kind in (Axis.POSITION, Axis.FEATURE)
    )
    across = [
        max(part.perturbation - part.mean_square * math.fsum(c * c for c in signal.scale_response().values()), 0.0)
        for signal, part in ((x, left), (y, right))
    ]
    mixed = across[0] * right.mean_square + across[1] * left.mean_square
    return mixed / effective_elements(units, positions, 0.0)


def _joint_spread(x: Signal, y: Signal, weights: tuple[float, float]) -> tuple[float, float]:
    """Variances of the correlations of a sum: those of the parts, whose correlations follow from each other."""
    parts = [(abs(w), part.source) for w, part in zip(weights, (x, y), strict=True)]
    return (
        math.fsum(w * math.sqrt(source.spread_position) for w, source in parts) ** 2,
        math.fsum(w * math.sqrt(source.spread_sample) for w, source in parts) ** 2,
    )


def _inner_product_noise(
    left: Moments, right: Moments, square: float, together: float, shape: tuple[int, ...], axes: Axes
) -> float:
    """Relative variance of twice the mean product of two independent deviations (THEORY 2.9).

    Args:
        left: Moments of one operand.
        right: Moments of the other.
        square: Mean square of the sum.
        together: Covariance, over pairs of positions, of the operands' correlations.
        shape: Of the sum.
        axes: Of the sum.
    """
    variance_x = left.mean_square - left.mean**2
    variance_y = right.mean_square - right.mean**2
    if variance_x <= 0.0 or variance_y <= 0.0:
        return 0.0
    units = math.prod(n for n, axis in zip(shape, axes, strict=True) if axis is Axis.FEATURE)
    positions = max(math.prod(n for n, axis in zip(shape, axes, strict=True) if axis is Axis.POSITION), 1)
    shared = (left.pair_position - left.mean**2) / variance_x * (right.pair_position - right.mean**2) / variance_y
    shared = min(max(shared, 0.0) + together, 1.0)
    effective = (1.0 / positions + (1.0 - 1.0 / positions) * shared) / max(units, 1)
    return 4.0 * variance_x * variance_y / (square * square) * effective
