"""How much of what a layer gives comes from the mean of its weights, which all its units share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck import Axis, Family, Op

if TYPE_CHECKING:
    from initcheck import Analysis, Layer, Node, Signal

__all__ = ["shared_shares"]

THROUGH = frozenset({Op.DROPOUT, Op.RESHAPE, Op.TRANSPOSE, Op.IDENTITY})
"""Operations between a layer and its normalisation that leave units as they are."""


def shared_shares(analysis: Analysis) -> dict[str, float]:
    """Node name -> share of its output's mean square that all units have in common, for hidden layers with a mean.

    With weights of mean m and variance v, unit u gives Σ wᵤᵢ xᵢ: the part m Σ xᵢ is the same for all units, of mean
    square m² (n q + n (n-1) c), and the rest is their own, n v q; q = E[x²] and c = E[xᵢ xⱼ] over pairs of inputs.
    Where batch normalisation follows, only what differs between samples counts. Inputs of a layer of this kind have
    that layer's share in common in turn.
    """
    shares: dict[str, float] = {}
    # Value -> share that its units have in common.
    common: dict[str, float] = {}
    layers = {layer.node.name: layer for layer in analysis.layers}
    for node in analysis.graph.nodes:
        inherited = max((common.get(name, 0.0) for name in node.inputs), default=0.0)
        layer = layers.get(node.name)
        if layer is not None:
            norm = _norm_behind(analysis, node)
            inherited = _share(analysis, layer, norm, inherited)
            if inherited > 0.0 and not layer.head and layer.fan_out > 1 and node.name in analysis.structure.active:
                shares[node.name] = inherited
        elif node.op is Op.NORMALIZE and node.attributes["kind"] not in {"batch", "rms"}:
            inherited = 0.0
        common.update(dict.fromkeys(node.outputs, inherited))
    return shares


def _share(analysis: Analysis, layer: Layer, norm: str, inherited: float) -> float:
    x = analysis.signal_into(layer.node)
    weight = layer.weight
    if x is None or weight is None or x.mean_square <= 0.0 or not _sums_units(layer, x):
        return 0.0
    law = weight.distribution
    if law.is_constant or law.nonfinite or law.family is Family.IDENTITY or norm in {"layer", "group", "instance"}:
        return 0.0
    mean = law.effective_mean
    varying = max(x.mean_square - x.pair_sample, 0.0)
    square, cross = (varying, 0.0) if norm == "batch" else (x.mean_square, x.mean * x.mean)
    cross = min(cross + inherited * varying, square)
    shared = mean * mean * (square + (layer.fan_in - 1) * cross)
    own = law.variance * square
    return shared / (shared + own) if shared > 0.0 else 0.0


def _sums_units(layer: Layer, x: Signal) -> bool:
    """Whether every unit sums the same inputs, and these are units."""
    attributes = layer.node.attributes
    if layer.node.op is Op.LINEAR:
        return x.axes[int(attributes.get("axis", -1))] is Axis.FEATURE
    return layer.node.op in {Op.CONV, Op.CONV_TRANSPOSE} and attributes.get("groups", 1) == 1


def _norm_behind(analysis: Analysis, node: Node) -> str:
    """Kind of the normalisation that alone reads a layer's output; empty for none."""
    readers = analysis.structure.consumers.get(node.outputs[0], ())
    while len(readers) == 1 and readers[0].op in THROUGH:
        readers = analysis.structure.consumers.get(readers[0].outputs[0], ())
    if len(readers) != 1 or readers[0].op is not Op.NORMALIZE:
        return ""
    return str(readers[0].attributes["kind"])
