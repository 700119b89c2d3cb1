"""Normalisations walked back: divide by the length, take out what the statistics cancel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Node, Parameter
from initcheck.signal.adjoints.conditional import parameter_gradient
from initcheck.signal.laws.normalization import affine, length_fluctuation, reciprocal, statistics_of
from initcheck.signal.quadrature import NODES, expectation, smoothed
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.adjoint import BackwardContext, Sent
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument
    from initcheck.signal.quadrature import Table

__all__ = ["NormalizeAdjoint"]

_NEARLY_ALL = 1.0 - 1e-6


class NormalizeAdjoint:
    """g γ / sqrt(v + ε), less its mean over the group and its part along the normalised value (THEORY 2.10).

    What is taken out is small for independent ξ, (1 + ρ (T-1))/n of a group of n elements that holds T positions of a
    unit, but all of it where positions share one gradient (instance norm before a global mean), and all of the part
    that units share along the value.
    """

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of the value, the scale and the shift."""
        x, y, g = args[0], outputs[0], gradients[0]
        if not isinstance(x, Signal) or y is None or g is None:
            return (None,) * len(args)
        kind = node.attributes["kind"]
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        gamma, beta = affine(node, args)
        parameters = _affine_gradients(args, y, g, gamma.mean_square, beta.mean)
        if kind == "batch" and not node.attributes.get("training", True):
            factor = math.sqrt(y.variance / x.variance) if x.variance > 0.0 else 1.0
            return (g.scaled(factor), *parameters)
        statistics = statistics_of(kind, node, x, context.batch)
        divisor = statistics.variance + epsilon
        if divisor <= 0.0 or not math.isfinite(divisor):
            return (None, *parameters)
        g = _on_nodes_of(g, x)
        share = statistics.variance / divisor
        centred = kind != "rms"
        left = _left(g, x, y, kind, statistics.group, share, context.batch, centred=centred)
        fluctuation = length_fluctuation(x, statistics, share, centred=centred)
        inverse, uneven, profile = reciprocal(kind, node, x, statistics.variance, epsilon, g.profile)
        scale = gamma.mean_square * inverse * fluctuation
        back = g.scaled(math.sqrt(max(scale * left.mean_square, 0.0)))
        common = None
        if g.common is not None:
            factor = math.copysign(math.sqrt(scale), gamma.mean)
            common = factor * (g.common if kind == "batch" else _projected(g.common, x, share, centred=centred))
        back = replace(back, common=common, profile=profile, uneven=uneven)
        if centred:
            back = _seen_with_its_mean(back, x, statistics.variance, context)
        return (back.with_pairs(x, left.rho_position, left.rho_sample), *parameters)


def _on_nodes_of(g: Gradient, x: Signal) -> Gradient:
    """The normalised value keeps the nodes of x, but a Gaussian one that falls with z is read the other way round."""
    if x.is_gaussian and expectation(x.table * NODES) < 0.0:
        return g.map(lambda h: h[::-1])
    return g


@dataclass(frozen=True, slots=True)
class _Left:
    """Mean square of what the statistics leave, relative to what came, and its correlations."""

    mean_square: float
    rho_position: float
    rho_sample: float


def _left(
    g: Gradient, x: Signal, y: Signal, kind: str, group: float, share: float, batch: int, *, centred: bool
) -> _Left:
    """A gradient without its mean over the group and its part along the value.

    Both means are over places of which two in one sample have correlation ρ, two of different samples ρ'. What is
    subtracted is the same at all places of the group: their pair moments fall by as much as the mean square, so that
    the sum over a batch of gradients behind a batch normalisation is zero.
    """
    square = g.mean_square
    if square <= 0.0 or group <= 1.0:
        return _Left(1.0 if group > 1.0 else 0.0, 0.0, 0.0)
    positions = 1.0 if kind in {"layer", "rms"} else float(max(x.positions, 1))
    samples = positions * (batch - 1.0) if kind == "batch" else 0.0
    rho, across = g.pair_position(y) / square, g.pair_sample(y) / square
    of_mean = max((1.0 + (positions - 1.0) * rho + samples * across) / group, 0.0) if centred else 0.0
    deviation = y.table - y.mean if centred else y.table
    size = expectation(deviation**2)
    along = 0.0
    if size > 0.0:
        alone, pair, between = g.moments_with(y, deviation / math.sqrt(size))
        along = share * max(alone + (positions - 1.0) * pair + samples * between, 0.0) / (square * group)
    kept = max(1.0 - of_mean - along, 0.0)
    if kept <= 0.0:
        return _Left(0.0, 0.0, 0.0)
    value = min(max(y.source.rho_position, 0.0), 1.0)
    within = of_mean + along * value if positions > 1.0 else 0.0
    between = of_mean if kind == "batch" else 0.0
    return _Left(kept, (rho - within) / kept, (across - between) / kept)


def _seen_with_its_mean(g: Gradient, x: Signal, variance: float, context: BackwardContext) -> Gradient:
    """A gradient over what a normalisation leaves, seen from what it got.

    The mean that it subtracts differs from unit to unit (that of a channel over the batch), so that both values are
    correlated by the root of the share of the variance that is left. What a mean over the rest leaves out of the common
    part is a carrier of its own.
    """
    correlation = math.sqrt(min(max(variance / x.variance, 0.0), 1.0)) if x.variance > 0.0 else 1.0
    if g.common is None or correlation > _NEARLY_ALL:
        return g
    common = smoothed(g.common, correlation)
    rest = np.maximum(smoothed(g.common**2, correlation) - common**2, 0.0)
    left = correlation * correlation
    return replace(
        g,
        common=common,
        carriers={**g.carriers, context.next_index(): np.sqrt(rest)},
        split=left * g.split,
        apart=left * g.apart,
    )


def _projected(table: Table, x: Signal, share: float, *, centred: bool) -> Table:
    """What is left of a part that all units share: nothing constant, nothing along the value but for epsilon."""
    deviation = x.table - x.mean if centred else x.table
    rest = table - expectation(table) if centred else table
    square = expectation(deviation**2)
    if square <= 0.0:
        return np.zeros_like(table)
    result: Table = rest - share * expectation(rest * deviation) / square * deviation
    return result


def _affine_gradients(
    args: Sequence[Argument], y: Signal, g: Gradient, gamma_square: float, beta: float
) -> tuple[Sent, ...]:
    """Gradients of γ (Σ g x̂) and β (Σ g); stored statistics get none."""
    square, position, sample = g.mean_square, g.pair_position(y), g.pair_sample(y)
    sent: list[Sent] = []
    for index, parameter in enumerate(args[1:], start=1):
        if not isinstance(parameter, Parameter) or index > 2:
            sent.append(None)
        elif index == 2:
            sent.append(parameter_gradient(y, square, position, sample, parameter.size))
        elif gamma_square <= 0.0:
            # γ = 0 hides the normalised value, whose mean square is one.
            sent.append(parameter_gradient(y, square, 0.0, 0.0, parameter.size))
        else:
            joint = g.moments_with(y, (y.table - beta) / math.sqrt(gamma_square))
            sent.append(parameter_gradient(y, *joint, parameter.size))
    return tuple(sent)
