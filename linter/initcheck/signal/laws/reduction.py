"""Means, sums and extremes over whole axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.laws.pooling import averaged, maximum, remembered
from initcheck.signal.laws.selection import largest
from initcheck.signal.marginal import one_signed_marginal, quantile_marginal
from initcheck.signal.profile import levelled
from initcheck.signal.quadrature import NODES, expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.marginal import Marginal
    from initcheck.signal.profile import Profile

__all__ = ["ReduceLaw"]

_FEW, _MANY, _SAMPLES, _SLIGHTLY, _CERTAIN = 64, 512, 4096, 0.1, 0.01


class ReduceLaw:
    """Mean, sum or maximum over axes.

    Over all features the mean of many independent units is a number, the same for the whole source; that keeps
    normalisations spelled out in primitive operations exact. Where their mean is nothing beside what chance leaves of
    it (an inner product), and over one of several axes of features (experts), it is a sum of independent values, over
    positions a pooling.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Reduced signal."""
        x, shape = args[0], context.shape(node)
        function = node.attributes["function"]
        if not isinstance(x, Signal):
            return (None,)
        where = tuple(int(a) % len(x.shape) for a in node.attributes.get("axes", range(len(x.shape))))
        axes = x.axes if node.attributes.get("keepdims") else tuple(a for i, a in enumerate(x.axes) if i not in where)
        sizes = (
            tuple(1 if i in where else n for i, n in enumerate(x.shape))
            if node.attributes.get("keepdims")
            else tuple(n for i, n in enumerate(x.shape) if i not in where)
        )
        if shape is None or len(shape) != len(sizes):
            shape = sizes
        kinds = {x.axes[i] for i in where}
        count = math.prod(x.shape[i] for i in where)
        if Axis.BATCH in kinds or count == 0:
            return (None,)
        reduction = _Reduction(where, kinds, count, shape, axes)
        if function in {"max", "min"}:
            return (_extreme(x, reduction, context, downwards=function == "min"),)
        return (_mean(x, reduction, float(count) if function == "sum" else 1.0, context),)


@dataclass(frozen=True, slots=True)
class _Reduction:
    """Which axes go, what they run over, how many values meet, and the layout that is left."""

    where: tuple[int, ...]
    kinds: set[Axis]
    count: int
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]


def _extreme(x: Signal, reduction: _Reduction, context: Context, *, downwards: bool) -> Signal | None:
    count, shape, axes = reduction.count, reduction.shape, reduction.axes
    if reduction.kinds == {Axis.FEATURE} and len(reduction.where) == 1:
        return largest(x, count, 1, context, shape, axes, downwards=downwards)
    if reduction.kinds != {Axis.POSITION}:
        return None
    result = maximum(x.scaled(-1.0) if downwards else x, count, context, shape, axes)
    return result.scaled(-1.0) if downwards else result


def _mean(x: Signal, reduction: _Reduction, scale: float, context: Context) -> Signal | None:
    """Mean times ``scale``, the count for a sum."""
    where, count, shape, axes = reduction.where, reduction.count, reduction.shape, reduction.axes
    profile = _reduced_profile(x, where, shape)
    features = math.prod(x.shape[i] for i in where if x.axes[i] is Axis.FEATURE)
    left = math.prod(n for i, n in enumerate(x.shape) if x.axes[i] is Axis.FEATURE and i not in where)
    if reduction.kinds == {Axis.FEATURE}:
        if left > 1:
            return _over_some_features(x, count, scale, context, shape, axes, profile)
        if scale == count and _is_uneven(x, count):
            return _sum_of_few(x, count, context, shape, axes)
        if x.variance > count * x.mean * x.mean:
            result = _over_some_features(x, count, scale, context, shape, axes, profile)
            return remembered(result, x) if scale == 1.0 else result
        return _over_features(x, scale, shape, axes, profile)
    if features != 1:
        return None
    return replace(averaged(x, float(count), context, shape, axes, scale), profile=profile)


def _reduced_profile(x: Signal, where: tuple[int, ...], shape: tuple[int, ...]) -> Profile | None:
    if x.profile is None:
        return None
    return levelled(x.profile.mean(axis=where, keepdims=len(shape) == len(x.shape)))[1]


def _is_uneven(x: Signal, count: int) -> bool:
    """Whether a sum over units is no number yet: the weights of a few experts, most of them zero."""
    return (
        count <= _FEW
        and x.variance > 0.5 * count * x.mean * x.mean
        and float(np.min(x.table)) >= -_SLIGHTLY * float(np.max(x.table))
    )


def _is_skewed(x: Signal, count: int) -> bool:
    """Whether a normal law would put a mean of units that are never negative below zero, where roots have a pole."""
    spread = x.variance / (count * x.mean * x.mean) if x.mean > 0.0 else 0.0
    return spread > _CERTAIN and count <= _MANY and float(np.min(x.table)) >= 0.0


def _sum_of_few(x: Signal, count: int, context: Context, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> Signal:
    """Sum over few units that are never negative, by fixed-seed sampling of independent ones."""
    moments, mean = moments_of(x), count * x.mean

    def paired(pair: float) -> float:
        return mean * mean + count * max(pair - x.mean * x.mean, 0.0)

    return context.create(
        Moments(
            mean * mean + count * x.variance,
            mean,
            paired(moments.pair_position),
            paired(moments.pair_sample),
            count * moments.perturbation,
            count * moments.pair_perturbation,
        ),
        x,
        shape=shape,
        axes=axes,
        noise=x.noise,
        parents=(x,),
        realized=True,
        uncertainty=x.uncertainty**2,
        marginal=_sampled_sum(x, count),
    )


def _sampled_sum(x: Signal, count: int) -> Marginal:
    """Shape of a sum of independent units that are never negative."""
    z = np.random.default_rng(0).standard_normal((_SAMPLES, count))
    values = np.maximum(np.interp(z, NODES, x.table), 0.0).sum(axis=1)
    responses = x.source.perturbation * np.interp(z, NODES, x.slope * x.slope).sum(axis=1)
    return quantile_marginal(values, responses, np.full(_SAMPLES, 1.0 / _SAMPLES))


def _over_features(
    x: Signal, scale: float, shape: tuple[int, ...], axes: tuple[Axis, ...], profile: Profile | None
) -> Signal:
    return replace(
        x,
        table=np.full_like(x.table, scale * expectation(x.table)),
        slope=np.zeros_like(x.slope),
        stretch=np.full_like(x.stretch, scale * expectation(x.stretch)),
        shape=shape,
        axes=axes,
        profile=profile,
    ).fresh()


def _over_some_features(
    x: Signal,
    count: int,
    scale: float,
    context: Context,
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    profile: Profile | None,
) -> Signal:
    """Mean over features, times ``scale``: independent units but for the mean."""
    moments = moments_of(x)
    coherent = moments.mean * moments.mean
    power = scale * scale

    def mean_of(pair: float) -> float:
        return power * (coherent + (pair - coherent) / count)

    square = mean_of(moments.mean_square)
    return context.create(
        Moments(
            square,
            scale * moments.mean,
            mean_of(moments.pair_position),
            mean_of(moments.pair_sample),
            power * moments.perturbation / count,
            power * moments.pair_perturbation / count,
        ),
        x,
        shape=shape,
        axes=axes,
        noise=x.inherited_noise,
        parents=(x,),
        uncertainty=x.uncertainty**2,
        marginal=_sampled_sum(x, count)
        if _is_skewed(x, count)
        else one_signed_marginal(x, scale * moments.mean, square),
        profile=profile,
    )
