"""Elementwise functions and dropout: they change the table, not the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.functions import FUNCTIONS
from initcheck.signal.law import Argument, Context, moments_of
from initcheck.signal.laws.product import multiply
from initcheck.signal.marginal import shape_of
from initcheck.signal.operands import MASKED, Factor
from initcheck.signal.quadrature import hermite_powers, pair_moment
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.signal.source import Logits

__all__ = ["DropoutLaw", "ElementwiseLaw"]

_OFF = -1e38
_OSCILLATING = frozenset({"cos", "sin"})


class ElementwiseLaw:
    """f(x): the table under f; moments and pair moments follow from it (THEORY 2.2, elementwise), for any mean."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The same source with a new table; unknown for a function that is not in the vocabulary."""
        x = args[0]
        name = node.attributes["function"]
        if not isinstance(x, Signal) or name not in FUNCTIONS:
            return (None,)
        result = x.map(*x.under(name, node.attributes.get("arguments", {})))
        if name in _OSCILLATING:
            # Past a radian between two nodes the phase is as good as random, and its scale does not matter.
            near = np.abs(np.gradient(x.table)) < 1.0
            result = replace(result, stretch=np.where(near, result.stretch, 0.0))
        if x.logits is not None and x.logits.mask is not None and _limit(name, node) == 0.0:
            # What was switched off by minus infinity is zero from here on.
            mask = np.broadcast_to(x.logits.mask, x.shape[len(x.shape) - np.ndim(x.logits.mask) :])
            kept = (mask > MASKED).astype(np.float64)
            share = float(kept.mean())
            return (multiply(result, Factor(kept.shape, share, share, kept, one_sign=True), node, context),)
        if x.logits is not None and x.variance > 0.0:
            return (replace(result, logits=_bent(x, x.logits, result)),)
        return (result,)


def _limit(name: str, node: Node) -> float:
    """Value of a function at minus infinity, as far as a mask takes it."""
    value = FUNCTIONS[name].value(np.array([_OFF]), **node.attributes.get("arguments", {}))
    return float(value[0])


def _bent(x: Signal, logits: Logits, result: Signal) -> Logits:
    """Logits after a function of them (a soft cap): their spread over keys and their response."""
    apart = min(logits.variance / x.mean_square, 1.0) if x.mean_square > 0.0 else 1.0
    spread = result.mean_square - pair_moment(hermite_powers(result.table), 1.0 - apart)
    ratio = result.gain / x.gain if x.gain > 0.0 else 1.0
    return replace(logits, variance=max(spread, 0.0), perturbation=ratio * logits.perturbation)


class DropoutLaw:
    """Dropout in training: q/(1-p); mean and pair moments stay, since masks are independent (THEORY 2.2)."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The input itself in inference or at rate 0, else a new source with the same pair moments."""
        x = args[0]
        rate = float(node.attributes.get("rate", 0.0))
        if not isinstance(x, Signal):
            return (None,)
        if not node.attributes.get("training", True) or rate <= 0.0:
            return (x,)
        if x.mixing is not None or x.logits is not None:
            return (x,)
        if rate >= 1.0:
            return (x.scaled(0.0),)
        moments = moments_of(x)
        kept = 1.0 / (1.0 - rate)
        return (
            context.create(
                replace(moments, mean_square=kept * moments.mean_square, perturbation=kept * moments.perturbation),
                x,
                shape=x.shape,
                axes=x.axes,
                noise=x.noise,
                parents=(x,),
                uncertainty=x.uncertainty**2,
                marginal=shape_of(x),
                profile=x.profile,
            ),
        )
