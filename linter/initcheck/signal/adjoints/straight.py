"""Straight-through estimators walked back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.signal.laws.straight import answers_itself
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.signal.adjoint import BackwardContext, Sent
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument

__all__ = ["StraightAdjoint"]


class StraightAdjoint:
    """The gradient goes to the second operand as it is, to the first one where that answers itself."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of both."""
        value, through = args[0], args[1]
        y, g = outputs[0], gradients[0]
        if not isinstance(value, Signal) or not isinstance(through, Signal) or y is None or g is None:
            return (None, None)
        if answers_itself(node, value):
            return (g, None)
        if y.source.index == through.source.index:
            return (None, g)
        square = g.mean_square
        position, sample = (g.pair_position(y) / square, g.pair_sample(y) / square) if square > 0.0 else (0.0, 0.0)
        back = context.fresh(square, rho_position=position, rho_sample=sample, profile=g.profile, assumed=g.assumed)
        return (None, back)
