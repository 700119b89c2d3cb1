"""Linear maps and embeddings walked back, and what every weighted sum shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Constant, Parameter
from initcheck.signal.adjoint import BackwardContext, Sent, Summed, size_of, summed
from initcheck.signal.laws.linear import identity_factor, is_identity
from initcheck.signal.profile import product
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument
    from initcheck.signal.profile import Profile

__all__ = ["EmbeddingAdjoint", "LinearAdjoint", "bias_gradient", "joint_length", "sent_back", "weight_gradient"]


class LinearAdjoint:
    """x of y = x W + b receives Σ_j W_ji g_j: G_x = n_out E[w²] G_y (THEORY 2.10)."""

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
        scale = float(node.attributes.get("scale", 1.0))
        axis = int(node.attributes.get("axis", -1)) % len(x.shape)
        fan_in, fan_out = int(node.attributes["fan_in"]), int(node.attributes["fan_out"])
        received = summed(g, y, context)
        of_weight = scale * scale * weight_gradient(x, y, g, received, math.prod(x.shape) // max(fan_in, 1))
        of_bias = float(node.attributes.get("bias_scale", 1.0)) ** 2 * bias_gradient(y, received)
        if y.source.index == x.source.index and is_identity(node, weight):
            return (g.scaled(scale * identity_factor(weight, fan_in)), of_weight, of_bias)[: len(args)]
        over_features = x.axes[axis] is Axis.FEATURE
        back = sent_back(
            x,
            y,
            received,
            weight,
            context,
            bias=args[2] if len(args) > 2 else None,
            fan_out=fan_out,
            fan_in=fan_in,
            count=fan_in,
            scale=scale,
            # Positions that are contracted meet weights of their own.
            rho_position=received.rho_position if over_features else 0.0,
            rho_sample=received.rho_sample,
            profile=g.profile if over_features else None,
            assumed=g.assumed,
        )
        return (back, of_weight, of_bias)[: len(args)]


def sent_back(
    x: Signal,
    y: Signal,
    received: Summed,
    weight: Parameter,
    context: BackwardContext,
    *,
    bias: Argument = None,
    fan_out: float,
    fan_in: float,
    count: float,
    scale: float = 1.0,
    rho_position: float,
    rho_sample: float,
    profile: Profile | None,
    assumed: bool,
) -> Gradient:
    """Gradient at the input of y_j = Σ w_ji x_i from that at its output.

    Over random weights of variance s² the sum of ξ_j is a new carrier of mean square n_out s² G_y. A common part ζ c(z)
    is seen through E[w_ji | y_j] = s² x_i z_j/σ_y (regression of the weight on the sum it is part of) and becomes
    n_out s² E[z c]/σ_y ζ x_i, along x. By chance the cotangent has a part along the fluctuation of y, which gives one
    of mean square n_out s² E[z² h²]/(n q_x) that is split off the new carrier. Later layers add nothing to it: x · g
    is the same at all layers of a homogeneous network (Euler).

    Args:
        x: Input.
        y: Output, made by this sum.
        received: Gradient at the output.
        weight: The weight.
        context: Numbers of new carriers.
        bias: What is added to the sum.
        fan_out: Outputs that one input feeds, those beyond a border left out.
        fan_in: Products in one output.
        count: Elements over which x · g is the same behind and before the map: the features of a position, or all of an
            image.
        scale: Factor on the product.
        rho_position: Correlation of the result between positions.
        rho_sample: Between samples.
        profile: Its profile.
        assumed: Whether the gradient rests on an operation that was not understood.
    """
    law = weight.distribution
    variance, mean = scale * scale * law.variance, scale * law.effective_mean
    square = fan_out * (variance + mean * mean) * received.mean_square
    square += mean * mean * fan_out * max(fan_out - 1.0, 0.0) * received.common_mean * received.common_mean
    spread = math.sqrt(y.variance)
    along = fan_out * variance * received.common / spread if spread > 0.0 else 0.0
    # On the typical path a sum is shorter than its weights' variance says, and x · g stays what it is.
    expected = fan_in * variance * x.mean_square + (bias.distribution.variance if isinstance(bias, Parameter) else 0.0)
    along *= min(y.variance / expected, 1.0) if context.typical and expected > 0.0 else 1.0
    by_chance = fan_out * variance * received.chance / (count * x.mean_square) if x.mean_square > 0.0 else 0.0
    by_chance = min(by_chance, square / x.mean_square) if x.mean_square > 0.0 else 0.0
    amplitude = math.copysign(math.hypot(along, math.sqrt(by_chance)), along)
    # What is orthogonal to y has nothing along x to send.
    square *= (1.0 - min(received.split, 1.0)) / max(received.uneven, 1e-6)
    return context.fresh(
        max(square - by_chance * x.mean_square, 0.0),
        rho_position=rho_position,
        rho_sample=rho_sample,
        common=amplitude * x.table if amplitude else None,
        split=received.apart / max(count, 1.0),
        apart=received.apart,
        profile=profile,
        assumed=assumed,
    )


def joint_length(x: Signal, g: Gradient) -> float:
    """Mean over positions of the product of both profiles, 1 where either is uniform."""
    return product(x.profile, g.profile)[0]


def weight_gradient(x: Signal, y: Signal, g: Gradient, received: Summed, rows: float) -> float:
    """E of the squared gradient of one weight, Σ g x over ``rows`` samples and positions.

    N q G + N (T-1) p_x p_g + B (B-1) T² p'_x p'_g, with p the pair moments of positions and p' those of samples.

    Args:
        x: What the weight multiplies.
        y: What its product is part of.
        g: Gradient at y.
        received: Its moments.
        rows: Number of products that one weight takes part in.
    """
    samples = min(size_of(y, Axis.BATCH), max(rows, 1))
    positions = rows / max(samples, 1)
    alone = rows * x.mean_square * received.mean_square * joint_length(x, g)
    pairs = rows * max(positions - 1.0, 0.0) * x.pair_position * received.pair_position
    # Two samples at two positions have no more in common than two samples at one, or one sample at two.
    between = x.pair_sample if positions <= 1.0 else min(x.pair_sample, x.pair_position)
    across = rows * positions * (samples - 1.0) * between * received.pair_sample
    return max(alone + pairs + across, 0.0)


def bias_gradient(y: Signal, received: Summed) -> float:
    """E of the squared gradient of one bias, Σ g over samples and positions."""
    samples, positions = size_of(y, Axis.BATCH), size_of(y, Axis.POSITION)
    rows = samples * positions
    pairs = (positions - 1.0) * received.pair_position + (samples - 1.0) * positions * received.pair_sample
    return max(rows * (received.mean_square + pairs), 0.0)


class EmbeddingAdjoint:
    """A row of the table receives the sum over the places where it was picked.

    Random ids pick a row N/V times on average, with Poisson's spread; constant ids as often as they say.
    """

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the table."""
        del node
        ids, weight, y, g = args[0], args[1], outputs[0], gradients[0]
        if y is None or g is None or not isinstance(weight, Parameter):
            return (None,) * len(args)
        received = summed(g, y, context)
        rows = max(weight.shape[0], 1)
        samples = size_of(y, Axis.BATCH)
        places = samples * size_of(y, Axis.POSITION)
        if isinstance(ids, Constant):
            _, counts = np.unique(ids.array, return_counts=True)
            repeats = places / max(ids.array.size, 1)
            alone = repeats * float(counts.sum())
            pairs = float(np.sum((repeats * counts) * (repeats * counts - 1.0)))
            square = alone * received.mean_square + pairs * max(received.pair_sample, 0.0)
        else:
            square = places * received.mean_square + places**2 / rows * max(received.pair_position, 0.0)
        return (None, square / rows)
