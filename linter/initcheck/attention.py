"""What each attention of a model looks at before training, fused and spelled out alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.graph import Graph, Node, Op
from initcheck.signal.backward import logits_of, projection
from initcheck.signal.law import Context
from initcheck.signal.laws.attention import composed
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.signal.forward import Forward
    from initcheck.signal.source import Mixing
    from initcheck.structure import Structure

__all__ = ["AttentionFacts", "find_attention"]


@dataclass(frozen=True, slots=True)
class AttentionFacts:
    """One attention in numbers (mean field).

    Attributes:
        node: The fused operation, or the softmax of one that is spelled out.
        path: Its path.
        query: Value of the queries.
        key: Value of the keys, as the product of queries and keys reads them.
        value: Value of what is mixed.
        query_layer: Linear map whose result the queries are, None where there is none.
        key_layer: The same for the keys.
        queries: Number of positions that look.
        keys: Number of positions that are looked at.
        width: Elements of one query.
        scale: Factor on the inner products of queries and keys.
        logit_variance: Variance over keys of the logits of one query, a learned position bias included.
        same: E Σ_b A_ab², one over the number of keys that a query effectively sees.
        other: E Σ_b A_ab A_a'b, the overlap of two queries.
        assumed: Whether an operation before it was not understood.
    """

    node: Node
    path: str
    query: str
    key: str
    value: str
    query_layer: Node | None
    key_layer: Node | None
    queries: int
    keys: int
    width: int
    scale: float
    logit_variance: float
    same: float
    other: float
    assumed: bool


def find_attention(graph: Graph, structure: Structure, forward: Forward) -> tuple[AttentionFacts, ...]:
    """Every attention on the way to the main output whose logits are known, in order.

    Args:
        graph: The lowered model.
        structure: Its producers and readers.
        forward: Its mean-field fold.
    """
    found: list[AttentionFacts] = []
    for node in graph.nodes:
        if node.name not in structure.active or node.name in forward.guessed:
            continue
        if node.op is Op.ATTENTION:
            facts = _fused(graph, structure, forward.signals, node)
        elif node.op is Op.MATMUL:
            facts = _spelled_out(structure, forward.signals, node)
        else:
            continue
        if facts is not None:
            found.append(facts)
    return tuple(found)


def _fused(
    graph: Graph, structure: Structure, signals: Mapping[str, Signal | None], node: Node
) -> AttentionFacts | None:
    arguments = [signals.get(name) or graph.parameters.get(name) or graph.constants.get(name) for name in node.inputs]
    chain = composed(node, arguments, Context(values={}, typical=False))
    query, key = arguments[0], arguments[1]
    if chain is None or chain.weights.mixing is None or not isinstance(query, Signal) or not isinstance(key, Signal):
        return None
    names = (node.inputs[0], node.inputs[1], node.inputs[2])
    # d q_Q (q_K - p_K): what is common to all keys cancels in the softmax (THEORY 2.8).
    spread = query.shape[-1] * query.mean_square * max(key.mean_square - key.pair_position, 0.0)
    return _facts(structure, node, names, (query, key), chain.scale, chain.scale**2 * spread, chain.weights.mixing)


def _spelled_out(structure: Structure, signals: Mapping[str, Signal | None], node: Node) -> AttentionFacts | None:
    """Of the product of attention weights and values."""
    product = logits_of(structure, node.inputs[0])
    weights = signals.get(node.inputs[0])
    softmax = _softmax_above(structure, node.inputs[0])
    if product is None or softmax is None or weights is None:
        return None
    query, key = (signals.get(name) for name in product.inputs)
    logits, mixed = signals.get(softmax.inputs[0]), signals.get(softmax.outputs[0])
    if query is None or key is None or logits is None or logits.logits is None or mixed is None or mixed.mixing is None:
        return None
    # What lies between the product and the softmax is a factor, a mask or a position bias.
    scaled = signals.get(product.outputs[0])
    scale = float(product.attributes.get("scale", 1.0))
    if scaled is not None and scaled.mean_square > 0.0:
        scale *= math.sqrt(logits.mean_square / scaled.mean_square)
    names = (product.inputs[0], product.inputs[1], node.inputs[1])
    return _facts(structure, softmax, names, (query, key), scale, logits.logits.variance, mixed.mixing)


def _softmax_above(structure: Structure, name: str) -> Node | None:
    while (node := structure.producer.get(name)) is not None and node.op is not Op.SOFTMAX:
        if not node.inputs:
            # Random numbers: what is mixed by them is no attention.
            return None
        name = node.inputs[0]
    return node


def _facts(
    structure: Structure,
    node: Node,
    names: tuple[str, str, str],
    signals: tuple[Signal, Signal],
    scale: float,
    variance: float,
    mixing: Mixing,
) -> AttentionFacts:
    query, key = signals
    keys = key.shape[-2] if node.op is Op.ATTENTION else key.shape[-1]
    return AttentionFacts(
        node=node,
        path=node.path or node.name,
        query=names[0],
        key=names[1],
        value=names[2],
        query_layer=projection(structure, names[0]),
        key_layer=projection(structure, names[1]),
        queries=query.shape[-2],
        keys=keys,
        width=query.shape[-1],
        scale=scale,
        logit_variance=variance,
        same=mixing.same,
        other=mixing.other,
        assumed=query.assumed or key.assumed,
    )
