"""Normalisations: they fix the length, end a segment, and pass a perturbation on divided by the variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.graph import Axis, Node, Parameter
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.marginal import gamma_variable, shape_of
from initcheck.signal.operands import Factor, operand
from initcheck.signal.profile import joint, levelled, pair_share, product
from initcheck.signal.quadrature import expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.profile import Profile

__all__ = ["NormalizeLaw", "Removed", "affine", "length_fluctuation", "reciprocal", "statistics_of"]

_LEAST_VARIATION, _LARGEST_VARIATION = 1e-3, 4.0
_FLOOR = 1e-3


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
            return (_stored_statistics(node, x, args, epsilon),)
        removed = statistics_of(kind, node, x, context.batch)
        gamma, beta = affine(node, args)
        passed, profile = _passed(kind, node, x, removed.variance, epsilon)
        divisor = removed.variance / passed if passed > 0.0 else removed.variance + epsilon
        moments = moments_of(x)
        if kind == "rms":
            centred = moments
        else:
            centred = replace(
                moments,
                mean_square=removed.variance,
                mean=0.0,
                pair_position=moments.pair_position - removed.position,
                pair_sample=moments.pair_sample - removed.sample,
            )
        response = (
            gamma.mean_square
            * _response(x, removed, divisor, centred=kind != "rms", over_samples=kind == "batch")
            / divisor
        )
        scaled = Moments(
            gamma.mean_square * centred.mean_square / divisor,
            gamma.mean * centred.mean / math.sqrt(divisor),
            gamma.mean_square * centred.pair_position / divisor,
            gamma.mean_square * centred.pair_sample / divisor,
            response * centred.perturbation,
            response * centred.pair_perturbation,
        )
        shifted = _shifted(scaled, beta)
        if profile is not None:
            profile = joint(((scaled.mean_square, profile), (shifted.mean_square - scaled.mean_square, None)))
        kept = 1.0 - passed
        result = context.create(
            shifted,
            x,
            shape=x.shape,
            axes=x.axes,
            noise={} if kind == "batch" else {k: kept * c for k, c in x.noise.items() if kept > 1e-6},
            scale_response={k: (1.0 if kind == "batch" else kept) * c for k, c in x.scale_response().items()},
            realized=True,
            uncertainty=(kept * x.uncertainty) ** 2,
            marginal=None if gamma.mean == 0.0 else shape_of(x, gamma.mean),
            profile=profile,
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


def _passed(kind: str, node: Node, x: Signal, variance: float, epsilon: float) -> tuple[float, Profile | None]:
    """Mean of v/(v + ε) and the profile that is left.

    What is normalised position by position has one length afterwards, as far as epsilon lets it.
    """
    if variance <= 0.0:
        return 0.0, None
    if kind in {"batch", "instance", "group"}:
        features, _ = _group(kind, node, x)
        ratio = variance / max(epsilon, 1e-300)
        return _passed_on_average(ratio, x.unit_variation / features), x.profile
    axes = _normalised_axes(kind, node, x)
    alone = x.profile is not None and all(x.profile.shape[axis] == 1 for axis in axes)
    if x.profile is None or not alone:
        return variance / (variance + epsilon), x.profile
    own = variance * x.profile
    return levelled(own / (own + epsilon))


def reciprocal(
    kind: str, node: Node, x: Signal, variance: float, epsilon: float, weights: Profile | None
) -> tuple[float, float, Profile | None]:
    """Mean of 1/(v + ε) over what has a statistic of its own, the same over E[v/(v + ε)]/E[v], and a profile.

    Args:
        kind: Of the normalisation.
        node: The operation.
        x: The value.
        variance: What it divides by on average, without epsilon.
        epsilon: Of the normalisation.
        weights: Profile of the gradient: each position counts as much as it receives.

    Returns:
        The mean; how much larger it is than where every channel counts by its variance; the profile of what is left.
    """
    if variance <= 0.0:
        return (1.0 / epsilon if epsilon > 0.0 else 0.0), 1.0, weights
    if kind in {"batch", "instance", "group"}:
        features, _ = _group(kind, node, x)
        variation = x.unit_variation / features
        if variation < _LEAST_VARIATION:
            return 1.0 / (variance + epsilon), 1.0, weights
        # Without the floor a channel of next to no variance, which no finite network has, would decide the mean.
        values = variance * gamma_variable(min(variation, _LARGEST_VARIATION))
        inverse = 1.0 / (values + max(epsilon, _FLOOR * variance))
        return expectation(inverse), variance * expectation(inverse) / expectation(values * inverse), weights
    axes = _normalised_axes(kind, node, x)
    if x.profile is None or not all(x.profile.shape[axis] == 1 for axis in axes):
        return 1.0 / (variance + epsilon), 1.0, weights
    inverse = 1.0 / (variance * x.profile + max(epsilon, 1e-300))
    level, profile = levelled(inverse)
    together, result = product(profile, weights)
    return level * together, 1.0, result


def _passed_on_average(ratio: float, variation: float) -> float:
    """E[v/(v + 1)] of a gamma variable v of given mean and squared coefficient of variation."""
    if variation < _LEAST_VARIATION or not math.isfinite(ratio):
        return ratio / (ratio + 1.0) if math.isfinite(ratio) else 1.0
    values = ratio * gamma_variable(min(variation, _LARGEST_VARIATION))
    return expectation(values / (values + 1.0))


def _response(x: Signal, removed: Removed, divisor: float, *, centred: bool, over_samples: bool) -> float:
    """What a statistic of n elements does to a perturbation beyond dividing by the expected variance.

    The directions of the mean and of x itself are taken out, 1/n and ζ² q/d (1/n by chance), and the variance of n
    elements fluctuates, E[1/v] = (1 + (κ-1)/n) / E[v] with κ the kurtosis; both only as far as epsilon lets the divisor
    move.
    """
    n = removed.group
    if n <= 2.0 or divisor <= 0.0:
        return 0.0
    share = removed.variance / divisor
    along, common = (1.0 / n, 1.0 / n) if over_samples else _directions(x, n, centred=centred)
    left = max(1.0 - share * along - (common if centred else 0.0), 0.0)
    return left * length_fluctuation(x, removed, share, centred=centred)


def length_fluctuation(x: Signal, removed: Removed, share: float, *, centred: bool) -> float:
    """E[1/(v + ε)] times E[v] + ε: the variance of n elements fluctuates by r = (κ - 1)/m, κ the kurtosis.

    1/(1 - r), which is exact for normal elements, whose sum of squares is chi-squared with m degrees of freedom: n, and
    one fewer where their mean is taken out. Of so few elements that r is beyond one half, the half.
    """
    deviations = x.table - x.mean if centred else x.table
    square = expectation(deviations**2)
    power = square * square
    kurtosis = expectation(deviations**4) / power if 0.0 < power < math.inf else 1.0
    relative = min((kurtosis - 1.0) / max(removed.group - (1.0 if centred else 0.0), 1.0), 0.5)
    return 1.0 + share * share * relative / (1.0 - relative)


def _directions(x: Signal, n: float, *, centred: bool) -> tuple[float, float]:
    """Shares of the perturbation along x, its mean taken out where it is centred, and along the mean.

    ⟨δ, x⟩ = ζ q and ⟨δ, 1⟩ = u per element, so (ζ q - u μ)²/v and u²; at least 1/n of the rest by chance.
    """
    gain = x.gain
    if gain <= 0.0:
        return 1.0 / n, 1.0 / n
    scale, shift = x.scale_response(), x.mean_response() if centred else {}
    square = x.variance if centred else x.mean_square
    inner = {k: c * x.mean_square - shift.get(k, 0.0) * (x.mean if centred else 0.0) for k, c in scale.items()}
    inner |= {k: -c * x.mean for k, c in shift.items() if k not in scale}
    along = math.fsum(c * c for c in inner.values()) / (square * gain) if square > 0.0 else 0.0
    common = math.fsum(c * c for c in shift.values()) / gain
    return min(max(along, 1.0 / n), 1.0), min(max(common, 1.0 / n), 1.0)


def affine(node: Node, args: Sequence[Argument]) -> tuple[Factor, Factor]:
    """Scale γ, times the length that the operation itself gives, and shift β as factors; (1, 0) where absent."""
    parts = []
    for index, default in ((1, 1.0), (2, 0.0)):
        value = operand(args[index]) if len(args) > index and isinstance(args[index], Parameter) else None
        if isinstance(value, Factor):
            parts.append(value)
        else:
            number = default if not isinstance(value, float) else value
            parts.append(Factor((), number, number * number, None))
    gamma, length = parts[0], float(node.attributes.get("length", 1.0))
    values = None if gamma.values is None else length * gamma.values
    return Factor(gamma.shape, length * gamma.mean, length * length * gamma.mean_square, values), parts[1]


def _shifted(moments: Moments, beta: Factor) -> Moments:
    cross = 2.0 * moments.mean * beta.mean
    add = beta.mean_square + cross
    return replace(
        moments,
        mean_square=moments.mean_square + add,
        mean=moments.mean + beta.mean,
        pair_position=moments.pair_position + add,
        pair_sample=moments.pair_sample + add,
    )


def statistics_of(kind: str, node: Node, x: Signal, batch: int) -> Removed:
    """What a normalisation of this kind subtracts from x and divides by."""
    features, positions = _group(kind, node, x)
    if kind == "rms":
        return Removed(0.0, 0.0, x.mean_square, float(features * positions))
    coherent = x.mean * x.mean
    within = (x.mean_square + (positions - 1) * pair_share(x.profile, x.positions) * x.pair_position) / positions
    between = (
        x.pair_sample + (positions - 1) * pair_share(x.profile, x.positions) * moments_of(x).pair_apart
    ) / positions
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


def _stored_statistics(node: Node, x: Signal, args: Sequence[Argument], epsilon: float) -> Signal | None:
    """Batch norm in inference mode: γ / sqrt(σ² + ε) x + shift, with the statistics that the file stores."""
    gamma, beta = affine(node, args)
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
    return scaled.fresh(table=scaled.table + beta.mean - factor * mean)
