"""A product with a weight and the bias added behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import Op

if TYPE_CHECKING:
    from initcheck.graph import Node
    from initcheck.sources.patterns.net import Net

__all__ = ["match_bias"]

_LAYERS = frozenset({Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE})


def match_bias(node: Node, net: Net) -> Node | None:
    """The layer with its bias, where ``node`` adds one learned number per output unit to a layer without one."""
    if node.op is not Op.ADD:
        return None
    for product, addend in (node.inputs, node.inputs[::-1]):
        layer = net.maker(product)
        if layer is None or layer.op not in _LAYERS or len(layer.inputs) > 2 or not net.is_parameter(addend):
            continue
        if net.is_read_once(product) and _is_per_unit(layer, net, addend):
            fans = (float(layer.attributes["fan_in"]), float(layer.attributes["fan_out"]))
            net.build.parameters.describe(addend, f"{layer.path}.bias", fans)
            return replace(layer, inputs=(*layer.inputs, addend), outputs=node.outputs)
    return None


def _is_per_unit(layer: Node, net: Net, addend: str) -> bool:
    """Whether an addend varies along the axis of output units and no other."""
    shape, output = net.shape(addend), net.shape(layer.outputs[0])
    if shape is None or output is None or len(shape) > len(output):
        return False
    units = 1
    if layer.op is Op.LINEAR:
        rank = len(net.shape(layer.inputs[0]) or output)
        units = len(output) - 1 if layer.attributes["axis"] in {-1, rank - 1} else len(output) - 2
    aligned = (1,) * (len(output) - len(shape)) + shape
    return all(size == (output[axis] if axis == units else 1) for axis, size in enumerate(aligned))
