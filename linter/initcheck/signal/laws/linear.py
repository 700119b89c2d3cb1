"""Linear maps, embeddings, and the moments every weighted sum shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.distribution import Family
from initcheck.graph import Axis, Constant, Node, Parameter
from initcheck.signal.amplitude import mean_share
from initcheck.signal.axes import token_axes
from initcheck.signal.fluctuation import combined, common_elasticity, correlation_spreads
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.profile import joint, pair_share
from initcheck.signal.quadrature import hermite_powers, pair_moment
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from initcheck.signal.profile import Profile

__all__ = [
    "EmbeddingLaw",
    "LinearLaw",
    "bias_share",
    "excess_kurtosis",
    "is_identity",
    "length_freedom",
    "unit_variation",
    "weight_uncertainty",
    "weighted_sum",
]

LN10 = math.log(10.0)
_LEAST_EXCESS = -1.2
"""Excess kurtosis of a uniform law."""
_LARGEST_TABLE = 1 << 22


def weighted_sum(moments: Moments, weight: Parameter, fan_in: float, cross: float | None = None) -> Moments:
    """Moments of Σ wᵢ xᵢ over ``fan_in`` independent weights (THEORY 2.2, linear).

    q' = n Var(w) q + m² (n q + n (n-1) c) with m = E[w] and c = E[xᵢ xⱼ] between the summed units; the perturbation of
    two units is independent, so it gains n E[w²].

    Args:
        moments: Of the input.
        weight: The weight; its mean counts only beyond sampling error.
        fan_in: Number of products in the sum.
        cross: c, default the squared mean.
    """
    law = weight.distribution
    mean = law.effective_mean
    variance = law.variance
    cross = moments.mean * moments.mean if cross is None else cross
    pairs = fan_in * (fan_in - 1.0) * cross

    def second(moment: float) -> float:
        return fan_in * variance * moment + mean * mean * (fan_in * moment + pairs)

    return Moments(
        mean_square=second(moments.mean_square),
        mean=mean * fan_in * moments.mean,
        pair_position=second(moments.pair_position),
        pair_sample=second(moments.pair_sample),
        perturbation=fan_in * (variance + mean * mean) * moments.perturbation,
        pair_perturbation=fan_in * (variance + mean * mean) * moments.pair_perturbation,
    )


def add_bias(
    moments: Moments, bias: Parameter | None, scale: float = 1.0, profile: Profile | None = None, positions: int = 1
) -> tuple[Moments, Profile | None]:
    """Moments and profile after a bias, which all positions and samples share (THEORY 2.2)."""
    if bias is None:
        return moments, profile
    law = bias.distribution
    mean = scale * law.effective_mean
    square = scale * scale * (law.variance + law.effective_mean**2)
    cross = 2.0 * moments.mean * mean
    flattened = joint(((moments.mean_square, profile), (square + cross, None)))
    pairs = moments.pair_position * pair_share(profile, positions) + square + cross
    after = replace(
        moments,
        mean_square=moments.mean_square + square + cross,
        mean=moments.mean + mean,
        pair_position=pairs / (pair_share(flattened, positions) or 1.0),
        pair_sample=moments.pair_sample + square + cross,
    )
    return after, flattened


def unit_variation(weight: Parameter, channels: float, taps: float, before: float) -> float:
    """Squared coefficient of variation over outputs of Σ_j q_j Σ_t w² (THEORY 2.6).

    Args:
        weight: The weight.
        channels: Inputs j that one output sums.
        taps: Weights t on each of them.
        before: The same of the inputs' mean squares q_j.
    """
    kurtosis = weight.distribution.kurtosis
    spread = max(kurtosis - 1.0, 0.0) if math.isfinite(kurtosis) else 0.0
    return ((1.0 + before) * (1.0 + spread / max(taps, 1.0)) - 1.0) / max(channels, 1.0)


def bias_share(before: Moments, after: Moments) -> float:
    """Share of the mean square that does not come from a bias: the elasticity of the affine map."""
    return before.mean_square / after.mean_square if after.mean_square > 0.0 else 1.0


def length_freedom(weight: Parameter, share: float, fan_in: float, width: int) -> float:
    """How much ln M of the output fluctuates, relative to that of independent units (THEORY 2.9).

    An orthogonal map keeps the length but for what it projects away, 1 - n/fan_in.
    """
    if weight.distribution.family is Family.ORTHOGONAL and share > 0.999:
        return max(1.0 - width / fan_in, 0.0)
    return 1.0


def excess_kurtosis(
    x: Signal, weight: Parameter, bias: Parameter | None, share: float, after: Moments, fan_in: float
) -> float:
    """Excess kurtosis of the units of W x + b given x (THEORY 1.3).

    A sum of n products has (κ_w - 3) Σ x⁴/(Σ x²)², a bias its own, each times the square of its share of the
    variance.
    """
    variance = after.mean_square - after.mean * after.mean
    if variance <= 0.0 or x.mean_square <= 0.0:
        return 0.0
    squares = hermite_powers(x.table * x.table / x.mean_square)
    fourth = float(squares.sum())
    # At another position the same weights meet other numbers.
    shared = pair_moment(squares, max(x.source.rho_position, 0.0)) if x.positions > 1 else fourth
    of_weights = share * after.mean_square / variance
    # E of Σ x⁴/(Σ x²)² over few x; 3/(n + 2) for Gaussian ones.
    total = of_weights**2 * _excess(weight) * shared / (fan_in + fourth - 1.0)
    if bias is not None:
        total += (bias.distribution.variance / variance) ** 2 * _excess(bias)
    return min(max(total, _LEAST_EXCESS), 0.0)


def _excess(parameter: Parameter) -> float:
    """Excess kurtosis of a law with bounded tails, 0 for any other: few values tell nothing about tails."""
    law = parameter.distribution
    if law.family is Family.UNIFORM:
        return -1.2
    if law.family is Family.TRUNCATED and math.isfinite(law.kurtosis):
        return min(max(law.kurtosis - 3.0, _LEAST_EXCESS), 0.0)
    return 0.0


def weight_uncertainty(weight: Parameter) -> float:
    """Variance in squared decades of log10 E[w²] when it was estimated from the weight's own values."""
    return (weight.distribution.variance_relative_error / LN10) ** 2


def is_identity(node: Node, weight: Parameter) -> bool:
    """Whether the weight hands each input through to one output."""
    return weight.distribution.family is Family.IDENTITY and node.attributes.get("fan_in") == node.attributes.get(
        "fan_out"
    )


def identity_factor(weight: Parameter, fan_in: int) -> float:
    """Value on the diagonal of an identity weight: E[w²] and E[w] are those of one entry in ``fan_in``."""
    law = weight.distribution
    return math.copysign(math.sqrt(fan_in * law.mean_square), law.mean)


class LinearLaw:
    """y = x W + b over one axis.

    Assumes weights independent of x; for weights with a mean also that units share their mean only (THEORY 2.2).
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New Gaussian source, except through an identity, which keeps the distribution of its input."""
        x, weight = args[0], args[1]
        bias = args[2] if len(args) > 2 else None
        if not isinstance(x, Signal) or not isinstance(weight, Parameter):
            return (None,)
        shape = context.shape(node)
        if shape is None or len(shape) != len(x.shape):
            return (None,)
        fan_in = int(node.attributes["fan_in"])
        scale = float(node.attributes.get("scale", 1.0))
        bias_scale = float(node.attributes.get("bias_scale", 1.0))
        axis = int(node.attributes.get("axis", -1)) % len(shape)
        bias = bias if isinstance(bias, Parameter) else None
        if is_identity(node, weight) and (bias is None or bias.distribution.is_zero) and x.axes[axis] is Axis.FEATURE:
            return (replace(x.scaled(scale * identity_factor(weight, fan_in)), shape=shape),)
        axes, inner = contract(x, axis)
        before = weighted_sum(inner, weight, fan_in, cross=_cross_units(x, axis)).scaled(scale * scale, scale)
        profile = x.profile if x.axes[axis] is Axis.FEATURE else None
        after, profile = add_bias(before, bias, bias_scale, profile, x.positions)
        share = bias_share(before, after)
        return (
            context.create(
                after,
                x,
                shape=shape,
                axes=axes,
                noise=x.diluted_noise(mean_share(share, x.log_length_variance())),
                scale_response={k: share * c for k, c in x.scale_response().items()},
                unit_variation=share * share * unit_variation(weight, fan_in, 1.0, x.unit_variation),
                parents=(x,),
                weights=(share,),
                freedom=length_freedom(weight, share, fan_in, shape[axis]),
                excess_kurtosis=excess_kurtosis(x, weight, bias, share, after, fan_in),
                alignment=combined((common_elasticity(share, x.common), x.own_alignment)),
                spread=correlation_spreads(x, fan_in, 1.0, share),
                uncertainty=share * share * (x.uncertainty**2 + weight_uncertainty(weight)),
                profile=profile,
            ),
        )


def contract(x: Signal, axis: int) -> tuple[tuple[Axis, ...], Moments]:
    """Axes after a contraction of one axis, and the input's moments seen from there.

    When the contracted axis runs over positions (token mixing), outputs along it get weights of their own and become
    features, and the former features share those weights: they become positions, whose pair moment is that of two
    units.
    """
    moments = moments_of(x)
    if x.axes[axis] is Axis.FEATURE:
        return x.axes, moments
    swapped = tuple(
        Axis.FEATURE if i == axis else Axis.POSITION if kind is Axis.FEATURE else kind for i, kind in enumerate(x.axes)
    )
    return swapped, replace(moments, pair_position=x.mean * x.mean, pair_perturbation=0.0)


def _cross_units(x: Signal, axis: int) -> float:
    return x.mean * x.mean if x.axes[axis] is Axis.FEATURE else x.pair_position


class EmbeddingLaw:
    """Rows of a table picked by ids.

    Random ids coincide with probability 1/V; constant ids (positions, token types) give every sample the same rows.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New Gaussian source with the moments of the table."""
        ids, weight = args[0], args[1]
        shape = context.shape(node)
        if not isinstance(weight, Parameter) or shape is None or isinstance(ids, Signal):
            return (None,)
        law = weight.distribution
        mean = law.effective_mean
        square = law.variance + mean * mean
        rows = max(weight.shape[0], 1)
        if isinstance(ids, Constant):
            position, sample, perturbation = _same_rows(ids), 1.0, 0.0
        else:
            position = sample = 1.0 / rows
            perturbation = 1.0
        moments = Moments(
            square,
            mean,
            mean * mean + law.variance * position,
            mean * mean + law.variance * sample,
            perturbation,
        )
        if isinstance(ids, Constant) and weight.values is not None:
            moments = _of_known_rows(moments, ids, weight.values)
        return (
            context.create(
                moments,
                context.root(square),
                shape=shape,
                axes=token_axes(len(shape)),
                uncertainty=weight_uncertainty(weight),
            ),
        )


def _of_known_rows(moments: Moments, ids: Constant, table: NDArray[np.float64]) -> Moments:
    """Mean square and pairs of the very rows that are picked: those of a table of sines are alike when near."""
    if ids.array.dtype.kind not in "iu" or table.ndim != 2 or ids.array.size * table.shape[1] > _LARGEST_TABLE:
        return moments
    picked = ids.array.reshape(-1)
    if picked.size == 0 or picked.min() < -len(table) or picked.max() >= len(table):
        return moments
    rows = table[picked]
    square, count = float(np.mean(rows * rows)), len(rows)
    if not math.isfinite(square):
        return moments
    pair = square if count < 2 else (count * float(np.mean(rows.mean(axis=0) ** 2)) - square) / (count - 1)
    return replace(moments, mean_square=square, pair_position=pair, pair_sample=square)


def _same_rows(ids: Constant) -> float:
    """Share of pairs of positions that pick the same row."""
    flat = ids.array.reshape(-1)
    count = flat.size
    if count < 2:
        return 1.0
    _, occurrences = np.unique(flat, return_counts=True)
    return float(np.sum(occurrences * (occurrences - 1.0))) / (count * (count - 1))
