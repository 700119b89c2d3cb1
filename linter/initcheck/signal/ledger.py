"""What every step of the fold adds: the only place explanations come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from initcheck.graph import WEIGHTED, Graph, Node, Op

if TYPE_CHECKING:
    from initcheck.signal.signal import Signal

__all__ = ["Contribution", "Quantity", "contributions", "decades", "reason_of"]


class Quantity(StrEnum):
    """What a contribution adds to."""

    SIGNAL = "signal"
    """log10 of the mean-square gain of a small perturbation."""
    LENGTH = "length"
    """log10 of the change of the mean square."""
    RESIDUAL = "residual"
    """log10 of the growth of the mean square at a residual addition."""
    FLUCTUATION = "fluctuation"
    """Var[ln M] newly injected (nats squared, not a logarithm)."""
    GRADIENT = "gradient"
    """log10 of the change, on the way back, of the squared gradient for a relative change of the value."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one node adds to a quantity of its segment.

    Attributes:
        node: Name of the node.
        path: Layer path of the node; for ``FLUCTUATION`` of the layer whose width it is.
        quantity: What it adds to.
        amount: Decades, or nats squared for ``FLUCTUATION``.
        reason: Why, in words people use (``kaiming_uniform(a=√5)``, ``relu``, ``residual addition``).
        segment: Segment of the node's output.
    """

    node: str
    path: str
    quantity: Quantity
    amount: float
    reason: str
    segment: int


def decades(ratio: float) -> float:
    """log10 of a ratio of mean squares, minus infinity for zero."""
    return math.log10(ratio) if ratio > 0.0 else -math.inf


def _quotient(after: float, before: float) -> float:
    """Decades from one mean square to another; zero when there was nothing before."""
    if before <= 0.0:
        return 0.0
    return decades(after / before)


def reason_of(graph: Graph, node: Node, *, residual: bool) -> str:
    """What people call an operation: the scheme of its weight, the name of its function.

    Args:
        graph: Of the operation.
        node: The operation.
        residual: Whether it is a residual addition.
    """
    if residual:
        return "residual addition"
    if node.op in WEIGHTED:
        weight = graph.weight(node)
        if weight is None:
            return "computed weight"
        law = weight.distribution
        return law.scheme or f"{law.family.value} with std {law.std:.3g}"
    if node.op is Op.ELEMENTWISE:
        return str(node.attributes["function"])
    if node.op is Op.NORMALIZE:
        return f"{node.attributes['kind']} normalisation"
    if node.op is Op.OPAQUE:
        return f"{node.attributes.get('type', 'operation')}, not understood"
    return node.kind or node.op.value.replace("_", " ")


def contributions(
    graph: Graph, node: Node, inputs: list[Signal], result: Signal, *, residual: bool
) -> list[Contribution]:
    """Entries of one step, seen from the strongest input of the same segment (all of them when the segment is new).

    Args:
        graph: For the scheme of the weight.
        node: The operation.
        inputs: Its signals.
        result: Its output.
        residual: Whether it is a residual addition.
    """
    same = [x for x in inputs if x.segment == result.segment]
    if not same:
        return []
    before = max(same, key=lambda x: x.segment_gain)
    reason = reason_of(graph, node, residual=residual)
    path = node.path or node.name
    entries = [
        Contribution(
            node.name,
            path,
            Quantity.SIGNAL,
            _quotient(result.segment_gain, before.segment_gain),
            reason,
            result.segment,
        ),
        Contribution(
            node.name, path, Quantity.LENGTH, _quotient(result.mean_square, before.mean_square), reason, result.segment
        ),
    ]
    if residual and result.growth != before.growth:
        entries.append(
            Contribution(node.name, path, Quantity.RESIDUAL, result.growth - before.growth, reason, result.segment)
        )
    return entries
