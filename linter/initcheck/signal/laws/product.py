"""Products and quotients of two values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node
from initcheck.signal.fluctuation import combined
from initcheck.signal.functions import apply
from initcheck.signal.joined_fluctuation import square_product_variance
from initcheck.signal.law import Argument, Context, Moments
from initcheck.signal.marginal import (
    Marginal,
    has_one_sign,
    one_signed_marginal,
    product_marginal,
    quantile_marginal,
    shape_of,
)
from initcheck.signal.operands import (
    Factor,
    Operand,
    aligned,
    factor_profile,
    factors,
    join,
    operand,
    output_layout,
)
from initcheck.signal.profile import padded, product
from initcheck.signal.quadrature import WEIGHTS
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ProductLaw", "QuotientLaw", "multiply"]

Axes = tuple[Axis, ...]

_FAR_APART, _MIXED = 4.0, 64


class ProductLaw:
    """x y.

    One source: pointwise, exact (x * sigmoid(x)). Independent sources (gates, masks): q = q_x q_y and the like for
    pairs; perturbation E[y²] d_x + E[x²] d_y (THEORY 2.11). A number scales; an array multiplies the moments by its
    own.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Product of signals, parameters, constants."""
        return (multiply(operand(args[0]), operand(args[1]), node, context),)


class QuotientLaw:
    """x / y, as the product with the reciprocal, pointwise where both have one source."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Quotient of signals, parameters, constants."""
        first, second = operand(args[0]), operand(args[1])
        if isinstance(second, float):
            return (None if second == 0.0 else multiply(first, 1.0 / second, node, context),)
        if isinstance(second, Factor):
            if second.values is None or not np.all(second.values):
                return (None,)
            inverse = 1.0 / second.values
            factor = Factor(second.shape, float(inverse.mean()), float(np.mean(inverse * inverse)), inverse)
            return (multiply(first, factor, node, context),)
        if isinstance(second, Signal):
            return (multiply(first, second.map(*apply("reciprocal", second.table)), node, context),)
        return (None,)


def multiply(first: Operand, second: Operand, node: Node, context: Context) -> Signal | None:
    """The product of two operands; None where it is not known or no signal is among them."""
    if first is None or second is None:
        return None
    layout = output_layout(context.shape(node), (first, second))
    if layout is None:
        return None
    shape, axes = layout
    if not isinstance(first, Signal):
        first, second = second, first
    if not isinstance(first, Signal):
        return None
    if isinstance(second, float):
        return first.scaled(second)
    if isinstance(second, Factor):
        return _multiply_factor(first, second, shape, axes, context)
    if first.source.index == second.source.index:
        return _multiply_pointwise(first, second, shape, axes)
    return _multiply_independent(first, second, shape, axes, node, context)


def _multiply_pointwise(x: Signal, y: Signal, shape: tuple[int, ...], axes: Axes) -> Signal:
    larger = x if math.prod(x.shape) >= math.prod(y.shape) else y
    return replace(
        larger,
        table=x.table * y.table,
        slope=x.slope * y.table + x.table * y.slope,
        stretch=x.stretch * y.table + x.table * y.stretch,
        shape=shape,
        axes=axes,
        profile=product(padded(x.profile, len(shape)), padded(y.profile, len(shape)))[1],
    ).fresh()


def _multiply_factor(x: Signal, factor: Factor, shape: tuple[int, ...], axes: Axes, context: Context) -> Signal:
    left, right = aligned(x, shape, axes), factors(factor, shape, axes)
    level, profile = product(padded(x.profile, len(shape)), factor_profile(factor, shape, axes))
    moments = Moments(
        level * left.mean_square * right.mean_square,
        left.mean * right.mean,
        level * left.pair_position * right.pair_position,
        level * left.pair_sample * right.pair_sample,
        level * left.perturbation * right.mean_square,
        level * left.pair_perturbation * right.pair_position,
    )
    return context.create(
        moments,
        x,
        shape=shape,
        axes=axes,
        noise=x.noise,
        alignment=x.own_alignment,
        coherence=combined((factor.mean / math.sqrt(factor.mean_square or 1.0), x.own_coherence)),
        parents=(x,),
        realized=True,
        uncertainty=x.uncertainty**2,
        marginal=_scaled_shape(x, factor),
        profile=profile,
    )


def _scaled_shape(x: Signal, factor: Factor) -> Marginal | None:
    """Shape of a product with an array: that of x, or a mixture.

    It is a mixture where the array's sizes are far apart (frequencies), and where both are of one sign (a mask): no
    other shape of these moments is.
    """
    values = factor.values
    signed = factor.one_sign and has_one_sign(x)
    if values is None and signed:
        return one_signed_marginal(x, factor.mean * x.mean, factor.mean_square * x.mean_square) or shape_of(
            x, factor.mean
        )
    if values is None or not np.all(np.isfinite(values)) or factor.mean_square <= 0.0:
        return shape_of(x, factor.mean)
    if not signed and float(np.mean(values**4)) < _FAR_APART * factor.mean_square**2:
        return shape_of(x, factor.mean)
    scales = np.quantile(values, (np.arange(_MIXED) + 0.5) / _MIXED)
    atoms = np.outer(scales, x.table)
    responses = np.outer(scales * scales, x.slope * x.slope)
    return quantile_marginal(atoms, responses, np.broadcast_to(WEIGHTS / _MIXED, atoms.shape))


def _multiply_independent(
    x: Signal, y: Signal, shape: tuple[int, ...], axes: Axes, node: Node, context: Context
) -> Signal:
    left, right = aligned(x, shape, axes), aligned(y, shape, axes)
    level, profile = product(padded(x.profile, len(shape)), padded(y.profile, len(shape)))
    response = x.scale_response()
    others = y.scale_response()
    # Both factors answer to one input with their scales.
    coherent = 2.0 * math.fsum(c * others.get(index, 0.0) for index, c in response.items())
    for index, coefficient in others.items():
        response[index] = response.get(index, 0.0) + coefficient
    across = right.mean_square * left.perturbation + left.mean_square * right.perturbation
    moments = Moments(
        level * left.mean_square * right.mean_square,
        left.mean * right.mean,
        level * left.pair_position * right.pair_position,
        level * left.pair_sample * right.pair_sample,
        level * max(across + coherent * left.mean_square * right.mean_square, 0.0),
        level * (right.pair_position * left.pair_perturbation + left.pair_position * right.pair_perturbation),
    )
    noise = combined((1.0, x.noise), (1.0, y.noise))
    both = square_product_variance(x, y)
    if both > 0.0:
        # A mean of so heavy tails is nearly log-normal.
        noise[context.next_index()] = math.sqrt(math.log1p(both))
    carrier = max((x, y), key=lambda s: s.variance / s.mean_square if s.mean_square > 0.0 else 0.0)
    other = y if carrier is x else x
    nearly_constant = other.variance < 0.05 * other.mean_square
    result = context.create(
        moments,
        x,
        shape=shape,
        axes=axes,
        noise=noise,
        scale_response=response,
        parents=(x, y),
        realized=True,
        uncertainty=x.uncertainty**2 + y.uncertainty**2,
        marginal=shape_of(carrier, other.mean) if nearly_constant else product_marginal(x, y),
        profile=profile,
    )
    return join(result, x, y, node.name, context, additive=False)
