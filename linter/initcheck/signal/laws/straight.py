"""Straight-through estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.signal.law import moments_of
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.signal.law import Argument, Context

__all__ = ["StraightLaw", "answers_itself"]


class StraightLaw:
    """The moments of one value with the response of another: what a rounded number answers is what was rounded.

    Rows of a table stand for what they replace, and are taken as that: the entries of a code book are drawn to it by a
    loss of their own, however small they are at first.
    """

    def forward(
        self,
        node: Node,
        args: Sequence[Argument],
        context: Context,
    ) -> tuple[Signal | None, ...]:
        """The first operand, which answers as the second does."""
        value, through = args[0], args[1]
        if not isinstance(value, Signal) or not isinstance(through, Signal):
            return (None,)
        if answers_itself(node, value):
            return (value,)
        if value.source.index == through.source.index:
            return (value.fresh(slope=through.slope, stretch=through.stretch),)
        if node.attributes.get("looked_up"):
            return (through,)
        moments = replace(moments_of(value), perturbation=through.gain, pair_perturbation=through.pair_gain)
        noise = value.inherited_noise
        return (context.create(moments, through, shape=value.shape, axes=value.axes, noise=noise, parents=(value,)),)


def answers_itself(node: Node, value: Signal) -> bool:
    """Whether a change of the input reaches the value, where no detach says that it must not."""
    return not node.attributes.get("detached", False) and value.gain > 0.0
