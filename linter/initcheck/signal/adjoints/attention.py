"""Products of two activations, softmax and attention walked back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Axis, Node
from initcheck.signal.law import Context, moments_of
from initcheck.signal.laws.attention import composed
from initcheck.signal.quadrature import expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.adjoint import BackwardContext, Sent
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument

__all__ = ["AttentionAdjoint", "MatmulAdjoint", "SoftmaxAdjoint"]


class MatmulAdjoint:
    """Values receive Σ_a A_ab g_a, attention weights g_a · v_b, queries Σ_b gl_ab k_b, keys Σ_a gl_ab q_a."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of both factors."""
        a, b, y, g = args[0], args[1], outputs[0], gradients[0]
        if not isinstance(a, Signal) or not isinstance(b, Signal) or y is None or g is None:
            return (None,) * len(args)
        if a.mixing is not None:
            return (of_weights(b, y, g, context), of_values(a, y, g, context))
        scale = float(node.attributes.get("scale", 1.0))
        shared = context.shared_width.get(node.name, 0)
        return of_factors(a, b, y, g.scaled(scale), context, shared)


def of_values(weights: Signal, y: Signal, g: Gradient, context: BackwardContext) -> Gradient:
    """Σ_a A_ab g_a: G_V = (N_q/N_k) [S G + (N_q - 1) O_V p_g], O_V the mean product of two queries' weights on a key.

    Two queries' weights on one key meet with E Σ_b A_ab A_a'b = O, so that the pair term counts N_q (N_q - 1) O/N_k.
    """
    queries, keys = weights.shape[-2], weights.shape[-1]
    mixing = weights.mixing
    square = g.mean_square
    if mixing is None:
        return context.fresh(square)
    pair = g.pair_position(y)
    total = queries / keys * (mixing.same * square + (queries - 1.0) * mixing.other * pair)
    # Two keys receive from the same queries: Σ_a A_ab A_ab' is (1 - S)/(N_k - 1) per query.
    across = (1.0 - mixing.same) / max(keys - 1.0, 1.0)
    together = queries / keys * (across * square + (queries - 1.0) / max(keys, 1) * (1.0 - mixing.other) * pair)
    shared = 0.0 if g.common is None else expectation(g.common**2)
    return context.fresh(
        max(total - shared, 0.0),
        rho_position=together / total if total > 0.0 else 0.0,
        rho_sample=g.pair_sample(y) / square if square > 0.0 else 0.0,
        common=g.common,
        split=g.split,
        apart=g.apart,
        assumed=g.assumed,
    )


def of_weights(values: Signal, y: Signal, g: Gradient, context: BackwardContext) -> Gradient:
    """g_a · v_b over the width of the values, and what of it differs from key to key."""
    width = y.shape[-1]
    moments = moments_of(values)
    square = width * g.mean_square * moments.mean_square
    spread = width * g.mean_square * max(moments.mean_square - moments.pair_position, 0.0)
    pair = g.pair_position(y) / g.mean_square if g.mean_square > 0.0 else 0.0
    return replace(context.fresh(square, rho_position=pair, assumed=g.assumed), spread=spread)


class SoftmaxAdjoint:
    """gl_ab = A_ab (g_ab - Σ_b' A_ab' g_ab'): per element the spread of g times (S - 2 Σ A³ + S²)/N_k (THEORY 2.8)."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the logits, which sums to zero over the keys."""
        x, y, g = args[0], outputs[0], gradients[0]
        if not isinstance(x, Signal) or y is None or g is None:
            return (None,)
        axis = int(node.attributes.get("axis", -1)) % len(x.shape)
        keys = max(x.shape[axis], 1)
        if y.mixing is not None:
            return (of_logits(y, g, context),)
        # Independent weights with second moment S/n each: the response of the softmax, per element.
        same = min(y.mean_square * keys, 1.0)
        response = same * max(1.0 - same, 0.0)
        back = context.fresh(g.mean_square * response / keys, rho_position=g.rho_position, assumed=g.assumed)
        return (replace(back, balanced=True),)


def of_logits(weights: Signal, g: Gradient, context: BackwardContext) -> Gradient:
    """Gradient of the logits from that of the weights."""
    keys = max(weights.shape[-1], 1)
    spread = g.mean_square if g.spread is None else g.spread
    response = weights.mixing.response if weights.mixing is not None else 0.0
    back = context.fresh(spread * response / keys, rho_position=g.rho_position, assumed=g.assumed)
    return replace(back, balanced=True)


def of_factors(
    a: Signal, b: Signal, y: Signal, g: Gradient, context: BackwardContext, shared_width: int
) -> tuple[Gradient, Gradient]:
    """Gradients of both factors of y = a b, a row of a with a column of b.

    g_a = Σ_b g_ab k_b sees of the keys only what differs between them where g sums to zero over them. Keys and values
    that are linear in one value of width n are not independent: Σ_b A_b v_b k_b goes through the covariance of the
    tokens, which has rank n at most, and grows by 1 + (N_k - 1)/n (THEORY 2.10).
    """
    rows, columns = y.shape[-2], y.shape[-1]
    square = g.mean_square
    left, right = moments_of(a), moments_of(b)
    seen = max(right.mean_square - right.pair_position, 0.0) if g.balanced else right.mean_square
    pair = g.pair_position(y) if _over_positions(y) else 0.0
    to_a = columns * square * seen
    if g.balanced and shared_width > 0:
        to_a *= 1.0 + max(columns - 1.0, 0.0) / shared_width
    elif not g.balanced and y.axes[-1] is Axis.POSITION:
        to_a += columns * (columns - 1.0) * pair * right.pair_position
    to_b = rows * square * left.mean_square + rows * (rows - 1.0) * pair * left.pair_position
    return (
        context.fresh(max(to_a, 0.0), rho_position=_ratio(columns * pair * seen, to_a), assumed=g.assumed),
        context.fresh(
            max(to_b, 0.0),
            rho_position=-1.0 / max(columns - 1.0, 1.0) if g.balanced else 0.0,
            assumed=g.assumed,
        ),
    )


def _over_positions(y: Signal) -> bool:
    return len(y.axes) >= 2 and y.axes[-2] is Axis.POSITION


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else 0.0


class AttentionAdjoint:
    """Attention as one operation: mixing, softmax and logits walked back in a row."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of queries, keys and values."""
        y, g = outputs[0], gradients[0]
        # In mean field: what the typical path takes off the logits is of second order.
        chain = composed(node, args, Context(values={}, typical=False))
        nothing: tuple[Sent, ...] = (None,) * len(args)
        if y is None or g is None or chain is None:
            return nothing
        query, key, value = args[0], args[1], args[2]
        if not isinstance(query, Signal) or not isinstance(key, Signal) or not isinstance(value, Signal):
            return nothing
        to_weights = of_weights(value, y, g, context)
        to_logits = of_logits(chain.weights, to_weights, context).scaled(chain.scale)
        shared = context.shared_width.get(node.name, 0)
        to_query, to_key = of_factors(query, chain.keys, chain.weights, to_logits, context, shared)
        to_value = of_values(chain.weights, y, g, context)
        return (to_query, to_key, to_value, *nothing[3:])
