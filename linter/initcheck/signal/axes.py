"""What the axes of a value run over, told by the operations that contract them, not by names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initcheck.graph import Axis, Graph, Node, Op

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["channel_axes", "input_axes", "reshape_axes", "token_axes"]


def token_axes(rank: int) -> tuple[Axis, ...]:
    """Axes of a value whose last axis is the feature axis: (batch, positions..., feature)."""
    if rank <= 1:
        return (Axis.FEATURE,) * rank
    return (Axis.BATCH, *(Axis.POSITION,) * (rank - 2), Axis.FEATURE)


def channel_axes(rank: int) -> tuple[Axis, ...]:
    """Axes of an image-like value: (batch, feature, positions...)."""
    if rank <= 1:
        return (Axis.FEATURE,) * rank
    return (Axis.BATCH, Axis.FEATURE, *(Axis.POSITION,) * (rank - 2))


def factor_groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Groups of axes of two shapes with equal products: which axes of a reshape become which.

    Args:
        before: Shape of the input.
        after: Shape of the output, same number of elements.
    """
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = [], []
        size_left = size_right = 1
        if i < len(before):
            left.append(i)
            size_left = before[i]
            i += 1
        if j < len(after):
            right.append(j)
            size_right = after[j]
            j += 1
        while size_left != size_right:
            if size_left < size_right and i < len(before):
                size_left *= before[i]
                left.append(i)
                i += 1
            elif j < len(after):
                size_right *= after[j]
                right.append(j)
                j += 1
            else:
                break
        groups.append((left, right))
    return groups


def reshape_axes(before: Sequence[int], axes: Sequence[Axis], after: Sequence[int]) -> tuple[Axis, ...]:
    """Axes after a reshape.

    An axis that is split keeps its kind in all parts; axes that are merged become a feature axis if one of them was one
    (their elements meet different weights from then on), else a position axis if one was, else a batch axis.
    """
    if tuple(before) == tuple(after):
        return tuple(axes)
    result: list[Axis] = [Axis.POSITION] * len(after)
    for left, right in factor_groups(before, after):
        kinds = [axes[i] for i in left if before[i] > 1] or [axes[i] for i in left] or [Axis.POSITION]
        for j in right:
            result[j] = _spread(kinds, last=j == right[-1], alone=len(right) == 1)
    return tuple(result)


def _spread(kinds: Sequence[Axis], *, last: bool, alone: bool) -> Axis:
    if len(set(kinds)) == 1:
        return kinds[0]
    if alone:
        return next(kind for kind in (Axis.FEATURE, Axis.POSITION, Axis.BATCH) if kind in kinds)
    if Axis.FEATURE in kinds and last:
        return Axis.FEATURE
    return kinds[0]


def input_axes(graph: Graph, name: str, consumers: Mapping[str, tuple[Node, ...]]) -> tuple[Axis, ...]:
    """Axes of a graph input, from the first operation that contracts some of them.

    Shape operations on the way are followed; what the first convolution or linear map sums over are the features, the
    first axis is the batch unless it is summed over, the rest are positions. Without such an operation the rank
    decides.
    """
    shape = graph.values[name].shape
    if shape is None:
        return ()
    contracted = _first_contraction(graph, name, consumers)
    if contracted is None:
        return channel_axes(len(shape)) if len(shape) >= 4 else token_axes(len(shape))
    return tuple(
        Axis.FEATURE if i in contracted else Axis.BATCH if i == 0 else Axis.POSITION for i in range(len(shape))
    )


_FOLLOWED = frozenset(
    {
        Op.IDENTITY,
        Op.ELEMENTWISE,
        Op.DROPOUT,
        Op.ADD,
        Op.SUB,
        Op.MUL,
        Op.DIV,
        Op.RESHAPE,
        Op.TRANSPOSE,
        Op.NORMALIZE,
        Op.PAD,
        Op.CONCAT,
        Op.EXPAND,
    }
)


def _first_contraction(graph: Graph, name: str, consumers: Mapping[str, tuple[Node, ...]]) -> frozenset[int] | None:
    shape = graph.values[name].shape or ()
    queue: list[tuple[str, tuple[frozenset[int], ...]]] = [(name, tuple(frozenset({i}) for i in range(len(shape))))]
    seen = {name}
    while queue:
        value, origins = queue.pop(0)
        for node in consumers.get(value, ()):
            if node.op is Op.LINEAR:
                return origins[int(node.attributes.get("axis", -1)) % len(origins)] if origins else None
            if node.op in {Op.CONV, Op.CONV_TRANSPOSE}:
                return origins[1] if len(origins) > 1 else None
            if node.op is Op.RECURRENT:
                return origins[-1] if origins else None
            followed = _follow(graph, node, origins, value)
            if followed is not None and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                queue.append((node.outputs[0], followed))
    return None


def _follow(
    graph: Graph, node: Node, origins: tuple[frozenset[int], ...], value: str
) -> tuple[frozenset[int], ...] | None:
    if node.op not in _FOLLOWED or not node.outputs:
        return None
    before = graph.values[value].shape
    after = graph.values[node.outputs[0]].shape if node.outputs[0] in graph.values else None
    if before is None or after is None:
        return None
    if node.op is Op.TRANSPOSE:
        return tuple(origins[i] for i in node.attributes["permutation"])
    if node.op is Op.RESHAPE and math.prod(before) == math.prod(after):
        result = [frozenset[int]()] * len(after)
        for left, right in factor_groups(before, after):
            merged = frozenset[int]().union(*(origins[i] for i in left))
            for j in right:
                result[j] = merged
        return tuple(result)
    return origins if len(after) == len(origins) else None
