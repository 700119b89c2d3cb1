"""Sums over all positions up to each one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.marginal import one_signed_marginal
from initcheck.signal.profile import levelled, pair_share
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CumulateLaw", "partial_sums"]

_LARGEST_LENGTH = 4096


class CumulateLaw:
    """y_t = Σ_{s ≤ t} x_s along an axis of positions (THEORY 2.2, cumulative sum).

    q_t = Σ_s π_s q + p_s ((Σ_s sqrt π_s)² - Σ_s π_s): t q + t (t - 1) p_s where all positions are alike. Positions
    t < t' share the first t terms. An exclusive sum lacks the term of its own position.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New source with the profile of its growth; unknown along other axes."""
        x = args[0]
        if not isinstance(x, Signal) or not x.shape:
            return (None,)
        axis = int(node.attributes["axis"]) % len(x.shape)
        length = x.shape[axis]
        if x.axes[axis] is not Axis.POSITION or not 0 < length <= _LARGEST_LENGTH:
            return (None,)
        inner = np.ones(length)
        if x.profile is not None:
            others = tuple(i for i in range(len(x.shape)) if i != axis)
            inner = np.broadcast_to(x.profile.mean(axis=others), (length,))
        if node.attributes.get("reverse"):
            inner = inner[::-1]
        # Means go as root mean squares do: what padding left at zero adds nothing to either.
        level = length / max(float(np.sqrt(inner).sum()), 1e-300)
        if node.attributes.get("exclusive"):
            inner = np.concatenate([[0.0], inner[:-1]])
        moments = moments_of(x)
        rows, pair = partial_sums(moments.mean_square, moments.pair_position, inner)
        changes, pair_change = partial_sums(moments.perturbation, moments.pair_perturbation, inner)
        square, along = levelled(rows)
        profile = None
        if along is not None:
            ordered = along[::-1] if node.attributes.get("reverse") else along
            profile = ordered.reshape([length if i == axis else 1 for i in range(len(x.shape))])
        unequal = pair_share(profile, length) or 1.0
        mean = moments.mean * level * float(np.cumsum(np.sqrt(inner)).mean())
        growth = square / moments.mean_square if moments.mean_square > 0.0 else 1.0
        return (
            context.create(
                Moments(
                    square,
                    mean,
                    pair / unequal,
                    moments.pair_sample * growth,
                    float(changes.mean()),
                    pair_change / unequal,
                ),
                x,
                shape=x.shape,
                axes=x.axes,
                noise=x.noise,
                parents=(x,),
                uncertainty=x.uncertainty**2,
                marginal=one_signed_marginal(x, mean, square),
                profile=profile,
            ),
        )


def partial_sums(square: float, pair: float, profile: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean square of every partial sum, and the mean product of two different ones."""
    alone, roots = np.cumsum(profile), np.cumsum(np.sqrt(profile))
    rows = np.maximum(square * alone + pair * (roots * roots - alone), 0.0)
    if len(profile) < 2:
        return rows, float(rows.mean())
    first = np.minimum.outer(np.arange(len(profile)), np.arange(len(profile)))
    products = square * alone[first] + pair * (np.outer(roots, roots) - alone[first])
    apart = ~np.eye(len(profile), dtype=bool)
    return rows, float(products[apart].mean())
