"""Operations that move values about: the moments stay, the axes move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Constant, Node, Op, Parameter
from initcheck.signal.axes import reshape_axes
from initcheck.signal.fluctuation import combined
from initcheck.signal.joined_fluctuation import coherence_of
from initcheck.signal.law import Argument, Context, Moments
from initcheck.signal.marginal import Marginal, mixture_marginal, shape_of
from initcheck.signal.operands import Factor, aligned, factor_profile, factors, join, operand
from initcheck.signal.profile import joint, levelled, padded, pair_share, part_of, permuted, reshaped, restricted
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from initcheck.signal.profile import Profile

__all__ = [
    "ConcatLaw",
    "ExpandLaw",
    "IdentityLaw",
    "ReshapeLaw",
    "SliceLaw",
    "SplitLaw",
    "TransposeLaw",
    "moved_constant",
]

_LARGEST_CONSTANT = 1 << 22


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
        profile = restricted(reshaped(x.profile, x.shape, shape), axes)
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
        return (
            replace(
                x,
                shape=tuple(x.shape[i] for i in permutation),
                axes=tuple(x.axes[i] for i in permutation),
                profile=permuted(x.profile, permutation),
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
            root = context.root(moments.mean_square)
            profile = factor_profile(value, shape, axes)
            return (context.create(moments, root, shape=shape, axes=axes, profile=profile),)
        if not isinstance(x, Signal) or shape is None or len(shape) < len(x.shape):
            return (None,)
        missing = len(shape) - len(x.shape)
        axes = (Axis.BATCH,) * min(missing, 1) + (Axis.POSITION,) * (missing - min(missing, 1)) + x.axes
        if math.prod(shape) == math.prod(x.shape):
            return (replace(x, shape=shape, axes=axes, profile=padded(x.profile, len(shape))),)
        return (
            context.create(
                aligned(x, shape, axes),
                x,
                shape=shape,
                axes=axes,
                noise=x.noise,
                coherence=x.own_coherence,
                alignment=x.own_alignment,
                parents=(x,),
                realized=True,
                uncertainty=x.uncertainty**2,
                marginal=shape_of(x),
                profile=_repeated(x, shape),
            ),
        )


def _repeated(x: Signal, shape: tuple[int, ...]) -> Profile | None:
    """Profile of a broadcast; a tiled axis that it varies over is not followed."""
    profile = padded(x.profile, len(shape))
    fits = profile is None or all(m in {1, n} for m, n in zip(profile.shape, shape, strict=True))
    return profile if fits else None


def renewed(
    x: Signal,
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    context: Context,
    starts: Sequence[int | None] = (),
    dropped: Iterable[int] = (),
) -> Signal:
    """Part of a value over a source of its own, since other units are independent, as long as its positions are.

    Args:
        x: The whole.
        shape: Of the part.
        axes: Of the part.
        context: For the index of the source.
        starts: First index per axis of the whole, None or absent where it is not known.
        dropped: Axes of the whole that the part does not have.
    """
    gone = set(dropped)
    sizes = iter(shape)
    taken = [1 if axis in gone else next(sizes) for axis in range(len(x.shape))]
    level, profile = part_of(x.profile, starts or (None,) * len(x.shape), taken, gone)
    part = x if level == 1.0 else x.scaled(math.sqrt(level))
    source = replace(part.source, index=context.next_index(), own_noise={}, own_drift=0.0)
    return part.fresh(source=source, shape=shape, axes=axes, profile=profile)


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
        known = node.attributes.get("starts") or ()
        where = {int(a) % len(x.shape): int(s) for a, s in zip(node.attributes.get("axes", ()), known, strict=False)}
        starts = [None if (s := where.get(i)) is None else _from_front(s, n) for i, n in enumerate(x.shape)]
        return (renewed(x, shape, axes, context, starts, dropped),)


def _from_front(start: int, size: int) -> int:
    return max(start + size, 0) if start < 0 else start


class SplitLaw:
    """Parts of a value along one axis."""

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """Same moments, a new source per part."""
        x = args[0]
        if not isinstance(x, Signal):
            return (None,) * len(node.outputs)
        axis = int(node.attributes.get("axis", 0)) % max(len(x.shape), 1)
        parts: list[Signal | None] = []
        start: int | None = 0
        for index in range(len(node.outputs)):
            shape = context.shape(node, index)
            if shape is None or len(shape) != len(x.shape):
                parts.append(None)
                start = None
                continue
            starts = [start if i == axis else 0 for i in range(len(shape))]
            parts.append(renewed(x, shape, x.axes, context, starts))
            start = None if start is None else start + shape[axis]
        return tuple(parts)


def moved_constant(node: Node, constant: Constant, shape: tuple[int, ...] | None) -> Constant | None:
    """A constant (token types, positions) after an operation that only moves it; None where it cannot be followed."""
    array = constant.array
    if shape is None or math.prod(shape) > _LARGEST_CONSTANT:
        return None
    if node.op in {Op.IDENTITY, Op.RESHAPE} and array.size == math.prod(shape):
        return Constant(array.reshape(shape))
    if node.op is Op.TRANSPOSE:
        return Constant(array.transpose(node.attributes["permutation"]))
    if node.op not in {Op.EXPAND, Op.SLICE} or array.size == 0:
        return None
    if bool(np.all(array == array.flat[0])):
        return Constant(np.full(shape, array.flat[0], dtype=array.dtype))
    fits = node.op is Op.EXPAND and all(m in {1, n} for m, n in zip(array.shape[::-1], shape[::-1], strict=False))
    return Constant(np.broadcast_to(array, shape)) if fits and array.ndim <= len(shape) else None


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
        moments, profile = _mixed(parts, axis, shape, axes)
        whole = moments.mean_square
        known = [(p.share, p.moments, p.signal) for p in parts if p.signal is not None] if whole > 0.0 else []
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
            profile=profile,
        )
        first, *others = signals
        joined = result
        for other in others:
            joined = join(joined, first, other, node.name, context)
            first = replace(first, segment=joined.segment, reference=joined.reference)
        return (joined,)


@dataclass(frozen=True, slots=True)
class _Part:
    """An operand of a concatenation.

    Attributes:
        size: Entries along the axis.
        share: Their share of the result's.
        moments: Moments, read with the axes of the result.
        signal: The signal, None for what does not depend on the input.
        profile: Its profile.
    """

    size: int
    share: float
    moments: Moments
    signal: Signal | None
    profile: Profile | None


def _parts(args: Sequence[Argument], axis: int, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> list[_Part] | None:
    """Every operand; None when one of them is not known."""
    parts: list[_Part] = []
    for arg in args:
        value = operand(arg)
        if isinstance(value, Signal):
            size = value.shape[axis]
            parts.append(_Part(size, size / shape[axis], aligned(value, value.shape, axes), value, value.profile))
        elif arg is not None and value is not None and len(arg.shape) == len(shape):
            size = arg.shape[axis]
            factor = value if isinstance(value, Factor) else Factor((), value, value * value, None)
            profile = factor_profile(factor, arg.shape, axes)
            parts.append(_Part(size, size / shape[axis], factors(factor, arg.shape, axes), None, profile))
        else:
            return None
    return parts


def _mixed(
    parts: list[_Part], axis: int, shape: tuple[int, ...], axes: tuple[Axis, ...]
) -> tuple[Moments, Profile | None]:
    """Moments and profile of the whole.

    Features side by side share their positions. Positions side by side keep their own lengths, and pairs across parts
    are products of means.
    """
    square, mean, sample, response = (
        sum(part.share * getattr(part.moments, name) for part in parts)
        for name in ("mean_square", "mean", "pair_sample", "perturbation")
    )
    count = math.prod(n for n, kind in zip(shape, axes, strict=True) if kind is Axis.POSITION)
    if axes[axis] is Axis.POSITION:
        profile = _side_by_side(parts, axis, shape)
        others = max(count - 1.0, 1.0)
        chances = [[a.share * (count * b.share - (a is b)) / others for b in parts] for a in parts]
    else:
        profile = joint((part.share * part.moments.mean_square, part.profile) for part in parts)
        chances = [[part.share if other is part else 0.0 for other in parts] for part in parts]
    pair = pair_response = 0.0
    for i, part in enumerate(parts):
        own = chances[i][i] * pair_share(part.profile, round(count * part.size / shape[axis]))
        pair += own * part.moments.pair_position
        pair_response += own * part.moments.pair_perturbation
        pair += sum(chances[i][j] * part.moments.mean * other.moments.mean for j, other in enumerate(parts) if j != i)
    unequal = pair_share(profile, count) or 1.0
    return Moments(square, mean, pair / unequal, sample, response, pair_response / unequal), profile


def _side_by_side(parts: list[_Part], axis: int, shape: tuple[int, ...]) -> Profile | None:
    pieces = []
    for part in parts:
        piece = np.ones((1,) * len(shape)) if part.profile is None else part.profile
        wanted = tuple(part.size if i == axis else n for i, n in enumerate(piece.shape))
        pieces.append(part.moments.mean_square * np.broadcast_to(piece, wanted))
    layout = tuple(1 if i == axis else max(piece.shape[i] for piece in pieces) for i in range(len(shape)))
    full = [np.broadcast_to(p, tuple(p.shape[i] if i == axis else n for i, n in enumerate(layout))) for p in pieces]
    return levelled(np.concatenate(full, axis=axis))[1]


def _marginal(parts: list[_Part]) -> Marginal | None:
    signals = [(part.share, part.signal) for part in parts if part.signal is not None]
    if len(signals) != len(parts) or all(s.is_gaussian for _, s in signals):
        return None
    return mixture_marginal([s for _, s in signals], [w for w, _ in signals])
