"""Operations that move values about: the moments stay, the axes move."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import Axis, Node, Parameter
from initcheck.signal.axes import reshape_axes
from initcheck.signal.fluctuation import coherence_of, combined
from initcheck.signal.law import Argument, Context, Moments
from initcheck.signal.marginal import Marginal, mixture_marginal, shape_of
from initcheck.signal.operands import Factor, aligned, factors, join, operand
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["ConcatLaw", "ExpandLaw", "IdentityLaw", "ReshapeLaw", "SliceLaw", "SplitLaw", "TransposeLaw"]


class IdentityLaw:
    """The input itself."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Same signal."""
        del node, context
        return (args[0] if isinstance(args[0], Signal) else None,)


class ReshapeLaw:
    """Same values, other axes; features that were positions keep their finite-width noise."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Same source."""
        x, shape = args[0], context.shape(node)
        if not isinstance(x, Signal) or shape is None or math.prod(shape) != math.prod(x.shape):
            return (None,)
        axes = reshape_axes(x.shape, x.axes, shape)
        profile = x.profile if x.profile is not None and shape[2:] == x.profile.shape else None
        return (replace(x, shape=shape, axes=axes, profile=profile),)


class TransposeLaw:
    """Axes in another order."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Same source."""
        del context
        x = args[0]
        permutation = node.attributes["permutation"]
        if not isinstance(x, Signal) or len(permutation) != len(x.shape):
            return (None,)
        keeps_profile = tuple(permutation)[2:] == tuple(range(2, len(x.shape)))
        return (
            replace(
                x,
                shape=tuple(x.shape[i] for i in permutation),
                axes=tuple(x.axes[i] for i in permutation),
                profile=x.profile if keeps_profile else None,
            ),
        )


class ExpandLaw:
    """Broadcast or tiling: repeated positions are equal, repeated samples too."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Same moments with the pairs of the broadcast; a parameter (class token) becomes a value."""
        x, shape = args[0], context.shape(node)
        if isinstance(x, Parameter):
            value = operand(x)
            if shape is None or value is None or isinstance(value, Signal):
                return (None,)
            if isinstance(value, float):
                value = Factor((), value, value * value, None)
            rank = len(shape)
            axes = (Axis.BATCH, *(Axis.POSITION,) * (rank - 2), Axis.FEATURE)[-rank:] if rank else ()
            moments = factors(value, shape, axes)
            return (context.create(moments, context.root(moments.mean_square), shape=shape, axes=axes),)
        if not isinstance(x, Signal) or shape is None or len(shape) < len(x.shape):
            return (None,)
        missing = len(shape) - len(x.shape)
        axes = (Axis.BATCH,) * min(missing, 1) + (Axis.POSITION,) * (missing - min(missing, 1)) + x.axes
        if math.prod(shape) == math.prod(x.shape):
            return (replace(x, shape=shape, axes=axes),)
        return (
            context.create(
                aligned(x, shape, axes),
                x,
                shape=shape,
                axes=axes,
                noise=x.noise(),
                coherence=x.own_coherence,
                alignment=x.own_alignment,
                parents=(x,),
                realized=True,
                uncertainty=x.uncertainty**2,
                marginal=shape_of(x),
            ),
        )


def renewed(x: Signal, shape: tuple[int, ...], axes: tuple[Axis, ...], context: Context) -> Signal:
    """Part of a value: the same moments over a source of its own, since other units are independent."""
    source = replace(x.source, index=context.next_index(), own_noise={}, own_drift=0.0)
    profile = x.profile if shape[2:] == x.shape[2:] else None
    return replace(x, source=source, shape=shape, axes=axes, profile=profile).fresh()


class SliceLaw:
    """Part of a value along some axes; axes picked by one index are dropped."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Same moments, new source."""
        x, shape = args[0], context.shape(node)
        if not isinstance(x, Signal) or shape is None:
            return (None,)
        dropped = {int(a) % len(x.shape) for a in node.attributes.get("dropped", ())}
        axes = tuple(a for i, a in enumerate(x.axes) if i not in dropped)
        if len(axes) != len(shape):
            return (None,)
        if shape == x.shape:
            return (x,)
        return (renewed(x, shape, axes, context),)


class SplitLaw:
    """Parts of a value along one axis."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Same moments, a new source per part."""
        x = args[0]
        if not isinstance(x, Signal):
            return (None,) * len(node.outputs)
        shapes = [context.shape(node, i) for i in range(len(node.outputs))]
        return tuple(None if shape is None else renewed(x, shape, x.axes, context) for shape in shapes)


class ConcatLaw:
    """Values side by side: moments averaged by size; pairs across parts along positions are products of means."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """New source whose distribution is the mixture of the parts'."""
        shape = context.shape(node)
        signals = [arg for arg in args if isinstance(arg, Signal)]
        if shape is None or not signals:
            return (None,)
        axis = int(node.attributes["axis"]) % len(shape)
        largest = max(signals, key=lambda s: math.prod(s.shape))
        if len(largest.shape) != len(shape):
            return (None,)
        axes = largest.axes
        parts = _parts(args, axis, shape, axes)
        if parts is None:
            return (None,)
        moments = _mixed([(w, m) for w, m, _ in parts], along_positions=axes[axis] is Axis.POSITION)
        whole = moments.mean_square
        known = [(w, m, s) for w, m, s in parts if s is not None] if whole > 0.0 else []
        shares = [w * m.mean_square / whole for w, m, _ in known]
        noise = combined(*((1.0, s.diluted_noise(share)) for share, (_, _, s) in zip(shares, known, strict=True)))
        mean = combined(*((w * math.sqrt(m.mean_square), s.mean_noise()) for w, m, s in known))
        uncertainty = sum((share * s.uncertainty) ** 2 for share, (_, _, s) in zip(shares, known, strict=True))
        result = context.create(
            moments,
            largest,
            shape=shape,
            axes=axes,
            noise=noise,
            parents=[s for _, _, s in known],
            weights=shares,
            coherence=coherence_of(noise, mean, moments.mean, whole) if whole > 0.0 else {},
            realized=True,
            uncertainty=uncertainty,
            marginal=_marginal(parts),
            profile=largest.profile if axes[axis] is Axis.FEATURE else None,
        )
        first, *others = signals
        joined = result
        for other in others:
            joined = join(joined, first, other, node.name, context)
            first = replace(first, segment=joined.segment, reference=joined.reference)
        return (joined,)


_Part = tuple[float, Moments, Signal | None]


def _parts(args: Sequence[Argument], axis: int, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> list[_Part] | None:
    """Share of the axis, moments and signal of every operand; None when one of them is not known."""
    parts: list[_Part] = []
    for arg in args:
        value = operand(arg)
        if isinstance(value, Signal):
            parts.append((value.shape[axis] / shape[axis], aligned(value, value.shape, axes), value))
        elif arg is not None and value is not None and len(arg.shape) == len(shape):
            factor = value if isinstance(value, Factor) else Factor((), value, value * value, None)
            parts.append((arg.shape[axis] / shape[axis], factors(factor, shape, axes), None))
        else:
            return None
    return parts


def _mixed(parts: list[tuple[float, Moments]], *, along_positions: bool) -> Moments:
    mean = sum(w * m.mean for w, m in parts)
    if along_positions and len(parts) > 1:
        pair = sum(w * w * m.pair_position for w, m in parts)
        pair += sum(
            2.0 * parts[i][0] * parts[j][0] * parts[i][1].mean * parts[j][1].mean
            for i in range(len(parts))
            for j in range(i)
        )
    else:
        pair = sum(w * m.pair_position for w, m in parts)
    return Moments(
        sum(w * m.mean_square for w, m in parts),
        mean,
        pair,
        sum(w * m.pair_sample for w, m in parts),
        sum(w * m.perturbation for w, m in parts),
    )


def _marginal(parts: list[_Part]) -> Marginal | None:
    signals = [(w, s) for w, _, s in parts if s is not None]
    if len(signals) != len(parts) or all(s.is_gaussian for _, s in signals):
        return None
    return mixture_marginal([s for _, s in signals], [w for w, _ in signals])
