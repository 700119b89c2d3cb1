"""Operations that move values about, walked back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node, Parameter
from initcheck.signal.adjoints.conditional import parameter_gradient, reduced
from initcheck.signal.profile import levelled, part_of, permuted, reshaped, restricted
from initcheck.signal.quadrature import NODES, WEIGHTS
from initcheck.signal.record import replace
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.signal.adjoint import BackwardContext, Sent
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument
    from initcheck.signal.profile import Profile
    from initcheck.signal.quadrature import Table

__all__ = [
    "ConcatAdjoint",
    "ExpandAdjoint",
    "IdentityAdjoint",
    "OpaqueAdjoint",
    "ReshapeAdjoint",
    "SliceAdjoint",
    "SplitAdjoint",
    "TransposeAdjoint",
]


class IdentityAdjoint:
    """The gradient itself."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Same gradient."""
        del node, outputs, context
        return (gradients[0] if isinstance(args[0], Signal) else None, *(None,) * (len(args) - 1))


class ReshapeAdjoint:
    """Same gradient, other axes: what were features of one vector shares nothing between positions."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Same carriers."""
        del node, context
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        profile = restricted(reshaped(g.profile, y.shape, x.shape), x.axes)
        # Positions that the result counts among its features have independent numbers.
        rho = g.rho_position if x.positions <= y.positions else 0.0
        return (replace(g, profile=profile, rho_position=rho), *rest)


class TransposeAdjoint:
    """Axes in the order they had."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Same carriers."""
        del context
        x, y, g = args[0], outputs[0], gradients[0]
        if not isinstance(x, Signal) or y is None or g is None:
            return (None,) * len(args)
        back = np.argsort(node.attributes["permutation"])
        return (replace(g, profile=permuted(g.profile, [int(i) for i in back])),)


class ExpandAdjoint:
    """The sum over the copies."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the value or parameter that was repeated."""
        del node
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if y is None or g is None:
            return (None, *rest)
        if isinstance(x, Parameter):
            return (parameter_gradient(y, g.mean_square, g.pair_position(y), g.pair_sample(y), x.size), *rest)
        if not isinstance(x, Signal):
            return (None, *rest)
        if math.prod(x.shape) == math.prod(y.shape):
            return (g, *rest)
        if len(x.shape) == len(y.shape) and any(n not in {1, m} for n, m in zip(x.shape, y.shape, strict=True)):
            # Tiled: copies lie behind one another along an axis that is not one.
            copies = math.prod(y.shape) / math.prod(x.shape)
            return (replace(g.scaled(math.sqrt(copies)), profile=None), *rest)
        return (reduced(g, x, y, context), *rest)


class SliceAdjoint:
    """Zero outside the part that was taken."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the whole."""
        x, y, g = args[0], outputs[0], gradients[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal) or y is None or g is None:
            return (None, *rest)
        if x.shape == y.shape:
            return (g, *rest)
        share = math.prod(y.shape) / max(math.prod(x.shape), 1)
        cut = {a for a in _cut_axes(node, x, y) if x.axes[a] is Axis.POSITION}
        part = _renamed(g.scaled(math.sqrt(share)), context)
        if cut:
            # Two positions of the whole both belong to the part with probability about share squared.
            part = replace(part, rho_position=g.rho_position * share)
        return (replace(part, profile=_whole(node, x, y, g)), *rest)


class SplitAdjoint:
    """The parts' gradients side by side."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the whole: mean squares weighted by size."""
        x = args[0]
        rest: tuple[Sent, ...] = (None,) * (len(args) - 1)
        if not isinstance(x, Signal):
            return (None, *rest)
        axis = int(node.attributes["axis"]) % len(x.shape)
        total, weighted, position, sample = np.zeros_like(WEIGHTS), 0.0, 0.0, 0.0
        found = False
        for y, g in zip(outputs, gradients, strict=False):
            if y is None or g is None:
                continue
            found = True
            share = y.shape[axis] / max(x.shape[axis], 1)
            total = total + share * g.power
            weighted += share * g.mean_square
            position += share * g.mean_square * g.rho_position
            sample += share * g.mean_square * g.rho_sample
        if not found:
            return (None, *rest)
        whole = context.fresh(
            0.0,
            rho_position=position / weighted if weighted > 0.0 else 0.0,
            rho_sample=sample / weighted if weighted > 0.0 else 0.0,
            assumed=any(g.assumed for g in gradients if g is not None),
        )
        return (replace(whole, carriers={context.next_index(): np.sqrt(total)}), *rest)


class ConcatAdjoint:
    """Every part receives its stretch."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of the parts, read at their own values."""
        y, g = outputs[0], gradients[0]
        if y is None or g is None:
            return (None,) * len(args)
        sent: list[Sent] = []
        axis, start = int(node.attributes["axis"]) % len(y.shape), 0
        order = np.argsort(y.table, kind="stable")
        for x in args:
            if isinstance(x, Parameter):
                places = max(math.prod(y.shape[: -len(x.shape)]), 1) if len(x.shape) < len(y.shape) else 1
                sent.append(places * g.mean_square)
            elif isinstance(x, Signal):
                z = np.interp(x.table, y.table[order], NODES[order])
                part = g if x.source.index == y.source.index else _read_at(g, z)
                level, profile = part_of(g.profile, [start if i == axis else 0 for i in range(len(x.shape))], x.shape)
                sent.append(replace(_renamed(part, context).scaled(math.sqrt(level)), profile=profile))
            else:
                sent.append(None)
            start += 0 if x is None else x.shape[axis]
        return tuple(sent)


class OpaqueAdjoint:
    """The input that was passed on as assumed receives the gradient, as assumed."""

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradient of the first input of the output's shape."""
        del node, context
        sent: list[Sent] = [None] * len(args)
        for y, g in zip(outputs, gradients, strict=False):
            if y is None or g is None:
                continue
            for index, x in enumerate(args):
                if isinstance(x, Signal) and x.shape == y.shape:
                    sent[index] = replace(g, assumed=True)
                    break
        return tuple(sent)


def _read_at(g: Gradient, z: Table) -> Gradient:
    return g.map(lambda h: np.interp(z, NODES, h))


def _renamed(g: Gradient, context: BackwardContext) -> Gradient:
    """The same amplitudes with carriers of their own: units of different parts have different numbers."""
    return replace(g, carriers={context.next_index(): h for h in g.carriers.values()})


def _cut_axes(node: Node, x: Signal, y: Signal) -> set[int]:
    named = node.attributes.get("axes")
    if named is not None:
        return {int(a) % len(x.shape) for a in named}
    if len(x.shape) != len(y.shape):
        return set(range(len(x.shape)))
    return {i for i, (n, m) in enumerate(zip(x.shape, y.shape, strict=True)) if n != m}


def _whole(node: Node, x: Signal, y: Signal, g: Gradient) -> Profile | None:
    """Profile of a gradient that is zero outside the part that was taken, where it is known which part that is."""
    axes, starts = node.attributes.get("axes"), node.attributes.get("starts")
    dropped = {int(a) % len(x.shape) for a in node.attributes.get("dropped", ())}
    kept = [i for i in range(len(x.shape)) if i not in dropped]
    if axes is None or len(kept) != len(y.shape):
        return None
    own = np.ones((1,) * len(x.shape)) if g.profile is None else g.profile.reshape(_with(g.profile.shape, kept, x))
    first = {int(a) % len(x.shape): s for a, s in zip(axes, starts or (), strict=False)}
    for axis in (i for i, kind in enumerate(x.axes) if kind is Axis.POSITION):
        length = 1 if axis in dropped else y.shape[kept.index(axis)]
        if length == x.shape[axis]:
            continue
        start = first.get(axis)
        if start is None:
            return None
        start = start + x.shape[axis] if start < 0 else start
        own = np.pad(
            np.broadcast_to(own, tuple(length if i == axis else n for i, n in enumerate(own.shape))),
            [(start, x.shape[axis] - start - length) if i == axis else (0, 0) for i in range(own.ndim)],
        )
    return levelled(own)[1]


def _with(shape: tuple[int, ...], kept: Sequence[int], x: Signal) -> tuple[int, ...]:
    """Shape of a profile with axes of size one where the part has none."""
    sizes = dict(zip(kept, shape, strict=True))
    return tuple(sizes.get(i, 1) for i in range(len(x.shape)))
