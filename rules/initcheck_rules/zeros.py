"""Operations of the main path whose weight is all zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck import Op

if TYPE_CHECKING:
    from initcheck import Analysis, Layer, Node

__all__ = ["Zero", "scales_by_zero", "zeros_of"]


@dataclass(frozen=True, slots=True)
class Zero:
    """A layer of zeros, or a normalisation whose scale is zero.

    Attributes:
        node: The operation.
        path: Its module path.
        layer: The layer; None for a normalisation.
    """

    node: Node
    path: str
    layer: Layer | None

    @property
    def head(self) -> bool:
        """Whether it is a layer that no other layer follows."""
        return self.layer is not None and self.layer.head


def zeros_of(analysis: Analysis) -> tuple[Zero, ...]:
    """All that the output depends on, in order of the graph."""
    layers = {layer.node.name: layer for layer in analysis.layers}
    found = []
    for node in analysis.graph.nodes:
        layer = layers.get(node.name)
        weight = layer.weight if layer is not None else None
        zero = weight is not None and weight.distribution.is_zero
        if node.name in analysis.structure.active and (zero or scales_by_zero(analysis, node)):
            found.append(Zero(node, node.path or node.name, layer))
    return tuple(found)


def scales_by_zero(analysis: Analysis, node: Node) -> bool:
    """Whether a node is a normalisation with a scale of zeros only."""
    if node.op is not Op.NORMALIZE or len(node.inputs) < 2:
        return False
    scale = analysis.graph.parameters.get(node.inputs[1])
    return scale is not None and scale.distribution.is_zero
