"""The backward fold: one gradient per value, from the main output to the inputs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.graph import Graph, Node, Op
from initcheck.signal.adjoint import BackwardContext
from initcheck.signal.adjoints import ADJOINTS
from initcheck.signal.adjoints.shape import OpaqueAdjoint
from initcheck.signal.gradient import Gradient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.signal.adjoint import Sent
    from initcheck.signal.forward import Forward
    from initcheck.signal.law import Argument
    from initcheck.structure import Structure

__all__ = ["Backward", "logits_of", "projection", "propagate_back"]

_OPAQUE = OpaqueAdjoint()
_MOVES = frozenset({Op.RESHAPE, Op.TRANSPOSE, Op.EXPAND, Op.IDENTITY, Op.SLICE, Op.SPLIT, Op.CONCAT, Op.MUL, Op.ADD})
"""Operations between a projection and the attention that reads it: heads are split off, repeated, turned (RoPE)."""
_TO_LOGITS = frozenset({Op.SOFTMAX, Op.DROPOUT, Op.ADD, Op.MUL, Op.DIV, Op.WHERE, Op.IDENTITY, Op.ELEMENTWISE})


@dataclass(frozen=True, slots=True)
class Backward:
    """Result of the fold.

    Attributes:
        gradients: Value name -> gradient of the loss there, for values on the way to the main output whose signal is
            known.
        parameters: Parameter name -> mean square of its gradient, summed over the batch of the example; None where it
            is not known.
    """

    gradients: Mapping[str, Gradient]
    parameters: Mapping[str, float | None]


def propagate_back(graph: Graph, structure: Structure, forward: Forward, *, typical: bool) -> Backward:
    """Fold the adjoints back over a graph, from an independent standard normal cotangent at the main output.

    Gradient independence is assumed: the weights seen on the way back are as good as drawn anew (THEORY 2.10).

    Args:
        graph: The lowered model.
        structure: Its readers.
        forward: The forward fold of the same kind.
        typical: Follow the mean of the logarithm rather than the mean.
    """
    counter = itertools.count()
    skips = {name: residual.skip_index for name, residual in structure.residuals.items()}
    context = BackwardContext(typical, counter.__next__, skips, _shared_widths(graph, structure))
    gradients: dict[str, Gradient] = {}
    parameters: dict[str, float | None] = {}
    if forward.signals.get(graph.main_output) is None:
        return Backward(gradients, parameters)
    gradients[graph.main_output] = context.fresh(1.0)

    def argument(name: str) -> Argument:
        if name in forward.signals:
            return forward.signals[name]
        return graph.parameters.get(name) or graph.constants.get(name)

    for node in reversed(graph.nodes):
        received = [gradients.get(name) for name in node.outputs]
        if all(g is None for g in received):
            continue
        adjoint = _OPAQUE if node.name in forward.guessed else ADJOINTS[node.op]
        args = [argument(name) for name in node.inputs]
        sent = adjoint.backward(node, args, [forward.signals.get(name) for name in node.outputs], received, context)
        for name, part in zip(node.inputs, sent, strict=False):
            if isinstance(part, Gradient) and name in forward.signals:
                whole = gradients.get(name)
                gradients[name] = part if whole is None else whole.plus(part, context.next_index())
            elif name in graph.parameters:
                parameters[name] = _total(parameters.get(name, 0.0), part)
    return Backward(gradients, parameters)


def _total(before: float | None, part: Sent) -> float | None:
    """Gradients of several uses of one parameter; None once one of them is not known."""
    if before is None or not isinstance(part, float) or not math.isfinite(part):
        return None
    return before + part


def _shared_widths(graph: Graph, structure: Structure) -> dict[str, int]:
    """Node of attention logits -> width of the value that its keys and the values it mixes are both linear in."""
    widths: dict[str, int] = {}
    for node in graph.nodes:
        if node.op is Op.ATTENTION:
            logits, keys, values = node, node.inputs[1], node.inputs[2]
        elif node.op is Op.MATMUL and (found := logits_of(structure, node.inputs[0])) is not None:
            logits, keys, values = found, found.inputs[1], node.inputs[1]
        else:
            continue
        first, second = projection(structure, keys), projection(structure, values)
        if first is not None and second is not None and first.inputs[0] == second.inputs[0]:
            widths[logits.name] = int(first.attributes["fan_in"])
    return widths


def logits_of(structure: Structure, name: str) -> Node | None:
    """The product of queries and keys behind attention weights; None where there is no softmax on the way."""
    softmax = False
    while (node := structure.producer.get(name)) is not None:
        if node.op is Op.MATMUL:
            return node if softmax else None
        if node.op not in _TO_LOGITS:
            return None
        softmax = softmax or node.op is Op.SOFTMAX
        name = node.inputs[0]
    return None


def projection(structure: Structure, name: str) -> Node | None:
    """The linear map whose result reaches a value by moves of its elements only."""
    while (node := structure.producer.get(name)) is not None:
        if node.op is Op.LINEAR:
            return node
        if node.op not in _MOVES:
            return None
        name = node.inputs[0]
    return None
