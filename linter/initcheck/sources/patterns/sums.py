"""Sums over the rest of an axis, spelled as a total less a sum up to each position."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import Node, Op

if TYPE_CHECKING:
    from initcheck.sources.patterns.net import Net

__all__ = ["match_remainder"]


def match_remainder(node: Node, net: Net) -> Node | None:
    """Σ_{s > t} x_s, the decay from a position to the end of its chunk in state-space models.

    Total and partial sum have nearly all terms in common; as values of different sources they would be independent.
    """
    if node.op is not Op.SUB:
        return None
    total, partial = net.made_by(node.inputs[0], Op.SLICE), net.made_by(node.inputs[1], Op.CUMULATE)
    if total is None or partial is None or net.maker(total.inputs[0]) is not partial:
        return None
    shape = net.shape(partial.outputs[0])
    if shape is None or partial.attributes.get("reverse") or partial.attributes.get("exclusive"):
        return None
    axis = int(partial.attributes["axis"])
    last = tuple(total.attributes.get("axes", ())) == (axis,) and tuple(total.attributes.get("starts") or ()) == (
        shape[axis] - 1,
    )
    kept = total.attributes.get("dropped") or shape[axis] == 1 or net.shape(node.outputs[0]) != shape
    if not last or kept:
        return None
    attributes = {"axis": axis, "reverse": True, "exclusive": True}
    return replace(node, op=Op.CUMULATE, inputs=partial.inputs, attributes=attributes, kind="cumsum")
