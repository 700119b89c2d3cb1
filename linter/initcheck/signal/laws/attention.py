"""Products of two activations, softmax, and attention as their chain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Constant, Node, Parameter
from initcheck.signal.fluctuation import combined
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.overlaps import overlaps
from initcheck.signal.profile import levelled, padded, pair_share, product
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal
from initcheck.signal.source import Logits, Mixing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from initcheck.signal.profile import Profile

__all__ = ["AttentionLaw", "Chain", "MatmulLaw", "SoftmaxLaw", "composed"]


class MatmulLaw:
    """a b for two activations: logits (query times keys), or attention weights times values (THEORY 2.8).

    Logits: q = d q_a q_b (+ the coherent part of the means), variance over keys d q_a (q_b - p_b), correlation of rows
        p_a/q_a.
    Weights times values: q = q_v S + p_v (1 - S), p = q_v O + p_v (1 - O).
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Logits, mixed values, or a general product of independent activations."""
        a, b = args[0], args[1]
        shape = context.shape(node)
        if not isinstance(a, Signal) or not isinstance(b, Signal) or shape is None:
            return (None,)
        if a.mixing is not None:
            return (mixed(a.mixing, a.shape[-2], b, shape, context),)
        scale = float(node.attributes.get("scale", 1.0))
        return (products(a, b, shape, context).scaled(scale),)


def products(a: Signal, b: Signal, shape: tuple[int, ...], context: Context) -> Signal:
    """All inner products of rows of a with columns of b, as logits; b of features only is a matrix that maps rows."""
    if _is_matrix(b):
        return _mapped(a, b, shape, context)
    width = a.shape[-1]
    left, right = moments_of(a), moments_of(b)
    pairs = width * (width - 1) * (left.mean * right.mean) ** 2
    rank = len(shape)
    _, profile = product(_summed(padded(a.profile, rank), -1), _summed(padded(b.profile, rank), -2))
    square = width * left.mean_square * right.mean_square + pairs
    perturbation = width * (left.mean_square * right.perturbation + right.mean_square * left.perturbation)
    spread = max(right.mean_square - right.pair_position, 0.0)
    # Keys are turned so that their positions come last; what comes with its features last keeps them.
    last = Axis.FEATURE if b.axes[-1] is Axis.FEATURE and a.axes[-1] is not Axis.FEATURE else Axis.POSITION
    axes = (*a.axes[:-2], Axis.POSITION, last)[-len(shape) :]
    axes = (Axis.BATCH,) * (len(shape) - len(axes)) + axes
    result = context.create(
        Moments(
            square,
            width * left.mean * right.mean,
            width * left.mean_square * right.pair_position + pairs,
            width * left.pair_sample * right.pair_sample + pairs,
            perturbation,
        ),
        a,
        shape=shape,
        axes=axes,
        noise=combined((1.0, a.noise), (1.0, b.noise)),
        parents=(a, b),
        uncertainty=a.uncertainty**2 + b.uncertainty**2,
        profile=profile,
    )
    logits = Logits(
        variance=width * left.mean_square * spread,
        row_correlation=min(max(left.pair_position / left.mean_square, 0.0), 1.0) if left.mean_square > 0.0 else 1.0,
        # What a query's change adds alike to all keys cancels in the softmax.
        perturbation=width * (left.mean_square * right.perturbation + spread * left.perturbation),
    )
    return replace(result, logits=logits, assumed=a.assumed or b.assumed)


def _is_matrix(b: Signal) -> bool:
    """Whether b is a weight that a network computes (hypernetworks), not keys or values at positions."""
    return len(b.axes) >= 2 and b.axes[-2] is Axis.FEATURE and b.axes[-1] is Axis.FEATURE


def _mapped(a: Signal, b: Signal, shape: tuple[int, ...], context: Context) -> Signal:
    """Rows of a through a matrix of independent elements: as a linear map, the matrix responding as well."""
    width = a.shape[-1]
    left, right = moments_of(a), moments_of(b)
    if Axis.BATCH not in b.axes:
        right = replace(right, pair_sample=right.mean_square)
    coherent = width * (width - 1) * right.mean * right.mean
    mean_square = left.mean * left.mean

    def summed(of_rows: float, of_matrix: float) -> float:
        return width * of_rows * of_matrix + coherent * mean_square

    axes = (*a.axes[:-1], Axis.FEATURE)[-len(shape) :]
    return context.create(
        Moments(
            summed(left.mean_square, right.mean_square),
            width * left.mean * right.mean,
            summed(left.pair_position, right.mean_square),
            summed(left.pair_sample, right.pair_sample),
            width * (left.perturbation * right.mean_square + left.mean_square * right.perturbation),
            width * (left.pair_perturbation * right.mean_square + left.pair_position * right.perturbation),
        ),
        a,
        shape=shape,
        axes=(Axis.BATCH,) * (len(shape) - len(axes)) + axes,
        noise=combined((1.0, a.noise), (1.0, b.noise)),
        parents=(a, b),
        uncertainty=a.uncertainty**2 + b.uncertainty**2,
        profile=None if a.profile is None else _summed(padded(a.profile, len(shape)), -1),
    )


def _summed(profile: Profile | None, axis: int) -> Profile | None:
    """Profile without the axis that is summed over."""
    return None if profile is None else levelled(profile.mean(axis=axis, keepdims=True))[1]


class SoftmaxLaw:
    """Softmax over keys: attention weights; over anything else the weights of a softmax of Gaussian logits."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Weights with mean 1/n and second moment S/n."""
        x = args[0]
        if not isinstance(x, Signal) or not x.shape:
            return (None,)
        axis = int(node.attributes.get("axis", -1)) % len(x.shape)
        keys = x.shape[axis]
        if keys < 1:
            return (None,)
        if x.logits is not None and axis == len(x.shape) - 1 and len(x.shape) >= 2:
            return (attention_weights(x, x.logits, x.shape, context),)
        found = overlaps(Logits(x.variance, 0.0, 0.0), 1, keys)
        moments = moments_of(x)
        same = float(found.same.mean())
        softened = found.response * moments.perturbation / keys
        return (
            context.create(
                Moments(same / keys, 1.0 / keys, 1.0 / keys**2, 1.0 / keys**2, softened),
                x,
                shape=x.shape,
                axes=x.axes,
                noise={},
                uncertainty=0.0,
            ),
        )


def attention_weights(x: Signal, logits: Logits, shape: tuple[int, ...], context: Context) -> Signal:
    """Softmax of logits over the last axis."""
    queries, keys = shape[-2], shape[-1]
    found = overlaps(logits, queries, keys, x.profile)
    same, other = float(found.same.mean()), found.other
    mixing = Mixing(same, other, found.response * logits.perturbation, found.response, logits, x.profile)
    result = context.create(
        Moments(same / keys, 1.0 / keys, max(other, 0.0) / keys, 1.0 / keys**2, mixing.perturbation / keys),
        x,
        shape=shape,
        axes=x.axes,
    )
    return replace(result, mixing=mixing)


def mixed(mixing: Mixing, queries: int, values: Signal, shape: tuple[int, ...], context: Context) -> Signal:
    """Attention weights times values, every query's own mean square kept as the profile."""
    moments = moments_of(values)
    found = overlaps(mixing.logits, queries, values.shape[-2], mixing.profile, values.profile)
    spread = max(moments.mean_square - moments.pair_position, 0.0)
    rows = moments.mean_square * found.same + moments.pair_position * (found.whole - found.same)
    rows = np.maximum(rows, 0.0)
    square, profile = levelled(rows[:, None] if len(shape) > 1 else rows)
    profile = padded(profile, len(shape))
    unequal = pair_share(profile, queries) or 1.0
    same, other = float(found.same.mean()), found.other
    whole = float(found.whole.mean())
    alike = other / same if same > 0.0 else 0.0
    through = mixing.perturbation * spread
    return context.create(
        Moments(
            square,
            moments.mean,
            (moments.mean_square * other + moments.pair_position * (found.whole_other - other)) / unequal,
            moments.pair_sample,
            same * moments.perturbation + max(whole - same, 0.0) * moments.pair_perturbation + through,
            (
                other * moments.perturbation
                + max(found.whole_other - other, 0.0) * moments.pair_perturbation
                + mixing.logits.row_correlation * alike * through
            )
            / unequal,
        ),
        values,
        shape=shape,
        axes=(Axis.BATCH,) * (len(shape) - len(values.axes)) + values.axes[-len(shape) :],
        noise=values.inherited_noise,
        parents=(values,),
        uncertainty=values.uncertainty**2,
        profile=profile,
    )


class AttentionLaw:
    """Scaled dot-product attention as one operation: logits, softmax and mixing in a row."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Mixed values."""
        value, shape = args[2], context.shape(node)
        chain = composed(node, args, context)
        if chain is None or not isinstance(value, Signal) or shape is None or chain.weights.mixing is None:
            return (None,)
        queries, mixing = chain.weights.shape[-2], chain.weights.mixing
        return (mixed(mixing, queries, value, shape, context), *(None,) * (len(node.outputs) - 1))


@dataclass(frozen=True, slots=True)
class Chain:
    """The inside of scaled dot-product attention.

    Attributes:
        keys: Keys with positions last.
        scale: Factor on the inner products.
        weights: Attention weights.
    """

    keys: Signal
    scale: float
    weights: Signal


def composed(node: Node, args: Sequence[Argument], context: Context) -> Chain | None:
    """Logits and weights of attention as one operation; None where queries or keys are not known."""
    query, key = args[0], args[1]
    if not (isinstance(query, Signal) and isinstance(key, Signal)):
        return None
    queries, keys = query.shape[-2], key.shape[-2]
    scale = float(node.attributes.get("scale") or 1.0 / math.sqrt(query.shape[-1]))
    transposed = replace(
        key,
        shape=(*key.shape[:-2], key.shape[-1], key.shape[-2]),
        axes=(*key.axes[:-2], key.axes[-1], key.axes[-2]),
        profile=None if key.profile is None else np.swapaxes(key.profile, -1, -2),
    )
    logits = products(query, transposed, (*query.shape[:-1], keys), context).scaled(scale)
    mask = _mask(args[3] if len(args) > 3 else None)
    if node.attributes.get("causal"):
        causal = np.where(np.tri(queries, keys, keys - queries) > 0, 0.0, -np.inf)
        mask = causal if mask is None else mask + causal
    if logits.logits is None:
        return None
    state = replace(logits.logits, mask=mask)
    return Chain(transposed, scale, attention_weights(logits, state, logits.shape, context))


def _mask(argument: Argument) -> NDArray[np.float64] | None:
    if isinstance(argument, Constant):
        array = argument.array
        return np.where(array, 0.0, -np.inf) if array.dtype == bool else np.asarray(array, dtype=np.float64)
    if isinstance(argument, Parameter):
        return argument.values
    return None
