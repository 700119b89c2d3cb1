"""Pooling, reductions, padding and resizing walked back."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node
from initcheck.signal.adjoint import BackwardContext, Sent, summed
from initcheck.signal.adjoints.convolution import scattered
from initcheck.signal.profile import of_spatial, part_of, spatial
from initcheck.signal.quadrature import COARSE_NODES, COARSE_WEIGHTS, NODES, WEIGHTS, Table, expectation
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument
    from initcheck.signal.profile import Profile

__all__ = ["AveragePoolAdjoint", "MaxPoolAdjoint", "PadAdjoint", "ReduceAdjoint", "ResizeAdjoint"]


class AveragePoolAdjoint:
    """A position receives 1/k from each of the m windows that it lies in: G_y m (1 + (m-1) ρ)/k²."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the image."""
        x, y, g = args[0], outputs[0], gradients[0]
        if not isinstance(x, Signal) or y is None or g is None:
            return (None,)
        taps = math.prod(node.attributes["kernel"])
        if y.shape[2:] == x.shape[2:] and taps == 1:
            return (g,)
        spread = scattered(node, x.shape[2:], y.shape[2:], spatial(g.profile, y.shape))
        profile = of_spatial(spread.profile)
        return (averaged_back(x, y, g, context, windows=spread.reach, taps=taps, profile=profile),)


def averaged_back(
    x: Signal,
    y: Signal,
    g: Gradient,
    context: BackwardContext,
    *,
    windows: float,
    taps: float,
    scale: float = 1.0,
    profile: Profile | None = None,
) -> Gradient:
    """Gradient of what was averaged.

    Args:
        x: The values.
        y: Their means.
        g: Gradient at the means.
        context: Numbers of new carriers.
        windows: Means that one value is part of, on average.
        taps: Values in one mean.
        scale: Factor on the mean.
        profile: Of the result.
    """
    square = g.mean_square
    rho = g.pair_position(y) / square if square > 0.0 else 0.0
    sample = g.pair_sample(y) / square if square > 0.0 else 0.0
    together = windows * (1.0 + max(windows - 1.0, 0.0) * rho)
    # Two positions share a window with probability (taps - 1)/(positions - 1), and that window's gradient with it.
    inside = min(max(taps - 1.0, 0.0) / max(x.positions - 1.0, 1.0), 1.0) if windows >= 1.0 else 0.0
    along = 0.0 if g.common is None else scale * windows * expectation(g.common) / taps
    return context.fresh(
        max(scale * scale * square * together / (taps * taps) - along * along, 0.0),
        rho_position=inside + (1.0 - inside) * rho,
        rho_sample=sample,
        common=np.full_like(WEIGHTS, along) if along else None,
        split=g.split * _shared(x),
        apart=g.apart,
        profile=profile,
        assumed=g.assumed,
    )


def _shared(x: Signal) -> float:
    """Squared cosine of a position and the mean over positions."""
    return min(max(x.pair_position / x.mean_square, 0.0), 1.0) if x.mean_square > 0.0 else 0.0


class MaxPoolAdjoint:
    """The largest of a window receives the gradient, so that it goes to large values: P(win | z) = E_u Φ(...)^(k-1)."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the image."""
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        count = math.prod(node.attributes["kernel"])
        spread = scattered(node, x.shape[2:], y.shape[2:], None)
        return (won(x, y, g, count, spread.reach, context), *rest)


def won(
    x: Signal, y: Signal, g: Gradient, count: int, windows: float, context: BackwardContext, *, over_units: bool = False
) -> Gradient:
    """Gradient of values of which the largest of ``count`` was handed on, each standing in ``windows`` windows."""
    # Nothing random is summed over: mean field on either path.
    received = summed(g, y, replace(context, typical=False))
    share = _win(0.0 if over_units else round(max(x.source.rho_position, 0.0), 3), count)
    if expectation(x.table * NODES) < 0.0:
        share = share[::-1]
    amplitude = np.sqrt(received.mean_square * windows * share)
    back = context.fresh(0.0, rho_position=received.rho_position / count, rho_sample=received.rho_sample)
    return replace(back, carriers={context.next_index(): amplitude}, assumed=g.assumed)


@lru_cache(maxsize=64)
def _win(rho: float, count: int) -> Table:
    """P(value at z is the largest of ``count``), z and the others with correlation ρ, on the nodes."""
    if count <= 1:
        return np.ones_like(NODES)
    rest = math.sqrt(max(1.0 - rho, 1e-6))
    # Given z, the common part u of the window is normal with mean sqrt(ρ) z and variance 1 - ρ.
    u = math.sqrt(rho) * NODES[:, None] + rest * COARSE_NODES[None, :]
    above = (NODES[:, None] - math.sqrt(rho) * u) / rest
    below = np.vectorize(lambda t: 0.5 * math.erfc(-t / math.sqrt(2.0)))(above)
    share: Table = below ** (count - 1) @ COARSE_WEIGHTS
    total = expectation(share)
    return share / (count * total) if total > 0.0 else np.full_like(NODES, 1.0 / count)


class ReduceAdjoint:
    """Means and sums spread their gradient over what they summed; extremes hand it to the winner."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the value before the reduction."""
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        where = [int(a) % len(x.shape) for a in node.attributes.get("axes", range(len(x.shape)))]
        count = math.prod(x.shape[i] for i in where)
        function = node.attributes["function"]
        kinds = {x.axes[i] for i in where}
        if function in {"max", "min"}:
            oriented = x if function == "max" else x.scaled(-1.0)
            return (won(oriented, y, g, count, 1.0, context, over_units=kinds == {Axis.FEATURE}), *rest)
        scale = float(count) if function == "sum" else 1.0
        if kinds == {Axis.FEATURE}:
            along = 0.0 if g.common is None else scale * expectation(g.common) / count
            back = context.fresh(
                max(scale * scale * g.mean_square / count**2 - along * along, 0.0),
                rho_position=g.rho_position,
                rho_sample=g.rho_sample,
                common=np.full_like(WEIGHTS, along) if along else None,
                assumed=g.assumed,
            )
            return (back, *rest)
        return (averaged_back(x, y, g, context, windows=1.0, taps=float(count), scale=scale), *rest)


class PadAdjoint:
    """What falls on the padding is lost."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the inner part."""
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        padding = node.attributes.get("padding", ())
        starts = [max(before, 0) for before, _ in padding] if len(padding) == len(x.shape) else [None] * len(x.shape)
        inner, profile = part_of(g.profile, starts, x.shape)
        repeats = math.prod(y.shape) / max(math.prod(x.shape), 1) if node.attributes.get("value") is None else 1.0
        del context
        return (replace(g.scaled(math.sqrt(inner * max(repeats, 1.0))), profile=profile), *rest)


class ResizeAdjoint:
    """Every value receives what its copies do; linear interpolation loses what it averages."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the value before resizing."""
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        if x.shape == y.shape:
            return (g, *rest)
        copies = math.prod(y.shape) / max(math.prod(x.shape), 1)
        square = g.mean_square
        rho = g.pair_position(y) / square if square > 0.0 else 0.0
        alone = 1.0
        if node.attributes.get("mode") != "nearest":
            alone = y.gain / x.gain if x.gain > 0.0 else 1.0
        power = square * copies * alone * (1.0 + max(copies - 1.0, 0.0) * rho)
        back = context.fresh(power, rho_position=rho, rho_sample=g.rho_sample, assumed=g.assumed)
        return (back, *rest)
