"""Convolutions walked back: the profile of the gradient is spread by the kernel and cut at the borders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Parameter
from initcheck.signal.adjoint import BackwardContext, Sent, size_of, summed
from initcheck.signal.adjoints.linear import bias_gradient, sent_back, weight_gradient
from initcheck.signal.laws.convolution import window_sums
from initcheck.signal.profile import Profile, of_spatial, spatial
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument

__all__ = ["ConvolutionAdjoint", "Spread", "TransposedConvolutionAdjoint", "scattered"]

_LARGEST_PROFILE = 1 << 20
"""Above this many positions borders are a vanishing share, and the profile is left out."""

Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]


class ConvolutionAdjoint:
    """G_x = E[w²] (C_out/groups) · mean over x of the transposed window sums of G_y's profile (THEORY 2.10)."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of input, weight and bias."""
        x, weight, y, g = args[0], args[1], outputs[0], gradients[0]
        if not isinstance(x, Signal) or not isinstance(weight, Parameter) or y is None or g is None:
            return (None,) * len(args)
        if y.source.index == x.source.index:
            return (g.scaled(math.sqrt(max(y.mean_square / x.mean_square, 0.0)) if x.mean_square > 0.0 else 1.0), None)
        received = summed(g, y, context)
        groups = int(node.attributes.get("groups", 1))
        channels = weight.shape[0] / groups
        taps = math.prod(node.attributes["kernel"])
        spread = scattered(node, x.shape[2:], y.shape[2:], spatial(g.profile, y.shape))
        back = sent_back(
            x,
            y,
            received,
            weight,
            context,
            bias=args[2] if len(args) > 2 else None,
            fan_out=channels * spread.reach,
            fan_in=float(node.attributes["fan_in"]),
            count=x.units * max(x.positions, 1),
            rho_position=spread.pairs * received.rho_position,
            rho_sample=(1.0 if y.positions <= 1 else spread.pairs) * received.rho_sample,
            profile=of_spatial(spread.profile),
            assumed=g.assumed,
        )
        rows = size_of(y, Axis.BATCH) * y.positions * min(spread.reach * x.positions / max(taps * y.positions, 1), 1.0)
        return (back, weight_gradient(x, y, g, received, rows), bias_gradient(y, received))[: len(args)]


class TransposedConvolutionAdjoint:
    """An ordinary convolution of the gradient: every input position feeds the taps that lie inside the output."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of input, weight and bias."""
        x, weight, y, g = args[0], args[1], outputs[0], gradients[0]
        if not isinstance(x, Signal) or not isinstance(weight, Parameter) or y is None or g is None:
            return (None,) * len(args)
        received = summed(g, y, context)
        channels = weight.shape[1]
        spread = gathered(node, x.shape[2:], y.shape[2:], spatial(g.profile, y.shape))
        groups = int(node.attributes.get("groups", 1))
        back = sent_back(
            x,
            y,
            received,
            weight,
            context,
            bias=args[2] if len(args) > 2 else None,
            fan_out=channels * spread.reach,
            fan_in=weight.shape[0] / groups * spread.reach * x.positions / max(y.positions, 1),
            count=x.units * max(x.positions, 1),
            rho_position=spread.pairs * received.rho_position,
            rho_sample=(1.0 if y.positions <= 1 else spread.pairs) * received.rho_sample,
            profile=of_spatial(spread.profile),
            assumed=g.assumed,
        )
        inside = min(spread.reach / math.prod(node.attributes["kernel"]), 1.0)
        rows = size_of(x, Axis.BATCH) * x.positions * inside
        return (back, weight_gradient(x, y, g, received, rows), bias_gradient(y, received))[: len(args)]


def _geometry(node: Node) -> Geometry:
    a = node.attributes
    return (
        tuple(a["kernel"]),
        tuple(a["strides"]),
        tuple(a["dilations"]),
        tuple((int(before), int(after)) for before, after in a["padding"]),
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """What the positions of a gradient send to the positions before it.

    Attributes:
        reach: Taps that reach a position, each weighted by the profile of where it comes from, on average.
        pairs: Share of it that two positions receive through the same taps: only those meet the same weights.
        profile: Of what arrives, over the spatial axes; None when uniform.
    """

    reach: float
    pairs: float
    profile: Profile | None


def scattered(node: Node, before: tuple[int, ...], after: tuple[int, ...], profile: Profile | None) -> Spread:
    """What the outputs of windows send to an input position.

    Args:
        node: A convolution or a pooling.
        before: Sizes of the positions of its input.
        after: Those of its output.
        profile: Of the gradient at the output, over its spatial axes.
    """
    geometry = _geometry(node)
    if math.prod(before) > _LARGEST_PROFILE or 0 in before or 0 in after:
        reach = math.prod(geometry[0]) * math.prod(after) / max(math.prod(before), 1)
        return Spread(reach, 1.0 / math.prod(geometry[1]), None)
    if profile is None or profile.shape != after:
        return _uniform_scatter(before, after, geometry)
    return _scatter(profile, before, geometry)


@lru_cache(maxsize=64)
def _uniform_scatter(before: tuple[int, ...], after: tuple[int, ...], geometry: Geometry) -> Spread:
    return _scatter(np.ones(after), before, geometry)


def _scatter(profile: Profile, before: tuple[int, ...], geometry: Geometry) -> Spread:
    kernel, strides, dilations, padding = geometry
    lead = [max(a, 0) for a, _ in padding]
    spans = [
        (m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(profile.shape, strides, kernel, dilations, strict=True)
    ]
    size = [max(span, a + n) for span, a, n in zip(spans, lead, before, strict=True)]
    inside = tuple(slice(a, a + n) for a, n in zip(lead, before, strict=True))
    total, pairs = np.zeros(before), 0.0
    # What lies beyond the input is sent nowhere.
    reached = (min(k, -(-(a + n) // d)) for k, a, n, d in zip(kernel, lead, before, dilations, strict=True))
    for tap in product(*map(range, reached)):
        canvas = np.zeros(size)
        canvas[
            tuple(
                slice(t * d, t * d + (m - 1) * s + 1, s)
                for t, d, m, s in zip(tap, dilations, profile.shape, strides, strict=True)
            )
        ] = profile
        arrived = canvas[inside]
        total += arrived
        pairs += (float(np.add.reduce(np.sqrt(arrived), axis=None)) / max(arrived.size, 1)) ** 2
    return _spread(total, pairs)


def gathered(node: Node, before: tuple[int, ...], after: tuple[int, ...], profile: Profile | None) -> Spread:
    """What an input position of a transposed convolution receives: the taps that lie inside the output."""
    kernel, strides, dilations, padding = _geometry(node)
    values = profile if profile is not None and profile.shape == after else np.ones(after)
    if math.prod(after) > _LARGEST_PROFILE or 0 in before or 0 in after:
        return Spread(float(math.prod(kernel)), 1.0, None)
    sums, _ = window_sums(values, kernel, strides, dilations, padding)
    _, roots = window_sums(np.sqrt(values), kernel, strides, dilations, padding)
    whole = np.zeros(before)
    shared = tuple(slice(0, min(a, b)) for a, b in zip(sums.shape, before, strict=True))
    whole[shared] = sums[shared]
    return _spread(whole, float((roots**2).sum()))


def _spread(total: Profile, pairs: float) -> Spread:
    mean = float(total.mean()) if total.size else 0.0
    if mean <= 0.0:
        return Spread(0.0, 1.0, None)
    uniform = float(np.ptp(total)) <= 1e-12 * mean
    return Spread(mean, min(pairs / mean, 1.0), None if uniform else total / mean)
