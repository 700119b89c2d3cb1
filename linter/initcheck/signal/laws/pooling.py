"""Pooling, reductions, padding and resizing: operations over positions."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node
from initcheck.signal.fluctuation import Noise, combined
from initcheck.signal.joined_fluctuation import coherence_of
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.laws.convolution import window_sums
from initcheck.signal.marginal import has_one_sign, one_signed_marginal, quantile_marginal, shape_of, thinned_marginal
from initcheck.signal.profile import levelled, of_spatial, pair_share, root_share, spatial
from initcheck.signal.quadrature import NODES, expectation, hermite_squares, normal_quantiles
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from initcheck.signal.profile import Profile

__all__ = ["AveragePoolLaw", "MaxPoolLaw", "PadLaw", "ResizeLaw", "averaged", "maximum", "remembered"]

_QUANTILES = 256
_LARGEST_IMAGE = 1 << 20
"""Above this many positions borders are a vanishing share."""


def averaged(
    x: Signal, count: float, context: Context, shape: tuple[int, ...], axes: tuple[Axis, ...], scale: float = 1.0
) -> Signal:
    """Mean over ``count`` positions, times ``scale`` (THEORY 2.2, 2.11).

    q' = q/k + p_s (1 - 1/k), p_s' = p_s, perturbation d/k; p_b' = p_b/k + (1 - 1/k) times what two positions of two
    samples have in common, so that means differ between samples at least by what every position has of its own.

    An independent perturbation is averaged away, one that positions share is not; training uses the shared one, so the
    loss of 1/k does not count as a loss of signal in the segment.
    """
    moments = moments_of(x)
    whole = count >= x.positions - 0.5
    share = pair_share(x.profile, x.positions) if whole else 1.0
    # Where lengths differ from position to position, means do too.
    mean = moments.mean * (math.sqrt(root_share(x.profile)) if whole else 1.0)
    square = max(moments.mean_square / count + share * moments.pair_position * (1.0 - 1.0 / count), 0.0)
    response = moments.perturbation / count + share * moments.pair_perturbation * (1.0 - 1.0 / count)
    power = scale * scale
    noise, coherence, alignment = _averaged_noise(x, 1.0 - 1.0 / count, mean, square)
    result = context.create(
        Moments(
            power * square,
            scale * mean,
            power * (square if whole else moments.pair_position),
            power * (moments.pair_sample / count + share * moments.pair_apart * (1.0 - 1.0 / count)),
            power * response,
            power * (response if whole else moments.pair_perturbation),
        ),
        x,
        shape=shape,
        axes=axes,
        noise=noise,
        coherence=coherence if scale >= 0.0 else combined((-1.0, coherence)),
        alignment=alignment,
        parents=(x,),
        realized=True,
        uncertainty=x.uncertainty**2,
        marginal=one_signed_marginal(x, scale * mean, power * square),
    )
    kept = response / moments.perturbation if moments.perturbation > 0.0 else 1.0 / count
    result = replace(result, reference=kept * x.reference)
    return remembered(result, x) if scale == 1.0 else result


def remembered(result: Signal, x: Signal) -> Signal:
    """A mean that knows what it is the mean of."""
    return replace(result, source=replace(result.source, average_of=x))


def _averaged_noise(x: Signal, pairs: float, mean: float, square: float) -> tuple[Noise, Noise, Noise]:
    """Ln M, coherence and alignment of means over positions (THEORY 2.9).

    Nothing random is added: M' = q/k + (1 - 1/k) p follows M and, by p, the common share.

    Args:
        x: What is averaged.
        pairs: Weight of pairs of different positions in the mean square of the means, 1 - 1/k.
        mean: Coherent mean of the means.
        square: Their mean square.
    """
    single = 1.0 / max(x.positions, 2)
    moves = min(pairs / (1.0 - single) * x.common * x.mean_square / square, 1.0) if square > 0.0 else 0.0
    noise = combined((1.0, x.noise), (moves, x.own_alignment))
    moved = combined((math.sqrt(x.mean_square), x.mean_noise()))
    coherence = coherence_of(noise, moved, mean, square) if square > 0.0 else {}
    return noise, coherence, combined((1.0 - moves, x.own_alignment))


class AveragePoolLaw:
    """Average over a window."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Mean over the window's positions; the profile is pooled with them."""
        x, shape = args[0], context.shape(node)
        if not isinstance(x, Signal) or shape is None:
            return (None,)
        taps = float(math.prod(node.attributes["kernel"]))
        counts = _valid_taps(node, x, shape)
        if counts is None:
            result = averaged(x, taps, context, shape, x.axes)
        else:
            result = _averaged_at_borders(x, counts, node, context, shape)
        return (replace(result, profile=_pooled_profile(x, shape)),)


def _valid_taps(node: Node, x: Signal, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Elements of the input in the window of every output position; None where no window is cut by a border."""
    attributes, spatial = node.attributes, x.shape[2:]
    padding = attributes.get("padding", ((0, 0),) * len(spatial))
    if all(a <= 0 and b <= 0 for a, b in padding) or math.prod(spatial) > _LARGEST_IMAGE or 0 in spatial:
        return None
    counts, _ = window_sums(
        np.ones(spatial), attributes["kernel"], attributes["strides"], attributes["dilations"], padding
    )
    return np.maximum(counts, 1.0) if counts.shape == tuple(shape[2:]) else None


def _averaged_at_borders(
    x: Signal, counts: NDArray[np.float64], node: Node, context: Context, shape: tuple[int, ...]
) -> Signal:
    """Mean over windows of which border positions see a part, divided by all taps or by those they see."""
    taps = math.prod(node.attributes["kernel"])
    divisor = np.full_like(counts, taps) if node.attributes.get("count_include_pad") else counts
    alone = float(np.mean(counts / divisor**2))
    pairs = float(np.mean(counts * (counts - 1.0) / divisor**2))
    reach = float(np.mean(counts / divisor))
    moments = moments_of(x)
    square = alone * moments.mean_square + pairs * moments.pair_position
    noise, coherence, alignment = _averaged_noise(x, pairs, reach * moments.mean, square)
    result = context.create(
        Moments(
            square,
            reach * moments.mean,
            reach * reach * moments.pair_position,
            alone * moments.pair_sample + pairs * moments.pair_apart,
            alone * moments.perturbation + pairs * moments.pair_perturbation,
            reach * reach * moments.pair_perturbation,
        ),
        x,
        shape=shape,
        axes=x.axes,
        noise=noise,
        coherence=coherence,
        alignment=alignment,
        parents=(x,),
        realized=True,
        uncertainty=x.uncertainty**2,
    )
    kept = result.gain / moments.perturbation if moments.perturbation > 0.0 else alone
    result = replace(result, reference=kept * x.reference)
    return remembered(result, x) if not node.attributes.get("count_include_pad") else result


def _pooled_profile(x: Signal, shape: tuple[int, ...]) -> Profile | None:
    """Profile at the coarser resolution: mean over the blocks that an output position covers."""
    profile = spatial(x.profile, x.shape)
    if profile is None or len(shape) < 3 or any(n < 1 for n in shape[2:]):
        return None
    steps = [max(n // m, 1) for n, m in zip(profile.shape, shape[2:], strict=True)]
    if any(s * m > n for s, m, n in zip(steps, shape[2:], profile.shape, strict=True)):
        return None
    sums, _ = window_sums(profile, steps, steps, [1] * len(steps), [(0, 0)] * len(steps))
    cut = sums[tuple(slice(0, m) for m in shape[2:])]
    return of_spatial(cut) if cut.shape == tuple(shape[2:]) else None


@lru_cache(maxsize=32)
def _maxima(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Common parts u, and maxima over ``count`` of the rest: quantiles of a normal and of the largest of normals."""
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    common = normal_quantiles(levels)
    return (common / common.std())[:, None], normal_quantiles(levels, count)[None, :]


class MaxPoolLaw:
    """Maximum over a window: f(max), z = sqrt(ρ) u + sqrt(1-ρ) max e, by 256 x 256 quantiles (THEORY 2.2)."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New source; the perturbation is that of the winner."""
        x, shape = args[0], context.shape(node)
        if not isinstance(x, Signal) or shape is None:
            return (None,)
        counts = _valid_taps(node, x, shape)
        count = int(math.prod(node.attributes["kernel"])) if counts is None else round(float(counts.mean()))
        result = maximum(x, count, context, shape, x.axes)
        return (replace(result, profile=_pooled_profile(x, shape)),)


def maximum(x: Signal, count: int, context: Context, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> Signal:
    """Maximum over ``count`` positions of a value that is monotone in z."""
    rho = min(max(x.source.rho_position, 0.0), 1.0)
    common, rest = _maxima(count)
    largest = math.sqrt(rho) * common + math.sqrt(1.0 - rho) * rest
    # z and -z are alike: a value that falls with z is read the other way round.
    turn = -1 if expectation(x.table * NODES) < 0.0 else 1
    values = np.interp(largest, NODES, np.maximum.accumulate(x.table[::turn]))
    responses = x.source.perturbation * np.interp(largest, NODES, (x.slope * x.slope)[::turn])
    mean, square = float(values.mean()), float(np.mean(values * values))
    given_common = values.mean(axis=1)
    pair = float(np.mean(given_common**2))
    # Of z, two samples share of what positions share what two positions of two samples do, and the rest of ρ_b of what
    # belongs to each position. Maxima of independent values are about as correlated as the values.
    across = min(max(x.source.rho_sample, 0.0), 1.0)
    apart = min(rho, across)
    own = (across - apart) / (1.0 - rho) if rho < 1.0 else 0.0
    shared = hermite_squares(np.interp(NODES, common[:, 0], given_common))[0]
    alike_common = apart / rho if rho > 0.0 else 1.0
    pair_sample = (
        mean * mean + max(pair - mean * mean, 0.0) * _correlation(shared, alike_common) + own * (square - pair)
    )
    moments = moments_of(x)
    response = float(responses.mean())
    alike = moments.pair_perturbation / moments.perturbation if moments.perturbation > 0.0 else 0.0
    return context.create(
        Moments(
            square,
            mean,
            min(pair, square),
            min(pair_sample, square),
            response,
            response * alike,
        ),
        x,
        shape=shape,
        axes=axes,
        noise=x.inherited_noise,
        parents=(x,),
        uncertainty=x.uncertainty**2,
        marginal=quantile_marginal(values, responses, np.full(values.shape, 1.0 / values.size)),
    )


def _correlation(powers: NDArray[np.float64], correlation: float) -> float:
    """Correlation of f(u) and f(u') from the squared Hermite coefficients of f."""
    varying = float(powers[1:].sum())
    if varying <= 0.0:
        return 0.0
    return float(powers[1:].dot(correlation ** np.arange(1, powers.size))) / varying


class PadLaw:
    """Zero padding as an operation: moments fall by the share of real positions, the profile keeps the border."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Padded signal; padding that repeats values changes no moment."""
        x, shape = args[0], context.shape(node)
        if not isinstance(x, Signal) or shape is None or len(shape) != len(x.shape):
            return (None,)
        share = math.prod(x.shape) / max(math.prod(shape), 1)
        if node.attributes.get("value") is None or share >= 1.0:
            return (replace(x, shape=shape, profile=None),)
        if float(node.attributes["value"]) != 0.0:
            return (None,)
        moments = moments_of(x)
        profile = _padded_profile(x, node.attributes["padding"])
        return (
            context.create(
                Moments(
                    share * moments.mean_square,
                    share * moments.mean,
                    share * share * moments.pair_position,
                    share * moments.pair_sample,
                    share * moments.perturbation,
                    share * share * moments.pair_perturbation,
                ),
                x,
                shape=shape,
                axes=x.axes,
                noise=x.noise,
                coherence=x.own_coherence,
                alignment=x.own_alignment,
                parents=(x,),
                realized=True,
                uncertainty=x.uncertainty**2,
                marginal=thinned_marginal(x, share) if has_one_sign(x) else shape_of(x),
                profile=profile,
            ),
        )


def _padded_profile(x: Signal, padding: Sequence[tuple[int, int]]) -> Profile | None:
    """Zero at the positions that padding adds."""
    if any(min(pair) < 0 for pair in padding):
        return None
    along = [axis is Axis.POSITION and max(pair) > 0 for axis, pair in zip(x.axes, padding, strict=True)]
    inner = np.ones((1,) * len(x.shape)) if x.profile is None else x.profile
    sizes = [n if padded or m > 1 else 1 for n, m, padded in zip(x.shape, inner.shape, along, strict=True)]
    width = [tuple(pair) if padded else (0, 0) for pair, padded in zip(padding, along, strict=True)]
    return levelled(np.pad(np.broadcast_to(inner, sizes), width))[1]


class ResizeLaw:
    """Resizing: nearest repeats values, linear averages two neighbours per axis.

    q' = q Σ w_i w_j ρ_ij, averaged over phases.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Resized signal."""
        x, shape = args[0], context.shape(node)
        if not isinstance(x, Signal) or shape is None or len(shape) != len(x.shape):
            return (None,)
        if node.attributes.get("mode") == "nearest" or shape == x.shape:
            return (replace(x, shape=shape, profile=None),)
        alone = math.prod(_alone(a, b) for a, b in zip(x.shape, shape, strict=True))
        moments = moments_of(x)
        return (
            context.create(
                Moments(
                    alone * moments.mean_square + (1.0 - alone) * moments.pair_position,
                    moments.mean,
                    moments.pair_position,
                    moments.pair_sample,
                    alone * moments.perturbation + (1.0 - alone) * moments.pair_perturbation,
                    moments.pair_perturbation,
                ),
                x,
                shape=shape,
                axes=x.axes,
                noise=x.noise,
                coherence=x.own_coherence,
                alignment=x.own_alignment,
                parents=(x,),
                realized=True,
                uncertainty=x.uncertainty**2,
            ),
        )


def _alone(before: int, after: int) -> float:
    """Mean of w² + (1-w)² over outputs that mix two neighbours along one axis, half-pixel centres."""
    if before == after or before < 1 or after < 1:
        return 1.0
    centre = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0.0, before - 1.0)
    share = centre - np.floor(centre)
    return float(np.mean(share**2 + (1.0 - share) ** 2))
