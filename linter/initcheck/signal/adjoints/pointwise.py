"""Functions of one value, and sums, products and choices of two, walked back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Node, Op, Parameter
from initcheck.signal.adjoints.conditional import parameter_gradient, reduced, seen_from
from initcheck.signal.functions import FUNCTIONS, apply
from initcheck.signal.gradient import Gradient
from initcheck.signal.operands import Factor, factors, operand
from initcheck.signal.profile import product
from initcheck.signal.quadrature import NODES, Table, expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.adjoint import BackwardContext, Sent
    from initcheck.signal.law import Argument

__all__ = [
    "DropoutAdjoint",
    "ElementwiseAdjoint",
    "ExtremeAdjoint",
    "ProductAdjoint",
    "QuotientAdjoint",
    "SumAdjoint",
    "WhereAdjoint",
]


class ElementwiseAdjoint:
    """g f'(x), unit by unit: carriers keep their identity."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the argument."""
        del context
        x, y, g = args[0], outputs[0], gradients[0]
        name = node.attributes["function"]
        if not isinstance(x, Signal) or g is None or name not in FUNCTIONS:
            return (None,)
        slope = x.under(name, node.attributes.get("arguments", {}))[1]
        return (_without_split(g, y, slope).times(slope),)


def _without_split(g: Gradient, y: Signal | None, slope: Table) -> Gradient:
    """Carriers orthogonal to y lose more to f' than others do: what they lack lies where f' lets most through.

    Of a direction y that E[f'² y²]/E[y²] = r E[f'²] of is let through, the rest passes (1 - r/n)/(1 - 1/n).
    """
    if y is None or g.split <= 0.0 or y.mean_square <= 0.0:
        return g
    passed = expectation(slope * slope)
    if passed <= 0.0:
        return g
    more = expectation((slope * y.table) ** 2) / (passed * y.mean_square) - 1.0
    factor = math.sqrt(min(max(1.0 - g.split * more, 0.0), 2.0))
    return replace(g, carriers={key: factor * h for key, h in g.carriers.items()})


class DropoutAdjoint:
    """The same mask as forward: G/(1-p)."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the value before the mask."""
        del context
        x, y, g = args[0], outputs[0], gradients[0]
        rate = float(node.attributes.get("rate", 0.0))
        if not isinstance(x, Signal) or y is None or g is None:
            return (None,) * len(args)
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not node.attributes.get("training", True) or rate <= 0.0:
            return (g, *rest)
        if rate >= 1.0:
            return (g.scaled(0.0), *rest)
        kept = 1.0 / (1.0 - rate)
        masked = g.scaled(math.sqrt(kept))
        position, sample = g.rho_position / kept, g.rho_sample / kept
        return (replace(masked, common=g.common, rho_position=position, rho_sample=sample), *rest)


class SumAdjoint:
    """Both operands of x ± y receive g; over another source it is seen through the sum."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of both operands."""
        out, g = outputs[0], gradients[0]
        if out is None or g is None:
            return (None, None)
        first, second = args[0], args[1]
        parts = [self._part(first, second, 1.0, out, g, context), self._part(second, first, self.sign, out, g, context)]
        skip = context.skip_index.get(node.name)
        if skip is not None and isinstance(part := parts[skip], Gradient) and g.common is not None:
            parts[skip] = _against_branch(part, args[skip], args[1 - skip], self.sign, out, g.split)
        return tuple(parts)

    def _part(
        self, x: Argument, other: Argument, sign: float, out: Signal, g: Gradient, context: BackwardContext
    ) -> Sent:
        if isinstance(x, Parameter):
            return parameter_gradient(out, g.mean_square, g.pair_position(out), g.pair_sample(out), x.size)
        if not isinstance(x, Signal):
            return None
        if x.source.index != out.source.index and isinstance(other, Signal):
            mine, theirs = (1.0, self.sign) if sign == 1.0 else (self.sign, 1.0)
            g = seen_from(g, out, x, other, context, lambda a, b: mine * a + theirs * b)
            g = replace(g, split=g.split * _cosine_square(x, other, self.sign, out))
        elif x.source.index != out.source.index:
            g = _through_shift(g, x, out)
        return reduced(g if sign == 1.0 else g.scaled(sign), x, out, context)


def _cosine_square(x: Signal, other: Signal, sign: float, out: Signal) -> float:
    """Of x and x ± y over units and positions, the operands being independent given their means."""
    if x.mean_square <= 0.0 or out.mean_square <= 0.0:
        return 0.0
    inner = x.mean_square + sign * x.mean * other.mean
    return min(inner * inner / (x.mean_square * out.mean_square), 1.0)


def _against_branch(
    part: Gradient, skip: Argument, branch: Argument, sign: float, out: Signal, split: float
) -> Gradient:
    """The skip's gradient less what will meet that of the branch with the opposite sign.

    x · g of the skip and of the branch add to x · g of the sum, which the ξ have no part in: what one has of it the
    other lacks, and where both arrive at the fork, 2 ((q_x + m)(q_f + m)/q - m)/(n q_x) of the mean square cancels, m
    the product of the means and 1/n the ``split``.
    """
    if not isinstance(skip, Signal) or not isinstance(branch, Signal):
        return part
    if skip.mean_square <= 0.0 or out.mean_square <= 0.0:
        return part
    both = sign * skip.mean * branch.mean
    joint = (skip.mean_square + both) * (branch.mean_square + both) / out.mean_square - both
    lost = min(max(2.0 * split * joint / skip.mean_square, 0.0), 0.5)
    factor = math.sqrt(1.0 - lost)
    return replace(part, carriers={key: factor * h for key, h in part.carriers.items()})


def _through_shift(g: Gradient, x: Signal, out: Signal) -> Gradient:
    """The gradient at x plus something that no input changes (a bias table), as a function of x."""
    order = np.argsort(out.table, kind="stable")
    z = np.interp(x.table, out.table[order], NODES[order])
    return g.map(lambda h: np.interp(z, NODES, h))


class ProductAdjoint:
    """x of x y receives g y, pointwise over one source, else E[g² y² | x]."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of both operands."""
        del node
        out, g = outputs[0], gradients[0]
        if out is None or g is None:
            return (None, None)
        return (product_part(args[0], args[1], out, g, context), product_part(args[1], args[0], out, g, context))


def product_part(x: Argument, other: Argument, out: Signal, g: Gradient, context: BackwardContext) -> Sent:
    """What one operand of a product receives."""
    if isinstance(x, Parameter):
        return _factor_gradient(x, other, out, g)
    if not isinstance(x, Signal):
        return None
    value = operand(other)
    if isinstance(value, float):
        return reduced(g.scaled(value), x, out, context)
    if isinstance(value, Factor):
        return reduced(_through_factor(g, value, out), x, out, context)
    if not isinstance(value, Signal):
        return None
    if value.source.index == x.source.index:
        return reduced(g.times(value.table), x, out, context)
    level, profile = product(g.profile, value.profile if value.shape == out.shape else None)
    g = replace(g.scaled(math.sqrt(level)), profile=profile)
    seen = seen_from(g, out, x, value, context, lambda a, b: a * b, lambda _, b: b)
    share = _position_share(value)
    return reduced(replace(seen, rho_position=seen.rho_position * share), x, out, context)


def _position_share(x: Signal) -> float:
    """Correlation, means included, of a value between two positions."""
    return min(max(x.pair_position / x.mean_square, 0.0), 1.0) if x.mean_square > 0.0 else 0.0


def _through_factor(g: Gradient, factor: Factor, out: Signal) -> Gradient:
    moments = factors(factor, out.shape, out.axes)
    if moments.mean_square <= 0.0:
        return g.scaled(0.0)
    common = None if g.common is None else g.common * moments.mean
    scaled = g.scaled(math.sqrt(moments.mean_square))
    pair = min(max(moments.pair_position / moments.mean_square, -1.0), 1.0)
    return replace(scaled, common=common, rho_position=g.rho_position * pair)


def _factor_gradient(parameter: Parameter, other: Argument, out: Signal, g: Gradient) -> float | None:
    """Σ g x over the places that one element of a factor multiplies."""
    x = operand(other)
    if isinstance(x, float):
        square, position, sample = x * x, x * x, x * x
    elif isinstance(x, Factor):
        square = position = sample = x.mean_square
    elif isinstance(x, Signal):
        square, position, sample = x.mean_square, x.pair_position, x.pair_sample
    else:
        return None
    own = g.mean_square
    if own <= 0.0:
        return 0.0
    if isinstance(x, Signal) and x.source.index == out.source.index and x.shape == out.shape:
        return parameter_gradient(out, *g.moments_with(out, x.table), parameter.size)
    joint = own * square
    ratio_position, ratio_sample = g.pair_position(out) / own, g.pair_sample(out) / own
    return parameter_gradient(out, joint, ratio_position * own * position, ratio_sample * own * sample, parameter.size)


class QuotientAdjoint:
    """x / y as the product with the reciprocal."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of numerator and denominator."""
        del node
        out, g = outputs[0], gradients[0]
        if out is None or g is None:
            return (None, None)
        first, second = args[0], operand(args[1])
        if isinstance(second, float):
            return (reduced(g.scaled(1.0 / second), first, out, context) if isinstance(first, Signal) else None, None)
        if isinstance(second, Factor):
            if second.values is None or not np.all(second.values) or not isinstance(first, Signal):
                return (None, None)
            inverse = 1.0 / second.values
            factor = Factor(second.shape, float(inverse.mean()), float(np.mean(inverse**2)), inverse)
            return (reduced(_through_factor(g, factor, out), first, out, context), None)
        if not isinstance(second, Signal):
            return (None, None)
        value, slope = apply("reciprocal", second.table)
        reciprocal = second.map(value, slope)
        below = product_part(reciprocal, first, out, g, context)
        return (
            product_part(first, reciprocal, out, g, context),
            below.times(slope) if below is not None and not isinstance(below, float) else None,
        )


class ExtremeAdjoint:
    """The larger (smaller) of two values receives the gradient."""

    def __init__(self, op: Op) -> None:
        self.sign = 1.0 if op is Op.MAXIMUM else -1.0

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of both operands."""
        del node
        out, g = outputs[0], gradients[0]
        if out is None or g is None:
            return (None, None)
        return tuple(self._part(args[i], args[1 - i], out, g, context) for i in (0, 1))

    def _part(self, x: Argument, other: Argument, out: Signal, g: Gradient, context: BackwardContext) -> Sent:
        value = operand(other)
        if not isinstance(x, Signal):
            return None
        if isinstance(value, float):
            bound = {"minimum": value} if self.sign > 0.0 else {"maximum": value}
            return g.times(apply("clip", x.table, **bound)[1])
        if not isinstance(value, Signal):
            return None
        if value.source.index == x.source.index:
            return reduced(g.times((self.sign * x.table >= self.sign * value.table).astype(float)), x, out, context)
        seen = seen_from(
            g,
            out,
            x,
            value,
            context,
            lambda a, b: self.sign * np.maximum(self.sign * a, self.sign * b),
            lambda a, b: (self.sign * a >= self.sign * b).astype(float),
        )
        return reduced(seen, x, out, context)


class WhereAdjoint:
    """The chosen value receives the gradient."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of condition (none) and both choices."""
        del node
        out, g = outputs[0], gradients[0]
        condition = operand(args[0])
        if out is None or g is None or condition is None:
            return (None, None, None)
        parts: list[Sent] = [None]
        for side, x in enumerate(args[1:]):
            parts.append(_chosen(condition, x, out, g, context, first=side == 0))
        return tuple(parts)


def _chosen(
    condition: Signal | Factor | float, x: Argument, out: Signal, g: Gradient, context: BackwardContext, *, first: bool
) -> Sent:
    if not isinstance(x, Signal):
        return None
    if isinstance(condition, Signal):
        picked = (condition.table > 0.5) == first
        return reduced(g.times(picked.astype(float)), x, out, context)
    if isinstance(condition, float):
        return g if bool(condition) == first else None
    if x.logits is not None or condition.values is None:
        return g
    kept = np.asarray(condition.values) if first else 1.0 - np.asarray(condition.values)
    share = float(kept.mean())
    return reduced(_through_factor(g, Factor(condition.shape, share, share, kept), out), x, out, context)
