"""Products of two activations, softmax, and attention as their chain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from initcheck.graph import Axis, Constant, Node, Parameter
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.signal import Logits, Mixing, Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["AttentionLaw", "Chain", "MatmulLaw", "SoftmaxLaw", "composed"]

_Overlaps: TypeAlias = tuple[float, float, float]
_ROWS = 16
_WORK = 1 << 17
_LARGEST_LOGIT_VARIANCE = 400.0


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
            return (mixed(a.mixing, b, shape, context),)
        scale = float(node.attributes.get("scale", 1.0))
        return (products(a, b, shape, context).scaled(scale),)


def products(a: Signal, b: Signal, shape: tuple[int, ...], context: Context) -> Signal:
    """All inner products of rows of a with columns of b, as logits."""
    width = a.shape[-1]
    left, right = moments_of(a), moments_of(b)
    pairs = width * (width - 1) * (left.mean * right.mean) ** 2
    square = width * left.mean_square * right.mean_square + pairs
    perturbation = width * (left.mean_square * right.perturbation + right.mean_square * left.perturbation)
    spread = max(right.mean_square - right.pair_position, 0.0)
    noise = a.noise()
    for index, coefficient in b.noise().items():
        noise[index] = noise.get(index, 0.0) + coefficient
    axes = (*a.axes[:-2], Axis.POSITION, Axis.POSITION)[-len(shape) :]
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
        noise=noise,
        parents=(a, b),
        uncertainty=a.uncertainty**2 + b.uncertainty**2,
    )
    logits = Logits(
        variance=width * left.mean_square * spread,
        row_correlation=min(max(left.pair_position / left.mean_square, 0.0), 1.0) if left.mean_square > 0.0 else 1.0,
        # What a query's change adds alike to all keys cancels in the softmax.
        perturbation=width * (left.mean_square * right.perturbation + spread * left.perturbation),
    )
    return replace(result, logits=logits, assumed=a.assumed or b.assumed)


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
        same, _, response = overlaps(x.variance, 0.0, 1, keys, None)
        moments = moments_of(x)
        softened = response * moments.perturbation / keys
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
    same, other, response = overlaps(logits.variance, logits.row_correlation, queries, keys, logits.mask)
    mixing = Mixing(same, other, response * logits.perturbation, response)
    result = context.create(
        Moments(same / keys, 1.0 / keys, max(other, 0.0) / keys, 1.0 / keys**2, mixing.perturbation / keys),
        x,
        shape=shape,
        axes=x.axes,
    )
    return replace(result, mixing=mixing)


def mixed(mixing: Mixing, values: Signal, shape: tuple[int, ...], context: Context) -> Signal:
    """Attention weights times values."""
    moments = moments_of(values)
    spread = max(moments.mean_square - moments.pair_position, 0.0)
    square = moments.mean_square * mixing.same + moments.pair_position * (1.0 - mixing.same)
    return context.create(
        Moments(
            square,
            moments.mean,
            moments.mean_square * mixing.other + moments.pair_position * (1.0 - mixing.other),
            moments.pair_sample,
            mixing.same * moments.perturbation + mixing.perturbation * spread,
        ),
        values,
        shape=shape,
        axes=(Axis.BATCH,) * (len(shape) - len(values.axes)) + values.axes[-len(shape) :],
        noise=values.inherited_noise(),
        parents=(values,),
        uncertainty=values.uncertainty**2,
    )


def overlaps(
    variance: float, row_correlation: float, queries: int, keys: int, mask: NDArray[np.float64] | None
) -> _Overlaps:
    """S = E Σ_b A_ab², O = E Σ_b A_ab A_a'b, and softmax's response, by fixed-seed sampling with the concrete mask.

    Logits are Gaussian (THEORY 2.8). Where they change by independent amounts of mean square 1, Σ_b A_ab v_b for values
    of variance 1 changes by a mean square of Σ A² - 2 Σ A³ + (Σ A²)²; S (1 - S) for uniform weights (THEORY 2.8).

    Args:
        variance: Of one query's logits over keys.
        row_correlation: Of two queries' logits.
        queries: Rows of A.
        keys: Columns of A.
        mask: Additive mask that broadcasts to (..., queries, keys).
    """
    if mask is None:
        return _sampled(_rounded(variance), round(row_correlation, 3), min(queries, _ROWS), keys)
    return _sampled_masked(variance, row_correlation, queries, keys, mask)


def _rounded(variance: float) -> float:
    """Logit variance to three digits, so that equal blocks share one sample."""
    bounded = min(max(variance, 0.0), _LARGEST_LOGIT_VARIANCE)
    return float(f"{bounded:.3g}")


@lru_cache(maxsize=256)
def _sampled(variance: float, row_correlation: float, rows: int, keys: int) -> _Overlaps:
    return _overlap(variance, row_correlation, np.zeros((rows, keys)))


def _sampled_masked(
    variance: float, row_correlation: float, queries: int, keys: int, mask: NDArray[np.float64]
) -> _Overlaps:
    full = (
        np.broadcast_to(mask, (*np.broadcast_shapes(mask.shape[:-2], ()), queries, keys))
        if mask.ndim >= 2
        else (np.broadcast_to(mask, (queries, keys)))
    )
    planes = full.reshape(-1, queries, keys)
    chosen = np.unique(np.linspace(0, queries - 1, min(queries, _ROWS)).round().astype(int))
    picked = planes[:: max(len(planes) // 4, 1)][:4, chosen]
    results = [_overlap(_rounded(variance), row_correlation, np.asarray(plane)) for plane in picked]
    same, other, response = np.mean(results, axis=0)
    return float(same), float(other), float(response)


def _overlap(variance: float, row_correlation: float, mask: NDArray[np.float64]) -> _Overlaps:
    rows, keys = mask.shape
    repeats = max(4, min(64, _WORK // max(rows * keys, 1)))
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((repeats, 1, keys))
    own = rng.standard_normal((repeats, rows, keys))
    correlation = min(max(row_correlation, 0.0), 1.0)
    logits = math.sqrt(variance) * (math.sqrt(correlation) * shared + math.sqrt(1.0 - correlation) * own) + mask
    top = logits.max(axis=-1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    total = weights.sum(axis=-1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0.0)
    squares = np.sum(weights * weights, axis=-1)
    same = float(squares.mean())
    response = float(np.mean(squares - 2.0 * np.sum(weights**3, axis=-1) + squares * squares))
    if rows < 2:
        return same, same, response
    columns = weights.sum(axis=1)
    both = float(np.mean(np.sum(columns * columns, axis=-1)))
    return same, max((both - rows * same) / (rows * (rows - 1)), 0.0), response


class AttentionLaw:
    """Scaled dot-product attention as one operation: logits, softmax and mixing in a row."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Mixed values."""
        value, shape = args[2], context.shape(node)
        chain = composed(node, args, context)
        if chain is None or not isinstance(value, Signal) or shape is None or chain.weights.mixing is None:
            return (None,)
        return (mixed(chain.weights.mixing, value, shape, context), *(None,) * (len(node.outputs) - 1))


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
