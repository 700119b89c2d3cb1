"""What a graph asks of the values of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Graph, Op

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ASSUMED_SAMPLES", "keeps_samples_apart", "normalises_batch", "rows_of_ids", "split_samples"]

ASSUMED_SAMPLES = 32
"""Samples in the batch that the analysis assumes; batch normalisation depends on it."""

_MIXING = frozenset({Op.ATTENTION, Op.MATMUL, Op.OPAQUE, Op.RECURRENT, Op.SOFTMAX})

_VIEWS = frozenset({Op.EXPAND, Op.IDENTITY, Op.RESHAPE, Op.SLICE, Op.TRANSPOSE})


def rows_of_ids(graph: Graph, name: str) -> int | None:
    """Rows of the smallest embedding that reads an input as ids, None where none does."""
    found: list[int] = []
    reached = {name}
    for node in graph.nodes:
        if node.inputs and node.inputs[0] in reached:
            if node.op is Op.EMBEDDING and node.inputs[1] in graph.parameters:
                found.append(graph.parameters[node.inputs[1]].shape[0])
            elif node.op in _VIEWS:
                reached.update(node.outputs)
    return min(found, default=None)


def normalises_batch(graph: Graph) -> bool:
    """Whether statistics over the batch are part of the model."""
    return any(
        node.op is Op.NORMALIZE and node.attributes.get("kind") == "batch" and bool(node.attributes.get("training"))
        for node in graph.nodes
    )


def keeps_samples_apart(graph: Graph) -> bool:
    """Whether nothing mixes entries of the first axis, so that it must be the batch; attention over it, say, would."""
    return not any(node.op in _MIXING for node in graph.nodes)


def split_samples(shape: Sequence[int], samples: int, axis: int | None) -> tuple[int, int]:
    """How the elements of a value belong to samples: the axis to bring to the front, and the rows to cut it into.

    Samples lie along ``axis`` if it has their number, else in equal parts of the first axis (windows, heads); a value
    without a batch axis is one row.
    """
    if axis is not None and axis < len(shape) and shape[axis] == samples:
        return axis, samples
    if shape and samples > 0 and shape[0] % samples == 0:
        return 0, samples
    return 0, 1
