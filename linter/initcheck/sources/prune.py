"""Leave out what no output depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from initcheck.graph import Node

__all__ = ["prune"]


def prune(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    """Nodes that an output depends on, in order.

    Args:
        nodes: In topological order.
        outputs: Names of graph outputs.
    """
    wanted = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]
