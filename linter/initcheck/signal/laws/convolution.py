"""Convolutions, with the spatial profile that zero padding leaves."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from initcheck.distribution import Family
from initcheck.graph import Axis, Node, Parameter
from initcheck.signal.amplitude import mean_share
from initcheck.signal.fluctuation import combined, common_elasticity, correlation_spreads
from initcheck.signal.law import Argument, Context, moments_of
from initcheck.signal.laws.linear import (
    add_bias,
    bias_share,
    excess_kurtosis,
    identity_factor,
    length_freedom,
    unit_variation,
    weight_uncertainty,
    weighted_sum,
)
from initcheck.signal.profile import Profile, of_spatial
from initcheck.signal.profile import spatial as spatial_profile
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ConvolutionLaw", "TransposedConvolutionLaw", "window_sums"]

_LARGEST_PROFILE = 1 << 20
"""Above this many positions borders are a vanishing share, and the profile is left out."""


def window_sums(
    values: Profile,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> tuple[Profile, Profile]:
    """What each tap of a window sees, summed over taps and averaged over positions.

    Args:
        values: Array over the spatial axes, zero outside.
        kernel: Taps per axis.
        strides: Steps per axis.
        dilations: Distance of taps per axis.
        padding: (before, after) per axis.

    Returns:
        Sum over taps at every output position, and for every tap the mean over output positions.
    """
    padded = np.pad(values, [(max(a, 0), max(b, 0)) for a, b in padding])
    sizes = [
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(padded.shape, kernel, strides, dilations, strict=True)
    ]
    sums = np.zeros(sizes)
    means = []
    for tap in product(*(range(k) for k in kernel)):
        view = padded[
            tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilations, sizes, strides, strict=True)
            )
        ]
        sums += view
        means.append(float(np.add.reduce(view, axis=None)) / view.size if view.size else 0.0)
    return sums, np.asarray(means)


@lru_cache(maxsize=64)
def _uniform_window(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
) -> tuple[float, float, Profile]:
    return _window(np.ones(shape), kernel, strides, dilations, padding)


def _window(
    profile: Profile,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> tuple[float, float, Profile]:
    """Mean share of taps that see the input, the same for pairs of positions, and the profile of the output.

    The pair share follows from pair moments between x and y going as sqrt(profile(x) profile(y)) (THEORY 2.2, padding).
    """
    taps = math.prod(kernel)
    sums, _ = window_sums(profile, kernel, strides, dilations, padding)
    mean = float(sums.mean()) if sums.size else 0.0
    if mean <= 0.0:
        return 1.0, 1.0, np.ones_like(sums)
    result = sums / mean
    _, root_means = window_sums(np.sqrt(profile), kernel, strides, dilations, padding)
    pair = float((root_means**2).sum()) / taps / float(np.sqrt(result).mean()) ** 2
    return mean / taps, pair, result


class ConvolutionLaw:
    """Convolution: a weighted sum over ``C_in/groups`` channels and the taps that lie inside the image.

    Independent taps do not blur, so one pair moment over positions is enough (THEORY 2.2).
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New Gaussian source with the profile of the padding."""
        x, weight = args[0], args[1]
        shape = context.shape(node)
        if not isinstance(x, Signal) or not isinstance(weight, Parameter) or shape is None or len(shape) < 3:
            return (None,)
        bias = args[2] if len(args) > 2 and isinstance(args[2], Parameter) else None
        fan_in, taps = int(node.attributes["fan_in"]), math.prod(node.attributes["kernel"])
        if _hands_through(node, weight, bias, x):
            return (replace(x.scaled(identity_factor(weight, fan_in)), shape=shape),)
        edge, pair_edge, window = _edges(node, x)
        moments = moments_of(x)
        inner = replace(
            moments,
            mean_square=edge * moments.mean_square,
            pair_position=pair_edge * moments.pair_position,
            pair_sample=edge * moments.pair_sample,
            perturbation=edge * moments.perturbation,
            pair_perturbation=pair_edge * moments.pair_perturbation,
        )
        before = weighted_sum(inner, weight, fan_in, cross=x.mean * x.mean)
        after, profile = add_bias(before, bias, 1.0, of_spatial(window), math.prod(shape[2:]))
        share = bias_share(before, after)
        taps = math.prod(node.attributes["kernel"])
        return (
            context.create(
                after,
                x,
                shape=shape,
                axes=(Axis.BATCH, Axis.FEATURE, *(Axis.POSITION,) * (len(shape) - 2)),
                noise=x.diluted_noise(mean_share(share, x.log_length_variance())),
                scale_response={k: share * c for k, c in x.scale_response().items()},
                unit_variation=share * share * unit_variation(weight, fan_in / taps, taps, x.unit_variation),
                parents=(x,),
                weights=(share,),
                freedom=length_freedom(weight, share, fan_in, weight.shape[0]) if taps == 1 else 1.0,
                excess_kurtosis=excess_kurtosis(x, weight, bias, share, after, fan_in),
                alignment=combined((common_elasticity(share, x.common) * _seen_alike(node, x, shape), x.own_alignment)),
                spread=correlation_spreads(x, fan_in / taps, taps, share),
                uncertainty=share * share * (x.uncertainty**2 + weight_uncertainty(weight)),
                profile=profile,
            ),
        )


def _seen_alike(node: Node, x: Signal, shape: tuple[int, ...]) -> float:
    """How far the taps agree on the fluctuation of the common share (THEORY 2.9).

    What units share over all positions every tap sees alike. The mean of positions that share nothing is another one
    for every tap, over a window shifted by its place: two of them go together as the square of their overlap.
    """
    overlap = 1.0
    attributes = node.attributes
    for size, stride, dilation, extent in zip(
        attributes["kernel"], attributes["strides"], attributes["dilations"], shape[2:], strict=True
    ):
        shifts = dilation * np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        kept = np.where(shifts % stride == 0, np.maximum(1.0 - shifts / (stride * max(extent, 1)), 0.0), 0.0)
        overlap *= float(np.mean(kept**2))
    if x.mean_square <= 0.0:
        return 1.0
    shared = min(max(x.pair_position / x.mean_square, 0.0), 1.0)
    return (shared + (1.0 - shared) / max(x.positions, 1) * math.sqrt(overlap)) / x.common


def _hands_through(node: Node, weight: Parameter, bias: Parameter | None, x: Signal) -> bool:
    silent = bias is None or bias.distribution.is_zero
    unit = all(s == 1 for s in node.attributes["strides"])
    return unit and silent and weight.distribution.family is Family.IDENTITY and weight.shape[0] == x.shape[1]


def _edges(node: Node, x: Signal) -> tuple[float, float, Profile | None]:
    spatial = x.shape[2:]
    if math.prod(spatial) > _LARGEST_PROFILE or 0 in spatial:
        return 1.0, 1.0, None
    attributes = node.attributes
    geometry = (
        tuple(attributes["kernel"]),
        tuple(attributes["strides"]),
        tuple(attributes["dilations"]),
        tuple(tuple(pair) for pair in attributes["padding"]),
    )
    profile = spatial_profile(x.profile, x.shape)
    if profile is None:
        if all(a <= 0 and b <= 0 for a, b in geometry[3]):
            return 1.0, 1.0, None
        return _uniform_window(spatial, *geometry)
    return _window(profile, *geometry)


class TransposedConvolutionLaw:
    """Transposed convolution: an output sums the taps that reach it (on average k²/stride² inside, THEORY 2.2).

    Outputs of different phase share no tap, so two positions share less than the input's pair moment says.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New Gaussian source; a kernel that the stride does not divide leaves a checkerboard in the profile."""
        x, weight = args[0], args[1]
        shape = context.shape(node)
        if not isinstance(x, Signal) or not isinstance(weight, Parameter) or shape is None or len(shape) < 3:
            return (None,)
        bias = args[2] if len(args) > 2 and isinstance(args[2], Parameter) else None
        channels = weight.shape[0] // int(node.attributes.get("groups", 1))
        reach, pair, window = _coverage(node, x, shape)
        moments = moments_of(x)
        inner = replace(
            moments,
            pair_position=pair * moments.pair_position,
            pair_perturbation=pair * moments.pair_perturbation,
        )
        before = weighted_sum(inner, weight, channels * reach)
        after, profile = add_bias(before, bias, 1.0, of_spatial(window), math.prod(shape[2:]))
        share = bias_share(before, after)
        return (
            context.create(
                after,
                x,
                shape=shape,
                axes=(Axis.BATCH, Axis.FEATURE, *(Axis.POSITION,) * (len(shape) - 2)),
                noise=x.diluted_noise(mean_share(share, x.log_length_variance())),
                scale_response={k: share * c for k, c in x.scale_response().items()},
                unit_variation=share * share * unit_variation(weight, channels, reach, x.unit_variation),
                parents=(x,),
                weights=(share,),
                alignment=combined((common_elasticity(share, x.common), x.own_alignment)),
                spread=correlation_spreads(x, channels, reach, share),
                uncertainty=share * share * (x.uncertainty**2 + weight_uncertainty(weight)),
                profile=profile,
            ),
        )


def _coverage(node: Node, x: Signal, shape: tuple[int, ...]) -> tuple[float, float, Profile | None]:
    """Taps that reach an output position on average, their share that two positions have in common, and the profile."""
    spatial = x.shape[2:]
    attributes = node.attributes
    kernel, strides, dilations = attributes["kernel"], attributes["strides"], attributes["dilations"]
    reach = math.prod(kernel) * math.prod(spatial) / max(math.prod(shape[2:]), 1)
    if math.prod(shape[2:]) > _LARGEST_PROFILE or 0 in spatial or 0 in shape:
        return reach, 1.0 / math.prod(strides), None
    profile = np.ones(spatial) if x.profile is None else spatial_profile(x.profile, x.shape)
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(spatial, strides, kernel, dilations, strict=True)]
    before = [max(a, 0) for a, _ in attributes["padding"]]
    size = [max(f, a + n) for f, n, a in zip(full, shape[2:], before, strict=True)]
    inside = tuple(slice(a, a + n) for a, n in zip(before, shape[2:], strict=True))
    total, pair = np.zeros(shape[2:]), 0.0
    for tap in product(*(range(k) for k in kernel)):
        canvas = np.zeros(size)
        canvas[
            tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilations, spatial, strides, strict=True)
            )
        ] = profile
        total += canvas[inside]
        pair += float(np.sqrt(canvas[inside]).mean()) ** 2
    reach = float(total.mean())
    if reach <= 0.0:
        return 0.0, 1.0, None
    return reach, pair / reach / float(np.sqrt(total / reach).mean()) ** 2, total / reach
