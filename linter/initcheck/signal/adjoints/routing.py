"""Partial sums, selections and placements walked back: what routes tokens to experts."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from initcheck.signal.laws.cumulative import partial_sums
from initcheck.signal.profile import levelled, pair_share
from initcheck.signal.quadrature import NODES, Table, expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.signal.adjoint import BackwardContext, Sent
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument

__all__ = ["CumulateAdjoint", "ScatterAdjoint", "SilentAdjoint", "TopKAdjoint"]


class CumulateAdjoint:
    """g_s = Σ_{t ≥ s} g_t: the sums run the other way."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the terms."""
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        axis = int(node.attributes["axis"]) % len(x.shape)
        length = x.shape[axis]
        inner = np.ones(length)
        if g.profile is not None:
            others = tuple(i for i in range(len(x.shape)) if i != axis)
            inner = np.broadcast_to(g.profile.mean(axis=others), (length,))
        backwards = not node.attributes.get("reverse")
        ordered = inner[::-1] if backwards else inner
        if node.attributes.get("exclusive"):
            ordered = np.concatenate([[0.0], ordered[:-1]])
        rows, pair = partial_sums(g.mean_square, g.pair_position(y), ordered)
        square, along = levelled(rows)
        profile = None
        if along is not None:
            ordered = along[::-1] if backwards else along
            profile = ordered.reshape([length if i == axis else 1 for i in range(len(x.shape))])
        unequal = pair_share(profile, length) or 1.0
        rho = pair / unequal / square if square > 0.0 else 0.0
        back = context.fresh(square, rho_position=rho, rho_sample=g.rho_sample, profile=profile, assumed=g.assumed)
        return (back, *rest)


class TopKAdjoint:
    """What was picked receives the gradient, so that it goes to large values: P(fewer than k of the others above z)."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the values that were compared."""
        x, g = args[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or outputs[0] is None or g is None:
            return (None, *rest)
        axis = int(node.attributes.get("axis", -1)) % len(x.shape)
        picked = _picked(x.shape[axis], int(node.attributes["count"]))
        falls = expectation(x.table * NODES) < 0.0
        if falls == bool(node.attributes.get("largest", True)):
            picked = picked[::-1]
        back = context.fresh(0.0, rho_position=g.rho_position, rho_sample=g.rho_sample, assumed=g.assumed)
        return (replace(back, carriers={context.next_index(): np.sqrt(g.mean_square * picked)}), *rest)


@lru_cache(maxsize=64)
def _picked(count: int, kept: int) -> Table:
    """P(a value at z is among the ``kept`` largest of ``count`` independent standard normal ones) on the nodes."""
    above = np.array([0.5 * math.erfc(z / math.sqrt(2.0)) for z in NODES])
    others, fewest = count - 1, min(kept, count)
    logs = [math.lgamma(others + 1) - math.lgamma(k + 1) - math.lgamma(others - k + 1) for k in range(fewest)]
    low, high = np.log(np.maximum(above, 1e-300)), np.log(np.maximum(1.0 - above, 1e-300))
    share: Table = sum(
        (np.exp(log + k * low + (others - k) * high) for k, log in enumerate(logs)), start=np.zeros_like(above)
    )
    total = expectation(share)
    return share * (kept / count / total) if total > 0.0 else np.full_like(share, kept / count)


class ScatterAdjoint:
    """Every row receives the gradient of its place."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the rows."""
        del node
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        rho = g.pair_position(y) / g.mean_square if g.mean_square > 0.0 else 0.0
        return (context.fresh(g.mean_square, rho_position=rho, assumed=g.assumed), *rest)


class SilentAdjoint:
    """Nothing is sent: random numbers and integers do not depend on a weight."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """The gradient of a real value that is only cast, else none."""
        del node, outputs, context
        return tuple(gradients[0] if isinstance(x, Signal) else None for x in args)
