"""Operations that move values about, walked back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Node, Parameter
from initcheck.signal.adjoints.conditional import parameter_gradient, reduced
from initcheck.signal.quadrature import NODES, WEIGHTS
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from initcheck.signal.adjoint import BackwardContext, Sent
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument
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
        spatial = _positions(x)
        profile = g.profile if g.profile is not None and g.profile.shape == spatial else None
        if profile is None and g.profile is not None and g.profile.size == math.prod(spatial):
            profile = g.profile.reshape(spatial)
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
        permutation = node.attributes["permutation"]
        order = [i for i in permutation if x.axes[i] is Axis.POSITION]
        profile = g.profile
        if profile is not None and profile.ndim == len(order):
            profile = profile.transpose(np.argsort(order))
        return (replace(g, profile=profile),)


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
            part = replace(part, rho_position=g.rho_position * share, profile=_outside(node, x, y, g))
        return (part, *rest)


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
            total = total + share * g.power()
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
        del node
        y, g = outputs[0], gradients[0]
        if y is None or g is None:
            return (None,) * len(args)
        sent: list[Sent] = []
        order = np.argsort(y.table, kind="stable")
        for x in args:
            if isinstance(x, Parameter):
                places = max(math.prod(y.shape[: -len(x.shape)]), 1) if len(x.shape) < len(y.shape) else 1
                sent.append(places * g.mean_square)
            elif isinstance(x, Signal):
                z = np.interp(x.table, y.table[order], NODES[order])
                part = g if x.source.index == y.source.index else _read_at(g, z)
                same = _positions(x) == _positions(y)
                sent.append(replace(_renamed(part, context), profile=g.profile if same else None))
            else:
                sent.append(None)
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


def _positions(x: Signal) -> tuple[int, ...]:
    return tuple(n for n, axis in zip(x.shape, x.axes, strict=True) if axis is Axis.POSITION)


def _cut_axes(node: Node, x: Signal, y: Signal) -> set[int]:
    named = node.attributes.get("axes")
    if named is not None:
        return {int(a) % len(x.shape) for a in named}
    if len(x.shape) != len(y.shape):
        return set(range(len(x.shape)))
    return {i for i, (n, m) in enumerate(zip(x.shape, y.shape, strict=True)) if n != m}


def _outside(node: Node, x: Signal, y: Signal, g: Gradient) -> NDArray[np.float64] | None:
    """Profile of a gradient that is zero outside one stretch of positions, where the stretch is known."""
    starts, axes = node.attributes.get("starts"), node.attributes.get("axes")
    if starts is None or axes is None or g.profile is not None:
        return None
    dropped = {int(a) % len(x.shape) for a in node.attributes.get("dropped", ())}
    kept = [i for i in range(len(x.shape)) if i not in dropped]
    if len(kept) != len(y.shape):
        return None
    length = dict.fromkeys(dropped, 1) | dict(zip(kept, y.shape, strict=True))
    where = [i for i, axis in enumerate(x.axes) if axis is Axis.POSITION]
    start = {int(a) % len(x.shape): s for a, s in zip(axes, starts, strict=False)}
    if any(s is None for s in start.values()):
        return None
    profile = np.zeros([x.shape[i] for i in where])
    window = []
    for i in where:
        first = int(start.get(i, 0))
        first = first + x.shape[i] if first < 0 else first
        window.append(slice(first, first + length[i]))
    profile[tuple(window)] = 1.0
    mean = float(profile.mean())
    return profile / mean if mean > 0.0 else None
