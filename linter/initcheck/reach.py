"""Which parameters of zeros a gradient can ever move.

A product of two factors that are both zero has no slope in either: a low-rank pair A, B = 0 stays zero for ever, and so
does a gate of zero before a layer of zeros. One factor of zero alone gets a gradient from the other and is healthy
(LoRA, ReZero, Fixup, zero convolutions); once it has moved, the factors behind it get theirs. So the question is
answered by a fixed point over two truth values per value: can it differ from zero, does the loss depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.gain import is_flat_at_zero, is_zero_at_zero
from initcheck.graph import WEIGHTED, Graph, Node, Op

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

__all__ = ["find_stuck"]

_PRODUCTS = frozenset({Op.MUL, Op.MATMUL})


def find_stuck(graph: Graph) -> frozenset[str]:
    """Names of all-zero parameters that no gradient ever reaches, because of other zeros.

    A parameter that the outputs do not depend on whatever its neighbours hold is not among them. The first gradient is
    taken at exactly zero, where ReLU has slope zero, as frameworks have it; a law that is not understood counts as able
    to pass everything.
    """
    zeros = frozenset(name for name, parameter in graph.parameters.items() if parameter.distribution.is_zero)
    if not zeros:
        return frozenset()
    moved: frozenset[str] = frozenset()
    while True:
        reached = _reached(graph, zeros - moved) & zeros
        if reached <= moved:
            break
        moved |= reached
    return (_reached(graph, frozenset()) & zeros) - moved


def _reached(graph: Graph, zeros: AbstractSet[str]) -> frozenset[str]:
    """Parameters with a gradient while exactly these parameters are zero."""
    nonzero = {name for name in (*graph.inputs, *graph.parameters) if name not in zeros}
    nonzero.update(name for name, constant in graph.constants.items() if constant.array.any())
    for node in graph.nodes:
        if _is_nonzero(node, nonzero):
            nonzero.update(node.outputs)
    relevant = {name for name in graph.outputs if name in graph.values and graph.values[name].is_float}
    for node in reversed(graph.nodes):
        if relevant.isdisjoint(node.outputs):
            continue
        relevant.update(name for at, name in enumerate(node.inputs) if name and _passes(node, at, nonzero))
    return frozenset(relevant & graph.parameters.keys())


def _is_nonzero(node: Node, nonzero: AbstractSet[str]) -> bool:
    """Whether an output can differ from zero."""
    given = [name in nonzero for name in node.inputs]
    if node.op in {Op.OPAQUE, Op.RECURRENT, Op.SOFTMAX}:
        return True
    if node.op is Op.EMBEDDING:
        return given[1]
    if node.op in WEIGHTED:
        return all(given[:2]) or any(given[2:])
    if node.op is Op.NORMALIZE:
        return (given[0] and _scales(node, nonzero)) or any(given[2:3])
    if node.op in _PRODUCTS:
        return all(given)
    if node.op is Op.DIV:
        return given[0]
    if node.op is Op.ATTENTION:
        return given[2]
    if node.op is Op.ELEMENTWISE:
        return given[0] or not is_zero_at_zero(str(node.attributes["function"]), node.attributes.get("arguments"))
    if node.op is Op.PAD:
        return given[0] or bool(node.attributes.get("value"))
    return any(given)


def _passes(node: Node, at: int, nonzero: AbstractSet[str]) -> bool:
    """Whether the output of a node depends to first order on its input number ``at``."""
    given = [name in nonzero for name in node.inputs]
    if node.op in WEIGHTED - {Op.RECURRENT, Op.EMBEDDING}:
        return given[1 - at] if at < 2 else True
    if node.op in _PRODUCTS:
        return given[1 - at]
    if node.op is Op.DIV:
        return at == 0 or given[0]
    if node.op is Op.NORMALIZE:
        return _scales(node, nonzero) if at == 0 else given[0] or at > 1
    if node.op is Op.ATTENTION and at < 2:
        return given[1 - at] and given[2]
    if node.op is Op.ELEMENTWISE:
        return given[0] or not is_flat_at_zero(str(node.attributes["function"]), node.attributes.get("arguments"))
    return True


def _scales(node: Node, nonzero: AbstractSet[str]) -> bool:
    """Whether the factor of a normalisation differs from zero; absent it is one."""
    return len(node.inputs) < 2 or not node.inputs[1] or node.inputs[1] in nonzero
