"""Nodes in an order in which every input is defined before it is read."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from initcheck.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from onnx import GraphProto, NodeProto

__all__ = ["ordered_nodes", "reads"]


def ordered_nodes(graph: GraphProto, given: Collection[str], path: Path) -> Sequence[NodeProto]:
    """The nodes of a graph in topological order, the file's own order where that is one.

    Args:
        graph: The graph.
        given: Names that exist before any node runs: inputs and initialisers.
        path: The file, for messages.

    Raises:
        ModelLoadError: If a value has two definitions or none, or depends on itself.
    """
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for output in node.output:
            if not output:
                continue
            if output in makers or output in given:
                raise ModelLoadError(
                    f"{path}: the value {output!r} is defined twice, again by {_spell(node)}",
                    "export the model again: every value of an ONNX graph has one definition",
                    kind="duplicate",
                )
            makers[output] = index
    needs = [{makers[name] for name in reads(node) if name in makers} for node in graph.node]
    _require_definitions(graph, makers, given, path)
    if all(not wanted or max(wanted) < index for index, wanted in enumerate(needs)):
        return list(graph.node)
    return [graph.node[index] for index in _sorted(needs, graph, path)]


def reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, those of the outer graph that its subgraphs read included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        subgraphs = ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
        for graph in subgraphs:
            inner = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            inner.update(output for child in graph.node for output in child.output)
            for child in graph.node:
                yield from (name for name in reads(child) if name not in inner)


def _require_definitions(graph: GraphProto, makers: Collection[str], given: Collection[str], path: Path) -> None:
    for node in graph.node:
        for name in filter(None, node.input):
            if name not in makers and name not in given:
                raise ModelLoadError(
                    f"{path}: {_spell(node)} reads {name!r}, which nothing in the file defines",
                    "export the model again; the file was cut or edited",
                    kind="undefined",
                )
    for output in graph.output:
        if output.name not in makers and output.name not in given:
            raise ModelLoadError(
                f"{path}: the graph output {output.name!r} is defined by no node",
                "export the model again; the file was cut or edited",
                kind="undefined",
            )


def _sorted(needs: Sequence[set[int]], graph: GraphProto, path: Path) -> list[int]:
    readers: list[list[int]] = [[] for _ in needs]
    missing = [len(wanted) for wanted in needs]
    for index, wanted in enumerate(needs):
        for maker in wanted:
            readers[maker].append(index)
    ready = deque(index for index, count in enumerate(missing) if not count)
    order: list[int] = []
    while ready:
        index = ready.popleft()
        order.append(index)
        for reader in readers[index]:
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    if len(order) < len(needs):
        stuck = graph.node[next(index for index, count in enumerate(missing) if count)]
        raise ModelLoadError(
            f"{path}: the graph has a cycle through {_spell(stuck)}",
            "export the model again: an ONNX graph has no loops between nodes",
            kind="cycle",
        )
    return order


def _spell(node: NodeProto) -> str:
    return f"{node.op_type} node {node.name!r}" if node.name else f"a {node.op_type} node"
