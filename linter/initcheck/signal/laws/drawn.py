"""Values that do not come from the weights: random numbers of a forward pass, and integers read as real numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis
from initcheck.signal.axes import channel_axes, token_axes
from initcheck.signal.law import Argument, Context, Moments
from initcheck.signal.marginal import LEVELS, Marginal
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node

__all__ = ["RandomLaw", "RealLaw"]

_LARGEST_NUMBER = 1000.0
"""Integers that stand for a time run up to about this many steps."""


class RandomLaw:
    """Independent random numbers: no unit, position or sample shares any, and no perturbation reaches them."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """A value of its own with the moments of the distribution."""
        del args
        shape = context.shape(node)
        mean, std = float(node.attributes["mean"]), float(node.attributes["std"])
        if shape is None or not math.isfinite(mean) or not math.isfinite(std):
            return (None,)
        square = mean * mean + std * std
        axes = channel_axes(len(shape)) if len(shape) >= 4 else token_axes(len(shape))
        return (_independent(square, mean, _marginal(str(node.attributes["family"]), mean), shape, axes, context),)


def _independent(
    square: float,
    mean: float,
    marginal: Marginal | None,
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    context: Context,
) -> Signal:
    """A value that shares nothing between positions and samples and that no draw of the weights moves."""
    moments = Moments(square, mean, mean * mean, mean * mean, 0.0)
    result = context.create(moments, context.root(square), shape=shape, axes=axes, realized=True, marginal=marginal)
    return replace(result, own_noise={}, own_response={})


def _marginal(family: str, mean: float) -> Marginal | None:
    if family == "uniform":
        return Marginal(LEVELS - 0.5, np.ones_like(LEVELS))
    if family == "bernoulli":
        return Marginal((1.0 - mean < LEVELS).astype(np.float64), np.ones_like(LEVELS))
    return None


class RealLaw:
    """Integers of the input as real numbers: one number per sample is a time, uniform up to about a thousand.

    The scale does not matter to sines and cosines of geometrically spaced frequencies, which most are read by: their
    mean square is 1/2. Integers with positions (masks, ids) stay unknown; what a known value is cast to is itself.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The value itself, or a uniform one that no perturbation reaches."""
        x, shape = args[0], context.shape(node)
        if isinstance(x, Signal):
            return (x,)
        if x is not None or shape is None or not shape or math.prod(shape[1:]) != 1:
            return (None,)
        square, mean = _LARGEST_NUMBER**2 / 3.0, _LARGEST_NUMBER / 2.0
        axes = (Axis.BATCH, *token_axes(len(shape))[1:])
        return (_independent(square, mean, Marginal(LEVELS, np.ones_like(LEVELS)), shape, axes, context),)
