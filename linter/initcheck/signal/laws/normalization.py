"""Normalisations: they fix the length, end a segment, and pass a perturbation on divided by the variance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node, Parameter
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.marginal import shape_of
from initcheck.signal.operands import Factor, operand
from initcheck.signal.quadrature import expectation
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NormalizeLaw", "Removed", "affine", "length_fluctuation", "statistics_of"]


@dataclass(frozen=True, slots=True)
class Removed:
    """What a normalisation subtracts and divides by.

    Attributes:
        position: E[m_a m_b] of the means subtracted at two positions of one sample.
        sample: E[m m'] of the means subtracted in two samples.
        variance: What it divides by, without epsilon.
        group: Elements one statistic is computed from.
    """

    position: float
    sample: float
    variance: float
    group: float


class NormalizeLaw:
    """y = γ (x - m) / sqrt(v + ε) + β (THEORY 2.6).

    The statistic v is that of the normalised group: all features of a position (layer, rms), one channel over batch and
    positions (batch), a group of channels over positions (group, instance). A perturbation is divided by it too (2.11).
    Batch norm in inference mode divides by stored statistics and normalises nothing: an affine map, no new segment.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New source with fixed length in a new segment."""
        x = args[0]
        if not isinstance(x, Signal):
            return (None,)
        kind = node.attributes["kind"]
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        if kind == "batch" and not node.attributes.get("training", True):
            return (_stored_statistics(x, args, epsilon),)
        removed = statistics_of(kind, node, x, context.batch)
        gamma, beta = affine(args)
        divisor = removed.variance + epsilon
        moments = moments_of(x)
        if kind == "rms":
            centred = Moments(x.mean_square, x.mean, moments.pair_position, moments.pair_sample, moments.perturbation)
        else:
            centred = Moments(
                removed.variance,
                0.0,
                moments.pair_position - removed.position,
                moments.pair_sample - removed.sample,
                moments.perturbation,
            )
        scaled = Moments(
            gamma.mean_square * centred.mean_square / divisor,
            gamma.mean * centred.mean / math.sqrt(divisor),
            gamma.mean_square * centred.pair_position / divisor,
            gamma.mean_square * centred.pair_sample / divisor,
            gamma.mean_square * _response(x, removed, divisor, centred=kind != "rms") * centred.perturbation / divisor,
        )
        shifted = _shifted(scaled, beta)
        kept = epsilon / divisor
        result = context.create(
            shifted,
            x,
            shape=x.shape,
            axes=x.axes,
            noise={} if kind == "batch" else {k: kept * c for k, c in x.noise().items() if kept > 1e-6},
            realized=True,
            uncertainty=(kept * x.uncertainty) ** 2,
            marginal=None if gamma.mean == 0.0 else shape_of(x, gamma.mean),
            profile=x.profile if kind in {"batch", "group", "instance"} else None,
        )
        context.segments.closings[node.name] = x.segment_gain * x.start_mean_square / divisor if divisor > 0.0 else 0.0
        segment = context.segments.open(x.segment, node.name)
        return (
            replace(
                result,
                segment=segment,
                reference=result.gain,
                start_mean_square=result.mean_square,
                growth=0.0,
                assumed=False,
            ),
        )


def _response(x: Signal, removed: Removed, divisor: float, *, centred: bool) -> float:
    """What a statistic of n elements does to a perturbation beyond dividing by the expected variance.

    The directions of the mean and of x itself are taken out, 1 - 2/n (THEORY 2.11), as far as epsilon lets the divisor
    move.
    """
    n = removed.group
    if n <= 2.0 or divisor <= 0.0:
        return 0.0
    share = removed.variance / divisor
    directions = share + 1.0 if centred else share
    return (1.0 - directions / n) * length_fluctuation(x, removed, share, centred=centred)


def length_fluctuation(x: Signal, removed: Removed, share: float, *, centred: bool) -> float:
    """E[1/(v + ε)] times E[v] + ε: the variance of n elements fluctuates by (κ - 1)/n, κ the kurtosis."""
    deviations = x.table - x.mean if centred else x.table
    square = expectation(deviations**2)
    kurtosis = expectation(deviations**4) / square**2 if square > 0.0 else 1.0
    return 1.0 + share * share * min((kurtosis - 1.0) / max(removed.group, 1.0), 1.0)


def affine(args: Sequence[Argument]) -> tuple[Factor, Factor]:
    """Scale γ and shift β as factors, (1, 0) where absent."""
    parts = []
    for index, default in ((1, 1.0), (2, 0.0)):
        value = operand(args[index]) if len(args) > index and isinstance(args[index], Parameter) else None
        if isinstance(value, Factor):
            parts.append(value)
        else:
            number = default if not isinstance(value, float) else value
            parts.append(Factor((), number, number * number, None))
    return parts[0], parts[1]


def _shifted(moments: Moments, beta: Factor) -> Moments:
    cross = 2.0 * moments.mean * beta.mean
    add = beta.mean_square + cross
    return Moments(
        moments.mean_square + add,
        moments.mean + beta.mean,
        moments.pair_position + add,
        moments.pair_sample + add,
        moments.perturbation,
    )


def statistics_of(kind: str, node: Node, x: Signal, batch: int) -> Removed:
    """What a normalisation of this kind subtracts from x and divides by."""
    features, positions = _group(kind, node, x)
    if kind == "rms":
        return Removed(0.0, 0.0, x.mean_square, float(features * positions))
    # Positions of unequal length share less than their pair moment says: squared mean root of the profile (THEORY 2.6).
    share = 1.0 if x.profile is None else float(np.mean(np.sqrt(np.maximum(x.profile, 0.0)))) ** 2
    coherent = x.mean * x.mean
    within = (x.mean_square + (positions - 1) * share * x.pair_position) / positions
    between = share * x.pair_sample
    if kind == "batch":
        common = (within + (batch - 1) * between) / batch
        return Removed(common, common, max(x.mean_square - common, 0.0), float(batch * positions))

    def of_means(pair: float) -> float:
        """Second moment of means over the features from that of one feature: the mean of n units is random by v/n."""
        return coherent + (pair - coherent) / features

    moment = of_means(within)
    return Removed(
        position=moment if positions > 1 else of_means(x.pair_position),
        sample=of_means(between),
        variance=max(x.mean_square - moment, 0.0),
        group=float(features * positions),
    )


def _group(kind: str, node: Node, x: Signal) -> tuple[int, int]:
    """Features and positions that one statistic is computed over, by what the axes run over."""
    axes = _normalised_axes(kind, node, x)
    features = math.prod(x.shape[i] for i in axes if x.axes[i] is not Axis.POSITION)
    positions = math.prod(x.shape[i] for i in axes if x.axes[i] is Axis.POSITION)
    if kind == "group":
        features //= int(node.attributes.get("groups", 1))
    return max(features, 1), max(positions, 1)


def _normalised_axes(kind: str, node: Node, x: Signal) -> tuple[int, ...]:
    if kind in {"layer", "rms"}:
        return tuple(int(axis) % len(x.shape) for axis in node.attributes.get("axes", (-1,)))
    return tuple(range(1 if kind == "group" else 2, len(x.shape)))


def _stored_statistics(x: Signal, args: Sequence[Argument], epsilon: float) -> Signal | None:
    """Batch norm in inference mode: γ / sqrt(σ² + ε) x + shift, with the statistics that the file stores."""
    gamma, beta = affine(args)
    mean = operand(args[3]) if len(args) > 3 else 0.0
    variance = operand(args[4]) if len(args) > 4 else 1.0
    if isinstance(variance, Factor):
        variance = variance.mean
    if isinstance(mean, Factor):
        mean = mean.mean
    if not isinstance(variance, float) or not isinstance(mean, float) or variance + epsilon <= 0.0:
        return None
    factor = math.copysign(math.sqrt(gamma.mean_square / (variance + epsilon)), gamma.mean)
    scaled = x.scaled(factor)
    return replace(scaled, table=scaled.table + beta.mean - factor * mean).fresh()
