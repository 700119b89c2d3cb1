"""Residual additions and their branches, the head, and the values that every path runs through."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.flow import Flow, is_weighted, signal_inputs
from initcheck.graph import Graph, Node, Op
from initcheck.residual import Residual, find_residuals

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Residual", "Structure", "find_structure"]


@dataclass(frozen=True, slots=True)
class Structure:
    """What the shape of a graph tells.

    Attributes:
        producer: Value name -> node that defines it.
        consumers: Value, parameter or constant name -> nodes that read it, in order.
        active: Names of nodes from which the main output can be reached.
        residuals: Name of the addition -> residual, for active nodes, in order.
        on_branch: Node name -> name of the innermost residual addition whose branch it lies on.
        heads: Names of active weighted nodes after which no other weighted node comes.
        bottlenecks: Names of values through which every path from the inputs to the main output runs: at such a value
            nothing else that depends on the same noise is still alive.
    """

    producer: Mapping[str, Node]
    consumers: Mapping[str, tuple[Node, ...]]
    active: frozenset[str]
    residuals: Mapping[str, Residual]
    on_branch: Mapping[str, str]
    heads: frozenset[str]
    bottlenecks: frozenset[str]


def find_structure(graph: Graph) -> Structure:
    """Work out the structure of a graph in time linear in its edges (up to the depth of the dominator tree)."""
    producer = {output: node for node in graph.nodes for output in node.outputs}
    consumers: defaultdict[str, dict[str, Node]] = defaultdict(dict)
    for node in graph.nodes:
        for name in node.inputs:
            if name:
                consumers[name][node.name] = node
    active = _active(graph, producer)
    data = _data_inputs(graph)
    residuals = find_residuals(graph, active, [Flow(graph, [name]) for name in data])
    return Structure(
        producer=producer,
        consumers={name: tuple(readers.values()) for name, readers in consumers.items()},
        active=active,
        residuals=residuals,
        on_branch={name: residual.node for residual in residuals.values() for name in residual.branch_nodes},
        heads=_heads(graph, active),
        bottlenecks=_bottlenecks(graph, data),
    )


def _active(graph: Graph, producer: Mapping[str, Node]) -> frozenset[str]:
    """Nodes that lead to the main output; to any output where none is fit for a loss."""
    pending = [graph.main_output] if graph.main_output else list(graph.outputs)
    active: set[str] = set()
    while pending:
        node = producer.get(pending.pop())
        if node is not None and node.name not in active:
            active.add(node.name)
            pending.extend(node.inputs)
    return frozenset(active)


def _heads(graph: Graph, active: frozenset[str]) -> frozenset[str]:
    heads: set[str] = set()
    feeds_layer: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name not in active:
            continue
        before_layer = any(output in feeds_layer for output in node.outputs)
        weighted = is_weighted(graph, node)
        if weighted and not before_layer:
            heads.add(node.name)
        if weighted or before_layer:
            feeds_layer.update(node.inputs)
    return frozenset(heads)


def _data_inputs(graph: Graph) -> tuple[str, ...]:
    """Graph inputs that some weighted layer transforms, in order; all of them when none is.

    A mask only reaches scores and a cache only keys and values: both meet a softmax or a product before any weight.
    They are conditions on the signal, not signals, and an addition of one of them is no residual addition.
    """
    mixing = {Op.SOFTMAX, Op.MATMUL, Op.ATTENTION}
    reaches: set[str] = set()
    for node in reversed(graph.nodes):
        if is_weighted(graph, node) or (node.op not in mixing and any(output in reaches for output in node.outputs)):
            reaches.update(signal_inputs(graph, node))
    data = tuple(name for name in graph.inputs if name in reaches)
    return data or tuple(name for name in graph.inputs if name in graph.values)


def _bottlenecks(graph: Graph, data: tuple[str, ...]) -> frozenset[str]:
    """Dominators of the main output among the values that carry the noise of weights or of a real-valued input.

    With every noisy source below the virtual root, a value beside a dominator that shares a source with it and still
    leads to the output would open a path around the dominator: so dominators are exactly the values with nothing
    beside them.
    """
    real = [name for name in data if graph.values[name].is_float]
    readers = {node.name for node in graph.nodes if any(name in graph.parameters for name in node.inputs)}
    noise = Flow(graph, real, readers)
    return frozenset(noise.dominators(graph.main_output)) if graph.main_output in noise else frozenset()
