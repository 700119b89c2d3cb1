"""Operands of a binary operation: numbers, arrays that are not random, parameters used as values, and broadcasting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from initcheck.graph import Axis, Constant, Parameter
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.profile import levelled, pair_share, restricted
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from initcheck.signal.profile import Profile

__all__ = [
    "MASKED",
    "Factor",
    "Operand",
    "aligned",
    "constant_signal",
    "factor_profile",
    "factor_signal",
    "factors",
    "join",
    "operand",
    "output_layout",
]

MASKED = -1e4
"""Values below this in an additive array switch a position off."""


@dataclass(frozen=True)
class Factor:
    """A tensor that no input changes: a parameter used as a value, or a constant array.

    Attributes:
        shape: Its shape.
        mean: Mean of its elements.
        mean_square: Mean square of its elements.
        values: Its elements, where they are known.
        one_sign: Whether no two of its elements are of different sign, as far as is known.
    """

    shape: tuple[int, ...]
    mean: float
    mean_square: float
    values: NDArray[np.float64] | None
    one_sign: bool = False


Operand: TypeAlias = "Signal | Factor | float | None"


def operand(argument: Argument) -> Operand:
    """A number where all elements are one, else a factor; signals as they are."""
    if isinstance(argument, Constant):
        return _array_operand(argument.array)
    if isinstance(argument, Parameter):
        law = argument.distribution
        if law.size == 0:
            return None
        if law.is_constant or law.size == 1:
            return law.mean
        one_sign = law.minimum >= 0.0 or law.maximum <= 0.0
        # Few numbers of one sign (decay rates of four heads) have a mean, however unsure the mean of their law is.
        mean = law.mean if one_sign else law.effective_mean
        return Factor(argument.shape, mean, law.variance + mean * mean, argument.values, one_sign)
    return argument


def _array_operand(array: NDArray[np.generic]) -> Operand:
    if array.size == 0 or array.dtype.kind not in "fiub":
        return None
    values = np.asarray(array, dtype=np.float64)
    first = float(values.flat[0])
    if array.size == 1 or bool(np.all(values == first)):
        return first
    finite = values[np.isfinite(values) & (values > MASKED)]
    if finite.size == 0:
        return None
    one_sign = bool(values.min() >= 0.0 or values.max() <= 0.0)
    return Factor(tuple(values.shape), float(finite.mean()), float(np.mean(finite * finite)), values, one_sign)


def output_layout(
    context_shape: tuple[int, ...] | None, operands: Sequence[Operand]
) -> tuple[tuple[int, ...], tuple[Axis, ...]] | None:
    """Shape and axes of a broadcast result: the axes of the signal with most elements.

    Args:
        context_shape: Shape the source declares.
        operands: Operands; None when no signal is among them.
    """
    signals = [item for item in operands if isinstance(item, Signal)]
    if not signals:
        return None
    shape = context_shape
    if shape is None:
        try:
            shape = np.broadcast_shapes(*(item.shape for item in operands if isinstance(item, Signal | Factor)))
        except ValueError:
            return None
    largest = max(signals, key=lambda s: (len(s.shape) == len(shape), math.prod(s.shape), s.gain > 0.0, -s.segment))
    missing = len(shape) - len(largest.shape)
    if missing < 0:
        return None
    return shape, (Axis.BATCH,) * min(missing, 1) + (Axis.POSITION,) * (missing - min(missing, 1)) + largest.axes


def aligned(x: Signal, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> Moments:
    """Moments of a signal broadcast to a shape and read with the axes of the result (THEORY 2.2, broadcast).

    Without batch axis all samples see one value: p_b = q at the same position; without position axis p_s = q. Where
    features and positions have changed places, two positions are what two units were.
    """
    moments = moments_of(x)
    padded = (1,) * (len(shape) - len(x.shape)) + x.shape
    own = (Axis.BATCH,) * (len(shape) - len(x.shape)) + x.axes
    position, sample, response = moments.pair_position, moments.pair_sample, moments.pair_perturbation
    if any(axis is Axis.BATCH and n > 1 and p == 1 for axis, n, p in zip(axes, shape, padded, strict=True)):
        sample = moments.mean_square
    spread = [p for axis, n, p in zip(axes, shape, padded, strict=True) if axis is Axis.POSITION and n > 1]
    if spread and all(p == 1 for p in spread):
        position, response = moments.mean_square, moments.perturbation
    elif any(
        theirs is Axis.FEATURE and ours is Axis.POSITION and n > 1 and p > 1
        for theirs, ours, n, p in zip(own, axes, shape, padded, strict=True)
    ):
        position, response = x.mean * x.mean, 0.0
    return replace(moments, pair_position=position, pair_sample=sample, pair_perturbation=response)


def _varies(factor: Factor, shape: tuple[int, ...], axes: tuple[Axis, ...], wanted: Axis) -> bool:
    padded = (1,) * (len(shape) - len(factor.shape)) + factor.shape
    return any(axis is wanted and p > 1 for axis, p in zip(axes, padded, strict=True))


def _position_pair(factor: Factor, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> float:
    """Mean of c_a c_b over pairs of positions of one unit."""
    if not _varies(factor, shape, axes, Axis.POSITION):
        return factor.mean_square
    if factor.values is None:
        return factor.mean * factor.mean
    values = factor.values.reshape((1,) * (len(shape) - len(factor.shape)) + factor.shape)
    where = tuple(i for i, axis in enumerate(axes) if axis is Axis.POSITION)
    count = math.prod(values.shape[i] for i in where)
    finite = np.where(np.isfinite(values) & (values > MASKED), values, 0.0)
    mean_of_pairs = float(np.mean(finite.mean(axis=where) ** 2))
    return (count * mean_of_pairs - float(np.mean(finite * finite))) / (count - 1)


def factors(factor: Factor, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> Moments:
    """Moments of a factor read with the axes of the result; it does not depend on the input."""
    same_sample = factor.mean * factor.mean if _varies(factor, shape, axes, Axis.BATCH) else factor.mean_square
    positions = math.prod(n for n, axis in zip(shape, axes, strict=True) if axis is Axis.POSITION)
    unequal = pair_share(factor_profile(factor, shape, axes), positions) or 1.0
    return Moments(factor.mean_square, factor.mean, _position_pair(factor, shape, axes) / unequal, same_sample, 0.0)


def factor_signal(
    factor: Factor, like: Signal, shape: tuple[int, ...], axes: tuple[Axis, ...], context: Context
) -> Signal:
    """A factor as a value of its own, in the segment of ``like``."""
    return context.create(
        factors(factor, shape, axes),
        replace(like, assumed=False),
        shape=shape,
        axes=axes,
        profile=factor_profile(factor, shape, axes),
    )


def constant_signal(constant: Constant, axes: tuple[Axis, ...], context: Context) -> Signal | None:
    """A constant array of real numbers as a value that answers to no input (coordinates, queries of zeros)."""
    found = _array_operand(constant.array) if constant.array.dtype.kind == "f" else None
    if isinstance(found, float):
        found = Factor(tuple(constant.shape), found, found * found, np.full(constant.shape, found))
    if not isinstance(found, Factor):
        return None
    return factor_signal(found, context.root(found.mean_square), tuple(constant.shape), axes, context)


def factor_profile(factor: Factor, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> Profile | None:
    """Mean square of a factor at each position, where its elements are known."""
    if factor.values is None or not _varies(factor, shape, axes, Axis.POSITION):
        return None
    values = factor.values.reshape((1,) * (len(shape) - len(factor.shape)) + factor.shape)
    finite = np.where(np.isfinite(values) & (values > MASKED), values, 0.0)
    return restricted(levelled(finite * finite)[1], axes)


def join(
    result: Signal, first: Signal, second: Signal, node: str, context: Context, *, additive: bool = True
) -> Signal:
    """Segment of a value that comes from two.

    Values of one segment may stem from inputs of different scale: the one that carries more of the perturbation says
    where it started. A stream joined by something normalised since goes on: what a normalised branch adds is a fixed
    length, not a gain, so the segment's reference moves with the length. Two values normalised since they parted open
    a new segment.
    """
    if min(first.gain, second.gain) <= 0.0 < max(first.gain, second.gain) and first.segment != second.segment:
        # What does not see the input (random numbers, a time, positions) has no segment of its own.
        seen = first if first.gain > 0.0 else second
        return replace(
            result,
            segment=seen.segment,
            reference=seen.reference,
            start_mean_square=seen.start_mean_square,
            growth=seen.growth,
            assumed=first.assumed or second.assumed,
        )
    if first.segment == second.segment:
        reference = max(first, second, key=lambda x: x.gain).reference or max(first.reference, second.reference)
        return replace(result, reference=reference, assumed=first.assumed or second.assumed)
    older, younger = (first, second) if first.segment < second.segment else (second, first)
    assumed = first.assumed or second.assumed
    if context.segments.is_ancestor(older.segment, younger.segment):
        grown = result.mean_square / older.mean_square if additive and older.mean_square > 0.0 else 1.0
        return replace(
            result,
            segment=older.segment,
            reference=older.reference * grown,
            start_mean_square=older.start_mean_square * grown,
            growth=older.growth,
            profile=result.profile,
            assumed=assumed,
        )
    segment = context.segments.open(context.segments.common(first.segment, second.segment), node)
    return replace(
        result,
        segment=segment,
        reference=result.gain,
        start_mean_square=result.mean_square,
        growth=0.0,
        assumed=assumed,
    )
